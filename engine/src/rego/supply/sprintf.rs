//! `sprintf`, as Go's `fmt` does it and so Open Policy Agent: a verb that does not fit its argument shows both, and is no error.

use regorus::Value;

use super::{Fault, Outcome, Supplied, argument, instead, made, take_text, text_of, weigh, wrong};

pub(super) const FUNCTIONS: &[Supplied] = &[instead("sprintf", 2, sprintf)];

/// An argument in the type that Go would see.
enum Given {
    /// A whole number: whether it is below zero, and its digits in base 2, 8, 10 and 16 when asked.
    Integer(Value),
    Float(f64),
    Text(String),
}

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
struct Flags {
    plus: bool,
    minus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

fn sprintf(arguments: &[Value]) -> Outcome {
    let format = text_of(arguments, 0)?;
    let list = argument(arguments, 1)?;
    let Value::Array(list) = list else { return Err(wrong(1, "an array", list)) };
    let mut out = String::new();
    let mut next = 0;
    let mut rest = format.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = rest.next_if(|c| "+-# 0".contains(*c)) {
            match flag {
                '+' => flags.plus = true,
                '-' => flags.minus = true,
                '#' => flags.sharp = true,
                '0' => flags.zero = true,
                _ => flags.space = true,
            }
        }
        flags.width = digits(&mut rest)?;
        if rest.next_if_eq(&'.').is_some() {
            flags.precision = Some(digits(&mut rest)?.unwrap_or(0));
        }
        let Some(verb) = rest.next() else {
            out.push_str("%!(NOVERB)");
            break;
        };
        if verb == '%' {
            out.push('%');
            continue;
        }
        match list.get(next) {
            None => out.push_str(&format!("%!{verb}(MISSING)")),
            Some(value) => out.push_str(&given(value)?.render(verb, flags)),
        }
        next += 1;
        take_text(out.len()).map(|()| super::give_back(out.len()))?;
    }
    if next < list.len() {
        let extra: Vec<String> =
            list.iter().skip(next).map(|v| given(v).map(|g| format!("{}={}", g.kind(), g.plain()))).collect::<Result<_, _>>()?;
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    made(out)
}

/// A width or precision, if one stands there.
fn digits(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Option<usize>, Fault> {
    let mut number = None;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        rest.next();
        let longer = number.unwrap_or(0_usize) * 10 + digit as usize;
        if longer > WIDTH_MAX {
            return Err(Fault(format!("a width in a format is more than {WIDTH_MAX}")));
        }
        number = Some(longer);
    }
    Ok(number)
}

fn given(value: &Value) -> Result<Given, Fault> {
    Ok(match value {
        Value::Number(number) if number.is_integer() => Given::Integer(value.clone()),
        Value::Number(number) => Given::Float(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Given::Text(text.to_string()),
        other => {
            take_text(weigh(other)?)?;
            let mut out = String::new();
            term(other, &mut out);
            Given::Text(out)
        }
    })
}

/// A value as Rego writes it.
fn term(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Number(n) => out.push_str(&n.format_decimal()),
        Value::String(text) => out.push_str(&serde_json::Value::from(&**text).to_string()),
        Value::Undefined => out.push_str("undefined"),
        Value::Array(items) => listed("[", "]", items.iter(), out),
        Value::Set(items) if items.is_empty() => out.push_str("set()"),
        Value::Set(items) => listed("{", "}", items.iter(), out),
        Value::Object(fields) => {
            out.push('{');
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort();
            for (i, (name, item)) in sorted.into_iter().enumerate() {
                out.push_str(if i == 0 { "" } else { ", " });
                term(name, out);
                out.push_str(": ");
                term(item, out);
            }
            out.push('}');
        }
    }
}

fn listed<'v>(open: &str, close: &str, items: impl Iterator<Item = &'v Value>, out: &mut String) {
    out.push_str(open);
    for (i, item) in items.enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        term(item, out);
    }
    out.push_str(close);
}

