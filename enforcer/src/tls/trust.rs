//! Judges a peer's chain.
