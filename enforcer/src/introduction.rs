//! How a caller is introduced to the service: which headers say who it is, and on whose behalf it calls.
//!
//! INVARIANT: nothing of these headers comes from the caller's own: they are made of its verified certificate and of a verified
//! token, after everything that claims an identity was removed ([`crate::headers`]). Names that can be configured begin with
//! [`OWN_PREFIX`], because all headers of that prefix are removed wherever a caller could put them, trailers included; another
//! name would have to be removed in each of these places, and one that is forgotten lets a caller choose who it is. What a caller
//! says of callers before it is never passed on.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use portreeve_engine::SpiffeId;
use portreeve_engine::request::{AttributeValue, Claims, Token};
use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

use crate::head::{Field, Fields, Kind, Lines};
use crate::headers::{X_PRINCIPAL, X_REQUEST_ID, XFCC, bearer};

/// What names that can be configured begin with.
pub const OWN_PREFIX: &str = "x-portreeve-";

/// How callers of one listener are introduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// The parts of `x-forwarded-client-cert`; none: it is not set.
    pub xfcc: Vec<Xfcc>,
    /// The header that has the caller's SPIFFE ID.
    pub principal: Option<String>,
    /// Headers that have a claim of the verified token, each with its claim.
    pub claims: Vec<(String, String)>,
    /// Whether the token itself reaches the service.
    pub forward_token: bool,
}

/// A part of `x-forwarded-client-cert`, by Envoy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Xfcc {
    /// Our own SPIFFE ID.
    By,
    /// SHA-256 of the caller's certificate.
    Hash,
    /// Its certificate, PEM.
    Cert,
    /// Its certificate and those between it and the root, PEM.
    Chain,
    /// The subject of its certificate.
    Subject,
    /// Its SPIFFE ID.
    Uri,
    /// The DNS names of its certificate.
    Dns,
}

impl Xfcc {
    /// Every part, in the order in which they are written.
    pub const ALL: [Self; 7] = [Self::By, Self::Hash, Self::Cert, Self::Chain, Self::Subject, Self::Uri, Self::Dns];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::By => "By",
            Self::Hash => "Hash",
            Self::Cert => "Cert",
            Self::Chain => "Chain",
            Self::Subject => "Subject",
            Self::Uri => "URI",
            Self::Dns => "DNS",
        }
    }
}

impl Default for Introduction {
    fn default() -> Self {
        let xfcc = vec![Xfcc::By, Xfcc::Hash, Xfcc::Uri];
        Self { xfcc, principal: Some(X_PRINCIPAL.as_str().to_owned()), claims: Vec::new(), forward_token: true }
    }
}

/// The introduction of one caller, as far as it is the same for all its requests.
#[derive(Debug)]
pub struct Introduced {
    how: Arc<Introduction>,
    /// Whether `By` comes first.
    by: bool,
    /// The other parts of `x-forwarded-client-cert`.
    xfcc: String,
    id: SpiffeId,
    /// The lines that are the same for every request as long as we are who we are.
    written: Mutex<Option<(SpiffeId, Lines)>>,
}

impl Introduced {
    /// A caller by the certificates of its handshake, its own first.
    #[must_use]
    pub fn of(how: &Arc<Introduction>, id: &SpiffeId, sha256: &str, chain: &[CertificateDer<'static>]) -> Self {
        let mut xfcc = String::new();
        let mut part = |name: Xfcc, value: &str| {
            let separator = if xfcc.is_empty() { "" } else { ";" };
            // A SPIFFE ID, a digest and a DNS name have nothing that could end a part early; the others are quoted.
            let _ = write!(xfcc, "{separator}{}={value}", name.as_str());
        };
        let leaf = chain.first().and_then(|der| X509Certificate::from_der(der).ok()).map(|(_, leaf)| leaf);
        for name in how.xfcc.iter().copied() {
            match name {
                Xfcc::By => {}
                Xfcc::Hash => part(name, sha256),
                Xfcc::Uri => part(name, id.as_str()),
                Xfcc::Cert => part(name, &quoted(&chain.iter().take(1).map(pem).collect::<String>())),
                Xfcc::Chain => part(name, &quoted(&chain.iter().map(pem).collect::<String>())),
                Xfcc::Subject => part(name, &quoted(&leaf.as_ref().map(|leaf| subject(leaf.subject())).unwrap_or_default())),
                Xfcc::Dns => leaf.iter().flat_map(dns_names).for_each(|dns| part(name, &dns)),
            }
        }
        Self { how: Arc::clone(how), by: how.xfcc.contains(&Xfcc::By), xfcc, id: id.clone(), written: Mutex::default() }
    }

    /// The caller's own lines as they are forwarded, behind what the head begins with, and the ones that introduce it. `own` is ourselves.
    #[must_use]
    pub fn lines(&self, opening: Vec<u8>, fields: &Fields<'_>, own: &SpiffeId, token: Option<&Token>, request_id: &str) -> Lines {
        let mut lines = if self.how.forward_token || !fields.iter().any(is_bearer) {
            Lines::behind(opening, fields)
        } else {
            let mut kept = fields.clone();
            kept.retain(|field| !is_bearer(field));
            Lines::behind(opening, &kept)
        };
        self.introduce(own, &mut lines);
        if let Some(Token::Valid(claims)) = token {
            for (header, claim) in &self.how.claims {
                if let Some(value) = value_of(claims, claim) {
                    lines.push(header, value.as_bytes());
                }
            }
        }
        lines.push(X_REQUEST_ID.as_str(), request_id.as_bytes());
        lines
    }

    fn introduce(&self, own: &SpiffeId, lines: &mut Lines) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, same)) = written.as_ref().filter(|(id, _)| id == own) {
            return lines.append(same);
        }
        let mut ours = Lines::default();
        if !self.how.xfcc.is_empty() {
            let parts: [&[u8]; 4] = match (self.by, self.xfcc.is_empty()) {
                (false, _) => [b"", b"", b"", self.xfcc.as_bytes()],
                (true, true) => [b"By=", own.as_str().as_bytes(), b"", b""],
                (true, false) => [b"By=", own.as_str().as_bytes(), b";", self.xfcc.as_bytes()],
            };
            ours.push_parts(XFCC.as_str(), &parts);
        }
        if let Some(name) = &self.how.principal {
            ours.push(name, self.id.as_str().as_bytes());
        }
        lines.append(&ours);
        *written = Some((own.clone(), ours));
    }
}

