//! The mapping file: where the facts stand in a log of one's own, and what names and addresses mean that the inventory does not know.
//!
//! It is data with a fixed set of fields; a wrong one is told with its place and what was meant.
//!
//! INVARIANT: a mapping says where facts stand, never what they are; a fact that a line lacks stays absent.

use std::collections::BTreeSet;

use portreeve_engine::yaml::{Fields, Text, Value as Yaml, parse};
use portreeve_engine::{Diagnostic, Timestamp};

use super::Format;
use super::names::{Address, Names, parse_network};
use super::seen::{Grade, Reporter};
use super::text::TextFormat;
use crate::limits::{COLUMNS_MAX, MAPPING_BYTES_MAX};

/// What a mapping file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The format of the logs it is for.
    pub format: Format,
    /// How a line is cut, and where the facts stand; `None` where the format is one that needs no telling.
    pub lines: Option<Lines>,
    /// A format of Envoy's operators, for `envoy-text`.
    pub text: Option<TextFormat>,
    /// Names and addresses.
    pub names: Names,
}

/// How lines of one's own are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// How a line is cut into values.
    pub cut: Cut,
    /// Where each fact stands: a key or a column.
    pub fields: Vec<(MappedFact, String)>,
    /// The grade of callers, where the line names one.
    pub grade: Grade,
    /// Who writes the lines.
    pub side: Reporter,
    /// The called service of every line, where the line does not say it.
    pub callee: Option<String>,
    /// What the words of the result mean.
    pub results: Vec<(String, Meaning)>,
    /// Statuses that are the mesh's own denials.
    pub denied: BTreeSet<u16>,
    /// Statuses that may be its own or the application's.
    pub unknown: BTreeSet<u16>,
}

impl Lines {
    /// Whether the first line of a log names the columns.
    pub(super) fn needs_head(&self) -> bool {
        matches!(&self.cut, Cut::Csv { columns, .. } if columns.is_empty())
    }

    /// The same facts in rows with columns. A dot in the name of a column is one, where the mapping is of columns.
    pub(super) fn of_rows(&self) -> Self {
        let fields = match &self.cut {
            Cut::Json => self.fields.clone(),
            Cut::Csv { .. } | Cut::Words { .. } => self.fields.iter().map(|(fact, column)| (*fact, column.replace('.', r"\."))).collect(),
        };
        Self { cut: Cut::Json, fields, ..self.clone() }
    }
}

/// How a line is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// An object of JSON; a dot in a key leads into an object.
    Json,
    /// Values with a delimiter between, in quotes where they hold it.
    Csv {
        /// The delimiter.
        delimiter: char,
        /// The columns; those of the first line where none are named.
        columns: Vec<String>,
    },
    /// Values with spaces between.
    Words {
        /// The columns.
        columns: Vec<String>,
    },
}

/// A fact that a field can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(usize)]
#[expect(missing_docs, reason = "each is named as in the mapping file, and documented there")]
pub enum MappedFact {
    Time,
    Caller,
    CallerNamespace,
    CallerAccount,
    CallerAddress,
    Callee,
    CalleeAddress,
    Method,
    Path,
    Port,
    Status,
    Result,
    Policy,
    RequestId,
    TlsVersion,
    TlsSuite,
    CertificateSha256,
    CertificateSerial,
    CertificateEnd,
    CertificateIssuer,
    CertificateKey,
    Sequence,
    Lost,
    Note,
}

impl MappedFact {
    /// Every fact with its name in the file.
    pub const ALL: [(&'static str, Self); 24] = [
        ("time", Self::Time),
        ("caller", Self::Caller),
        ("caller_namespace", Self::CallerNamespace),
        ("caller_account", Self::CallerAccount),
        ("caller_address", Self::CallerAddress),
        ("callee", Self::Callee),
        ("callee_address", Self::CalleeAddress),
        ("method", Self::Method),
        ("path", Self::Path),
        ("port", Self::Port),
        ("status", Self::Status),
        ("result", Self::Result),
        ("policy", Self::Policy),
        ("request_id", Self::RequestId),
        ("tls_version", Self::TlsVersion),
        ("tls_suite", Self::TlsSuite),
        ("certificate_sha256", Self::CertificateSha256),
        ("certificate_serial", Self::CertificateSerial),
        ("certificate_end", Self::CertificateEnd),
        ("certificate_issuer", Self::CertificateIssuer),
        ("certificate_key", Self::CertificateKey),
        ("sequence", Self::Sequence),
        ("lost", Self::Lost),
        ("note", Self::Note),
    ];
}

/// What a word of the result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// It was let through.
    Allowed,
    /// It was denied.
    Denied,
    /// The line is no request.
    Ignored,
    /// The line says that records were lost.
    Lost,
}

