//! Finds the two sides of one request, and lines that were read twice, by the request id.
//!
//! Both proxies of a call write a line. What is kept of each is a digest of (request id, called service, method, path), the time and
//! the cell it was counted in: 24 bytes, up to [`PAIRS_MAX`]; beyond it requests are counted without being compared, and that is
//! told. At the end the digests are sorted and the surplus found: of a request that both sides recorded, the called side's line
//! stays, since that side verified the caller; of lines of one side at one time, which are the same line or what two formats say of it, the
//! one that knows the caller best stays. So the order of reading does not matter. Whoever sends a request chooses its id: lines of one time
//! that name two verified callers, or of which one format says that it was let through and that it was not, are of two requests, and each
//! stays. Nobody hides one request behind another.
//!
//! A request id alone would not do: it is handed on along the whole chain of calls.
//!
//! Connections have no id. What both sides know of them, addresses, ports, bytes, tells two lines of different sides to be one connection
//! where they were written within [`CONNECTION_APART_MS_MAX`]. Of several that are alike each side has as many lines, so it is enough that
//! each takes one of the other side's.

use std::collections::BTreeMap;
use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use portreeve_engine::Timestamp;
use portreeve_engine::decision::Effect;
use smallvec::SmallVec;

use super::Format;
use super::seen::{Grade, Tie};
use crate::clocks::Apart;
use crate::limits::{CLOCKS_MAX, CONNECTION_APART_MS_MAX, PAIRS_MAX};
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
    pub(crate) certificate: Option<Use>,
}

/// One use of a certificate: its number, and whether it had ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    pub(crate) certificate: u32,
    pub(crate) expired: bool,
}

/// What the lines of a cell say that those of another one can contradict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told<'a> {
    /// The caller, where lines name it.
    pub(crate) caller: Option<&'a str>,
    /// What was done with the request, and in which format that is written: two formats do not know equally much.
    pub(crate) did: Option<(Format, Effect)>,
}

/// What was counted once too often.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// The cells and inputs of lines that say again what another line says, each as often as one is too many there.
    pub(crate) lines: Vec<(u32, u16)>,
    /// Uses of certificates that another line about the same request shows too.
    pub(crate) uses: Vec<Use>,
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
    /// [`NO_CERTIFICATE`] where it shows none.
    certificate: u32,
    flags: u8,
}

impl One {
    /// Whether both are the same line, or what two formats say of it.
    fn is_of(&self, other: &Self) -> bool {
        (self.about, self.at) == (other.about, other.at) && self.flags & CLOSED == 0
    }

    /// Whether lines of one time tell of two requests.
    fn is_apart_from<'a>(&self, other: &Self, told: &impl Fn(u32) -> Option<Told<'a>>) -> bool {
        if self.cell == other.cell {
            return false;
        }
        let (Some(one), Some(two)) = (told(self.cell), told(other.cell)) else { return false };
        let verified = self.grade <= Grade::B && other.grade <= Grade::B;
        let callers = verified && matches!((one.caller, two.caller), (Some(one), Some(two)) if one != two);
        callers || matches!((one.did, two.did), (Some((one, did)), Some((two, other))) if one == two && did != other)
    }

    fn shown(&self) -> Option<Use> {
        (self.certificate != NO_CERTIFICATE).then_some(Use { certificate: self.certificate, expired: self.flags & EXPIRED != 0 })
    }

    /// Whether it is known by what a connection is, which comes again.
    const fn is_connection(&self) -> bool {
        self.flags & (OPENED | CLOSED) != 0
    }

    /// By how much it was written later than another line.
    fn later_than(&self, other: &Self) -> i32 {
        self.at.wrapping_sub(other.at).cast_signed()
    }
}

