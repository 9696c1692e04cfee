//! The words of Cedar text with their places: for the limits that hold before a parser sees the text, and to find in the text
//! what the syntax tree no longer places.
//!
//! The reader never fails: what no Cedar text has is a token of its own, and the parser complains about it later.

use std::ops::Range;

/// A word, number, text, or mark of one or two characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    pub(crate) text: &'t str,
    /// Where it begins, in bytes.
    pub(crate) at: usize,
}

/// Reads tokens, leaving out blanks and comments.
pub(crate) struct Tokens<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Tokens<'t> {
    pub(crate) const fn of(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start().len();
            let comment = if rest.get(blank..)?.starts_with("//") { rest.find('\n').map_or(rest.len(), |end| end.max(blank)) } else { 0 };
            if blank + comment == 0 {
                break;
            }
            self.at += blank.max(comment);
        }
        let rest = self.rest();
        let length = length(rest)?;
        let token = Token { text: rest.get(..length)?, at: self.at };
        self.at += length;
        Some(token)
    }
}

/// The length of the token with which a text begins.
fn length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if first == '"' {
        return Some(literal_length(text));
    }
    if word(first) {
        return Some(text.find(|c| !word(c)).unwrap_or(text.len()));
    }
    let two = ["::", "==", "!=", "<=", ">=", "&&", "||"].iter().any(|mark| text.starts_with(mark));
    Some(if two { 2 } else { first.len_utf8() })
}

/// The length of a text in quotes; one that does not end goes to the end.
fn literal_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    text.len()
}

/// One policy of a file: from its `permit` or `forbid` to its end, and how deep its expressions can be at most.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) range: Range<usize>,
    pub(crate) depth: usize,
}

/// The policies of a text in their order, which is the order in which Cedar numbers them.
pub(crate) fn outlines(text: &str) -> Vec<Outline> {
    let mut out: Vec<Outline> = Vec::new();
    let mut depth = Depth::default();
    let mut open = false;
    for token in Tokens::of(text) {
        if depth.is_outside() && matches!(token.text, "permit" | "forbid") {
            depth = Depth::default();
            open = true;
            out.push(Outline { range: token.at..token.at, depth: 0 });
        }
        let seen = depth.see(token.text);
        let end = token.text == ";" && depth.is_outside();
        if let Some(last) = out.last_mut().filter(|_| open) {
            last.depth = last.depth.max(seen);
            last.range.end = token.at + token.text.len();
        }
        open &= !end;
    }
    out
}

/// Bounds the depth of the syntax tree from above while its tokens go by, whatever the tree is.
///
/// Each bracket is a level, each operator in a row of operators makes the tree one deeper, and what is tighter than `&&`
/// begins anew after one.
#[derive(Default)]
struct Depth {
    /// For each open bracket, the outermost first: the rows around it.
    outer: Vec<(usize, usize)>,
    loose: usize,
    tight: usize,
    sum: usize,
}

impl Depth {
    fn is_outside(&self) -> bool {
        self.outer.is_empty()
    }

    fn see(&mut self, token: &str) -> usize {
        match token {
            "(" | "[" | "{" => {
                self.tight += 1;
                self.sum += self.loose + self.tight;
                self.outer.push((self.loose, self.tight));
                (self.loose, self.tight) = (0, 0);
            }
            ")" | "]" | "}" => {
                if let Some((loose, tight)) = self.outer.pop() {
                    (self.loose, self.tight) = (loose, tight);
                    self.sum = self.sum.saturating_sub(loose + tight);
                }
            }
            "," => (self.loose, self.tight) = (0, 0),
            "&&" | "||" | "if" | "when" | "unless" => {
                self.loose += 1;
                self.tight = 0;
            }
            "." | "!" | "+" | "-" | "*" | "==" | "!=" | "<" | ">" | "<=" | ">=" | "in" | "has" | "like" | "is" => self.tight += 1,
            _ => {}
        }
        self.sum + self.loose + self.tight
    }
}

