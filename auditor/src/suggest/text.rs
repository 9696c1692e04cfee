//! From plans to YAML: services, operations and permissions, each with what was seen of it as a comment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portreeve_engine::SpiffeId;

use super::paths::{Seg, written};
use super::plan::{Plan, words};
use super::seer::{Ask, Key, Party, Sight, Sights, VALUES_KEPT_MAX};
use super::{Base, Draft, beside};
use crate::foreign::Grade;
use crate::limits::SUGGEST_KEYS_MAX;

/// All plans, with the names of what they speak of.
pub(super) struct Plans<'s> {
    pub(super) sights: &'s Sights,
    pub(super) plans: BTreeMap<&'s Party, Plan>,
    names: BTreeMap<&'s Party, String>,
    ids: BTreeMap<&'s Party, BTreeMap<Ask, String>>,
    /// Whether anything was allowed in working hours; where nothing was, nothing is conspicuous by it.
    has_day: bool,
}

pub(super) fn draft(sights: &Sights, base: Option<Base<'_>>) -> Draft {
    if let Some(base) = base {
        return beside::draft(sights, base);
    }
    let plans = Plans::of(sights, None, &BTreeMap::new());
    let mut out = plans.summed();
    let inventory = format!("{INVENTORY}{}", plans.services());
    let (permissions, _) = plans.permissions(&BTreeSet::new());
    if out.services > 0 {
        out.files.insert("inventory.yaml".to_owned(), inventory);
    }
    if out.permissions > 0 {
        out.files.insert("permissions.yaml".to_owned(), format!("{PERMISSIONS}{permissions}"));
    }
    out
}

impl<'s> Plans<'s> {
    pub(super) fn of(sights: &'s Sights, base: Option<Base<'_>>, without: &BTreeMap<Party, BTreeSet<Ask>>) -> Self {
        let mut by_callee: BTreeMap<&Party, Vec<(&Key, &Sight)>> = BTreeMap::new();
        for (key, sight) in &sights.sights {
            by_callee.entry(&key.to).or_default().push((key, sight));
        }
        let none = BTreeSet::new();
        let has_day = sights.sights.values().any(|s| s.after_hours < s.allowed);
        let plans = by_callee.iter().map(|(to, seen)| (*to, Plan::of(seen, without.get(to).unwrap_or(&none)))).collect();
        let mut out = Self { sights, plans, names: BTreeMap::new(), ids: BTreeMap::new(), has_day };
        out.names = out.names(base);
        let ids = |(to, plan): (&&'s Party, &Plan)| (*to, ids_of(plan, to, base));
        out.ids = out.plans.iter().map(ids).collect();
        out
    }

    /// Everyone of whom a draft speaks: who is granted something, and who offers it.
    fn parties(&self) -> BTreeSet<&'s Party> {
        let granted: BTreeSet<(&Party, &Party)> =
            self.plans.iter().flat_map(|(to, plan)| plan.grants.keys().map(move |(from, _)| (from, *to))).collect();
        let is_spoken_of = |party: &&Party| granted.iter().any(|(from, to)| from == party || to == party);
        let all = self.sights.sights.keys().flat_map(|key| [&key.from, &key.to]);
        all.collect::<BTreeSet<_>>().into_iter().filter(is_spoken_of).collect()
    }