impl Given {
    /// The name of its type in Go.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Integer(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
        }
    }

    /// As `%v` shows it.
    fn plain(&self) -> String {
        match self {
            Self::Integer(value) => value.as_number().map(|n| n.format_decimal()).unwrap_or_default(),
            Self::Float(f) => shortest(*f, None),
            Self::Text(text) => text.clone(),
        }
    }

    fn render(&self, verb: char, flags: Flags) -> String {
        let shown = match (self, verb) {
            (_, 'T') => Some((false, self.kind().to_owned())),
            (Self::Integer(value), _) => integer(value, verb, flags),
            (Self::Float(f), _) => float(*f, verb, flags).map(|text| (true, signed(text, flags))),
            (Self::Text(text), _) => string(text, verb, flags).map(|text| (false, text)),
        };
        match shown {
            Some((number, text)) => padded(number, text, flags),
            None => format!("%!{verb}({}={})", self.kind(), self.plain()),
        }
    }
}

fn signed(text: String, flags: Flags) -> String {
    match (text.starts_with('-'), flags.plus, flags.space) {
        (false, true, _) => format!("+{text}"),
        (false, false, true) => format!(" {text}"),
        _ => text,
    }
}

fn integer(value: &Value, verb: char, flags: Flags) -> Option<(bool, String)> {
    let number = value.as_number().ok()?;
    let decimal = number.format_decimal();
    let negative = decimal.starts_with('-');
    let absolute = number.abs();
    let character = number.as_u64().and_then(|n| u32::try_from(n).ok()).and_then(char::from_u32);
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", absolute.format_decimal()),
        // Go's large numbers are a type of their own that knows `%s`.
        's' if number.as_i64().is_none() => ("", absolute.format_decimal()),
        'b' => (if flags.sharp { "0b" } else { "" }, absolute.format_bin()),
        'o' => (if flags.sharp { "0" } else { "" }, absolute.format_octal()),
        'O' => ("0o", absolute.format_octal()),
        'x' => (if flags.sharp { "0x" } else { "" }, absolute.format_hex()),
        'X' => (if flags.sharp { "0X" } else { "" }, absolute.format_big_hex()),
        'c' => return Some((false, character.unwrap_or(char::REPLACEMENT_CHARACTER).to_string())),
        'q' => return Some((false, format!("'{}'", character.unwrap_or(char::REPLACEMENT_CHARACTER)))),
        'U' => return Some((false, format!("U+{:0>4}", absolute.format_big_hex()))),
        _ => return None,
    };
    let digits = format!("{digits:0>width$}", width = flags.precision.unwrap_or(0));
    let text = if negative { format!("-{prefix}{digits}") } else { format!("{prefix}{digits}") };
    Some((flags.precision.is_none(), signed(text, flags)))
}

fn float(f: f64, verb: char, flags: Flags) -> Option<String> {
    let precision = flags.precision;
    Some(match verb {
        'v' | 'g' => shortest(f, precision),
        'G' => shortest(f, precision).to_uppercase(),
        'f' | 'F' => format!("{f:.*}", precision.unwrap_or(6)),
        'e' => exponent(format!("{f:.*e}", precision.unwrap_or(6))),
        'E' => exponent(format!("{f:.*e}", precision.unwrap_or(6))).to_uppercase(),
        _ => return None,
    })
}

