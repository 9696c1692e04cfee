//! The verdict algebra: a pure function from what was found and measured to what may honestly be said (INV-11).
//!
//! INVARIANT: one proved counterexample refutes; the absence of counterexamples says nothing about what was not measured whole.
//! An exception lifts a counterexample, it does not make it unseen: where nothing else speaks against a control, it is *waived*,
//! never *met*.

use crate::assessment::Verdict;

/// A population, and how much of it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How many are known.
    pub have: u64,
    /// Of how many.
    pub of: u64,
}

impl Measured {
    /// Nothing, of nothing.
    pub const ZERO: Self = Self { have: 0, of: 0 };

    /// Whether there are any, and all are known.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.of > 0 && self.have >= self.of
    }

    /// Whether there are any, and at least so many of ten thousand are known.
    #[must_use]
    pub const fn reaches(self, share: Share) -> bool {
        self.of > 0 && (self.have as u128) * (Share::WHOLE.0 as u128) >= (self.of as u128) * (share.0 as u128)
    }
}

/// A share, in ten-thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(pub u32);

impl Share {
    /// All.
    pub const WHOLE: Self = Self(10_000);
}

impl std::fmt::Display for Share {
    /// `99.5 %`, as catalogues write it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole} %"),
            rest if rest % 10 == 0 => write!(f, "{whole}.{} %", rest / 10),
            rest => write!(f, "{whole}.{rest:02} %"),
        }
    }
}

/// How a finding speaks of a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// It refutes.
    Refutes,
    /// It speaks against it, and a person must confirm it.
    Doubts,
    /// It would do one of the two, and an exception covers it.
    Waived,
}

/// What there is to know of a finding beside a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// The control lets findings of this check refute it; otherwise they only raise doubt.
    pub may_refute: bool,
    /// The finding is proved: intact evidence, callers identified well enough, no mere pattern.
    pub proved: bool,
    /// An exception that still holds covers it.
    pub excepted: bool,
}

/// How the finding speaks.
#[must_use]
pub const fn speech(witness: Witness) -> Speech {
    match witness {
        Witness { excepted: true, .. } => Speech::Waived,
        Witness { may_refute: true, proved: true, .. } => Speech::Refutes,
        _ => Speech::Doubts,
    }
}

/// What bears on one control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed<'m> {
    /// Findings that refute it.
    pub refuting: u64,
    /// Findings that speak against it without proof.
    pub doubting: u64,
    /// Findings that an exception covers.
    pub waived: u64,
    /// Checks that bear on it and could not be made.
    pub failed: u64,
    /// The populations that must be known.
    pub measured: &'m [Measured],
    /// How much of each.
    pub coverage_min: Share,
    /// What may be said where nothing was found and everything was measured.
    pub otherwise: Otherwise,
    /// Somebody declared, with reason and approver, that it does not apply.
    pub not_applicable: bool,
}

/// What a catalogue allows to be said where nothing speaks against a control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The measured statement is the technical core of the control.
    MetTechnical,
    /// A person must add the rest.
    NeedsHuman,
    /// This evidence is about something else.
    NotAssessed,
}

