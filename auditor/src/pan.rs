//! Texts that look like card data: digits that pass for a card number, magnetic-stripe data, verification codes.
//!
//! A pattern proves nothing: one in ten long numbers passes the check digit. It says that there is something to look at, and never
//! repeats what it saw.

use std::collections::BTreeMap;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};
use portreeve_engine::Timestamp;
use portreeve_engine::record::Decided;
use portreeve_engine::request::{AttributeValue, Token};

use crate::assessment::Evidence;
use crate::ledger::Tally;

/// Records that seem to hold card data, by called service, field and kind.
#[derive(Debug, Default)]
pub(crate) struct Cards(pub(crate) BTreeMap<(String, &'static str, Suspicion), Tally>);

impl Cards {
    /// Looks at a record.
    pub(crate) fn see(&mut self, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let request = &decided.request;
        let texts =
            [("path", &request.path), ("host", &request.host), ("raw request", &request.raw), ("correlation", &request.correlation)];
        for (field, text) in texts {
            self.count(field, text.as_deref().and_then(suspicion), at, decided, evidence);
        }
        for (field, attributes) in [("query", &decided.context.query), ("headers", &decided.context.headers)] {
            for (name, value) in attributes {
                self.count(field, of_value(name, value), at, decided, evidence);
            }
        }
        if let Some(Token::Valid(claims)) = &decided.context.jwt {
            self.count("token", suspicion(&claims.sub), at, decided, evidence);
            for (name, value) in &claims.other {
                self.count("token", of_value(name, value), at, decided, evidence);
            }
        }
    }

    /// Counts a line of another mesh that was looked at. `to` is the called service.
    pub(crate) fn see_line(&mut self, to: String, field: &'static str, found: Suspicion, at: Timestamp, evidence: &Evidence) {
        let entry = self.0.entry((to, field, found));
        entry.and_modify(|t| t.add(at, evidence)).or_insert_with(|| Tally::one(at, evidence));
    }

    fn count(&mut self, field: &'static str, found: Option<Suspicion>, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let Some(found) = found else { return };
        self.see_line(decided.destination.service.clone(), field, found, at, evidence);
    }
}

/// Called in no request: lines of other meshes that hold none.
pub(crate) const NO_REQUEST: &str = "no request";

fn of_value(name: &str, value: &AttributeValue) -> Option<Suspicion> {
    match value {
        AttributeValue::Text(text) => named(name, text),
        AttributeValue::Integer(n) => named(name, &n.to_string()),
        AttributeValue::Boolean(_) => None,
        AttributeValue::List(texts) => texts.iter().filter_map(|text| named(name, text)).max(),
    }
}

/// Digits of a card number at least, and at most.
const DIGITS: std::ops::RangeInclusive<usize> = 13..=19;

/// What a text seems to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Suspicion {
    /// A card number.
    CardNumber,
    /// What is on a stripe, or a verification code: what must not be kept after authorisation.
    Authentication,
}

/// Names of parameters whose three or four digits are a verification code.
const CODES: [&str; 6] = ["cvv", "cvv2", "cvc", "cvc2", "cav2", "csc"];

/// What this text seems to hold. Digits may be parted by single spaces, `+`, `%20` or hyphens, as people write card numbers.
#[must_use]
pub fn suspicion(text: &str) -> Option<Suspicion> {
    in_bytes(text.as_bytes()).map(|(found, _)| found)
}

/// What these bytes seem to hold, and where its first digit stands. A line that holds nothing costs one look over it with vectors.
#[must_use]
pub fn in_bytes(bytes: &[u8]) -> Option<(Suspicion, usize)> {
    let step = *DIGITS.start();
    let mut found = None;
    // A run of so many covers one of the bytes looked at.
    let mut at = first_run(bytes)? + step - 1;
    while let Some(byte) = bytes.get(at) {
        if !may_be_part(*byte) {
            at += step;
            continue;
        }
        let run = |b: &&u8| may_be_part(**b);
        let from = at - bytes.get(..at).unwrap_or_default().iter().rev().take_while(run).count();
        let to = at + bytes.get(at..).unwrap_or_default().iter().take_while(run).count();
        if to - from >= step {
            found = found.max(in_run(bytes, from, to));
            if matches!(found, Some((Suspicion::Authentication, _))) {
                return found;
            }
        }
        at = to + step;
    }
    found
}

/// A place before which no run of bytes is long enough to be a card number; `None` where none is at all. It takes for a part of one
/// whatever lies between the space and the digits.
fn first_run(bytes: &[u8]) -> Option<usize> {
    dispatch!(Level::new(), simd => first_run_with(simd, bytes))
}

#[inline(always)]
fn first_run_with<S: Simd>(simd: S, bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((window, _)) = rest.split_first_chunk::<WINDOW>() {
        if has_run(near_digits(simd, u8x64::from_slice(simd, window))) {
            return Some(bytes.len() - rest.len());
        }
        // The next window begins with what could be the beginning of a run that ends in it.
        rest = rest.get(WINDOW + 1 - DIGITS.start()..).unwrap_or_default();
    }
    let mut window = [0; WINDOW];
    window.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    has_run(near_digits(simd, u8x64::from_slice(simd, &window))).then(|| bytes.len() - rest.len())
}

/// A bit for each byte between the space and the digits.
#[inline(always)]
pub(crate) fn near_digits<S: Simd>(simd: S, window: u8x64<S>) -> u64 {
    let each = |byte| u8x64::splat(simd, byte);
    (window - each(b' ')).simd_le(each(b'9' - b' ')).to_bitmask()
}

/// Whether thirteen bits in a row are set.
#[inline]
const fn has_run(mask: u64) -> bool {
    let two = mask & (mask >> 1);
    let four = two & (two >> 2);
    let eight = four & (four >> 4);
    eight & (eight >> 5) != 0
}

/// Looks for thirteen bits in a row, over words one after another.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// Of the word before: where one, two, four and eight bits in a row end.
    before: [u64; 4],
    ends: u64,
}

