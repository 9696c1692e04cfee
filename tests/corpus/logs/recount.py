"""Counts the logs of this folder again, by plain rules and without any code of the product.

    recount.py [OURS]      OURS: a log of ours, of the services of the `istio` set

Prints one JSON object: for each set its lines with their digests, what they are, how often who was allowed or denied what by whom and how
well the caller is known, and what of it the policy beside the log grants.
"""

import collections
import csv
import datetime
import hashlib
import itertools
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).parent


class Law:
    """What `policy.yaml` says, read without a YAML library: identities, operations and grants by service."""

    def __init__(self, name):
        self.services, self.operations, self.grants, current = {}, [], set(), None
        self.zones, self.data, self.named = {}, {}, {}
        for line in (HERE / name / "policy.yaml").read_text().splitlines():
            if line.startswith("name: "):
                current = line[6:]
            if line.startswith("zone: "):
                self.zones[current] = line[6:]
            if line.startswith("data: ["):
                self.data[current] = line[7:-1]
            if line.startswith("identities: ["):
                self.services[line[13:-1]] = current
            if asked := re.match(r"  - {id: (\S+), method: (\S+), path: (\S+)}$", line):
                form = re.sub(r"{\w+}", "[^/]+", asked[3].strip('"'))
                self.operations.append((current, asked[1], asked[2], form))
            if asked := re.match(r"  - {id: (\S+), port: (\d+)}", line):
                self.operations.append((current, asked[1], "port", asked[2]))
            if asked := re.match(r"allow: {from: (\S+), to: (\S+), operations: \[(\S+)\]}", line):
                self.grants.add((asked[1], asked[2], asked[3]))
                self.named[current] = (asked[1], asked[2])

    def operation(self, service, how, what):
        """The operation of a request; `None` where it is none that is declared."""
        path = str(what).split("?")[0]
        found = (o for s, o, verb, form in self.operations if (s, verb) == (service, how) and re.fullmatch(form, path))
        return next(found, None)

    def judge(self, caller, callee, operation):
        """Whether it is granted; `None` where that hangs on something the line does not say."""
        named = caller in self.services.values() or caller.startswith("spiffe://")
        if not named or callee not in self.services.values():
            return None
        if operation is None and any((caller, callee) == (a, b) for a, b, _ in self.grants):
            return None
        return (caller, callee, operation) in self.grants


def result(lines, rows, law, **other):
    """Lines are raw; rows are (from, to, operation, allowed, grade)."""
    kinds = {"duplicates": 0, "rejected": 0, "lifecycle": 0, "undetermined": 0, "lost": 0, **other}
    count = lambda pairs: {key: len([k for k, _ in pairs if k == key]) for key, _ in pairs}
    decided, allowed = len(rows), sum(1 for row in rows if row[3])
    assert len(lines) == decided + kinds["duplicates"] + kinds["rejected"] + kinds["lifecycle"], (len(lines), decided, kinds)
    edges = collections.defaultdict(lambda: [0, 0])
    for caller, callee, operation, passed, _ in rows:
        edges[f"{caller} -> {callee} {operation or 'undeclared paths'}"][0 if passed else 1] += 1
    judged = [(f"{a} → {b} {o or 'undeclared paths'}", passed, law.judge(a, b, o)) for a, b, o, passed, _ in rows]
    unlawful = [(edge, 1) for edge, passed, granted in judged if passed and granted is False]
    overdenied = [(edge, 1) for edge, passed, granted in judged if not passed and granted]
    strangers = [row for row in rows if row[0].startswith("spiffe://")]
    let_in = {row[0] for row in strangers if row[3]}
    findings = {
        "shadow_edge": count(unlawful),
        "unlawful_access": count(unlawful),
        "denied_although_granted": count(overdenied),
        "unknown_identity_allowed": count([(row[0], 1) for row in strangers if row[0] in let_in]),
        "unknown_identity_seen": count([(row[0], 1) for row in strangers if row[0] not in let_in]),
    }
    return {
        "lines": len(lines),
        "decided": decided,
        "allowed": allowed,
        "denied": decided - allowed,
        "unlawful": len(unlawful),
        "overdenied": len(overdenied),
        "not_replayable": len([1 for _, _, granted in judged if granted is None]),
        "edges": edges,
        "grades": count([(row[4], 1) for row in rows]),
        "findings": findings,
        "analyses": analyses(rows, law),
        "tls": {},
        "certificates": {},
        "digests": ["sha256:" + hashlib.sha256(line.encode()).hexdigest() for line in lines],
        **kinds,
    }


