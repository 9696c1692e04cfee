//! Lines of one's own, read as a mapping file says.

use std::borrow::Cow;

use super::envoy::ip;
use super::json::{Keys, Slots, Value};
use super::mapping::{Cut, Lines, MappedFact as Fact, Meaning};
use super::seen::{AddressOf, Callee, Caller, Did, Grade, Read, Seen, SeenTls};
use super::time::parse_time;
use crate::limits::COLUMNS_MAX;

/// Reads lines by a mapping.
#[derive(Clone, Debug)]
pub(super) struct Mapped {
    lines: Lines,
    cutter: Cutter,
}

#[derive(Clone, Debug)]
enum Cutter {
    Json(Keys),
    /// The slots of each column; `None` until the head was read.
    Columns {
        delimiter: Option<char>,
        slots: Option<Vec<Vec<usize>>>,
    },
}

impl Mapped {
    pub(super) fn new(lines: &Lines) -> Self {
        let cutter = match &lines.cut {
            Cut::Json => Cutter::Json(Keys::new(lines.fields.iter().map(|(fact, key)| (key.as_str(), *fact as usize)))),
            Cut::Csv { delimiter, columns } => {
                Cutter::Columns { delimiter: Some(*delimiter), slots: (!columns.is_empty()).then(|| slots(lines, columns)) }
            }
            Cut::Words { columns } => Cutter::Columns { delimiter: None, slots: Some(slots(lines, columns)) },
        };
        Self { lines: lines.clone(), cutter }
    }

    /// Whether lines are objects of JSON.
    pub(super) const fn is_json(&self) -> bool {
        matches!(self.cutter, Cutter::Json(_))
    }

    /// Whether what a line says rests on that line alone: the columns are known, where there are some.
    pub(super) const fn has_head(&self) -> bool {
        !matches!(self.cutter, Cutter::Columns { slots: None, .. })
    }

