//! What `--help` says below the flags: examples that can be pasted, what should be known, and the exit codes.
//!
//! INVARIANT: no line is wider than 80 columns, so that no terminal breaks an example in two (`tests/help.rs`).

pub(crate) const ABOUT: &str = "Portreeve keeps the law of a mesh of services: policies in a repo, tested like code; a sidecar that asks for \
certificates on both sides, decides every request and writes down every decision; and an auditor that reads what was written, \
decides again, and says what the evidence shows.";

pub(crate) const AFTER: &str = "\
Begin:
  portreeve init policies               write a small policy repo
  portreeve check policies              is it valid?
  portreeve test policies               does it say what was meant?

Exit codes:
  0  yes: valid, allowed, passed, no difference
  1  no: invalid, denied, failed, different
  2  could not tell: bad usage, unreadable input, an invalid bundle given to
     another verb than check

Machine output goes to stdout, everything else to stderr. NO_COLOR is respected.";

pub(crate) const INIT: &str = "\
Examples:
  portreeve init policies
  cd policies && portreeve check . && portreeve test .

Existing files are never overwritten.

Exit codes: 0 written, 2 not written";

pub(crate) const CHECK: &str = "\
Examples:
  portreeve check policies
  portreeve check HEAD~1:policies
  portreeve check policies --format sarif > check.sarif
  portreeve check policies --cacheability
  portreeve check policies --today 2027-01-01

Exit codes: 0 valid (there may be warnings), 1 invalid, 2 the bundle cannot be
read";

pub(crate) const FMT: &str = "\
Examples:
  portreeve fmt policies
  portreeve fmt policies --check
  portreeve fmt policies --diff | less

YAML and Cedar files are formatted; Rego files are left as they are. A file
that cannot be read, or not be formatted without a change of meaning, is left
as it is too, and the exit code is 2.

Exit codes: 0 formatted (with --check or --diff: nothing to do), 1 something is
not in its form, 2 a file was left as it is";

pub(crate) const TEST: &str = "\
Examples:
  portreeve test policies
  portreeve test policies --format junit > results.xml
  portreeve test policies --coverage human --coverage-min 90
  portreeve test policies --coverage lcov > policies.info
  portreeve test policies --coverage cobertura --coverage-out coverage.xml

Coverage counts policies that decide a case, and operations that a case asks
for. It goes to stdout, or to --coverage-out where the results take stdout.

Exit codes: 0 all cases pass, 1 a case fails or too little is covered, 2 the
bundle is invalid or has no test case";

pub(crate) const DECIDE: &str = r#"Example:
  printf %s '{"principal":"spiffe://market.example/ns/shop/sa/users",' \
    '"service":"items","method":"GET","path":"/v1/items/42",' \
    '"context":{"time":"2026-11-22T10:00:00.000Z"}}' |
    portreeve decide --bundle policies/marketplace --explain

One request a line. A request to a TCP port has "port" instead of "method" and
"path". A line that is no request is denied as malformed-request; it does not
end the stream. Each line in gives one line out, in the same order.

Exit codes: 0 every answer is allow, 1 some answer is deny, 2 the bundle is
invalid or the input cannot be read"#;

pub(crate) const DIFF: &str = "\
Examples:
  portreeve diff HEAD~1:policies policies
  portreeve diff main:policies policies --format markdown > comment.md
  portreeve diff old.tar.gz policies --logs 'logs/*.ndjson'

Each change comes with a request that both bundles were asked. Where a Cedar
condition or a Rego body decides, the answers may differ; that is said and not
guessed.

Exit codes: 0 every request has the same effect, 1 some have not or it cannot be
known, 2 a bundle or log cannot be read";

pub(crate) const WHY: &str = "\
Examples:
  portreeve why 01JD8Z5V7M decisions.ndjson --bundle policies
  portreeve why 01JD8Z5V7M 'logs/*.ndjson' --bundle HEAD~1:policies

Exit codes: 0 found, 1 no such request in these logs, 2 a log or bundle, or a
line that may be the one, cannot be read";

pub(crate) const REPLAY: &str = "\
Examples:
  portreeve replay --bundle policies decisions.ndjson
  portreeve replay --bundle HEAD:policies --against policies 'logs/*.ndjson'
  portreeve replay --bundle-history .:policies logs/a.ndjson
  portreeve replay --bundle-history .:policies --against policies \\
    'logs/*.ndjson' --format markdown > comment.md

Each record is put to the bundle of the revision that it names. A history gives
all of them: a folder of a git repository, or a directory whose children are
bundles. Children whose name begins with a day or a time, such as
2026-11-22-release, and built bundles, which say when they were issued, tell
from when they were in force; commits do by their time.