fn is_bearer(field: &Field<'_>) -> bool {
    field.kind == Kind::Authorization && bearer(field.value).is_some()
}

/// A claim as the value of a header. Several texts are joined by commas, so a comma in one of them is encoded.
fn value_of(claims: &Claims, name: &str) -> Option<String> {
    let list = |texts: &[Box<str>]| texts.iter().map(|text| encoded(text, ",")).collect::<Vec<_>>().join(",");
    Some(match name {
        "iss" => encoded(&claims.iss, ""),
        "sub" => encoded(&claims.sub, ""),
        "aud" => list(&claims.aud),
        "scope" => encoded(claims.scope.as_deref()?, ""),
        other => match claims.other.get(other)? {
            AttributeValue::Text(text) => encoded(text, ""),
            AttributeValue::Integer(number) => number.to_string(),
            AttributeValue::Boolean(flag) => flag.to_string(),
            AttributeValue::List(texts) => list(texts),
        },
    })
}

/// Printable ASCII as it is, everything else (and `%`) percent-encoded byte by byte.
fn encoded(text: &str, besides: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if (byte == b' ' || byte.is_ascii_graphic()) && byte != b'%' && !besides.contains(c) {
            out.push(c);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// In quotes. Neither an encoded certificate nor an escaped subject has a quote of its own that no backslash stands before.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

/// A certificate in PEM with everything but letters, digits and `-._~` percent-encoded.
fn pem(der: &CertificateDer<'static>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut out = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    for line in text.as_bytes().chunks(64) {
        for byte in line {
            match byte {
                b'+' => out.push_str("%2B"),
                b'/' => out.push_str("%2F"),
                b'=' => out.push_str("%3D"),
                byte => out.push(char::from(*byte)),
            }
        }
        out.push_str("%0A");
    }
    out.push_str("-----END%20CERTIFICATE-----%0A");
    out
}

/// A name as RFC 2253 and RFC 4514 write it: the last part first.
fn subject(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let each = rdn.iter().map(|one| {
                let kind = oid2abbrev(one.attr_type(), oid_registry()).map_or_else(|_| one.attr_type().to_id_string(), str::to_owned);
                let value = one.as_str().map_or_else(|_| hex(one.as_slice()), escaped);
                format!("{kind}={value}")
            });
            each.collect::<Vec<_>>().join("+")
        })
        .collect();
    parts.reverse();
    parts.join(",")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold("#".to_owned(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn escaped(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' | b'=' | b'#' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' ' | b'!'..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

/// The DNS names that are such; anything else in their place could end a part early.
fn dns_names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let names = leaf.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|found| &found.value.general_names).filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    names
        .filter(|name| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'*')))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    const ITEMS: &str = "spiffe://market.example/items";
    const INVOICES: &str = "spiffe://market.example/invoices";

    fn id(text: &str) -> SpiffeId {
        text.parse().unwrap()
    }

    fn certificate() -> CertificateDer<'static> {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![
            SanType::URI(INVOICES.try_into().unwrap()),
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::DnsName("b.example".try_into().unwrap()),
        ];
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, "Market; \"evil\",By=spiffe://x");
        name.push(DnType::CommonName, "inv\u{f6}ices");
        params.distinguished_name = name;
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn said(how: Introduction, lines: &[(&str, &str)], token: Option<&Token>) -> Vec<(String, String)> {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name, value.as_bytes());
        }
        let introduced = Introduced::of(&Arc::new(how), &id(INVOICES), "ab", &[certificate()]);
        let lines = introduced.lines(Vec::new(), &fields, &id(ITEMS), token, "r1");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        lines.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn another_identity_of_ours_is_said_from_the_next_request_on() {
        let introduced = Introduced::of(&Arc::default(), &id(INVOICES), "ab", &[]);
        for own in [ITEMS, ITEMS, "spiffe://market.example/renamed", ITEMS] {
            let lines = introduced.lines(Vec::new(), &Fields::default(), &id(own), None, "r1").to_map();
            assert_eq!((lines[XFCC].to_str().unwrap(), lines.len()), (format!("By={own};Hash=ab;URI={INVOICES}").as_str(), 3));
        }
    }

    #[test]
    fn the_usual_introduction() {
        let lines = said(Introduction::default(), &[("Authorization", "Bearer t"), ("accept", "*/*")], None);
        let xfcc = format!("By={ITEMS};Hash=ab;URI={INVOICES}");
        let want = [
            ("Authorization", "Bearer t"),
            ("accept", "*/*"),
            ("x-forwarded-client-cert", xfcc.as_str()),
            ("x-portreeve-principal", INVOICES),
            ("x-request-id", "r1"),
        ];
        assert_eq!(lines, pairs(&want));
    }

    #[test]
    fn nothing_in_a_certificate_ends_a_part_of_the_header_early() {
        let how = Introduction { xfcc: Xfcc::ALL.to_vec(), ..Introduction::default() };
        let lines = said(how, &[], None);
        let xfcc = &lines[0].1;
        assert!(xfcc.is_ascii() && !xfcc.contains(['\r', '\n']), "{xfcc}");
        // Parts are what stands between semicolons outside of quotes.
        let (mut parts, mut in_quotes, mut escaped) = (vec![String::new()], false, false);
        for c in xfcc.chars() {
            match c {
                ';' if !in_quotes => parts.push(String::new()),
                c => {
                    in_quotes ^= c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    parts.last_mut().unwrap().push(c);
                }
            }
        }
        let names: Vec<&str> = parts.iter().map(|p| p.split('=').next().unwrap()).collect();
        assert_eq!(names, ["By", "Hash", "Cert", "Chain", "Subject", "URI", "DNS", "DNS"], "{xfcc}");
        let subject = r#"Subject="CN=inv\C3\B6ices,O=Market\; \"evil\"\,By\=spiffe://x""#;
        assert_eq!(parts[4], subject);
        assert_eq!((parts[6].as_str(), parts[7].as_str()), ("DNS=a.example", "DNS=b.example"));
        let cert = parts[2].strip_prefix("Cert=\"").unwrap().strip_suffix('"').unwrap();
        let text = portreeve_engine::path::decode_query(&cert.replace("%0A", "|")).unwrap().replace('|', "\n");
        let read = <CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(text.as_bytes()).unwrap();
        assert!(X509Certificate::from_der(&read).is_ok());
    }

    #[test]
    fn claims_are_told_as_configured_and_a_token_can_stay_behind() {
        let how = Introduction {
            xfcc: Vec::new(),
            principal: None,
            claims: [
                ("x-portreeve-user", "sub"),
                ("x-portreeve-roles", "roles"),
                ("x-portreeve-level", "level"),
                ("x-portreeve-none", "tenant"),
            ]
            .map(|(header, claim)| (header.to_owned(), claim.to_owned()))
            .to_vec(),
            forward_token: false,
        };
        let mut claims =
            Claims { iss: "i".into(), sub: "ann%\r\n\u{e9}".into(), aud: vec!["a".into()], scope: None, other: Default::default() };
        claims.other.insert("roles".into(), AttributeValue::List(vec!["a,admin".into(), "b".into()]));
        claims.other.insert("level".into(), AttributeValue::Integer(3));
        let token = Token::Valid(claims);
        let lines = said(how.clone(), &[("Authorization", "bearer t"), ("x-tenant", "eu")], Some(&token));
        let want = [
            ("x-tenant", "eu"),
            ("x-portreeve-user", "ann%25%0D%0A%C3%A9"),
            ("x-portreeve-roles", "a%2Cadmin,b"),
            ("x-portreeve-level", "3"),
            ("x-request-id", "r1"),
        ];
        assert_eq!(lines, pairs(&want));
        let lines = said(how.clone(), &[("Authorization", "Bearer\tt"), ("x-tenant", "eu")], Some(&token));
        assert_eq!(lines, pairs(&want), "whatever ends the word");
        // Another scheme is not a token of ours; a token that is not believed says nothing.
        let lines = said(how, &[("Authorization", "Basic eA==")], Some(&Token::Invalid("expired".into())));
        assert_eq!(lines, pairs(&[("Authorization", "Basic eA=="), ("x-request-id", "r1")]));
    }
}
