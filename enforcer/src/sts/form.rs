//! The parameters of a request, `application/x-www-form-urlencoded` (RFC 6749 Appendix B): read strictly, each at most once.

use std::collections::BTreeMap;

use super::limits::PARAMETERS_MAX;

/// The parameters of a request. Those without a value are left out, as RFC 6749 §3.2 has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form(BTreeMap<String, String>);

impl Form {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it, for whoever sent it.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let mut out = BTreeMap::new();
        for pair in body.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).take(PARAMETERS_MAX + 1) {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at_checked(at).unwrap_or((pair, &[]));
            let name = decode(name).ok_or("a parameter's name is not well escaped")?;
            let value = decode(value.get(1..).unwrap_or(&[])).ok_or_else(|| format!("the value of `{name}` is not well escaped"))?;
            if out.contains_key(&name) {
                return Err(format!("`{name}` is given more than once"));
            }
            if out.len() >= PARAMETERS_MAX {
                return Err("there are too many parameters".to_owned());
            }
            out.insert(name, value);
        }
        out.retain(|_, value| !value.is_empty());
        Ok(Self(out))
    }

    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

fn decode(text: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => (digit(*rest.next()?)? << 4) | digit(*rest.next()?)?,
            // What must be escaped and is not was not written by a form encoder.
            0..=0x20 | 0x7f.. => return None,
            plain => *plain,
        });
    }
    String::from_utf8(out).ok()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_good_and_bad() {
        let form = Form::read(b"a=1&grant_type=urn%3Aietf%3Ax&b=x+y%2B&empty=&&flag").unwrap();
        assert_eq!(form.get("grant_type"), Some("urn:ietf:x"));
        assert_eq!((form.get("a"), form.get("b"), form.get("empty"), form.get("flag")), (Some("1"), Some("x y+"), None, None));
        for bad in [&b"a=1&a=2"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=x y", b"%=1", b"a=\x00"] {
            assert!(Form::read(bad).is_err(), "{}", bad.escape_ascii());
        }
        let many: String = (0..=PARAMETERS_MAX).map(|n| format!("p{n}=1&")).collect();
        assert!(Form::read(many.as_bytes()).is_err());
    }
}
