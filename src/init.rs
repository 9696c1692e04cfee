//! `portreeve init`: a small policy repo to begin from.
//!
//! Nothing is ever overwritten: if one of the files exists, none is written, and neither where one cannot be.

use crate::args::InitArgs;
use crate::files;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output;

/// Writes the scaffold.
pub(crate) fn run(args: &InitArgs) -> Outcome {
    let taken: Vec<_> = FILES.iter().map(|(path, _)| args.dir.join(path)).filter(|path| path.symlink_metadata().is_ok()).collect();
    if let Some(first) = taken.first() {
        return Err(Failure::with_help(
            format_args!("`{}` exists, and nothing is overwritten", first.display()),
            "give an empty folder, such as `portreeve init policies`",
        ));
    }
    files::create_all(&args.dir, FILES, &mut |_| {})
        .map_err(|(path, e)| Failure::new(format_args!("cannot write `{}`: {e}", path.display())))?;
    let dir = args.dir.display();
    output::tell(&format!("ok: wrote a policy repo into `{dir}`\n\nNext:\n  portreeve check {dir}\n  portreeve test {dir}\n"));
    Ok(Verdict::Yes)
}

const FILES: [(&str, &str); 6] = [
    ("README.md", include_str!("scaffold/README.md")),
    ("inventory.yaml", include_str!("scaffold/inventory.yaml")),
    ("permissions.yaml", include_str!("scaffold/permissions.yaml")),
    ("invariants.yaml", include_str!("scaffold/invariants.yaml")),
    ("tests.yaml", include_str!("scaffold/tests.yaml")),
    (".github/workflows/policies.yml", include_str!("scaffold/policies.yml")),
];
