//! The lifetimes of the built-in authority, each with its reason.

use std::time::Duration;

/// A leaf lives this long unless told otherwise: short enough that a stolen key is soon worthless.
pub const LEAF_LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// A leaf lives at most this long.
pub const LEAF_LIFETIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
