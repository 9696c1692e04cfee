# METADATA
# title: Pages have a bound
# description: A page of users or invoices has at most 100 entries, so that nobody copies a whole table in one request.
# custom:
#   portreeve:
#     services: [users, invoices]
package portreeve.pages

# `deny` is a set of reasons. Empty means: nothing against it. A prohibition beats every grant.
# `page-size` is listed in the inventory with the type `integer`, so it is a number here.
deny contains "a page has at most 100 entries" if {
	input.context.query["page-size"] > page_size_max
}

page_size_max := 100
