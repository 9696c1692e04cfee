//! The bounds of reading tokens and key sets, each with its reason.

/// Bytes of a token. Identity providers stay below 8 KiB, as common servers refuse larger headers.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Nesting of a token's JSON (A66f). Deeper claims could not be allow-listed anyway.
pub(super) const JSON_DEPTH_MAX: usize = 8;
/// Bytes of a key set file.
pub(super) const JWKS_BYTES_MAX: u64 = 1 << 20;
/// Keys in a set. Providers publish two or three.
pub(super) const JWKS_KEYS_MAX: usize = 64;
/// How far clocks may differ, for `exp` and `nbf`.
pub(super) const LEEWAY_MS: i64 = 30_000;
/// Bits of an RSA modulus, at least.
pub(super) const RSA_BITS_MIN: usize = 2048;
/// Bits of an RSA modulus, at most: the crypto library takes no more, and checking grows with it.
pub(super) const RSA_BITS_MAX: usize = 8192;