impl Mapping {
    /// Reads a mapping file.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        if text.len() as u64 > MAPPING_BYTES_MAX {
            return Err(vec![Diagnostic::error("mapping-size", format!("`{file}` has more than {MAPPING_BYTES_MAX} bytes"))]);
        }
        let documents = parse(file, text).map_err(|e| vec![e])?;
        let mut out = Vec::new();
        let mapping = match documents.as_slice() {
            [document] => Fields::of(file, document, &mut out).and_then(|fields| mapping(fields, &mut out)),
            _ => {
                out.push(Diagnostic::error("mapping-shape", format!("`{file}` has {} documents; a mapping is one", documents.len())));
                None
            }
        };
        match mapping {
            Some(mapping) if out.is_empty() => Ok(mapping),
            _ => Err(out.into_iter().map(|d| d.with_source(text)).collect()),
        }
    }
}

fn mapping(mut fields: Fields<'_>, out: &mut Vec<Diagnostic>) -> Option<Mapping> {
    let (file, at) = (fields.file(), fields.location());
    let format = match fields.text("format", out) {
        None => Some(Format::Mapped),
        Some(text) => word(file, text, "format", &Format::ALL.map(|f| (f.as_str(), f)), out),
    };
    let text = fields.text("text", out).and_then(|text| match TextFormat::parse(text.text) {
        Ok(format) => Some(format),
        Err(error) => {
            out.push(Diagnostic::error("wrong-format", error.to_string()).at(text.location(file)));
            None
        }
    });
    let has_fields = fields.key("fields").is_some();
    let lines = lines(&mut fields, out);
    let names = Names { services: services(&mut fields, out), addresses: addresses(&mut fields, out) };
    fields.finish(out);
    let format = format?;
    if format.needs_mapping() && !has_fields {
        let message = format!("`{format}` is read by the places of its facts, and `fields` is missing");
        out.push(Diagnostic::error("missing-field", message).at(at.clone()).help("add `fields:` with at least `time`"));
    }
    if !format.needs_mapping() && has_fields {
        let message = format!("the places of the facts of `{format}` are known, and `fields` is given");
        out.push(Diagnostic::error("needless-field", message).at(at.clone()).help("take `fields` out, or say `format: mapped`"));
    }
    if text.is_some() && format != Format::EnvoyText {
        out.push(Diagnostic::error("needless-field", "`text` is a format of Envoy's text").at(at).help("say `format: envoy-text`"));
    }
    Some(Mapping { format, lines: lines.filter(|_| format.needs_mapping()), text, names })
}

fn lines(fields: &mut Fields<'_>, out: &mut Vec<Diagnostic>) -> Option<Lines> {
    let file = fields.file();
    let cut = cut(fields, out);
    let places = fields.take("fields").map(|node| places(file, node, out));
    let grade = fields.text("grade", out).and_then(|text| word(file, text, "grade", &Grade::ALL.map(|g| (g.as_str(), g)), out));
    let sides = [("inbound", Reporter::Inbound), ("outbound", Reporter::Outbound)];
    let side = fields.text("side", out).and_then(|text| word(file, text, "side", &sides, out));
    let callee = fields.text("callee", out).map(|t| t.text.to_owned());
    let results = results(fields, out);
    let (denied, unknown) = statuses(fields, out);
    let places = places?;
    Some(Lines {
        cut: cut?,
        fields: places,
        grade: grade.unwrap_or(Grade::D),
        side: side.unwrap_or_default(),
        callee,
        results,
        denied,
        unknown,
    })
}

