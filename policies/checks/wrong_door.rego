# METADATA
# title: callers that are denied more than they are allowed
# description: A caller whose requests to a service are denied more often than not knocks at the wrong door.
package portreeve.checks.wrong_door

finding contains {
	"subject": sprintf("%s → %s", [edge.from, edge.to]),
	"summary": sprintf("`%s` denied %d of %d requests from `%s`", [edge.to, denied, denied + allowed, edge.from]),
	"remedy": "ask its owner what it is after; grant it, or stop it",
	"count": denied,
	"evidence": edge.evidence,
} if {
	some edge in input.edges
	edge.from
	pair := [e | some e in input.edges; e.from == edge.from; e.to == edge.to]
	denied := sum([e.denied | some e in pair])
	allowed := sum([e.allowed | some e in pair])
	denied > allowed
	edge.denied > 0
}
