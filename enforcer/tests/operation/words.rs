//! What the program says of itself, and to whom.

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer")).args(arguments).output().unwrap()
}

#[test]
fn help_and_version_go_to_standard_output() {
    for (argument, begins) in
        [("--version", "portreeve-enforcer 0."), ("-V", "portreeve-enforcer 0."), ("--help", "The sidecar"), ("-h", "The sidecar")]
    {
        let out = run(&[argument]);
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success() && out.stderr.is_empty() && text.starts_with(begins), "{argument}: {text}");
    }
}

#[test]
fn what_is_no_option_is_told_with_the_usage() {
    for (arguments, why) in
        [(&["--confg", "a"][..], "`--confg` is not an option"), (&["--config"], "`--config` needs a file"), (&[], "`--config` is missing")]
    {
        let out = run(arguments);
        let text = String::from_utf8(out.stderr).unwrap();
        assert_eq!(out.status.code(), Some(2), "{text}");
        assert!(out.stdout.is_empty() && text.contains(why) && text.contains("usage: "), "{text}");
    }
}
