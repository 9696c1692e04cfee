//! The seeds of the fuzz target `quick`, and whatever it found, through the same check; and some lines at random.

#![cfg(test)]

#[path = "../../fuzz/quick.rs"]
mod quick;

#[test]
fn the_quick_and_the_general_way_agree_on_the_seeds() {
    let mut replayed = 0;
    for folder in ["../fuzz/seeds/quick", "../tests/corpus/fuzz/quick"] {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        for entry in entries {
            quick::quick(&std::fs::read(entry.unwrap().path()).unwrap());
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}

#[test]
fn the_quick_and_the_general_way_agree_on_lines_at_random() {
    let mut state = 0x5eed_0031_u64;
    println!("seed {state:#x}");
    let mut below = |n: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % n
    };
    for _ in 0..60 {
        let mut data = Vec::new();
        for _ in 0..12 {
            // Every key once, mostly with its first value; now and then one is missing, or stands twice.
            for key in 0..18_u8 {
                let value = if below(6) > 0 { 0 } else { u8::try_from(below(9)).unwrap() };
                // `timestamp` and the path that was sent stand beside another that says the same.
                let is_there = if matches!(key, 1 | 4) { below(20) == 0 } else { below(30) > 0 };
                for _ in 0..usize::from(is_there) + usize::from(below(80) == 0) {
                    // No byte may be a newline.
                    data.extend([key + 18, value + 120]);
                }
            }
            data.push(b'\n');
        }
        quick::quick(&data);
    }
}