/// The verdict.
#[must_use]
pub fn verdict(weighed: &Weighed<'_>) -> Verdict {
    let is_known = weighed.failed == 0 && weighed.measured.iter().all(|m| m.reaches(weighed.coverage_min));
    match (weighed.refuting, weighed.doubting, weighed.waived, weighed.otherwise) {
        _ if weighed.not_applicable => Verdict::NotApplicable,
        (1.., ..) => Verdict::NotMet,
        (0, 1.., ..) => Verdict::Suspect,
        (0, 0, 1.., _) => Verdict::Waived,
        (0, 0, 0, Otherwise::NotAssessed) => Verdict::NotAssessed,
        (0, 0, 0, _) if !is_known => Verdict::NotAssessed,
        // Without any measured population there is nothing for a statement to hold of.
        (0, 0, 0, Otherwise::MetTechnical) if weighed.measured.is_empty() => Verdict::NotAssessed,
        (0, 0, 0, Otherwise::MetTechnical) => Verdict::MetTechnical,
        (0, 0, 0, Otherwise::NeedsHuman) => Verdict::NeedsHuman,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every combination of how many findings speak in each way, what was measured, what the catalogue allows, and the rest,
    /// against the table written out.
    #[test]
    fn truth_table() {
        use Otherwise as O;
        use Verdict as V;
        let whole = Measured { have: 9, of: 9 };
        let part = Measured { have: 8, of: 9 };
        let none = Measured { have: 0, of: 0 };
        // What is said where nothing speaks against it → with met-technical, needs-human, not-assessed allowed.
        let silent: &[(&[Measured], u32, [V; 3])] = &[
            (&[whole], 10_000, [V::MetTechnical, V::NeedsHuman, V::NotAssessed]),
            (&[whole, whole], 10_000, [V::MetTechnical, V::NeedsHuman, V::NotAssessed]),
            (&[whole, part], 10_000, [V::NotAssessed; 3]),
            (&[part], 10_000, [V::NotAssessed; 3]),
            (&[none], 10_000, [V::NotAssessed; 3]),
            (&[], 10_000, [V::NotAssessed, V::NeedsHuman, V::NotAssessed]),
            // 8 of 9 is 88.88 %.
            (&[part], 8_888, [V::MetTechnical, V::NeedsHuman, V::NotAssessed]),
            (&[part], 8_889, [V::NotAssessed; 3]),
            (&[part, none], 8_000, [V::NotAssessed; 3]),
            (&[none], 0, [V::NotAssessed; 3]),
        ];
        let otherwise = [O::MetTechnical, O::NeedsHuman, O::NotAssessed];
        for (measured, coverage, want) in silent {
            for (otherwise, want) in otherwise.into_iter().zip(want) {
                for (refuting, doubting, waived, failed, not_applicable) in combinations() {
                    let coverage_min = Share(*coverage);
                    let weighed = Weighed { refuting, doubting, waived, failed, measured, coverage_min, otherwise, not_applicable };
                    let want = match (not_applicable, refuting, doubting, waived, failed) {
                        (true, ..) => V::NotApplicable,
                        (_, 1.., ..) => V::NotMet,
                        (_, _, 1.., ..) => V::Suspect,
                        (_, _, _, 1.., _) => V::Waived,
                        (_, _, _, _, 1..) => V::NotAssessed,
                        _ => *want,
                    };
                    assert_eq!(verdict(&weighed), want, "{weighed:?}");
                }
            }
        }
    }

    fn combinations() -> impl Iterator<Item = (u64, u64, u64, u64, bool)> {
        let n = [0, 1, 7];
        n.into_iter().flat_map(move |r| {
            n.into_iter().flat_map(move |d| {
                n.into_iter()
                    .flat_map(move |w| [0, 1].into_iter().flat_map(move |f| [false, true].into_iter().map(move |a| (r, d, w, f, a))))
            })
        })
    }

    #[test]
    fn a_share_is_told_as_it_is_written() {
        for (share, told) in [(10_000, "100 %"), (9_950, "99.5 %"), (9_905, "99.05 %"), (1, "0.01 %"), (500, "5 %")] {
            assert_eq!(Share(share).to_string(), told);
        }
    }

    #[test]
    fn only_what_is_proved_and_not_excepted_refutes() {
        let mut refuting = 0;
        for bits in 0..8_u8 {
            let on = |n: u8| bits >> n & 1 == 1;
            let witness = Witness { may_refute: on(0), proved: on(1), excepted: on(2) };
            let want = match (on(2), on(0) && on(1)) {
                (true, _) => Speech::Waived,
                (false, true) => Speech::Refutes,
                (false, false) => Speech::Doubts,
            };
            assert_eq!(speech(witness), want, "{witness:?}");
            refuting += u8::from(speech(witness) == Speech::Refutes);
        }
        assert_eq!(refuting, 1);
    }
}
