package portreeve.extra

deny contains "many" if {
	some n in numbers.range(1, 1000000)
	n == 7
}

deny contains "all ways" if {
	count(graph.reachable_paths({}, {"a"})) > 0
}