    /// Names that are free: a service's own first, then those made of identities.
    fn names(&self, base: Option<Base<'_>>) -> BTreeMap<&'s Party, String> {
        let mut out = BTreeMap::new();
        let mut taken: BTreeSet<String> =
            base.into_iter().flat_map(|b| b.law.services().iter().map(|s| s.name.to_string())).chain(RESERVED.map(str::to_owned)).collect();
        for party in self.parties() {
            let wanted = match party {
                Party::Known(name) => {
                    out.insert(party, name.clone());
                    continue;
                }
                Party::Named(name) => name.clone(),
                Party::Id(id) => id.as_str().rsplit('/').next().unwrap_or_default().to_owned(),
            };
            out.insert(party, free(&name_of(&wanted, "service"), &mut taken));
        }
        out
    }

    fn name(&self, party: &Party) -> &str {
        self.names.get(party).map_or("", String::as_str)
    }

    fn identities(&self, party: &Party) -> Vec<&SpiffeId> {
        self.sights.holders.iter().filter(|(_, holder)| *holder == party).map(|(id, _)| id).collect()
    }

    /// Services that no bundle declares.
    pub(super) fn services(&self) -> String {
        let mut out = String::new();
        for party in self.parties().into_iter().filter(|p| !matches!(p, Party::Known(_))) {
            let identities = self.identities(party);
            if identities.iter().any(|id| self.sights.by_convention.contains(*id)) {
                out.push_str("---\n# caution: no line has this identity; it follows from namespace and service account\n");
            } else {
                out.push_str("---\n");
            }
            let identities: Vec<String> = identities.into_iter().map(|id| quoted(id.as_str())).collect();
            let _infallible = write!(out, "kind: Service\nname: {}\nidentities: [{}]\n", quoted(self.name(party)), identities.join(", "));
            let entries = self.entries(party);
            if !entries.is_empty() {
                out.push_str("operations:\n");
            }
            for (entry, comment) in entries {
                let _infallible = writeln!(out, "  - {entry}  # {comment}");
            }
        }
        out
    }

    /// The operations to declare of one service, each with a comment.
    pub(super) fn entries(&self, party: &Party) -> Vec<(String, String)> {
        let (Some(plan), Some(ids)) = (self.plans.get(party), self.ids.get(party)) else { return Vec::new() };
        let mut out = Vec::new();
        for (op, id) in ids {
            let what = match op {
                Ask::Declared(_) => continue,
                Ask::Http { method, path } => format!("method: {}, path: {}", quoted(method), quoted(&written(path))),
                Ask::Connect { port } => format!("port: {port}"),
            };
            let mut seen = Sight::default();
            plan.grants.iter().filter(|((_, o), _)| o == op).for_each(|(_, sight)| seen.join(sight));
            out.push((format!("{{id: {}, {what}}}", quoted(id)), confidence(op, &seen)));
        }
        out
    }

    /// A permission for each caller of each service, and their number.
    pub(super) fn permissions(&self, taken: &BTreeSet<String>) -> (String, usize) {
        let (mut out, mut taken, mut count) = (String::new(), taken.clone(), 0);
        for (to, plan) in &self.plans {
            let Some(ids) = self.ids.get(to) else { continue };
            let mut callers: BTreeMap<&Party, Vec<(&Ask, &Sight)>> = BTreeMap::new();
            for ((from, op), sight) in &plan.grants {
                callers.entry(from).or_default().push((op, sight));
            }
            for (from, granted) in callers {
                count += 1;
                let name = free(&name_of(&format!("{}-uses-{}", self.name(from), self.name(to)), "permission"), &mut taken);
                let (name, from, to) = (quoted(&name), quoted(self.name(from)), quoted(self.name(to)));
                let _infallible = write!(out, "---\nkind: Permission\nname: {name}\nallow:\n  from: [{from}]\n  to: {to}\n  operations:\n");
                for (op, sight) in granted {
                    let Some(id) = ids.get(op) else { continue };
                    for doubt in self.doubts(sight) {
                        let _infallible = writeln!(out, "    # caution: {doubt}");
                    }
                    let _infallible = writeln!(out, "    - {}  # {}", quoted(id), counted(sight));
                }
            }
        }
        (out, count)
    }

    fn doubts(&self, sight: &Sight) -> Vec<String> {
        doubts(sight, self.has_day)
    }

    /// The draft without its files.
    pub(super) fn summed(&self) -> Draft {
        let sights = self.sights;
        let grants = || self.plans.iter().flat_map(|(to, plan)| plan.grants.iter().map(move |((from, op), sight)| (*to, from, op, sight)));
        let mut cautions = Vec::new();
        for (to, plan) in &self.plans {
            for (from, op) in &plan.withdrawn {
                cautions.push(format!(
                    "{} was both allowed and denied {} of {}: a condition decides, or the path's values; nothing is granted",
                    called(from),
                    words(op),
                    called(to)
                ));
            }
        }
        for (to, from, op, sight) in grants() {
            let doubts = self.doubts(sight);
            if !doubts.is_empty() {
                cautions.push(format!("{} → {}, {}: {}", self.name(from), self.name(to), words(op), doubts.join("; ")));
            }
        }
        if sights.is_full {
            cautions.push(format!(
                "there were more than {SUGGEST_KEYS_MAX} distinct questions: denials beyond that are not held against the grants"
            ));
        }
        let pairs: BTreeSet<(&Party, &Party)> = grants().map(|(to, from, ..)| (to, from)).collect();
        let ungranted: u64 = sights.sights.values().map(|s| s.allowed).sum();
        let granted = grants().map(|(.., sight)| sight.allowed).sum();
        let mut left_out = sights.left_out.clone();
        let withdrawn = ungranted.saturating_sub(granted);
        if withdrawn > 0 {
            left_out.insert("requests whose like was denied to the same caller", withdrawn);
        }
        let denied: u64 = sights.sights.values().map(|s| s.denied).sum();
        if denied > 0 {
            left_out.insert("denied requests", denied);
        }
        let is_new = |party: &&Party| !matches!(party, Party::Known(_));
        Draft {
            files: BTreeMap::new(),
            cautions,
            left_out,
            granted,
            already: sights.already,
            services: self.parties().iter().filter(|p| is_new(p)).count(),
            operations: self.ids.values().flat_map(BTreeMap::keys).filter(|op| !matches!(op, Ask::Declared(_))).count(),
            permissions: pairs.len(),
            rejected: 0,
            rejected_examples: Vec::new(),
        }
    }
}

fn called(party: &Party) -> String {
    match party {
        Party::Known(name) | Party::Named(name) => format!("`{name}`"),
        Party::Id(id) => format!("`{id}`"),
    }
}

/// An id for each operation: the one that records gave it where they agree, else one made of method and words.
fn ids_of(plan: &Plan, to: &Party, base: Option<Base<'_>>) -> BTreeMap<Ask, String> {
    let mut recorded: BTreeMap<&Ask, BTreeSet<&String>> = BTreeMap::new();
    for ((_, op), sight) in &plan.grants {
        recorded.entry(op).or_default().extend(&sight.operations);
    }
    let known = base.zip(if let Party::Known(name) = to { Some(name) } else { None }).and_then(|(b, name)| b.law.service(name));
    let mut taken: BTreeSet<String> = known.into_iter().flat_map(|s| s.operations.iter().map(|o| o.id.to_string())).collect();
    let mut out = BTreeMap::new();
    for op in &plan.ops {
        if let Ask::Declared(id) = op {
            out.insert(op.clone(), id.clone());
            continue;
        }
        let given = recorded.get(op).filter(|names| names.len() == 1).and_then(|names| names.first());
        let wanted = given.map_or_else(|| made_of(op), |name| (*name).clone());
        out.insert(op.clone(), free(&name_of(&wanted, "operation"), &mut taken));
    }
    out
}

fn made_of(op: &Ask) -> String {
    let Ask::Http { method, path } = op else { return words(op).replace(' ', "-") };
    let is_open = path.last() == Some(&Seg::Word(String::new()));
    let words = path.iter().map(|s| if let Seg::Word(word) = s { word } else { "id" });
    let method = method.to_ascii_lowercase();
    let all = std::iter::once(&*method).chain(words).chain(is_open.then_some("slash"));
    all.filter(|w| !w.is_empty()).collect::<Vec<_>>().join("-")
}

/// A text as a name of the policy language.
fn name_of(text: &str, what: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '-' };
    let name: String = text.chars().map(plain).skip_while(|c| !c.is_ascii_alphanumeric()).take(NAME_CHARS_MAX).collect();
    if name.is_empty() { what.to_owned() } else { name }
}

