//! Finds the two sides of one request, and lines that were read twice, by the request id.
//!
//! Both proxies of a call write a line. What is kept of each is a digest of (request id, called service, method, path), the time and
//! the cell it was counted in: 24 bytes, up to [`PAIRS_MAX`]; beyond it requests are counted without being compared, and that is
//! told. At the end the digests are sorted and the surplus found: of a request that both sides recorded, the called side's line
//! stays, since that side verified the caller; of lines of one side at one time, which are the same line or what two formats say of it, the
//! one that knows the caller best stays. So the order of reading does not matter.
//!
//! A request id alone would not do: it is handed on along the whole chain of calls.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use portreeve_engine::Timestamp;

use super::seen::Grade;
use crate::clocks::Apart;
use crate::limits::{CLOCKS_MAX, PAIRS_MAX};
use crate::room;

/// Which side wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Called,
    Calling,
}

/// The requests that can be compared.
#[derive(Debug, Default)]
pub(crate) struct Pairs {
    called: Vec<One>,
    calling: Vec<One>,
}

/// Where a line stands and was counted, and how well it knows its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) at: Timestamp,
    pub(crate) grade: Grade,
    pub(crate) input: usize,
    pub(crate) cell: u32,
}

/// One line: what it is about, when it was written, where it was counted. Of equals in the first two the smallest stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct One {
    about: u64,
    /// The low bits of the time: the same line has the same.
    at: u32,
    grade: Grade,
    input: u16,
    cell: u32,
}

impl Pairs {
    /// Remembers a line; `false` where there is no room.
    #[inline]
    pub(crate) fn add(&mut self, side: Side, about: About, request_id: &str, line: Counted) -> bool {
        let Ok(input) = u16::try_from(line.input) else { return false };
        if self.called.len() + self.calling.len() >= PAIRS_MAX {
            return false;
        }
        let one = One { about: about.with(request_id), at: low_bits(line.at), grade: line.grade, input, cell: line.cell };
        match side {
            Side::Called => room::push(&mut self.called, one, PAIRS_MAX),
            Side::Calling => room::push(&mut self.calling, one, PAIRS_MAX),
        }
        true
    }

    /// How far the clocks of two logs are apart, calling and called: by requests that each recorded once.
    pub(crate) fn apart(&mut self) -> BTreeMap<(u16, u16), Apart> {
        self.called.sort_unstable();
        self.calling.sort_unstable();
        let mut out: BTreeMap<(u16, u16), Apart> = BTreeMap::new();
        let mut called = self.called.chunk_by(|a, b| a.about == b.about).peekable();
        for calling in self.calling.chunk_by(|a, b| a.about == b.about) {
            let [asked] = calling else { continue };
            while called.next_if(|c| c.first().is_some_and(|c| c.about < asked.about)).is_some() {}
            let Some([one]) = called.next_if(|c| c.first().is_some_and(|c| c.about == asked.about)) else { continue };
            if out.len() < CLOCKS_MAX || out.contains_key(&(asked.input, one.input)) {
                out.entry((asked.input, one.input)).or_default().add(i64::from(one.at.wrapping_sub(asked.at).cast_signed()));
            }
        }
        out
    }

    /// The cells and inputs of lines that say again what another line says, each as often as one is too many there.
    pub(crate) fn surplus(mut self) -> Vec<(u32, u16)> {
        let mut out = Vec::new();
        for side in [&mut self.called, &mut self.calling] {
            side.sort_unstable();
            side.dedup_by(|later, first| {
                let is_again = (later.about, later.at) == (first.about, first.at);
                if is_again {
                    out.push((later.cell, later.input));
                }
                is_again
            });
        }
        // Both are sorted: each of the called side takes one of the calling side with it.
        let mut called = self.called.iter().peekable();
        for calling in &self.calling {
            while called.next_if(|c| c.about < calling.about).is_some() {}
            if called.next_if(|c| c.about == calling.about).is_some() {
                out.push((calling.cell, calling.input));
            }
        }
        out
    }
}

/// What a request is about but for its id: the called service, the method, the path. Hashed once for all requests that share it.
///
/// The hash is a fast one with fixed seeds: whoever could make two requests meet in it chooses their ids, and might as well choose the
/// same id for both.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About(u64);

impl About {
    pub(crate) fn of(parts: &[&str]) -> Self {
        Self(FixedState::default().hash_one(parts))
    }

    /// The digest with the request id, of 64 bits: among two million, one pair in nine million runs meets by chance.
    #[inline]
    fn with(self, request_id: &str) -> u64 {
        FixedState::with_seed(self.0).hash_one(request_id)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only equality counts")]
fn low_bits(at: Timestamp) -> u32 {
    at.unix_ms() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_called_side_stays_in_any_order() {
        let at = |s: i64| Timestamp::from_unix_ms(s * 1000);
        // side, id, path, time, cell
        let lines: [(Side, &str, &str, i64, u32); 7] = [
            (Side::Calling, "r1", "/a", 1, 10),
            (Side::Called, "r1", "/a", 1, 20),
            // The next hop with the same id.
            (Side::Called, "r1", "/b", 2, 21),
            // Asked twice on purpose: two requests, of which the calling side has one.
            (Side::Called, "r2", "/a", 3, 22),
            (Side::Called, "r2", "/a", 4, 22),
            (Side::Calling, "r2", "/a", 3, 11),
            // The same line again.
            (Side::Called, "r1", "/b", 2, 21),
        ];
        for shift in 0..lines.len() {
            let mut pairs = Pairs::default();
            for n in 0..lines.len() {
                let (side, id, path, time, cell) = lines[(n + shift) % lines.len()];
                let line = Counted { at: at(time), grade: Grade::A, input: 0, cell };
                assert!(pairs.add(side, About::of(&["items", "GET", path]), id, line));
            }
            let mut surplus = pairs.surplus();
            surplus.sort_unstable();
            assert_eq!(surplus, [(10, 0), (11, 0), (21, 0)], "{shift}");
        }
    }

    #[test]
    fn of_two_logs_of_one_proxy_the_better_one_stays() {
        for order in [[(Grade::D, 0), (Grade::A, 1)], [(Grade::A, 0), (Grade::D, 1)]] {
            let mut pairs = Pairs::default();
            for (grade, input) in order {
                let cell = if grade == Grade::A { 7 } else { 8 };
                let line = Counted { at: Timestamp::from_unix_ms(5), grade, input, cell };
                assert!(pairs.add(Side::Called, About::of(&["items"]), "r1", line));
            }
            assert!(matches!(*pairs.surplus(), [(8, _)]));
        }
    }
}
