//! Every way we know to change a log behind the enforcer's back, and what verification says of it.

use std::io::Write as _;

use portreeve_engine::chain::{Head, HeadSigner};
use portreeve_engine::record::{After, Deleted};
use portreeve_engine::{Digest, Record};

use crate::assessment::ChainVerdict;
use crate::heads::VerifiedHeads;
use crate::source::LogSource;
use crate::testing::{Log, lines, memory, rechain};
use crate::verify::{Verification, verify};

fn signer() -> HeadSigner {
    HeadSigner::from_seed(&[7; 32])
}

fn heads(heads: &[Head]) -> VerifiedHeads {
    let text: String = heads.iter().map(|h| serde_json::to_string(h).unwrap() + "\n").collect();
    VerifiedHeads::read(text.as_bytes(), &[signer().verifier()]).unwrap()
}

fn head(log: &Log) -> Head {
    signer().sign(&log.instance, log.chain.next_seq() - 1, log.chain.head(), log.at)
}

fn check(logs: &[&[u8]], signed: &VerifiedHeads) -> Verification {
    let logs: Vec<LogSource> = logs.iter().enumerate().map(|(i, bytes)| memory(&format!("log-{i}"), bytes)).collect();
    verify(&logs, signed, &mut |_| {}).unwrap()
}

fn none() -> VerifiedHeads {
    VerifiedHeads::default()
}

/// Ten allowed requests with their ends: 22 lines with `started` and `stopped`.
fn log() -> Log {
    let mut log = Log::start("items", "one", Digest::of(b"policy"));
    for n in 0..10 {
        log.allow("invoices", &format!("/v1/items/{n}"), "read-item", "invoices-read-items");
    }
    log.stop();
    log
}

#[test]
fn a_whole_log_is_self_consistent_and_never_more_without_a_head() {
    let log = log();
    let result = check(&[&log.out], &none());
    assert_eq!(result.verdict, ChainVerdict::SelfConsistent);
    assert_eq!((result.inputs[0].lines, result.inputs[0].open_ended), (22, false));
    assert!(result.render().contains("a log rewritten whole would look the same"));
    assert!(result.is_sound() && !result.render().contains("untampered"));
    let vouched = check(&[&log.out], &heads(&[head(&log)]));
    assert_eq!(vouched.verdict, ChainVerdict::Vouched);
    assert!(vouched.render().contains("a signed head vouches for every line"));
}

#[test]
fn changes_within_a_log_break_its_chain() {
    let whole = lines(&log().out);
    let changed = |f: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut lines = whole.clone();
        f(&mut lines);
        check(&[&lines.concat()], &none())
    };
    let cases: [(&str, Verification, u64, &str); 7] = [
        (
            "a changed byte",
            changed(&|l| l[5] = String::from_utf8(l[5].clone()).unwrap().replace("items/2", "items/9").into_bytes()),
            7,
            "`prev` of `seq` 6",
        ),
        ("a removed line", changed(&|l| drop(l.remove(5))), 6, "`seq` 6 follows 4"),
        ("two lines swapped", changed(&|l| l.swap(5, 6)), 6, "`seq` 6 follows 4"),
        ("a doubled line", changed(&|l| l.insert(6, l[5].clone())), 7, "doubled"),
        ("a line copied further down", changed(&|l| l.insert(12, l[5].clone())), 13, "doubled"),
        ("the first line removed", changed(&|l| drop(l.remove(0))), 1, "does not begin with `started`"),
        ("a line after the end", changed(&|l| l.push(l[3].clone())), 23, "doubled"),
    ];
    for (name, result, line, why) in cases {
        assert_eq!(result.verdict, ChainVerdict::Broken, "{name}");
        assert!(!result.is_sound(), "{name}");
        let fault = &result.inputs[0].faults[0];
        assert_eq!(fault.line, line, "{name}: {fault:?}");
        assert!(fault.why.contains(why), "{name}: {fault:?}");
    }
}

#[test]
fn a_doubled_line_is_counted_once() {
    let mut whole = lines(&log().out);
    whole.insert(6, whole[5].clone());
    let result = check(&[&whole.concat()], &none());
    assert_eq!((result.inputs[0].duplicates, result.chains[0].lines, result.inputs[0].faults.len()), (1, 22, 1));
}

#[test]
fn the_same_file_twice_is_all_duplicates_and_nothing_is_broken() {
    let log = log();
    let packed = zstd::encode_all(&*log.out, 1).unwrap();
    for second in [&log.out, &packed] {
        let result = check(&[&log.out, second], &none());
        assert_eq!(result.verdict, ChainVerdict::SelfConsistent);
        assert_eq!((result.inputs[0].duplicates, result.inputs[1].duplicates, result.chains[0].lines), (0, 22, 22));
    }
}