impl Pairs {
    /// Remembers a line; `false` where there is no room.
    #[inline]
    pub(crate) fn add(&mut self, side: Side, about: About, (tie, id): (Tie, &[u8]), line: Counted) -> bool {
        let Ok(input) = u16::try_from(line.input) else { return false };
        if self.called.len() + self.calling.len() >= PAIRS_MAX {
            return false;
        }
        let (certificate, expired) = line.certificate.map_or((NO_CERTIFICATE, 0), |shown| (shown.certificate, u8::from(shown.expired)));
        // Both sides may know the callee of a connection by different names.
        let (about, flags) = match tie {
            Tie::Request => (about, 0),
            Tie::Opened => (About::of(&["opened"]), OPENED),
            Tie::Closed => (About::of(&["closed"]), CLOSED),
        };
        let (about, flags) = (about.with(id), flags | (expired * EXPIRED));
        let one = One { about, at: low_bits(line.at), grade: line.grade, input, cell: line.cell, certificate, flags };
        match side {
            Side::Called => room::push(&mut self.called, one, PAIRS_MAX),
            Side::Calling => room::push(&mut self.calling, one, PAIRS_MAX),
        }
        true
    }

    /// Lets go of lines of which it is plain that no other is about the same, which in most logs are nearly all, and puts the rest in order.
    fn sift(&mut self) {
        let length = self.called.len() + self.calling.len();
        let words = (length.saturating_mul(BITS_PER_LINE) / 64).next_power_of_two();
        let (mut once, mut twice) = (vec![0_u64; words], vec![0_u64; words]);
        // The hash is even in all of its bits.
        let place = |one: &One| ((one.about >> 6) as usize & (words - 1), 1_u64 << (one.about & 63));
        for one in self.called.iter().chain(&self.calling) {
            let (word, bit) = place(one);
            if let (Some(once), Some(twice)) = (once.get_mut(word), twice.get_mut(word)) {
                *twice |= *once & bit;
                *once |= bit;
            }
        }
        for side in [&mut self.called, &mut self.calling] {
            side.retain(|one| {
                let (word, bit) = place(one);
                twice.get(word).is_none_or(|twice| twice & bit != 0)
            });
            side.sort_unstable();
        }
    }

    /// How far the clocks of two logs are apart, calling and called: by requests that each recorded once.
    pub(crate) fn apart(&mut self) -> BTreeMap<(u16, u16), Apart> {
        self.sift();
        let mut out: BTreeMap<(u16, u16), Apart> = BTreeMap::new();
        let mut called = self.called.chunk_by(|a, b| a.about == b.about).peekable();
        for calling in self.calling.chunk_by(|a, b| a.about == b.about) {
            let [asked] = calling else { continue };
            if asked.is_connection() {
                continue;
            }
            while called.next_if(|c| c.first().is_some_and(|c| c.about < asked.about)).is_some() {}
            let Some([one]) = called.next_if(|c| c.first().is_some_and(|c| c.about == asked.about)) else { continue };
            if out.len() < CLOCKS_MAX || out.contains_key(&(asked.input, one.input)) {
                out.entry((asked.input, one.input)).or_default().add(i64::from(one.at.wrapping_sub(asked.at).cast_signed()));
            }
        }
        out
    }

    /// What was counted once too often, by what the lines of each cell have `told`. A certificate stays counted for a request as long as
    /// any line about it shows it, whether that line stays or not: of two formats one may know more.
    pub(crate) fn surplus<'a>(mut self, told: impl Fn(u32) -> Option<Told<'a>>) -> Again {
        let mut out = Again::default();
        self.sift();
        for side in [&self.called, &self.calling] {
            for same in side.chunk_by(One::is_of) {
                let mut stay = Staying::new();
                for (n, one) in same.iter().enumerate() {
                    if stays(&mut stay, one, &told) {
                        continue;
                    }
                    out.lines.push((one.cell, one.input));
                    let before = same.get(..n).unwrap_or_default();
                    out.uses.extend(one.shown().filter(|shown| before.iter().any(|one| one.certificate == shown.certificate)));
                }
            }
        }
        // Both are sorted: each of the called side takes one of the calling side with it.
        let mut called = self.called.chunk_by(One::is_of).peekable();
        for calling in self.calling.chunk_by(One::is_of) {
            let Some(one) = calling.first() else { continue };
            let is_before =
                |c: &One| c.about < one.about || (c.about == one.about && one.is_connection() && c.later_than(one) < -APART_MAX);
            while called.next_if(|c| c.first().is_some_and(is_before)).is_some() {}
            let is_same = |c: &One| c.about == one.about && (!one.is_connection() || c.later_than(one) <= APART_MAX);
            let Some(answered) = called.next_if(|c| c.first().is_some_and(is_same)) else { continue };
            let most = staying(answered, &told).len();
            out.lines.extend(staying(calling, &told).iter().take(most).map(|one| (one.cell, one.input)));
            let mut shown: Vec<Use> = calling.iter().filter_map(One::shown).collect();
            shown.sort_unstable();
            shown.dedup_by_key(|shown| shown.certificate);
            out.uses.extend(shown.into_iter().filter(|shown| answered.iter().any(|one| one.certificate == shown.certificate)));
        }
        out
    }
}

