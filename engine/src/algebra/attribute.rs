//! Classes of values of one header, query parameter or claim: two values of one class are read alike by both bundles.
//!
//! A bundle reads a value in the type that its inventory gives the name: as one of the values that its conditions name, as
//! another one, or not at all (the request is then malformed). Two bundles may give a name two types, so a class is what *both*
//! make of a value. Each class is kept as one value as a caller could send it.
//!
//! Lists would have a class for each set of named members. Where both bundles read a list, or only one of them reads the name,
//! each member is a question of its own instead.

use std::collections::BTreeSet;

use crate::algebra::diagram::TooLarge;
use crate::limits::LIST_MEMBERS_MAX;
use crate::model::AttributeType;
use crate::request::AttributeValue;

/// Where an attribute stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Place {
    Header,
    Query,
    Claim,
}

/// The type that each bundle gives a name; `None` where it does not see it.
pub(crate) type Kinds = [Option<AttributeType>; 2];

/// The questions that tell an attribute's values apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Questions {
    /// Which of these is it like? `None` is its absence.
    Value(Vec<Option<AttributeValue>>),
    /// Does the list contain this one, and this one, …? Besides, is it a list at all? (The second of the shapes is not.)
    Members { names: Vec<Box<str>>, shapes: Vec<Option<AttributeValue>> },
}

/// What a bundle makes of a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Read {
    Unseen,
    Absent,
    Malformed,
    Named(usize),
    Other,
    Members(Vec<bool>),
}

impl Place {
    /// The value in its type, as the destination sees it.
    pub(crate) fn coerce(self, kind: AttributeType, value: &AttributeValue) -> Option<AttributeValue> {
        if self == Self::Claim { kind.coerce_claim(value).ok() } else { kind.coerce(value).ok() }
    }

    /// The questions about one attribute, given the values that conditions of either bundle name.
    pub(crate) fn questions(self, kinds: Kinds, named: &BTreeSet<AttributeValue>) -> Result<Questions, TooLarge> {
        let list = |kind: Option<AttributeType>| kind.is_none_or(|k| k == AttributeType::List);
        if kinds.into_iter().all(list) {
            let names = named.iter().filter_map(text).filter(|name| self.can_be_member(name)).map(Into::into).collect();
            let shapes = if kinds.contains(&None) { vec![None, Some(AttributeValue::Integer(0))] } else { vec![None] };
            return Ok(Questions::Members { names, shapes });
        }
        let mut classes: Vec<(Vec<Read>, Option<AttributeValue>)> = Vec::new();
        for candidate in std::iter::once(None).chain(self.candidates(kinds, named)?.into_iter().map(Some)) {
            let read: Vec<Read> = kinds.iter().map(|kind| self.read(*kind, named, candidate.as_ref())).collect();
            // Nobody lets it pass.
            if read.iter().all(|r| *r == Read::Malformed) || classes.iter().any(|(known, _)| *known == read) {
                continue;
            }
            classes.push((read, candidate));
        }
        Ok(Questions::Value(classes.into_iter().map(|(_, value)| value).collect()))
    }

    /// Whether a list can contain this text: members of headers and parameters are split at their commas.
    fn can_be_member(self, text: &str) -> bool {
        let sent = AttributeValue::List(vec![text.into()]);
        self.coerce(AttributeType::List, &sent) == Some(sent)
    }

    fn read(self, kind: Option<AttributeType>, named: &BTreeSet<AttributeValue>, value: Option<&AttributeValue>) -> Read {
        let Some(kind) = kind else { return Read::Unseen };
        let Some(value) = value else { return Read::Absent };
        match self.coerce(kind, value) {
            None => Read::Malformed,
            Some(AttributeValue::List(list)) => {
                Read::Members(named.iter().map(|n| text(n).is_some_and(|n| list.iter().any(|m| **m == *n))).collect())
            }
            Some(value) => named.iter().position(|n| *n == value).map_or(Read::Other, Read::Named),
        }
    }

    /// Values of every kind that some caller could send, so many that each class has one among them. Plain ones come first.
    fn candidates(self, kinds: Kinds, named: &BTreeSet<AttributeValue>) -> Result<Vec<AttributeValue>, TooLarge> {
        let mut out: Vec<AttributeValue> = named.iter().cloned().collect();
        let texts: Vec<&str> = named.iter().filter_map(text).collect();
        let mut numbers: BTreeSet<i64> =
            named.iter().filter_map(|v| if let AttributeValue::Integer(n) = v { Some(*n) } else { text(v)?.parse().ok() }).collect();
        let fresh_number = (0..).find(|n| !numbers.contains(n)).unwrap_or_default();
        let fresh_text =
            (0..).map(|n| if n == 0 { "other".to_owned() } else { format!("other{n}") }).find(|t| !texts.contains(&t.as_str()));
        out.extend(fresh_text.map(|t| AttributeValue::Text(t.into())));
        numbers.insert(fresh_number);
        for number in numbers {
            out.push(AttributeValue::Integer(number));
            // One number has many spellings: one more than there are named texts cannot all be named.
            let (sign, digits) = if number < 0 { ("-", number.unsigned_abs().to_string()) } else { ("", number.to_string()) };
            out.extend((0..=texts.len()).map(|zeros| AttributeValue::Text(format!("{sign}{}{digits}", "0".repeat(zeros)).into())));
        }
        for boolean in [true, false] {
            out.push(AttributeValue::Text(boolean.to_string().into()));
            out.push(AttributeValue::Boolean(boolean));
        }
        if kinds.contains(&Some(AttributeType::List)) {
            out.extend(self.lists(&texts)?);
        }
        // More than once, which only a list may be.
        out.push(AttributeValue::List(vec!["one".into(), "another".into()]));
        Ok(out)
    }

