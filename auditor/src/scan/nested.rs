//! Passes over an object or an array by the grammar of JSON, keeping nothing of it.

use super::walk::{Walk, number_end};
use crate::limits::SCAN_DEPTH_MAX;

/// The byte after the object or array that begins here, and the quotes in it; `None` for whatever it does not know to be JSON.
pub(super) fn nested_end(walk: Walk<'_, '_>, from: usize) -> Option<(usize, usize)> {
    let bytes = walk.bytes();
    let mut open = Open::default();
    let mut quotes = 0;
    let mut at = from;
    loop {
        // A value begins here.
        match bytes.get(at)? {
            b'{' => {
                open.push(true)?;
                at = walk.spaces(at + 1);
                if bytes.get(at) != Some(&b'}') {
                    at = key_end(walk, at)?;
                    quotes += 2;
                    continue;
                }
            }
            b'[' => {
                open.push(false)?;
                at = walk.spaces(at + 1);
                if bytes.get(at) != Some(&b']') {
                    continue;
                }
            }
            b'"' => {
                at = walk.string_end(at + 1)? + 1;
                quotes += 2;
            }
            b'-' | b'0'..=b'9' => at = number_end(bytes, at)?,
            _ => at = word_end(bytes, at)?,
        }
        // A value has ended, or an empty object or array is about to.
        loop {
            at = walk.spaces(at);
            let is_object = open.top()?;
            match (bytes.get(at)?, is_object) {
                (b'}', true) | (b']', false) => {
                    at += 1;
                    if open.pop() {
                        return Some((at, quotes));
                    }
                }
                (b',', true) => {
                    at = key_end(walk, walk.spaces(at + 1))?;
                    quotes += 2;
                    break;
                }
                (b',', false) => {
                    at = walk.spaces(at + 1);
                    break;
                }
                _ => return None,
            }
        }
    }
}

/// The place of the value behind the key that begins here.
fn key_end(walk: Walk<'_, '_>, at: usize) -> Option<usize> {
    let bytes = walk.bytes();
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let colon = walk.spaces(walk.string_end(at + 1)? + 1);
    (bytes.get(colon) == Some(&b':')).then(|| walk.spaces(colon + 1))
}

fn word_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let word = [&b"null"[..], b"true", b"false"].into_iter().find(|word| rest.starts_with(word))?;
    Some(at + word.len())
}

/// What is open: a bit for each, set for an object.
#[derive(Default)]
struct Open {
    bits: u64,
    depth: u32,
}

impl Open {
    fn push(&mut self, is_object: bool) -> Option<()> {
        if self.depth >= SCAN_DEPTH_MAX {
            return None;
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
        Some(())
    }

    fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }

    /// Closes the innermost; whether nothing is open any more.
    fn pop(&mut self) -> bool {
        self.bits >>= 1;
        self.depth = self.depth.saturating_sub(1);
        self.depth == 0
    }
}