#[test]
fn two_versions_of_one_log_contradict_each_other() {
    let log = log();
    let mut forged = lines(&log.out);
    forged[5] = String::from_utf8(forged[5].clone()).unwrap().replace("items/2", "items/9").into_bytes();
    let result = check(&[&log.out, &rechain(&forged)], &none());
    assert_eq!(result.verdict, ChainVerdict::Broken);
    assert!(result.inputs[1].faults[0].why.contains("two versions"), "{:?}", result.inputs[1]);
    assert!(result.inputs[1].rejected > 0);
}

#[test]
fn a_tail_cut_off_shows_only_with_a_later_head() {
    let log = log();
    let all = lines(&log.out);
    let at_line_end = all[..15].concat();
    let mid_line = &log.out[..at_line_end.len() + 40];
    for (bytes, rejected) in [(&*at_line_end, 0), (mid_line, 1)] {
        let alone = check(&[bytes], &none());
        assert_eq!(alone.verdict, ChainVerdict::SelfConsistent);
        assert_eq!((alone.inputs[0].rejected, alone.inputs[0].open_ended, alone.chains[0].open_ended_after), (rejected, true, Some(14)));
        assert!(alone.render().contains("open-ended after `seq` 14"));
        let known = check(&[bytes], &heads(&[head(&log)]));
        assert_eq!(known.verdict, ChainVerdict::Broken);
        assert!(known.inputs[0].faults[0].why.contains("its end was cut off"));
    }
    let torn = check(&[mid_line], &none());
    assert!(torn.inputs[0].rejected_examples[0].why.contains("torn"));
}

#[test]
fn a_log_rewritten_whole_shows_only_against_a_head() {
    let log = log();
    let mut forged = lines(&log.out);
    forged.drain(5..7);
    let forged = rechain(&forged);
    assert_eq!(check(&[&forged], &none()).verdict, ChainVerdict::SelfConsistent);
    let mut early = Log::start("items", "one", Digest::of(b"policy"));
    for n in 0..4 {
        early.allow("invoices", &format!("/v1/items/{n}"), "read-item", "invoices-read-items");
    }
    let result = check(&[&forged], &heads(&[head(&early)]));
    assert_eq!(result.verdict, ChainVerdict::Broken);
    assert!(result.inputs[0].faults[0].why.contains("rewritten after it was signed"), "{result:?}");
    let honest = check(&[&log.out], &heads(&[head(&early)]));
    assert_eq!((honest.verdict, honest.chains[0].vouched_through), (ChainVerdict::Vouched, Some(8)));
    assert!(honest.render().contains("up to `seq` 8, nothing for those after it"));
}

/// As a container runtime keeps it, with what the process said on stderr in between.
fn kept(log: &[u8], form: &str) -> Vec<u8> {
    let at = "2026-11-22T10:00:00.123456789Z";
    let mut out = String::new();
    for (n, line) in String::from_utf8(log.to_vec()).unwrap().lines().enumerate() {
        let text = serde_json::json!(format!("{line}\n"));
        let (wrapped, beside) = match form {
            "kubelet" => (format!("{at} stdout F {line}"), format!("{at} stderr F portreeve: a message")),
            "docker" => (
                format!("{{\"log\":{text},\"stream\":\"stdout\",\"time\":\"{at}\"}}"),
                format!("{{\"log\":\"portreeve: a message\\n\",\"stream\":\"stderr\",\"time\":\"{at}\"}}"),
            ),
            _ => (format!("{at} {line}"), String::new()),
        };
        out.push_str(&wrapped);
        out.push('\n');
        if n % 10 == 5 && !beside.is_empty() {
            out.push_str(&beside);
            out.push('\n');
        }
    }
    out.into_bytes()
}

#[test]
fn a_log_that_a_container_runtime_keeps_is_the_log() {
    let log = log();
    let signed = heads(&[head(&log)]);
    let want = check(&[&log.out], &signed);
    for form in ["kubelet", "docker", "kubectl"] {
        let bytes = kept(&log.out, form);
        let found = check(&[&bytes], &signed);
        assert_eq!((found.verdict, found.inputs[0].rejected), (ChainVerdict::Vouched, 0), "{form}: {}", found.render());
        assert_eq!(found.chains, want.chains, "{form}");
        assert_eq!(found.inputs[0].lines, if form == "kubectl" { 22 } else { 24 }, "{form}");
        // A record that is gone is missed, whatever stands in its place.
        let told = String::from_utf8(bytes).unwrap();
        let gone: Vec<&str> = told.lines().collect();
        let marked = "2026-11-22T10:00:00Z stderr F portreeve: nothing to see here";
        let altered: String =
            gone.iter().enumerate().map(|(n, l)| if n == 10 { format!("{marked}\n") } else { format!("{l}\n") }).collect();
        assert_eq!(check(&[altered.as_bytes()], &signed).verdict, ChainVerdict::Broken, "{form}");
    }
    // In a file of the enforcer's own such a line has no business.
    let beside = [b"2026-11-22T10:00:00Z stderr F portreeve: a message\n".as_slice(), &log.out].concat();
    assert_eq!(check(&[&beside], &signed).inputs[0].rejected, 0, "a runtime's log by its first line");
    let inside = [&log.out[..], b"2026-11-22T10:00:00Z stderr F portreeve: a message\n"].concat();
    assert_eq!(check(&[&inside], &signed).inputs[0].rejected, 1);
}

