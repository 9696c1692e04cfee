#!/usr/bin/env python3
"""Counts a recorded log again, line by line and with a law of its own, and compares with what `portreeve audit` reported: totals, edges, findings,
certificates, and the analyses of use and of graphs.

    tests/record/recount.py FORMAT LOG [ASSESSMENT]      FORMAT: istio, recommended or sidecar; LOG may be compressed (zstd)
    tests/record/recount.py chains LOG ASSESSMENT        LOG: of the town of tests/corpus/logs/chains, in Istio's keys

Without an assessment it prints its numbers. It shares nothing with the program it judges: another language, the standard library, and
the law of the shop written down a second time, by hand. In the shop every grant leads straight to `orders`; of the other town the
analyses of graphs are counted again, in which chains of several steps count, by trying everything: each definition as it stands in the
book.
"""

import collections
import hashlib
import itertools
import json
import re
import subprocess
import sys

SHOP, OPS = "spiffe://shop.example/ns/shop/sa/", "spiffe://shop.example/ns/ops/sa/"
OPERATIONS = [
    ("health", "GET", r"/healthz"), ("list-orders", "GET", r"/v1/orders"), ("read-order", "GET", r"/v1/orders/[^/]+"),
    ("place-order", "POST", r"/v1/orders"), ("refund-order", "POST", r"/v1/orders/[^/]+/refund"),
    ("set-state", "PUT", r"/v1/orders/[^/]+/state"), ("delete-order", "DELETE", r"/v1/orders/[^/]+"),
]
# The services of the inventory; a report names them, and everyone else by the identity.
SERVICES = {SHOP + name: name for name in ("checkout", "reports", "refunds", "fulfilment", "legacy")}
SERVICES |= {OPS + name: name for name in ("console", "prober")}
LAW = {
    (SHOP + "checkout", "place-order"), (SHOP + "checkout", "list-orders"), (SHOP + "checkout", "read-order"),
    (SHOP + "reports", "list-orders"), (SHOP + "refunds", "read-order"), (SHOP + "refunds", "refund-order"),
    (SHOP + "fulfilment", "read-order"), (SHOP + "fulfilment", "set-state"),
    (OPS + "console", "list-orders"), (OPS + "console", "read-order"), (OPS + "prober", "health"),
}
# A grant that a prohibition takes back: declared, and never allowed.
PROHIBITED = {(OPS + "console", "delete-order")}
# What the recorded paths hold that servers read in two ways: a path with any of it is no question, and is refused as such.
AMBIGUOUS = re.compile(r"//|/\.{1,2}(/|$)|%2f|%5c|%00|;|\\|[^!-~]|[<>\"{}|^`]", re.IGNORECASE)


def operation(method, path):
    """The operation of a path; `None` where it is none, `...` where the path can be read in two ways."""
    if AMBIGUOUS.search(re.sub(r"%2e", ".", path, flags=re.IGNORECASE)):
        return ...
    plain = re.sub(r"%(?:2[de]|3\d|4[1-9a-f]|5[0-9af]|6[1-9a-f]|7[0-9ae])", lambda c: chr(int(c[0][1:], 16)), path, flags=re.IGNORECASE)
    return next((name for name, verb, form in OPERATIONS if verb == method and re.fullmatch(form, plain)), None)


# What the report calls such paths where a proxy let them through; here with the caller behind it.
TWO_WAYS = "paths that can be read in two ways"


def lines(path):
    raw = open(path, "rb").read()
    if raw[:4] == b"\x28\xb5\x2f\xfd":
        raw = subprocess.run(["zstd", "-dc", path], check=True, stdout=subprocess.PIPE).stdout
    return raw.splitlines()


