//! `portreeve decide`: a stream of requests in, a stream of decisions out, line for line.
//!
//! A line that is no request is answered too (`deny`, `malformed-request`); it never ends the stream. Memory is bounded by
//! the longest line, whatever the input.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use portreeve_engine::explain::{Explainer, Explanation};
use portreeve_engine::{Authorizer, Decision, Malformed, Request};
use serde::Serialize;

use crate::args::DecideArgs;
use crate::bundle;
use crate::limits::REQUEST_LINE_BYTES_MAX;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::Out;

/// Answers every line of the input.
pub(crate) fn run(args: &DecideArgs) -> Outcome {
    let loaded = bundle::load(&args.bundle)?;
    let authorizer = bundle::compiled(&args.bundle, &loaded.bundle)?;
    let mut explainer = args.explain.then(|| Explainer::new(&loaded.bundle, &authorizer));
    let mut input = open(&args.file)?;
    let mut out = Out::new();
    let mut all_allowed = true;
    let mut line = Vec::new();
    loop {
        // Someone who asks line by line waits for the answer before asking again.
        if input.buffer().is_empty() {
            out.flush()?;
        }
        let whole = read_line(&mut input, &mut line).map_err(|e| Failure::new(format_args!("cannot read the requests: {e}")))?;
        let request = match whole {
            Line::End => break,
            Line::TooLong => Err(Malformed::Json(format!("the line is longer than {REQUEST_LINE_BYTES_MAX} bytes"))),
            Line::Whole => Request::from_json_as(&line, |service| authorizer.paths(service)),
        };
        all_allowed &= answer(&authorizer, request, explainer.as_mut(), &mut out)?;
    }
    out.flush()?;
    Ok(Verdict::of(all_allowed))
}

/// A decision with its explanation.
#[derive(Serialize)]
struct Explained<'d, 'a> {
    #[serde(flatten)]
    decision: &'d Decision<'a>,
    #[serde(flatten)]
    explanation: Explanation,
}

type Asked = Result<Request, Malformed>;

fn answer(authorizer: &Authorizer, request: Asked, explainer: Option<&mut Explainer<'_>>, out: &mut Out) -> Result<bool, Failure> {
    let request = match request {
        Ok(request) => request,
        Err(malformed) => {
            out.json_line(&authorizer.decide_malformed(&malformed))?;
            return Ok(false);
        }
    };
    let decision = authorizer.decide(&request);
    match explainer {
        Some(explainer) => {
            let explanation = explainer.explain(&request, &decision);
            out.json_line(&Explained { decision: &decision, explanation })?;
        }
        None => out.json_line(&decision)?,
    }
    Ok(decision.is_allow())
}

type Input = BufReader<Box<dyn Read>>;

fn open(path: &Path) -> Result<Input, Failure> {
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(|e| Failure::new(format_args!("cannot open `{}`: {e}", path.display())))?)
    };
    Ok(BufReader::new(source))
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads one line without its newline. Of a line that is too long nothing is kept.
fn read_line(input: &mut Input, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let limit = REQUEST_LINE_BYTES_MAX as u64 + 1;
    if input.by_ref().take(limit).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Line::Whole);
    }
    if line.len() <= REQUEST_LINE_BYTES_MAX {
        return Ok(Line::Whole);
    }
    line.clear();
    input.skip_until(b'\n')?;
    Ok(Line::TooLong)
}
