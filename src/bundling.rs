//! `portreeve bundle`: builds, signs, verifies and shows built bundles. The form is the engine's; here files are read and written.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use portreeve_enforcer::ca::head_key;
use portreeve_engine::bundle::{BuiltBundle, BundleSigner, BundleVerifier, Demands, Distrust, Label, Manifest};
use portreeve_engine::{Authorizer, Timestamp};
use serde::Serialize;

use crate::args::{DocumentFormat, lifetime};
use crate::bundle::{self, LoadError};
use crate::diagnostics;
use crate::files;
use crate::help;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Arguments of `bundle`.
#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// What to do.
    #[command(subcommand)]
    verb: BundleVerb,
}

/// What can be done with built bundles.
#[derive(Debug, Subcommand)]
enum BundleVerb {
    /// Pack a valid bundle into one file that is the same on every machine, with a manifest
    #[command(after_help = help::BUNDLE_BUILD)]
    Build(BuildArgs),
    /// Sign a built bundle
    #[command(after_help = help::BUNDLE_SIGN)]
    Sign(SignArgs),
    /// Make sure that a built bundle is signed, whole, the one asked for, and not an older one
    #[command(after_help = help::BUNDLE_VERIFY)]
    Verify(VerifyArgs),
    /// Show what a built bundle says of itself
    #[command(after_help = help::BUNDLE_INSPECT)]
    Inspect(InspectArgs),
    /// Make an Ed25519 key pair for signed bundles
    #[command(after_help = help::BUNDLE_KEYGEN)]
    Keygen {
        /// The private key's file; the public key goes beside it with the extension `pub`
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// A directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository
    bundle: String,
    /// The name under which its successors will come too
    #[arg(long)]
    name: String,
    /// Higher than that of every predecessor [default: the time of issue in seconds]
    #[arg(long)]
    serial: Option<u64>,
    /// The time of issue, such as 2026-11-22T10:00:00Z [default: now]; with it, the same sources give the same bytes
    #[arg(long, value_name = "TIME")]
    issued_at: Option<Timestamp>,
    /// Sign with this private key (Ed25519, PEM)
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Where to write it; replaced whole
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct SignArgs {
    /// A built bundle with a manifest
    file: PathBuf,
    /// The private key (Ed25519, PEM)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write it [default: in the place of the unsigned one]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// A built bundle
    file: PathBuf,
    /// The public key (Ed25519, PEM)
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The name it must have
    #[arg(long)]
    name: Option<String>,
    /// The lowest serial that is acceptable
    #[arg(long, value_name = "SERIAL", conflicts_with = "newer_than")]
    min_serial: Option<u64>,
    /// The bundle in force: the name must be the same, and the serial higher, unless it is the very same revision
    #[arg(long, value_name = "FILE")]
    newer_than: Option<PathBuf>,
    /// How long ago it may have been issued: a number and `s`, `m`, `h` or `d`
    #[arg(long, value_name = "AGE", value_parser = lifetime)]
    max_age: Option<Duration>,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    format: DocumentFormat,
}

#[derive(Debug, Args)]
struct InspectArgs {
    /// A built bundle
    file: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: DocumentFormat,
}

/// Does what was asked.
pub(crate) fn run(args: &BundleArgs) -> Outcome {
    match &args.verb {
        BundleVerb::Build(args) => build(args),
        BundleVerb::Sign(args) => sign(args),
        BundleVerb::Verify(args) => verify(args),
        BundleVerb::Inspect(args) => inspect(args),
        BundleVerb::Keygen { out } => keygen(out),
    }
}

fn build(args: &BuildArgs) -> Outcome {
    let loaded = bundle::load(&args.bundle)?;
    let compiled = Authorizer::compile(&loaded.bundle);
    if compiled.authorizer.is_none() {
        let errors: Vec<_> = compiled.diagnostics.iter().filter(|d| d.is_error()).cloned().collect();
        let mut text = diagnostics::human(&errors);
        text.push_str(&format!("error: the bundle `{}` is invalid and is not built: {}\n", args.bundle, diagnostics::count(&errors)));
        return Err(Failure::Told(text));
    }
    let issued_at = args.issued_at.unwrap_or_else(now);
    let serial = args.serial.unwrap_or_else(|| u64::try_from(issued_at.unix_ms() / 1000).unwrap_or_default());
    let label = Label { name: args.name.clone(), serial, issued_at };
    let mut built = BuiltBundle::build(loaded.bundle, label).map_err(Failure::new)?;
    if let Some(key) = &args.key {
        built = built.sign(&signer(key)?).map_err(Failure::new)?;
    }
    write(&built, &args.out)?;
    let how = if args.key.is_some() { "built and signed" } else { "built" };
    output::tell(&format!(
        "ok: {how} `{}`, serial {serial}, {}\n    revision {}\n    {}\n",
        args.name,
        diagnostics::many(built.bundle.files.len(), "file"),
        built.bundle.revision,
        args.out.display()
    ));
    Ok(Verdict::Yes)
}

fn sign(args: &SignArgs) -> Outcome {
    let built = read(&args.file)?;
    let signed = built.sign(&signer(&args.key)?).map_err(|why| {
        Failure::with_help(
            format_args!("cannot sign `{}`: {why}", args.file.display()),
            "build it with `portreeve bundle build`, which writes a manifest",
        )
    })?;
    let out = args.out.as_ref().unwrap_or(&args.file);
    write(&signed, out)?;
    output::tell(&format!("ok: signed `{}`\n", out.display()));
    Ok(Verdict::Yes)
}

fn verify(args: &VerifyArgs) -> Outcome {
    let key = verifier(&args.key)?;
    let mut demands = Demands { name: args.name.clone(), serial_min: args.min_serial, ..Demands::default() };
    if let Some(path) = &args.newer_than {
        let before = read(path)?;
        let label = before.verify(&key, &Demands::default());
        let label = label.map_err(|why| Failure::new(format_args!("cannot compare with `{}`: {why}", path.display())))?;
        demands.after = Some((label, before.bundle.revision));
    }
    if let Some(age) = args.max_age {
        let to = now();
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        demands.issued = Some((Timestamp::from_unix_ms(to.unix_ms().saturating_sub(age)), to));
    }
    // What is wrong with the bundle is an answer; that its file cannot be opened is none.
    let bytes = bytes(&args.file)?;
    let verified = BuiltBundle::read(&args.file.display().to_string(), &bytes)
        .map_err(|why| why.to_string())
        .and_then(|built| built.verify(&key, &demands).map(|_| built).map_err(|why: Distrust| why.to_string()));
    let (built, why) = match verified {
        Ok(built) => (Some(built), None),
        Err(why) => (None, Some(why)),
    };
    let report = Verified {
        file: args.file.display().to_string(),
        verified: built.is_some(),
        why,
        manifest: built.as_ref().and_then(|b| b.manifest.as_ref()),
    };
    match args.format {
        DocumentFormat::Human => output::tell(&report.human()),
        DocumentFormat::Json => document(&report)?,
    }
    Ok(Verdict::of(report.verified))
}

/// The `--format json` document of `verify`.
#[derive(Serialize)]
struct Verified<'a> {
    file: String,
    verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    manifest: Option<&'a Manifest>,
}

impl Verified<'_> {
    fn human(&self) -> String {
        match (self.manifest, &self.why) {
            (Some(m), _) => format!(
                "ok: `{}` is the bundle `{}`, serial {}, issued {}, with a valid signature\n    revision {}\n",
                self.file, m.name, m.serial, m.issued_at, m.revision
            ),
            (None, why) => format!("error: `{}` is refused: {}\n", self.file, why.as_deref().unwrap_or_default()),
        }
    }
}