def sidecar(found):
    """Our own log: its chain, what was decided, and whether the law says the same."""
    out, before = collections.Counter(), "sha256:" + "0" * 64
    edges, tls, reasons, certificates = (collections.defaultdict(collections.Counter) for _ in range(4))
    peers = collections.defaultdict(Peer)
    for number, line in enumerate(found):
        record = json.loads(line)
        assert record["seq"] == number and record["prev"] == before, f"line {number + 1}: the chain is broken"
        before = "sha256:" + hashlib.sha256(line).hexdigest()
        out["lines"] += 1
        if record["event"] == "refused":
            out["refused_attempts"] += record["count"]
        if record["event"] != "decided":
            continue
        effect, caller = record["decision"]["effect"], record["source"]["id"]
        kind = {"allow": "allowed", "deny": "denied"}[effect]
        out["decided"] += 1
        out[kind] += 1
        request = record["request"]
        edges[SERVICES.get(caller, caller), request.get("operation")][kind] += 1
        tls[record["tls"]["version"]]["requests"] += 1
        certificates[record["tls"]["sha256"]]["requests"] += 1
        peers[caller].saw(record["at"], record["tls"]["sha256"], record["tls"]["not_after"], f'{record["tls"]["version"]} {record["tls"]["suite"]}')
        if effect == "deny":
            reasons[record["decision"]["reason"]]["count"] += 1
        if "path" in request:
            lawful = (caller, operation(request["method"], request["path"])) in LAW
            out["mismatches"] += lawful != (effect == "allow")
        else:
            assert record["decision"]["reason"] == "malformed-request", f"line {number + 1}: no path, and not malformed"
    return out, edges, tls, reasons, certificates, peers


def envoy(found):
    """Envoy's log: what it did, and whether the law says the same where it can be asked."""
    out = collections.Counter()
    edges, tls, certificates = (collections.defaultdict(collections.Counter) for _ in range(3))
    peers = collections.defaultdict(Peer)
    for line in found:
        record = json.loads(line)
        out["lines"] += 1
        details = record["response_code_details"] or ""
        # A permission was missing, or Envoy answered for itself before it asked anybody: what it refuses so reaches no cluster.
        kind = "denied" if details.startswith("rbac_access_denied") or record["upstream_cluster"] is None else "allowed"
        out["decided"] += 1
        out[kind] += 1
        caller, path = record.get("downstream_peer_uri_san"), record["path"].split("?")[0]
        which = operation(record["method"], path)
        edges[SERVICES.get(caller, caller), None if which is ... else which][kind] += 1
        if which is ... and kind == "allowed":
            out[TWO_WAYS + str(SERVICES.get(caller, caller))] += 1
        if caller:
            tls[record["downstream_tls_version"]]["requests"] += 1
            digest = "sha256:" + record["downstream_peer_fingerprint_256"]
            certificates[digest]["requests"] += 1
            shake = f'{record["downstream_tls_version"]} {record["downstream_tls_cipher"]}'
            peers[caller].saw(record["start_time"], digest, record["downstream_peer_cert_v_end"], shake)
        if which is ... or not caller:
            out["not_replayable"] += 1
        else:
            lawful = (caller, which) in LAW
            out["unlawful"] += kind == "allowed" and not lawful
            out["overdenied"] += kind == "denied" and lawful
    return out, edges, tls, None, certificates, peers


class Peer:
    """What the lines say of one identity."""

    def __init__(self):
        self.requests, self.certificates, self.shakes, self.latest = 0, set(), set(), ("", "", "")

    def saw(self, at, digest, end, shake):
        self.requests += 1
        self.certificates.add(digest)
        self.shakes.add(shake)
        self.latest = max(self.latest, (at, digest, end))


def same(what, ours, theirs, faults):
    for key in sorted(set(ours) | set(theirs), key=str):
        if ours.get(key) != theirs.get(key):
            faults.append(f"{what} {key}: counted {ours.get(key)}, reported {theirs.get(key)}")


