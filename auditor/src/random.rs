//! Numbers in no order for tests: of a seed the same on every machine, so that a failure can be run again.

/// Such numbers, one after another, from a seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next number, below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The low bits of such a sequence repeat soon.
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    /// One of these, each as likely as the others.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
