package portreeve.extra

deny contains "tried" if f(input.method)

f(x) if {
	x != "0"
	g(x)
}

f(x) if {
	x != "1"
	g(x)
}

f(x) if {
	x != "2"
	g(x)
}

f(x) if {
	x != "3"
	g(x)
}

f(x) if {
	x != "4"
	g(x)
}

f(x) if {
	x != "5"
	g(x)
}

f(x) if {
	x != "6"
	g(x)
}

f(x) if {
	x != "7"
	g(x)
}

f(x) if {
	x != "8"
	g(x)
}

f(x) if {
	x != "9"
	g(x)
}

f(x) if {
	x != "10"
	g(x)
}

f(x) if {
	x != "11"
	g(x)
}

f(x) if {
	x != "12"
	g(x)
}

f(x) if {
	x != "13"
	g(x)
}

f(x) if {
	x != "14"
	g(x)
}

f(x) if {
	x != "15"
	g(x)
}

f(x) if {
	x != "16"
	g(x)
}

f(x) if {
	x != "17"
	g(x)
}

f(x) if {
	x != "18"
	g(x)
}

f(x) if {
	x != "19"
	g(x)
}

f(x) if {
	x != "20"
	g(x)
}

f(x) if {
	x != "21"
	g(x)
}

f(x) if {
	x != "22"
	g(x)
}

f(x) if {
	x != "23"
	g(x)
}

f(x) if {
	x != "24"
	g(x)
}

f(x) if {
	x != "25"
	g(x)
}

f(x) if {
	x != "26"
	g(x)
}

f(x) if {
	x != "27"
	g(x)
}

f(x) if {
	x != "28"
	g(x)
}

f(x) if {
	x != "29"
	g(x)
}

f(x) if {
	x != "30"
	g(x)
}

f(x) if {
	x != "31"
	g(x)
}

f(x) if {
	x != "32"
	g(x)
}

f(x) if {
	x != "33"
	g(x)
}

f(x) if {
	x != "34"
	g(x)
}

f(x) if {
	x != "35"
	g(x)
}

f(x) if {
	x != "36"
	g(x)
}

f(x) if {
	x != "37"
	g(x)
}

f(x) if {
	x != "38"
	g(x)
}

f(x) if {
	x != "39"
	g(x)
}

g(x) if {
	x != "0"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "1"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "2"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "3"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "4"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "5"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "6"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "7"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "8"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "9"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "10"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "11"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "12"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "13"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "14"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "15"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "16"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "17"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "18"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "19"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "20"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "21"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "22"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "23"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "24"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "25"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "26"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "27"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "28"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "29"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "30"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "31"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "32"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "33"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "34"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "35"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "36"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "37"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "38"
	some a in numbers.range(1, 9999)
	a < 0
}

g(x) if {
	x != "39"
	some a in numbers.range(1, 9999)
	a < 0
}

