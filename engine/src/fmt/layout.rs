//! Lines of YAML, each with what the parser knows of it: how deep it stands, and which of its characters are values.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::fmt::yaml::is_plain_text;

/// A fault: the line from 1, and what is in the way.
pub(super) type Fault = (usize, String);

/// A text with the places of its values and collections.
pub(super) struct Layout {
    /// The characters of every line, without its newline.
    lines: Vec<Vec<char>>,
    facts: Vec<Facts>,
    scalars: Vec<Scalar>,
}

/// What is known of one line.
#[derive(Clone, Debug, Default)]
struct Facts {
    /// The open block collections at the first value that begins here, outermost first.
    open: Option<Vec<Block>>,
    /// The column from which values in brackets are laid out that open on this line.
    bracket_base: usize,
    /// The line begins inside something that began before it.
    inside: Option<Inside>,
    /// The first scalar that touches this line, by position.
    scalar: Option<usize>,
}

/// A block collection: where its entries stand, and where they will.
#[derive(Clone, Copy, Debug)]
struct Block {
    sequence: bool,
    column: usize,
    new_column: usize,
}

/// What a line begins inside of.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// A `|` or `>` text: shift the line from the first column to the second.
    Text { from: usize, to: usize },
    /// A value in quotes or a plain one that goes on; at this column.
    Scalar { to: usize },
    /// Brackets; the column of the line that opened the outermost, and how many are open.
    Flow { base: usize, depth: usize },
}

#[derive(Debug)]
struct Scalar {
    style: ScalarStyle,
    text: String,
    /// Line (from 0) and column of the first character, and of the one behind the last.
    start: (usize, usize),
    end: (usize, usize),
}

impl Layout {
    /// Reads a text that the reader of policies has accepted.
    pub(super) fn of(text: &str) -> Result<Self, Fault> {
        let lines: Vec<Vec<char>> = text.split('\n').map(|l| l.chars().collect()).collect();
        let facts = vec![Facts::default(); lines.len() + 1];
        let mut layout = Self { lines, facts, scalars: Vec::new() };
        layout.read(text)?;
        Ok(layout)
    }

