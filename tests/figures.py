#!/usr/bin/env python3
"""Holds every form of a report against its `assessment.json`: each number on the page and in the summary, and what the tables and exchange formats
say of controls and findings.

    tests/figures.py FOLDER [made-up]        FOLDER: what `portreeve audit --formats all --out FOLDER` wrote

Of an assessment that was made up the forms are compared with each other, and not whether its own numbers fit together.

It shares nothing with the program: another language, the standard library, and what each figure means written down here once more. A figure
of the page that it does not know is a fault, so that none is added unseen.
"""

import collections
import csv
import html.parser
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as xml

VERDICTS = ["met-technical", "not-met", "suspect", "needs-human", "not-assessed", "not-applicable", "waived"]
VOID = {"meta", "link", "br", "img", "input", "hr", "path", "rect", "use", "line", "circle"}
FAULTS = []
MADE_UP = sys.argv[2:] == ["made-up"]


def want(what, shown, due):
    """Notes a difference, in order."""
    if shown != due:
        FAULTS.append(f"{what}: shown {shown!r}, due {due!r}")


def number(text):
    """`3,214` as a number; nothing where it is none."""
    text = text.strip()
    return int(text.replace(",", "")) if re.fullmatch(r"\d{1,3}(,\d{3})*|\d+", text) else None


def numbers(text):
    return [int(n.replace(",", "")) for n in re.findall(r"\d+(?:,\d{3})*", text)]


class Node:
    """An element, its own text and its children in order."""

    def __init__(self, tag, attrs, parent):
        self.tag, self.attrs, self.parent, self.inside, self.checked = tag, dict(attrs), parent, [], False

    def text(self):
        return "".join(part if isinstance(part, str) else part.text() for part in self.inside)

    def all(self, tag=None, **attrs):
        for part in self.inside:
            if isinstance(part, str):
                continue
            fits = (tag is None or part.tag == tag) and all(part.attrs.get(k.strip("_").replace("_", "-")) == v for k, v in attrs.items())
            if fits:
                yield part
            yield from part.all(tag, **attrs)

    def has(self, name):
        return name in (self.attrs.get("class") or "").split()

    def classed(self, name):
        return [node for node in self.all() if node.has(name)]

    def within(self, fits):
        node = self
        while node is not None and not fits(node):
            node = node.parent
        return node

    def take(self):
        """Its text; what stands in it was looked at."""
        self.checked = True
        for node in self.all():
            node.checked = True
        return self.text()


