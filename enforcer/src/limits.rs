//! Every bound of the enforcer, named, with its reason. What has no bound is a denial of service.

use std::time::Duration;

/// Connections served at once per listener. Each costs some 70 kB, so this bounds memory at a few hundred megabytes.
pub const CONNECTIONS_MAX: usize = 4096;
/// Of these from one address: half, so that one caller, or one stranger, never takes the place of all others (A64).
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 2;
/// Of these of one identity, from however many addresses, for each connection that is free: one that is alone has half, two that come
/// together a third each, and whoever comes next has half of what is left (A64).
pub const CONNECTIONS_PER_IDENTITY_PER_FREE: usize = 1;
/// Requests of one identity that run at once, over all its connections. Each can take a connection to the service, and a port of ours
/// with it, of which the system has some 28,000 for one address: the others keep 12,000 of them (A64).
pub const REQUESTS_PER_IDENTITY_MAX: usize = 16_384;
/// The most threads a configuration may ask for; more than cores serve nobody.
pub const WORKERS_MAX: usize = 256;
/// A connection takes no further request after this time, so that callers come back through a handshake and spread anew. What
/// runs on it may end. Up to a tenth less, so that connections of one moment do not all come back in another.
pub const CONNECTION_LIFETIME: Duration = Duration::from_secs(3600);
/// When our certificate is replaced, connections that were shown the old one take no further request after a part of this time, each
/// another part, and of a tenth of what the old one had left, so that callers learn of the new one before the old one ends and do
/// not all come back in one moment.
pub const ROTATION_DRAIN: Duration = Duration::from_secs(60);
/// The longest such time a configuration may ask for: what is left of the old certificate bounds it in any case.
pub const ROTATION_DRAIN_MAX: Duration = Duration::from_secs(3600);
/// A connection that was asked to end, and on which nothing runs, is cut after this time.
pub const WIND_DOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest such time a configuration may ask for.
pub const WIND_DOWN_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// The longest such time a configuration may ask for.
pub const CONNECTION_LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
/// Handshakes in flight per listener: they are the costly part of a connection, and strangers can ask for them.
pub const HANDSHAKES_MAX: usize = 256;
/// Handshakes in flight per address, so that one stranger cannot hold every place (A62, A64).
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = HANDSHAKES_MAX / 2;
/// Handshakes in flight beside those, from addresses from which somebody proved an identity lately: strangers take none of these places.
pub const HANDSHAKES_KNOWN_MAX: usize = HANDSHAKES_MAX / 4;
/// Addresses that are remembered for that. One costs some 50 bytes, and a certificate.
pub const KNOWN_ADDRESSES_MAX: usize = 4096;
/// For how long: longer than connections live, so that whoever calls all the time stays known.
pub const KNOWN_ADDRESS_LIFE: Duration = Duration::from_secs(2 * 3600);
/// Without descriptors for new connections, so many that have not proved who they are make room at once, before the next attempt.
pub const ROOM_AT_ONCE: usize = 64;
/// A handshake that takes longer is cut; a healthy one takes two round trips.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest such time a configuration may ask for: strangers can hold a place for as long.
pub const HANDSHAKE_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Connections that wait to be accepted: what Linux allows by default, and less than is accepted in one turn of the loop.
pub const BACKLOG: u32 = 4096;
/// How long a shared port is drained before it is closed: longer than a round trip, shorter than the second after which callers
/// try again.
pub const RETIRE: Duration = Duration::from_millis(500);
/// Descriptors that the process asks for, where the system would let it have more: two for each connection of fifty listeners.
pub const DESCRIPTORS_MAX: u64 = 1 << 19;
/// The wait after a failed accept (out of descriptors), so that the loop does not spin.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// An HTTP/1 head must be whole within this time of its first byte.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest such time a configuration may ask for: whoever sends a byte now and then holds a connection for as long.
pub const HEAD_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// A connection must begin its first request within this time of its handshake. Clients connect when they have something to say.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest such time a configuration may ask for.
pub const FIRST_BYTE_TIMEOUT_MAX: Duration = Duration::from_secs(600);
/// An idle connection is closed after this time. Longer than the minute that common clients keep theirs.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// The longest such time a configuration may ask for.
pub const IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// The shortest of the times for which callers and services are waited for that a configuration may ask for: half of it is the way to
/// another continent and back.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// HTTP/2 asks an idle peer for a sign of life this often, and so finds the dead ones.
pub const H2_PING_INTERVAL: Duration = Duration::from_secs(30);
/// The longest such time a configuration may ask for: as long as a connection may be idle.
pub const H2_PING_INTERVAL_MAX: Duration = Duration::from_secs(3600);
/// An HTTP/2 peer that does not answer a ping within this time is gone.
pub const H2_PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest such time a configuration may ask for.
pub const H2_PING_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Of the body of a request so much is kept until its answer begins, so that it can be sent again where the peer never began it: what an
/// enforcer lets a caller send before it has looked at the request, and what was read with the last of it. Of a longer body more
/// goes only to a peer that has begun.
pub const AGAIN_BYTES_MAX: usize = H2_STREAM_WINDOW as usize + H1_BUFFER_BYTES_MAX;
/// Of this so much whatever other requests keep: what most calls have.
pub const AGAIN_BYTES_SURE: usize = 16 * 1024;
/// What all requests of the process may keep beyond that.
pub const AGAIN_BYTES_ALL_MAX: usize = 16 << 20;
/// Pieces of a body that are shorter are copied together where they are kept: one of a byte would cost a hundred.
pub const AGAIN_COPIED_BYTES_MAX: usize = 4096;

