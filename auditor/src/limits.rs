//! Every bound of the examination, each with its reason. Nothing here is read from the environment; what is bounded here keeps
//! memory a function of distinct facts, never of the length of a log.

/// A longer line is no record: the largest record our enforcer can write (8 KiB path, 64 KiB of visible attributes) is far smaller.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// What is read at once of compressed data.
pub const READ_BUFFER_BYTES: usize = 1 << 16;
/// What is read at once of the text: few calls, and small enough that it is still in the cache nearest to the processor when it has been
/// hashed and is scanned.
pub const READ_BLOCK_BYTES: usize = 1 << 18;
/// Blocks of a log that are read ahead of the line that is looked at: enough that neither waits for the other, few enough to stay warm.
pub const AHEAD_BLOCKS_MAX: usize = 8;
/// Bytes from which a log is worth a thread that reads ahead; in our tests few, so that small files will do.
pub const AHEAD_BYTES_MIN: u64 = if cfg!(test) { 1 << 13 } else { 1 << 18 };
/// Bytes of lines of our own log that one thread reads at a time.
pub const BATCH_BYTES: usize = 1 << 16;
/// Batches of lines under way for each thread.
pub const BATCHES_PER_THREAD: usize = 3;
/// Blocks of another mesh's log under way for each thread that looks at lines.
pub const BLOCKS_PER_THREAD: usize = 3;
/// Lines of one block of which hints are kept; lines so short that there are more are hardly any that can be read.
pub const HINTS_MAX: usize = 4_096;
/// Bytes of hints of one block, up to which lines are looked at; of usual lines hints have half the bytes of the block.
pub const HINTS_BYTES_MAX: usize = 1 << 19;
/// Threads at most that read records, whatever is asked for: one that hashes the log feeds fewer, and each has batches under way.
pub const THREADS_MAX: usize = 16;
/// Bytes of a log that are folded into a ledger of their own before they are merged: few enough that their keys fit in a hundred MiB or
/// two, whatever they say.
pub const LEDGER_PART_BYTES: u64 = 64 << 20;
/// Parts of a ledger file: at their full size, six terabytes of logs.
pub const LEDGER_PARTS_MAX: usize = 100_000;
/// Keys of JSON lines that the scanner learns; a format has a few dozen, and what is beyond is looked up by name each time.
pub const SCAN_KEYS_MAX: usize = 256;
/// Lines of another mesh's log that are sketched before the first of them is counted: so many places in memory are waited for at once, and
/// more a processor does not fetch beside one another.
pub const SKETCHED_AT_ONCE: usize = 8;
/// How deep the scanner follows objects and arrays; deeper ones are for the general parser.
pub const SCAN_DEPTH_MAX: u32 = 64;
/// Rejected lines named one by one for each input; the rest are counted.
pub const REJECTED_EXAMPLES_MAX: usize = 10;
/// Chain faults named one by one for each input; the rest are counted.
pub const FAULTS_NAMED_MAX: usize = 20;
/// Chain faults kept for each process; a log that is wrong on every line must not fill memory.
pub const FAULTS_KEPT_MAX: usize = 1_000;
/// Characters of a reason that quotes input.
pub const REASON_CHARS_MAX: usize = 240;
/// Milliseconds by which both ends of one connection may write apart: clocks of nodes and the way of a last packet, far less than it takes until the
/// same ports come again.
pub const CONNECTION_APART_MS_MAX: i32 = 2_000;
/// Raw lines kept as evidence for one key or finding: enough to look at, few enough to print.
pub const EVIDENCE_MAX: usize = 5;
/// Cells of decisions that are told apart; beyond it undeclared paths and hours fold together, so that a prober cannot fill memory. So
/// many take some 200 MiB while they are counted and as a ledger.
pub const LEDGER_KEYS_MAX: usize = 1_000_000;
/// Items from which a vector gets room for all that its bound allows, at once.
pub const ROOM_AT_ONCE: usize = 1 << 16;
/// Bytes from which a text that grows gets room for [`TEXT_ROOM_BYTES`] at once.
pub const TEXT_MOVED_BYTES: usize = 1 << 20;
/// Room for a million paths of usual length.
pub const TEXT_ROOM_BYTES: usize = 64 << 20;
/// Undeclared paths up to which each is counted with all of its evidence; of more, which only a prober asks for, with one line each.
pub const PATHS_WITH_ALL_EVIDENCE_MAX: usize = 100_000;
/// Distinct questions whose answers are remembered during replay; then the memory begins anew.
pub const QUESTIONS_MAX: usize = 200_000;
/// Bytes of questions whose answers are remembered while foreign logs are read; then the memory begins anew.
pub const REMEMBERED_BYTES_MAX: usize = 16 << 20;
/// Groups of like mismatches kept apart; beyond it they fold into one.
pub const MISMATCH_GROUPS_MAX: usize = 1_000;
/// Groups of like mismatches that the assessment lists; each has a finding besides.
pub const DISAGREEMENTS_MAX: usize = 100;
/// Traces whose calls are kept together: enough to show a way that data takes, a few megabytes at most.
pub const TRACES_MAX: usize = 20_000;
/// Distinct calls of one trace; one with more is no request but an id that somebody keeps using.
pub const TRACE_EDGES_MAX: u32 = 32;
/// Calls named for each policy that a proposed bundle changes; the others are counted.
pub const CALLS_NAMED_MAX: usize = 20;
/// Services named that have records on one side of a comparison alone; the others are counted.
pub const SERVICES_NAMED_MAX: usize = 20;
/// Line digests kept for every line of the last so many of a chain, to tell a repeated line from a second version of it.
pub const RECENT_LINES: u64 = 4_096;
/// Older line digests are kept for every so-manieth line: half a byte for each line, and a second version of a run of lines still shows.
pub const HELD_EVERY: u64 = 64;
/// Allowed requests of one process whose `ended` has not been read yet; more cannot be in flight.
pub const PENDING_MAX: usize = 65_536;
/// Addresses remembered for each certificate; more say nothing new.
pub const ADDRESSES_MAX: usize = 16;
/// Findings of one check named one by one; the rest become one finding with their number.
pub const FINDINGS_PER_CHECK_MAX: usize = 100;
/// The period of heartbeats, by the form of the log.
pub const HEARTBEAT_MS: i64 = 60_000;
/// Silence of more than three heartbeats is a gap in the evidence, not a late timer.
pub const SILENCE_MS_MAX: i64 = 3 * HEARTBEAT_MS;
/// A record may name the revision before a reload if its question was asked no later than this after it: it was in flight.
pub const RELOAD_GRACE_MS: i64 = 5_000;
/// A rollout is done within a day; an enforcer that decides under a bundle replaced for longer was left out of it.
pub const ROLLOUT_MS_MAX: i64 = 86_400_000;
/// Time between the two ends of a request, in milliseconds, beyond which no network explains that the second end came first; clocks that are
/// kept are within a tenth of it.
pub const CLOCK_SKEW_MS: i64 = 1_000;
/// Pairs of logs whose clocks are compared: a hundred proxies that all call each other have as many.
pub const CLOCKS_MAX: usize = 10_000;
/// Requests that must stand the wrong way round before two clocks are said to disagree: one may bear an id that was used before.
pub const CLOCK_PAIRS_MIN: u64 = 3;
/// Requests that must all come late before a clock is suspected to be ahead.
pub const CLOCK_PAIRS_SURE: u64 = 10;
/// Denials of one caller within an hour below which there is no spike, whatever its history.
pub const SPIKE_DENIALS_MIN: u64 = 20;
/// How much the differences of requests may differ, in milliseconds, that are to show by how much two clocks are apart: services answer each
/// other in seconds, and an id that somebody keeps using comes back at any time.
pub const CLOCK_SPREAD_MS: i64 = 60_000;
/// A spike is so many times the caller's mean over its other hours.
pub const SPIKE_FACTOR: u64 = 5;
/// An SVID that is still valid for longer than this when first seen is long-lived; issuers of SVIDs renew within hours.
pub const CERTIFICATE_LIFE_MS_MAX: i64 = 7 * 86_400_000;
/// Bits of an RSA key below which it is weak (NIST SP 800-131A).
pub const RSA_BITS_MIN: u32 = 2048;
/// A certificate with less than this left when last seen, and no successor seen, was not renewed in time.
pub const CERTIFICATE_LEFT_MS_MIN: i64 = 5 * 60_000;
/// Twelve months, as days.
pub const HISTORY_DAYS: i64 = 365;
/// Classes of data that count as sensitive until a scope file says otherwise.
pub use portreeve_engine::model::SENSITIVE_DATA;
/// Zones that count as untrusted until a scope file says otherwise.
pub const UNTRUSTED_ZONES: [&str; 1] = ["edge"];
/// Zones of systems before production, until a scope file says otherwise.
pub const PREPRODUCTION_ZONES: [&str; 4] = ["preprod", "staging", "test", "dev"];
/// One hour, the grain of the ledger.
pub const HOUR_MS: i64 = 3_600_000;
/// Items of one array of a line that are looked at: no workload has as many labels, no flow as many policies.
pub const LIST_ITEMS_MAX: usize = 256;
/// Lines at the head of a log by which its format is recognised; a partial first line and the proxy's own messages are among them.
pub const RECOGNITION_LINES_MAX: usize = 32;
/// Distinct callers without identity or service that are kept apart by name or address; more are told as others.
pub const UNNAMED_CALLERS_MAX: usize = 10_000;
/// Requests of other meshes that are compared with those of the other side by their id, at 24 bytes each; more are not compared.
pub const PAIRS_MAX: usize = 2 << 20;
/// Bytes of a mapping file; one of a thousand services and addresses has a tenth of this.
pub const MAPPING_BYTES_MAX: u64 = 1 << 20;
/// Files of a governance folder: a record for each day of ten years, each in a file of its own.
pub const GOVERNANCE_FILES_MAX: usize = 4_000;
/// Bytes of a governance folder; a record has some hundred.
pub const GOVERNANCE_BYTES_MAX: usize = 16 << 20;
/// An attestation is repeated every year at the latest.
pub const ATTESTATION_DAYS_MAX: i64 = 366;
/// Cases that one analysis lists; the others are counted. More than a person reads, and few enough to keep an assessment readable.
pub const ANALYSIS_ENTRIES_MAX: usize = 1_000;
/// Edges named for each class of the difference of graphs.
pub const GRAPH_EXAMPLES_MAX: usize = 20;
/// Sensitive services for which smallest cuts are sought: each costs two maximum flows over the whole graph.
pub const CUT_TARGETS_MAX: usize = 200;
/// Steps spent on taking permissions away one by one; the rest are counted as not tried. About a second.
pub const PROTECTION_STEPS_MAX: usize = 100_000_000;
/// Undeclared paths denied to one caller from which on it is said to scan.
pub const SCAN_PATHS_MIN: u64 = 10;
/// Declared operations denied to one caller from which on it is said to scan.
pub const SCAN_OPERATIONS_MIN: u64 = 10;
/// Services that denied one caller something from which on it is said to scan.
pub const SCAN_SERVICES_MIN: u64 = 5;
/// A review or an end within so many days is near.
pub const DUE_SOON_DAYS: i64 = 31;
/// Days after the last record up to which a review still counts as one of that time: what a month held is looked at in the weeks after it.
pub const REVIEW_AFTER_DAYS_MAX: i64 = 31;
/// Days after the day of the logs within which their audit is looked at, or nobody looks daily.
pub const AUDIT_RUN_DAYS_MAX: i64 = 1;
/// Bytes of a format of text; Istio's default has 600.
pub const FORMAT_BYTES_MAX: usize = 16 << 10;
/// Steps spent on finding that a line of text can be read in one way only; a line that needs more is refused as ambiguous.
pub const READING_STEPS_MAX: usize = 20_000;
/// Columns of a line of values.
pub const COLUMNS_MAX: usize = 512;
/// Outages of one process told one by one; a process that fails every minute for a day has more, and they end in one.
pub const OUTAGES_MAX: usize = 1_000;
/// Somebody is told of a failure within a day of its end, or it was not noticed.
pub const ALERT_MS_MAX: i64 = DAY_MS;
/// A signed head leaves the machine at least this often, or records can be lost unseen for longer: five times the usual period and more.
pub const HEAD_LAG_MS_MAX: i64 = 15 * 60_000;
/// A day.
pub const DAY_MS: i64 = 86_400_000;
/// Files of a folder of checks, as many as the engine compiles together.
pub const CHECK_FILES_MAX: usize = 256;
/// Records of one sample: more than any assessor reads, few enough to hold with their lines.
pub const SAMPLE_SIZE_MAX: usize = 10_000;
/// Distinct questions, without their values, from which policy is drafted: more than any person reads, at about a kilobyte each.
pub const SUGGEST_KEYS_MAX: usize = 20_000;
/// Denied words of one service that get an operation of their own, so that a wider one does not cover them; beyond it the grant goes.
pub const SUGGEST_LITERALS_MAX: usize = 64;
/// First bytes of a log in which it is looked for the beginning of a JSON array; whoever lays one out puts less white space before it.
pub const ARRAY_SNIFF_BYTES_MAX: usize = 4_096;
/// What is taken at once of a JSON array while lines are made of it.
pub const ARRAY_BLOCK_BYTES: usize = 64 << 10;
/// Bytes of one line of a container runtime's log, and of the parts of one line of a process, beyond which they are no longer held: a runtime
/// cuts what a process writes at 16 KiB, and no record is half as long as this.
pub const WRAPPED_BYTES_MAX: usize = 2 << 20;
/// Bytes of half lines, at the ends of all files together, up to which halves are joined: a thousand files with lines of the longest kind
/// that meshes write have a fraction of this.
pub const HALVES_BYTES_MAX: usize = 64 << 20;
/// Files among which it is looked by their times which one goes on where another ends: each is held against each.
pub const JOINS_BY_TIME_FILES_MAX: usize = 200;
/// Silence between two files, in milliseconds, over which their times do not say that one goes on where the other ends: with traffic in it,
/// a file was lost in between.
pub const JOIN_GAP_MS_MAX: i64 = 60_000;
/// Bytes of the footer of a Parquet file: a thousand row groups of a hundred columns have a fifth of it.
pub const PARQUET_FOOTER_BYTES_MAX: u64 = 64 << 20;
/// How deep structures of a footer or of the head of a page lie within each other; the format's own are six deep.
pub const PARQUET_DEPTH_MAX: u32 = 32;
/// Columns of a Parquet file, objects and arrays among them.
pub const PARQUET_COLUMNS_MAX: usize = 4_096;
/// Row groups times columns: a footer of some hundred megabytes has as many.
pub const PARQUET_CHUNKS_MAX: usize = 1_000_000;
/// How deep objects and arrays of a row lie within each other.
pub const PARQUET_NESTING_MAX: u32 = 32;
/// Rows, or values of a column, for each stored byte of a Parquet file. A row of a log has a time of its own, so that it takes some bytes;
/// a file that declares a thousand times less was made to keep somebody busy.
pub const PARQUET_VALUES_PER_BYTE_MAX: u64 = 4_096;
/// Bytes of a page, packed or unpacked: writers make pages of a megabyte, and some put all of a column's row group into one.
pub const PARQUET_PAGE_BYTES_MAX: usize = 64 << 20;
/// Bytes of the head of a page, which holds the least and the greatest of its values.
pub const PARQUET_HEAD_BYTES_MAX: usize = 1 << 20;
/// Bytes held at once of a Parquet file, which are a page and a dictionary of each column: with the rest it stays within 256 MiB.
pub const PARQUET_HELD_BYTES_MAX: usize = 128 << 20;
/// Lines of a log that are marked to be known again in another one, at 24 bytes each.
pub const COPY_MARKS_MAX: usize = 512;
/// Such lines of all logs together; a log that comes when there are as many has none.
pub const COPY_MARKS_ALL_MAX: usize = 1 << 20;
/// Marked lines that two logs have in common before they are taken for copied: fewer are alike by chance now and then.
pub const COPIED_LINES_MIN: u64 = 3;
/// Pairs of logs of which it is looked how much they have in common.
pub const COPIED_PAIRS_MAX: usize = 1_000;
/// Times a file is begun aside of its place before it is given up: more than twice would take somebody who looks for nothing else.
pub const ASIDE_TRIES_MAX: usize = 8;
/// Text of rows that is made at once.
pub const PARQUET_TEXT_BYTES: usize = 64 << 10;
