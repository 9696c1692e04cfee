//! The JSON Schema (2020-12) of governance files, for editors. A test holds its tables against the reader, field by field.

use portreeve_engine::schema::shape::Holds::{Boolean, Date, Days, Digest, Digests, ListOf, Number, Of, SomeTexts, Text, Time, Words};
use portreeve_engine::schema::shape::{Field, Shape, document};
use serde_json::Value;

use super::records::Subject;

/// The schema of one resource of a governance file.
#[must_use]
pub fn json_schema() -> Value {
    document("Portreeve governance file", KINDS, SHAPES, [])
}

const ZONES: Field = Field("zones", SomeTexts, false, "Zones of the inventory");
const SERVICES: Field = Field("services", SomeTexts, false, "Services of the inventory");
const BY: Field = Field("by", SomeTexts, true, "Who");
const APPROVED: Field = Field("approved_by", SomeTexts, true, "Who agreed");
const SERVICE: Field = Field("service", Text, true, "The service whose enforcer failed");
const FROM: Field = Field("from", Time, true, "The time it is about, in UTC");
const TO: Field = Field("to", Time, true, "See `from`");
const REVISION: Field = Field("revision", Digest, false, "The revision of the policies it speaks of");
const EVERY: Field = Field("every", Days, false, "When it is due again, such as `90d`, if that is sooner than the standard has it");

/// What a review may be of.
#[expect(clippy::indexing_slicing, reason = "both arrays have the length that the loop ends at, and it runs when this is compiled")]
static SUBJECTS: [&str; Subject::ALL.len()] = {
    let mut words = [""; Subject::ALL.len()];
    let mut n = 0;
    while n < words.len() {
        words[n] = Subject::ALL[n].0;
        n += 1;
    }
    words
};

/// The kinds of resources.
static KINDS: &[Shape] = &[
    Shape {
        name: "Scope",
        doc: "What is in scope, and what counts as what; one for a system",
        one_of: &[],
        fields: &[
            Field("cde", Of("members"), false, "What stores, processes or transmits account data"),
            Field("connected_to", Of("members"), false, "What has a way to that"),
            Field("security_impacting", Of("members"), false, "What can weaken its security"),
            Field("out_of_scope", Of("members"), false, "What is none of these"),
            Field("sensitive_data", SomeTexts, false, "Classes of data that are sensitive; `pan` and `chd` where nothing is said"),
            Field("untrusted_zones", SomeTexts, false, "Zones that are not trusted; `edge` where nothing is said"),
            Field("public", SomeTexts, false, "`service` or `service/operation` that anyone may reach from an untrusted zone"),
            Field("environments", ListOf("environment"), false, "Where systems run"),
            Field("tenants", ListOf("tenant"), false, "Customers with systems of their own"),
            Field("provider", Of("members"), false, "Services of the provider that serves the tenants"),
            Field("networks", ListOf("network"), false, "Networks, and which of them are open or public"),
            Field("third_parties", ListOf("third-party"), false, "Providers who take part"),
            Field("cryptography", ListOf("cryptography"), false, "Protocols and suites that are meant to be used"),
            Field("test_accounts", SomeTexts, false, "Services that exist for tests"),
            Field("administration", Of("members"), false, "Services through which systems are administered"),
            Field("log_stores", Of("members"), false, "Services that keep logs"),
            Field("log_readers", Of("members"), false, "Services that may call those"),
            Field("approvers", SomeTexts, false, "Who may approve grants"),
            Field("service_provider", Boolean, false, "Whether the owner serves others, for whom some cycles are shorter"),
            Field("not_applicable", ListOf("not-applicable"), false, "Controls that do not apply"),
        ],
    },
    Shape {
        name: "Review",
        doc: "Somebody looked at something",
        one_of: &[],
        fields: &[
            Field("of", Words(&SUBJECTS), true, "Of what"),
            Field("on", Date, true, "When"),
            BY,
            REVISION,
            Field("covers", SomeTexts, false, "The services it covers; all where nothing is said"),
            EVERY,
            Field("acknowledged_by", SomeTexts, false, "Who of the management acknowledged it"),
            Field("result", Text, false, "What came of it"),
        ],
    },
    Shape {
        name: "Attestation",
        doc: "Somebody states something that no machine can tell. It stands beside a control and decides nothing",
        one_of: &[],
        fields: &[
            Field("statement", Text, true, "What"),
            BY,
            Field("on", Date, true, "When"),
            Field("controls", SomeTexts, true, "About which controls, such as `pci-dss-4.0.1 10.3.1`"),
            REVISION,
            EVERY,
        ],
    },
    Shape {
        name: "Exception",
        doc: "A finding that somebody approved, for a reason and until a day. It is shown all the same",
        one_of: &["finding", "check", "control"],
        fields: &[
            Field("finding", Text, false, "The id of one finding"),
            Field("check", Text, false, "What this check finds"),
            Field("subject", Text, false, "Of this subject alone"),
            Field("control", Text, false, "Whatever refutes this control"),
            Field("reason", Text, true, "Why"),
            APPROVED,
            Field("ticket", Text, false, "Where it was discussed"),
            Field("until", Date, true, "The last day on which it holds; what is no day has expired"),
        ],
    },
    Shape {
        name: "AuditRun",
        doc: "A run of the audit whose report somebody looked at",
        one_of: &[],
        fields: &[
            Field("of", Date, true, "The day whose logs it covers"),
            Field("on", Date, true, "When it was looked at"),
            BY,
            Field("assessment", Digest, false, "The digest of its assessment.json"),
            REVISION,
            Field("open_findings", Number, false, "Findings that nobody has dealt with yet"),
        ],
    },
    Shape {
        name: "Alert",
        doc: "Somebody was told of a failure",
        one_of: &[],
        fields: &[SERVICE, FROM, TO, Field("raised", Time, true, "When somebody was told")],
    },
    Shape {
        name: "Incident",
        doc: "How a failure was dealt with",
        one_of: &[],
        fields: &[
            SERVICE,
            FROM,
            TO,
            Field("cause", Text, true, "Why it happened"),
            Field("action", Text, true, "What was done"),
            Field("closed", Date, false, "When it was closed"),
            BY,
        ],
    },
    Shape {
        name: "Disposition",
        doc: "What became of a finding",
        one_of: &[],
        fields: &[
            Field("finding", Text, true, "The id of the finding"),
            Field("ticket", Text, true, "Where it is dealt with"),
            BY,
            Field("confirmed", Boolean, false, "Somebody looked and it is so: what was in doubt is proved"),
            Field("closed", Date, false, "When that was done"),
        ],
    },
    Shape {
        name: "Certificate",
        doc: "Certificates that somebody answers for",
        one_of: &[],
        fields: &[
            Field("identities", SomeTexts, false, "SPIFFE IDs or patterns"),
            Field("sha256", Digests, false, "Fingerprints, where they are listed one by one"),
            Field("owner", Text, true, "Who answers for them"),
            Field("issuer", Text, true, "Who signs them"),
            Field("algorithm", Text, true, "Algorithm and size"),
            Field("purpose", Text, true, "What for"),
            Field("location", Text, false, "Where they are kept"),
        ],
    },
];

