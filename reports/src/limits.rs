//! Every bound of the renderers, each with its reason. Nothing is lost by them: `assessment.json` always holds everything.

/// Longer texts are shown in a small box that scrolls, so that one hostile name cannot bury the page.
pub(crate) const TEXT_SHOWN_CHARS: usize = 240;

/// Sentences of the auditor's own and of catalogues stand whole up to here: the longest of ours have some 700 characters.
pub(crate) const SENTENCES_SHOWN_CHARS: usize = 1_200;

/// Longer names are cut in headings, links and tooltips; the whole name stands nearby or in `assessment.json`.
pub(crate) const NAME_SHOWN_CHARS: usize = 72;

/// Longer names are cut on the axes of the drawing; the table under it has them whole.
pub(crate) const AXIS_SHOWN_CHARS: usize = 18;

/// More combining marks than this on one letter serve no script and paint over the lines above.
pub(crate) const COMBINING_MARKS_MAX: usize = 4;

/// What a manager reads before turning the page, one line for each kind of finding.
pub(crate) const FIX_FIRST_MAX: usize = 5;

/// Browsers lay out some thousands of rows at once without stalling; the rest is in `assessment.json`.
pub(crate) const ROWS_MAX: usize = 2_000;

/// Rows of one table of declarations or of an analysis: more than a screen or two of them is read by a machine.
pub(crate) const PART_ROWS_MAX: usize = 50;

/// Names in one cell of such a table; a cell longer than its row is high hides the row.
pub(crate) const CELL_NAMES_MAX: usize = 8;

/// Findings that stand on the page as rows at a time: enough to read, few enough that the page opens at once and paper ends. The
/// page holds all of them as data, and its script turns to the others.
pub(crate) const FINDINGS_ROWS_MAX: usize = 200;

/// Findings named under one control; beyond, a link filters the list of findings to that control.
pub(crate) const FINDINGS_UNDER_CONTROL_MAX: usize = 12;

/// Raw lines shown under a control; all that were kept stand at the finding itself.
pub(crate) const EVIDENCE_UNDER_CONTROL_MAX: usize = 3;

/// Services named in the sentence about reach; the access section has all of them.
pub(crate) const REACH_NAMED_MAX: usize = 6;

/// Up to this many services the drawing has cells as large as a finger.
pub(crate) const MATRIX_AIRY_MAX: usize = 10;

/// Up to this many services the matrix is one drawing and the zones show their services; beyond, no eye finds a cell in it, and
/// the matrix comes in blocks, one for each pair of zones.
pub(crate) const MATRIX_ROOMY_MAX: usize = 24;

/// Pairs of zones that have a block of their own; the tables have all.
pub(crate) const BLOCKS_MAX: usize = 144;

/// Zones in one drawing; beyond, lines hide one another, and the tables speak alone.
pub(crate) const ZONES_DRAWN_MAX: usize = 16;

/// Pairs of services that stand on the page as rows at a time; of findings the same holds.
pub(crate) const PAIRS_ROWS_MAX: usize = 200;

/// Operations listed under these.
pub(crate) const OPERATIONS_MAX: usize = 1_000;

/// Lines of each list of changes in `summary.md`: a comment that must be scrolled is not read.
pub(crate) const SUMMARY_CHANGES_MAX: usize = 10;

/// Length of one text in `summary.md`; code forges cut long comments.
pub(crate) const SUMMARY_TEXT_CHARS: usize = 300;

/// Longer words may be broken anywhere, or one of them would push a table off the page; shorter ones never are.
pub(crate) const WORD_WHOLE_BYTES: usize = 26;

/// Code hosts take at most so many results of one run, and refuse the rest with the whole file.
pub(crate) const SARIF_RESULTS_MAX: usize = 25_000;

/// A manifest names some files and every log; this is room for a hundred thousand logs.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 32 << 20;

/// A report has a dozen files.
pub(crate) const MANIFEST_FILES_MAX: usize = 1_000;