#[test]
fn heads_must_be_signed_by_the_key_and_speak_of_logs_that_are_there() {
    let log = log();
    let mut false_head = head(&log);
    false_head.seq -= 1;
    let line = serde_json::to_string(&false_head).unwrap();
    assert!(VerifiedHeads::read(line.as_bytes(), &[signer().verifier()]).unwrap_err().to_string().contains("signature"));
    assert!(VerifiedHeads::read(b"\n{}", &[signer().verifier()]).unwrap_err().to_string().starts_with("line 2"));
    let stranger = HeadSigner::from_seed(&[9; 32]).verifier();
    assert!(VerifiedHeads::read(line.as_bytes(), &[stranger.clone(), signer().verifier()]).is_err(), "of none of two keys");
    let honest = serde_json::to_string(&head(&log)).unwrap();
    assert!(VerifiedHeads::read(honest.as_bytes(), &[]).is_err(), "of no key");
    assert!(VerifiedHeads::read(honest.as_bytes(), std::slice::from_ref(&stranger)).is_err());
    assert!(VerifiedHeads::read(honest.as_bytes(), &[stranger, signer().verifier()]).is_ok(), "of one of two keys");
    let other = signer().sign("two", 5, Digest::ZERO, log.at);
    let result = check(&[&log.out], &heads(&[other]));
    assert_eq!(result.absent[0].instance, "two");
    assert!(!result.is_sound());
}

#[test]
fn rotated_files_link_in_any_order_and_a_missing_one_shows() {
    let mut log = Log::start("items", "one", Digest::of(b"policy"));
    let mut files = Vec::new();
    for _ in 0..3 {
        log.allow("invoices", "/v1/items/1", "read-item", "invoices-read-items");
        files.push(log.rotate());
    }
    log.stop();
    files.push(log.out.clone());
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let given: Vec<&[u8]> = order.iter().map(|i| &*files[*i]).collect();
        let result = check(&given, &none());
        assert_eq!((result.verdict, result.chains.len()), (ChainVerdict::SelfConsistent, 1), "{order:?}");
        assert!(result.inputs.iter().all(|i| !i.open_ended));
        let packed = check(&[&given.concat()], &none());
        assert_eq!(packed.verdict, ChainVerdict::SelfConsistent, "one stream, {order:?}");
    }
    for missing in 0..3 {
        let given: Vec<&[u8]> = (0..4).filter(|i| *i != missing).map(|i| &*files[i]).collect();
        let result = check(&given, &none());
        assert_eq!(result.verdict, ChainVerdict::Broken, "{missing}");
        assert!(result.render().contains("are missing: a file was removed or not given"), "{}", result.render());
    }
    let last_missing = check(&[&files[0], &files[1], &files[2]], &none());
    assert_eq!(last_missing.verdict, ChainVerdict::SelfConsistent);
    assert!(last_missing.inputs[2].open_ended && !last_missing.inputs[1].open_ended);
}