/// Go writes an exponent with its sign and at least two digits.
fn exponent(text: String) -> String {
    match text.split_once('e') {
        Some((mantissa, power)) => {
            let (sign, digits) = power.strip_prefix('-').map_or(('+', power), |digits| ('-', digits));
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

/// Go's `%g`: with an exponent where that is shorter.
fn shortest(f: f64, precision: Option<usize>) -> String {
    if !f.is_finite() {
        return if f.is_nan() {
            "NaN"
        } else if f > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_owned();
    }
    let scientific = match precision {
        Some(p) => format!("{f:.*e}", p.max(1) - 1),
        None => format!("{f:e}"),
    };
    let Some((mantissa, power)) = scientific.split_once('e') else { return scientific };
    let power: i32 = power.parse().unwrap_or_default();
    let trimmed = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let digits = trimmed.chars().filter(char::is_ascii_digit).count();
    // Without a precision an exponent begins at seven digits before the point.
    let limit = precision.map_or(6, |p| if p.max(1) > digits && i32::try_from(digits).unwrap_or(0) > power { digits } else { p.max(1) });
    if power < -4 || power >= i32::try_from(limit).unwrap_or(i32::MAX) {
        return exponent(format!("{trimmed}e{power}"));
    }
    let decimals = i32::try_from(digits).unwrap_or(0) - 1 - power;
    format!("{f:.*}", usize::try_from(decimals).unwrap_or(0))
}

fn string(text: &str, verb: char, flags: Flags) -> Option<String> {
    let text: String = match flags.precision {
        Some(precision) => text.chars().take(precision).collect(),
        None => text.to_owned(),
    };
    Some(match verb {
        's' | 'v' => text,
        'q' => serde_json::Value::from(text).to_string(),
        'x' => super::text::hex(text.as_bytes()),
        'X' => super::text::hex(text.as_bytes()).to_uppercase(),
        _ => return None,
    })
}

fn padded(number: bool, text: String, flags: Flags) -> String {
    let missing = flags.width.unwrap_or(0).saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if flags.minus {
        return text + &" ".repeat(missing);
    }
    if flags.zero && number {
        let at = usize::from(text.starts_with(['+', '-', ' ']));
        let (sign, digits) = text.split_at_checked(at).unwrap_or(("", &text));
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    let fill = if flags.zero { "0" } else { " " };
    fill.repeat(missing) + &text
}

/// The largest width or precision.
const WIDTH_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go prints, checked against its documentation and runs of its `fmt`.
    #[test]
    fn formats_are_go_s() {
        for (format, list, want) in [
            ("%v %v %v", "[1, 2.5, \"a\"]", "1 2.5 a"),
            ("%d items", "[3]", "3 items"),
            ("%s", "[\"é\"]", "é"),
            ("%d", "[\"hi\"]", "%!d(string=hi)"),
            ("%d", "[2.5]", "%!d(float64=2.5)"),
            ("%s", "[1]", "%!s(int=1)"),
            ("%d %d", "[1]", "1 %!d(MISSING)"),
            ("%d", "[1, \"x\", 2]", "1%!(EXTRA string=x, int=2)"),
            ("100%", "[]", "100%!(NOVERB)"),
            ("%%", "[]", "%"),
            ("%5d|%-5d|%05d|%+d|% d", "[42, 42, -42, 42, 42]", "   42|42   |-0042|+42| 42"),
            ("%x %X %#x %o %O %b %c %U", "[255, 255, 255, 8, 8, 5, 9786, 9786]", "ff FF 0xff 10 0o10 101 ☺ U+263A"),
            ("%.2f|%8.3f|%-8.1f|%08.2f", "[3.14159, 3.14159, 3.14159, -3.14159]", "3.14|   3.142|3.1     |-0003.14"),
            ("%e %E %g %G", "[1234.5678, 1234.5678, 0.00001234, 0.5]", "1.234568e+03 1.234568E+03 1.234e-05 0.5"),
            ("%.3g %.10g", "[1234.5678, 1234.5678]", "1.23e+03 1234.5678"),
            ("%5s|%-5s|%.1s|%q|%x", "[\"ab\", \"ab\", \"ab\", \"a\\\"b\", \"ab\"]", "   ab|ab   |a|\"a\\\"b\"|6162"),
            ("%v %s %v", "[[1, \"a\"], {\"k\": [true, null]}, false]", "[1, \"a\"] {\"k\": [true, null]} false"),
            ("%T %T %T", "[1, 1.5, []]", "int float64 string"),
            ("%t", "[true]", "%!t(string=true)"),
            ("%v %v %v", "[0.1, 123456.5, 1234567.5]", "0.1 123456.5 1.2345675e+06"),
        ] {
            super::super::begin();
            let list = Value::from_json_str(list).unwrap();
            assert_eq!(sprintf(&[Value::from(format), list]).unwrap(), Value::from(want), "{format}");
        }
        assert!(sprintf(&[Value::from("%99999d"), Value::from_json_str("[1]").unwrap()]).is_err());
    }
}
