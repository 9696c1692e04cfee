package portreeve.extra

deny contains "walked" if count(walk(input)) > 3

deny contains "merged" if {
	net.cidr_merge(["10.0.0.0/8"], x)
	count(x) == 1
}

deny contains "shifted" if bits.lsh(1, input.x) > 0

deny contains "local" if time.weekday([1, "Local"]) == "Monday"

deny contains "replaced" if input.a with input as {"a": true}
