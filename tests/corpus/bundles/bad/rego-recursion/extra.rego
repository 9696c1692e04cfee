package portreeve.extra

deny contains "loop" if loops(input.path)

loops(x) if loops(x)