def compare(counted, report):
    """Every number of the report that is counted here, against the count."""
    out, edges, tls, reasons, certificates, peers = counted
    faults = []
    totals = report["totals"]
    for key in ("lines", "decided", "allowed", "denied", "refused_attempts", "mismatches", "not_replayable", "unlawful", "overdenied", "undetermined"):
        if out[key] != totals.get(key, 0):
            faults.append(f"totals.{key}: counted {out[key]}, reported {totals.get(key, 0)}")
    theirs = collections.defaultdict(collections.Counter)
    for edge in report["edges"]:
        theirs[edge["from"] or edge.get("from_id"), edge["operation"]] += {"allowed": edge["allowed"], "denied": edge["denied"]}
    # What was granted and never used is in the report, too.
    plain = lambda edges: {key: (kinds["allowed"], kinds["denied"]) for key, kinds in edges.items() if kinds["allowed"] + kinds["denied"]}
    same("edge", plain(edges), plain(theirs), faults)
    told = collections.Counter()
    for entry in report["tls"]:
        told[entry["version"]] += entry["requests"]
    same("tls", {version: count["requests"] for version, count in tls.items()}, told, faults)
    told = {entry["sha256"]: entry["requests"] for entry in report["certificates"]}
    same("certificate", {digest: count["requests"] for digest, count in certificates.items()}, told, faults)
    findings(edges, out, report, faults)
    analyses(edges, out, report["analyses"], faults)
    inventory(peers, report["analyses"]["certificates"], faults)
    if reasons is not None:
        told = {entry["reason"]: entry["count"] for entry in report["denials"]}
        same("denial", {reason: count["count"] for reason, count in reasons.items()}, told, faults)
    return faults


def findings(edges, out, report, faults):
    """The findings about who asked for what, with their counts."""
    told = lambda check: {found["subject"]: found["count"] for found in report["findings"] if found["check"] == check}
    granted = {(SERVICES[caller], which) for caller, which in LAW}
    named = [(caller, which, kinds) for (caller, which), kinds in edges.items() if caller]
    shadow = {f"{c} → orders {w or 'undeclared paths'}": k["allowed"] for c, w, k in named if k["allowed"] and (c, w) not in granted}
    for caller in {caller for caller, _, _ in named if out[TWO_WAYS + caller]}:
        shadow[f"{caller} → orders {TWO_WAYS}"] = out[TWO_WAYS + caller]
        shadow[f"{caller} → orders undeclared paths"] -= out[TWO_WAYS + caller]
    shadow = {subject: count for subject, count in shadow.items() if count}
    same("shadow edge", shadow, told("shadow_edge"), faults)
    unknown, denied = collections.Counter(), collections.Counter()
    for caller, _, kinds in named:
        denied[caller] += kinds["denied"]
        if caller not in SERVICES.values():
            unknown[caller] += kinds["allowed"] + kinds["denied"]
    same("unknown identity", unknown, told("unknown_identity_seen"), faults)
    # How many denials are a spike is for the report to say; how many there were is not.
    spikes = {caller: count for caller, count in told("denied_spike").items() if caller in denied}
    same("spike of denials", {caller: denied[caller] for caller in spikes}, spikes, faults)


