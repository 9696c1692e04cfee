//! Replays the fuzz seeds, and everything that fuzzing ever found, through the same checks that the fuzz targets run.

#![cfg(test)]

use std::fs;
use std::path::Path;

#[path = "../../fuzz/checks.rs"]
#[expect(unreachable_pub, reason = "the same file is the library of the fuzz targets, where its functions are public")]
mod checks;

type Check = (&'static str, fn(&[u8]), usize);

/// The checks, and how many files each has at least.
const CHECKS: [Check; 6] = [
    ("svid", checks::svid, 1),
    ("record", checks::record, 1),
    ("path", checks::path, 1),
    ("bundle", checks::bundle, 1),
    ("yaml", checks::yaml, 1),
    ("archive", checks::archive, 2),
];

#[test]
fn seeds_and_finds_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (name, check, least) in CHECKS {
        let mut seen = 0;
        for folder in ["fuzz/seeds", "tests/corpus/fuzz"] {
            let Ok(entries) = fs::read_dir(root.join(folder).join(name)) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                check(&fs::read(&path).unwrap());
                seen += 1;
            }
        }
        assert!(seen >= least, "`{name}` has {seen} files, at least {least} are expected");
    }
}

/// A seed that is refused leads the fuzzer nowhere.
#[test]
fn bundle_seeds_compile() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz/seeds/bundle");
    for entry in fs::read_dir(seeds).unwrap() {
        let path = entry.unwrap().path();
        assert!(checks::compiles(&fs::read(&path).unwrap()), "{}", path.display());
    }
}