/// Connections at the end of their life that one request may meet on its way to one place: they are kept side by side and may end
/// together.
pub const TURNED_AWAY_MAX: usize = 4;

/// The longest HTTP/1 head, and the longest HTTP/2 header list: what common servers take.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header lines per request: what hyper takes by default.
pub const HEADERS_MAX: usize = 100;
/// Streams one HTTP/2 connection may have open.
pub const H2_STREAMS_MAX: u32 = 128;
/// Streams that the peer may provoke us to reset (A26).
pub const H2_LOCAL_RESETS_MAX: usize = 64;
/// The longest frame of HTTP/2 that we take, and the longest that we send: what holds where nobody says another, and the least that may be
/// said (RFC 9113, 6.5.2).
pub const H2_FRAME_BYTES_MAX: usize = 16_384;
/// What a caller of HTTP/2 may have us remember of its headers: the size that holds where nobody says another (RFC 9113, 6.5.2).
pub const H2_TABLE_BYTES: usize = 4096;
/// Streams of a connection that are remembered after they ended in order: what still comes on them is an error of its own.
pub const H2_CLOSED_KEPT: usize = 64;
/// Streams of a connection that are remembered after we ended them early: what the caller sent before it learned of it may still come. As
/// many as may be open at once.
pub const H2_EARLY_KEPT: usize = H2_STREAMS_MAX as usize;
/// Places for streams that an idle connection keeps; one has some 400 bytes.
pub const H2_PLACES_KEPT: usize = 8;
/// After so much of a body was read by another task its connection is told: of all streams together no more than half of its window.
pub const H2_TOLD_BYTES: usize = 4096;
/// Bytes of one header block as it comes, compressed: twice what it may stand for, for those who compress nothing and send trailers (A27).
pub const H2_BLOCK_BYTES_MAX: usize = 2 * HEAD_BYTES_MAX;
/// Pieces of one header block behind the first (A27): the largest block needs two.
pub const H2_CONTINUATIONS_MAX: usize = 8;
/// How long the rest of a request over HTTP/2 may come after its answer, before its stream is reset; as much of it as over HTTP/1.
pub const H2_LINGER: Duration = Duration::from_secs(1);
/// Requests of one connection of HTTP/2 that are judged before its streams, and then other connections, have their turn.
pub const H2_HEADS_AT_ONCE: u64 = 32;
/// What a connection of HTTP/2 may cost us for nothing before it ends (A26, A27), in units of one frame that asks for an answer: room
/// for every stream there may be to be opened and given up, and for the pings and settings of an hour.
pub const H2_PATIENCE: u32 = 1000;
/// So much of it comes back in a second, for those who need it.
pub const H2_PATIENCE_SECOND: u32 = 100;
/// So much of it comes back with each answer that was sent whole.
pub const H2_PATIENCE_ANSWER: u32 = 4;
/// So much of it comes back with each frame of an answer, and with so many bytes in such frames one more: whoever reads in small pieces says
/// of each, on the stream and on the connection, that it was read.
pub const H2_PATIENCE_FRAME: u32 = 2;
/// Nothing comes back with a frame that is smaller because the other side leaves no more room: whoever opens windows byte by byte has us send
/// as many frames. Those who have little memory leave room for more.
pub const H2_DRIP_BYTES: usize = 256;
/// See [`H2_PATIENCE_FRAME`]. Of the libraries that we know Go's says so most often, after 4 KiB.
pub const H2_PATIENCE_BYTES: usize = 1024;
/// What a stream costs of it that its caller gives up before it was answered, or that may not be opened: it was judged, recorded,
/// forwarded; and new settings, which each open stream is held against.
pub const H2_PATIENCE_DEAR: u32 = 4;
/// A stream that was given up before this time since its head is one that was opened for nothing. Of others there are no more in a second than
/// ten times as many as may be open at once, and a caller that has a deadline gives many of them up where a service is slow.
pub const H2_GIVEN_UP_EARLY: Duration = Duration::from_millis(100);
/// HTTP/2 flow-control window of a stream: one slow reader holds at most this much.
pub const H2_STREAM_WINDOW: u32 = 256 * 1024;
/// HTTP/2 flow-control window of a connection.
pub const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How often an HTTP/2 connection and its streams are polled in turn before other connections of the thread have theirs: what comes in
/// is accepted in one, judged and answered in the next.
pub const H2_ROUNDS_MAX: usize = 8;
/// What one HTTP/2 connection gathers before it sends: one record of TLS, its largest.
pub const GATHERED_BYTES_MAX: usize = 16 * 1024;
/// A chunk-size line with its extensions; ours need eight digits.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Read and write buffer of an HTTP/1 connection; hyper's own default is four times as large.
pub const H1_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes that one read may bring. One buffer of this size for each thread, so that an idle connection holds none.
pub const H1_READ_BYTES: usize = 64 * 1024;
/// Buffers that the connections of one thread lend each other: four for each of the requests that are under way at once on a busy
/// thread, the two of its caller and the two of the service.
pub const SPARES_MAX: usize = 256;
/// What they may take together, however large each of them is.
pub const SPARES_BYTES_MAX: usize = 1 << 20;
/// The largest of them: one record of TLS, as a buffer that grows by doubling may come to hold it. What a long body needed beyond
/// that is given back to the system.
pub const SPARE_BYTES_MAX: usize = 32 * 1024;
/// Memory that one thread keeps for spelling records. A usual record has 1 kB.
pub const TEXT_BYTES_KEPT: usize = 16 * 1024;
/// Interim answers (1xx) before the one answer; more than a few serve nobody.
pub const INTERIM_ANSWERS_MAX: usize = 16;
/// A request, an answer or a tunnel on which no byte moves in either direction is cut after this time. What streams rarely
/// sends a sign of life more often than that.
pub const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// The longest such time a configuration may ask for.
pub const STREAM_IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);
/// From the head of a request to the last byte of its answer. Longer than any sensible answer; it ends what only trickles.
pub const REQUEST_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// The longest such time a configuration may ask for.
pub const REQUEST_LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// After an answer that ends the connection, what the caller still sends is thrown away for this long, so that the answer is not
/// lost to a reset.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
/// As much of it is thrown away at the most.
pub const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Connecting to the service behind the enforcer.
pub const UPSTREAM_CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The longest such time a configuration may ask for, for services and for places outside the mesh.
pub const UPSTREAM_CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// The service must begin to answer within this time of the last byte it took.
pub const UPSTREAM_RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest such time a configuration may ask for.
pub const UPSTREAM_RESPONSE_TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// Idle connections kept per destination.
pub const POOL_IDLE_MAX: usize = 128;
/// An idle upstream connection is used no longer than this; most servers close theirs later.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest such time a configuration may ask for.
pub const POOL_IDLE_TIMEOUT_MAX: Duration = Duration::from_secs(3600);

