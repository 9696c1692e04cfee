package envoy.authz

default allow := false

allow if {
	[valid, _, payload] := io.jwt.decode_verify(input.attributes.request.http.headers.authorization, {"secret": "s"})
	valid
	payload.nbf <= time.now_ns() / 1000000000
}
