//! Every bound of the town, with its reason. It is a demonstration and a test: it must end by itself.

use std::time::Duration;

/// Players at once. Enough to keep two cores busy; each has its own connections.
pub const PLAYERS: usize = 16;
/// One request, chains of services included. Debug builds on busy machines are slow; a longer wait is a fault.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// One connection with its handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Until every sidecar is ready, has taken up a bundle, or shows a new certificate. They look at their files each second.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(20);
/// How often such a change is looked for.
pub const CHANGE_POLL: Duration = Duration::from_millis(50);
/// How often a sidecar tries to take its ports, with [`CHANGE_POLL`] between.
pub const BIND_TRIES_MAX: u32 = 40;
/// How often players who must wait look whether they may go on.
pub const HOLD_POLL: Duration = Duration::from_millis(5);
/// An answer of an app or a sidecar: a few hundred bytes, and room.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A request body sent by a player.
pub const UPLOAD_BYTES_MAX: u64 = 256 * 1024;
/// A piece of such a body.
pub const UPLOAD_PIECE_BYTES: usize = 8 * 1024;
/// Deviations kept word for word; all are counted.
pub const DEVIATIONS_KEPT_MAX: usize = 20;
/// Messages of sidecars kept.
pub const MESSAGES_KEPT_MAX: usize = 1000;
/// Certificates of the town: longer than it can run, short enough to be worthless afterwards.
pub const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(3600);
/// Blocks of ports tried.
pub const PORT_TRIES_MAX: u64 = 500;
/// Where sidecars listen: below the range from which systems take the ports of outgoing connections, so that no connection
/// takes a port between its reservation and its use.
pub const PORT_FIRST: u64 = 20_000;
/// Ports of one town, the one that keeps others away included; a town needs about twenty.
pub const PORT_BLOCK: u64 = 64;
/// How many such blocks there are to choose from: up to 32000, where systems begin to take ports for outgoing connections.
pub const PORT_BLOCKS: u64 = 187;
/// Idle connections an app keeps to one other service.
pub const APP_IDLE_MAX: usize = 16;