/// Where an expression, as the syntax tree writes it, stands in a text. Brackets and the two ways to write an attribute do
/// not count, so the answer may be a neighbour that reads the same but for brackets.
pub(crate) fn find(text: &str, expression: &str) -> Option<Range<usize>> {
    let wanted: Vec<String> = spelled(expression).into_iter().map(|(word, _)| word).collect();
    let all = spelled(text);
    let start = all.windows(wanted.len().max(1)).find(|window| window.iter().map(|(word, _)| word).eq(&wanted))?;
    Some(start.first()?.1.start..start.last()?.1.end)
}

/// The tokens with `["name"]` as `.name`, and without parentheses.
fn spelled(text: &str) -> Vec<(String, Range<usize>)> {
    let tokens: Vec<Token<'_>> = Tokens::of(text).collect();
    let mut out: Vec<(String, Range<usize>)> = Vec::new();
    let mut rest = tokens.as_slice();
    while let Some((token, after)) = rest.split_first() {
        let place = token.at..token.at + token.text.len();
        if let ("[", [name, close, ..]) = (token.text, after)
            && let ("]", Some(name)) = (close.text, name.text.strip_prefix('"').and_then(|n| n.strip_suffix('"')))
            && out.last().is_some_and(|(before, _)| before.chars().any(|c| c.is_alphanumeric() || c == '_'))
        {
            out.push((".".to_owned(), place.clone()));
            out.push((name.to_owned(), place.start..close.at + 1));
            rest = after.get(2..).unwrap_or_default();
            continue;
        }
        if !matches!(token.text, "(" | ")") {
            out.push((token.text.to_owned(), place));
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&str> {
        Tokens::of(text).map(|t| t.text).collect()
    }

    #[test]
    fn text_falls_into_tokens() {
        assert_eq!(words("a.b==\"c\\\"//\" // d\n&& !é::\"x\""), ["a", ".", "b", "==", "\"c\\\"//\"", "&&", "!", "é", "::", "\"x\""]);
        assert_eq!(words("// only a comment"), [""; 0]);
        assert_eq!(words(" \"open"), ["\"open"]);
        assert_eq!(words("//a\n//b\n  c//d"), ["c"]);
    }

    #[test]
    fn policies_are_found_in_their_order() {
        let text =
            "@id(\"permit\") permit(principal, action, resource) when { x.permit };\n// forbid\nforbid(principal, action, resource);";
        let found: Vec<&str> = outlines(text).into_iter().map(|o| text.get(o.range).unwrap()).collect();
        assert_eq!(found, ["permit(principal, action, resource) when { x.permit };", "forbid(principal, action, resource);"]);
    }

    #[test]
    fn depth_is_bounded_from_above() {
        let depth = |condition: &str| outlines(&format!("permit(principal, action, resource) when {{ {condition} }};"))[0].depth;
        let base = depth("true");
        assert_eq!(depth("((((true))))"), base + 4);
        assert_eq!(depth(&["a.b == 1"; 50].join(" && ")), base + 49 + 2);
        assert_eq!(depth("[1, 2, 3, 4, 5].contains(1 + 2 + 3)"), base + 5);
        assert_eq!(depth(&"if a then b else ".repeat(9)), base + 9);
        assert!(depth(&"!".repeat(1000)) > 1000 && depth(&"(".repeat(1000)) > 1000);
    }

    #[test]
    fn an_expression_is_found_whatever_its_brackets() {
        let text = "when { (context.query[\"n\"] + 1) * 2 > 3 }";
        let place = find(text, "context[\"query\"][\"n\"] + 1").unwrap();
        assert_eq!(text.get(place).unwrap(), "context.query[\"n\"] + 1");
        let place = find(text, "((context.query).n + 1) * 2").unwrap();
        assert_eq!(text.get(place).unwrap(), "context.query[\"n\"] + 1) * 2");
        assert_eq!(find(text, "context.query.m"), None);
        assert_eq!(find(text, ""), None);
    }
}
