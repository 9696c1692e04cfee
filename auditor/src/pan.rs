//! Texts that look like card data: digits that pass for a card number, magnetic-stripe data, verification codes.
//!
//! A pattern proves nothing: one in ten long numbers passes the check digit. It says that there is something to look at, and never
//! repeats what it saw.

use std::collections::BTreeMap;

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

    fn count(&mut self, field: &'static str, found: Option<Suspicion>, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let Some(found) = found else { return };
        let entry = self.0.entry((decided.destination.service.clone(), field, found));
        entry.and_modify(|t| t.add(at, evidence)).or_insert_with(|| Tally::one(at, evidence));
    }
}

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
    // Most texts have no thirteen digits at all.
    if text.bytes().filter(u8::is_ascii_digit).count() < *DIGITS.start() {
        return None;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut found = None;
    while let Some(byte) = bytes.get(at) {
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let (digits, end) = run(bytes, at);
        if DIGITS.contains(&digits.len()) && is_card(&digits) {
            let before = bytes.get(..at).unwrap_or_default();
            let after = bytes.get(end).copied().unwrap_or_default();
            let on_stripe = (after == b'^' && before.to_ascii_lowercase().ends_with(b"b")) || (after == b'=' && before.ends_with(b";"));
            if on_stripe {
                return Some(Suspicion::Authentication);
            }
            found = Some(Suspicion::CardNumber);
        }
        at = end.max(at + 1);
    }
    found
}

/// What a named value seems to hold: a verification code, or what [`suspicion`] says.
#[must_use]
pub fn named(name: &str, value: &str) -> Option<Suspicion> {
    let is_code =
        CODES.contains(&name.to_ascii_lowercase().as_str()) && (3..=4).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    if is_code { Some(Suspicion::Authentication) } else { suspicion(value) }
}

/// The digits from here on, and where they end.
fn run(bytes: &[u8], from: usize) -> (Vec<u8>, usize) {
    let mut digits = Vec::new();
    let mut at = from;
    let mut end = from;
    while let Some(byte) = bytes.get(at) {
        if byte.is_ascii_digit() {
            digits.push(byte - b'0');
            at += 1;
            end = at;
            continue;
        }
        let gap = match bytes.get(at..) {
            Some([b' ' | b'-' | b'+', next, ..]) if next.is_ascii_digit() => 1,
            Some([b'%', b'2', b'0', next, ..]) if next.is_ascii_digit() => 3,
            _ => break,
        };
        at += gap;
    }
    (digits, end)
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
        ] {
            assert_eq!(suspicion(text), want, "{text}");
        }
        assert_eq!(named("cvv", "123"), Some(Authentication));
        assert_eq!(named("CVC2", "1234"), Some(Authentication));
        assert_eq!((named("cvv", "12"), named("page", "123"), named("cvv", "abc")), (None, None, None));
        assert_eq!(named("q", "4111111111111111"), Some(CardNumber));
    }

    #[test]
    fn one_in_ten_numbers_passes_and_no_more() {
        let passed = (0..10_000_u64).filter(|n| suspicion(&format!("4{:015}", n * 7_919)).is_some()).count();
        assert!((900..1_100).contains(&passed), "{passed}");
    }
}
