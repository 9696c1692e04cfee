//! The questions that players ask, lawful and not, each with the answer that is due.
//!
//! INVARIANT: what is expected is written down here, from the meaning of the marketplace's policies, and never asked of the
//! engine: the town would otherwise mark its own homework.

use portreeve_engine::Reason;

use crate::client::Protocol;
use crate::limits;
use crate::market::{PROBED, SERVICES, WAYS};
use crate::random::Random;
use crate::tokens::Token;

/// What kind of question it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A call that some permission grants.
    Lawful,
    /// A refund, which the first bundle forbids and the second allows.
    Refund,
    /// A service that has no business there.
    WrongCaller,
    /// A user token without the scope that is needed, or no token.
    MissingScope,
    /// A token that ended.
    ExpiredToken,
    /// A token signed with another key.
    ForgedToken,
    /// A token made for another service.
    WrongAudience,
    /// A token of one tenant with the name of another.
    WrongTenant,
    /// A page larger than policy allows.
    LargePage,
    /// A path or method that the service does not declare.
    UnknownPath,
    /// A path that two readers could read differently.
    PathTrick,
    /// A parameter that has not the type of the inventory.
    BadParameter,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndChunks,
    /// Two `Host` lines.
    TwoHosts,
    /// A certificate of our authority with a name that the inventory does not have.
    UnknownIdentity,
    /// A certificate that ended.
    ExpiredCertificate,
    /// A certificate of an authority of the same name with another key.
    ForeignAuthority,
    /// A certificate of an authority of another trust domain.
    ForeignDomain,
    /// No certificate.
    NoCertificate,
    /// A certificate with two names.
    TwoNames,
    /// A certificate that may be used by servers only.
    ServerCertificate,
    /// No TLS at all.
    PlainText,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 22] = [
        Self::Lawful,
        Self::Refund,
        Self::WrongCaller,
        Self::MissingScope,
        Self::ExpiredToken,
        Self::ForgedToken,
        Self::WrongAudience,
        Self::WrongTenant,
        Self::LargePage,
        Self::UnknownPath,
        Self::PathTrick,
        Self::BadParameter,
        Self::LengthAndChunks,
        Self::TwoHosts,
        Self::UnknownIdentity,
        Self::ExpiredCertificate,
        Self::ForeignAuthority,
        Self::ForeignDomain,
        Self::NoCertificate,
        Self::TwoNames,
        Self::ServerCertificate,
        Self::PlainText,
    ];

    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lawful => "lawful",
            Self::Refund => "refund",
            Self::WrongCaller => "wrong caller",
            Self::MissingScope => "missing scope",
            Self::ExpiredToken => "expired token",
            Self::ForgedToken => "forged token",
            Self::WrongAudience => "token for another service",
            Self::WrongTenant => "token of another tenant",
            Self::LargePage => "page too large",
            Self::UnknownPath => "undeclared path or method",
            Self::PathTrick => "path trick",
            Self::BadParameter => "parameter of the wrong type",
            Self::LengthAndChunks => "length and chunks",
            Self::TwoHosts => "two hosts",
            Self::UnknownIdentity => "identity not in the inventory",
            Self::ExpiredCertificate => "expired certificate",
            Self::ForeignAuthority => "foreign authority",
            Self::ForeignDomain => "foreign trust domain",
            Self::NoCertificate => "no certificate",
            Self::TwoNames => "two names in one certificate",
            Self::ServerCertificate => "certificate for servers only",
            Self::PlainText => "no TLS",
        }
    }

    /// For strangers, the word of the decision log for their refusal.
    #[must_use]
    pub const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::ExpiredCertificate => Some("certificate-expired"),
            Self::ForeignAuthority => Some("unknown-issuer"),
            Self::ForeignDomain => Some("unknown-trust-domain"),
            Self::NoCertificate => Some("no-certificate"),
            Self::TwoNames => Some("uri-san-count"),
            Self::ServerCertificate => Some("invalid-usage"),
            Self::PlainText => Some("not-tls"),
            _ => None,
        }
    }
}