/// A file that the enforcer deleted after its time, as it says, is told from one that somebody took away.
#[test]
fn a_file_that_the_log_says_to_be_deleted_is_a_note_and_any_other_a_fault() {
    let mut log = Log::start("items", "one", Digest::of(b"policy"));
    let mut files = Vec::new();
    for _ in 0..3 {
        log.allow("invoices", "/v1/items/1", "read-item", "invoices-read-items");
        files.push(log.rotate());
    }
    let told = |n: usize, instance: &str| {
        let all = lines(&files[n]);
        let of = |line: &[u8]| Record::from_line(line.trim_ascii_end()).unwrap();
        let (first, last) = (of(&all[0]), of(all.last().unwrap()));
        Deleted {
            file: format!("decisions.{n}.ndjson"),
            instance: instance.to_owned(),
            first: first.seq,
            last: last.seq,
            head: Digest::of(all.last().unwrap().trim_ascii_end()),
            until: last.at,
        }
    };
    let with = |deleted: Vec<Deleted>| {
        let mut log = log.clone();
        log.deletes(deleted, 0);
        log.stop();
        log.out
    };
    // The first two are gone, and the log says so.
    let lawful = with(vec![told(0, "one"), told(1, "one")]);
    let result = check(&[&files[2], &lawful], &none());
    assert_eq!(result.verdict, ChainVerdict::SelfConsistent, "{}", result.render());
    assert!(result.is_sound() && result.render().contains("were deleted after their time, as the log itself says"), "{}", result.render());
    // It says so of one alone, of the lines of another process, of a file that ended otherwise, or not at all.
    let mut other = told(1, "one");
    other.head = Digest::of(b"another line");
    for said in [vec![told(0, "one")], vec![told(1, "one")], vec![told(0, "one"), told(1, "two")], vec![told(0, "one"), other], Vec::new()]
    {
        let result = check(&[&files[2], &with(said.clone())], &none());
        assert_eq!(result.verdict, ChainVerdict::Broken, "{said:?}");
    }
    // A file that nobody says to be deleted is missing although those before it are gone lawfully.
    let result = check(&[&with(vec![told(0, "one"), told(1, "one")])], &none());
    assert!(result.render().contains("are missing: a file was removed or not given"), "{}", result.render());
    // A whole process that is gone: a head of it is no sign of a log that was withheld.
    let end = told(1, "one");
    let after = After { instance: "one".to_owned(), seq: end.last, head: end.head };
    let mut second = Log::start_after("items", "two", log.revision, Some(after), log.mode);
    second.deletes(vec![told(0, "one"), told(1, "one")], 0);
    second.stop();
    let head = |seq| signer().sign("one", seq, end.head, second.at);
    let result = check(&[&second.out], &heads(&[head(end.last)]));
    assert!(result.is_sound() && result.render().contains("was deleted after its time"), "{}", result.render());
    assert_eq!(check(&[&second.out], &heads(&[head(end.last + 1)])).absent.len(), 1);
}

#[test]
fn a_rotated_file_that_was_changed_at_its_end_does_not_link() {
    let mut log = Log::start("items", "one", Digest::of(b"policy"));
    let of = log.allow("invoices", "/v1/items/1", "read-item", "invoices-read-items");
    assert_eq!(of, 1);
    let first = String::from_utf8(log.rotate()).unwrap().replace("\"bytes\":5", "\"bytes\":6");
    log.stop();
    let result = check(&[first.as_bytes(), &log.out], &none());
    assert!(result.inputs[1].faults[0].why.contains("which is in another file"), "{result:?}");
}

#[test]
fn processes_link_to_the_one_before() {
    let first = log();
    let second = Log::start_after("items", "two", first.revision, Some(first.after()), first.mode);
    let both = check(&[&second.out, &first.out], &none());
    assert_eq!((both.verdict, both.chains[0].notes.len()), (ChainVerdict::SelfConsistent, 0));
    let alone = check(&[&second.out], &none());
    assert!(alone.chains[0].notes[0].contains("was not given"));
    let cut = lines(&first.out)[..15].concat();
    assert!(check(&[&second.out, &cut], &none()).render().contains("its end was cut off"));
    let mut forged = lines(&first.out);
    forged[5] = String::from_utf8(forged[5].clone()).unwrap().replace("items/2", "items/9").into_bytes();
    assert!(check(&[&second.out, &rechain(&forged)], &none()).render().contains("one of the two was rewritten"));
}

#[test]
fn compressed_logs_say_the_same_and_damage_is_told() {
    let log = log();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&log.out).unwrap();
    let gzip = gzip.finish().unwrap();
    for packed in [gzip.clone(), zstd::encode_all(&*log.out, 1).unwrap()] {
        let result = check(&[&packed], &none());
        assert_eq!(result.inputs[0].sha256, Digest::of(&packed));
        assert_eq!(result.chains, check(&[&log.out], &none()).chains);
    }
    let damaged = check(&[&gzip[..gzip.len() - 30]], &none());
    assert!(damaged.inputs[0].rejected_examples[0].why.contains("damaged or ends early"), "{damaged:?}");
}

#[test]
fn odd_inputs_are_told_apart() {
    let empty = check(&[b""], &none());
    assert_eq!((empty.verdict, empty.inputs[0].lines), (ChainVerdict::Empty, 0));
    let foreign = check(&[b"{\"some\":\"json\"}\nplain text\n\n"], &none());
    assert_eq!((foreign.verdict, foreign.inputs[0].rejected), (ChainVerdict::Empty, 3));
    let mut long = log().out;
    let end = long.len();
    long.resize(end + 10_000_000, b'x');
    let long = check(&[&long], &none());
    assert_eq!((long.inputs[0].rejected, long.inputs[0].rejected_examples[0].line), (1, 23));
    assert!(matches!(verify(&[LogSource::named("/nonexistent/log")], &none(), &mut |_| {}), Err(crate::intake::ReadError::Open { .. })));
}
