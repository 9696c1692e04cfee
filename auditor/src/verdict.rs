//! The verdict algebra: a pure function from what was found and measured to what may honestly be said (INV-11).
//!
//! INVARIANT: one proved counterexample refutes; the absence of counterexamples says nothing about what was not measured whole.

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
    /// Whether there are any, and all are known.
    #[must_use]
    pub const fn is_whole(self) -> bool {
        self.of > 0 && self.have >= self.of
    }
}

/// What bears on one control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed<'m> {
    /// Proved findings of checks that refute it.
    pub refuting: u64,
    /// Findings that speak against it and are not proved, or whose check only raises doubt.
    pub doubting: u64,
    /// The populations that must be known whole.
    pub measured: &'m [Measured],
    /// What may be said where nothing was found and everything was measured.
    pub otherwise: Otherwise,
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
    let is_whole = weighed.measured.iter().all(|m| m.is_whole());
    match (weighed.refuting, weighed.doubting, weighed.otherwise) {
        (1.., _, _) => Verdict::NotMet,
        (0, 1.., _) => Verdict::Suspect,
        (0, 0, Otherwise::NotAssessed) => Verdict::NotAssessed,
        (0, 0, _) if !is_whole => Verdict::NotAssessed,
        // Without any measured population there is nothing for a statement to hold of.
        (0, 0, Otherwise::MetTechnical) if weighed.measured.is_empty() => Verdict::NotAssessed,
        (0, 0, Otherwise::MetTechnical) => Verdict::MetTechnical,
        (0, 0, Otherwise::NeedsHuman) => Verdict::NeedsHuman,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_table() {
        use Otherwise as O;
        use Verdict as V;
        let whole = Measured { have: 9, of: 9 };
        let part = Measured { have: 8, of: 9 };
        let none = Measured { have: 0, of: 0 };
        let cases: &[(u64, u64, &[Measured], [V; 3])] = &[
            // refuting, doubting, measured → met-technical, needs-human, not-assessed allowed
            (0, 0, &[whole], [V::MetTechnical, V::NeedsHuman, V::NotAssessed]),
            (0, 0, &[whole, whole], [V::MetTechnical, V::NeedsHuman, V::NotAssessed]),
            (0, 0, &[whole, part], [V::NotAssessed; 3]),
            (0, 0, &[part], [V::NotAssessed; 3]),
            (0, 0, &[none], [V::NotAssessed; 3]),
            (0, 0, &[], [V::NotAssessed, V::NeedsHuman, V::NotAssessed]),
            (0, 1, &[whole], [V::Suspect; 3]),
            (0, 5, &[part], [V::Suspect; 3]),
            (0, 1, &[none], [V::Suspect; 3]),
            (1, 0, &[whole], [V::NotMet; 3]),
            (1, 9, &[part], [V::NotMet; 3]),
            (7, 0, &[none], [V::NotMet; 3]),
            (1, 0, &[], [V::NotMet; 3]),
        ];
        for (refuting, doubting, measured, want) in cases {
            for (otherwise, want) in [O::MetTechnical, O::NeedsHuman, O::NotAssessed].into_iter().zip(want) {
                let weighed = Weighed { refuting: *refuting, doubting: *doubting, measured, otherwise };
                assert_eq!(verdict(&weighed), *want, "{weighed:?}");
            }
        }
    }
}
