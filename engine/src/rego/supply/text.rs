//! Functions on texts that can hand out more than they were given, or as much, any number of times.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use regorus::Value;

use super::{Fault, Outcome, Supplied, argument, instead, integer_of, made, take_list, take_text, text_of, texts, weigh, wrong};

pub(super) const FUNCTIONS: &[Supplied] = &[
    instead("base64.encode", 1, |a| made(STANDARD.encode(encodable(a)?))),
    instead("base64url.encode", 1, |a| made(URL_SAFE.encode(encodable(a)?))),
    instead("base64url.encode_no_pad", 1, |a| made(URL_SAFE_NO_PAD.encode(encodable(a)?))),
    instead("concat", 2, concat),
    instead("hex.encode", 1, |a| made(hex(encodable(a)?.as_bytes()))),
    instead("json.marshal", 1, marshal),
    instead("json.unmarshal", 1, unmarshal),
    instead("lower", 1, |a| made(text_of(a, 0)?.to_lowercase())),
    instead("upper", 1, |a| made(text_of(a, 0)?.to_uppercase())),
    instead("replace", 3, |a| made(replaced(text_of(a, 0)?, text_of(a, 1)?, text_of(a, 2)?)?)),
    instead("strings.replace_n", 2, replace_n),
    instead("strings.reverse", 1, |a| made(text_of(a, 0)?.chars().rev().collect())),
    instead("semver.is_valid", 1, |a| Ok(Value::from(matches!(argument(a, 0)?, Value::String(text) if is_version(text))))),
    instead("split", 2, split),
    instead("substring", 3, substring),
];

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// A text short enough for an encoding that at most doubles it.
fn encodable(arguments: &[Value]) -> Result<&str, Fault> {
    let text = text_of(arguments, 0)?;
    take_text(text.len() * 2)?;
    Ok(text)
}

fn concat(arguments: &[Value]) -> Outcome {
    let between = text_of(arguments, 0)?;
    let parts = texts(arguments, 1)?;
    let all: usize = parts.iter().map(|p| p.len()).sum();
    take_text(all.saturating_add(between.len().saturating_mul(parts.len().saturating_sub(1))))?;
    Ok(Value::from(parts.join(between)))
}

fn replaced(text: &str, old: &str, new: &str) -> Result<String, Fault> {
    let times = if old.is_empty() { text.chars().count() + 1 } else { text.matches(old).count() };
    take_text((text.len() - times * old.len()).saturating_add(times.saturating_mul(new.len())))?;
    Ok(text.replace(old, new))
}

/// One pass over the text: at each place the first pattern that fits, in the order of the keys, is replaced.
fn replace_n(arguments: &[Value]) -> Outcome {
    let patterns = argument(arguments, 0)?;
    let Value::Object(patterns) = patterns else { return Err(wrong(0, "an object", patterns)) };
    let mut pairs = Vec::new();
    for (old, new) in patterns.iter() {
        let (Value::String(old), Value::String(new)) = (old, new) else {
            return Err(Fault("argument 1 must hold texts for texts and nothing else".to_owned()));
        };
        pairs.push((&**old, &**new));
    }
    pairs.sort_unstable();
    let mut rest = text_of(arguments, 1)?;
    let mut out = String::new();
    loop {
        let found = pairs.iter().find(|(old, _)| rest.starts_with(old));
        let skipped = match found {
            Some((old, new)) => {
                out.push_str(new);
                old.len()
            }
            None => 0,
        };
        rest = rest.get(skipped..).unwrap_or_default();
        // An empty pattern, like none at all, goes on by one character.
        if skipped == 0 {
            let Some(c) = rest.chars().next() else { break };
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
        if out.len() > super::TEXT_BYTES_MAX {
            break;
        }
    }
    made(out)
}

/// `1.2.3-pre.1+build`.
fn is_version(text: &str) -> bool {
    let words =
        |text: Option<&str>| text.is_none_or(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'));
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, early) = text.split_once('-').map_or((text, None), |(core, early)| (core, Some(early)));
    let numbers: Vec<_> = core.split('.').map(|n| n.bytes().all(|b| b.is_ascii_digit()) && n.parse::<i64>().is_ok()).collect();
    words(build) && words(early) && numbers == [true; 3]
}

fn split(arguments: &[Value]) -> Outcome {
    let (text, at) = (text_of(arguments, 0)?, text_of(arguments, 1)?);
    let parts: Vec<&str> = if at.is_empty() { text.split("").filter(|c| !c.is_empty()).collect() } else { text.split(at).collect() };
    take_list(parts.len().saturating_mul(3))?;
    super::take(text.len())?;
    Ok(Value::from(parts.into_iter().map(Value::from).collect::<Vec<_>>()))
}

fn substring(arguments: &[Value]) -> Outcome {
    let (text, offset, length) = (text_of(arguments, 0)?, integer_of(arguments, 1)?, integer_of(arguments, 2)?);
    let offset = usize::try_from(offset).map_err(|_| Fault("the offset must not be below zero".to_owned()))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    made(text.chars().skip(offset).take(length).collect())
}

fn marshal(arguments: &[Value]) -> Outcome {
    let value = argument(arguments, 0)?;
    super::take(weigh(value)?)?;
    made(serde_json::to_string(value).map_err(|_| Fault("the value cannot be written as JSON".to_owned()))?)
}

fn unmarshal(arguments: &[Value]) -> Outcome {
    let text = text_of(arguments, 0)?;
    take_list(text.len() / 2 + 1)?;
    Value::from_json_str(text).map_err(|_| Fault("the text is not JSON".to_owned()))
}
