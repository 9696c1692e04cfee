//! Lines that rotation cut in two: joined where the order of the files is known, told as cut where it is not, and no line lost either way.

#![cfg(test)]

use std::path::{Path, PathBuf};

use portreeve_auditor::assessment::{JoinedLine, Totals};
use portreeve_auditor::sample::{Draw, Sample};
use portreeve_auditor::{Assessment, Audit, LogSource};
use portreeve_engine::{Authorizer, Bundle, Digest, SourceFile};

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs").join(name)
}

fn audit(files: &[(&str, &[u8])]) -> Assessment {
    let bytes = std::fs::read(corpus("istio/policy.yaml")).unwrap();
    let bundle = Bundle::from_files("istio", vec![SourceFile { path: "policy.yaml".to_owned(), bytes }]).unwrap();
    let law: Authorizer = Authorizer::compile(&bundle).authorizer.unwrap();
    let logs = files.iter().map(|(name, bytes)| LogSource::Memory { name: (*name).to_owned(), bytes: bytes.to_vec() });
    let a = Audit::new(vec![("istio".to_owned(), law)]).logs(logs).run(&mut |_| {}).unwrap();
    for input in &a.inputs {
        let c = &input.coverage;
        assert_eq!(input.lines, c.decided + c.refused + c.lifecycle + c.duplicates + c.rejected, "{}: {c:?}", input.path);
    }
    let t = a.totals;
    assert_eq!(t.lines, t.decided + t.refused + t.lifecycle + t.duplicates + t.rejected, "{t:?}");
    assert_eq!(t.decided, a.edges.iter().map(|e| e.allowed + e.denied).sum::<u64>());
    a
}

/// The log without the lines that are broken on purpose, and how long its first ten lines are.
fn whole() -> (String, usize) {
    let text = std::fs::read_to_string(corpus("istio/access.json")).unwrap();
    let good: Vec<&str> = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()).collect();
    (good.join("\n") + "\n", good.iter().take(10).map(|line| line.len() + 1).sum())
}

/// What joining changes in the totals: one line more, which is the rest of another.
fn with_a_rest(totals: Totals) -> Totals {
    Totals { lines: totals.lines + 1, lifecycle: totals.lifecycle + 1, ..totals }
}

#[test]
fn a_line_cut_anywhere_is_joined() {
    let (text, ten) = whole();
    let want = audit(&[("log", text.as_bytes())]);
    let eleventh = text.get(ten..).unwrap().find('\n').unwrap();
    // At the very end of the line nothing is cut but the newline.
    for cut in (1..eleventh).step_by(13).chain([eleventh - 1]) {
        let (one, other) = text.as_bytes().split_at(ten + cut);
        let a = audit(&[("access.log", other), ("access.log.1", one)]);
        assert_eq!(a.totals, with_a_rest(want.totals), "{cut}");
        assert_eq!(a.edges, want.edges, "{cut}");
        assert_eq!(a.inputs[1].coverage.joined, Some(JoinedLine { line: 11, rest_input: 0, rest_line: 1 }), "{cut}");
        assert_eq!((a.totals.rejected, a.inputs[0].coverage.cut, a.inputs[1].coverage.cut), (0, 0, 0), "{cut}");
        assert_eq!(a.inputs[0].coverage.other[0].count, 1);
        assert!(!a.findings.iter().any(|f| f.check == "rejected_lines"));
    }
}

#[test]
fn names_or_times_say_what_goes_on_where() {
    let (text, ten) = whole();
    let want = with_a_rest(audit(&[("log", text.as_bytes())]).totals);
    let (one, other) = text.as_bytes().split_at(ten + 40);
    let packed = zstd::encode_all(one, 1).unwrap();
    for (first, bytes, next) in [
        ("l/access.log.2.zst", packed.as_slice(), "l/access.log.1"),
        ("access.log-20261121", one, "access.log-20261122"),
        ("access-2026-11-21.log", one, "access-2026-11-22.log"),
        ("access.log-20261121", one, "access.log"),
        ("part-0009.json", one, "part-0010.json"),
        // No order by name: by their times.
        ("pod-x", one, "pod-y"),
        ("b/log", one, "a/log"),
        // Names that go the other way round: the times are surer.
        ("log.1", one, "log.2"),
        ("log", one, "log.1"),
    ] {
        for swapped in [false, true] {
            let mut files = [(first, bytes), (next, other)];
            if swapped {
                files.reverse();
            }
            assert_eq!(audit(&files).totals, want, "{first} {next} {swapped}");
        }
    }
}

#[test]
fn three_files_and_their_two_cuts() {
    let (text, ten) = whole();
    let want = audit(&[("log", text.as_bytes())]);
    let (one, rest) = text.as_bytes().split_at(ten + 40);
    let (two, three) = rest.split_at(ten * 2 + 25);
    let a = audit(&[("log", three), ("log.1", two), ("log.2", one)]);
    assert_eq!(a.totals, with_a_rest(with_a_rest(want.totals)));
    let joined = |n: usize| a.inputs[n].coverage.joined.map(|j| j.rest_input);
    assert_eq!((joined(0), joined(1), joined(2)), (None, Some(0), Some(1)));
    // The file between them is missing: nothing is made up of the halves that are left.
    let a = audit(&[("log", three), ("log.2", one)]);
    assert_eq!((a.totals.rejected, a.inputs[0].coverage.cut, a.inputs[1].coverage.cut), (2, 1, 1));
    assert!(a.inputs.iter().all(|i| i.coverage.joined.is_none()));
}

