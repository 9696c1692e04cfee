//! Passes over an object or an array by the grammar of JSON, keeping nothing of it.

use super::walk::{At, Walk, number_end};
use crate::limits::SCAN_DEPTH_MAX;

/// The place behind the object or array that begins here; `None` for whatever it does not know to be JSON.
pub(super) fn nested_end(walk: Walk<'_, '_>, from: At) -> Option<At> {
    let bytes = walk.bytes();
    let mut open = Open::default();
    let mut at = from;
    loop {
        // A value begins here.
        match bytes.get(at.byte)? {
            b'{' => {
                open.push(true)?;
                at = walk.past_spaces(at.to(at.byte + 1));
                if bytes.get(at.byte) != Some(&b'}') {
                    at = key_end(walk, at)?;
                    continue;
                }
            }
            b'[' => {
                open.push(false)?;
                at = walk.past_spaces(at.to(at.byte + 1));
                if bytes.get(at.byte) != Some(&b']') {
                    continue;
                }
            }
            b'"' => at = walk.string(at)?,
            b'-' | b'0'..=b'9' => at = at.to(number_end(bytes, at.byte)?),
            _ => at = at.to(word_end(bytes, at.byte)?),
        }
        // A value has ended, or an empty object or array is about to.
        loop {
            at = walk.past_spaces(at);
            let is_object = open.top()?;
            let next = at.to(at.byte + 1);
            match (bytes.get(at.byte)?, is_object) {
                (b'}', true) | (b']', false) => {
                    at = next;
                    if open.pop() {
                        return Some(at);
                    }
                }
                (b',', true) => {
                    at = key_end(walk, walk.past_spaces(next))?;
                    break;
                }
                (b',', false) => {
                    at = walk.past_spaces(next);
                    break;
                }
                _ => return None,
            }
        }
    }
}

/// The place of the value behind the key that begins here.
fn key_end(walk: Walk<'_, '_>, at: At) -> Option<At> {
    let bytes = walk.bytes();
    if bytes.get(at.byte) != Some(&b'"') {
        return None;
    }
    let colon = walk.past_spaces(walk.string(at)?);
    (bytes.get(colon.byte) == Some(&b':')).then(|| walk.past_spaces(colon.to(colon.byte + 1)))
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