    /// A list with each set of the named members, as a list and, where it is split, as one text.
    fn lists(self, names: &[&str]) -> Result<Vec<AttributeValue>, TooLarge> {
        let names: Vec<&str> = names.iter().copied().filter(|n| self.can_be_member(n)).collect();
        if names.len() > LIST_MEMBERS_MAX {
            return Err(TooLarge);
        }
        let mut out = vec![AttributeValue::List(Vec::new()), AttributeValue::Text("".into())];
        for set in 1_u32..1 << names.len() {
            let members: Vec<&str> = names.iter().enumerate().filter(|(n, _)| set >> n & 1 == 1).map(|(_, name)| *name).collect();
            out.push(AttributeValue::List(members.iter().map(|m| (*m).into()).collect()));
            // Two spellings of one list, lest one of them be a text that a condition names.
            out.extend([",", ", ", " ,, "].map(|joint| AttributeValue::Text(format!("{}{joint}", members.join(joint)).into())));
            out.push(AttributeValue::Text(members.join(",").into()));
        }
        Ok(out)
    }
}

fn text(value: &AttributeValue) -> Option<&str> {
    if let AttributeValue::Text(text) = value { Some(text) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use AttributeType as K;
    use AttributeValue as V;

    fn t(text: &str) -> V {
        V::Text(text.into())
    }

    #[test]
    fn one_type_has_the_named_values_and_one_other() {
        let named = BTreeSet::from([t("eu"), t("us")]);
        let Questions::Value(values) = Place::Header.questions([Some(K::Text); 2], &named).unwrap() else { panic!() };
        assert_eq!(values, [None, Some(t("eu")), Some(t("us")), Some(t("other"))]);
        let named = BTreeSet::from([V::Integer(0), V::Integer(3)]);
        let Questions::Value(values) = Place::Query.questions([Some(K::Integer); 2], &named).unwrap() else { panic!() };
        assert_eq!(values, [None, Some(V::Integer(0)), Some(V::Integer(3)), Some(V::Integer(1))]);
    }

    #[test]
    fn members_are_asked_one_by_one() {
        let named = BTreeSet::from([t("admin"), t("x, y"), t("")]);
        let found = Place::Header.questions([Some(K::List); 2], &named).unwrap();
        assert_eq!(found, Questions::Members { names: vec!["admin".into()], shapes: vec![None] });
        // A claim is not split, so its members may be any text.
        let Questions::Members { names, .. } = Place::Claim.questions([Some(K::List); 2], &named).unwrap() else { panic!() };
        assert_eq!(names.len(), 3);
        let Questions::Members { shapes, .. } = Place::Query.questions([None, Some(K::List)], &named).unwrap() else { panic!() };
        assert_eq!(shapes.len(), 2);
    }

    /// Whatever is sent, some class is read alike by both bundles.
    #[test]
    fn two_types_have_a_class_for_every_value() {
        let kinds = [None, Some(K::Text), Some(K::Integer), Some(K::Boolean), Some(K::List)];
        let named = BTreeSet::from([t("3"), t("true"), t("a"), t("a,b"), t("b"), V::Integer(3), V::Integer(-1), V::Boolean(true)]);
        let texts = ["", "a", "b", "a,b", "b, a", "3", "03", "-1", "-01", "+3", "4", "true", "false", "other", "a,3", " 3", "3,b,true"];
        let mut sent: Vec<V> = texts.iter().map(|s| t(s)).collect();
        sent.extend([V::Integer(3), V::Integer(-1), V::Integer(7), V::Boolean(true), V::Boolean(false)]);
        sent.extend(
            [vec![], vec!["a"], vec!["a", "b"], vec!["3"], vec!["a,b"], vec!["z", "true"]]
                .map(|l| V::List(l.into_iter().map(Into::into).collect())),
        );
        for place in [Place::Header, Place::Claim] {
            for old in kinds {
                for new in kinds {
                    let Questions::Value(classes) = place.questions([old, new], &named).unwrap() else { continue };
                    for value in &sent {
                        let read = |v: Option<&V>| [old, new].map(|kind| place.read(kind, &named, v));
                        let want = read(Some(value));
                        let nobody = want.iter().all(|r| *r == Read::Malformed);
                        let fits = classes.iter().any(|c| read(c.as_ref()) == want);
                        assert!(fits || nobody, "{place:?} {old:?} {new:?} {value:?}: {want:?}");
                    }
                }
            }
        }
    }
}