#[test]
fn halves_that_do_not_belong_together_stay_cut() {
    let (text, ten) = whole();
    let (one, other) = text.as_bytes().split_at(ten + 40);
    let line_of = |n: usize| text.split_inclusive('\n').nth(n).unwrap();
    // The rest of another line: beside the first half it makes one, too.
    let far: usize = text.split_inclusive('\n').take(60).map(str::len).sum();
    let later = &text.as_bytes()[far + 40..];
    // The wrong half, which makes no line; and one that makes a line with two torn ones, so that nobody can say whose it is.
    let wrong = format!("{}{}", line_of(11).get(60..).unwrap(), text);
    for files in [
        vec![("log.1", one), ("log", wrong.as_bytes())],
        vec![("x", one), ("y", other), ("z", one)],
        // Names say that a file is missing between them, or times do.
        vec![("log.2", one), ("log", later)],
        vec![("x", one), ("y", later)],
    ] {
        let a = audit(&files);
        assert!(a.inputs.iter().all(|i| i.coverage.joined.is_none()), "{:?}", files.iter().map(|f| f.0).collect::<Vec<_>>());
        assert!(a.totals.rejected >= 2 && a.inputs.iter().map(|i| i.coverage.cut).sum::<u64>() >= 2);
    }
}

#[test]
fn a_joined_line_is_evidence_with_the_digest_of_both_halves() {
    let (text, _) = whole();
    let lines: Vec<&str> = text.lines().collect();
    let unlawful =
        lines.iter().position(|l| l.contains("bookinfo-details\"") && l.contains("/ratings/") && !l.contains("outbound|")).unwrap();
    let before: usize = lines.iter().take(unlawful).map(|l| l.len() + 1).sum();
    let (one, other) = text.as_bytes().split_at(before + 70);
    let a = audit(&[("log.1", one), ("log", other)]);
    let finding = a.findings.iter().find(|f| f.check == "unlawful_access").unwrap();
    let place = finding.evidence.iter().find(|e| e.input == 0 && e.line == unlawful as u64 + 1).unwrap();
    assert_eq!(place.sha256, Digest::of(lines[unlawful].as_bytes()));
}

/// No tree has a joined line as its leaf; a sample proves both halves, whether they were drawn or not.
#[test]
fn a_sample_proves_both_halves_of_a_joined_line() {
    let (text, ten) = whole();
    let line = text.lines().nth(10).unwrap();
    let (one, rest) = text.as_bytes().split_at(ten + 40);
    let (two, three) = rest.split_at(ten * 2 + 25);
    let memory = |name: &str, bytes: &[u8]| LogSource::Memory { name: name.to_owned(), bytes: bytes.to_vec() };
    for (size, digests_only) in [(0, false), (3, false), (1_000, false), (2, true)] {
        let packed = zstd::encode_all(two, 1).unwrap();
        let files = [("log", three), ("log.1.zst", &*packed), ("log.2", one)];
        let logs = files.map(|(name, bytes)| memory(name, bytes));
        let draw = Draw { size, seed: 7, digests_only };
        let sample = Sample::draw_of(&audit(&files), &logs, draw).unwrap();
        assert_eq!((sample.joined.len(), sample.joined[1].sha256), (2, Digest::of(line.as_bytes())));
        // The draw is the same as without.
        assert_eq!(sample.entries, Sample::draw(&logs, draw).unwrap().entries);
        let sound = |sample: &Sample, logs: &[LogSource]| Sample::read(&serde_json::to_vec(sample).unwrap()).unwrap().check(logs).unwrap();
        let report = sound(&sample, &logs);
        assert!(report.is_sound() && report.redrawn && report.joined == 2, "{:?}", report.faults);
        type Change = fn(&mut Sample);
        let changes: [(&str, Change); 6] = [
            ("digest", |s| s.joined[0].sha256 = Digest::ZERO),
            ("order", |s| s.joined[0].halves.reverse()),
            ("another half", |s| s.joined[0].halves[1] = s.joined[1].halves[1].clone()),
            ("line", |s| s.joined[0].halves[0].line -= 1),
            ("proof", |s| s.joined[0].halves[0].proof[0] = Digest::ZERO),
            ("log", |s| s.joined[0].halves[1].log = 9),
        ];
        for (what, change) in changes {
            let mut changed = sample.clone();
            change(&mut changed);
            // Of halves without their texts nobody can say what they make together.
            let is_told = !digests_only || what != "digest";
            assert_eq!(sound(&changed, &[]).is_sound(), !is_told, "{what} {digests_only}");
        }
    }
}
