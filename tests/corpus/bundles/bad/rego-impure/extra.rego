package portreeve.extra

deny contains "too late" if {
	time.now_ns() > 1
}

deny contains "asked elsewhere" if {
	http.send({"method": "GET", "url": "https://example.org"}).status_code == 200
}
