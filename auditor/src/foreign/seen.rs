//! What a line of another mesh's log says, borrowed from the line.
//!
//! A [`Seen`] is the one shape that every adapter fills and that the fold takes. It says what the line says and nothing more: which
//! service of the inventory is meant, and what policy answers, is found out later. It never allocates where the line can be
//! borrowed.
//!
//! INVARIANT: what a line does not say is absent here; no adapter guesses.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use portreeve_engine::Timestamp;
use portreeve_engine::record::{Decided, Side};
use serde::{Serialize, Serializer};

/// How well a record identifies its caller; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// The SAN of the caller's certificate, written by the side that verified it.
    A,
    /// The same in another form, or handed on by the side that verified it, or the caller's own proxy speaking of itself.
    B,
    /// A label or account that a platform gives.
    C,
    /// An address, or nothing but one.
    D,
    /// What a header or an application claims, or nothing at all.
    E,
}

impl Grade {
    /// Every grade, the best first.
    pub const ALL: [Self; 5] = [Self::A, Self::B, Self::C, Self::D, Self::E];

    /// The letter.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
            Self::E => "E",
        }
    }

    /// What the grade means, as the end of "the caller is known by …".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::A => "its certificate, as the verifying side wrote it down",
            Self::B => "its certificate, handed on or in another form",
            Self::C => "a label of the platform",
            Self::D => "its address",
            Self::E => "what it says of itself, or not at all",
        }
    }

    /// The grade of this letter.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.as_str() == text)
    }

    /// The grade of a record of our own: the called side verified the caller; a caller's side speaks of itself.
    #[must_use]
    pub fn of(decided: &Decided) -> Self {
        if decided.side == Some(Side::Outbound) { Self::B } else { Self::A }
    }

    /// Whether it is this good or better.
    #[must_use]
    pub fn is_at_least(self, needed: Self) -> bool {
        self <= needed
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Grade {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Who called, in the words of the line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Caller<'l> {
    /// A SPIFFE ID (not checked yet).
    Id(Cow<'l, str>),
    /// What a platform says: an account within a namespace, and names of the workload, the surest first.
    Label {
        /// The namespace.
        namespace: Option<Cow<'l, str>>,
        /// The service account.
        account: Option<Cow<'l, str>>,
        /// Names of the workload.
        names: [Option<Cow<'l, str>>; 2],
    },
    /// A name that only a mapping can resolve, or that is a service's own.
    Name(Cow<'l, str>),
    /// Nothing but the address of the connection.
    #[default]
    Unnamed,
}

/// What tells that two lines are about one request or connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tie {
    /// The id of a request, which both sides know.
    Request,
    /// Addresses and ports of a connection that was opened: nobody opens it twice at one time.
    Opened,
    /// Addresses of a connection that was closed, and the bytes that went each way. Several may be alike, but each has a line of each side.
    Closed,
}

/// What an address is that a caller is known by, for want of a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AddressOf {
    /// The line does not say.
    #[default]
    Unsaid,
    /// The other end of the connection, as the proxy saw it.
    Peer,
    /// The other end of the connection, unless Envoy believed a header or a preamble that names another (`downstream_remote_address`).
    PeerOrForwarded,
    /// What a header or a preamble named; the other end of the connection is this one.
    ForwardedBy(IpAddr),
    /// What a field of this name has.
    Field(&'static str),
}

impl AddressOf {
    /// How such a caller is called. It begins with a word that no identity, account or service begins with.
    #[must_use]
    pub fn name(self, ip: IpAddr) -> String {
        match self {
            Self::Unsaid => format!("address {ip}"),
            Self::Peer => format!("address {ip} (peer)"),
            Self::PeerOrForwarded => format!("address {ip} (peer or forwarded)"),
            Self::ForwardedBy(peer) => format!("address {ip} (forwarded by {peer})"),
            Self::Field(field) => format!("address {ip} ({field})"),
        }
    }
}

/// What was called, in the words of the line; the surest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Callee<'l> {
    /// Its SPIFFE ID.
    pub id: Option<Cow<'l, str>>,
    /// Its namespace, where the names do not say it.
    pub namespace: Option<Cow<'l, str>>,
    /// Its service account there.
    pub account: Option<Cow<'l, str>>,
    /// Names of it, with or without a port: a host, a cluster, a workload.
    pub names: [Option<Cow<'l, str>>; 4],
    /// Its address.
    pub ip: Option<IpAddr>,
}

/// Which end of the connection wrote the line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reporter {
    /// The called side.
    #[default]
    Inbound,
    /// The calling side.
    Outbound,
}

/// What the mesh did with the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Did<'l> {
    /// It let it through, whatever became of it afterwards.
    Allowed,
    /// It denied it; the policy, where the line names one.
    Denied(Option<Cow<'l, str>>),
    /// The line does not say.
    #[default]
    Unknown,
}

/// What the line says about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenTls<'l> {
    /// `TLSv1.3`.
    pub version: Cow<'l, str>,
    /// The suite.
    pub suite: Cow<'l, str>,
    /// SHA-256 of the caller's certificate, in hexadecimal digits.
    pub peer_sha256: Option<Cow<'l, str>>,
    /// Its serial number.
    pub peer_serial: Option<Cow<'l, str>>,
    /// When it ends.
    pub peer_not_after: Option<Timestamp>,
    /// Who issued it.
    pub peer_issuer: Option<Cow<'l, str>>,
    /// The kind of its key.
    pub peer_key: Option<Cow<'l, str>>,
}

/// One request or connection, as another mesh wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen<'l> {
    /// When.
    pub at: Timestamp,
    /// Who called.
    pub caller: Caller<'l>,
    /// How well that is known.
    pub grade: Grade,
    /// The address of the caller.
    pub caller_ip: Option<IpAddr>,
    /// What that is, where nothing else is known of the caller.
    pub caller_ip_of: AddressOf,
    /// What was called.
    pub callee: Callee<'l>,
    /// Who wrote the line.
    pub reporter: Reporter,
    /// The method; `None` for a connection.
    pub method: Option<Cow<'l, str>>,
    /// The path as sent, with its query; `None` for a connection.
    pub path: Option<Cow<'l, str>>,
    /// The port of the callee.
    pub port: Option<u16>,
    /// What the mesh did.
    pub did: Did<'l>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// TLS between caller and callee.
    pub tls: Option<SeenTls<'l>>,
    /// The id by which both sides know the request.
    pub request_id: Option<Cow<'l, str>>,
    /// What both sides know of the connection, where requests have no id.
    pub connection: Option<(Tie, String)>,
}

impl Seen<'_> {
    /// What the other side knows of it, too.
    #[must_use]
    pub fn known_by(&self) -> Option<(Tie, &[u8])> {
        let by_connection = || self.connection.as_ref().map(|(tie, of)| (*tie, of.as_bytes()));
        self.request_id.as_deref().map(|id| (Tie::Request, id.as_bytes())).or_else(by_connection)
    }

    /// A record of this time about which nothing else is known.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        Self {
            at,
            caller: Caller::Unnamed,
            grade: Grade::E,
            caller_ip: None,
            caller_ip_of: AddressOf::Unsaid,
            callee: Callee::default(),
            reporter: Reporter::Inbound,
            method: None,
            path: None,
            port: None,
            did: Did::Unknown,
            status: None,
            tls: None,
            request_id: None,
            connection: None,
        }
    }
}

/// What stands on a line.
#[derive(Clone, Debug, PartialEq)]
pub enum Read<'l> {
    /// A request or connection.
    Request(Box<Seen<'l>>),
    /// Something that is no request: what it is, in the plural.
    Other(&'static str),
    /// A confession that records were lost, and how many.
    Lost(u64),
    /// It is not of this format.
    Bad(String),
}