/// What one way of a connection that is no HTTP holds at once: as much as one record of TLS.
pub const TCP_BUFFER_BYTES: usize = 16 * 1024;
/// How long nothing may move on such a connection, unless configured otherwise; pools of databases keep theirs for minutes.
pub const TCP_IDLE: Duration = Duration::from_secs(3600);
/// The longest such time a configuration may ask for.
pub const TCP_IDLE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Callers whose use of one limited permission is remembered. Each costs some 300 B; who used nothing lately is forgotten first.
pub const QUOTA_CALLERS_MAX: usize = 16_384;

/// How often the key set of a token issuer is fetched, where neither configuration nor provider say otherwise.
pub const JWKS_REFRESH: Duration = Duration::from_secs(300);
/// The longest such time a configuration may ask for: withdrawn keys must go.
pub const JWKS_REFRESH_MAX: Duration = Duration::from_secs(3600);
/// How long the last good key set of an issuer that is out of reach is believed: a night's outage costs nothing, a weekend's does.
pub const JWKS_STALE: Duration = Duration::from_secs(12 * 3600);
/// The longest such time a configuration may ask for.
pub const JWKS_STALE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// Entries in the queue of the decision log, those promised to `ended` included. At about 1 kB an entry: 64 MB.
pub const LOG_QUEUE_MAX: usize = 65_536;
/// Entries of one caller, queued or promised: half, so that one caller never takes the place of all others.
pub const LOG_QUEUE_CALLER_MAX: usize = LOG_QUEUE_MAX / 2;
/// Bytes of the texts in the queue: what so many entries of the usual size take, however long the paths in them are.
pub const LOG_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes of one caller's texts in the queue: half, as of places.
pub const LOG_QUEUE_CALLER_BYTES_MAX: usize = LOG_QUEUE_BYTES_MAX / 2;
/// Memory that queue and writer keep between batches; what a burst needed beyond that is given back.
pub const LOG_BUFFER_KEPT: usize = 256 << 10;
/// After so much the log is sent to the disk while it is written on, where requests do not wait for the disk: so much a machine that fails
/// may lose, beside what comes while it is sent.
pub const LOG_AHEAD_BYTES: usize = 16 << 20;
/// So much of the log's newest part stays in the system's cache of files, for whoever follows it; the rest is read from the disk again.
pub const LOG_CACHED_BYTES: u64 = 16 << 20;
/// A request waits this long for its record to be written or synchronised, where that is asked for; then it is refused.
pub const LOG_KEPT_TIMEOUT: Duration = Duration::from_secs(5);
/// The writer gathers records for this long before it writes them in one call. A lost process loses at most this much.
pub const LOG_GATHER: Duration = Duration::from_millis(2);
/// When the oldest record has waited for this long, the next request writes what waits, whatever the writer's thread does: on a
/// machine with more to do than it can, that thread may get no time for much longer than it takes to lose a process.
pub const LOG_LATE: Duration = Duration::from_millis(20);
/// A write that took this long is told of: records wait meanwhile, and callers that send much come to the end of their share.
pub const LOG_SLOW: Duration = Duration::from_millis(500);
/// A failed write is tried again after this time.
pub const LOG_RETRY: Duration = Duration::from_secs(1);
/// How often a decision is taken again because another one with a later time entered the log first; after that its record says for
/// which earlier time it was taken.
pub const STALE_RETRIES_MAX: usize = 16;
/// Distinct (address, reason) pairs of refused strangers held between two heartbeats; further ones are counted together.
pub const REFUSALS_MAX: usize = 1024;
/// Heartbeat of the decision log.
pub const HEARTBEAT: Duration = Duration::from_secs(60);
/// The least heartbeat and head interval a configuration may ask for.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);
/// The least size at which a log may be rotated: below, files would be mostly opening lines.
pub const ROTATE_BYTES_MIN: u64 = 4096;
/// The least age of a closed log file before it is deleted, where deleting is configured at all: twelve months and a day (PCI DSS 10.5.1).
pub const KEEP_AGE: Duration = Duration::from_secs(366 * 24 * 3600);
/// The greatest age that a configuration may name: ten years.
pub const KEEP_AGE_MAX: Duration = Duration::from_secs(3660 * 24 * 3600);
/// The most closed files that a configuration may ask for; a folder with more is slow to read.
pub const KEEP_FILES_MAX: usize = 100_000;
/// How often closed files are looked at, besides after a rotation.
pub const KEEP_LOOK: Duration = Duration::from_secs(3600);
/// Files deleted at once, so that the log is not held up for long; the rest goes with the next turn.
pub const DELETED_AT_ONCE_MAX: usize = 16;
/// The longest line looked at when the end of an earlier log is read.
pub const LOG_LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Escaped bytes of a malformed request kept in its record.
pub const RAW_BYTES_MAX: usize = 256;
/// Digits in a row that are kept in it; card numbers have 13 to 19 (ISO/IEC 7812), dates and most ids fewer.
pub const RAW_DIGITS_MAX: usize = 12;
/// The caller's own request id, as far as it is kept.
pub const CORRELATION_BYTES_MAX: usize = 128;

