//! The deciding bytes of a line, in three parts, as values one behind another: of lines that are only sketched as they are written (see
//! `quick`), of others as they were read.
//!
//! INVARIANT: two lines have the same parts only where they have the same values: of lines that are sketched no value holds what stands
//! between values, for the scanner takes no control bytes; of others each value stands behind its length.

use std::hash::BuildHasher as _;
use std::net::IpAddr;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

use super::Format;
use super::seen::{AddressOf, Caller, Did, Reporter, Seen, SeenTls};

/// The deciding bytes of a line, wherever they lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deciding<'d> {
    /// In their order.
    pub(super) parts: [&'d [u8]; 3],
    /// That of [`hash`].
    pub(super) hash: u64,
}

/// The deciding bytes of one line after another, as they are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DecidingBytes {
    parts: [Values; 3],
    hash: u64,
}

/// Which of the three parts a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What was called, over what, and what the mesh says it did.
    Place,
    /// Who called.
    Caller,
    /// The method and the path.
    Ask,
}

impl DecidingBytes {
    /// Begins anew, for a line of so many bytes.
    #[inline]
    pub(super) fn begin(&mut self, bytes: usize) {
        self.parts.iter_mut().for_each(|values| values.begin(bytes));
    }

    /// Everything was written.
    #[inline]
    pub(super) fn end(&mut self) {
        self.hash = hash(self.deciding().parts);
    }

    /// Writes those of a line that was read: all that tells its question from others but for the time, what the mesh did, and what it shows
    /// of a certificate.
    pub(super) fn write(&mut self, format: Format, seen: &Seen<'_>) {
        let [place, caller, ask] = &mut self.parts;
        for part in [&mut *place, caller, ask] {
            part.length = 0;
        }
        place.append(&WHOLE);
        place.append(&[seen.grade as u8, u8::from(seen.reporter == Reporter::Outbound), did(&seen.did)]);
        let callee = &seen.callee;
        place.text(Some(format.as_str()));
        for text in [&callee.id, &callee.namespace, &callee.account].into_iter().chain(&callee.names) {
            place.text(text.as_deref());
        }
        place.ip(callee.ip);
        place.append(&[u8::from(seen.port.is_some())]);
        place.append(&seen.port.unwrap_or_default().to_ne_bytes());
        caller.caller(&seen.caller);
        caller.ip(seen.caller_ip);
        if seen.caller == Caller::Unnamed {
            caller.address_of(seen.caller_ip_of);
        }
        if let Some(tls) = &seen.tls {
            place.text(Some(&tls.version));
            place.text(Some(&tls.suite));
            caller.certificate(tls);
        }
        ask.text(seen.method.as_deref());
        ask.text(seen.path.as_deref());
        self.end();
    }

    /// The hash of what was written.
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    /// What was written.
    #[inline]
    pub(crate) fn deciding(&self) -> Deciding<'_> {
        Deciding { parts: self.parts.each_ref().map(Values::bytes), hash: self.hash }
    }

    #[inline(always)]
    pub(super) fn part(&mut self, part: Part) -> &mut Values {
        let [place, caller, ask] = &mut self.parts;
        match part {
            Part::Place => place,
            Part::Caller => caller,
            Part::Ask => ask,
        }
    }

    #[cfg(test)]
    pub(super) fn of(parts: [&str; 3]) -> Self {
        let parts = parts.map(|part| Values { bytes: part.into(), length: part.len() });
        let mut deciding = Self { parts, hash: 0 };
        deciding.end();
        deciding
    }
}

const fn did(did: &Did<'_>) -> u8 {
    match did {
        Did::Allowed => b'a',
        Did::Denied(_) => b'd',
        Did::Unknown => b'u',
    }
}

/// Stands where lines that are sketched have their keys: no line has all of them.
const WHOLE: [u8; 8] = u64::MAX.to_ne_bytes();

impl Deciding<'_> {
    /// Whether nothing is set aside of what a line says of addresses.
    pub(super) fn is_whole(self) -> bool {
        let [place, ..] = self.parts;
        place.starts_with(&WHOLE)
    }
}

/// Of each part by itself, so that they are hashed beside one another. It differs from process to process, as nobody may foresee it.
#[inline]
pub(super) fn hash(parts: [&[u8]; 3]) -> u64 {
    let hasher = SeedableRandomState::with_seed(0, SharedSeed::global_random());
    let [place, caller, ask] = parts.map(|part| hasher.hash_one(part));
    hasher.hash_one([place, caller, ask])
}

/// Values one behind another. There is room behind them, so that short ones are written as words of one length.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    bytes: Vec<u8>,
    length: usize,
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Values {}