/// The lines of one time that are of different requests: one, unless somebody gave two requests the same id.
type Staying<'a> = SmallVec<[&'a One; 2]>;

/// Whether a line is of none of the requests whose lines stay already; it stays with them then.
fn stays<'a, 'b>(stay: &mut Staying<'a>, one: &'a One, told: &impl Fn(u32) -> Option<Told<'b>>) -> bool {
    let new = stay.iter().all(|staying| one.is_apart_from(staying, told));
    if new {
        stay.push(one);
    }
    new
}

fn staying<'a, 'b>(same: &'a [One], told: &impl Fn(u32) -> Option<Told<'b>>) -> Staying<'a> {
    let mut stay = Staying::new();
    for one in same {
        stays(&mut stay, one, told);
    }
    stay
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
    fn with(self, request_id: &[u8]) -> u64 {
        FixedState::with_seed(self.0).hash_one(request_id)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only equality counts")]
fn low_bits(at: Timestamp) -> u32 {
    at.unix_ms() as u32
}

/// So many bits for each line, of which one is set: of lines that are alone one in as many is kept.
const BITS_PER_LINE: usize = 16;
/// Stands in a line for no certificate.
const NO_CERTIFICATE: u32 = u32::MAX;
const EXPIRED: u8 = 1;
const OPENED: u8 = 2;
const CLOSED: u8 = 4;
const APART_MAX: i32 = CONNECTION_APART_MS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing in which lines could contradict each other.
    const fn unsaid<'a>(_: u32) -> Option<Told<'a>> {
        None
    }

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
                let line = Counted { at: at(time), grade: Grade::A, input: 0, cell, certificate: None };
                assert!(pairs.add(side, About::of(&["items", "GET", path]), (Tie::Request, id.as_bytes()), line));
            }
            let mut surplus = pairs.surplus(unsaid);
            surplus.lines.sort_unstable();
            assert!(surplus.uses.is_empty());
            assert_eq!(surplus.lines, [(10, 0), (11, 0), (21, 0)], "{shift}");
        }
    }

    #[test]
    fn a_line_that_is_alone_is_let_go_of_and_no_other() {
        let mut pairs = Pairs::default();
        let counted = |cell| Counted { at: Timestamp::from_unix_ms(5), grade: Grade::A, input: 0, cell, certificate: None };
        for n in 0..20_000_u32 {
            let id = format!("r{n}");
            assert!(pairs.add(Side::Called, About::of(&["items"]), (Tie::Request, id.as_bytes()), counted(n)));
            if n % 1_000 == 7 {
                assert!(pairs.add(Side::Calling, About::of(&["items"]), (Tie::Request, id.as_bytes()), counted(100_000 + n)));
            }
        }
        pairs.sift();
        assert!(pairs.calling.len() == 20 && (20..3_000).contains(&pairs.called.len()), "{}", pairs.called.len());
        let mut lines: Vec<u32> = pairs.surplus(unsaid).lines.iter().map(|(cell, _)| *cell).collect();
        lines.sort_unstable();
        assert_eq!(lines, (0..20).map(|n| 100_007 + n * 1_000).collect::<Vec<_>>());
    }

    #[test]
    fn of_two_logs_of_one_proxy_the_better_one_stays() {
        for order in [[(Grade::D, 0), (Grade::A, 1)], [(Grade::A, 0), (Grade::D, 1)]] {
            let mut pairs = Pairs::default();
            for (grade, input) in order {
                let cell = if grade == Grade::A { 7 } else { 8 };
                let line = Counted { at: Timestamp::from_unix_ms(5), grade, input, cell, certificate: None };
                assert!(pairs.add(Side::Called, About::of(&["items"]), (Tie::Request, b"r1"), line));
            }
            assert!(matches!(*pairs.surplus(unsaid).lines, [(8, _)]));
        }
    }

    /// Whoever chooses the id of a request chooses that of another one's, in the same moment.
    #[test]
    fn two_requests_with_one_id_at_one_time_are_two_where_lines_contradict_each_other() {
        use Grade::{A, C};
        use Side::{Called, Calling};
        // What each cell says: caller, format and what was done.
        const CELLS: [(Option<&str>, Format, Effect); 5] = [
            (Some("users"), Format::IstioJson, Effect::Allow),
            (Some("users"), Format::IstioJson, Effect::Deny),
            (Some("mallory"), Format::IstioJson, Effect::Allow),
            (None, Format::IstioJson, Effect::Allow),
            (Some("users"), Format::EnvoyJson, Effect::Deny),
        ];
        let told = |cell: u32| CELLS.get(cell as usize).map(|(caller, format, did)| Told { caller: *caller, did: Some((*format, *did)) });
        // Side, grade and cell of lines of one time; and the cells of those that are too many.
        type Line = (Side, Grade, u32);
        let cases: [(&[Line], &[u32]); 9] = [
            (&[(Called, A, 0), (Called, A, 1)], &[]),
            (&[(Called, A, 0), (Called, A, 2)], &[]),
            (&[(Called, A, 0), (Called, A, 1), (Called, A, 2), (Called, A, 1), (Called, A, 0)], &[0, 1]),
            // A name that nobody verified contradicts none.
            (&[(Called, A, 0), (Called, C, 2)], &[2]),
            (&[(Called, A, 0), (Called, C, 3)], &[3]),
            // Another format of the same proxy may not know what was done.
            (&[(Called, A, 0), (Called, A, 4)], &[4]),
            // Each of the called side takes one of the calling side.
            (&[(Called, A, 0), (Called, A, 1), (Calling, A, 0), (Calling, A, 1)], &[0, 1]),
            (&[(Called, A, 0), (Calling, A, 0), (Calling, A, 1)], &[0]),
            (&[(Called, A, 0), (Called, A, 1), (Calling, A, 0)], &[0]),
        ];
        for (lines, want) in cases {
            for shift in 0..lines.len() {
                let mut pairs = Pairs::default();
                for n in 0..lines.len() {
                    let (side, grade, cell) = lines[(n + shift) % lines.len()];
                    let line = Counted { at: Timestamp::from_unix_ms(5), grade, input: 0, cell, certificate: None };
                    assert!(pairs.add(side, About::of(&["items"]), (Tie::Request, b"r1"), line));
                }
                let mut cells: Vec<u32> = pairs.surplus(told).lines.iter().map(|(cell, _)| *cell).collect();
                cells.sort_unstable();
                assert_eq!(cells, want, "{lines:?} {shift}");
            }
        }
    }

    #[test]
    fn a_certificate_is_counted_once_for_a_request_whichever_of_its_lines_stays() {
        // Side, grade, certificate; and what is taken back of them.
        type Line = (Side, Grade, Option<u32>);
        let cases: [(&[Line], &[u32]); 6] = [
            // One line that was read three times.
            (&[(Side::Called, Grade::A, Some(1)), (Side::Called, Grade::A, Some(1)), (Side::Called, Grade::A, Some(1))], &[1, 1]),
            // Of two formats one does not write it down, and that may be the one whose line stays.
            (&[(Side::Called, Grade::A, None), (Side::Called, Grade::B, Some(1))], &[]),
            (&[(Side::Called, Grade::A, None), (Side::Called, Grade::B, Some(1)), (Side::Called, Grade::C, Some(1))], &[1]),
            // Both sides show it, or the calling side alone does.
            (&[(Side::Called, Grade::A, Some(1)), (Side::Calling, Grade::A, Some(1)), (Side::Calling, Grade::A, Some(1))], &[1, 1]),
            (&[(Side::Called, Grade::A, None), (Side::Calling, Grade::A, Some(1))], &[]),
            // They do not agree: each was shown.
            (&[(Side::Called, Grade::A, Some(1)), (Side::Calling, Grade::A, Some(2)), (Side::Called, Grade::A, Some(2))], &[2]),
        ];
        for (lines, want) in cases {
            for shift in 0..lines.len() {
                let mut pairs = Pairs::default();
                for n in 0..lines.len() {
                    let (side, grade, certificate) = lines[(n + shift) % lines.len()];
                    let certificate = certificate.map(|certificate| Use { certificate, expired: true });
                    let line = Counted { at: Timestamp::from_unix_ms(5), grade, input: n, cell: 7, certificate };
                    assert!(pairs.add(side, About::of(&["items"]), (Tie::Request, b"r1"), line));
                }
                let again = pairs.surplus(unsaid);
                let mut taken: Vec<u32> = again.uses.iter().map(|shown| shown.certificate).collect();
                taken.sort_unstable();
                assert_eq!((again.lines.len(), &*taken), (lines.len() - 1, want), "{lines:?} {shift}");
                assert!(again.uses.iter().all(|shown| shown.expired));
            }
        }
    }

    #[test]
    fn connections_are_one_where_both_sides_wrote_close_together() {
        use Side::{Called, Calling};
        use Tie::{Closed, Opened};
        // Kind, side and time of lines about addresses that are alike; and which are too many.
        type Line = (Tie, Side, i64);
        let far = 2_000 + 1;
        let cases: [(&[Line], &[usize]); 8] = [
            (&[(Opened, Calling, 5), (Opened, Called, 6)], &[0]),
            (&[(Opened, Called, 5), (Opened, Calling, 2_005)], &[1]),
            // Opened again later, of which one side is missing; or nothing but that.
            (&[(Opened, Calling, 5), (Opened, Called, 5 + far)], &[]),
            (&[(Opened, Called, 5), (Opened, Calling, far * 2), (Opened, Called, far * 2)], &[1]),
            // Seen at two places of one side at one time.
            (&[(Opened, Calling, 5), (Opened, Calling, 5), (Opened, Called, 5)], &[0, 1]),
            // Three alike were closed at one time; of one the called side's log is not there.
            (&[(Closed, Calling, 5), (Closed, Calling, 5), (Closed, Calling, 7), (Closed, Called, 6), (Closed, Called, 6)], &[0, 1]),
            // One kind is not the other.
            (&[(Opened, Calling, 5), (Closed, Called, 5)], &[]),
            (&[(Closed, Calling, 5), (Closed, Called, 5), (Closed, Called, 5), (Closed, Calling, far * 3)], &[0]),
        ];
        for (lines, want) in cases {
            for shift in 0..lines.len() {
                let mut pairs = Pairs::default();
                for n in 0..lines.len() {
                    let number = (n + shift) % lines.len();
                    let (tie, side, at) = lines[number];
                    let cell = u32::try_from(number).unwrap();
                    let line = Counted { at: Timestamp::from_unix_ms(at), grade: Grade::C, input: 0, cell, certificate: None };
                    assert!(pairs.add(side, About::of(&["items"]), (tie, b"10.0.0.1>10.0.0.2"), line));
                }
                assert!(pairs.apart().is_empty());
                let mut surplus: Vec<usize> = pairs.surplus(unsaid).lines.iter().map(|(cell, _)| *cell as usize).collect();
                surplus.sort_unstable();
                assert_eq!(surplus, want, "{lines:?} {shift}");
            }
        }
    }
}