def analyses(rows, law):
    """The graphs and what follows from them, by trying everything: each definition as it stands in the book, over all subsets where it asks for a
    smallest one. Outside is the zone `edge`; what is sensitive has data of the class `pan`."""
    services = sorted(set(law.services.values()))
    observed, calls, asked = set(), collections.Counter(), collections.defaultdict(set)
    for caller, callee, operation, passed, _ in rows:
        if passed:
            observed.add((caller if caller in services else None, callee, operation))
            if caller in services:
                calls[caller] += 1
                asked[caller].add(callee)
    classes = {"used": law.grants & observed, "unused": law.grants - observed, "shadow": observed - law.grants}
    pairs = {(a, b) for a, b, _ in law.grants if a != b}
    outside = [s for s in services if law.zones.get(s) == "edge"]
    sensitive = [s for s in services if law.data.get(s) == "pan"]

    def steps(starts, edges, without=()):
        """How many calls lead to each service from the nearest start, without some of them."""
        found, last, n = {s: 0 for s in starts if s not in without}, list(starts), 0
        while last:
            n += 1
            last = [b for a in last if a not in without for x, b in sorted(edges) if x == a and b not in found and b not in without]
            found.update({b: n for b in last})
        return found

    def smallest(things, parts):
        """The smallest sets of things of which each parts the two sides; nothing where none does."""
        for size in range(len(things) + 1):
            if found := [sorted(some) for some in itertools.combinations(sorted(things), size) if parts(set(some))]:
                return found
        return None

    reach = []
    for kind, target, at in [("data", "pan", set(sensitive))] + [("zone", z, {s for s in services if law.zones[s] == z}) for z in {law.zones[s] for s in sensitive}]:
        for caller in services:
            ways = [n for s, n in steps([caller], pairs).items() if s in at]
            if caller not in at and ways:
                reach.append([kind, target, caller, min(ways)])
    near = [s for s in sensitive if s in steps(outside, pairs)]
    choke, cuts = {}, {}
    for s in near:
        on_every_way = [v for v in services if v != s and s not in steps(outside, pairs, {v})]
        from_outside = steps(outside, pairs)
        choke[s] = [sorted(on_every_way, key=from_outside.get), sorted(u for u in outside if (u, s) in pairs), from_outside[s]]
        between = [v for v in services if v not in outside and v != s]
        cuts[s] = [smallest(between, lambda some: s not in steps(outside, pairs, some)), smallest(pairs, lambda some: s not in steps(outside, pairs - some))]
    both = lambda edges: {(u, s) for u in outside for s in sensitive if u != s and s in steps([u], edges)}
    protection = {}
    for name, pair in law.named.items():
        left = {other for policy, other in law.named.items() if policy != name and other[0] != other[1]}
        if lost := both(pairs) - both(left):
            protection[name] = [len(lost), len(both(pairs)), sorted({s for _, s in lost})]
    blast = {}
    for service in services:
        found = {s: n for s, n in steps([service], pairs).items() if n}
        by_step = [sum(n == step for n in found.values()) for step in range(1, max(found.values(), default=0) + 1)]
        within = sorted([found[s], s] for s in sensitive if s != service and s in found)
        blast[service] = [by_step, within, service in sensitive, calls[service], len(asked[service])]
    return {
        "graphs": [len(law.grants), len(law.grants), len(observed), {name: len(edges) for name, edges in classes.items() if edges}],
        "reach": sorted(reach),
        "choke_points": choke,
        "cuts": cuts,
        "protection": protection,
        "blast": blast,
    }


def host(name, known):
    first = name.split(":")[0].split(".")[0]
    return first if first in known.values() else name


def address(ip, of):
    """What a caller is called of which a line has nothing but an address."""
    return f"address {ip} ({of})"


