//! How callers are introduced to the service.

use portreeve_engine::yaml::{Fields, Node, Value};

use super::reader::Reader;
use crate::introduction::{Introduction, OWN_PREFIX, Xfcc};

impl<'a> Reader<'a> {
    /// The fields `identity_headers` and `forward_token` of a listener.
    pub(super) fn introduction(&mut self, f: &mut Fields<'a>) -> Introduction {
        let mut out = f.take("identity_headers").and_then(|node| self.identity_headers(node)).unwrap_or_default();
        if let Some(forward) = self.word(f, "forward_token", &[("true", true), ("false", false)], true) {
            out.forward_token = forward;
        }
        out
    }

    fn identity_headers(&mut self, node: &'a Node) -> Option<Introduction> {
        let mut out = Introduction::default();
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        if f.key("xfcc").is_some() {
            out.xfcc = self.xfcc(&mut f);
        }
        if let Some(name) = f.text("principal", &mut self.out) {
            out.principal = (name.text != OFF).then(|| self.own_name(name.node, name.text)).flatten();
        }
        if let Some(claims) = f.take("claims") {
            out.claims = self.claims(claims);
        }
        f.finish(&mut self.out);
        let mut names: Vec<&str> = out.principal.iter().chain(out.claims.iter().map(|(header, _)| header)).map(String::as_str).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
            self.fault(node, "invalid-value", &format!("`{name}` is given two meanings"), "give each header one");
        }
        Some(out)
    }

    fn xfcc(&mut self, f: &mut Fields<'a>) -> Vec<Xfcc> {
        let mut out = Vec::new();
        let texts = f.some_texts("xfcc", &mut self.out);
        if let [only] = texts.as_slice()
            && only.text == OFF
        {
            return out;
        }
        for text in texts {
            match Xfcc::ALL.into_iter().find(|part| part.as_str() == text.text) {
                Some(part) => out.push(part),
                None => {
                    let known = Xfcc::ALL.map(|part| format!("`{}`", part.as_str())).join(", ");
                    self.fault(
                        text.node,
                        "invalid-value",
                        &format!("`{}` is no part of `x-forwarded-client-cert`", text.text),
                        &format!("write `off`, or some of {known}"),
                    );
                }
            }
        }
        out.sort_unstable();
        out.dedup();
        out
    }

    fn claims(&mut self, node: &'a Node) -> Vec<(String, String)> {
        let Value::Mapping(items) = &node.value else {
            let help = format!("write `claims: {{{OWN_PREFIX}user: sub}}`");
            self.fault(node, "wrong-type", "expected a mapping of headers to claims", &help);
            return Vec::new();
        };
        let mut out = Vec::new();
        for (key, value) in items {
            let name = self.own_name(key, key.as_str().unwrap_or_default());
            if let (Some(name), Some(claim)) = (name, portreeve_engine::yaml::text(self.file, value, &mut self.out)) {
                out.push((name, claim.text.to_owned()));
            }
        }
        out
    }

    /// The name of a header that no caller can send.
    fn own_name(&mut self, node: &Node, text: &str) -> Option<String> {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let rest = text.strip_prefix(OWN_PREFIX).filter(|rest| !rest.is_empty() && rest.bytes().all(fits));
        if rest.is_none() {
            self.fault(
                node,
                "invalid-value",
                &format!("`{text}` is not the name of a header of ours"),
                &format!("begin it with `{OWN_PREFIX}`, in lower case: headers of that name are removed from whatever a caller sends"),
            );
        }
        rest.map(|_| text.to_owned())
    }
}

const OFF: &str = "off";
