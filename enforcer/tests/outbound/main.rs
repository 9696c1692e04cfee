//! The outbound side, end to end: whole enforcers over loopback, real services and places outside, the logs read back.

#![cfg(test)]

mod egress;
mod exchange;
mod health;
#[path = "../common/interop.rs"]
mod interop;
mod judges;
mod limited;
mod mesh;
mod prior;
mod redirected;
mod town;
mod transparent;
mod turned;
mod withdrawn;
