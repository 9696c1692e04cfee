//! What the town is made of: the marketplace's services, who has a way to whom, and the two bundles, held in the program so that
//! it runs anywhere.

/// The services, in the order in which they start.
pub const SERVICES: [&str; 6] = ["gateway", "users", "invoices", "items", "tokenizer", "payments"];

/// The local ways of each service to others. Some lead where no permission allows to go: a service that was taken over would
/// try those too.
pub const WAYS: [(&str, &str); 10] = [
    ("gateway", "users"),
    ("gateway", "invoices"),
    ("gateway", "tokenizer"),
    ("users", "invoices"),
    ("users", "items"),
    ("invoices", "users"),
    ("invoices", "items"),
    ("invoices", "tokenizer"),
    ("items", "users"),
    ("tokenizer", "payments"),
];

/// The trust domain.
pub const TRUST_DOMAIN: &str = "market.example";
/// Who issues user tokens.
pub const TOKEN_ISSUER: &str = "https://idp.market.example";

/// The SPIFFE ID of a service account of the shop.
#[must_use]
pub fn id_of(account: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/shop/sa/{account}")
}

/// The services that answer the prober. Those with card data do not.
pub const PROBED: [&str; 4] = ["gateway", "users", "invoices", "items"];

/// The SPIFFE ID of the prober.
pub const PROBER: &str = "spiffe://market.example/ns/ops/sa/prober";

/// The marketplace as it stands: path and text of each file.
#[must_use]
pub fn first_bundle() -> Vec<(&'static str, String)> {
    FILES.iter().map(|(path, text)| (*path, (*text).to_owned())).collect()
}

/// The marketplace a while later: refunds are open, so the prohibition is gone and its test says so.
#[must_use]
pub fn second_bundle() -> Vec<(&'static str, String)> {
    let change = |path: &str, text: &str| match path {
        "permissions.yaml" => {
            let kept: Vec<&str> = text.split(BETWEEN).filter(|document| !document.contains("name: payments-refunds-closed")).collect();
            kept.join(BETWEEN)
        }
        "tests/cards.yaml" => text
            .replace("because: prohibited, policies: [payments-refunds-closed]", "policies: [tokenizer-uses-payments]")
            .replace("expect: deny, policies: [tokenizer-uses-payments]", "expect: allow, policies: [tokenizer-uses-payments]")
            .replace("name: a prohibition beats a grant", "name: refunds are open to the tokenizer")
            .replace("; the prohibition takes them away", ""),
        _ => text.to_owned(),
    };
    FILES.iter().map(|(path, text)| (*path, change(path, text))).collect()
}

const BETWEEN: &str = "\n---\n";

const FILES: [(&str, &str); 9] = [
    ("README.md", include_str!("../../policies/marketplace/README.md")),
    ("invariants.yaml", include_str!("../../policies/marketplace/invariants.yaml")),
    ("inventory.yaml", include_str!("../../policies/marketplace/inventory.yaml")),
    ("pages.rego", include_str!("../../policies/marketplace/pages.rego")),
    ("permissions.yaml", include_str!("../../policies/marketplace/permissions.yaml")),
    ("tenants.cedar", include_str!("../../policies/marketplace/tenants.cedar")),
    ("tests/cards.yaml", include_str!("../../policies/marketplace/tests/cards.yaml")),
    ("tests/inside.yaml", include_str!("../../policies/marketplace/tests/inside.yaml")),
    ("tests/reading.yaml", include_str!("../../policies/marketplace/tests/reading.yaml")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use portreeve_engine::{Authorizer, Bundle, Request, SourceFile};

    fn compile(files: Vec<(&'static str, String)>) -> Authorizer {
        let files = files.into_iter().map(|(path, text)| SourceFile { path: path.to_owned(), bytes: text.into_bytes() }).collect();
        let bundle = Bundle::from_files("b".to_owned(), files).unwrap();
        let compiled = Authorizer::compile(&bundle);
        assert!(compiled.authorizer.is_some(), "{:#?}", compiled.diagnostics);
        compiled.authorizer.unwrap()
    }

    #[test]
    fn the_second_bundle_is_valid_and_opens_the_refund_alone() {
        let (first, second) = (compile(first_bundle()), compile(second_bundle()));
        assert_ne!(first.revision(), second.revision());
        let text = |files: Vec<(&str, String)>, path| files.into_iter().find(|(p, _)| *p == path).unwrap().1;
        let cards = text(second_bundle(), "tests/cards.yaml");
        assert!(cards.contains("POST payments/v1/refunds, expect: allow, policies: [tokenizer-uses-payments]"), "{cards}");
        assert!(!text(second_bundle(), "permissions.yaml").contains("name: payments-refunds-closed"));
        for (as_, path, before, after) in [("tokenizer", "/v1/refunds", false, true), ("gateway", "/v1/refunds", false, false)] {
            let json = format!(
                r#"{{"principal":"{}","service":"payments","method":"POST","path":"{path}","context":{{"time":"2026-11-22T10:00:00.000Z"}}}}"#,
                id_of(as_)
            );
            let request = Request::from_json(json.as_bytes()).unwrap();
            assert_eq!((first.decide(&request).is_allow(), second.decide(&request).is_allow()), (before, after), "{as_}");
        }
    }

    #[test]
    fn every_file_of_the_marketplace_is_embedded() {
        let mut found = Vec::new();
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/marketplace");
        for folder in ["", "tests"] {
            for entry in std::fs::read_dir(root.join(folder)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    found.push(std::path::Path::new(folder).join(entry.file_name()).display().to_string());
                }
            }
        }
        found.sort();
        assert_eq!(found, FILES.map(|(path, _)| path.to_owned()));
    }
}
