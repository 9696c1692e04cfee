//! What every open connection holds has a size, and grows only on purpose: the bounds here are some way above what
//! was found when they were set (8,624, 488, 192 and 80 bytes).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::gate::{Caller, Permit, Running};
use crate::inbound::Inbound;

/// The bytes of the future that a function makes.
fn bytes_of<F>(_: impl Fn(Arc<Inbound>, TcpStream, SocketAddr, usize) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn what_a_connection_or_a_request_holds_does_not_grow_unnoticed() {
    let found = [
        ("the future of an inbound connection", bytes_of(Inbound::serve), INBOUND_MAX),
        ("a caller", size_of::<Caller>(), CALLER_MAX),
        ("a permit", size_of::<Permit>(), PERMIT_MAX),
        ("a running request", size_of::<Running>(), RUNNING_MAX),
    ];
    for (what, bytes, max) in found {
        assert!(bytes <= max, "{what} takes {bytes} bytes, at most {max} were agreed upon");
    }
}

const INBOUND_MAX: usize = 20 * 1024;
const CALLER_MAX: usize = 1024;
const PERMIT_MAX: usize = 512;
const RUNNING_MAX: usize = 256;
