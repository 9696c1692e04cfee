//! Revocation: what was revoked (`revoked.txt`, one serial number and time a line) and the lists made of it (`crl.pem`).
//!
//! `crl.pem` has one list for the root and one for each intermediate that may still be in use, each with every revoked
//! number: serial numbers are random, so one too many in a list revokes nothing else. Enforcers that are given the file
//! refuse everyone when it is past its `nextUpdate`: write it again within [`super::CRL_LIFETIME`].

use std::path::PathBuf;

use portreeve_engine::Timestamp;
use rcgen::{CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SerialNumber};

use super::authority::{CERT_MODE, RETIRED, Signer, millis, now, read_text};
use super::limits::{CRL_LIFETIME, SKEW};
use super::request::rcgen_time;
use super::succession::Turn;
use super::{Ca, CaError};
use crate::files::replace;

struct Revoked {
    serial: String,
    at: Timestamp,
}

impl Ca {
    /// The file with the revocation lists: what `identity.crl` names.
    #[must_use]
    pub fn crl_path(&self) -> PathBuf {
        self.dir.join("crl.pem")
    }

    /// Revokes a certificate by its serial number, and writes the lists. Revoking twice is revoking once.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn revoke(&self, serial: &str) -> Result<(), CaError> {
        let serial = serial.to_ascii_lowercase();
        serial_bytes(&serial)?;
        let turn = Turn::take(&self.dir)?;
        let mut revoked = self.revoked()?;
        if !revoked.iter().any(|one| one.serial == serial) {
            revoked.push(Revoked { serial, at: now() });
            let text: String = revoked.iter().map(|one| format!("{} {}\n", one.serial, one.at)).collect();
            let path = self.revoked_path();
            replace(&path, text.as_bytes(), CERT_MODE).map_err(CaError::file(&path))?;
        }
        self.write_crl_in_turn(&turn)
    }

    /// Writes the lists anew, with a new `nextUpdate`.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn write_crl(&self) -> Result<(), CaError> {
        self.write_crl_in_turn(&Turn::take(&self.dir)?)
    }

    /// The lists of all signers whose certificates may be met, those that will sign soon included.
    pub(super) fn write_crl_in_turn(&self, _turn: &Turn) -> Result<(), CaError> {
        let revoked = self.revoked()?;
        let mut pem = list(&self.root.issuer, &revoked)? + &list(&self.intermediate.issuer, &revoked)?;
        for other in self.retired()?.iter().chain(&self.next_signers()?) {
            pem += &list(&other.issuer, &revoked)?;
        }
        let path = self.crl_path();
        replace(&path, pem.as_bytes(), CERT_MODE).map_err(CaError::file(&path))
    }

    fn revoked_path(&self) -> PathBuf {
        self.dir.join("revoked.txt")
    }

    fn revoked(&self) -> Result<Vec<Revoked>, CaError> {
        let path = self.revoked_path();
        let text = match read_text(&path) {
            Err(CaError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let entry = |line: &str| {
            let (serial, at) = line.split_once(' ')?;
            serial_bytes(serial).ok()?;
            Some(Revoked { serial: serial.to_owned(), at: at.parse().ok()? })
        };
        // A line that cannot be read is an error: leaving it out would let a revoked certificate in again.
        text.lines().map(|line| entry(line).ok_or_else(|| CaError::Content { path: path.clone(), cause: format!("`{line}`") })).collect()
    }

    /// Earlier intermediates whose leaves may still live.
    fn retired(&self) -> Result<Vec<Signer>, CaError> {
        let dir = self.dir.join(RETIRED);
        let entries = match std::fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(CaError::file(&dir))?,
        };
        let mut out = Vec::new();
        for entry in entries {
            let cert = entry.map_err(CaError::file(&dir))?.path();
            if cert.extension().is_some_and(|extension| extension == "pem") {
                out.push(Signer::open(&cert, &cert.with_extension("key"))?);
            }
        }
        out.retain(|signer| signer.not_after > now());
        out.sort_by(|a, b| a.serial.cmp(&b.serial));
        Ok(out)
    }
}

fn list(issuer: &Issuer<'_, KeyPair>, revoked: &[Revoked]) -> Result<String, CaError> {
    let now = now();
    let mut revoked_certs = Vec::new();
    for one in revoked {
        revoked_certs.push(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial_bytes(&one.serial)?),
            revocation_time: rcgen_time(one.at),
            reason_code: Some(RevocationReason::Unspecified),
            invalidity_date: None,
        });
    }
    let number = u64::try_from(now.unix_ms()).unwrap_or(0);
    let params = CertificateRevocationListParams {
        this_update: rcgen_time(now.plus_ms(-millis(SKEW))),
        next_update: rcgen_time(now.plus_ms(millis(CRL_LIFETIME))),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).and_then(|list| list.pem()).map_err(CaError::make("revocation list"))
}

/// The bytes of a serial number in hexadecimal, at most the 20 of RFC 5280.
fn serial_bytes(hex: &str) -> Result<Vec<u8>, CaError> {
    let wrong = || CaError::Serial(hex.to_owned());
    if hex.is_empty() || hex.len() > 40 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let even = if hex.len().is_multiple_of(2) { hex.to_owned() } else { format!("0{hex}") };
    let pairs = even.as_bytes().chunks_exact(2);
    pairs.map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()).ok_or_else(wrong)).collect()
}
