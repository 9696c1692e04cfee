//! What changed since an earlier assessment: anchors and words for the page.

use portreeve_auditor::assessment::{Assessment, Baseline, EdgeChange, EdgeChangeKind, Finding, TrendPoint, Verdict, VerdictChange};

use super::{Anchors, Goal, Link, Share, bar};
use crate::limits::ROWS_MAX;
use crate::text;

/// What the section about the baseline needs.
pub(super) struct Changes<'a> {
    pub(super) it: &'a Baseline,
    pub(super) period: String,
    pub(super) new: Vec<Changed<'a>>,
    pub(super) heavier: Vec<Changed<'a>>,
    pub(super) verdicts: Vec<VerdictView<'a>>,
    pub(super) edges: Vec<EdgeView<'a>>,
    pub(super) trend: Vec<TrendView<'a>>,
}

/// A finding of this assessment; one folded with others has an id alone.
pub(super) struct Changed<'a> {
    pub(super) id: &'a str,
    pub(super) finding: Option<&'a Finding>,
    pub(super) goal: Goal,
}

/// A control with another verdict.
pub(super) struct VerdictView<'a> {
    pub(super) it: &'a VerdictChange,
    pub(super) anchor: Option<String>,
}

/// An edge that came or went.
pub(super) struct EdgeView<'a> {
    pub(super) it: &'a EdgeChange,
    pub(super) word: &'static str,
    pub(super) from: Option<Link<'a>>,
    pub(super) to: Link<'a>,
}

/// One assessment of the line.
pub(super) struct TrendView<'a> {
    pub(super) it: &'a TrendPoint,
    pub(super) period: String,
    pub(super) bar: Vec<Share>,
    pub(super) not_met: u64,
    pub(super) suspect: u64,
}

impl<'a> Changes<'a> {
    pub(super) fn of(a: &'a Assessment, anchors: &Anchors<'a>) -> Option<Self> {
        let it = a.baseline.as_ref()?;
        let changed = |id: &'a String| Changed { id, finding: anchors.by_id.get(id.as_str()).copied(), goal: anchors.finding(id) };
        let verdict =
            |it: &'a VerdictChange| VerdictView { it, anchor: Some(anchors.control(&it.catalog, &it.id)).filter(|a| !a.is_empty()) };
        let edge = |it: &'a EdgeChange| EdgeView {
            it,
            word: word(it.kind),
            from: it.from.as_deref().map(|name| anchors.service(name)),
            to: anchors.service(&it.to),
        };
        Some(Self {
            it,
            period: it.period.map(text::period).unwrap_or_default(),
            new: it.findings.new.iter().take(ROWS_MAX).map(changed).collect(),
            heavier: it.findings.heavier.iter().take(ROWS_MAX).map(changed).collect(),
            verdicts: it.verdicts.iter().take(ROWS_MAX).map(verdict).collect(),
            edges: it.edges.iter().take(ROWS_MAX).map(edge).collect(),
            trend: it.trend.iter().take(ROWS_MAX).map(TrendView::of).collect(),
        })
    }
}

impl<'a> TrendView<'a> {
    fn of(it: &'a TrendPoint) -> Self {
        let count = |verdict| it.verdicts.iter().find(|v| v.verdict == verdict).map_or(0, |v| v.count);
        Self {
            it,
            period: it.period.map(text::period).unwrap_or_default(),
            bar: bar(&it.verdicts),
            not_met: count(Verdict::NotMet),
            suspect: count(Verdict::Suspect),
        }
    }
}

const fn word(kind: EdgeChangeKind) -> &'static str {
    match kind {
        EdgeChangeKind::FirstAllowed => "allowed for the first time",
        EdgeChangeKind::FirstDenied => "denied for the first time",
        EdgeChangeKind::NewlyGranted => "granted now",
        EdgeChangeKind::NoLongerGranted => "no longer granted",
        EdgeChangeKind::NoLongerSeen => "no longer seen",
    }
}