/// How often a bundle's server is asked for something new, unless configured otherwise.
pub const BUNDLE_POLL: Duration = Duration::from_secs(30);
/// The longest such time a configuration may ask for: a withdrawn permission must go.
pub const BUNDLE_POLL_MAX: Duration = Duration::from_secs(3600);
/// How soon a bundle's server is asked again by an enforcer that has no bundle; doubled with each failure.
pub const BUNDLE_FIRST_POLL: Duration = Duration::from_secs(2);
/// The longest wait between two questions to a server that does not answer well.
pub const BUNDLE_BACK_OFF_MAX: Duration = Duration::from_secs(300);
/// One fetch of a bundle, of the largest size over a slow line.
pub const BUNDLE_FETCH: Duration = Duration::from_secs(60);
/// The greatest age that a configuration may give a bundle.
pub const BUNDLE_AGE_MAX: Duration = Duration::from_secs(366 * 24 * 3600);
/// How far ahead of our clock a bundle's issue may lie: clocks differ.
pub const ISSUE_AHEAD_MS_MAX: i64 = 5 * 60 * 1000;
/// The largest file with a key that signs or verifies bundles or heads.
pub const KEY_FILE_BYTES_MAX: u64 = 16 * 1024;
/// The largest file with a token for a server.
pub const TOKEN_FILE_BYTES_MAX: u64 = 16 * 1024;

