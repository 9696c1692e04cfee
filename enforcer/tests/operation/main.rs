//! How an enforcer starts, waits, tells of itself, and ends, as its operator sees it.

#![cfg(test)]

mod bundles;
mod pages;
mod standby;
mod traces;
mod world;
