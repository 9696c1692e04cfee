package shop

allow if input.service == "orders"
