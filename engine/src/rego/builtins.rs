//! Which built-in functions a policy may call: those that are pure, bounded, and the same on every host.
//!
//! The list says what is allowed, so a built-in that a later evaluator adds is refused until somebody has looked at it. Some
//! are allowed only in a form that can be seen to be bounded.

use serde_json::Value;

use super::ast::{integer, items, name_of, text, variant};
use super::limits::{RANGE_MAX, SHIFT_MAX};
use super::supply;

/// What is wrong with a call: what, and the way out.
pub(super) type Fault = (String, String);

/// Judges the call of a built-in.
pub(super) fn judge(name: &str, arguments: &[Value]) -> Result<(), Fault> {
    if let Some((_, wanted)) = supply::additions().find(|(added, _)| *added == name) {
        return if arguments.len() == wanted { Ok(()) } else { Err(counted(name, wanted, arguments.len())) };
    }
    if ALLOWED.binary_search(&name).is_err() {
        return Err(refused(name));
    }
    match name {
        "numbers.range" | "numbers.range_step" => range(name, arguments),
        "bits.lsh" => shift(arguments),
        // As a value the evaluator takes it for undefined, and a prohibition would never come about.
        "walk" if arguments.len() != 2 => {
            Err(("`walk` is not available as a value".to_owned(), "write `walk(x, [path, value])` as a statement of its own".to_owned()))
        }
        "time.clock" | "time.date" | "time.weekday" | "time.add_date" | "time.format" => instants(name, arguments.get(..1)),
        "time.diff" => instants(name, arguments.get(..2)),
        _ => Ok(()),
    }
}

/// Whether a rule or alias of this name would stand in for a family of built-ins, such as `time`.
pub(super) fn is_family(name: &str) -> bool {
    names().filter_map(|n| n.split_once('.')).any(|(family, _)| family == name)
}

/// Whether there is a built-in of this name.
pub(super) fn is_known(name: &str) -> bool {
    ALLOWED.binary_search(&name).is_ok() || supply::additions().any(|(added, _)| added == name)
}

/// The names a slip of the pen may have meant.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALLOWED.iter().copied().chain(supply::additions().map(|(name, _)| name))
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
        (_, "crypto") => {
            ("is not available", "use `crypto.sha256` or `crypto.hmac.sha256`; certificates and keys are verified before a policy is asked")
        }
        ("print" | "trace", _) => ("has no effect on the answer", "remove it; `portreeve decide --explain` shows what was missing"),
        ("graph.reachable_paths", _) => ("has no bound", "use `graph.reachable`"),
        ("regex.globs_match" | "strings.render_template", _) => ("is not available", "use `regex.match`, `glob.match` or `sprintf`"),
        ("json.match_schema" | "json.verify_schema", _) => {
            ("is not available", "name the fields the policy needs; `input` has a fixed shape")
        }
        ("json.marshal_with_options", _) => ("is not available", "use `json.marshal`"),
        (_, "yaml") => ("is not available", "use `json.unmarshal`, or write the data as a Rego document"),
        (_, "uuid") => ("is not available", "compare the text with `regex.match`"),
        ("test.sleep", _) => ("waits", "remove it"),
        (_, "rego" | "opa" | "providers" | "graphql") => ("is not available", "decide on the facts in `input`"),
        _ => return (format!("there is no function `{name}`"), String::new()),
    };
    (format!("`{name}` {why}"), help.to_owned())
}

/// Bounds that are written out are judged here; others when they are known.
fn range(name: &str, arguments: &[Value]) -> Result<(), Fault> {
    let fault = |why: &str| (format!("`{name}` {why}"), format!("a range has at most {RANGE_MAX} numbers, and its step is above zero"));
    let bounds: Option<Vec<i64>> = arguments.iter().take(if name == "numbers.range" { 2 } else { 3 }).map(integer).collect();
    match bounds.as_deref() {
        Some([from, to, step @ ..]) if step.iter().all(|s| *s > 0) => {
            let step = step.first().copied().unwrap_or(1);
            let within = from.checked_sub(*to).and_then(i64::checked_abs).is_some_and(|n| n / step <= RANGE_MAX);
            if within { Ok(()) } else { Err(fault("gives too many numbers")) }
        }
        Some(_) => Err(fault("needs a step above zero")),
        None => Ok(()),
    }
}

fn shift(arguments: &[Value]) -> Result<(), Fault> {
    match arguments.get(1).and_then(integer) {
        Some(bits) if (0..=SHIFT_MAX).contains(&bits) => Ok(()),
        _ => Err(("`bits.lsh` needs a visible bound".to_owned(), format!("write the number of bits as a number from 0 to {SHIFT_MAX}"))),
    }
}

/// The evaluator does not know the further argument of these functions into which Rego may put the result.
fn counted(name: &str, wanted: usize, found: usize) -> Fault {
    let help = if found == wanted + 1 {
        format!("write `x := {name}(…)`; the form with the result as a last argument is not available here")
    } else {
        format!("give it {wanted}")
    };
    (format!("`{name}` takes {wanted} argument{}, and there are {found}", if wanted == 1 { "" } else { "s" }), help)
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
    "json.patch",
    "json.remove",
    "json.unmarshal",
    "lower",
    "max",
    "min",
    "net.cidr_contains",
    "net.cidr_expand",
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
    "regex.find_all_string_submatch_n",
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
    "units.parse",
    "units.parse_bytes",
    "upper",
    "urlquery.decode",
    "urlquery.decode_object",
    "urlquery.encode",
    "urlquery.encode_object",
    "walk",
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