    /// Reads a line, and its sequence number, where lines have one.
    pub(super) fn read<'l>(&mut self, line: &'l [u8]) -> (Read<'l>, Option<i64>) {
        match self.facts(line) {
            Ok(facts) => {
                let sequence = facts.of(Fact::Sequence as usize).integer();
                (self.seen(facts), sequence)
            }
            Err(read) => (read, None),
        }
    }

    fn facts<'l>(&mut self, line: &'l [u8]) -> Result<Slots<'l>, Read<'l>> {
        match &mut self.cutter {
            Cutter::Json(keys) => keys.read(line).map_err(Read::Bad),
            Cutter::Columns { delimiter, slots: by_column } => {
                let text = std::str::from_utf8(line).map_err(|_| Read::Bad("it is not UTF-8".to_owned()))?;
                let text = text.strip_suffix('\r').unwrap_or(text);
                let values = match delimiter {
                    Some(delimiter) => csv(text, *delimiter).map_err(|why| Read::Bad(why.to_owned()))?,
                    None => text.split(' ').filter(|word| !word.is_empty()).map(Cow::Borrowed).collect(),
                };
                let Some(by_column) = by_column else {
                    let head = names(&values);
                    if let Some((_, missing)) = self.lines.fields.iter().find(|(_, column)| !head.contains(column)) {
                        return Err(Read::Bad(format!("the first line names no column `{missing}`")));
                    }
                    *by_column = Some(slots(&self.lines, &head));
                    return Err(Read::Other("heads of columns"));
                };
                facts(by_column, values).map_err(Read::Bad)
            }
        }
    }

    fn seen<'l>(&self, mut facts: Slots<'l>) -> Read<'l> {
        let result = facts.take(Fact::Result as usize);
        let note = facts.take(Fact::Note as usize);
        let meaning_of = |word: &str| self.lines.results.iter().find(|(known, _)| known == word).map(|(_, meaning)| *meaning);
        let meaning = note.as_deref().and_then(meaning_of).or_else(|| result.as_deref().and_then(meaning_of));
        let lost = facts.of(Fact::Lost as usize).integer().and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        match (meaning, lost) {
            (Some(Meaning::Lost), lost) => return Read::Lost(lost.unwrap_or(1)),
            (None, Some(lost)) => return Read::Lost(lost),
            (Some(Meaning::Ignored), _) => return Read::Other("lines that the mapping passes over"),
            _ => {}
        }
        let Some(at) = time(facts.of(Fact::Time as usize)) else {
            return Read::Bad("there is no time in it that could be read".to_owned());
        };
        let mut seen = Seen::at(at);
        seen.reporter = self.lines.side;
        seen.status = facts.of(Fact::Status as usize).integer().and_then(|n| u16::try_from(n).ok());
        seen.did = self.did(meaning, result.is_some(), seen.status, facts.take(Fact::Policy as usize));
        (seen.caller_ip, seen.caller_ip_of) = (facts.text(Fact::CallerAddress as usize).and_then(ip), AddressOf::Field("as mapped"));
        (seen.caller, seen.grade) = self.caller(&mut facts, seen.caller_ip.is_some());
        let name = facts.take(Fact::Callee as usize).or_else(|| self.lines.callee.clone().map(Cow::Owned));
        let is_id = name.as_deref().is_some_and(|name| name.starts_with("spiffe://"));
        let (id, name) = if is_id { (name, None) } else { (None, name) };
        let ip = facts.text(Fact::CalleeAddress as usize).and_then(ip);
        seen.callee = Callee { id, names: [name, None, None, None], ip, ..Callee::default() };
        seen.port = facts.of(Fact::Port as usize).integer().and_then(|n| u16::try_from(n).ok());
        seen.method = facts.take(Fact::Method as usize);
        seen.path = facts.take(Fact::Path as usize).map(super::path_of_url);
        seen.request_id = facts.take(Fact::RequestId as usize);
        seen.tls = facts.take(Fact::TlsVersion as usize).map(|version| SeenTls {
            version,
            suite: facts.take(Fact::TlsSuite as usize).unwrap_or(Cow::Borrowed("unknown")),
            peer_sha256: facts.take(Fact::CertificateSha256 as usize),
            peer_serial: facts.take(Fact::CertificateSerial as usize),
            peer_not_after: time(facts.of(Fact::CertificateEnd as usize)),
            peer_issuer: facts.take(Fact::CertificateIssuer as usize),
            peer_key: facts.take(Fact::CertificateKey as usize),
        });
        Read::Request(Box::new(seen))
    }

    fn did<'l>(&self, meaning: Option<Meaning>, has_result: bool, status: Option<u16>, policy: Option<Cow<'l, str>>) -> Did<'l> {
        match (meaning, status) {
            (Some(Meaning::Denied), _) => Did::Denied(policy),
            (Some(_), _) => Did::Allowed,
            // A word that the mapping does not explain explains nothing.
            (None, _) if has_result => Did::Unknown,
            (None, Some(status)) if self.lines.denied.contains(&status) => Did::Denied(policy),
            (None, Some(status)) if !self.lines.unknown.contains(&status) => Did::Allowed,
            (None, _) => Did::Unknown,
        }
    }

    fn caller<'l>(&self, facts: &mut Slots<'l>, has_address: bool) -> (Caller<'l>, Grade) {
        let (namespace, account) = (facts.take(Fact::CallerNamespace as usize), facts.take(Fact::CallerAccount as usize));
        let name = facts.take(Fact::Caller as usize);
        match (name, account) {
            (Some(name), None) if name.starts_with("spiffe://") => (Caller::Id(name), self.lines.grade),
            (name, Some(account)) => (Caller::Label { namespace, account: Some(account), names: [name, None] }, self.lines.grade),
            (Some(name), None) if namespace.is_some() => {
                (Caller::Label { namespace, account: None, names: [Some(name), None] }, self.lines.grade)
            }
            (Some(name), None) => (Caller::Name(name), self.lines.grade),
            (None, None) if has_address => (Caller::Unnamed, Grade::D),
            (None, None) => (Caller::Unnamed, Grade::E),
        }
    }
}

