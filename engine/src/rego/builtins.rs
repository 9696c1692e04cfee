//! Which built-in functions a policy may call: those that are pure, bounded, and the same on every host.
//!
//! The list says what is allowed, so a built-in that a later evaluator adds is refused until somebody has looked at it. Some
//! are allowed only in a form that can be seen to be bounded.

use serde_json::Value;

use super::ast::{integer, items, name_of, text, variant};
use super::limits::{RANGE_MAX, SHIFT_MAX, WIDTH_MAX};

/// What is wrong with a call: what, and the way out.
pub(super) type Fault = (String, String);

/// Judges the call of a built-in.
pub(super) fn judge(name: &str, arguments: &[Value]) -> Result<(), Fault> {
    if !ALLOWED.contains(&name) {
        return Err(refused(name));
    }
    match name {
        "numbers.range" | "numbers.range_step" => range(name, arguments),
        "bits.lsh" => shift(arguments),
        "sprintf" => format(arguments),
        "time.clock" | "time.date" | "time.weekday" | "time.add_date" | "time.format" => instants(name, arguments.get(..1)),
        "time.diff" => instants(name, arguments.get(..2)),
        _ => Ok(()),
    }
}

/// Whether a rule or alias of this name would stand in for a family of built-ins, such as `time`.
pub(super) fn is_family(name: &str) -> bool {
    ALLOWED.iter().filter_map(|n| n.split_once('.')).any(|(family, _)| family == name)
}

/// The names a slip of the pen may have meant.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().copied()
}

fn refused(name: &str) -> Fault {
    let family = name.split_once('.').map_or(name, |(family, _)| family);
    let (why, help) = match (name, family) {
        ("time.now_ns", _) => ("reads a clock", "use `time.parse_rfc3339_ns(input.context.time)`, the recorded time of the request"),
        ("opa.runtime", _) => ("reads the host", "write the value into the policy"),
        ("rand.intn" | "uuid.rfc4122", _) => ("has another answer every time", "decide on the facts in `input`"),
        ("http.send", _) => ("asks the network", "bring the data into the bundle as a Rego document, such as `members := {…}`"),
        (_, "net") => ("asks the network or has no bound", "compare `input.context.source_ip` with `net.cidr_contains`"),
        (_, "io") => ("reads tokens, which policies do not see", "verified claims are in `input.context.jwt`"),
        (_, "crypto") => ("is not available", "certificates and tokens are verified before a policy is asked; its facts are in `input`"),
        ("print" | "trace", _) => ("has no effect on the answer", "remove it; `portreeve decide --explain` shows what was missing"),
        ("graph.reachable_paths", _) => ("has no bound", "use `graph.reachable`"),
        ("walk", _) => ("has no bound", "name the fields, or use `some k, v in …`"),
        (_, "units") => ("has no bound", "write the number out, or use `to_number`"),
        (_, "rego" | "opa" | "providers" | "graphql") => ("is not available", "decide on the facts in `input`"),
        _ => return (format!("there is no function `{name}`"), String::new()),
    };
    (format!("`{name}` {why}"), help.to_owned())
}

fn range(name: &str, arguments: &[Value]) -> Result<(), Fault> {
    let fault = |why: &str| {
        (format!("`{name}` {why}"), format!("write numbers with at most {RANGE_MAX} steps between them, so that the bound can be seen"))
    };
    let bounds: Option<Vec<i64>> = arguments.iter().take(if name == "numbers.range" { 2 } else { 3 }).map(integer).collect();
    match bounds.as_deref() {
        Some([from, to, step @ ..]) if step.iter().all(|s| *s > 0) => {
            let within = from.checked_sub(*to).and_then(i64::checked_abs).is_some_and(|n| n <= RANGE_MAX);
            if within { Ok(()) } else { Err(fault("gives too many numbers")) }
        }
        Some(_) => Err(fault("needs a step above zero")),
        None => Err(fault("has bounds that are computed")),
    }
}

fn shift(arguments: &[Value]) -> Result<(), Fault> {
    match arguments.get(1).and_then(integer) {
        Some(bits) if (0..=SHIFT_MAX).contains(&bits) => Ok(()),
        _ => Err(("`bits.lsh` needs a visible bound".to_owned(), format!("write the number of bits as a number from 0 to {SHIFT_MAX}"))),
    }
}