def analyses(edges, out, report, faults):
    """The analyses of graphs and of use. All grants lead from one caller to `orders`, so that reach is one step, and nothing stands between."""
    short = lambda pairs: {(SERVICES[caller], which) for caller, which in pairs}
    granted, prohibited = short(LAW), short(PROHIBITED)
    # Whoever is not of the inventory is one caller.
    observed = {(c if c in SERVICES.values() else None, w) for (c, w), k in edges.items() if k["allowed"]}
    of = lambda caller: {which for who, which in granted if who == caller}
    calls = lambda caller, which: edges.get((caller, which), {}).get("allowed", 0)
    asked = lambda caller: sum(calls(caller, which) for which in of(caller))
    callers = {caller for caller, _ in granted}

    def both(what, ours, theirs):
        if ours != theirs:
            faults.append(f"{what}: counted {ours}, reported {theirs}")

    graphs = report["graphs"]
    both("declared, allowed and observed edges", (len(granted | prohibited), len(granted), len(observed)), (graphs["declared"], graphs["allowed"], graphs["observed"]))
    classes = {"used": granted & observed, "unused": granted - observed, "prohibited": prohibited - observed, "shadow": observed - granted - prohibited}
    same("edges that are", {name: len(is_in) for name, is_in in classes.items() if is_in}, {entry["class"]: entry["edges"] for entry in graphs["differences"]}, faults)
    for entry in graphs["differences"]:
        told = {(edge["from"], edge["operation"]) for edge in entry["examples"]}
        both(f"the edges that are {entry['class']}", sorted(classes.get(entry["class"], ()), key=str), sorted(told, key=str))

    shares = {caller: (sum(calls(caller, which) > 0 for which in of(caller)), len(of(caller))) for caller in callers}
    pair = lambda share: (share["have"], share["of"])
    same("use of the grants of", shares, {entry["service"]: pair(entry["edges"]) for entry in report["privilege"]["entries"]}, faults)
    both("edges used, of those granted", tuple(map(sum, zip(*shares.values()))), pair(report["privilege"]))
    # One grant for each caller; what it was used for is what its caller was let through with.
    name = lambda caller: f"{caller}-health" if caller == "prober" else f"{caller}-orders"
    ours = {name(caller): (*shares[caller], asked(caller)) for caller in callers}
    theirs = {entry["policy"]: (*pair(entry["edges"]), entry["requests"]) for entry in report["permissions"]["entries"]}
    same("use of grant", {k: v for k, v in ours.items() if k in theirs}, theirs, faults)
    # A request without a caller, or on a path that can be read in two ways, may have been let through by any grant that it fits.
    untold = lambda caller: sum(calls(None, which) for which in of(caller) | {None}) + out[TWO_WAYS + caller]
    told = {caller: asked(caller) == 0 and untold(caller) == 0 for caller in callers}
    both("grants never used", (sum(told.values()), len(callers)), pair(report["permissions"]))
    usage = {name(caller): "used" if asked(caller) else "unused" if told[caller] else "not-observed" for caller in callers}
    same("usage of grant", usage, {entry["policy"]: entry["usage"] for entry in report["permissions"]["entries"]}, faults)

    ours = {(caller, "personal"): (1, asked(caller)) for caller in callers}
    theirs = {(entry["from"], entry["target"]): (entry["steps"], entry["chain"][0]["requests"]) for entry in report["reach"]["entries"]}
    same("reach", ours, theirs, faults)
    for what in ("choke_points", "cuts", "protection"):
        both(what, 0, report[what]["have"])
    # Whoever holds a grant reaches `orders` and nothing else; nothing here is of a class that counts as sensitive.
    everything = lambda caller: sum(k["allowed"] for (c, _), k in edges.items() if c == caller)
    ours = {caller: (int(caller in callers), everything(caller)) for caller in SERVICES.values()} | {"orders": (0, 0)}
    same("blast radius", ours, {entry["service"]: (entry["reachable"], entry["requests"]) for entry in report["blast"]["entries"]}, faults)
    # Where a line names no caller nobody was seen to do what he may not.
    of_shadow = lambda edge: sum(k["allowed"] for (c, w), k in edges.items() if c and (c if c in SERVICES.values() else None, w) == edge)
    ours = {edge: of_shadow(edge) for edge in classes["shadow"] if of_shadow(edge)}
    for caller in [caller for caller, which in ours if which is None and out[TWO_WAYS + str(caller)]]:
        ours[caller, TWO_WAYS] = out[TWO_WAYS + caller]
        ours[caller, None] -= out[TWO_WAYS + caller]
    ours = {edge: count for edge, count in ours.items() if count}
    same("shadow edge", ours, {(entry["from"], entry["operation"]): entry["requests"] for entry in report["shadow"]["entries"]}, faults)
    idle = {caller for caller in SERVICES.values() if not everything(caller)} | (set() if observed else {"orders"})
    both("services without an allowed request", sorted(idle), sorted(entry["service"] for entry in report["stale"]["entries"]))
    both("operations and grants that can never be used", ["orders delete-order"], [entry["subject"] for entry in report["dead"]["entries"]])