Exit codes: 0 no difference, 1 a difference, or a record that cannot be put
again, 2 a log or bundle cannot be read, or no decision is in the logs";

pub(crate) const AUDIT: &str = "\
Examples:
  portreeve audit --bundle policies 'logs/*.ndjson' --out report
  portreeve audit --bundle policies --bundle HEAD~1:policies logs/a.ndjson
  portreeve audit --bundle-history .:policies 'logs/*.ndjson' --out report
  portreeve audit --bundle policies a.ndjson --fail-on suspect,coverage:90
  portreeve audit --bundle policies istio.json --fail-on coverage:grade-B:95
  portreeve audit --bundle policies 'november/*' --out november \\
    --baseline october/assessment.json --fail-on not-met,new
  portreeve audit --bundle policies a.ndjson --format json > assessment.json
  portreeve audit --bundle policies a.ndjson --governance governance
  portreeve audit --bundle policies a.ndjson --catalog soc2 --checks checks
  portreeve audit --bundle policies istio.json.zst envoy.log
  portreeve audit --bundle policies nginx.json --log-mapping nginx.yaml
  portreeve audit --bundle policies a.ndjson --out report \\
    --formats json,html,sarif,junit --sample 25 --seed 7 --sign report.key

Logs of Envoy, Istio, Kuma, Linkerd, ztunnel, Hubble and OPA are recognised by
their first lines. Ledgers are no logs: `portreeve ledger review` takes them.

Verdicts speak of the technical evidence alone; the assessor decides.

Formats: html, json, markdown, oscal (assessment results), oscal-poam (plan of
action), sarif, junit, csv-findings, csv-controls, csv-edges, ocsf. The same
inputs give the same bytes in each.

With --baseline the gate fails only on what is new: a control that did not fail
before, or one of whose findings was not there.

Exit codes: 0 the gate is passed, 1 it is not, 2 a log, bundle or catalogue
cannot be read";

pub(crate) const SUGGEST: &str = "\
Examples:
  portreeve suggest 'logs/*.ndjson' --out drafted
  portreeve suggest istio.json.zst envoy.log --out drafted
  portreeve suggest 'logs/*.ndjson' --bundle policies > suggested.patch
  patch -p1 < suggested.patch && portreeve check policies
  portreeve suggest flows.jsonl --trust-domain market.example

What logs show as allowed becomes operations and permissions, each with its
counts and dates in a comment. Segments of a path that look like values become
{id}, with how sure that is; no value is copied. What was denied is granted to
nobody. A caller without a SPIFFE ID in the log is granted nothing, unless the
bundle knows its labels, or a convention gives them an identity.

It is a draft: that somebody did something is no reason why they should. Read
each grant, begin with the cautions, and say its reason or take it out.

Exit codes: 0 drafted and valid, or nothing is missing, 1 drafted, and not valid
yet, 2 nothing can be drafted, or a log or bundle cannot be read";

pub(crate) const VERIFY: &str = "\
Examples:
  portreeve verify decisions.ndjson
  portreeve verify 'logs/*.zst' --heads heads.ndjson --key head.pub
  portreeve verify 'logs/*' --heads 'heads/*' --key items.pub --key vault.pub
  portreeve verify report --key report.pub
  portreeve verify report/sample.json 'logs/*.zst'

Without heads from elsewhere a whole log is `self-consistent`: someone who can
rewrite all of it leaves no trace.

A signed report is held against its manifest: each file is unchanged, changed,
missing or added, and so is each log that lies where it lay. A sample is checked
against its own root; with the logs the draw is made again.

Exit codes: 0 nothing is wrong, 1 something is, 2 a log, report, sample, the
heads or the key cannot be read, or a log has not one line, a sample no record";

pub(crate) const ENFORCE: &str = "\
Examples:
  portreeve enforce --config enforcer.yaml --check
  portreeve enforce --config enforcer.yaml

SIGHUP takes up a new bundle and new certificates; SIGTERM drains and ends.

Exit codes: 0 ended in order (with --check: could run), 2 cannot run";

pub(crate) const DEMO: &str = "\
Examples:
  portreeve demo
  portreeve demo --out /tmp/market --requests 10000 --seed 7

It makes a certificate authority, starts six services behind a sidecar each on
loopback, asks lawful and unlawful questions over mutual TLS, replaces the
bundle and the certificates in the middle, stops, audits its own logs and writes
the report. It needs no privileges and no network, and stops by itself.
Everything it used lies in the folder afterwards.