impl Runs {
    #[inline]
    pub(crate) const fn add(&mut self, one: u64) {
        let [one_before, two_before, four_before, eight_before] = self.before;
        let two = one & (one << 1 | one_before >> 63);
        let four = two & (two << 2 | two_before >> 62);
        let eight = four & (four << 4 | four_before >> 60);
        self.ends |= eight & (eight << 5 | eight_before >> 59);
        self.before = [one, two, four, eight];
    }

    pub(crate) const fn found(&self) -> bool {
        self.ends != 0
    }
}

/// Groups of one number: all but the last have four digits at least, and there are nineteen at most.
const GROUPS_MAX: usize = DIGITS.end().div_ceil(4);
/// Bytes that are looked over together.
const WINDOW: usize = 64;

/// What may stand in a card number.
const fn may_be_part(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b' ' | b'-' | b'+' | b'%')
}

/// What a run of such bytes holds: the groups of digits that may be one number.
fn in_run(bytes: &[u8], from: usize, to: usize) -> Option<(Suspicion, usize)> {
    let run = bytes.get(from..to)?;
    if run.iter().filter(|b| b.is_ascii_digit()).count() < *DIGITS.start() {
        return None;
    }
    let mut found = None;
    let mut at = from;
    while at < to {
        let groups = groups(bytes, &mut at, to);
        for first in 0..groups.len() {
            // Whoever writes the line says how many groups there are; those of one number are few.
            for last in first..groups.len().min(first + GROUPS_MAX) {
                let number = groups.get(first..=last).unwrap_or_default();
                found = found.max(in_groups(bytes, number));
            }
        }
        at += 1;
    }
    found
}

/// Groups of digits from here on, parted by one separator each; moves behind them.
fn groups(bytes: &[u8], at: &mut usize, to: usize) -> Vec<(usize, usize)> {
    let mut groups = Vec::new();
    while *at < to {
        let rest = bytes.get(*at..to).unwrap_or_default();
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            break;
        }
        groups.push((*at, *at + digits));
        *at += digits;
        *at += match rest.get(digits..) {
            Some([b' ' | b'-' | b'+', next, ..]) if next.is_ascii_digit() => 1,
            Some([b'%', b'2', b'0', next, ..]) if next.is_ascii_digit() => 3,
            _ => break,
        };
    }
    groups
}

fn in_groups(bytes: &[u8], groups: &[(usize, usize)]) -> Option<(Suspicion, usize)> {
    let (from, to) = (groups.first()?.0, groups.last()?.1);
    let length = |(from, to): &(usize, usize)| to - from;
    let digits: usize = groups.iter().map(length).sum();
    // As people part them: in fours, or as the numbers of fifteen digits are, with a rest.
    let is_parted = groups.len() == 1 || groups.iter().all(|g| length(g) <= 6) && groups.iter().rev().skip(1).all(|g| length(g) >= 4);
    if !DIGITS.contains(&digits) || !is_parted {
        return None;
    }
    let number: Vec<u8> = groups.iter().filter_map(|(from, to)| bytes.get(*from..*to)).flatten().map(|b| b - b'0').collect();
    let (before, after) = (bytes.get(..from).unwrap_or_default(), bytes.get(to..).unwrap_or_default());
    let on_stripe = match after {
        [b'^', ..] => before.last().is_some_and(|b| b.eq_ignore_ascii_case(&b'b')),
        [b'=', ..] => before.ends_with(b";"),
        _ => false,
    };
    if !is_card(&number) || !(on_stripe || stands_alone(before, after)) {
        return None;
    }
    Some((if on_stripe { Suspicion::Authentication } else { Suspicion::CardNumber }, from))
}