/// The same lines with the columns that this head names; `None` where it is none.
pub(super) fn columns(lines: &Lines, head: &[u8]) -> Option<Lines> {
    let Cut::Csv { delimiter, .. } = lines.cut else { return None };
    let text = std::str::from_utf8(head).ok()?;
    let columns = names(&csv(text.strip_suffix('\r').unwrap_or(text), delimiter).ok()?);
    Some(Lines { cut: Cut::Csv { delimiter, columns }, ..lines.clone() })
}

/// The names of columns in a head.
fn names(values: &[Cow<'_, str>]) -> Vec<String> {
    values.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()).collect()
}

/// The slots of each column.
fn slots(lines: &Lines, columns: &[String]) -> Vec<Vec<usize>> {
    let of = |column: &String| lines.fields.iter().filter(|(_, name)| name == column).map(|(fact, _)| *fact as usize).collect();
    columns.iter().take(COLUMNS_MAX).map(of).collect()
}

fn facts<'l>(by_column: &[Vec<usize>], values: Vec<Cow<'l, str>>) -> Result<Slots<'l>, String> {
    if values.len() != by_column.len() {
        return Err(format!("it has {} values, and there are {} columns", values.len(), by_column.len()));
    }
    let mut facts = Slots::default();
    for (slots, value) in by_column.iter().zip(values) {
        for slot in slots {
            facts.put(*slot, Value::Text(value.clone())).map_err(|_| "two columns say different things of one fact".to_owned())?;
        }
    }
    Ok(facts)
}

/// The values of a line of CSV (RFC 4180; a line is a record).
fn csv(line: &str, delimiter: char) -> Result<Vec<Cow<'_, str>>, &'static str> {
    let mut out = Vec::new();
    let mut rest = line;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let (value, after) = rest.split_once(delimiter).map_or((rest, None), |(value, after)| (value, Some(after)));
            out.push(Cow::Borrowed(value));
            match after {
                Some(after) if out.len() <= COLUMNS_MAX => rest = after,
                _ => return Ok(out),
            }
            continue;
        };
        let mut value = String::new();
        let mut tail = quoted;
        loop {
            let (before, after) = tail.split_once('"').ok_or("a quote does not end on the line")?;
            value.push_str(before);
            match after.strip_prefix('"') {
                Some(after) => {
                    value.push('"');
                    tail = after;
                }
                None => {
                    tail = after;
                    break;
                }
            }
        }
        out.push(Cow::Owned(value));
        if tail.is_empty() {
            return Ok(out);
        }
        rest = tail.strip_prefix(delimiter).ok_or("something stands between a quote and the delimiter")?;
        if out.len() > COLUMNS_MAX {
            return Err("it has too many values");
        }
    }
}

fn time(value: &Value<'_>) -> Option<portreeve_engine::Timestamp> {
    match value {
        Value::Text(text) => parse_time(text),
        Value::Integer(n) => parse_time(&n.to_string()),
        Value::Float(n) => parse_time(&format!("{n:.3}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_is_cut_as_written() {
        let cases: [(&str, Result<&[&str], &str>); 8] = [
            ("a,b,c", Ok(&["a", "b", "c"])),
            ("a,,", Ok(&["a", "", ""])),
            ("", Ok(&[""])),
            (r#""a,b","say ""hi""",c"#, Ok(&["a,b", r#"say "hi""#, "c"])),
            (r#""""#, Ok(&[""])),
            (r#""a"b,c"#, Err("between a quote")),
            (r#""a,b"#, Err("does not end")),
            (r#"a"b,c"#, Ok(&[r#"a"b"#, "c"])),
        ];
        for (line, want) in cases {
            match (csv(line, ','), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{line}"),
                (Err(got), Err(want)) => assert!(got.contains(want), "{line}: {got}"),
                (got, want) => panic!("{line}: {got:?}, {want:?}"),
            }
        }
    }
}