# The other town: zones and data of its services, and who may call whom.
TOWN = "spiffe://chains.example/ns/shop/sa/"
ZONES = {"web": "edge", "mobile": "edge", "gateway": "front", "vault": "cde", "archive": "cde", "cards": "cde"}
ZONES |= {name: "inner" for name in ("orders", "billing", "broker", "signer", "reports")}
PAN = ["archive", "cards", "vault"]
CALLS = {
    ("web", "gateway"), ("mobile", "gateway"), ("mobile", "cards"), ("gateway", "orders"), ("gateway", "billing"), ("orders", "broker"),
    ("billing", "broker"), ("broker", "signer"), ("signer", "vault"), ("vault", "archive"), ("orders", "archive"), ("reports", "archive"),
}


def distances(starts, calls, without=()):
    """How many calls lead to each service from the nearest start, where some services are not there."""
    found, last, steps = {s: 0 for s in starts if s not in without}, [s for s in starts if s not in without], 0
    while last:
        steps += 1
        last = sorted({b for a, b in calls if a in last and b not in found and b not in without})
        found |= {b: steps for b in last}
    return found


def smallest(things, parts):
    """How many things at least have to go so that both sides are parted; nothing where all of them do not do it."""
    sizes = (n for n in range(len(things) + 1) if any(parts(set(some)) for some in itertools.combinations(sorted(things), n)))
    return next(sizes, None)


def chains(found, report):
    """The town's log and graphs, against the report."""
    faults, seen = [], collections.Counter()
    for line in found:
        record = json.loads(line)
        caller = record["downstream_peer_uri_san"].removeprefix(TOWN)
        callee = record["authority"].split(":")[0]
        denied = record["response_code_details"].startswith("rbac_access_denied")
        seen[caller if caller in ZONES else None, callee, not denied] += 1
    told = collections.Counter()
    for edge in report["edges"]:
        for passed, count in ((True, edge["allowed"]), (False, edge["denied"])):
            told[edge["from"], edge["to"], passed] += count
    same("edge", seen, +told, faults)

    analyses, outside = report["analyses"], sorted(s for s, zone in ZONES.items() if zone == "edge")
    passed = lambda a, b: seen[a, b, True]
    near = distances(outside, CALLS)
    ours, guarded = {}, 0
    for target in (s for s in PAN if s in near):
        # What every way passes is what must be there: without it there is no way.
        every = [s for s in ZONES if s != target and target not in distances(outside, CALLS, {s})]
        guarded += any(s not in outside for s in every)
        ours[target] = (sorted(every, key=near.get), [s for s in outside if (s, target) in CALLS], near[target])
    theirs = {e["target"]: (e["dominators"], e["exposed_to"], e["steps"]) for e in analyses["choke_points"]["entries"]}
    same("choke points before", ours, theirs, faults)
    same("choke points", {"have": guarded, "of": len(ours)}, {key: analyses["choke_points"][key] for key in ("have", "of")}, faults)

    ours = {}
    for target in (s for s in PAN if s in near):
        between = [s for s in ZONES if s not in outside and s != target]
        services = smallest(between, lambda some: target not in distances(outside, CALLS, some))
        ours[target] = (services, smallest(CALLS, lambda some: target not in distances(outside, CALLS - some)))
    size = lambda of: None if of is None else len(of)
    theirs = {e["target"]: (size(e["services"]), len(e["pairs"])) for e in analyses["cuts"]["entries"] if e["target"]}
    same("the smallest cut before", ours, theirs, faults)
    for entry in analyses["cuts"]["entries"]:
        goals = [entry["target"]] if entry["target"] else PAN
        pairs = {(pair["from"], pair["to"]) for pair in entry["pairs"]}
        if not pairs <= CALLS or set(goals) & set(distances(outside, CALLS - pairs)):
            faults.append(f"the pairs of the cut before {entry['target']} do not part it: {sorted(pairs)}")
        if entry["services"] is not None and set(goals) & set(distances(outside, CALLS, entry["services"])):
            faults.append(f"the services of the cut before {entry['target']} do not part it: {entry['services']}")

    ways = lambda calls: {(u, s) for u in outside for s in PAN if s in distances([u], calls)}
    ours = {f"{a}-calls-{b}": (len(lost), len(ways(CALLS)), sorted({s for _, s in lost}), passed(a, b)) for a, b in CALLS if (lost := ways(CALLS) - ways(CALLS - {(a, b)}))}
    theirs = {e["policy"]: (e["pairs"], e["of"], e["services"], e["requests"]) for e in analyses["protection"]["entries"]}
    same("what rests on grant", ours, theirs, faults)

    ours = {}
    for kind, target, at in [("data", "pan", set(PAN)), ("zone", "cde", {s for s in ZONES if ZONES[s] == "cde"})]:
        for caller in ZONES:
            reached = [n for s, n in distances([caller], CALLS).items() if s in at]
            if caller not in at and reached:
                ours[kind, target, caller] = min(reached)
    theirs = {(e["kind"], e["target"], e["from"]): e["steps"] for e in analyses["reach"]["entries"]}
    same("steps of reach", ours, theirs, faults)
    for entry in analyses["reach"]["entries"]:
        hops = [(hop["from"], hop["to"]) for hop in entry["chain"]]
        joined = all(a[1] == b[0] for a, b in zip(hops, hops[1:])) and hops[0][0] == entry["from"] and set(hops) <= CALLS
        if not joined or [hop["requests"] for hop in entry["chain"]] != [passed(*hop) for hop in hops]:
            faults.append(f"the chain from {entry['from']} to {entry['target']} is none: {hops}")

    ours = {}
    for service in ZONES:
        steps = {s: n for s, n in distances([service], CALLS).items() if n}
        by_step = [sum(n == step for n in steps.values()) for step in range(1, max(steps.values(), default=0) + 1)]
        ours[service] = (by_step, sorted((n, s) for s, n in steps.items() if s in PAN and s != service))
    theirs = {e["service"]: (e["by_step"], [(s["steps"], s["service"]) for s in e["sensitive"]]) for e in analyses["blast"]["entries"]}
    same("what is within reach of", ours, theirs, faults)
    return faults