def text(name, file):
    law, rows, seen, duplicates, other = Law(name), [], {}, 0, 0
    known = law.services
    lines = (HERE / name / file).read_text().splitlines()
    for line in lines:
        asked = re.search(r'"(\S+) (\S+) HTTP/\S+" (\d+) ', line)
        if not asked:
            other += 1
            continue
        cluster = re.search(r" (inbound|inbound-vip|outbound)\|(\d*)\|[^|]*\|(\S*) (\S+) (\S+) (\S+) ", line)
        quoted = re.findall(r'"([^"]*)"', line)
        if cluster:
            callee = host(cluster.group(3), known)
            caller = address(cluster.group(6).rsplit(":", 1)[0], "peer or forwarded")
            side = cluster.group(1).split("-")[0]
        else:
            callee, caller, side = quoted[-2], "unknown", "inbound"
        request_id = quoted[-3]
        key = (request_id, callee, asked.group(1), asked.group(2))
        operation = law.operation(callee, asked.group(1), asked.group(2))
        row = (caller, callee, operation, "rbac_access_denied" not in line, "E" if caller == "unknown" else "D")
        if key in seen and seen[key][0] != side:
            duplicates += 1
            if side == "inbound":
                rows[seen[key][1]] = row
            continue
        seen[key] = (side, len(rows))
        rows.append(row)
    return result(lines, rows, law, duplicates=duplicates, lifecycle=other)


def istio_json():
    law, called, calling, seen, rejected, duplicates = Law("istio"), [], [], set(), 0, 0
    known = law.services
    lines = (HERE / "istio/access.json").read_text().splitlines()
    for line in lines:
        try:
            it = json.loads(line)
        except ValueError:
            rejected += 1
            continue
        if line in seen:
            duplicates += 1
            continue
        seen.add(line)
        (called if it["upstream_cluster"].startswith("inbound") else calling).append(it)
    key = lambda it, callee: (it["request_id"], known[callee], it["method"], it["path"])
    at_callee = {key(it, it["downstream_local_uri_san"]) for it in called}

    def row(caller, callee, it, allowed):
        return known[caller], known[callee], law.operation(known[callee], it["method"], it["path"]), allowed, "A"

    passed = lambda it: "rbac" not in it["response_code_details"]
    rows = [row(it["downstream_peer_uri_san"], it["downstream_local_uri_san"], it, passed(it)) for it in called]
    undetermined = 0
    for it in calling:
        if key(it, it["upstream_peer_uri_san"]) in at_callee:
            duplicates += 1
        elif it["response_code"] == 403:
            undetermined += 1
        else:
            rows.append(row(it["upstream_local_uri_san"], it["upstream_peer_uri_san"], it, True))
    # Handshakes and certificates as the called side wrote them down.
    tls = collections.Counter(f'{it["downstream_tls_version"]} {it["downstream_tls_cipher"]}' for it in called)
    certificates = collections.Counter("sha256:" + it["downstream_peer_fingerprint_256"] for it in called)
    kinds = {"duplicates": duplicates, "rejected": rejected, "lifecycle": undetermined, "undetermined": undetermined}
    return result(lines, rows, law, **kinds, tls=tls, certificates=certificates)


def ztunnel():
    law, rows = Law("ztunnel"), []
    known = law.services
    lines = (HERE / "ztunnel/ztunnel.log").read_text().splitlines()
    fields = [dict(re.findall(r'(\S+?)="?([^"\s]*)"?', line.split("complete", 1)[1])) for line in lines]
    # A connection that both ends wrote down: the same addresses, the bytes the other way round, within two seconds. The called end stays.
    at = lambda n: datetime.datetime.fromisoformat(lines[n].split()[0].replace("Z", "+00:00"))
    ends = lambda it, sent, received: (it["src.addr"].rsplit(":", 1)[0], it["dst.addr"].rsplit(":", 1)[0], it[sent], it[received])
    inbound = [n for n, it in enumerate(fields) if it["direction"] == "inbound"]
    again = set()
    for n, it in enumerate(fields):
        if it["direction"] == "outbound":
            other = [m for m in inbound if ends(it, "bytes_sent", "bytes_recv") == ends(fields[m], "bytes_recv", "bytes_sent")]
            other = [m for m in other if abs((at(n) - at(m)).total_seconds()) <= 2]
            if other:
                inbound.remove(other[0])
                again.add(n)
    for n, field in enumerate(fields):
        if n in again:
            continue
        caller = field["src.identity"]
        callee = field["dst.identity"]
        by_name = field["dst.service"].split(".")[0]
        to = known.get(callee) or (by_name if by_name in known.values() else callee)
        # Below HTTP: a connection has no operation here.
        rows.append((known.get(caller, caller), to, None, "error" not in field, "C"))
    return result(lines, rows, law, duplicates=len(again))


