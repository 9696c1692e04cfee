//! The seeds of the fuzz target `scan`, and whatever it found, through the same check.

#[path = "../../fuzz/scan.rs"]
mod scan;

#[test]
fn the_scanner_and_serde_json_agree_on_the_seeds() {
    let mut replayed = 0;
    for folder in ["../fuzz/seeds/scan", "../tests/corpus/fuzz/scan"] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            scan::scan(&std::fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}