/// Whose certificate is presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A service of the inventory.
    Service(&'static str),
    /// The prober, named by a permission and no service.
    Prober,
    /// Whatever this kind of question comes with.
    Odd(Kind),
}

/// How the question travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Mutual TLS straight to the sidecar of the service asked.
    Direct(Protocol),
    /// In the clear to the caller's own sidecar, which brings it there.
    Outbound,
    /// These bytes, after the handshake.
    Raw(String),
}

/// What must come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// 200, or 429 where the permission has a limit.
    Allowed {
        /// Whether it has one.
        limited: bool,
    },
    /// 403, and this reason in the log.
    Denied(Reason),
    /// 400, and `malformed-request` in the log.
    Malformed,
    /// 403 `prohibited` under the first bundle, 200 under the second.
    ByBundle,
    /// No answer: refused in the handshake.
    TurnedAway,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its kind.
    pub kind: Kind,
    /// Who asks.
    pub from: Who,
    /// Which service.
    pub to: &'static str,
    /// The method.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// Headers besides the token's.
    pub headers: Vec<(&'static str, &'static str)>,
    /// The user's token.
    pub token: Option<Token>,
    /// Bytes of the body.
    pub body: u64,
    /// How it travels.
    pub way: Way,
    /// What must come back.
    pub expect: Expect,
}

impl Call {
    fn new(kind: Kind, expect: Expect, from: &'static str, to: &'static str, method: &'static str, target: impl Into<String>) -> Self {
        Self {
            kind,
            from: Who::Service(from),
            to,
            method,
            target: target.into(),
            headers: Vec::new(),
            token: None,
            body: 0,
            way: Way::Direct(Protocol::Http2),
            expect,
        }
    }

    fn with(mut self, aud: &'static str, scope: &'static str) -> Self {
        self.token = Some(Token::good(aud, scope));
        self
    }

    fn tenant(mut self, tenant: &'static str, named: &'static str) -> Self {
        self.token = self.token.map(|t| Token { tenant: Some(tenant), ..t });
        self.headers.push(("x-tenant", named));
        self
    }

    fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }

    fn body(mut self, bytes: u64) -> Self {
        self.body = bytes;
        self
    }

    fn raw(mut self, bytes: String) -> Self {
        self.way = Way::Raw(bytes);
        self
    }

    /// Chooses how it travels, where there is a choice.
    fn travelling(mut self, random: &mut Random) -> Self {
        let own = matches!(self.from, Who::Service(from) if WAYS.contains(&(from, self.to)));
        if matches!(self.way, Way::Direct(_)) {
            self.way = match random.below(3) {
                0 if own => Way::Outbound,
                0 | 1 => Way::Direct(Protocol::Http2),
                _ => Way::Direct(Protocol::Http1),
            };
        }
        self
    }
}

/// Which questions are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Questions {
    /// All kinds.
    All,
    /// Refunds alone: the answers that a change of bundle turns round.
    Refunds,
}

/// The next question.
pub fn next(questions: Questions, random: &mut Random) -> Call {
    let call = match questions {
        Questions::All => any(random),
        Questions::Refunds => refund(random),
    };
    call.travelling(random)
}

fn any(random: &mut Random) -> Call {
    match random.below(20) {
        0..=13 => lawful(random),
        14 => wrong_caller(random),
        15 => token_trouble(random),
        16 => request_trouble(random),
        17 => path_trouble(random),
        18 => refund(random),
        _ => stranger(random),
    }
}

