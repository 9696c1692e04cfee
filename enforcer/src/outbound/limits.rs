//! The bounds of the outbound side, each with its reason.

use std::time::Duration;

/// Endpoints of one destination. More belong behind a name or a balancer of their own.
pub const ENDPOINTS_MAX: usize = 64;
/// Opening a connection to an endpoint, the mutual handshake left aside: two lost packets are still within it.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A handshake may take so many times what its connection may, and no longer than an inbound one: it has two round trips and some
/// arithmetic more.
pub const HANDSHAKE_SHARE: u32 = 3;
/// The head of an answer must come within this time of the last byte of the request: the callee's enforcer has the same bound.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// An idle connection is used no longer than this; the callee closes its side after 75 s.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// The longest of these times that a configuration may ask for.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// Requests under way to one destination, and plain ones to all places outside the mesh: beyond what one service answers in a healthy moment, so that a slow callee costs its
/// caller this many and not all.
pub const REQUESTS_MAX: usize = 1024;
/// Requests that wait for one of those places.
pub const PENDING_MAX: usize = 256;
/// How long they wait: whoever has waited a second is better told so.
pub const PENDING_WAIT: Duration = Duration::from_secs(1);
/// The longest such time a configuration may ask for.
pub const PENDING_WAIT_MAX: Duration = Duration::from_secs(60);
/// Connections to one endpoint. HTTP/2 needs one for a hundred requests; a callee with HTTP/1 alone gets one for each.
pub const CONNECTIONS_MAX: usize = 256;
/// The most of any of these that a configuration may ask for.
pub const PLACES_MAX: usize = 65_536;
/// Idle HTTP/1 connections kept for each endpoint.
pub const IDLE_MAX: usize = 64;
/// Streams on one HTTP/2 connection before another is opened: below the 128 that the callee's enforcer takes.
pub const STREAMS_MAX: usize = 100;
/// How often idle connections are looked over.
pub const SWEEP: Duration = Duration::from_secs(5);

/// How often a request is sent again, where that is safe: two other endpoints are asked before the caller hears of it.
pub const RETRIES: u32 = 2;
/// The most retries that a configuration may ask for.
pub const RETRIES_MAX: u32 = 5;
/// One request in so many under way may be a retry, so that retries never become the load that keeps a callee down.
pub const RETRY_SHARE: usize = 5;
/// Retries that are always acceptable, however few requests are under way.
pub const RETRIES_FLOOR: usize = 3;

/// Failures in a row (5xx, no connection, no answer) after which an endpoint is left aside: one is chance, five are not.
pub const EJECT_AFTER: u32 = 5;
/// How long an endpoint is left aside the first time; twice as long each further time.
pub const EJECT_FIRST: Duration = Duration::from_secs(10);
/// The longest time for which an endpoint is left aside: somebody may have mended it.
pub const EJECT_MAX: Duration = Duration::from_secs(300);

/// How often an endpoint is checked, where it is.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(10);
/// All of one check: two round trips, the handshake, and a page that says little.
pub const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Checks in a row that fail before an endpoint is down: one lost packet is none.
pub const HEALTH_DOWN_AFTER: u32 = 3;
/// Checks in a row that succeed before it is up again.
pub const HEALTH_UP_AFTER: u32 = 2;
/// The most of either that a configuration may ask for.
pub const HEALTH_CHECKS_MAX: usize = 10;
/// The longest interval a configuration may ask for.
pub const HEALTH_INTERVAL_MAX: Duration = Duration::from_secs(3600);

/// Tunnels open at once: each holds two connections and no request would ever end it.
pub const TUNNELS_MAX: usize = 1024;
/// The head of a CONNECT request.
pub const CONNECT_HEAD_BYTES_MAX: usize = 16 * 1024;
/// A tunnel through which nothing came for this long is closed.
pub const TUNNEL_IDLE: Duration = Duration::from_secs(3600);
/// The longest such time a configuration may ask for.
pub const TUNNEL_IDLE_MAX: Duration = Duration::from_secs(24 * 3600);
/// The first TLS message of a tunnel, several records included; those of browsers with post-quantum keys have 2 KiB.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// It must be there within this time: the caller sends it without waiting for anything.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read at once from either side of a tunnel.
pub const COPY_BYTES: usize = 16 * 1024;
/// Looking a name up.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses of a name that are tried.
pub const ADDRESSES_MAX: usize = 4;

/// Exchanged tokens kept for each destination. At the common 1 kB each: 2 MB.
pub const TOKENS_KEPT_MAX: usize = 2048;
/// The longest token that is exchanged, and the longest accepted in return: half of the head that enforcers take.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// The answer of a token service: a token and a few words.
pub const EXCHANGE_BYTES_MAX: usize = 32 * 1024;
/// One exchange, all of it. The caller waits for it.
pub const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// Exchanges under way at once: a token service that has become slow must not hold every request.
pub const EXCHANGES_MAX: usize = 64;
/// A kept token is used no longer than until this long before its end, so that it does not end on the way.
pub const EXCHANGE_MARGIN: Duration = Duration::from_secs(30);
/// A kept token is used no longer than this, whatever the token service says: a withdrawn right must not live on here.
pub const EXCHANGED_LIFE_MAX: Duration = Duration::from_secs(300);
/// How often it is told that our own connections are redirected to us: each request makes one.
pub const OWN_TOLD: Duration = Duration::from_secs(60);
/// How often a tunnel is looked at: one that is idle is found within this time.
pub const TUNNEL_LOOK: Duration = Duration::from_secs(1);
/// What a client that was refused may still send before it is cut.
pub const REFUSED_BYTES_MAX: usize = 256 * 1024;
/// How long it may take for that: so the answer is not lost to a reset.
pub const REFUSED_TIME: Duration = Duration::from_secs(1);
/// The secret of a client; common ones have 64 characters.
pub const SECRET_BYTES_MAX: u64 = 4096;
/// How long an answer that is no switch to a WebSocket may take to pass.
pub const UPGRADE_ANSWER_TIME: Duration = Duration::from_secs(60);

/// How long a handshake may take where the configuration does not say it.
#[must_use]
pub fn handshake_within(connect: Duration) -> Duration {
    crate::limits::HANDSHAKE_TIMEOUT.min(connect.saturating_mul(HANDSHAKE_SHARE))
}