fn cut(fields: &mut Fields<'_>, out: &mut Vec<Diagnostic>) -> Option<Cut> {
    let file = fields.file();
    let kind = fields.text("lines", out);
    let delimiter = fields.text("delimiter", out);
    let columns: Vec<String> = fields.texts("columns", out).into_iter().map(|t| t.text.to_owned()).collect();
    if columns.len() > COLUMNS_MAX {
        out.push(Diagnostic::error("mapping-size", format!("more than {COLUMNS_MAX} columns are named")).at(fields.location()));
    }
    let one = delimiter.map(|d| match (d.text, d.text.chars().next(), d.text.chars().count()) {
        ("tab" | "\\t", _, _) => Some('\t'),
        (_, Some(c), 1) if c.is_ascii() && c != '"' => Some(c),
        _ => None,
    });
    if let (Some(text), Some(None)) = (delimiter, one) {
        out.push(Diagnostic::error("invalid-value", "a delimiter is one ASCII character, or `tab`").at(text.location(file)));
    }
    let kinds = [("json", 0), ("csv", 1), ("words", 2)];
    let kind = kind.map_or(Some(0), |text| word(file, text, "lines", &kinds, out))?;
    Some(match kind {
        0 => Cut::Json,
        1 => Cut::Csv { delimiter: one.flatten().unwrap_or(','), columns },
        _ => {
            if columns.is_empty() {
                out.push(Diagnostic::error("missing-field", "lines of words have no head, and `columns` is missing").at(fields.location()));
            }
            Cut::Words { columns }
        }
    })
}

fn places(file: &str, node: &portreeve_engine::yaml::Node, out: &mut Vec<Diagnostic>) -> Vec<(MappedFact, String)> {
    let mut found = Vec::new();
    let Some(mut fields) = Fields::of(file, node, out) else { return found };
    for (name, fact) in MappedFact::ALL {
        found.extend(fields.texts(name, out).into_iter().map(|place| (fact, place.text.to_owned())));
    }
    let at = fields.location();
    fields.finish(out);
    if !found.iter().any(|(fact, _)| *fact == MappedFact::Time) {
        out.push(Diagnostic::error("missing-field", "`time` is missing, and a record without a time proves nothing").at(at));
    }
    found
}

fn results(fields: &mut Fields<'_>, out: &mut Vec<Diagnostic>) -> Vec<(String, Meaning)> {
    let file = fields.file();
    let Some(mut results) = fields.take("results").and_then(|node| Fields::of(file, node, out)) else { return Vec::new() };
    let mut found = Vec::new();
    for (name, meaning) in
        [("allowed", Meaning::Allowed), ("denied", Meaning::Denied), ("ignored", Meaning::Ignored), ("lost", Meaning::Lost)]
    {
        found.extend(results.texts(name, out).into_iter().map(|text| (text.text.to_owned(), meaning)));
    }
    results.finish(out);
    found
}

fn statuses(fields: &mut Fields<'_>, out: &mut Vec<Diagnostic>) -> (BTreeSet<u16>, BTreeSet<u16>) {
    let file = fields.file();
    let Some(mut statuses) = fields.take("statuses").and_then(|node| Fields::of(file, node, out)) else {
        return (BTreeSet::new(), BTreeSet::from([401, 403]));
    };
    let mut read = |name, out: &mut Vec<Diagnostic>| {
        let texts = statuses.texts(name, out);
        let number = |text: &Text<'_>, out: &mut Vec<Diagnostic>| {
            let number = text.text.parse().ok().filter(|n| (100..1000).contains(n));
            if number.is_none() {
                out.push(Diagnostic::error("invalid-value", format!("`{}` is no status", text.text)).at(text.location(file)));
            }
            number
        };
        texts.iter().filter_map(|text| number(text, out)).collect()
    };
    let (denied, unknown) = (read("denied", out), read("unknown", out));
    statuses.finish(out);
    (denied, unknown)
}

fn services(fields: &mut Fields<'_>, out: &mut Vec<Diagnostic>) -> std::collections::BTreeMap<String, String> {
    let file = fields.file();
    let Some(node) = fields.take("services") else { return Default::default() };
    let Yaml::Mapping(items) = &node.value else {
        out.push(Diagnostic::error("wrong-type", format!("expected a mapping, found {}", node.kind())).at(node.location(file)));
        return Default::default();
    };
    let pairs = items.iter().filter_map(|(name, service)| {
        let name = portreeve_engine::yaml::text(file, name, out)?;
        Some((name.text.to_owned(), portreeve_engine::yaml::text(file, service, out)?.text.to_owned()))
    });
    pairs.collect()
}

