# METADATA
# title: services that mix a zone with another team's
# description: >-
#   A zone of sensitive data belongs to one team. Where a service in it has another owner than most, its grants are looked at
#   twice. This is a check of a house's own: `portreeve audit --checks policies/checks --catalog policies/checks/house.yaml`.
package portreeve.checks.shared_zone

# `input` is described by `portreeve export json-schema check-input`.
owners[zone] contains service.owner if {
	some service in input.services
	service.sensitive
	zone := service.zone
	service.owner
}

finding contains {
	"subject": zone,
	"summary": sprintf("zone `%s` has services of %d teams: %s", [zone, count(teams), concat(", ", teams)]),
	"remedy": "give each team a zone of its own",
	"severity": "low",
} if {
	some zone, teams in owners
	count(teams) > 1
}
