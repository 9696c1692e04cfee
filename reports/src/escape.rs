//! Text as the formats of others want it: XML, URI references, one line, identifiers made of content. Builds no document.

use portreeve_engine::Digest;

use crate::text::tame;

/// Text inside an XML element or attribute. Characters that XML 1.0 cannot hold become U+FFFD.
#[must_use]
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(c),
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A path as a URI reference: everything but unreserved characters and `/` is percent-encoded.
#[must_use]
pub fn uri(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    out
}

/// One line without space at its ends, acting characters shown as their code points; a dash where nothing is left.
pub(crate) fn line(text: &str) -> String {
    let flat = tame(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if flat.is_empty() { "-".to_owned() } else { flat }
}

/// An identifier in the form of a UUID of version 5 that follows from what it names alone. The digest is SHA-256, as everywhere
/// else here, cut to its first 128 bits.
pub(crate) fn uuid(parts: &[&str]) -> String {
    let named: String = parts.iter().map(|part| format!("{}:{part}\n", part.len())).collect();
    let digest = Digest::of(format!("portreeve-uuid-v1\n{named}").as_bytes());
    let mut bytes = [0_u8; 16];
    for (place, byte) in bytes.iter_mut().zip(digest.as_bytes()) {
        *place = *byte;
    }
    let mut out = String::with_capacity(36);
    for (at, byte) in bytes.into_iter().enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x50,
            8 => byte & 0x3f | 0x80,
            _ => byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push('-');
        }
        out.push_str(&format!("{byte:02x}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(xml("<a b=\"c\">&'\u{1b}[31m"), "&lt;a b=&quot;c&quot;&gt;&amp;&apos;\u{fffd}[31m");
        assert_eq!(uri("pol icies/ü#.yaml"), "pol%20icies/%C3%BC%23.yaml");
        assert_eq!(line(" a\n\tb\u{202e} "), "a b⟦U+202E⟧");
        assert_eq!(line(" \n"), "-");
    }

    #[test]
    fn identifiers_follow_from_what_they_name() {
        let one = uuid(&["finding", "a"]);
        assert_eq!(one, uuid(&["finding", "a"]));
        assert_eq!((one.len(), one.as_bytes()[14], b"89ab".contains(&one.as_bytes()[19])), (36, b'5', true), "{one}");
        // No two lists of parts run together.
        assert_ne!(uuid(&["ab", "c"]), uuid(&["a", "bc"]));
        assert_ne!(uuid(&["a"]), uuid(&["a", ""]));
    }
}
