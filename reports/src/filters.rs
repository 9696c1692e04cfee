//! The template's filters: the only place of the crate that builds markup by hand.
//!
//! INVARIANT: whatever comes from an assessment passes through [`escape`] before it stands in markup.

#![expect(unreachable_pub, reason = "the filter attribute makes `pub` methods of private types")]

use std::borrow::Borrow;
use std::fmt::{Display, Write as _};

use askama::filters::Safe;
use askama::{Result, Values};
use portreeve_auditor::assessment::{ChainVerdict, Mark, Verdict, Weight};
use portreeve_engine::Timestamp;

use crate::limits::{AXIS_SHOWN_CHARS, NAME_SHOWN_CHARS, SENTENCES_SHOWN_CHARS, TEXT_SHOWN_CHARS, WORD_WHOLE_BYTES};
use crate::page::Goal;
use crate::text;

/// A figure with separators.
#[askama::filter_fn]
pub(crate) fn n(value: impl Borrow<u64>, _: &dyn Values) -> Result<String> {
    Ok(text::thousands(*value.borrow()))
}

/// A figure that names the field of the assessment it is, so that a machine can compare the two.
#[askama::filter_fn]
pub(crate) fn field(value: impl Borrow<u64>, _: &dyn Values, name: &str) -> Result<Safe<String>> {
    let value = *value.borrow();
    Ok(Safe(format!("<data data-field=\"{}\" value=\"{value}\">{}</data>", escape(name), text::thousands(value))))
}

/// A text that may be long: whole, in a box that scrolls.
#[askama::filter_fn]
pub(crate) fn t(value: impl AsRef<str>, _: &dyn Values) -> Result<Safe<String>> {
    let value = value.as_ref();
    Ok(Safe(boxed(value, escape(value))))
}

/// A sentence: what stands between backticks is set as code.
#[askama::filter_fn]
pub(crate) fn prose(value: impl AsRef<str>, _: &dyn Values) -> Result<Safe<String>> {
    let value = value.as_ref();
    Ok(Safe(boxed(value, with_code(value))))
}

/// Sentences that the auditor or a catalogue wrote, never a caller: whole and without a box, unless they are longer than any of ours.
#[askama::filter_fn]
pub(crate) fn said(value: impl AsRef<str>, _: &dyn Values) -> Result<Safe<String>> {
    let value = value.as_ref();
    let inner = with_code(value);
    Ok(Safe(if value.chars().nth(SENTENCES_SHOWN_CHARS).is_none() { broken(value, inner) } else { boxed(value, inner) }))
}

/// A sentence for a link or a heading, which can hold no box: cut where it is long.
#[askama::filter_fn]
pub(crate) fn line(value: impl AsRef<str>, _: &dyn Values) -> Result<Safe<String>> {
    Ok(Safe(with_code(&text::short(value.as_ref(), TEXT_SHOWN_CHARS))))
}

/// A name, path or digest.
#[askama::filter_fn]
pub(crate) fn code(value: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    let value = value.to_string();
    let inner = format!("<code>{}</code>", escape(&value).replace('/', "/<wbr>"));
    Ok(Safe(boxed(&value, inner)))
}

/// A name where there is room for a short one only.
#[askama::filter_fn]
pub(crate) fn short(value: impl Display, _: &dyn Values) -> Result<String> {
    Ok(text::short(&value.to_string(), NAME_SHOWN_CHARS).into_owned())
}

/// A name where there is room for a few letters only.
#[askama::filter_fn]
pub(crate) fn name(value: impl Display, _: &dyn Values) -> Result<String> {
    Ok(text::short(&value.to_string(), AXIS_SHOWN_CHARS).into_owned())
}

/// A digest cut for the eye; the whole one is in the tooltip and further down the page.
#[askama::filter_fn]
pub(crate) fn brief(value: impl Display, _: &dyn Values) -> Result<Safe<String>> {
    let whole = value.to_string();
    let (head, tail): (String, String) = (whole.chars().take(19).collect(), whole.chars().skip(67).collect());
    Ok(Safe(format!("<code class=\"brief\" title=\"{}\">{}…{}</code>", escape(&whole), escape(&head), escape(&tail))))
}

/// The attributes of a link to what stands in a list: to its row, or to the list, where the script brings it.
#[askama::filter_fn]
pub(crate) fn goal(value: impl Borrow<Goal>, _: &dyn Values) -> Result<Safe<String>> {
    let Goal { anchor, list, on_a_row } = value.borrow();
    let anchor = escape(anchor);
    Ok(Safe(if *on_a_row { format!("href=\"#{anchor}\"") } else { format!("href=\"#{list}\" data-go=\"{anchor}\"") }))
}

/// A point in time.
#[askama::filter_fn]
pub(crate) fn when(value: impl Borrow<Timestamp>, _: &dyn Values) -> Result<Safe<String>> {
    let value = *value.borrow();
    Ok(Safe(format!("<time datetime=\"{value}\">{}</time>", text::moment(value))))
}

