//! What every rendering promises, on a plain assessment, a hostile one and a large one.

#[expect(unreachable_pub, reason = "shared with the browser test of the whole workspace")]
mod sample;

use std::path::PathBuf;

use portreeve_reports::{html, json, markdown, write_all};

#[test]
fn renders() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for (name, a) in
        [("market", sample::market()), ("hostile", sample::hostile()), ("crowd200", sample::crowd(200)), ("crowd40", sample::crowd(40))]
    {
        println!("{:?}", write_all(&a, &dir.join(name)).unwrap());
        assert_eq!(html(&a).unwrap(), html(&a.clone()).unwrap());
        assert!(json(&a).unwrap().ends_with("}\n"));
        assert!(!markdown(&a).contains("<script"));
    }
}
