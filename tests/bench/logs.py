#!/usr/bin/env python3
"""Writes an Istio-JSON log of any size, and the policies it is judged under: deterministic, and all of it made up.

    logs.py log FILE --mebibytes N [--shuffle] [--seed N] [--paths few|many]
    logs.py policy FOLDER --permissions N
    logs.py run --portreeve BINARY --python VENV/bin/python [--folder DIR] [--mebibytes N] [--rounds N] [--goal r1,r2,…]

The last runs the goals: `portreeve audit`, whole, beside what DuckDB, ClickHouse (chdb) and DataFusion take merely to group the same file
by caller, host and method, in interleaved rounds, one thread each. What is compared is processor time of the whole process tree; of the
peers the query alone, without the start of Python. Whatever peer is not installed is left out and said so (pip install duckdb chdb
datafusion).

The log is that of inbound sidecars of a made-up shop: sixty services with six operations each, callers known by their certificate, in
the keys of Istio's default JSON and of the recommended format (docs/logs.md). One block of lines is made with random choices and written
again and again with other times and request ids, so that gigabytes take minutes; `--shuffle` gives every line of the block an order of
its own and quotes to escape in every twentieth. `--paths many` draws ids out of a million, `few` out of ten.
"""

import argparse
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import time

SERVICES = 60
OPERATIONS = ["list", "read", "write", "change", "remove", "search"]
DOMAIN = "shop.example"


def name(n):
    return f"svc-{n:02d}"


def endpoint(n, operation, number):
    base = f"/v1/{name(n)}"
    return {
        "list": ("GET", base),
        "read": ("GET", f"{base}/{number}"),
        "write": ("POST", base),
        "change": ("PUT", f"{base}/{number}"),
        "remove": ("DELETE", f"{base}/{number}"),
        "search": ("GET", f"{base}/{number}/related"),
    }[operation]


def callers(n):
    """Who calls a service: eight others, always the same."""
    return [(n * 7 + k * 11 + 3) % SERVICES for k in range(8)]


def member(choose, shuffle, ids):
    """One line without time and request id, as a list of keys and values."""
    to = choose.randrange(SERVICES)
    caller = choose.choice(callers(to)) if choose.random() < 0.98 else choose.randrange(SERVICES)
    operation = choose.choices(OPERATIONS, [30, 45, 8, 6, 2, 9])[0]
    method, path = endpoint(to, operation, choose.randrange(ids))
    denied = choose.random() < 0.01
    code = 403 if denied else choose.choices([200, 201, 404, 503], [92, 4, 3, 1])[0]
    agent = "okhttp/4.12.0" if not shuffle or choose.random() > 0.05 else 'agent "quoted" \\ 1'
    host = f"{name(to)}.shop.svc.cluster.local"
    return [
        ("start_time", "@TIME@"),
        ("method", method),
        ("path", path),
        ("protocol", "HTTP/2"),
        ("response_code", code),
        ("response_flags", "-"),
        ("response_code_details", "rbac_access_denied_matched_policy[none]" if denied else "via_upstream"),
        ("connection_termination_details", None),
        ("upstream_transport_failure_reason", None),
        ("bytes_received", choose.randrange(2000) if method in ("POST", "PUT") else 0),
        ("bytes_sent", choose.randrange(100_000)),
        ("duration", choose.randrange(400)),
        ("upstream_service_time", str(choose.randrange(400))),
        ("x_forwarded_for", None),
        ("user_agent", agent),
        ("request_id", "@ID@"),
        ("authority", f"{host}:8080"),
        ("upstream_host", f"10.1.{to}.{choose.randrange(3)}:8080"),
        ("upstream_cluster", "inbound|8080||"),
        ("upstream_local_address", f"127.0.0.6:{choose.randrange(32768, 61000)}"),
        ("downstream_local_address", f"10.1.{to}.{choose.randrange(3)}:8080"),
        ("downstream_remote_address", f"10.1.{caller}.{choose.randrange(3)}:{choose.randrange(32768, 61000)}"),
        ("requested_server_name", f"outbound_.8080_._.{host}"),
        ("route_name", "default"),
        ("downstream_peer_uri_san", f"spiffe://{DOMAIN}/ns/shop/sa/{name(caller)}"),
        ("downstream_local_uri_san", f"spiffe://{DOMAIN}/ns/shop/sa/{name(to)}"),
        ("downstream_tls_version", "TLSv1.3"),
        ("downstream_tls_cipher", "TLS_AES_256_GCM_SHA384"),
    ]


