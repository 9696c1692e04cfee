//! `--heads` and `--key`: the signed heads that vouch for logs.
//!
//! A mesh has a file of heads for each sidecar and may have a key for each, so both may be given more than once. INVARIANT: a head
//! counts only if one of the given keys signed it, and one that does not spoils its whole file.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use portreeve_auditor::VerifiedHeads;
use portreeve_auditor::assessment::{Given, GivenKind};
use portreeve_engine::chain::{Head, HeadVerifier};

use crate::limits::HEAD_LINE_BYTES_MAX;
use crate::outcome::Failure;
use crate::patterns;

/// The heads of some files and patterns, each signature checked, and what they and the keys were read from; none where no file is
/// named.
///
/// # Errors
/// A file or a key cannot be read, or a signature is of none of the keys.
pub(crate) fn given(heads: &[String], keys: &[PathBuf]) -> Result<(VerifiedHeads, Vec<Given>), Failure> {
    let (mut all, mut given) = (VerifiedHeads::default(), Vec::new());
    if heads.is_empty() {
        return Ok((all, given));
    }
    let unreadable = |path: &Path, e: std::io::Error| Failure::new(format_args!("cannot read `{}`: {e}", path.display()));
    let of = |kind, path: &Path, bytes: &[u8]| Given::file(kind, path.display().to_string(), bytes);
    let mut verifiers = Vec::with_capacity(keys.len());
    let mut keys_given = Vec::with_capacity(keys.len());
    for key in keys {
        let pem = std::fs::read_to_string(key).map_err(|e| unreadable(key, e))?;
        verifiers.push(HeadVerifier::from_pem(&pem).map_err(|e| Failure::new(format_args!("`{}`: {e}", key.display())))?);
        keys_given.push(of(GivenKind::HeadsKey, key, pem.as_bytes()));
    }
    for path in files(heads)? {
        let bytes = std::fs::read(&path).map_err(|e| unreadable(&path, e))?;
        all.extend(VerifiedHeads::read(&bytes, &verifiers).map_err(|e| Failure::new(format_args!("`{}`: {e}", path.display())))?);
        given.push(of(GivenKind::Heads, &path, &bytes));
    }
    given.extend(keys_given);
    Ok((all, given))
}

/// Whether the first line of a file is a signed head. Of a file that cannot be read nobody says so here; who reads it next does.
pub(crate) fn lie_in(path: &Path) -> bool {
    let mut line = Vec::new();
    let read = File::open(path).and_then(|file| BufReader::new(file.take(HEAD_LINE_BYTES_MAX)).read_until(b'\n', &mut line));
    read.is_ok() && Head::from_line(line.trim_ascii()).is_ok()
}

/// The files of some arguments, each once.
fn files(arguments: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let mut out: Vec<PathBuf> = Vec::new();
    for argument in arguments {
        let found = if patterns::is_pattern(argument) { patterns::matching(argument)? } else { vec![PathBuf::from(argument)] };
        for path in found {
            if !out.contains(&path) {
                out.push(path);
            }
        }
    }
    Ok(out)
}