/// Whether digits are no part of a longer word, as in a digest or a trace id, nor of a decimal fraction.
fn stands_alone(before: &[u8], after: &[u8]) -> bool {
    let in_word = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let in_fraction = |b: Option<&u8>, next: Option<&u8>| b == Some(&b'.') && next.is_some_and(u8::is_ascii_digit);
    let (left, right) = ((before.last(), before.iter().rev().nth(1)), (after.first(), after.get(1)));
    !in_word(left.0) && !in_word(right.0) && !in_fraction(left.0, left.1) && !in_fraction(right.0, right.1)
}

/// What a target seems to hold: what [`suspicion`] says, or a verification code in its query.
#[must_use]
pub fn in_target(target: &str) -> Option<Suspicion> {
    let query = target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split(['&', ';']).filter_map(|pair| pair.split_once('='));
    pairs.filter_map(|(name, value)| named(name, value)).max().max(suspicion(target))
}

/// In which field of a line a byte stands, in words of our own: the names in a stranger's log are a stranger's.
#[must_use]
pub fn field(line: &[u8], at: usize) -> &'static str {
    let Some(start) = line.iter().position(|b| *b == b'{').filter(|start| *start < at) else { return "line" };
    let mut key: &[u8] = b"";
    let mut text: Option<usize> = None;
    let mut escaped = false;
    for (n, byte) in line.iter().enumerate().skip(start).take(at.saturating_sub(start)) {
        match (text, byte) {
            (Some(_), b'\\') => escaped = !escaped,
            (Some(from), b'"') if !escaped => {
                let said = line.get(from..n).unwrap_or_default();
                let rest = line.get(n + 1..).unwrap_or_default();
                if rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':') {
                    key = said;
                }
                text = None;
            }
            (Some(_), _) => escaped = false,
            (None, b'"') => (text, escaped) = (Some(n + 1), false),
            (None, _) => {}
        }
    }
    let value = text.and_then(|from| line.get(from..at)).unwrap_or_default();
    let key = key.to_ascii_lowercase();
    let has = |word: &[u8]| key.windows(word.len()).any(|w| w == word);
    match () {
        () if has(b"path") || has(b"uri") || has(b"url") => {
            if value.contains(&b'?') {
                "query"
            } else {
                "path"
            }
        }
        () if has(b"query") => "query",
        () if has(b"agent") => "user agent",
        () if has(b"referer") || has(b"referrer") => "referer",
        () if has(b"authority") || has(b"host") => "host",
        () if has(b"id") => "id",
        () => "other fields",
    }
}

/// What a named value seems to hold: a verification code, or what [`suspicion`] says.
#[must_use]
pub fn named(name: &str, value: &str) -> Option<Suspicion> {
    let is_code =
        CODES.contains(&name.to_ascii_lowercase().as_str()) && (3..=4).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    if is_code { Some(Suspicion::Authentication) } else { suspicion(value) }
}

