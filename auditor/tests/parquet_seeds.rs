//! The seeds of the fuzz target `parquet`, and whatever it found, through the same check.

#[path = "../../fuzz/parquet.rs"]
mod parquet;

#[test]
fn the_seeds_are_read_alike_in_pieces_and_whole() {
    let mut replayed = 0;
    for folder in ["../fuzz/seeds/parquet", "../tests/corpus/fuzz/parquet", "../tests/corpus/logs/parquet"] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            parquet::parquet(&std::fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 10);
}