/// What stands within resources.
static SHAPES: &[Shape] = &[
    Shape { name: "members", doc: "Services by zone or by name", one_of: &[], fields: &[ZONES, SERVICES] },
    Shape {
        name: "environment",
        doc: "Where systems run",
        one_of: &[],
        fields: &[
            Field("name", Text, true, "Its name"),
            Field("production", Boolean, false, "Whether it serves the business, and not tests"),
            ZONES,
            SERVICES,
        ],
    },
    Shape { name: "tenant", doc: "A customer", one_of: &[], fields: &[Field("name", Text, true, "Its name"), ZONES, SERVICES] },
    Shape {
        name: "network",
        doc: "A network",
        one_of: &[],
        fields: &[
            Field("name", Text, true, "Its name"),
            Field("addresses", SomeTexts, false, "Blocks of addresses, such as `10.0.0.0/8`"),
            Field("open_public", Boolean, false, "Whether it is open or public"),
            ZONES,
            SERVICES,
        ],
    },
    Shape {
        name: "third-party",
        doc: "A provider who takes part",
        one_of: &[],
        fields: &[
            Field("name", Text, true, "Its name"),
            Field("services", SomeTexts, false, "Services of the inventory that are theirs"),
            Field("hosts", SomeTexts, false, "Host names that are theirs"),
        ],
    },
    Shape {
        name: "cryptography",
        doc: "A protocol that is meant to be used",
        one_of: &[],
        fields: &[
            Field("version", Text, true, "`TLSv1.3`"),
            Field("suites", SomeTexts, false, "Suites; any of this version where nothing is said"),
            Field("purpose", Text, true, "What for"),
        ],
    },
    Shape {
        name: "not-applicable",
        doc: "A control that does not apply",
        one_of: &[],
        fields: &[Field("control", Text, true, "The control"), Field("reason", Text, true, "Why"), APPROVED],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::governance::Governance;

    /// The fields that the reader knows where `zzzzzzzz` stands.
    fn read(document: &str) -> BTreeSet<String> {
        let problems = Governance::read(&[("t.yaml", document.as_bytes().to_vec())]).unwrap_err();
        let unknown = problems.iter().find(|p| p.code == "unknown-field" && p.message.contains("zzzzzzzz"));
        let help = unknown.and_then(|p| p.help.as_deref()).unwrap_or_else(|| panic!("{document}: {problems:#?}"));
        let fields = help.strip_prefix("the fields are: ").unwrap();
        fields.split(", ").filter(|name| *name != "kind").map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_has_the_fields_that_the_reader_has() {
        let mut all: Vec<(&str, String)> = KINDS.iter().map(|k| (k.name, format!("kind: {}\nname: n\nzzzzzzzz: 1\n", k.name))).collect();
        for (shape, field) in [
            ("environment", "environments"),
            ("tenant", "tenants"),
            ("network", "networks"),
            ("third-party", "third_parties"),
            ("cryptography", "cryptography"),
            ("not-applicable", "not_applicable"),
        ] {
            all.push((shape, format!("kind: Scope\nname: n\n{field}: [{{zzzzzzzz: 1}}]\n")));
        }
        all.push(("members", "kind: Scope\nname: n\ncde: {zzzzzzzz: 1}\n".to_owned()));
        let mut seen = BTreeSet::new();
        for (name, document) in all {
            let shape = SHAPES.iter().chain(KINDS).find(|s| s.name == name).unwrap();
            let mut table: BTreeSet<String> = shape.fields.iter().map(|f| f.0.to_owned()).collect();
            if KINDS.iter().any(|k| k.name == name) {
                table.insert("name".to_owned());
            }
            assert_eq!(read(&document), table, "{name}");
            seen.insert(name);
        }
        assert_eq!(seen.len(), SHAPES.len() + KINDS.len(), "a shape is not held against the reader");
        assert_eq!(KINDS.iter().map(|k| k.name).collect::<Vec<_>>(), crate::governance::read::KINDS);
    }
}