/// Whether the digits begin as those of a card do and pass the check digit.
fn is_card(digits: &[u8]) -> bool {
    let begins = matches!(digits.first(), Some(2..=6));
    let all_same = digits.iter().all(|d| digits.first() == Some(d));
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(n, d)| match (n % 2, u32::from(*d) * 2) {
            (0, _) => u32::from(*d),
            (_, twice) if twice > 9 => twice - 9,
            (_, twice) => twice,
        })
        .sum();
    begins && !all_same && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_card_data() {
        use Suspicion::{Authentication, CardNumber};
        // Numbers that networks publish for tests.
        for (text, want) in [
            ("/v1/cards/4111111111111111", Some(CardNumber)),
            ("/v1/cards/4111-1111-1111-1111/x", Some(CardNumber)),
            ("/v1/cards/4111%201111%201111%201111", Some(CardNumber)),
            ("5555 5555 5555 4444", Some(CardNumber)),
            ("378282246310005", Some(CardNumber)),
            ("/v1/cards/4111111111111112", None),
            ("/v1/cards/{pan}", None),
            ("/v1/orders/1764150000000", None),
            ("/v1/orders/00000000000000000", None),
            ("411111111111111", None),
            ("41111111111111111111111111", None),
            ("%B4111111111111111^CARD/HOLDER^", Some(Authentication)),
            (";4111111111111111=2512", Some(Authentication)),
            ("", None),
            // In the middle of other numbers, and at the ends of a text.
            ("GET 200 4111 1111 1111 1111 3", Some(CardNumber)),
            ("x 4111111111111111", Some(CardNumber)),
            ("3782-822463-10005", Some(CardNumber)),
            // Fields of a text line beside one another; parts of digests, of trace ids, of UUIDs and of fractions.
            ("\" 200 - 0 1541 11 11 1111 1111 4", None),
            ("41-11 11-1111 1111 1111", None),
            ("a4111111111111111", None),
            ("4111111111111111f", None),
            ("0.4111111111111111", None),
            ("4111111111111111.5", None),
            ("Version 4111111111111111.", Some(CardNumber)),
            ("41111111-1111-1111-1111-111111111111", None),
        ] {
            assert_eq!(suspicion(text), want, "{text}");
        }
        assert_eq!(named("cvv", "123"), Some(Authentication));
        assert_eq!(named("CVC2", "1234"), Some(Authentication));
        assert_eq!((named("cvv", "12"), named("page", "123"), named("cvv", "abc")), (None, None, None));
        assert_eq!(named("q", "4111111111111111"), Some(CardNumber));
    }

    #[test]
    fn a_number_is_found_wherever_it_stands() {
        for before in 0..60 {
            for after in [0, 1, 13, 40] {
                for number in ["4111111111111111", "4222222222222", "4111 1111 1111 1111", "6304000000000000000"] {
                    let line = format!("{}{number}{}", "\"x:".repeat(20).get(..before).unwrap(), "/,y".repeat(20).get(..after).unwrap());
                    let alone = !line.get(..before).unwrap().ends_with('x');
                    let want = alone.then_some((Suspicion::CardNumber, before));
                    assert_eq!(in_bytes(line.as_bytes()), want, "{line}");
                }
            }
        }
    }

    #[test]
    fn a_line_of_groups_without_end_is_looked_over_in_one_pass() {
        let mebibyte = 1 << 20;
        for (group, found) in [("1 ", false), ("1111-", false), ("4111 1111 1111 1111 9 ", true), ("4111111111111111^", true)] {
            let line = group.repeat(mebibyte / group.len());
            assert_eq!(in_bytes(line.as_bytes()).is_some(), found, "{group}");
        }
    }

    #[test]
    fn runs_are_found_wherever_windows_meet() {
        for at in 0..200 {
            for length in [12, 13, 19] {
                let mut bytes = vec![b'x'; 240];
                bytes[at..at + length].fill(b'7');
                let found = first_run(&bytes);
                assert_eq!(found.is_some(), length >= *DIGITS.start(), "{at} {length}");
                assert!(found.is_none_or(|from| from <= at), "{at} {length}");
            }
        }
        assert_eq!((first_run(b""), first_run(b"4111")), (None, None));
    }

    #[test]
    fn codes_in_queries_and_the_names_of_fields() {
        assert_eq!(in_target("/pay?amount=3&cvv=123"), Some(Suspicion::Authentication));
        assert_eq!(in_target("/pay?card=4111111111111111"), Some(Suspicion::CardNumber));
        assert_eq!((in_target("/cvv=123"), in_target("/pay?cvv=12345")), (None, None));
        let line = br#"{"a":{"user_agent":"x \" 4111"},"path":"/v1/4111?x=4222","n":4333,"x-request-id" : "4444"}"#;
        let at = |digits: &[u8]| line.windows(4).position(|w| w == digits).unwrap();
        let fields: Vec<&str> = [&b"4111"[..], b"4222", b"4333", b"4444"].iter().map(|d| field(line, at(d))).collect();
        assert_eq!(fields, ["user agent", "query", "other fields", "id"]);
        let second = line.windows(4).rposition(|w| w == b"4111").unwrap();
        assert_eq!((field(line, second), field(b"[time] 4111", 7), field(b"{4111", 1)), ("path", "line", "other fields"));
    }

    #[test]
    fn one_in_ten_numbers_passes_and_no_more() {
        let passed = (0..10_000_u64).filter(|n| suspicion(&format!("4{:015}", n * 7_919)).is_some()).count();
        assert!((900..1_100).contains(&passed), "{passed}");
    }
}