    fn read(&mut self, text: &str) -> Result<(), Fault> {
        let mut open: Vec<Block> = Vec::new();
        // Of every open collection whether it is one in brackets.
        let mut kinds: Vec<bool> = Vec::new();
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| (e.marker().line(), e.info().to_owned()))?;
            let start = place(span.start);
            match event {
                Event::SequenceStart(..) | Event::MappingStart(..) => {
                    let sequence = matches!(event, Event::SequenceStart(..));
                    let inside = kinds.last() == Some(&true);
                    // Collections of lines begin with nothing of their own, those in brackets with a bracket.
                    let in_flow = inside || span.end.index() > span.start.index();
                    if in_flow {
                        self.note(start.0, &open);
                        if let Some(facts) = self.facts.get_mut(start.0).filter(|_| !inside) {
                            facts.bracket_base = open.last().map_or(0, |b| b.new_column);
                        }
                    } else {
                        let (line, column) = if sequence { self.dash_of(start, open.last()) } else { start };
                        let new_column = open.last().map_or(0, |b| b.new_column + INDENT);
                        open.push(Block { sequence, column, new_column });
                        self.note(line, &open);
                        self.note(start.0, &open);
                    }
                    kinds.push(in_flow);
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let ended = usize::from(kinds.pop() == Some(false));
                    open.truncate(open.len().saturating_sub(ended));
                }
                Event::Scalar(value, style, ..) => self.scalar(value.into_owned(), style, &span, &open, kinds.last() == Some(&true)),
                _ => {}
            }
        }
        self.brackets();
        Ok(())
    }

    /// Where the first dash of a list stands. A list as far left as its key is known by its first value alone.
    fn dash_of(&self, start: (usize, usize), parent: Option<&Block>) -> (usize, usize) {
        let Some(parent) = parent.filter(|b| !b.sequence) else { return start };
        for number in (0..=start.0).rev() {
            let line = self.lines.get(number).map_or(&[][..], Vec::as_slice);
            let first = line.iter().position(|c| !matches!(c, ' ' | '\t'));
            if first == Some(parent.column) && is_dash(line, parent.column) {
                return (number, parent.column);
            }
            let empty = first.is_none_or(|at| line.get(at) == Some(&'#'));
            if number < start.0 && !empty {
                break;
            }
        }
        start
    }

    fn char(&self, line: usize, column: usize) -> Option<char> {
        self.lines.get(line)?.get(column).copied()
    }

    fn note(&mut self, line: usize, open: &[Block]) {
        if let Some(facts) = self.facts.get_mut(line)
            && facts.open.is_none()
        {
            facts.open = Some(open.to_vec());
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, span: &Span, open: &[Block], in_flow: bool) {
        let (mut start, mut end) = (place(span.start), place(span.end));
        let parent = open.last();
        if matches!(style, ScalarStyle::Literal | ScalarStyle::Folded) {
            start = self.header_of(start);
            end = self.block_text(start, parent);
        } else {
            // The parser's end may lie behind blanks and line breaks that belong to nothing.
            while end > start && self.is_blank_before(end) {
                end = self.before(end);
            }
            let to = parent.map_or(0, |b| b.new_column) + INDENT;
            for facts in self.facts.iter_mut().take(end.0 + 1).skip(start.0 + 1).filter(|_| !in_flow) {
                facts.inside = Some(Inside::Scalar { to });
            }
        }
        if start == end {
            return;
        }
        self.note(start.0, open);
        let number = self.scalars.len();
        for facts in self.facts.iter_mut().take(end.0 + 1).skip(start.0) {
            facts.scalar.get_or_insert(number);
        }
        self.scalars.push(Scalar { style, text, start, end });
    }

    /// Where the `|` or `>` of a text stands whose first line, or the line behind it, is at `start`.
    fn header_of(&self, start: (usize, usize)) -> (usize, usize) {
        for number in (0..start.0).rev() {
            let line = self.lines.get(number).map_or(&[][..], Vec::as_slice);
            if let Some(column) = (0..line.len()).find(|at| is_header(line.get(*at..).unwrap_or_default())) {
                return (number, column);
            }
        }
        start
    }

    fn is_blank_before(&self, (line, column): (usize, usize)) -> bool {
        column == 0 || self.char(line, column - 1).is_none_or(|c| c == ' ' || c == '\t')
    }

    fn before(&self, (line, column): (usize, usize)) -> (usize, usize) {
        if column > 0 { (line, column - 1) } else { (line - 1, self.lines.get(line - 1).map_or(0, Vec::len)) }
    }

    /// Marks the lines of a `|` or `>` text; gives its end.
    fn block_text(&mut self, start: (usize, usize), parent: Option<&Block>) -> (usize, usize) {
        let header: String = self.lines.get(start.0).map(|l| l.iter().skip(start.1).collect()).unwrap_or_default();
        let header = header.split(" #").next().unwrap_or_default().to_owned();
        let outer = parent.map_or(0, |b| b.column);
        let indent_of = |line: &[char]| line.iter().take_while(|c| **c == ' ').count();
        let blank = |line: &[char]| line.iter().all(|c| *c == ' ');
        let given = header.chars().find_map(|c| c.to_digit(10)).map(|n| n as usize);
        let mut last = start.0;
        let mut detected = None;
        for (number, line) in self.lines.iter().enumerate().skip(start.0 + 1) {
            if blank(line) {
                continue;
            }
            if parent.is_some() && indent_of(line) <= outer {
                break;
            }
            detected.get_or_insert_with(|| indent_of(line));
            last = number;
        }
        if header.contains('+') {
            // Blank lines at the end count.
            while self.lines.get(last + 1).is_some_and(|l| blank(l)) && last + 2 < self.lines.len() {
                last += 1;
            }
        }
        let new = parent.map_or(0, |b| b.new_column);
        let (from, to) = match given {
            Some(n) => (outer + n, new + n),
            None => (detected.unwrap_or(outer + INDENT), new + INDENT),
        };
        for line in start.0 + 1..=last {
            if let Some(facts) = self.facts.get_mut(line) {
                facts.inside = Some(Inside::Text { from, to });
            }
        }
        (last, self.lines.get(last).map_or(0, Vec::len))
    }

    /// Finds the lines that begin inside brackets, and how deep.
    fn brackets(&mut self) {
        let (mut depth, mut base) = (0_usize, 0);
        for number in 0..self.lines.len() {
            if depth > 0
                && let Some(facts) = self.facts.get_mut(number)
            {
                facts.inside = Some(Inside::Flow { base, depth });
            }
            let inside_before = depth > 0;
            for piece in self.pieces(number) {
                match piece {
                    Piece::Sign('[' | '{') => depth += 1,
                    Piece::Sign(']' | '}') => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            if !inside_before && depth > 0 {
                base = self.facts.get(number).map_or(0, |f| f.bracket_base);
            }
        }
    }

    /// The line in pieces: values, comments, signs, and runs of blanks.
    fn pieces(&self, number: usize) -> Vec<Piece<'_>> {
        let (Some(line), Some(facts)) = (self.lines.get(number), self.facts.get(number)) else { return Vec::new() };
        if matches!(facts.inside, Some(Inside::Text { .. })) {
            return Vec::new();
        }
        let mut next = facts.scalar.unwrap_or(self.scalars.len());
        let mut out = Vec::new();
        let mut at = 0;
        while at < line.len() {
            while self.scalars.get(next).is_some_and(|s| s.end <= (number, at)) {
                next += 1;
            }
            let scalar = self.scalars.get(next).filter(|s| s.start <= (number, at) && (number, at) < s.end);
            let goes_on = scalar.is_some_and(|s| s.start < (number, at));
            if let Some(scalar) = scalar.filter(|_| !goes_on || !matches!(line.get(at), Some(' ' | '\t'))) {
                let to = if scalar.end.0 == number { scalar.end.1 } else { line.len() };
                out.push(Piece::Value(line.get(at..to).unwrap_or_default(), scalar));
                at = to.max(at + 1);
                continue;
            }
            let rest = line.get(at..).unwrap_or_default();
            let blanks = rest.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
            match rest.first() {
                _ if blanks > 0 => {
                    out.push(Piece::Blanks(blanks));
                    at += blanks;
                }
                Some('#') => {
                    out.push(Piece::Comment(rest));
                    break;
                }
                Some(c) => {
                    out.push(Piece::Sign(*c));
                    at += 1;
                }
                None => break,
            }
        }
        out
    }

    /// All comments.
    pub(super) fn comments(&self) -> Vec<String> {
        let pieces = (0..self.lines.len()).flat_map(|n| self.pieces(n));
        pieces
            .filter_map(|p| if let Piece::Comment(text) = p { Some(text.iter().collect::<String>().trim_end().to_owned()) } else { None })
            .collect()
    }

    /// The lines as they should be.
    pub(super) fn lines(&self) -> Result<Vec<String>, Fault> {
        let mut out: Vec<String> = Vec::with_capacity(self.lines.len());
        for (number, line) in self.lines.iter().enumerate() {
            let text: String = line.iter().collect();
            let laid = match self.facts.get(number).and_then(|f| f.inside) {
                Some(Inside::Text { from, to }) => {
                    out.push(shifted(&text, from, to));
                    continue;
                }
                Some(Inside::Scalar { .. } | Inside::Flow { .. }) if text.trim().is_empty() => String::new(),
                Some(Inside::Scalar { to }) => format!("{}{}", " ".repeat(to), self.content(number, text.len() - text.trim_start().len())?),
                Some(Inside::Flow { base, depth }) => self.in_flow(number, base, depth)?,
                None => self.structure(number)?,
            };
            let after_blank = out.last().is_none_or(|l| l.is_empty() || l.starts_with("---"));
            let in_value = matches!(self.facts.get(number).and_then(|f| f.inside), Some(Inside::Scalar { .. }));
            // One blank line says as much as three, except within a value.
            if !(laid.is_empty() && after_blank && !in_value) {
                out.push(laid);
            }
        }
        Ok(out)
    }

    fn in_flow(&self, number: usize, base: usize, depth: usize) -> Result<String, Fault> {
        let line = self.lines.get(number).map_or(&[][..], Vec::as_slice);
        let begins = line.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        let closing = line.iter().skip(begins).take_while(|c| matches!(c, ']' | '}')).count();
        // A bracket that closes stands at least one step in: YAML wants a value inside its key.
        let steps = depth.saturating_sub(closing).max(1);
        Ok(format!("{}{}", " ".repeat(base + steps * INDENT), self.content(number, begins)?))
    }

    /// A line that begins outside of every value: blank, a comment, a separator, or an entry of block collections.
    fn structure(&self, number: usize) -> Result<String, Fault> {
        let line = self.lines.get(number).map_or(&[][..], Vec::as_slice);
        let begins = line.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
        let Some(first) = line.get(begins) else { return Ok(String::new()) };
        let text: String = line.iter().collect();
        if *first == '#' {
            return Ok(format!("{}{}", " ".repeat(self.comment_column(number, begins)), text.trim()));
        }
        if begins == 0 && (text.starts_with("---") || text.starts_with("...") || text.starts_with('%')) {
            let rest = text.get(3..).unwrap_or_default().trim();
            if !text.starts_with('%') && !rest.is_empty() && !rest.starts_with('#') {
                return Err((
                    number + 1,
                    format!("a value stands on the line of `{}`; put it on the next one", text.get(..3).unwrap_or_default()),
                ));
            }
            return Ok(text.trim_end().to_owned());
        }
        let dash = is_dash(line, begins);
        let column = self.entry_column(number, begins, dash);
        let mut begins = begins;
        let mut prefix = " ".repeat(column);
        while is_dash(line, begins) && !self.is_value(number, begins) {
            let blanks = line.iter().skip(begins + 1).take_while(|c| matches!(c, ' ' | '\t')).count();
            begins += 1 + blanks;
            prefix.push('-');
            match line.get(begins) {
                None => return Ok(prefix),
                // The comment of an empty dash stays where it is.
                Some('#') => prefix.push_str(&" ".repeat(blanks.max(1))),
                Some(_) => prefix.push(' '),
            }
        }
        Ok(format!("{prefix}{}", self.content(number, begins)?))
    }

    fn is_value(&self, number: usize, column: usize) -> bool {
        let first = self.facts.get(number).and_then(|f| f.scalar).unwrap_or(self.scalars.len());
        self.scalars.iter().skip(first).take_while(|s| s.start <= (number, column)).any(|s| (number, column) < s.end)
    }

    /// Where an entry goes that stands at `column` now.
    fn entry_column(&self, number: usize, column: usize, dash: bool) -> usize {
        let known = self.facts.iter().skip(number).find_map(|f| f.open.as_ref());
        let blocks = known.map_or(&[][..], Vec::as_slice);
        let own = blocks.iter().rev().find(|b| b.column == column && b.sequence == dash);
        // A value on a line of its own stands one step inside of its key.
        own.map_or_else(|| blocks.iter().rev().find(|b| b.column < column).map_or(0, |b| b.new_column + INDENT), |b| b.new_column)
    }

    /// Where a comment goes: with the line below it, or with the block it was written in.
    fn comment_column(&self, number: usize, column: usize) -> usize {
        let is_entry = |n: &usize| self.is_entry(*n);
        let below = (number + 1..self.lines.len()).find(is_entry);
        let begins = |n: usize| self.lines.get(n).map_or(0, |l| l.iter().take_while(|c| **c == ' ').count());
        let separated = |n: usize| (number + 1..=n).any(|n| self.lines.get(n).is_some_and(|l| l.starts_with(&['-', '-', '-'])));
        let below = below.filter(|n| !separated(*n));
        if let Some(n) = below.filter(|n| begins(*n) == column) {
            return self.entry_column(n, column, self.lines.get(n).is_some_and(|l| is_dash(l, column)));
        }
        let above = (0..number)
            .rev()
            .find(is_entry)
            .filter(|n| !(*n..number).any(|n| self.lines.get(n).is_some_and(|l| l.starts_with(&['-', '-', '-']))));
        let blocks = above.and_then(|n| self.facts.get(n)?.open.as_ref());
        let own = blocks.and_then(|blocks| blocks.iter().rev().find(|b| b.column == column));
        match (own, below) {
            (Some(block), _) => block.new_column,
            (None, Some(n)) => self.entry_column(n, begins(n), self.lines.get(n).is_some_and(|l| is_dash(l, begins(n)))),
            (None, None) => 0,
        }
    }

    fn is_entry(&self, number: usize) -> bool {
        let line = self.lines.get(number).map_or(&[][..], Vec::as_slice);
        let first = line.iter().find(|c| !matches!(c, ' ' | '\t'));
        let outside = self.facts.get(number).is_some_and(|f| f.inside.is_none());
        outside && first.is_some_and(|c| *c != '#') && !line.starts_with(&['-', '-', '-'])
    }

    /// The line from `begins` on, with one blank where one is due.
    fn content(&self, number: usize, begins: usize) -> Result<String, Fault> {
        let mut out = String::new();
        let mut at = 0;
        // Blanks are written when it is known what they stand before.
        let mut blanks = 0;
        let mut after = None;
        for piece in self.pieces(number) {
            let width = piece.width();
            at += width;
            if at <= begins {
                continue;
            }
            match piece {
                Piece::Blanks(n) => {
                    blanks = n;
                    continue;
                }
                Piece::Comment(text) => {
                    let text: String = text.iter().collect();
                    if !out.is_empty() {
                        out.push_str(&" ".repeat(blanks.max(1)));
                    }
                    out.push_str(text.trim_end());
                }
                Piece::Value(part, scalar) => {
                    out.push_str(&" ".repeat(due(after, blanks)));
                    out.push_str(&written(part, scalar));
                    after = Some('v');
                }
                Piece::Sign(sign) => {
                    if matches!(sign, '?' | '!' | '&' | '*' | '%' | '@' | '`') {
                        return Err((number + 1, format!("`{sign}` is used in a way that is not laid out here")));
                    }
                    if !matches!(sign, ',' | ':' | ']' | '}') {
                        out.push_str(&" ".repeat(due(after, blanks)));
                    }
                    out.push(sign);
                    after = Some(sign);
                }
            }
            blanks = 0;
        }
        Ok(out.trim_end().to_owned())
    }
}

/// How many blanks are due behind what came before: columns that were aligned behind commas stay aligned.
fn due(after: Option<char>, blanks: usize) -> usize {
    match after {
        None | Some('[' | '{') => 0,
        Some(',') => blanks.max(1),
        Some(_) => 1,
    }
}

/// A value as it is written: without quotes where they are not needed.
fn written(part: &[char], scalar: &Scalar) -> String {
    let text: String = part.iter().collect();
    let quoted = matches!(scalar.style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    if quoted && scalar.start.0 == scalar.end.0 && is_plain_text(&scalar.text) { scalar.text.clone() } else { text.trim_end().to_owned() }
}

fn shifted(line: &str, from: usize, to: usize) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    if indent < from && line.trim_matches(' ').is_empty() {
        return String::new();
    }
    let more = indent.saturating_sub(from);
    let text = line.trim_start_matches(' ');
    if text.is_empty() && more == 0 { String::new() } else { format!("{}{text}", " ".repeat(to + more)) }
}

/// Whether this is a `|` or `>` with its signs, and nothing else but a comment.
fn is_header(rest: &[char]) -> bool {
    let signs = rest.iter().skip(1).take_while(|c| matches!(c, '+' | '-' | '1'..='9')).count();
    let after = rest.get(1 + signs..).unwrap_or_default();
    let blanks = after.iter().take_while(|c| matches!(c, ' ' | '\t')).count();
    let ends = match after.get(blanks) {
        None => true,
        Some(c) => *c == '#' && blanks > 0,
    };
    matches!(rest.first(), Some('|' | '>')) && signs <= 2 && ends
}

/// Whether a dash that begins an entry stands here.
fn is_dash(line: &[char], column: usize) -> bool {
    line.get(column) == Some(&'-') && line.get(column + 1).is_none_or(|c| matches!(c, ' ' | '\t'))
}

fn place(marker: saphyr_parser::Marker) -> (usize, usize) {
    (marker.line().saturating_sub(1), marker.col())
}

/// A part of a line.
#[derive(Clone, Copy, Debug)]
enum Piece<'l> {
    Value(&'l [char], &'l Scalar),
    Comment(&'l [char]),
    Sign(char),
    Blanks(usize),
}

impl Piece<'_> {
    const fn width(&self) -> usize {
        match self {
            Self::Value(text, _) | Self::Comment(text) => text.len(),
            Self::Sign(_) => 1,
            Self::Blanks(n) => *n,
        }
    }
}

const INDENT: usize = 2;
