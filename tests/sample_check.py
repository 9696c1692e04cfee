"""Checks a sample.json by the definitions alone, with nothing of Portreeve: RFC 6962's tree, and the draw.

python3 sample_check.py SAMPLE [LOG...]   prints `ok N` or what is wrong
"""
import hashlib
import json
import struct
import sys


def sha(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf(data):
    return sha(b"\0", data)


def tree(leaves):
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaf(leaves[0])
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha(b"\1", tree(leaves[:half]), tree(leaves[half:]))


def climb(node, index, size, proof):
    """The root that follows, by the recursion of RFC 6962 section 2.1.1 read backwards."""
    if size == 1:
        assert not proof, "the proof is too long"
        return node
    half = 1
    while half * 2 < size:
        half *= 2
    assert proof, "the proof is too short"
    if index < half:
        return sha(b"\1", climb(node, index, half, proof[:-1]), proof[-1])
    return sha(b"\1", proof[-1], climb(node, index - half, size - half, proof[:-1]))


def digest(text):
    assert text.startswith("sha256:")
    return bytes.fromhex(text[len("sha256:"):])


def main(path, logs):
    sample = json.load(open(path, encoding="utf-8"))
    assert sample["kind"] == "portreeve-sample" and sample["v"] == 1
    above = [digest(log["root"]) + struct.pack(">Q", log["lines"]) for log in sample["logs"]]
    assert tree(above) == digest(sample["root"]), "the roots of the logs do not lead to the root"
    for entry in sample["entries"]:
        log = sample["logs"][entry["log"]]
        line = digest(entry["sha256"])
        if "text" in entry:
            assert sha(entry["text"].encode()) == line, "a text is not its line"
        root = climb(leaf(line), entry["line"] - 1, log["lines"], [digest(p) for p in entry["proof"]])
        assert root == digest(log["root"]), "a proof does not lead to its root"
    for joined in sample.get("joined", []):
        begins, ends = joined["halves"]
        for half in joined["halves"]:
            log = sample["logs"][half["log"]]
            line = digest(half["sha256"])
            assert "text" not in half or sha(half["text"].encode()) == line, "a text is not its half"
            root = climb(leaf(line), half["line"] - 1, log["lines"], [digest(p) for p in half["proof"]])
            assert root == digest(log["root"]), "a proof of a half does not lead to its root"
        assert begins["line"] == sample["logs"][begins["log"]]["lines"] and ends["line"] == 1, "halves that are no ends"
        if "text" in begins and "text" in ends:
            assert sha((begins["text"] + ends["text"]).encode()) == digest(joined["sha256"]), "halves that make another line"
    if logs:
        ranks = []
        for at, name in enumerate(logs):
            stored = open(name, "rb").read()
            assert sha(stored) == digest(sample["logs"][at]["sha256"]), "another log"
            lines = stored.split(b"\n")
            if not lines[-1]:
                lines.pop()
            assert tree([sha(line) for line in lines]) == digest(sample["logs"][at]["root"]), "another tree"
            ours = None
            for number, line in enumerate(lines, 1):
                try:
                    if not line.decode().strip():
                        continue
                except ValueError:
                    continue
                try:
                    record = json.loads(line)
                except ValueError:
                    record = None
                event = record.get("event") if isinstance(record, dict) and "seq" in record else None
                if ours is None:
                    ours = event is not None
                if not ours or event == "decided":
                    seed = struct.pack(">Q", sample["seed"])
                    rank = sha(b"portreeve-sample-v1\n", seed, sha(line), struct.pack(">Q", number))
                    ranks.append((rank, at, number))
        assert len(ranks) == sample["population"], "another population"
        drawn = sorted((at, number) for _, at, number in sorted(ranks)[: sample["size"]])
        assert drawn == [(e["log"], e["line"]) for e in sample["entries"]], "another draw"
    print("ok", len(sample["entries"]))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
