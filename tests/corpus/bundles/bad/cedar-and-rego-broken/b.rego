package portreeve.b

deny if {