fn lawful(random: &mut Random) -> Call {
    let n = random.below(10_000);
    let free = |from, to, method, target: String| Call::new(Kind::Lawful, Expect::Allowed { limited: false }, from, to, method, target);
    let limited = |from, to, method, target: String| Call::new(Kind::Lawful, Expect::Allowed { limited: true }, from, to, method, target);
    match random.below(15) {
        0 => free("gateway", "users", "GET", format!("/v1/users/{n}")).with("users", "users:read"),
        1 => free("gateway", "users", "GET", format!("/v1/users?page-size={}", n % 101)).with("users", "users:read profile"),
        2 => free("gateway", "users", "GET", format!("/v1/users/{n}")).with("users", "users:read").tenant("eu", "eu"),
        3 => limited("gateway", "users", "PUT", format!("/v1/users/{n}")).with("users", "users:write").body(size(random)),
        4 => free("gateway", "invoices", "GET", "/v1/invoices".to_owned()).with("invoices", "invoices:read"),
        5 | 6 => free("gateway", "invoices", "GET", format!("/v1/invoices/{n}")).with("invoices", "invoices:read"),
        7 => limited("gateway", "invoices", "POST", format!("/v1/invoices/{n}/payment"))
            .with("invoices", "invoices:read invoices:pay")
            .tenant("us", "us")
            .body(size(random)),
        8 => free("invoices", "users", "GET", format!("/v1/users/{n}")),
        9 => free("users", "invoices", "GET", format!("/v1/invoices/{n}")).header("x-purpose", "account-closing"),
        10 => limited("invoices", "items", "GET", format!("/v1/items/{n}?full=1")),
        11 => limited("invoices", "items", "POST", "/market.items.Stock/Check".to_owned()).body(size(random)),
        12 => limited("invoices", "tokenizer", "POST", "/v1/charges".to_owned()).body(size(random)),
        13 => free("tokenizer", "payments", "GET", format!("/v1/cards/411111111111{:04}/charges", n)),
        _ => {
            let to = random.pick(&PROBED).unwrap_or("items");
            Call { from: Who::Prober, ..free("gateway", to, "GET", "/healthz".to_owned()) }
        }
    }
}

/// Bodies of several sizes: most small, some of many pieces.
fn size(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => limits::UPLOAD_BYTES_MAX,
        2 => u64::try_from(limits::UPLOAD_PIECE_BYTES).unwrap_or(0),
        _ => random.below(2000),
    }
}

fn refund(random: &mut Random) -> Call {
    Call::new(Kind::Refund, Expect::ByBundle, "tokenizer", "payments", "POST", "/v1/refunds").body(random.below(500))
}

fn wrong_caller(random: &mut Random) -> Call {
    let denied =
        |from, to, method, target: &str| Call::new(Kind::WrongCaller, Expect::Denied(Reason::NoPermission), from, to, method, target);
    match random.below(12) {
        0 => denied("users", "items", "GET", "/v1/items/42"),
        1 => denied("gateway", "items", "GET", "/v1/items/42"),
        2 => denied("payments", "items", "GET", "/v1/items"),
        3 => denied("gateway", "tokenizer", "POST", "/v1/charges").body(100),
        4 => denied("gateway", "payments", "POST", "/v1/charges").body(100),
        5 => denied("items", "users", "GET", "/v1/users/7"),
        6 => denied("invoices", "items", "PUT", "/v1/items/42").body(3000),
        7 => denied("invoices", "payments", "POST", "/v1/charges"),
        8 => denied("invoices", "users", "GET", "/v1/users"),
        9 => {
            let call = denied("gateway", "users", "DELETE", "/v1/users/7").with("users", "users:admin");
            Call { expect: Expect::Denied(Reason::Prohibited), ..call }
        }
        10 => {
            let to = random.pick(&["tokenizer", "payments"]).unwrap_or("payments");
            let call = denied("gateway", to, "GET", "/healthz");
            Call { from: Who::Prober, expect: Expect::Denied(Reason::UnknownPrincipal), ..call }
        }
        _ => {
            let call = denied("gateway", "users", "GET", "/v1/users/7");
            Call {
                kind: Kind::UnknownIdentity,
                from: Who::Odd(Kind::UnknownIdentity),
                expect: Expect::Denied(Reason::UnknownPrincipal),
                ..call
            }
        }
    }
}

