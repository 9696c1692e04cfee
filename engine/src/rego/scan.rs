//! A look at a module's tokens before it is parsed: is it shallow enough to parse at all?
//!
//! The parser calls itself without counting for most kinds of nesting, reads literals twice at every level, and a deep tree
//! cannot even be released without calling itself. All three end a process, so they are bounded here, on the text, in one
//! pass without recursion. The scan knows tokens, not grammar: it may count a little too much, never too little.

use super::limits::{BRACKETS_MAX, DEPTH_MAX, FILE_BYTES_MAX, PARSE_WORK_MAX};
use super::place;
use crate::diagnostic::Diagnostic;

/// Refuses a text that is too large or too deep for the parser.
pub(super) fn check(file: &str, text: &str) -> Result<(), Diagnostic> {
    if text.len() > FILE_BYTES_MAX {
        return Err(Diagnostic::error("rego-too-large", format!("the file is longer than {FILE_BYTES_MAX} bytes"))
            .at(place(file, text, 0, 1))
            .help("split it into several files of the same package"));
    }
    if let Some(nul) = text.find('\0') {
        return Err(Diagnostic::error("rego-syntax", "there is a NUL character").at(place(file, text, nul, nul + 1)));
    }
    let mut scan = Scan { frames: vec![0], links: 0, weight: 1, work: 0, operand: false };
    let mut rest = Tokens { text, at: 0 };
    while let Some((start, token)) = rest.next() {
        if let Err((what, help)) = scan.take(token) {
            return Err(Diagnostic::error("rego-too-deep", what).at(place(file, text, start, start + 1)).help(help));
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// A name, number or string.
    Operand,
    /// An operator that makes the tree one level deeper: `.`, `+`, `==`, `in`, …
    Link,
    Open(char),
    Close,
    /// `,`, `;`, `:=`, `=`, `:`, `not`: what follows begins anew.
    Separator,
}

type Fault = (String, &'static str);

struct Scan {
    /// For each open bracket, the links of the chain that is being read in it.
    frames: Vec<usize>,
    /// All of them together.
    links: usize,
    /// How often the parser reads a token here.
    weight: u64,
    work: u64,
    /// Whether the last token ended an operand.
    operand: bool,
}

impl Scan {
    fn take(&mut self, token: Token) -> Result<(), Fault> {
        self.work = self.work.saturating_add(self.weight);
        match token {
            Token::Operand => {
                if self.operand {
                    self.begin_anew();
                }
                self.operand = true;
            }
            Token::Link => {
                self.link();
                self.operand = false;
            }
            Token::Open(bracket) => {
                // `x[…]` and `f(…)` prolong a chain; the same bracket elsewhere opens a literal or a body.
                if self.operand && bracket != '{' {
                    self.link();
                }
                self.frames.push(0);
                if bracket != '(' {
                    self.weight = self.weight.saturating_mul(2);
                }
                self.operand = false;
            }
            Token::Close => {
                // The grammar decides whether brackets match; here only their number counts.
                if self.frames.len() > 1 {
                    self.links = self.links.saturating_sub(self.frames.pop().unwrap_or(0));
                    self.weight = (self.weight / 2).max(1);
                }
                self.operand = true;
            }
            Token::Separator => {
                self.begin_anew();
                self.operand = false;
            }
        }
        self.judge()
    }

    fn judge(&self) -> Result<(), Fault> {
        if self.frames.len() > BRACKETS_MAX + 1 {
            return Err((format!("more than {BRACKETS_MAX} brackets are open here"), "give the inner parts names of their own"));
        }
        if self.links + self.frames.len() > DEPTH_MAX {
            return Err((format!("this expression is more than {DEPTH_MAX} levels deep"), "give parts of it names of their own"));
        }
        if self.work > PARSE_WORK_MAX {
            return Err((
                format!("reading up to here takes more than {PARSE_WORK_MAX} steps"),
                "split the file, or nest its lists and objects less deeply",
            ));
        }
        Ok(())
    }

    fn link(&mut self) {
        self.links += 1;
        if let Some(frame) = self.frames.last_mut() {
            *frame += 1;
        }
    }

    fn begin_anew(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            self.links = self.links.saturating_sub(std::mem::take(frame));
        }
    }
}

/// Splits a text into tokens as the parser's own lexer does, as far as nesting is concerned.
struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Option<(usize, Token)> {
        loop {
            let rest = self.text.get(self.at..)?;
            let first = rest.chars().next()?;
            let start = self.at;
            let (length, token) = match first {
                c if c.is_whitespace() => (c.len_utf8(), None),
                '#' => (rest.find('\n').unwrap_or(rest.len()), None),
                '"' => (string(rest), Some(Token::Operand)),
                '`' => (rest.get(1..).and_then(|r| r.find('`')).map_or(rest.len(), |end| end + 2), Some(Token::Operand)),
                '(' | '[' | '{' => (1, Some(Token::Open(first))),
                ')' | ']' | '}' => (1, Some(Token::Close)),
                ',' | ';' => (1, Some(Token::Separator)),
                ':' if rest.starts_with(":=") => (2, Some(Token::Separator)),
                ':' => (1, Some(Token::Separator)),
                '=' if rest.starts_with("==") => (2, Some(Token::Link)),
                '=' => (1, Some(Token::Separator)),
                c if c.is_ascii_alphanumeric() || c == '_' => {
                    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
                    let token = match rest.get(..length) {
                        Some("in") => Token::Link,
                        Some("not") => Token::Separator,
                        _ => Token::Operand,
                    };
                    (length, Some(token))
                }
                c => (c.len_utf8(), Some(Token::Link)),
            };
            self.at += length;
            if let Some(token) = token {
                return Some((start, token));
            }
        }
    }
}

/// The length of a string in quotes, both included. A string cannot hold a line break: the lexer refuses the file there.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            '\n' => return at,
            _ => {}
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_modules_pass() {
        for text in [
            "package portreeve.items\nallow if {\n  input.attributes.request.http.headers[\"a\"] == \"b\"\n  x := [y | some y in [[1, 2], {\"a\": {3}}]]\n}\n",
            &"allow if input.a.b.c == 1 + 2 + 3\n".repeat(1000),
            &format!("x := \"{}\" # {}\ny := `{}`", "[".repeat(100), "{".repeat(100), "(".repeat(100)),
        ] {
            assert!(check("a.rego", text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_would_exhaust_the_stack_or_the_clock_is_refused_at_its_place() {
        for (text, column) in [
            (format!("x := {}", "[".repeat(100)), 6 + BRACKETS_MAX),
            (format!("x := {}1", "- ".repeat(200)), 6 + 2 * (DEPTH_MAX - 1)),
            (format!("x := a{}", ".b".repeat(200)), 7 + 2 * (DEPTH_MAX - 1)),
            (format!("x := 1{}", "+1".repeat(200)), 7 + 2 * (DEPTH_MAX - 1)),
            (format!("x := a{}", " in a".repeat(200)), 8 + 5 * (DEPTH_MAX - 1)),
            (format!("x := f{}", "(1)".repeat(200)), 7 + 3 * (DEPTH_MAX - 1)),
        ] {
            let fault = check("a.rego", &text).unwrap_err();
            assert_eq!(fault.code, "rego-too-deep");
            let at = fault.location.unwrap().column as usize;
            assert!(at.abs_diff(column) <= 5, "{text}: {at} for {column}");
        }
        let literal = format!("x := {}{}{}\n", "[".repeat(22), "1,".repeat(100), "]".repeat(22));
        assert_eq!(check("a.rego", &literal).unwrap_err().code, "rego-too-deep");
        assert_eq!(check("a.rego", "a\0b").unwrap_err().code, "rego-syntax");
    }
}