/// The `--format json` document of `inspect`.
#[derive(Serialize)]
struct Inspected<'a> {
    file: String,
    revision: String,
    /// `null` for an archive that plain `tar` made.
    manifest: Option<&'a Manifest>,
    /// The key that signed, by its id; `null` where nobody did. Nothing is verified here.
    signed_by: Option<String>,
    files: Vec<&'a str>,
}

fn inspect(args: &InspectArgs) -> Outcome {
    let built = read(&args.file)?;
    let report = Inspected {
        file: args.file.display().to_string(),
        revision: built.bundle.revision.to_string(),
        manifest: built.manifest.as_ref(),
        signed_by: built.seal.as_ref().map(|s| s.key.to_string()),
        files: built.bundle.files.iter().map(|f| f.path.as_str()).collect(),
    };
    if args.format == DocumentFormat::Json {
        document(&report)?;
        return Ok(Verdict::Yes);
    }
    let mut text = match report.manifest {
        Some(m) => format!("{}\n  name       {}\n  serial     {}\n  issued     {}\n", report.file, m.name, m.serial, m.issued_at),
        None => format!("{}\n  manifest   none: made by plain `tar`\n", report.file),
    };
    let signed = report.signed_by.as_ref().map_or("by nobody".to_owned(), |key| format!("by the key {key} (not verified here)"));
    text.push_str(&format!("  revision   {}\n  signed     {signed}\n", report.revision));
    for file in &built.bundle.files {
        text.push_str(&format!("  {:>8}   {}\n", file.bytes.len(), file.path));
    }
    output::tell(&text);
    Ok(Verdict::Yes)
}