def inventory(peers, report, faults):
    """Certificates by identity: how many, over which handshakes, and when the latest ends."""
    day = lambda text: text[:19]
    ours = {who: (peer.requests, len(peer.certificates), sorted(peer.shakes), day(peer.latest[2])) for who, peer in peers.items()}
    theirs = {e["id"]: (e["requests"], e["certificates"], sorted(e["handshakes"]), day(e["not_after"])) for e in report["entries"]}
    same("certificates of", ours, theirs, faults)


def cards(found, report, faults):
    """Lines with a number that passes for a card's; in these recordings it stands by itself."""
    def is_card(digits):
        doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
        return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0

    alone = re.compile(rb"(?<![0-9A-Za-z])[2-6][0-9]{12,18}(?![0-9A-Za-z])")
    lines = sum(any(is_card(n.decode()) for n in alone.findall(line)) for line in found)
    told = sum(finding["count"] for finding in report["findings"] if finding["check"] == "card_number_in_log")
    if lines != told:
        faults.append(f"lines with card numbers: counted {lines}, reported {told}")


def evidence(found, report, faults):
    """Every line that the report points at, by its digest."""
    for finding in report["findings"]:
        for place in finding["evidence"]:
            if not 1 <= place["line"] <= len(found) or place["sha256"] != "sha256:" + hashlib.sha256(found[place["line"] - 1]).hexdigest():
                faults.append(f"{finding['id']}: line {place['line']} is not what it points at")


def main():
    form, log, *assessment = sys.argv[1:]
    found = lines(log)
    if form == "chains":
        report = json.load(open(assessment[0]))
        faults = chains(found, report)
        evidence(found, report, faults)
        tell(faults)
    counted = (sidecar if form == "sidecar" else envoy)(found)
    if not assessment:
        out, edges, *_ = counted
        print(json.dumps(out, indent=1))
        for (caller, which), kinds in sorted(edges.items(), key=str):
            print(f"{kinds['allowed']:6} {kinds['denied']:6}  {caller}  {which}")
        return
    report = json.load(open(assessment[0]))
    faults = compare(counted, report)
    evidence(found, report, faults)
    cards(found, report, faults)
    tell(faults)


def tell(faults):
    print("\n".join(faults) or "every number is the same")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
