package portreeve.extra

allow if {
	input.service == "orders"
