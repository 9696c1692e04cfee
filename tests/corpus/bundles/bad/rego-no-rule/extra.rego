package portreeve.extra

alow if input.service == "orders"