fn keygen(out: &Path) -> Outcome {
    let public = out.with_extension("pub");
    if public == *out {
        return Err(Failure::new(format_args!("`{}` is the public key's name; give another for the private one", out.display())));
    }
    head_key().and_then(|pair| pair.write(out, &public)).map_err(Failure::new)?;
    output::tell(&format!("ok: wrote `{}`, which signs, and `{}`, which verifies\n", out.display(), public.display()));
    Ok(Verdict::Yes)
}

fn document(value: &impl Serialize) -> Result<(), Failure> {
    let mut out = Out::new();
    out.json_document(value)?;
    out.flush()
}

fn read(path: &Path) -> Result<BuiltBundle, Failure> {
    let name = path.display().to_string();
    Ok(BuiltBundle::read(&name, &bytes(path)?).map_err(|error| LoadError::Archive { name, error })?)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    Ok(bundle::read_archive_file(path)?)
}

fn write(built: &BuiltBundle, path: &Path) -> Result<(), Failure> {
    let bytes = built.to_bytes().map_err(|e| Failure::new(format_args!("cannot build the bundle: {e}")))?;
    files::replace(path, &bytes, 0o644).map_err(|e| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))
}

/// A private key that signs bundles and reports.
pub(crate) fn signer(path: &Path) -> Result<BundleSigner, Failure> {
    BundleSigner::from_pem(&pem(path)?).map_err(|e| {
        Failure::with_help(format_args!("`{}`: {e}", path.display()), "make a pair with `portreeve bundle keygen --out bundle.key`")
    })
}

/// The public half.
pub(crate) fn verifier(path: &Path) -> Result<BundleVerifier, Failure> {
    BundleVerifier::from_pem(&pem(path)?).map_err(|e| {
        Failure::with_help(format_args!("`{}`: {e}", path.display()), "give the public half, the file with the extension `pub`")
    })
}

/// A key file; what is longer than any key is not read to its end.
fn pem(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(KEY_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|e| Failure::new(format_args!("cannot read the key `{}`: {e}", path.display())))?;
    Ok(text)
}

fn now() -> Timestamp {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    Timestamp::from_unix_ms(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// An Ed25519 key in PEM has less than 200 bytes; comments may stand around it.
const KEY_BYTES_MAX: u64 = 16 << 10;