/// A length of time.
#[askama::filter_fn]
pub(crate) fn span(value: impl Borrow<i64>, _: &dyn Values) -> Result<String> {
    Ok(text::span(*value.borrow()))
}

/// A verdict: sign, word and colour.
#[askama::filter_fn]
pub(crate) fn verdict(value: impl Borrow<Verdict>, _: &dyn Values) -> Result<Safe<String>> {
    let value = *value.borrow();
    let class = value.as_str();
    Ok(Safe(format!("<span class=\"v {class}\"><svg aria-hidden=\"true\"><use href=\"#v-{class}\"/></svg>{}</span>", verdict_word(value))))
}

/// A weight: word and colour.
#[askama::filter_fn]
pub(crate) fn weight(value: impl Borrow<Weight>, _: &dyn Values) -> Result<Safe<String>> {
    let value = *value.borrow();
    let word = weight_word(value);
    Ok(Safe(format!("<span class=\"sev {word}\">{word}</span>")))
}

/// What a chain shows: sign, word and colour.
#[askama::filter_fn]
pub(crate) fn chain(value: impl Borrow<ChainVerdict>, _: &dyn Values) -> Result<Safe<String>> {
    let value = *value.borrow();
    let (class, word) = match value {
        ChainVerdict::Vouched => ("met-technical", "vouched for"),
        ChainVerdict::SelfConsistent => ("suspect", "self-consistent"),
        ChainVerdict::Broken => ("not-met", "broken"),
        ChainVerdict::Empty => ("not-assessed", "empty"),
        ChainVerdict::Unchained => ("not-assessed", "without a chain"),
    };
    Ok(Safe(format!("<span class=\"v {class}\"><svg aria-hidden=\"true\"><use href=\"#v-{class}\"/></svg>{word}</span>")))
}

/// A mark of the access matrix: shape and word.
#[askama::filter_fn]
pub(crate) fn mark(value: impl Borrow<Mark>, _: &dyn Values) -> Result<Safe<String>> {
    let value = *value.borrow();
    Ok(Safe(format!(
        "<span class=\"mk\"><svg viewBox=\"0 0 20 20\" aria-hidden=\"true\"><use href=\"#m-{}\"/></svg>{}</span>",
        mark_class(value),
        mark_word(value)
    )))
}

/// The word for a verdict; never the assessor's.
pub(crate) const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::MetTechnical => "met, technically",
        Verdict::NotMet => "not met",
        Verdict::Suspect => "suspect",
        Verdict::NeedsHuman => "needs a person",
        Verdict::NotAssessed => "not assessed",
        Verdict::NotApplicable => "not applicable",
        Verdict::Waived => "waived",
    }
}

/// The word for a weight.
pub(crate) const fn weight_word(weight: Weight) -> &'static str {
    match weight {
        Weight::High => "high",
        Weight::Medium => "medium",
        Weight::Low => "low",
    }
}

/// The class and symbol of a mark.
pub(crate) const fn mark_class(mark: Mark) -> &'static str {
    match mark {
        Mark::Used => "used",
        Mark::UsedConditional => "used-conditional",
        Mark::Unused => "unused",
        Mark::Denied => "denied",
        Mark::Shadow => "shadow",
    }
}

/// The words for a mark.
pub(crate) const fn mark_word(mark: Mark) -> &'static str {
    match mark {
        Mark::Used => "granted and used",
        Mark::UsedConditional => "granted on a condition, used",
        Mark::Unused => "granted, never used",
        Mark::Denied => "denied only",
        Mark::Shadow => "allowed in the logs, granted by no policy",
    }
}

fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 16);
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

fn boxed(value: &str, inner: String) -> String {
    if value.chars().nth(TEXT_SHOWN_CHARS).is_none() {
        return broken(value, inner);
    }
    let length = text::thousands(value.chars().count() as u64);
    format!("<span class=\"long\" tabindex=\"0\" role=\"group\" aria-label=\"long text, {length} characters\">{inner}</span>")
}

/// Marks a text with a word that may have to be broken anywhere.
fn broken(value: &str, inner: String) -> String {
    let breaks = value.split_whitespace().all(|word| word.len() <= WORD_WHOLE_BYTES);
    if breaks { inner } else { format!("<span class=\"w\">{inner}</span>") }
}

fn with_code(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 32);
    let mut rest = value;
    while let Some((before, after)) = rest.split_once('`') {
        let Some((inside, further)) = after.split_once('`') else { break };
        let _infallible = write!(out, "{}<code>{}</code>", escape(before), escape(inside));
        rest = further;
    }
    out.push_str(&escape(rest));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_stands_between_pairs_of_backticks_and_nothing_else_is_markup() {
        for (given, expected) in [
            ("a `b` c", "a <code>b</code> c"),
            ("a `b c", "a `b c"),
            ("`<script>`", "<code>&lt;script&gt;</code>"),
            ("</code>`x` \"'&", "&lt;/code&gt;<code>x</code> &quot;&#39;&amp;"),
        ] {
            assert_eq!(with_code(given), expected);
        }
    }
}