/// Each text of a span is cut here: callers choose paths and hosts, and whether they are told of.
pub const SPAN_TEXT_BYTES_MAX: usize = 1024;
/// Spans that wait to be sent. At about 1 kB a span: 2 MB; with texts that callers make long, 8 MB.
pub const SPANS_MAX: usize = 2048;
/// Spans sent at once.
pub const SPANS_BATCH_MAX: usize = 512;
/// How long spans are gathered before they are sent.
pub const SPANS_GATHER: Duration = Duration::from_secs(1);

/// Signed heads that wait for a witness; when it is full the oldest goes, as a later one vouches for more. At one a minute: 17 hours.
pub const HEADS_MAX: usize = 1024;
/// Signed heads sent at once.
pub const HEADS_BATCH_MAX: usize = 64;
/// The longest wait between two attempts to reach a witness.
pub const HEADS_BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// How long a connection's life is not looked at at most: a clock that was set shows within this time.
pub const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How often files (certificates, bundle path) are looked at for replacement.
pub const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the start (and `--check`) waits for the first word of a Workload API.
pub const IDENTITY_WAIT: Duration = Duration::from_secs(10);
/// How often the identity's files are read again while they are not acceptable, without having changed.
pub const IDENTITY_RETRY: Duration = Duration::from_secs(10);
/// How often the bundle on disk is read to compare its revision (drift).
pub const DRIFT_INTERVAL: Duration = Duration::from_secs(10);
/// Running requests may take this long to end at shutdown, unless configured otherwise.
pub const DRAIN: Duration = Duration::from_secs(20);
/// A connection that was accepted just before the drain, or during it, may ask its first question within this time.
pub const DRAIN_FIRST_REQUEST: Duration = Duration::from_secs(1);
/// The longest drain a configuration may ask for.
pub const DRAIN_MAX: Duration = Duration::from_secs(3600);
/// Connections of each of the admin and health listeners; one more ends the oldest of whoever holds the most.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Policies that have counters of their own; a scraper keeps each for ever.
pub const POLICY_LABELS_MAX: usize = 500;
/// Connections listed by `/connections`.
pub const CONNECTIONS_LISTED_MAX: usize = 1000;
/// The largest configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// The most bytes read of a built bundle's file; what is longer is cut here and then is no archive.
pub(crate) const ARCHIVE_FILE_BYTES_MAX: u64 = 64 << 20;
/// The wait after the first failure to hand signed heads to a witness; each further one waits twice as long.
pub const WITNESS_FIRST_PAUSE: Duration = Duration::from_secs(1);
/// One attempt to hand signed heads to a witness.
pub const WITNESS_TIMEOUT: Duration = Duration::from_secs(10);
/// What a witness answers is not looked at beyond its status.
pub const WITNESS_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long the last heads may take at the end of the process.
pub const WITNESS_LAST: Duration = Duration::from_secs(2);
/// How often one batch of spans is offered.
pub const SPANS_ATTEMPTS: u32 = 4;
/// The wait before the second attempt; each further one waits twice as long.
pub const SPANS_FIRST_PAUSE: Duration = Duration::from_millis(500);
/// One attempt to send spans.
pub const SPANS_TIMEOUT: Duration = Duration::from_secs(10);
/// What a collector answers is not looked at beyond its status.
pub const SPANS_ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How long the last spans may take at the end of the process.
pub const SPANS_LAST: Duration = Duration::from_secs(2);
/// Members of a `tracestate`: what the standard allows.
pub const TRACE_MEMBERS_MAX: usize = 32;
/// Bytes of a `tracestate`: what the standard asks everyone to carry.
pub const TRACE_STATE_BYTES_MAX: usize = 512;
/// How long the ways out of a service that has ended its work may take to end theirs.
pub const OUTBOUND_DRAIN: Duration = Duration::from_secs(2);
/// How long what tells others may take to hand over the last of it.
pub const LAST_WORDS: Duration = Duration::from_secs(3);
/// How long connections that are cut may take to notice.
pub const CUT_LIMIT: Duration = Duration::from_secs(2);
/// When to come back where nothing says when there will be room under a limit.
pub const QUOTA_AGAIN: Duration = Duration::from_secs(1);
/// How long a kept connection may take to be ready again: its task has only to see that the last answer has ended.
pub const READY_WAIT: Duration = Duration::from_millis(20);
/// A step back of the clock of less than this is the order of two threads, not of the clock.
pub const CLOCK_STEP_MS_MIN: i64 = 50;
/// A time to which the clock was set ahead must have stood for this long before anything is deleted by it: a day in which somebody may see
/// that it is wrong.
pub const CLOCK_SETTLES: Duration = Duration::from_secs(24 * 3600);
/// Where times run on this far ahead of the system's clock, the operator is told the way out.
pub const CLOCK_HELD_LONG: Duration = Duration::from_secs(60);
/// A difference to the clock that only runs on of more than this is no slewing.
pub const CLOCK_STEP_MIN: Duration = Duration::from_millis(500);
/// What does not show in files (a lock, a full disk) is tried again after this time.
pub const STANDBY_RETRY: Duration = Duration::from_secs(5);
/// How long a new directory must have been left alone. Copying pauses for less.
pub const SETTLE: Duration = Duration::from_secs(2);
