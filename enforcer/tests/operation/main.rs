//! How an enforcer starts, waits, tells of itself, and ends, as its operator sees it.

#![cfg(test)]

mod bundles;
mod clock;
#[path = "../common/listed.rs"]
mod listed;
mod log;
mod pages;
mod reload;
mod standby;
mod swap;
mod traces;
mod words;
mod world;
