//! Numbers that are random and the same every time.

/// A generator (xorshift) with its seed, which is not nought.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// One of so many numbers, from nought on.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % sides
    }
}
