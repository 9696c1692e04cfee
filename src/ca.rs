//! `portreeve ca`: the built-in certificate authority, keys for signed heads, and tokens for development.
//!
//! Files that exist are never overwritten, except what is issued again (`NAME.pem`, `NAME.key`) or written anew by intent
//! (`crl.pem`, `jwks.json`): those are replaced whole. Of a secret, only a token ever goes to stdout.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use portreeve_enforcer::ca::{
    Ca, CaError, CaOptions, INTERMEDIATE_LIFETIME_DEFAULT, LEAF_LIFETIME_DEFAULT, OVERLAP_DEFAULT, ROOT_LIFETIME_DEFAULT, Schedule, Stage,
    head_key,
};
use portreeve_enforcer::clock::wall;
use portreeve_enforcer::jwt::{Issuer, MintError};
use portreeve_enforcer::report::Report;
use portreeve_engine::id::{SpiffeId, TrustDomain};
use serde_json::{Map, Value};

use crate::args::lifetime;
use crate::help;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output;

/// Arguments of `ca`.
#[derive(Debug, Args)]
pub(crate) struct CaArgs {
    /// What to do.
    #[command(subcommand)]
    verb: CaVerb,
}

/// What the authority can do.
#[derive(Debug, Subcommand)]
enum CaVerb {
    /// Make an authority: a root and an intermediate
    #[command(after_help = help::CA_INIT)]
    Init {
        /// The trust domain it issues for, such as `market.example`
        #[arg(long)]
        trust_domain: TrustDomain,
        /// Where it is kept
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
    },
    /// Issue a certificate and its key for a workload
    #[command(after_help = help::CA_ISSUE)]
    Issue {
        /// The workload's SPIFFE ID
        #[arg(long)]
        id: SpiffeId,
        /// Where the authority is kept
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
        /// How long it is valid: a number and `s`, `m`, `h` or `d`; at most 30d [default: 24h]
        #[arg(long, value_parser = lifetime)]
        lifetime: Option<Duration>,
        /// A DNS name to add, for clients that look for one
        #[arg(long)]
        dns: Vec<String>,
        /// Writes `OUT.pem` and `OUT.key` [default: the last segment of the id]
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Take a new intermediate into use; what was issued before stays valid
    #[command(after_help = help::CA_RENEW)]
    Renew {
        /// Where the authority is kept
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
        /// How long it is valid [default: 365d]
        #[arg(long, value_parser = lifetime)]
        lifetime: Option<Duration>,
    },
    /// Revoke a certificate and write the revocation lists
    #[command(after_help = help::CA_REVOKE)]
    Revoke {
        /// Its serial number in hexadecimal, as the decision log has it
        #[arg(long)]
        serial: String,
        /// Where the authority is kept
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
    },
    /// Write the revocation lists anew; they are good for seven days
    #[command(after_help = help::CA_CRL)]
    Crl {
        /// Where the authority is kept
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
    },
    /// Make an Ed25519 key pair for signed heads of the decision log
    #[command(after_help = help::CA_HEAD_KEY)]
    HeadKey {
        /// The private key's file; the public key goes beside it with the extension `pub`
        #[arg(long)]
        out: PathBuf,
    },
    /// Write the public keys of the development token issuer as a JWK set; its key is made if there is none
    #[command(after_help = help::CA_JWKS)]
    Jwks {
        /// The key's file
        #[arg(long, default_value = "issuer.key")]
        key: PathBuf,
        /// Where the set is written; stdout if not given
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Take a new root into use, step by step, without anybody being refused
    #[command(after_help = help::CA_ROTATE)]
    Rotate {
        /// Where the authority is kept
        #[arg(long, default_value = "ca")]
        dir: PathBuf,
        /// How long a new root is known before it signs: a number and `s`, `m`, `h` or `d` [default: 2h]
        #[arg(long, value_parser = lifetime)]
        overlap: Option<Duration>,
        /// Do the next step although its time has not come
        #[arg(long)]
        now: bool,
    },
    /// Serve identities to the processes of this machine over the SPIFFE Workload API
    #[command(after_help = help::CA_SERVE)]
    Serve {
        /// Its configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only say whether it could run
        #[arg(long)]
        check: bool,
    },
    /// Run the security token service for development: it exchanges a user's token for one that is good for one service
    #[command(after_help = help::CA_STS)]
    Sts {
        /// Its configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Only say whether it could run
        #[arg(long)]
        check: bool,
    },
    /// Print a token of the development token issuer
    #[command(after_help = help::CA_TOKEN)]
    Token(TokenArgs),
}

/// Arguments of `ca token`.
#[derive(Debug, Args)]
struct TokenArgs {
    /// The `iss` claim
    #[arg(long)]
    issuer: String,
    /// The key's file, made by `portreeve ca jwks`
    #[arg(long, default_value = "issuer.key")]
    key: PathBuf,
    /// The `sub` claim
    #[arg(long)]
    sub: String,
    /// The `aud` claim; may be repeated
    #[arg(long, required = true)]
    aud: Vec<String>,
    /// The `scope` claim
    #[arg(long)]
    scope: Option<String>,
    /// How long it is valid
    #[arg(long, value_parser = lifetime, default_value = "1h")]
    lifetime: Duration,
    /// Another claim, `NAME=VALUE`; the value is JSON or else a text
    #[arg(long, value_name = "NAME=VALUE", value_parser = claim)]
    claim: Vec<(String, Value)>,
}

/// Does what was asked.
pub(crate) fn run(args: &CaArgs) -> Outcome {
    match &args.verb {
        CaVerb::Init { trust_domain, dir } => init(trust_domain, dir),
        CaVerb::Issue { id, dir, lifetime, dns, out } => issue(id, dir, lifetime.unwrap_or(LEAF_LIFETIME_DEFAULT), dns, out.as_deref()),
        CaVerb::Renew { dir, lifetime } => renew(dir, lifetime.unwrap_or(INTERMEDIATE_LIFETIME_DEFAULT)),
        CaVerb::Revoke { serial, dir } => {
            let ca = open(dir)?;
            ca.revoke(serial).map_err(Failure::new)?;
            said(format_args!("revoked `{serial}` and wrote `{}`", ca.crl_path().display()))
        }
        CaVerb::Crl { dir } => {
            let ca = open(dir)?;
            ca.write_crl().map_err(Failure::new)?;
            said(format_args!("wrote `{}`", ca.crl_path().display()))
        }
        CaVerb::HeadKey { out } => {
            let public = out.with_extension("pub");
            head_key().and_then(|pair| pair.write(out, &public)).map_err(Failure::new)?;
            said(format_args!("wrote `{}` for the enforcer and `{}` for the auditor", out.display(), public.display()))
        }
        CaVerb::Jwks { key, out } => jwks(key, out.as_deref()),
        CaVerb::Rotate { dir, overlap, now } => rotate(dir, overlap.unwrap_or(OVERLAP_DEFAULT), *now),
        CaVerb::Serve { config, check } => serve(config, *check),
        CaVerb::Sts { config, check } => sts(config, *check),
        CaVerb::Token(args) => token(args),
    }
}

fn init(trust_domain: &TrustDomain, dir: &Path) -> Outcome {
    let options = CaOptions { root_lifetime: ROOT_LIFETIME_DEFAULT, intermediate_lifetime: INTERMEDIATE_LIFETIME_DEFAULT };
    let ca = Ca::init(dir, trust_domain, options).map_err(Failure::new)?;
    said(format_args!(
        "made an authority for `{trust_domain}` in `{}`\n\nFor development and small fleets: whoever reads that folder can name any workload.\n\
         Enforcers trust `{}`. Next:\n  portreeve ca issue --dir {} --id spiffe://{trust_domain}/NAME",
        dir.display(),
        ca.root_path().display(),
        dir.display(),
    ))
}

fn issue(id: &SpiffeId, dir: &Path, lifetime: Duration, dns: &[String], out: Option<&Path>) -> Outcome {
    let last = id.path().rsplit('/').next().unwrap_or_default();
    let out = out.map_or_else(|| PathBuf::from(last), Path::to_owned);
    let (cert, key) = (appended(&out, ".pem"), appended(&out, ".key"));
    let issued = open(dir)?.issue(id, lifetime, dns).map_err(Failure::new)?;
    issued.write(&cert, &key).map_err(Failure::new)?;
    said(format_args!(
        "wrote `{}` and `{}` for `{id}`, serial `{}`, valid until {}",
        cert.display(),
        key.display(),
        issued.serial,
        issued.not_after
    ))
}

fn renew(dir: &Path, lifetime: Duration) -> Outcome {
    let mut ca = open(dir)?;
    ca.renew_intermediate(lifetime).map_err(Failure::new)?;
    said(format_args!("the new intermediate is valid until {}", ca.intermediate_not_after()))
}

fn jwks(key: &Path, out: Option<&Path>) -> Outcome {
    // The set does not name the issuer; only tokens do.
    let issuer = Issuer::open_or_create("", key).map_err(Failure::new)?;
    let Some(path) = out else {
        let mut out = output::Out::new();
        out.text(&format!("{}\n", issuer.jwks_json()))?;
        out.flush()?;
        return Ok(Verdict::Yes);
    };
    issuer.write_jwks(path).map_err(Failure::new)?;
    said(format_args!("wrote `{}`, the public half of `{}`", path.display(), key.display()))
}

/// The next step of a change of root. What is in order is decided where the authority is; here only the time is looked at.
fn rotate(dir: &Path, overlap: Duration, now: bool) -> Outcome {
    let mut ca = open(dir)?;
    let schedule = Schedule { root_every: None, overlap, options: CaOptions::DEFAULT };
    let due = ca.due(&schedule, wall());
    let early = |until: &str| {
        let why = format!("too early: {until}");
        Err(Failure::with_help(why, "come back then, or add `--now` if every enforcer is known to be ready"))
    };
    match ca.stage().clone() {
        Stage::Settled => {
            ca.announce(true, CaOptions::DEFAULT).map_err(Failure::new)?;
            let trust = ca.root_path();
            said(format_args!(
                "made a new root known: `{}` has the old and the new one\nGive that file to every enforcer; the agent does so by itself. \
                 After {} s run `portreeve ca rotate` again.",
                trust.display(),
                overlap.as_secs()
            ))
        }
        Stage::Announced { at, .. } if due.is_none() && !now => {
            let until = at.plus_ms(i64::try_from(overlap.as_millis()).unwrap_or(i64::MAX));
            early(&format!("the new signer is known since {at} and signs from {until} on"))
        }
        Stage::Announced { .. } => {
            ca.switch().map_err(Failure::new)?;
            match ca.stage() {
                Stage::Switched { until } => said(format_args!(
                    "the new root signs from now on\nThe old one is believed until {until}, when the last of its certificates ends; then run \
                     `portreeve ca rotate` again."
                )),
                _ => said(format_args!("the new intermediate signs from now on")),
            }
        }
        Stage::Switched { until } if due.is_none() && !now => early(&format!("certificates of the old root may live until {until}")),
        Stage::Switched { .. } => {
            ca.drop_old().map_err(Failure::new)?;
            said(format_args!("forgot the old root: `{}` has the new one alone; give it to every enforcer", ca.root_path().display()))
        }
    }
}

fn serve(config: &Path, check: bool) -> Outcome {
    let report = Report::new(|message| output::tell(&format!("portreeve: {message}\n")));
    portreeve_enforcer::ca::serve(config, check, &report).map_err(told)?;
    if check {
        return said(format_args!("an agent can run with `{}`", config.display()));
    }
    Ok(Verdict::Yes)
}

fn sts(config: &Path, check: bool) -> Outcome {
    let report = Report::new(|message| output::tell(&format!("portreeve: {message}\n")));
    portreeve_enforcer::sts::run(config, check, &report).map_err(told)?;
    if check {
        return said(format_args!("a token service can run with `{}`", config.display()));
    }
    Ok(Verdict::Yes)
}

/// Faults of a configuration come with their places, each as an error of its own.
fn told(error: impl std::fmt::Display) -> Failure {
    let text = error.to_string();
    if text.starts_with("error[") { Failure::Told(format!("{text}\n")) } else { Failure::new(text) }
}

fn token(args: &TokenArgs) -> Outcome {
    let issuer = Issuer::open(&args.issuer, &args.key).map_err(|e| match e {
        MintError::File { .. } => Failure::with_help(e, "make the key with `portreeve ca jwks`"),
        other => Failure::new(other),
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), args.sub.as_str().into());
    claims.insert("aud".to_owned(), args.aud.as_slice().into());
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(args.lifetime.as_secs()).into());
    if let Some(scope) = &args.scope {
        claims.insert("scope".to_owned(), scope.as_str().into());
    }
    claims.extend(args.claim.iter().cloned());
    let token = issuer.mint(&Value::Object(claims)).map_err(Failure::new)?;
    let mut out = output::Out::new();
    out.text(&format!("{token}\n"))?;
    out.flush()?;
    Ok(Verdict::Yes)
}

fn open(dir: &Path) -> Result<Ca, Failure> {
    Ca::open(dir).map_err(|e| match e {
        CaError::File { .. } => Failure::with_help(e, "make an authority with `portreeve ca init --trust-domain NAME`"),
        other => Failure::new(other),
    })
}

fn said(what: std::fmt::Arguments<'_>) -> Outcome {
    output::tell(&format!("ok: {what}\n"));
    Ok(Verdict::Yes)
}

/// `path` with more at its end: an extension would cut names that have dots.
fn appended(path: &Path, end: &str) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(end);
    PathBuf::from(text)
}

fn claim(text: &str) -> Result<(String, Value), &'static str> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected `NAME=VALUE`")?;
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}