Exit codes: 0 every answer was the one that was due and the audit found no
mismatch, 1 not so, 2 it could not run";

pub(crate) const EXPORT: &str = "\
Examples:
  portreeve export cedar policies --out cedar
  portreeve export json-schema > policies/portreeve.schema.json

Exit codes: 0 exported, 2 not exported";

pub(crate) const EXPORT_SCHEMA: &str = "\
Examples:
  portreeve export json-schema > policies/portreeve.schema.json
  portreeve export json-schema governance > governance/governance.schema.json
  portreeve export json-schema enforcer > enforcer.schema.json
  portreeve export json-schema catalog > catalog.schema.json
  portreeve export json-schema check-finding > finding.schema.json

Then let each policy file begin with
  # yaml-language-server: $schema=portreeve.schema.json

Exit codes: 0 written, 2 not written";

pub(crate) const EXPORT_CEDAR: &str = "\
Examples:
  portreeve export cedar policies > policies.cedar
  portreeve export cedar policies --out cedar

With Cedar's own tool:
  cd cedar
  cedar validate --policies policies.cedar --schema schema.cedarschema

Rego rules have no Cedar form; a comment names those that are left out.

Exit codes: 0 exported, 2 the bundle is invalid or cannot be read";

pub(crate) const LEDGER: &str = "\
Examples:
  portreeve ledger build --bundle policies --out may.ledger 'logs/*.ndjson.gz'
  portreeve ledger merge --out year.ledger april.ledger may.ledger
  portreeve ledger show year.ledger

Exit codes: 0 done, 2 not done or unreadable";

pub(crate) const LEDGER_BUILD: &str = "\
Examples:
  portreeve ledger build --bundle policies --out may.ledger 'logs/*.ndjson.gz'
  portreeve ledger build --bundle policies --out live.ledger access.ndjson
  portreeve ledger build --bundle policies --out flows.ledger \\
    --log-mapping flows.yaml 'lake/*.parquet'

Run it again with the same ledger to add what the logs have gained since, or to
go on with a build that was broken off. An unfinished last line waits for the
next time. A log that was changed where it was read before is refused. The
number of threads never shows in the ledger.

Exit codes: 0 built, 2 not built";

pub(crate) const LEDGER_MERGE: &str = "\
Example:
  portreeve ledger merge --out year.ledger april.ledger may.ledger

The same ledgers give the same bytes in any order. Ledgers that count the same
bytes of a log are refused.

Exit codes: 0 merged, 2 not merged";

pub(crate) const LEDGER_REVIEW: &str = "\
Examples:
  portreeve ledger review --bundle policies year.ledger
  portreeve ledger review --bundle policies year.ledger --fail-on unused
  portreeve ledger review --bundle HEAD~9:policies year.ledger --format json \\
    | jq -r '.permissions.entries[] | select(.usage == \"unused\").policy'

For the review of who may what: logs of a year are seldom at hand, ledgers are.
It counts and gives no verdict; `audit` reads logs and does.

Exit codes: 0 reviewed, 1 what `--fail-on` names was found, 2 unreadable";

pub(crate) const LEDGER_SHOW: &str = "\
Examples:
  portreeve ledger show may.ledger
  portreeve ledger show may.ledger --format json | jq '.edges[]'

Exit codes: 0 shown, 2 unreadable or not whole";

pub(crate) const BUNDLE: &str = "\
Examples:
  portreeve bundle keygen --out bundle.key
  portreeve bundle build policies --name market --key bundle.key --out m.tar.gz
  portreeve bundle verify m.tar.gz --key bundle.pub --name market

Exit codes: 0 done, 1 `verify` refuses the bundle, 2 not done or unreadable";

pub(crate) const BUNDLE_BUILD: &str = "\
Examples:
  portreeve bundle build policies --name market --key bundle.key --out m.tar.gz
  portreeve bundle build HEAD:policies --name market --serial 42 \\
    --issued-at 2026-11-22T10:00:00Z --out market.tar.gz

An invalid bundle is not built. The revision is that of the sources.

Exit codes: 0 built, 2 not built";

pub(crate) const BUNDLE_SIGN: &str = "\
Example:
  portreeve bundle sign market.tar.gz --key bundle.key

The signature covers name, serial, time of issue and revision, and so every byte
of every policy file.

Exit codes: 0 signed, 2 not signed";

pub(crate) const BUNDLE_VERIFY: &str = "\
Examples:
  portreeve bundle verify market.tar.gz --key bundle.pub --name market
  portreeve bundle verify new.tar.gz --key bundle.pub \\
    --newer-than in-force.tar.gz --max-age 7d