class Tree(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.root = self.at = Node("", [], None)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        node = Node(tag, attrs, self.at)
        self.at.inside.append(node)
        if tag == "br":
            node.inside.append("\n")
        if tag not in VOID:
            self.at = node

    def handle_startendtag(self, tag, attrs):
        self.at.inside.append(Node(tag, attrs, self.at))

    def handle_endtag(self, tag):
        node = self.at.within(lambda n: n.tag == tag)
        if node is not None and node.parent is not None:
            self.at = node.parent

    def handle_data(self, data):
        self.at.inside.append(data)


def reached(a, path):
    """The number that a path of the page names."""
    for prefix, entries, key in (("summary.verdicts.", a["summary"]["verdicts"], "verdict"), ("reads.grades.", a["reads"]["grades"], "grade")):
        if path.startswith(prefix):
            return next((e["count"] for e in entries if e[key] == path[len(prefix):]), None)
    for key in path.split("."):
        a = a[key] if isinstance(a, dict) else None
        if a is None:
            return None
    return a


def counted(a):
    """What the summary says, counted again from the controls, findings and services it is about."""
    verdicts = collections.Counter(c["verdict"] for c in a["controls"])
    want("summary.verdicts", {v["verdict"]: v["count"] for v in a["summary"]["verdicts"]}, {v: verdicts[v] for v in VERDICTS})
    want("summary.controls", a["summary"]["controls"], len(a["controls"]))
    want("summary.examined", a["summary"]["examined"], sum(verdicts[v] for v in VERDICTS[:3]))
    return verdicts


# The page -----------------------------------------------------------------------------------------------------------------


def lead(root, a, verdicts):
    """The sentences and figures at the head of the page."""
    header = next(root.all("header"))
    said = next(n for n in header.all("div") if n.has("lead"))
    due = []
    if a["controls"]:
        due += [len(a["controls"]), a["summary"]["examined"]] + [verdicts[v] for v in VERDICTS[:5]]
        due += [verdicts[v] for v in VERDICTS[5:] if verdicts[v]]
        sentence = next(said.all("p"))
        want("the leading sentence", numbers(sentence.take()), due)
    if a["summary"]["sensitive_data"]:
        reach = next(p for p in said.all("p") if "can be reached from" in p.text())
        want("reach", numbers(next(reach.all("b")).take()), [len(a["summary"]["sensitive_reach"]), len(a["services"])])
    under = next(n for n in header.all("p") if n.has("sub"))
    of = re.search(r"([\d,]+) logs? of ([\d,]+) enforcer", under.take())
    want("logs and processes", of and [number(n) for n in of.groups()], [len(a["inputs"]), len(a["enforcers"])])
    facts = {next(d.all("dt")).text(): next(d.all("dd")) for d in header.classed("facts")[0].all("div")}
    t = a["totals"]
    small = lambda name: next(facts[name].all("small")).text()
    read = numbers(re.sub(r" over .*?;", ";", small("Decisions examined")))
    want("lines read", read, [t["lines"], t["rejected"]] + ([t["unrecorded"]] if t["unrecorded"] else []))
    want("differ", numbers(small("Differ on replay")), [t["decided"], t["not_replayable"]])
    chains = collections.Counter(i["chain"] for i in a["inputs"])
    order = ["broken", "empty", "unchained", "self-consistent", "vouched"]
    some = [chains[c] for c in order if chains[c]]
    loose = sum(i["open_ended"] for i in a["inputs"])
    due = (some[:1] + [len(a["inputs"])] + some[1:] if some else []) + ([loose] if loose else [])
    want("log chains", numbers(facts["Log chains"].text()), due)
    for node in facts.values():
        node.take()
    for legend in header.classed("legend"):
        for entry in legend.all("em"):
            entry.take()


def fields(root, a):
    """Every figure that names its place in the assessment."""
    figures = list(root.all("data"))
    for figure in figures:
        path, shown = figure.attrs["data-field"], number(figure.take())
        want(f"{path} as value", number(figure.attrs["value"]), shown)
        want(path, shown, reached(a, path))
    return len(figures)


def rows(table):
    body = [row for row in table.all("tr") if row.within(lambda n: n.tag == "thead") is None]
    return [[cell for cell in row.inside if not isinstance(cell, str) and cell.tag in ("td", "th")] for row in body]


def figures_of(row):
    """The figures of a row: the first number of each cell that is one."""
    out = []
    for cell in row:
        if cell.has("num"):
            text = cell.take()
            out.append(numbers(text)[0] if numbers(text) else text.strip())
    return out


def tables(root, a):
    """Tables with figures whose rows are a list of the assessment."""
    lists = {
        "Enforcers": (a["enforcers"], ["decided", "unrecorded"]),
        "TLS versions and suites": (a["tls"], ["requests"]),
        "Services": (a["services"], ["allowed", "denied"]),
        "Bundles": (a["bundles"], ["policies", "records"]),
        "Agreement by revision": (a["fidelity"]["revisions"], ["agreed", "decided"]),
        "Decisions not asked about": (a["reads"]["not_asked"], ["count"]),
        "Lines of each log": (
            [i["coverage"] | {"lines": i["lines"]} for i in a["inputs"]],
            ["decided", "refused", "lifecycle", "duplicates", "rejected", "lines"],
        ),
    }
    for name, (entries, keys) in lists.items():
        for region in root.all("div", aria_label=name):
            shown = rows(next(region.all("table")))
            want(f"rows of {name}", len(shown) > 0 or not entries, True)
            for n, (row, entry) in enumerate(zip(shown, entries)):
                want(f"{name}, row {n + 1}", figures_of(row), [entry[k] for k in keys])
    for title, entries, keys in (("Denials by reason", a["denials"], ["count"]), ("Strangers refused by reason", a["refusals"], ["count", "lines"])):
        block = next(h for h in root.all("h3") if h.text() == title).parent
        for table in block.all("table"):
            shown = rows(table)
            for row, entry in zip(shown, entries):
                want(f"{title}: {entry['reason']}", figures_of(row), [entry[k] for k in keys])
    t = a["totals"]
    summed = next(n for n in root.all("table") if n.has("sum"))
    due = ["allowed", "denied", "decided", "refused", "lifecycle", "duplicates", "rejected", "lines", "mismatches", "unlawful", "overdenied"]
    due += ["undetermined", "not_replayable", "unrecorded"]
    want("every line accounted for", [figures_of(row)[0] for row in rows(summed)], [t[k] for k in due])
    MADE_UP or want("lines add up", t["decided"] + t["undetermined"] + t["refused"] + t["lifecycle"] + t["duplicates"] + t["rejected"], t["lines"])
    grades = {g["grade"]: g["count"] for g in a["reads"]["grades"]}
    for table in root.all("table"):
        if any(c.text() == "Decisions by how well they identify the caller" for c in table.all("caption")):
            for row in rows(table):
                letter = row[0].text()[:1]
                want(f"callers of grade {letter}", figures_of(row), [grades[letter]])


def integers(value):
    """Every number in a part of the assessment, and how long its lists are."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int):
        yield value
    elif isinstance(value, list):
        yield len(value)
        for item in value:
            yield from integers(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from integers(item)


def parts(root, a):
    """Tables of analyses and of what was declared: how many there are, and every figure of a row stands in its entry."""
    for block in (n for n in root.all("details") if n.has("part")):
        counts = block.classed("counts")[0]
        title = block.classed("what")[0].text()
        named = [figure.attrs["data-field"] for figure in counts.all("data")]
        shown = [row for table in block.all("table") for row in rows(table)]
        left = [numbers(p.take()) for p in block.all("p") if re.fullmatch(r"and [\d,]+ more in assessment\.json", p.text().strip())]
        left = left[0][0] if left else 0
        if named:
            part = a
            for key in named[0].split(".")[:-1]:
                part = part[key]
            entries, omitted = part["entries"], part["omitted"]
            if title == "Grants and their use" or "nobody used" in title.lower():
                entries = entries
            want(f"{title}: rows and rest", len(shown) + left <= len(entries) + omitted, True)
        else:
            total = number(counts.take()) or 0
            want(f"{title}: rows and rest", total, len(shown) + left)
            entries = None
        counts.take()
        known = [collections.Counter(integers(entry)) for entry in entries] if entries is not None else None
        for row in shown:
            for cell in row:
                if not cell.has("num"):
                    continue
                of_cell = numbers(cell.take())
                if known is not None and of_cell and not any(all(n in of_entry for n in of_cell) for of_entry in known):
                    FAULTS.append(f"{title}: no entry has {of_cell}")


def access(root, a):
    """Pairs of services with their operations, kinds of pairs, zones."""
    marks = collections.Counter(c["mark"] for c in a["matrix"])
    order = ["used", "used-conditional", "unused", "denied", "shadow"]
    for key in root.classed("key"):
        want("pairs by kind", [numbers(b.take())[0] for b in key.all("b")], [marks[m] for m in order])
    cells = {(c["from"], c["to"]): (c["allowed_count"], c["denied_count"]) for c in a["matrix"]}
    sums = collections.defaultdict(lambda: [0, 0])
    by_pair = collections.defaultdict(list)
    for e in a["edges"]:
        key = (e["from"], e.get("from_id"), e.get("from_name"), e["to"])
        by_pair[key].append((e["allowed"], e["denied"]))
        if e["from"]:
            sums[e["from"], e["to"]][0] += e["allowed"]
            sums[e["from"], e["to"]][1] += e["denied"]
    MADE_UP or want("sums of edges", {k: tuple(v) for k, v in sums.items()}, cells)
    MADE_UP or want("edges and decisions", [sum(e[k] for e in a["edges"]) for k in ("allowed", "denied")], [a["totals"][k] for k in ("allowed", "denied")])
    for fold in root.all("details", id="pairs"):
        if MADE_UP:
            fold.take()
            continue
        want("pairs", numbers(next(fold.all("summary")).take()), [len(by_pair)])
        shown, operations = [], 0
        for body in fold.all("tbody"):
            of_pair, *of_operations = rows(body)
            head = figures_of(of_pair)
            each = sorted(tuple(figures_of(row)) for row in of_operations)
            operations += len(each)
            shown.append((tuple(head), tuple(each)))
        due = collections.Counter(tuple(sorted(v)) for v in by_pair.values())
        for head, each in shown:
            if each in due and due[each] > 0:
                due[each] -= 1
            elif operations == len(a["edges"]):
                FAULTS.append(f"pairs: none has the operations {each}")
            if head and operations == len(a["edges"]):
                want("a pair and its operations", head, (sum(n for n, _ in each), sum(n for _, n in each)))
        rest = next(fold.all("p", id="pair-rest"))
        if "hidden" not in rest.attrs:
            want("pairs shown", numbers(rest.take())[:2], [len(shown), len(by_pair)])
        else:
            want("pairs shown", len(shown), len(by_pair))
    zones = {s["name"]: s.get("zone") for s in a["services"]}
    between = collections.Counter((zones.get(c["from"]), zones.get(c["to"]), c["mark"]) for c in a["matrix"])
    for table in root.all("table"):
        if table.has("zones"):
            shown = sorted(numbers(mark.text())[0] for row in rows(table) for cell in row for mark in cell.classed("mk"))
            want("pairs by zone and kind", shown, sorted(between.values()))
            services = sorted(numbers(next(row[0].all("small")).text())[0] for row in rows(table))
            want("services by zone", services, sorted(collections.Counter(zones.values()).values()))
            table.take()


def requirements(root, a):
    """Each control stands once, with its verdict and how many findings bear on it; each family with its tally."""
    shown = {}
    for node in root.classed("control"):
        shown.setdefault(node.attrs["data-control"], []).append(node)
    if all(len(f"{c['catalog']} {c['id']}") < 60 for c in a["controls"]):
        want("controls", sorted(shown), sorted(f"{c['catalog']} {c['id']}" for c in a["controls"]))
    known = {f["id"] for f in a["findings"]}
    for c in a["controls"]:
        for node in shown.get(f"{c['catalog']} {c['id']}", []):
            want(f"verdict of {c['id']}", node.attrs["data-verdict"], c["verdict"])
            bears = next((w.attrs["data-bear"] for w in node.classed("why") if "data-bear" in w.attrs), "0")
            want(f"findings of {c['id']}", numbers(bears)[0], len(c["findings"]))
            more = [numbers(li.text())[-1] for li in node.all("li") if re.match(r"and [\d,]+ more", li.text())]
            items = [ul for dd in node.all("dd") for ul in dd.all("ul") if not ul.has("needs") and dd.text() and ul.parent is dd]
            listed = len(list(items[0].all("li"))) - len(more) if items and c["findings"] else 0
            want(f"findings listed under {c['id']}", listed + sum(more), len(c["findings"]) if known or c["findings"] else 0)
    for family in root.classed("family"):
        of = collections.Counter(node.attrs["data-verdict"] for node in family.classed("control"))
        tally = {}
        for mark in family.classed("tally")[0].classed("v"):
            tally[next(v for v in VERDICTS if mark.has(v))] = numbers(mark.text())[0]
        want(f"tally of {next(family.all('h3')).text()[:40]}", tally, dict(of))
        family.classed("tally")[0].take()


def findings(root, a):
    """How many there are, each one's records, and the five to fix first."""
    for node in root.all("p", id="shown"):
        want("findings", numbers(node.take()), [len(a["findings"])])
    shown = root.classed("finding")
    want("rows of findings", len(shown), min(len(a["findings"]), 200))
    for node, f in zip(shown, a["findings"]):
        records = next(dd for dt, dd in zip(node.all("dt"), node.all("dd")) if dt.text() == "Records")
        said = records.inside[0] if records.inside and isinstance(records.inside[0], str) else ""
        want(f"records of {f['id']}", 0 if said.startswith("none") else numbers(said)[:1], 0 if f["count"] == 0 else [f["count"]])
        lines = [int(line.split()[0]) for pre in records.all("pre") for line in pre.text().split("\n") if line.strip()]
        want(f"lines of {f['id']}", sorted(lines), sorted(e["line"] for e in f["evidence"]))
    for sieve in root.all("div", id="sieve"):
        for label in sieve.all("label"):
            options = [o.text() for o in label.all("option")]
            if label.text().startswith("Severity"):
                weights = collections.Counter(f["severity"] for f in a["findings"])
                want("findings by severity", {o.split(" ")[0].lower(): numbers(o)[-1] for o in options[1:]}, dict(weights))
            if label.text().startswith("Check"):
                checks = collections.Counter(f["check"] for f in a["findings"])
                if all(len(c) < 60 for c in checks):
                    want("findings by check", {o.split(" ")[0]: numbers(o)[-1] for o in options[1:]}, dict(checks))
    due = first_five(a)
    for fix in root.classed("fix"):
        items = [li for li in fix.inside if not isinstance(li, str)]
        want("to fix first", len(items), len(due))
        checks = collections.Counter(f["check"] for f in a["findings"] if not f.get("waived"))
        for li, f in zip(items, due):
            records = re.search(r"([\d,]+) records?", li.classed("where")[0].text())
            want(f"records of {f['id']}, to fix first", number(records[1]) if records else 0, f["count"])
            alike = re.search(r"([\d,]+) more of this kind", li.classed("do")[0].text())
            want(f"more like {f['id']}", number(alike[1]) if alike else 0, checks[f["check"]] - 1)


def first_five(a):
    """The weightiest finding of each kind that no exception covers."""
    out = []
    for f in a["findings"]:
        if not f.get("waived") and all(f["check"] != g["check"] for g in out) and len(out) < 5:
            out.append(f)
    return out


def logs(root, a):
    for n, i in enumerate(a["inputs"]):
        for node in root.all("li", id=f"in-{n}"):
            said = [p.text() for p in node.all("p")][2]
            shown = [number(m) for m in re.search(r"([\d,]+) lines? · ([\d,]+) unreadable", said).groups()]
            want(f"lines of input {n}", shown, [i["lines"], i["rejected"]])
            want(f"input {n} open-ended", "open-ended" in said, i["open_ended"])
            for summary in node.all("summary"):
                due = [len(i["faults"])] if summary.text().startswith("What is wrong") else [len(i["rejected_examples"]), i["rejected"]]
                want(f"faults of input {n}", numbers(summary.text()), due)


def baseline(root, a):
    b = a.get("baseline")
    for heading in root.all("h2", id="since"):
        f = b["findings"]
        said = next(n for n in heading.parent.all("p") if n.has("intro")).text()
        said = said[said.index("findings new") - 12:] if "findings new" in said else said[said.index("finding new") - 12:]
        due = [len(f["new"]), len(f["gone"]), len(f["unchanged"])] + ([len(f["heavier"])] if f["heavier"] else [])
        want("since the baseline", numbers(said)[-len(due) - 2:], due + [len(b["verdicts"]), len(b["edges"])])
        for region in heading.parent.all("div", aria_label="Edges that came or went"):
            for row, edge in zip(rows(next(region.all("table"))), b["edges"]):
                want(f"an edge since the baseline to {edge['to']}", figures_of(row), [edge["allowed"], edge["denied"]])
        for table in heading.parent.all("table"):
            if not table.has("trend"):
                continue
            for row, point in zip(rows(table), b["trend"]):
                cells = [cell.take() for cell in row if cell.has("num")]
                of = {v["verdict"]: v["count"] for v in point["verdicts"]}
                due = [[of.get("not-met", 0)], [of.get("suspect", 0)], list(point["findings"])]
                due += [[point[k]] for k in ("decided", "denied", "mismatches")] + [[point["grants_unused"], point["grants"]]]
                want(f"trend {point['path']}", [numbers(c) for c in cells], due)


def page(text, a, verdicts):
    root = Tree(text).root
    for block in root.all("script", id="assessment"):
        want("the data of the page", json.loads(block.text()) == a, True)
    lead(root, a, verdicts)
    known = fields(root, a)
    want("figures that name their place", known > 20, True)
    tables(root, a)
    access(root, a)
    requirements(root, a)
    findings(root, a)
    parts(root, a)
    logs(root, a)
    baseline(root, a)
    for sample in root.all("h3", id="sample"):
        want("the sample's statement", a["sample"]["statement"] in sample.parent.text(), True)
    # Whatever is set as a figure was compared with something.
    for node in root.all():
        if node.tag in ("td", "em") and (node.has("num") or node.tag == "em") and not node.checked and numbers(node.text()):
            inside = node.within(lambda n: n.has("pairs") or n.attrs.get("id") == "chains")
            if inside is None and node.within(lambda n: n.tag in ("p", "li", "dd") and not n.has("legend") and n.tag != "li") is None:
                FAULTS.append(f"a figure of the page that nothing was compared with: {node.text()[:60]!r} in {node.parent.text()[:80]!r}")


# The summary --------------------------------------------------------------------------------------------------------------


def summary(text, a, verdicts):
    words = ["met, technically", "not met", "suspect", "needs a person", "not assessed", "not applicable", "waived"]
    shown = {m[1].strip("* "): number(m[2].strip("* ")) for m in re.finditer(r"^\| ([^|]+) \| ([^|]+) \|$", text, re.M) if number(m[2].strip("* ")) is not None}
    t, s = a["totals"], a["summary"]
    due = {w: verdicts[v] for w, v in zip(words, VERDICTS)} | {"all": len(a["controls"])} if a["controls"] else {}
    due |= {
        "Decisions examined": t["decided"], "Allowed": t["allowed"], "Denied": t["denied"], "Replay answers differently": t["mismatches"],
        "Could not be replayed": t["not_replayable"], "Another mesh allowed, policy denies": t["unlawful"],
        "Another mesh denied, policy allows": t["overdenied"], "Strangers refused": t["refused_attempts"],
        "Grants never used": s["grants_unused"], "Grants": s["grants"], "Lines read": t["lines"], "Lines unreadable": t["rejected"],
        "Requests without a record": t["unrecorded"],
    }
    want("the tables of summary.md", shown, due)
    chains = collections.Counter(i["chain"] for i in a["inputs"])
    of = next(line for line in text.splitlines() if line.startswith("Log chains: "))
    want("chains in summary.md", numbers(of.split(". ")[0]), [chains[c] for c in ("vouched", "self-consistent", "broken", "empty", "unchained")])
    if s["sensitive_data"]:
        want("reach in summary.md", [number(n) for n in re.search(r"reached from ([\d,]+) of ([\d,]+) services", text).groups()], [len(s["sensitive_reach"]), len(a["services"])])
    due = first_five(a)
    if "### Fix first" in text:
        block = text.split("### Fix first\n\n")[1].split("\n\n")[0]
        items = [line for line in block.splitlines() if line.startswith("- ")]
        want("findings in summary.md", len(items), len(due))
        for line, f in zip(items, due):
            records = re.search(r"[(, ]([\d,]+) records?\)$", line)
            want(f"records of {f['id']} in summary.md", number(records[1]) if records else 0, f["count"])
            want(f"weight of {f['id']} in summary.md", line[4:].split("**")[0], f["severity"])
        waived = sum(1 for f in a["findings"] if f.get("waived"))
        more = re.search(r"^([\d,]+) more in the full report", text, re.M)
        covered = re.search(r"([\d,]+) covered by an exception\.$", text, re.M)
        want("findings left out of summary.md", number(more[1]) if more else 0, len(a["findings"]) - len(due) - waived)
        want("findings covered, in summary.md", number(covered[1]) if covered else 0, waived)
    b = a.get("baseline")
    if b:
        f = b["findings"]
        said = next(line for line in text.splitlines() if line.startswith("Findings: **"))
        want("since the baseline, in summary.md", numbers(said), [len(f[k]) for k in ("new", "gone", "unchanged", "heavier")] + [len(b["verdicts"]), len(b["edges"])])


# What other programs read -------------------------------------------------------------------------------------------------


def exchange(folder, a, verdicts):
    line = lambda text: text
    table = lambda name: list(csv.DictReader(open(folder / name, newline="", encoding="utf-8")))
    plain = lambda cell: cell[1:] if cell[:1] == "'" else cell
    if (folder / "controls.csv").exists():
        want("controls.csv", [(plain(r["catalog"]), plain(r["id"]), r["verdict"]) for r in table("controls.csv")], [(c["catalog"], c["id"], c["verdict"]) for c in a["controls"]])
    if (folder / "findings.csv").exists():
        gone = len(a["baseline"]["findings"]["gone"]) if a.get("baseline") else 0
        found = table("findings.csv")
        want("findings.csv", [(plain(r["id"]), r["weight"], r["records"]) for r in found if r["baseline"] != "gone"], [(f["id"], f["severity"], str(f["count"])) for f in a["findings"]])
        want("findings.csv, gone", sum(r["baseline"] == "gone" for r in found), gone)
    if (folder / "edges.csv").exists():
        shown = sorted((int(r["allowed"]), int(r["denied"])) for r in table("edges.csv"))
        want("edges.csv", shown, sorted((e["allowed"], e["denied"]) for e in a["edges"]))
    if (folder / "junit.xml").exists():
        tests = {"met-technical": None, "not-met": "failure", "suspect": "error"}
        suites = xml.parse(folder / "junit.xml").getroot().findall("testsuite")
        want("suites of junit.xml", len(suites), len(a["catalogs"]))
        for suite, catalog in zip(suites, a["catalogs"]):
            of = [c for c in a["controls"] if c["catalog"] == catalog]
            due = [tests.get(c["verdict"], "skipped") for c in of]
            shown = [next((part.tag for part in case), None) for case in suite.findall("testcase")]
            want(f"cases of junit.xml, {catalog[:40]}", shown, due)
            kinds = collections.Counter(due)
            counts = [int(suite.get(k) or 0) for k in ("tests", "failures", "errors", "skipped")]
            want(f"counts of junit.xml, {catalog[:40]}", counts, [len(of), kinds["failure"], kinds["error"], kinds["skipped"]])
    if (folder / "findings.sarif").exists():
        run = json.load(open(folder / "findings.sarif"))["runs"][0]
        levels = {"high": "error", "medium": "warning", "low": "note"}
        shown = [(r["partialFingerprints"]["portreeveFinding/v1"], r["level"], r["properties"]["records"], "suppressions" in r) for r in run["results"] if r.get("baselineState") != "absent"]
        due = [(f["id"], levels[f["severity"]], f["count"], bool(f.get("waived"))) for f in a["findings"]]
        left = run["properties"]["findingsNotListed"]
        want("findings.sarif", shown, due[: len(due) - left])
        want("findings.sarif, in all", len(shown) + left, len(due))
    if (folder / "ocsf.ndjson").exists():
        events = [json.loads(l) for l in open(folder / "ocsf.ndjson")]
        shown = [(e["compliance"]["standards"][0], e["compliance"]["control"], e["compliance"]["status_code"]) for e in events if e["class_uid"] == 2003]
        if len(shown) == len(a["controls"]):
            want("controls of ocsf.ndjson", [s[2] for s in shown], [c["verdict"] for c in a["controls"]])
        want("controls of ocsf.ndjson, in all", len(shown), len(a["controls"]))
        shown = [(e["finding_info"]["uid_alt"], e["finding_info"]["related_events_count"]) for e in events if e["class_uid"] == 2004]
        want("findings of ocsf.ndjson", shown, [(f["id"], f["count"]) for f in a["findings"]])
        status = {"met-technical": 1, "suspect": 2, "not-met": 3}
        want("states of ocsf.ndjson", [e["compliance"]["status_id"] for e in events if e["class_uid"] == 2003], [status.get(c["verdict"], 99) for c in a["controls"]])
    oscal(folder, a)


def props(item):
    return {p["name"]: p["value"] for p in item.get("props", [])}


def oscal(folder, a):
    path = folder / "oscal-assessment-results.json"
    if path.exists():
        result = json.load(open(path))["assessment-results"]["results"][0]
        observed = [props(o) for o in result.get("observations", [])]
        want("verdicts of OSCAL", [o["verdict"] for o in observed if "verdict" in o], [c["verdict"] for c in a["controls"]])
        want("findings of OSCAL", [(o["weight"], o["records"]) for o in observed if "check" in o], [(f["severity"], str(f["count"])) for f in a["findings"]])
        decided = [c for c in a["controls"] if c["verdict"] in ("met-technical", "not-met", "waived")]
        states = {"met-technical": "satisfied"}
        shown = [f["target"]["status"]["state"] for f in result.get("findings", [])]
        want("states of OSCAL", shown, [states.get(c["verdict"], "not-satisfied") for c in decided])
    path = folder / "oscal-poam.json"
    open_ = [c["verdict"] for c in a["controls"] if c["verdict"] in ("not-met", "waived")]
    if path.exists():
        items = json.load(open(path))["plan-of-action-and-milestones"]["poam-items"]
        want("items of the plan", [props(i)["verdict"] for i in items], open_)
    elif (folder / "oscal-assessment-results.json").exists():
        want("a plan where nothing is open", open_, [])


def main():
    folder = pathlib.Path(sys.argv[1])
    a = json.load(open(folder / "assessment.json"))
    verdicts = counted(a)
    page((folder / "index.html").read_text(encoding="utf-8"), a, verdicts)
    summary((folder / "summary.md").read_text(encoding="utf-8"), a, verdicts)
    exchange(folder, a, verdicts)
    for fault in FAULTS[:60]:
        print(fault)
    print(f"{len(FAULTS)} faults" if FAULTS else "every figure is that of assessment.json")
    sys.exit(1 if FAULTS else 0)


if __name__ == "__main__":
    main()
