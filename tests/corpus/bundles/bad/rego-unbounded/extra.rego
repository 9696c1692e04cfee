package portreeve.extra

deny contains "many" if {
	some n in numbers.range(1, input.context.query.n)
	n == 7
}