def write_log(args):
    choose = random.Random(args.seed)
    ids = {"few": 10, "many": 1_000_000}[args.paths]
    parts = []
    for _ in range(args.block):
        line = member(choose, args.shuffle, ids)
        if args.shuffle:
            choose.shuffle(line)
        text = json.dumps(dict(line), separators=(",", ":")) + "\n"
        # Cut at the two places that differ each time; which comes first depends on the order.
        before, after = text.split("@TIME@")
        parts.append((before, after, "@ID@" in before))
    wanted = args.mebibytes << 20
    written = number = 0
    with open(args.file, "wb") as out:
        while written < wanted:
            block = []
            for before, after, id_first in parts:
                ms = number // 4
                time = f"2026-11-{10 + ms // 86_400_000 % 15:02d}T{ms // 3_600_000 % 24:02d}:{ms // 60_000 % 60:02d}:{ms // 1000 % 60:02d}.{ms % 1000:03d}Z"
                request = f"{number & 0xffffffff:08x}-5e1f-4a00-8000-{number * 0x9E3779B97F4A7C15 & 0xffffffffffff:012x}"
                if id_first:
                    before = before.replace("@ID@", request, 1)
                else:
                    after = after.replace("@ID@", request, 1)
                block.append(before + time + after)
                number += 1
            data = "".join(block).encode()
            if written + len(data) > wanted:
                data = data[: data.rindex(b"\n", 0, max(wanted - written, 4096)) + 1]
            out.write(data)
            written += len(data)
    print(f"{args.file}: {written:,} bytes", file=sys.stderr)