def hubble(file):
    law, rows, other, lost = Law("hubble"), [], 0, 0
    known = law.services
    lines = (HERE / "hubble" / file).read_text().splitlines()
    for line in lines:
        it = json.loads(line)
        if "lost_events" in it:
            other, lost = other + 1, lost + int(it["lost_events"]["num_events_lost"])
            continue
        flow = it["flow"]
        if "TCP" not in flow["l4"]:
            other += 1
            continue

        def end(side):
            of = flow[side]
            apps = [label[8:] for label in of.get("labels", []) if label.startswith("k8s:app=")]
            name = apps[0] if apps else of["pod_name"]
            if name in known.values():
                return name
            return f'{of["namespace"]}/{name}' if side == "source" else name

        callee = end("destination")
        operation = law.operation(callee, "port", flow["l4"]["TCP"]["destination_port"])
        rows.append((end("source"), callee, operation, flow["verdict"] == "FORWARDED", "C"))
    return result(lines, rows, law, lifecycle=other, lost=lost)


def opa():
    law, rows = Law("opa"), []
    known = law.services
    lines = (HERE / "opa/decisions.jsonl").read_text().splitlines()
    for line in lines:
        it = json.loads(line)
        at = it["input"]["attributes"]
        http = at["request"]["http"]
        callee = host(http["host"], known)
        operation = law.operation(callee, http["method"], http["path"])
        rows.append((address(at["source"]["address"]["socketAddress"]["address"], "source.address"), callee, operation, it["result"], "D"))
    return result(lines, rows, law)


def mapped():
    owner = {"10.0.1": "web", "10.0.2": "jobs", "10.0.3": "db"}
    law, rows, other, lost, rejected, last = Law("mapped"), [], 1, 0, 0, None
    lines = (HERE / "mapped/flows.csv").read_text().splitlines()
    table = list(csv.DictReader(lines, delimiter=";"))
    for it in table:
        if last is not None:
            lost += int(it["no"]) - last - 1
        last = int(it["no"])
        if it["status"] in ("SKIPDATA", "NODATA"):
            other, lost = other + 1, lost + (it["status"] == "SKIPDATA")
        elif not it["start"].isdigit():
            rejected += 1
        else:
            name = lambda ip, other: owner.get(ip.rsplit(".", 1)[0], other)
            callee = name(it["target"], it["target"])
            operation = law.operation(callee, "port", it["dport"])
            rows.append((name(it["source"], address(it["source"], "as mapped")), callee, operation, it["action"] == "ACCEPT", "D"))
    return result(lines, rows, law, lifecycle=other, rejected=rejected, lost=lost)


def ours(path):
    """A log of our own: its chain, and what was decided."""
    law, rows, other, before = Law("istio"), [], 0, "sha256:" + "0" * 64
    lines = pathlib.Path(path).read_text().splitlines()
    for number, line in enumerate(lines):
        it = json.loads(line)
        assert it["seq"] == number and it["prev"] == before, f"line {number + 1}: the chain is broken"
        before = "sha256:" + hashlib.sha256(line.encode()).hexdigest()
        if it["event"] != "decided":
            other += 1
            continue
        caller, callee, asked = law.services[it["source"]["id"]], it["destination"]["service"], it["request"]
        allowed = it["decision"]["effect"] == "allow"
        operation = law.operation(callee, asked["method"], asked["path"])
        assert law.judge(caller, callee, operation) == allowed, f"line {number + 1}: the law says otherwise"
        rows.append((caller, callee, operation, allowed, "A"))
    return result(lines, rows, law, lifecycle=other)


print(
    json.dumps(
        {
            "envoy/access.log": text("envoy", "access.log"),
            "istio/waypoint.log": text("istio", "waypoint.log"),
            "istio/access.json": istio_json(),
            "ztunnel/ztunnel.log": ztunnel(),
            "hubble/docs.jsonl": hubble("docs.jsonl"),
            "hubble/hipstershop.jsonl": hubble("hipstershop.jsonl"),
            "opa/decisions.jsonl": opa(),
            "mapped/flows.csv": mapped(),
            **({"ours": ours(sys.argv[1])} if sys.argv[1:] else {}),
        },
        indent=1,
    )
)