fn addresses(fields: &mut Fields<'_>, out: &mut Vec<Diagnostic>) -> Vec<Address> {
    let file = fields.file();
    let Some(node) = fields.take("addresses") else { return Vec::new() };
    let Yaml::Sequence(items) = &node.value else {
        out.push(Diagnostic::error("wrong-type", format!("expected a list, found {}", node.kind())).at(node.location(file)));
        return Vec::new();
    };
    items.iter().filter_map(|item| address(Fields::of(file, item, out)?, out)).collect()
}

fn address(mut fields: Fields<'_>, out: &mut Vec<Diagnostic>) -> Option<Address> {
    let file = fields.file();
    let network = fields.require_text("network", out);
    let service = fields.require_text("service", out);
    let from = fields.parse::<Timestamp>("from", out);
    let until = fields.parse::<Timestamp>("until", out);
    fields.finish(out);
    let (text, service) = (network?, service?);
    let Some((network, prefix)) = parse_network(text.text) else {
        let message = format!("`{}` is neither an address nor a network", text.text);
        out.push(Diagnostic::error("invalid-value", message).at(text.location(file)).help("write `10.0.0.7` or `10.0.0.0/24`"));
        return None;
    };
    Some(Address { network, prefix, service: service.text.to_owned(), from, until })
}

/// One of some words.
fn word<T: Copy>(file: &str, text: Text<'_>, field: &str, known: &[(&'static str, T)], out: &mut Vec<Diagnostic>) -> Option<T> {
    let found = known.iter().find(|(word, _)| *word == text.text).map(|(_, value)| *value);
    if found.is_none() {
        let message = format!("`{}` is not acceptable for `{field}`", text.text);
        // One letter is near to every other.
        let near = known.iter().map(|(word, _)| *word).filter(|word| word.len() > 1);
        let mut diagnostic = Diagnostic::error("invalid-value", message).at(text.location(file)).suggest(text.text, near);
        if diagnostic.help.is_none() {
            diagnostic = diagnostic.help(format!("one of: {}", known.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ")));
        }
        out.push(diagnostic);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_mappings_are_refused_with_their_place() {
        for (text, want) in [
            ("lines: jsn\nfields: {time: t}\n", "m.yaml:1:8"),
            ("lines: jsn\nfields: {time: t}\n", "did you mean `json`"),
            ("fields: {tme: t}\n", "did you mean `time`"),
            ("fields: {caller: c}\n", "`time` is missing"),
            ("format: istio-jso\n", "did you mean `istio-json`"),
            ("format: istio-json\nfields: {time: t}\n", "are known"),
            ("format: nginx-json\n", "`fields` is missing"),
            ("fields: {time: t}\ngrade: F\n", "one of: A, B, C, D, E"),
            ("fields: {time: t}\nstatuses: {denied: [403, x]}\n", "m.yaml:2:26"),
            ("fields: {time: t}\nlines: words\n", "`columns` is missing"),
            ("fields: {time: t}\nlines: csv\ndelimiter: ab\n", "one ASCII character"),
            ("fields: {time: t}\naddresses: [{network: 10.0.0.0/40, service: a}]\n", "neither an address nor a network"),
            ("fields: {time: t}\naddresses: [{network: 10.0.0.0/8}]\n", "`service` is missing"),
            ("fields: {time: t}\nresult: {allowed: x}\n", "did you mean `results`"),
            ("format: envoy-text\ntext: '%START_TIME'\n", "no end"),
            ("format: mapped\ntext: '%START_TIME%'\nfields: {time: t}\n", "say `format: envoy-text`"),
            ("a: [", "yaml-syntax"),
            ("", "0 documents"),
        ] {
            let rendered: String = Mapping::parse("m.yaml", text).unwrap_err().iter().map(Diagnostic::render).collect();
            assert!(rendered.contains(want), "{text}\n{rendered}");
        }
    }
}
