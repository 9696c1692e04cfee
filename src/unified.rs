//! Two texts as a unified diff, as `patch` reads it.

use std::fmt::Write as _;

/// The difference of two texts of one file; empty where there is none.
pub(crate) fn diff(name: &str, before: &str, after: &str) -> String {
    between(name, name, before, after)
}

/// The same, of a file that has two names: `/dev/null` is that of none.
pub(crate) fn between(old: &str, new: &str, before: &str, after: &str) -> String {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let edits = edits(&a, &b);
    let mut out = String::new();
    let mut at = 0;
    while let Some(first) = (at..edits.len()).find(|n| edits.get(*n).is_some_and(|e| e.sign != ' ')) {
        if out.is_empty() {
            let _ = write!(out, "--- {old}\n+++ {new}\n");
        }
        // A hunk ends where more lines are equal than two contexts take.
        let mut last = first;
        for (n, edit) in edits.iter().enumerate().skip(first) {
            if edit.sign != ' ' {
                last = n;
            } else if n - last > 2 * CONTEXT {
                break;
            }
        }
        let (from, to) = (first.saturating_sub(CONTEXT).max(at), (last + CONTEXT + 1).min(edits.len()));
        let hunk = edits.get(from..to).unwrap_or_default();
        let count = |sign| hunk.iter().filter(|e| e.sign != sign).count();
        let (lines_a, lines_b) = (count('+'), count('-'));
        let start = |line: usize, count: usize| if count == 0 { line } else { line + 1 };
        let (line_a, line_b) = hunk.first().map_or((0, 0), |e| (e.a, e.b));
        let _ = writeln!(out, "@@ -{},{lines_a} +{},{lines_b} @@", start(line_a, lines_a), start(line_b, lines_b));
        for edit in hunk {
            let _ = write!(out, "{}{}", edit.sign, edit.text);
            if !edit.text.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
        at = to;
    }
    out
}

/// One line of the result: kept, taken out or put in; with how many lines of each text stand before it.
struct Edit<'t> {
    sign: char,
    text: &'t str,
    a: usize,
    b: usize,
}

/// Lines that are equal at both ends are not compared; between them the longest common run of lines is kept (or, where the
/// table for it would be too large, nothing).
fn edits<'t>(a: &[&'t str], b: &[&'t str]) -> Vec<Edit<'t>> {
    let head = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let rest = a.len().min(b.len()) - head;
    let tail = a.iter().rev().zip(b.iter().rev()).take(rest).take_while(|(x, y)| x == y).count();
    let (ma, mb) = (a.get(head..a.len() - tail).unwrap_or_default(), b.get(head..b.len() - tail).unwrap_or_default());
    let width = mb.len() + 1;
    let mut longest = vec![0_u32; if (ma.len() + 1).saturating_mul(width) <= CELLS_MAX { (ma.len() + 1) * width } else { 0 }];
    let cell = |table: &[u32], i: usize, j: usize| table.get(i * width + j).copied().unwrap_or(0);
    if !longest.is_empty() {
        for i in (0..ma.len()).rev() {
            for j in (0..mb.len()).rev() {
                let best = if ma.get(i) == mb.get(j) {
                    cell(&longest, i + 1, j + 1) + 1
                } else {
                    cell(&longest, i + 1, j).max(cell(&longest, i, j + 1))
                };
                if let Some(place) = longest.get_mut(i * width + j) {
                    *place = best;
                }
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut signs: Vec<char> = vec![' '; head];
    while i < ma.len() || j < mb.len() {
        let kept = !longest.is_empty() && i < ma.len() && j < mb.len() && ma.get(i) == mb.get(j);
        if kept {
            (i, j) = (i + 1, j + 1);
            signs.push(' ');
        } else if i < ma.len() && (j >= mb.len() || cell(&longest, i + 1, j) >= cell(&longest, i, j + 1)) {
            i += 1;
            signs.push('-');
        } else {
            j += 1;
            signs.push('+');
        }
    }
    signs.extend(std::iter::repeat_n(' ', tail));
    let (mut na, mut nb) = (0, 0);
    let edit = |sign| {
        let text = if sign == '+' { b.get(nb) } else { a.get(na) };
        let edit = Edit { sign, text: text.copied().unwrap_or_default(), a: na, b: nb };
        na += usize::from(sign != '+');
        nb += usize::from(sign != '-');
        edit
    };
    signs.into_iter().map(edit).collect()
}

/// Equal lines around a change.
const CONTEXT: usize = 3;
/// The most cells of the table of common lines.
const CELLS_MAX: usize = 16_000_000;