impl Values {
    #[inline]
    fn begin(&mut self, bytes: usize) {
        self.length = 0;
        let room = bytes + ROOM;
        if self.bytes.len() < room {
            self.bytes.resize(room.next_power_of_two(), 0);
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if self.bytes.len() < end {
            self.bytes.resize(end.next_power_of_two(), 0);
        }
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
        }
        self.length = end;
    }

    fn text(&mut self, text: Option<&str>) {
        self.append(&text.map_or(u64::MAX, |text| text.len() as u64).to_ne_bytes());
        self.append(text.unwrap_or_default().as_bytes());
    }

    fn ip(&mut self, ip: Option<IpAddr>) {
        match ip {
            None => self.append(&[0]),
            Some(IpAddr::V4(ip)) => {
                self.append(&[4]);
                self.append(&ip.octets());
            }
            Some(IpAddr::V6(ip)) => {
                self.append(&[6]);
                self.append(&ip.octets());
            }
        }
    }

    fn caller(&mut self, caller: &Caller<'_>) {
        match caller {
            Caller::Id(id) => {
                self.append(b"i");
                self.text(Some(id));
            }
            Caller::Name(name) => {
                self.append(b"n");
                self.text(Some(name));
            }
            Caller::Label { namespace, account, names } => {
                self.append(b"l");
                for text in [namespace, account].into_iter().chain(names) {
                    self.text(text.as_deref());
                }
            }
            Caller::Unnamed => self.append(b"-"),
        }
    }

    fn address_of(&mut self, of: AddressOf) {
        match of {
            AddressOf::Unsaid => self.append(b"u"),
            AddressOf::Peer => self.append(b"p"),
            AddressOf::PeerOrForwarded => self.append(b"o"),
            AddressOf::ForwardedBy(ip) => {
                self.append(b"f");
                self.ip(Some(ip));
            }
            AddressOf::Field(field) => {
                self.append(b"k");
                self.text(Some(field));
            }
        }
    }

    fn certificate(&mut self, tls: &SeenTls<'_>) {
        for text in [&tls.peer_sha256, &tls.peer_serial, &tls.peer_issuer, &tls.peer_key] {
            self.text(text.as_deref());
        }
        self.append(&[u8::from(tls.peer_not_after.is_some())]);
        self.append(&tls.peer_not_after.map_or(0, |end| end.unix_ms()).to_ne_bytes());
    }

    /// Writes which keys a line has.
    #[inline(always)]
    pub(super) fn keys(&mut self, present: u64) -> Option<()> {
        *self.bytes.get_mut(self.length..)?.first_chunk_mut()? = present.to_ne_bytes();
        self.length = self.length.wrapping_add(8);
        Some(())
    }

    /// Writes a sign that says all.
    #[inline(always)]
    pub(super) fn sign(&mut self, sign: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = sign;
        self.length = self.length.wrapping_add(1);
        Some(())
    }

    /// Writes a sign, the first bytes of a line from a value on, so many as count of it, and the end. `None` where there is no room.
    #[inline(always)]
    pub(super) fn write(&mut self, sign: u8, rest: &[u8], length: usize) -> Option<()> {
        let (first, out) = self.bytes.get_mut(self.length..)?.split_first_mut()?;
        *first = sign;
        match (rest.first_chunk::<WORD>(), out.first_chunk_mut::<WORD>()) {
            // What is beyond the value is written over by the next.
            (Some(from), Some(to)) if length <= WORD => *to = *from,
            _ => out.get_mut(..length)?.copy_from_slice(rest.get(..length)?),
        }
        *out.get_mut(length)? = END;
        self.length = self.length.wrapping_add(length.wrapping_add(2));
        Some(())
    }
}

/// Values up to this length are copied as if they had it.
const WORD: usize = 32;
/// Beside the values: which keys there are, a sign and an end for each of 64 at most, and a word.
const ROOM: usize = 256;
/// Stands behind each value.
const END: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_length_are_whole_wherever_they_stand() {
        let line: Vec<u8> = (0..100).map(|n| b' ' + n % 90).collect();
        let mut values = Values::default();
        for from in 0..=line.len() {
            for length in 0..=line.len() - from {
                values.begin(line.len());
                values.sign(b'a').unwrap();
                values.write(b'b', &line[from..], length).unwrap();
                values.write(b'c', &line[..1], 1).unwrap();
                let want = [b"ab", &line[from..from + length], &[END, b'c', line[0], END]].concat();
                assert_eq!(values.bytes(), want, "{from} {length}");
            }
        }
        assert_eq!(values.write(b'd', b"short", 6), None);
    }

    #[test]
    fn there_is_room_for_every_line() {
        for bytes in [0, 1, 255, 256, 10_000] {
            let mut values = Values::default();
            values.begin(bytes);
            values.keys(u64::MAX).unwrap();
            for _ in 0..63 {
                values.write(b's', b"", 0).unwrap();
            }
            values.write(b's', &vec![b'x'; bytes], bytes).unwrap();
        }
    }
}