def write_policy(args):
    """The sixty services and what their callers may do; further permissions up to the number wanted are between services that never talk."""
    os.makedirs(args.folder, exist_ok=True)
    out = []
    padding = 0 if args.permissions <= SERVICES else 12
    for n in range(SERVICES + padding * 30):
        out.append(f"---\nkind: Service\nname: {name(n)}\nidentities: [spiffe://{DOMAIN}/ns/shop/sa/{name(n)}]\nzone: shop\noperations:\n")
        for operation in OPERATIONS:
            method, path = endpoint(n, operation, "{id}")
            out.append(f"  - {{id: {operation}, method: {method}, path: \"{path}\"}}\n")
    grants = []
    if args.permissions < SERVICES:
        everyone = ", ".join(name(n) for n in range(SERVICES))
        grants = [f"allow: {{from: [{everyone}], to: {name(n)}, operations: '*'}}" for n in range(args.permissions)]
    else:
        for n in range(SERVICES):
            grants.append(f"allow: {{from: [{', '.join(name(c) for c in callers(n))}], to: {name(n)}, operations: '*'}}")
        for k in range(args.permissions - SERVICES):
            a, b = SERVICES + k % 360, SERVICES + (k // 360 + k * 7 + 1) % 360
            grants.append(f"allow: {{from: [{name(a)}], to: {name(b)}, operations: [{OPERATIONS[k % 6]}]}}")
    for k, grant in enumerate(grants):
        out.append(f"---\nkind: Permission\nname: grant-{k}\n{grant}\njustification: Made up for a measurement.\nowner: bench\n")
    with open(os.path.join(args.folder, "policy.yaml"), "w", encoding="utf-8") as file:
        file.write("".join(out))


COLUMNS = ["downstream_peer_uri_san", "authority", "method"]
PEERS = {
    "duckdb": """
import duckdb, sys
c = duckdb.connect(); c.execute("set threads=1"); c.execute("set enable_progress_bar=false")
def run(path):
    columns = "{" + ", ".join(f"'{k}': 'VARCHAR'" for k in COLUMNS) + "}"
    return c.execute(f"select {', '.join(COLUMNS)}, count(*) from read_json('{path}', columns={columns}, format='newline_delimited') group by all").fetchall()
""",
    "chdb": """
import chdb, json
def run(path):
    schema = ", ".join(f"{k} String" for k in COLUMNS)
    got = chdb.query(f"select {', '.join(COLUMNS)}, count() as n from file('{path}', JSONEachRow, '{schema}') group by {', '.join(COLUMNS)} "
        "settings max_threads=1, input_format_skip_unknown_fields=1", "JSONCompact")
    return [(*row[:3], int(row[3])) for row in json.loads(str(got))["data"]]
""",
    "datafusion": """
import datafusion, pyarrow as pa
def run(path):
    c = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(1))
    kind = {"zst": "zstd", "gz": "gzip"}.get(path.rsplit(".", 1)[-1])
    more = {"file_compression_type": kind} if kind else {}
    extension = ".ndjson" + ("." + path.rsplit(".", 1)[-1] if kind else "")
    c.register_json("log", path, schema=pa.schema([(k, pa.string()) for k in COLUMNS]), file_extension=extension, **more)
    got = c.sql(f"select {', '.join(COLUMNS)}, count(*) as n from log group by {', '.join(COLUMNS)}").to_pydict()
    return list(zip(*got.values()))
""",
}
AROUND = """
import hashlib, json, resource, sys
COLUMNS = json.loads(sys.argv[2])
CODE
before = resource.getrusage(resource.RUSAGE_SELF)
rows = run(sys.argv[1])
after = resource.getrusage(resource.RUSAGE_SELF)
cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
table = hashlib.sha256(repr(sorted((*map(str, row[:3]), int(row[3])) for row in rows)).encode()).hexdigest()
print(json.dumps({"cpu": cpu, "rss": after.ru_maxrss, "lines": sum(int(row[3]) for row in rows), "table": table}))
"""


def peer(python, name, path):
    """The processor time of one query, and what it gave."""
    script = AROUND.replace("CODE", PEERS[name])
    run = subprocess.run([python, "-c", script, path, json.dumps(COLUMNS)], capture_output=True, text=True)
    if run.returncode != 0:
        return None
    # Some draw a progress bar before it.
    return json.loads(run.stdout[run.stdout.rindex('{"cpu"') :])


def ours(args, *words):
    """The processor time of one run of the product, its peak memory, its exit and its last words."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    run = subprocess.run(["/usr/bin/time", "-f", "RSS %M", args.portreeve, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = run.stderr.decode()
    if run.returncode not in (0, 1):
        sys.exit(f"{words}: {told}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    decided = re.search(r"(\d+) decided", told)
    return {"cpu": cpu, "wall": wall, "rss": int(re.search(r"RSS (\d+)", told).group(1)), "lines": int(decided.group(1)) if decided else None, "out": run.stdout}


def spin_efficiency():
    """How much two loops at once get done beside one: 2.0 on two free processors."""
    loop = "import time\nt=time.process_time()\nn=0\nwhile n<8000000: n+=1"

    def measure(count):
        start = time.monotonic()
        running = [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(count)]
        for process in running:
            process.wait()
        return time.monotonic() - start

    one = measure(1)
    return 2 * one / measure(2)


def show(name, values, size=None):
    middle = statistics.median(values)
    rate = f", {size / middle / 1e9:.2f} GB per CPU-s" if size else ""
    print(f"  {name}: median {middle:.2f} s ({min(values):.2f} to {max(values):.2f}){rate}", flush=True)


def ratios(name, ours_cpu, theirs, goal):
    each = [t / o for o, t in zip(ours_cpu, theirs)]
    held = sum(r >= goal for r in each)
    middle = statistics.median(each)
    print(f"  {name} over ours: {middle:.2f} ({min(each):.2f} to {max(each):.2f}), goal {goal}: held in {held} of {len(each)}", flush=True)


def beside(args, path, size, goals, bundle):
    """Interleaved rounds of ours and of every peer on one file."""
    asked = list(goals)
    taken = {name: [] for name in ["portreeve", *goals]}
    tables = set()
    for _ in range(args.rounds):
        run = ours(args, "audit", "--threads", "1", "--bundle", bundle, "--fail-on", "never", path)
        taken["portreeve"].append(run["cpu"])
        for name in goals:
            got = peer(args.python, name, path)
            if got is None:
                taken.pop(name, None)
                continue
            taken[name].append(got["cpu"])
            tables.add((got["lines"], got["table"]))
            if got["lines"] != run["lines"]:
                sys.exit(f"{name} counted {got['lines']} lines, portreeve {run['lines']}")
        goals = {name: goal for name, goal in goals.items() if name in taken}
    if len(tables) > 1:
        sys.exit(f"the peers disagree: {tables}")
    for name, values in taken.items():
        show(name, values, size)
    for name, goal in goals.items():
        ratios(name, taken["portreeve"], taken[name], goal)
    for name in asked:
        if name not in taken:
            print(f"  {name} is not installed or could not read the file; left out")


def prepare(args, name, *words):
    path = os.path.join(args.folder, name)
    if not os.path.exists(path):
        subprocess.run([sys.executable, __file__, "log", path + ".new", "--mebibytes", str(args.mebibytes), *words], check=True)
        os.rename(path + ".new", path)
    with open(path, "rb") as file:
        while file.read(1 << 24):
            pass
    return path, os.path.getsize(path)


def policy(args, permissions):
    folder = os.path.join(args.folder, f"policy-{permissions}")
    subprocess.run([sys.executable, __file__, "policy", folder, "--permissions", str(permissions)], check=True)
    return folder


def run_goals(args):
    os.makedirs(args.folder, exist_ok=True)
    goals = args.goal.split(",")
    print(f"two loops at once do {spin_efficiency():.2f} times the work of one; {args.rounds} rounds", flush=True)
    bundle = policy(args, 100)
    plain, size = prepare(args, "istio.ndjson")
    if "r1" in goals:
        print(f"R1: {size:,} bytes, keys in one order", flush=True)
        beside(args, plain, size, {"duckdb": 3, "chdb": 6, "datafusion": 3}, bundle)
    if "r2" in goals:
        path, shuffled = prepare(args, "shuffled.ndjson", "--shuffle")
        print(f"R2: {shuffled:,} bytes, keys in random order", flush=True)
        beside(args, path, shuffled, {"duckdb": 1.3}, bundle)
    if "r3" in goals:
        for tool, ending, goal in (("zstd -q -3", "zst", 1.5), ("gzip -6", "gz", 1.2)):
            path = f"{plain}.{ending}"
            if not os.path.exists(path):
                with open(path, "wb") as out:
                    subprocess.run([*tool.split(), "-c", plain], stdout=out, check=True)
            print(f"R3: {tool}, {os.path.getsize(path):,} of {size:,} bytes", flush=True)
            beside(args, path, size, {"duckdb": goal}, bundle)
    if "r5" in goals:
        print("R5: the same log under 1, 100 and 10,000 permissions", flush=True)
        bundles = {n: policy(args, n) for n in (1, 100, 10_000)}
        tiny = os.path.join(args.folder, "tiny.ndjson")
        with open(plain, "rb") as log, open(tiny, "wb") as out:
            out.write(log.readline())
        taken = {n: [] for n in bundles}
        for _ in range(args.rounds):
            for n, folder in bundles.items():
                # Compiling the policies is not reading the log: what one line costs is taken off.
                whole = ours(args, "audit", "--threads", "1", "--bundle", folder, "--fail-on", "never", plain)["cpu"]
                taken[n].append(whole - ours(args, "audit", "--threads", "1", "--bundle", folder, "--fail-on", "never", tiny)["cpu"])
        for n, values in taken.items():
            show(f"{n} permissions, without compiling them", values, size)
    if "r6" in goals:
        print("R6: memory, and one thread against several", flush=True)
        said = set()
        for threads in (1, 2, 3):
            out = os.path.join(args.folder, "report")
            run = ours(
                args, "audit", "--threads", str(threads), "--bundle", bundle, "--fail-on", "never", "--out", out, plain
            )
            with open(os.path.join(out, "assessment.json"), "rb") as file:
                said.add(file.read())
            print(f"  audit, {threads} threads: {run['cpu']:.2f} CPU-s, {run['wall']:.2f} s, peak {run['rss'] / 1024:.0f} MiB", flush=True)
        print(f"  the assessments are {'the same bytes' if len(said) == 1 else 'DIFFERENT'}")
        made = set()
        for threads in (1, 2, 3):
            out = os.path.join(args.folder, "bench.ledger")
            if os.path.exists(out):
                os.remove(out)
            run = ours(args, "ledger", "build", "--bundle", bundle, "--threads", str(threads), "--out", out, plain)
            with open(out, "rb") as file:
                made.add(file.read())
            print(f"  ledger build, {threads} threads: {run['cpu']:.2f} CPU-s, {run['wall']:.2f} s, peak {run['rss'] / 1024:.0f} MiB", flush=True)
        print(f"  the ledgers are {'the same bytes' if len(made) == 1 else 'DIFFERENT'}")
        if len(made) != 1 or len(said) != 1:
            sys.exit(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    log = commands.add_parser("log")
    log.add_argument("file")
    log.add_argument("--mebibytes", type=int, required=True)
    log.add_argument("--shuffle", action="store_true")
    log.add_argument("--seed", type=int, default=5)
    log.add_argument("--paths", choices=["few", "many"], default="few")
    log.add_argument("--block", type=int, default=100_000, help="lines made with choices of their own")
    log.set_defaults(run=write_log)
    policy = commands.add_parser("policy")
    policy.add_argument("folder")
    policy.add_argument("--permissions", type=int, required=True)
    policy.set_defaults(run=write_policy)
    goals = commands.add_parser("run")
    goals.add_argument("--portreeve", required=True)
    goals.add_argument("--python", default=sys.executable)
    goals.add_argument("--folder", default="/tmp/portreeve-logs")
    goals.add_argument("--mebibytes", type=int, default=1100)
    goals.add_argument("--rounds", type=int, default=7)
    goals.add_argument("--goal", default="r1,r2,r3,r5,r6")
    goals.set_defaults(run=run_goals)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