/// A format must be visible: a computed one can ask for any width.
fn format(arguments: &[Value]) -> Result<(), Fault> {
    let Some(format) = arguments.first().and_then(text) else {
        return Err(("the format of `sprintf` is computed".to_owned(), "write the format as a text".to_owned()));
    };
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            continue;
        }
        let mut width: u32 = 0;
        rest.next_if_eq(&'.');
        while let Some(digit) = rest.next_if(|c| c.is_numeric()) {
            let Some(digit) = digit.to_digit(10) else {
                return Err((format!("`{digit}` is not a digit in a format"), "use the digits 0 to 9".to_owned()));
            };
            width = width.saturating_mul(10).saturating_add(digit);
        }
        if width > WIDTH_MAX {
            return Err((format!("the width {width} is more than {WIDTH_MAX}"), "use a smaller width".to_owned()));
        }
        // The verb; `%%` above all.
        rest.next();
    }
    Ok(())
}

/// `Local` as a time zone would make the answer depend on the host, so a zone must be visible.
fn instants(name: &str, arguments: Option<&[Value]>) -> Result<(), Fault> {
    for argument in arguments.unwrap_or_default() {
        let visible = match (items(argument), variant(argument)) {
            (Some(parts), _) => parts.iter().skip(1).all(|p| text(p).is_some_and(|zone| zone != "Local")),
            (None, Some(("Number" | "ArithExpr" | "UnaryExpr", _))) => true,
            (None, Some(("Call", call))) => call.get("fcn").and_then(name_of).is_some_and(|name| INSTANTS.contains(&name.as_str())),
            _ => false,
        };
        if !visible {
            return Err((
                format!("`{name}` needs a visible time zone other than `Local`"),
                format!("write `{name}([ns, \"UTC\"])`, or another zone of the IANA list"),
            ));
        }
    }
    Ok(())
}

/// Built-ins that give an instant without a zone.
const INSTANTS: &[&str] = &["time.add_date", "time.parse_ns", "time.parse_rfc3339_ns"];

/// The allow-list, in alphabetical order.
const ALLOWED: &[&str] = &[
    "abs",
    "array.concat",
    "array.reverse",
    "array.slice",
    "base64.decode",
    "base64.encode",
    "base64.is_valid",
    "base64url.decode",
    "base64url.encode",
    "base64url.encode_no_pad",
    "bits.and",
    "bits.lsh",
    "bits.negate",
    "bits.or",
    "bits.rsh",
    "bits.xor",
    "ceil",
    "concat",
    "contains",
    "count",
    "endswith",
    "floor",
    "format_int",
    "glob.match",
    "glob.quote_meta",
    "graph.reachable",
    "hex.decode",
    "hex.encode",
    "indexof",
    "indexof_n",
    "intersection",
    "is_array",
    "is_boolean",
    "is_null",
    "is_number",
    "is_object",
    "is_set",
    "is_string",
    "json.filter",
    "json.is_valid",
    "json.marshal",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_is_valid",
    "numbers.range",
    "numbers.range_step",
    "object.filter",
    "object.get",
    "object.keys",
    "object.remove",
    "object.subset",
    "object.union",
    "object.union_n",
    "product",
    "regex.find_n",
    "regex.is_valid",
    "regex.match",
    "regex.replace",
    "regex.split",
    "regex.template_match",
    "replace",
    "round",
    "semver.compare",
    "semver.is_valid",
    "sort",
    "split",
    "sprintf",
    "startswith",
    "strings.any_prefix_match",
    "strings.any_suffix_match",
    "strings.count",
    "strings.replace_n",
    "strings.reverse",
    "substring",
    "sum",
    "time.add_date",
    "time.clock",
    "time.date",
    "time.diff",
    "time.format",
    "time.parse_duration_ns",
    "time.parse_ns",
    "time.parse_rfc3339_ns",
    "time.weekday",
    "to_number",
    "trim",
    "trim_left",
    "trim_prefix",
    "trim_right",
    "trim_space",
    "trim_suffix",
    "type_name",
    "union",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_the_evaluator_has_every_function_of_it() {
        assert!(ALLOWED.is_sorted());
        for name in ALLOWED {
            let mut engine = regorus::Engine::new();
            let text = format!("package p\nx := {name}(1)\ny := {name}(1, 1)\nz := {name}(1, 1, 1)\n");
            engine.add_policy("a.rego".to_owned(), text).unwrap();
            for rule in ["x", "y", "z"] {
                if let Err(error) = engine.eval_rule(format!("data.p.{rule}")) {
                    assert!(!error.to_string().contains("could not find function"), "{name}");
                }
            }
        }
    }
}
