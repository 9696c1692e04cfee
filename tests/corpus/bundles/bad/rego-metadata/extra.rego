# METADATA
# custom:
#   portreeve:
#     services: [ordres]
#     servces: [web]
package portreeve.extra

deny contains "no" if input.method == "DELETE"