/// The name, with a number where it is taken; it is taken then.
fn free(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut name = wanted.to_owned();
    let mut n = 1;
    while !taken.insert(name.clone()) {
        n += 1;
        name = format!("{wanted}-{n}");
    }
    name
}

/// How sure it is that a place in a path is a parameter, and from what.
fn confidence(op: &Ask, seen: &Sight) -> String {
    if seen.allowed == 0 {
        return "denied: declared so that a wider operation does not cover it".to_owned();
    }
    let has_place = matches!(op, Ask::Http { path, .. } if path.contains(&Seg::Value));
    if !has_place {
        return requests(seen.allowed);
    }
    let shapes: Vec<&str> = seen.shapes.iter().copied().collect();
    let is_sure = !shapes.is_empty() && shapes.iter().all(|s| matches!(*s, "number" | "uuid" | "date" | "hidden"));
    let many = match seen.values.len() {
        VALUES_KEPT_MAX.. => format!("{VALUES_KEPT_MAX} or more distinct values"),
        1 => "1 value".to_owned(),
        n => format!("{n} distinct values"),
    };
    let degree = match (is_sure, seen.values.len()) {
        (true, 2..) => "high",
        (true, _) | (false, 3..) => "medium",
        (false, _) => "low",
    };
    format!("{}; {many} ({}); confidence {degree}", requests(seen.allowed), shapes.join(", "))
}

