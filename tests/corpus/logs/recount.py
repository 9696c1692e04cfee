"""Counts the logs of this folder again, by plain rules and without any code of the product.

Prints one JSON object: for each set its lines, what they are, and how often who was allowed or denied what by whom.
"""

import collections
import csv
import json
import pathlib
import re

HERE = pathlib.Path(__file__).parent


def services(name):
    """The inventory: names and the identities after them, read without a YAML library."""
    found, current = {}, None
    for line in (HERE / name / "policy.yaml").read_text().splitlines():
        if line.startswith("name: "):
            current = line[6:]
        if line.startswith("identities: ["):
            found[line[13:-1]] = current
    return found


def result(lines, rows, **other):
    """Rows are (from, to, allowed)."""
    edges = collections.defaultdict(lambda: [0, 0])
    for caller, callee, allowed in rows:
        edges[f"{caller} -> {callee}"][0 if allowed else 1] += 1
    kinds = {"duplicates": 0, "rejected": 0, "lifecycle": 0, "undetermined": 0, "lost": 0, **other}
    decided = len(rows)
    allowed = sum(1 for row in rows if row[2])
    assert lines == decided + kinds["duplicates"] + kinds["rejected"] + kinds["lifecycle"], (lines, decided, kinds)
    return {"lines": lines, "decided": decided, "allowed": allowed, "denied": decided - allowed, "edges": edges, **kinds}


def host(name, known):
    first = name.split(":")[0].split(".")[0]
    return first if first in known.values() else name


def text(name, file):
    known, rows, seen, duplicates, other = services(name), [], {}, 0, 0
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
            caller = cluster.group(6).rsplit(":", 1)[0]
            side = cluster.group(1).split("-")[0]
        else:
            callee, caller, side = quoted[-2], "unknown", "inbound"
        request_id = quoted[-3]
        key = (request_id, callee, asked.group(1), asked.group(2))
        row = (caller, callee, "rbac_access_denied" not in line)
        if key in seen and seen[key][0] != side:
            duplicates += 1
            if side == "inbound":
                rows[seen[key][1]] = row
            continue
        seen[key] = (side, len(rows))
        rows.append(row)
    return result(len(lines), rows, duplicates=duplicates, lifecycle=other)


def istio_json():
    known, called, calling, seen, rejected, duplicates = services("istio"), [], [], set(), 0, 0
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
    rows = [
        (known[it["downstream_peer_uri_san"]], known[it["downstream_local_uri_san"]], "rbac" not in it["response_code_details"])
        for it in called
    ]
    undetermined = 0
    for it in calling:
        if key(it, it["upstream_peer_uri_san"]) in at_callee:
            duplicates += 1
        elif it["response_code"] == 403:
            undetermined += 1
        else:
            rows.append((known[it["upstream_local_uri_san"]], known[it["upstream_peer_uri_san"]], True))
    return result(len(lines), rows, duplicates=duplicates, rejected=rejected, lifecycle=undetermined, undetermined=undetermined)


def ztunnel():
    known, rows = services("ztunnel"), []
    lines = (HERE / "ztunnel/ztunnel.log").read_text().splitlines()
    for line in lines:
        field = dict(re.findall(r'(\S+?)="?([^"\s]*)"?', line.split("complete", 1)[1]))
        caller = field["src.identity"]
        callee = field["dst.identity"]
        by_name = field["dst.service"].split(".")[0]
        to = known.get(callee) or (by_name if by_name in known.values() else callee)
        rows.append((known.get(caller, caller), to, "error" not in field))
    return result(len(lines), rows)


def hubble(file):
    known, rows, other, lost = services("hubble"), [], 0, 0
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

        rows.append((end("source"), end("destination"), flow["verdict"] == "FORWARDED"))
    return result(len(lines), rows, lifecycle=other, lost=lost)


def opa():
    known, rows = services("opa"), []
    lines = (HERE / "opa/decisions.jsonl").read_text().splitlines()
    for line in lines:
        it = json.loads(line)
        at = it["input"]["attributes"]
        rows.append((at["source"]["address"]["socketAddress"]["address"], host(at["request"]["http"]["host"], known), it["result"]))
    return result(len(lines), rows)


def mapped():
    owner = {"10.0.1": "web", "10.0.2": "jobs", "10.0.3": "db"}
    rows, other, lost, rejected, last = [], 1, 0, 0, None
    with open(HERE / "mapped/flows.csv", newline="") as file:
        table = list(csv.DictReader(file, delimiter=";"))
    for it in table:
        if last is not None:
            lost += int(it["no"]) - last - 1
        last = int(it["no"])
        if it["status"] in ("SKIPDATA", "NODATA"):
            other, lost = other + 1, lost + (it["status"] == "SKIPDATA")
        elif not it["start"].isdigit():
            rejected += 1
        else:
            name = lambda ip: owner.get(ip.rsplit(".", 1)[0], ip)
            rows.append((name(it["source"]), name(it["target"]), it["action"] == "ACCEPT"))
    return result(len(table) + 1, rows, lifecycle=other, rejected=rejected, lost=lost)


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
        },
        indent=1,
    )
)