fn token_trouble(random: &mut Random) -> Call {
    let read = |kind, reason| Call::new(kind, Expect::Denied(reason), "gateway", "users", "GET", "/v1/users/42");
    match random.below(8) {
        0 => read(Kind::MissingScope, Reason::ConditionUnmet),
        1 => read(Kind::MissingScope, Reason::ConditionUnmet).with("users", "invoices:read"),
        2 => Call::new(Kind::MissingScope, Expect::Denied(Reason::ConditionUnmet), "users", "invoices", "GET", "/v1/invoices/7"),
        3 => {
            let call = read(Kind::ExpiredToken, Reason::InvalidToken).with("users", "users:read");
            Call { token: call.token.map(|t| Token { expired: true, ..t }), ..call }
        }
        4 => {
            let call = read(Kind::ForgedToken, Reason::InvalidToken).with("users", "users:read");
            Call { token: call.token.map(|t| Token { forged: true, ..t }), ..call }
        }
        5 => read(Kind::WrongAudience, Reason::InvalidToken).with("invoices", "users:read"),
        6 => read(Kind::WrongTenant, Reason::Prohibited).with("users", "users:read").tenant("eu", "us"),
        _ => Call { target: "/v1/users?page-size=101".to_owned(), ..read(Kind::LargePage, Reason::Prohibited).with("users", "users:read") },
    }
}

fn request_trouble(random: &mut Random) -> Call {
    let read = |kind| Call::new(kind, Expect::Malformed, "gateway", "users", "GET", "/v1/users?page-size=all");
    match random.below(3) {
        0 => read(Kind::BadParameter).with("users", "users:read"),
        1 => read(Kind::LengthAndChunks).raw(SMUGGLED.to_owned()),
        _ => read(Kind::TwoHosts).raw("GET /v1/users/42 HTTP/1.1\r\nhost: users\r\nhost: payments\r\n\r\n".to_owned()),
    }
}

fn path_trouble(random: &mut Random) -> Call {
    if random.one_in(3) {
        let (method, target) = random
            .pick(&[("GET", "/v2/users/42"), ("GET", "/v1/users/42/"), ("POST", "/v1/users"), ("GET", "/"), ("OPTIONS", "/v1/users")])
            .unwrap_or(("GET", "/v2"));
        let expect = Expect::Denied(Reason::UndeclaredOperation);
        return Call::new(Kind::UnknownPath, expect, "gateway", "users", method, target).with("users", "users:read");
    }
    let target = random.pick(&TRICKS).unwrap_or("//");
    Call::new(Kind::PathTrick, Expect::Malformed, "gateway", "users", "GET", target).with("users", "users:read")
}

fn stranger(random: &mut Random) -> Call {
    let kind = random.pick(&STRANGERS).unwrap_or(Kind::NoCertificate);
    let to = random.pick(&SERVICES).unwrap_or("items");
    let call =
        Call::new(kind, Expect::TurnedAway, "gateway", to, "GET", "/healthz").raw(format!("GET /healthz HTTP/1.1\r\nhost: {to}\r\n\r\n"));
    Call { from: Who::Odd(kind), ..call }
}

const STRANGERS: [Kind; 7] = [
    Kind::ExpiredCertificate,
    Kind::ForeignAuthority,
    Kind::ForeignDomain,
    Kind::NoCertificate,
    Kind::TwoNames,
    Kind::ServerCertificate,
    Kind::PlainText,
];

/// Paths that two readers could read differently.
pub const TRICKS: [&str; 9] = [
    "/v1/users/../users/42",
    "/v1/users/%2e%2e/users/42",
    "/v1/./users/42",
    "/v1/users%2f42",
    "/v1//users/42",
    "//v1/users/42",
    "/v1/users/42;admin=1",
    "/v1/users/%5c..%5c42",
    "/v1/users/42%00",
];

/// The second request must never be answered.
const SMUGGLED: &str = "POST /v1/users/42 HTTP/1.1\r\nhost: users\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n\
GET /v1/users/1 HTTP/1.1\r\nhost: users\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_comes_up_and_a_seed_repeats_itself() {
        let (mut one, mut two) = (Random::new(3), Random::new(3));
        let mut kinds = BTreeSet::new();
        for _ in 0..5000 {
            let (a, b) = (next(Questions::All, &mut one), next(Questions::All, &mut two));
            assert_eq!(format!("{a:?}"), format!("{b:?}"));
            assert_eq!(a.kind.refusal().is_some(), a.expect == Expect::TurnedAway, "{a:?}");
            kinds.insert(a.kind);
        }
        assert_eq!(kinds, BTreeSet::from(Kind::ALL));
    }
}