Exit codes: 0 it is what was asked for, 1 it is not, 2 a file or key cannot be
read";

pub(crate) const BUNDLE_INSPECT: &str = "\
Example:
  portreeve bundle inspect market.tar.gz --format json

Nothing is verified but that manifest and files belong together.

Exit codes: 0 shown, 2 the file cannot be read";

pub(crate) const BUNDLE_KEYGEN: &str = "\
Example:
  portreeve bundle keygen --out bundle.key

Nothing is overwritten. The private key can be read by its owner alone.

Exit codes: 0 written, 2 not written";

pub(crate) const CA: &str = "\
Examples:
  portreeve ca init --trust-domain market.example --dir ca
  portreeve ca issue --id spiffe://market.example/ns/shop/sa/items --dir ca
  portreeve ca revoke --serial 66240f5fc641946483d86bf040d10f52 --dir ca
  portreeve ca jwks --out jwks.json
  portreeve ca token --issuer https://idp.market.example --sub ann --aud items

An authority or key that is there is never overwritten; private keys can be
read by their owner alone. For development and small fleets: whoever reads that
folder can name any workload.

Exit codes: 0 done, 2 not done";

pub(crate) const CA_INIT: &str = "\
Example:
  portreeve ca init --trust-domain market.example --dir ca

Enforcers trust `ca/ca.pem`. An authority that is there is never overwritten.

Exit codes: 0 made, 2 not made";

pub(crate) const CA_ISSUE: &str = "\
Example:
  portreeve ca issue --id spiffe://market.example/ns/shop/sa/items --dir ca

It writes `items.pem` and `items.key`; what was issued under these names before
is replaced.

Exit codes: 0 issued, 2 not issued";

pub(crate) const CA_RENEW: &str = "\
Example:
  portreeve ca renew --dir ca

Exit codes: 0 renewed, 2 not renewed";

pub(crate) const CA_REVOKE: &str = "\
Example:
  portreeve ca revoke --serial 66240f5fc641946483d86bf040d10f52 --dir ca

Exit codes: 0 revoked, 2 not revoked";

pub(crate) const CA_CRL: &str = "\
Example:
  portreeve ca crl --dir ca

Exit codes: 0 written, 2 not written";

pub(crate) const CA_HEAD_KEY: &str = "\
Example:
  portreeve ca head-key --out head.key

The enforcer signs with `head.key`; `portreeve verify` takes `head.pub`.

Exit codes: 0 written, 2 not written";

pub(crate) const CA_JWKS: &str = "\
Example:
  portreeve ca jwks --out jwks.json

Exit codes: 0 written, 2 not written";

pub(crate) const CA_TOKEN: &str = "\
Example:
  portreeve ca token --issuer https://idp.market.example --sub ann --aud items \\
    --scope 'items:read' --claim tenant=eu

The key is made by `portreeve ca jwks`.

Exit codes: 0 printed, 2 not printed";

pub(crate) const CA_STS: &str = "\
Example:
  portreeve ca sts --config sts.yaml

with
  listen: \"127.0.0.1:8090\"
  issuer: https://sts.market.example
  key: sts.key
  accept:
    - {issuer: https://idp.market.example, jwks: {path: jwks.json},
       audiences: [shop]}
  audiences: [items, users]

It answers POST /token (RFC 8693) and GET /jwks.json. With `identity: {cert,
key, trust}` it speaks mutual TLS, and its tokens name the service that asked.
For development and tests: its key lies in a file.

Exit codes: 0 ended in order (with --check: could run), 2 cannot run";

pub(crate) const CA_ROTATE: &str = "\
Example:
  portreeve ca rotate --dir ca

Each call does one step: the new root is made known beside the old one; it
signs; the old one is forgotten. A step whose time has not come is refused.
A running `portreeve ca serve` sees each step and passes it on.

Exit codes: 0 done, 2 not done";

pub(crate) const CA_SERVE: &str = "\
Example:
  portreeve ca serve --config agent.yaml

with
  dir: ca
  socket: /run/portreeve/agent.sock
  lifetime: 1h
  entries:
    - {uid: 1001, id: spiffe://market.example/ns/shop/sa/items}
    - {uid: 1002, id: spiffe://market.example/ns/shop/sa/invoices}
  rotate: {root: 720h, overlap: 2h}

Callers are known by their user id. Enforcers take
  identity: {workload_api: unix:///run/portreeve/agent.sock}
Entries can be changed while it runs.

Exit codes: 0 ended in order (with --check: could run), 2 cannot run";