fn requests(n: u64) -> String {
    if n == 1 { "1 request".to_owned() } else { format!("{n} requests") }
}

fn counted(sight: &Sight) -> String {
    let span = sight.span.map(|(first, last)| (first.date().to_string(), last.date().to_string()));
    match span {
        Some((first, last)) if first == last => format!("{}, {first}", requests(sight.allowed)),
        Some((first, last)) => format!("{}, {first} to {last}", requests(sight.allowed)),
        None => requests(sight.allowed),
    }
}

/// What makes a grant doubtful; `has_day` says whether anything was seen in working hours at all.
fn doubts(sight: &Sight, has_day: bool) -> Vec<String> {
    let mut out = Vec::new();
    match sight.allowed {
        1 => out.push("seen only once".to_owned()),
        n if n < RARE_MAX => out.push(format!("seen only {n} times")),
        _ => {}
    }
    if has_day && sight.after_hours == sight.allowed {
        out.push("seen only before six or after twenty o'clock (UTC)".to_owned());
    }
    if sight.errors * 2 > sight.allowed {
        out.push(format!("{} of {} came to an error", sight.errors, sight.allowed));
    }
    if let Some(grade) = sight.worst.filter(|g| !g.is_at_least(Grade::B)) {
        out.push(format!("grade {grade}: the caller is known by {}", grade.words()));
    }
    out
}

/// Text that YAML reads as itself, whatever stands in it.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b':'))
        && !text.ends_with(':');
    let is_word = matches!(&*text.to_ascii_lowercase(), "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n");
    if is_plain && !is_word {
        return text.to_owned();
    }
    serde_json::to_string(text).unwrap_or_default()
}

const INVENTORY: &str = "# Drafted from traffic by `portreeve suggest`: who exists and what each offers, as far as logs show it.\n\
# Zone, owner and classes of data are in no log: they are for you to say.\n";
const PERMISSIONS: &str = "# Drafted from traffic by `portreeve suggest`: who used what. What no permission allows is denied.\n\
# Why each grant is right is in no log: it is for you to say, or to take out.\n";
/// Names that the policy language keeps for itself.
const RESERVED: [&str; 3] = ["any-authenticated", "any-path", "strangers"];
/// Names may be 128 characters long; some are left for a number.
const NAME_CHARS_MAX: usize = 120;
/// A grant that fewer requests used than this may be an accident.
const RARE_MAX: u64 = 3;
