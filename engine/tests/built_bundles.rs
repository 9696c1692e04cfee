//! Built bundles under attack: every way to change one is refused, each with its own words (A75).

#![cfg(test)]

use std::io::{Read as _, Write as _};

use flate2::{Compression, GzBuilder};
use portreeve_engine::bundle::archive::ArchiveError;
use portreeve_engine::bundle::{BuiltBundle, BundleSigner, Demands, Distrust, Label};
use portreeve_engine::{Bundle, SourceFile, Timestamp};

const FILES: [(&str, &str); 3] = [
    ("groups/all.yaml", "kind: Group\nname: all\nmembers: [a]\n"),
    ("inventory.yaml", "kind: Service\nname: a\nidentities: [spiffe://t.example/a]\n"),
    ("more.cedar", "// nothing yet\n"),
];

fn bundle(files: &[(&str, &str)]) -> Bundle {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).to_owned(), bytes: text.as_bytes().to_vec() });
    Bundle::from_files("market", files.collect()).unwrap()
}

fn signer() -> BundleSigner {
    BundleSigner::from_seed(&[7; 32])
}

fn label(name: &str, serial: u64) -> Label {
    Label { name: name.to_owned(), serial, issued_at: "2026-11-22T10:00:00Z".parse().unwrap() }
}

fn signed(serial: u64) -> BuiltBundle {
    BuiltBundle::build(bundle(&FILES), label("market", serial)).unwrap().sign(&signer()).unwrap()
}

fn read(bytes: &[u8]) -> Result<BuiltBundle, ArchiveError> {
    BuiltBundle::read("market.tar.gz", bytes)
}

/// An entry of an archive: path, kind, content.
type Entry = (String, tar::EntryType, Vec<u8>);

fn unpacked(bytes: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes));
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_str().unwrap().to_owned(), entry.header().entry_type(), bytes)
    });
    entries.collect()
}

/// Packs entries just as a build does, so that only what a test changed is different.
fn packed(entries: &[Entry]) -> Vec<u8> {
    gzip(&tarred(entries))
}

fn tarred(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, kind, bytes) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        // Written as bytes: the builder itself would refuse some of these paths.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        tar.append(&header, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    gzip_at(6, bytes)
}

fn gzip_at(level: u32, bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(level));
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

fn refused(bytes: &[u8], words: &str) {
    let error = read(bytes).expect_err(words).to_string();
    assert!(error.contains(words), "expected `{words}`, got `{error}`");
}

#[test]
fn a_build_is_the_same_bytes_and_the_same_revision_every_time() {
    let first = signed(7).to_bytes().unwrap();
    assert_eq!(first, signed(7).to_bytes().unwrap());
    let again = read(&first).unwrap();
    assert_eq!(again.bundle.revision, bundle(&FILES).revision);
    assert_eq!(again.to_bytes().unwrap(), first);
    // What `packed` writes is what a build writes: the attacks below change one thing only.
    assert_eq!(packed(&unpacked(&first)), first);
    let mut shuffled = FILES;
    shuffled.reverse();
    let built = BuiltBundle::build(bundle(&shuffled), label("market", 7)).unwrap().sign(&signer()).unwrap();
    assert_eq!(built.to_bytes().unwrap(), first);
}

#[test]
fn whoever_has_the_key_knows_the_bundle_and_its_age() {
    let built = read(&signed(7).to_bytes().unwrap()).unwrap();
    let key = signer().verifier();
    let verify = |demands: &Demands| built.verify(&key, demands);
    assert_eq!(verify(&Demands::default()), Ok(label("market", 7)));
    let other = BundleSigner::from_seed(&[8; 32]).verifier();
    assert_eq!(built.verify(&other, &Demands::default()), Err(Distrust::OtherKey { found: key.id(), wanted: other.id() }));
    let named = |name: &str| Demands { name: Some(name.to_owned()), ..Demands::default() };
    assert!(verify(&named("market")).is_ok());
    assert_eq!(verify(&named("town")), Err(Distrust::OtherName { found: "market".to_owned(), wanted: "town".to_owned() }));
    let serial = |least| Demands { serial_min: Some(least), ..Demands::default() };
    assert!(verify(&serial(7)).is_ok());
    assert_eq!(verify(&serial(8)), Err(Distrust::OlderSerial { found: 7, least: 8 }));

    let after = |name: &str, serial, files: &[(&str, &str)]| Demands {
        after: Some((label(name, serial), bundle(files).revision)),
        ..Demands::default()
    };
    assert!(verify(&after("market", 6, &FILES[..2])).is_ok());
    assert!(verify(&after("market", 7, &FILES)).is_ok(), "the very same bundle is no step back");
    assert_eq!(verify(&after("market", 7, &FILES[..2])), Err(Distrust::SerialReused(7)));
    assert_eq!(verify(&after("market", 8, &FILES[..2])), Err(Distrust::OlderSerial { found: 7, least: 8 }));
    assert!(matches!(verify(&after("town", 1, &FILES)), Err(Distrust::OtherName { .. })));

    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    let issued = |from: &str, to: &str| Demands { issued: Some((time(from), time(to))), ..Demands::default() };
    assert!(verify(&issued("2026-11-22T09:00:00Z", "2026-11-22T11:00:00Z")).is_ok());
    assert!(matches!(verify(&issued("2026-11-22T10:00:00.001Z", "2026-11-23T00:00:00Z")), Err(Distrust::TooOld { .. })));
    assert!(matches!(verify(&issued("2026-11-21T00:00:00Z", "2026-11-22T09:00:00Z")), Err(Distrust::FromTheFuture { .. })));
}

#[test]
fn a_signature_that_was_taken_off_or_belongs_elsewhere_is_no_signature() {
    let key = signer().verifier();
    let entries = unpacked(&signed(7).to_bytes().unwrap());
    let without: Vec<Entry> = entries.iter().filter(|e| !e.0.ends_with("signature.json")).cloned().collect();
    assert_eq!(read(&packed(&without)).unwrap().verify(&key, &Demands::default()), Err(Distrust::Unsigned));
    let bare: Vec<Entry> = entries.iter().filter(|e| !e.0.starts_with('.')).cloned().collect();
    assert_eq!(read(&packed(&bare)).unwrap().verify(&key, &Demands::default()), Err(Distrust::NoManifest));
    let alone: Vec<Entry> = entries.iter().filter(|e| !e.0.ends_with("manifest.json")).cloned().collect();
    refused(&packed(&alone), "a signature and no manifest");

    // The signature of serial 7 under the manifest of serial 8, and that of another revision.
    for other in [signed(8), BuiltBundle::build(bundle(&FILES[..2]), label("market", 7)).unwrap()] {
        let graft = BuiltBundle { seal: signed(7).seal, ..other };
        let graft = read(&graft.to_bytes().unwrap()).unwrap();
        assert_eq!(graft.verify(&key, &Demands::default()), Err(Distrust::Signature));
    }
}

#[test]
fn what_is_more_less_or_other_than_the_manifest_says_is_refused() {
    let entries = unpacked(&signed(7).to_bytes().unwrap());
    let plain = tar::EntryType::Regular;
    let with = |entry: Entry| packed(&[entries.clone(), vec![entry]].concat());
    refused(&with(("z.yaml".to_owned(), plain, b"kind: Group\n".to_vec())), "`z.yaml` is in the archive and not in the manifest");
    refused(&with(("README.md".to_owned(), plain, b"hello".to_vec())), "`README.md` is in the archive and not in the manifest");
    refused(&with((".Portreeve/manifest.json".to_owned(), plain, b"{}".to_vec())), "in the archive and not in the manifest");
    refused(&with((".portreeve/manifest.json".to_owned(), plain, b"{}".to_vec())), "`.portreeve/manifest.json` is there twice");
    refused(&with(("./.portreeve/manifest.json".to_owned(), plain, b"{}".to_vec())), "is there twice");
    refused(&with(("inventory.yaml".to_owned(), plain, FILES[1].1.as_bytes().to_vec())), "`inventory.yaml` is there twice");
    let less: Vec<Entry> = entries.iter().filter(|e| e.0 != "inventory.yaml").cloned().collect();
    refused(&packed(&less), "`inventory.yaml` is in the manifest and not in the archive");
    let mut changed = entries.clone();
    changed.last_mut().unwrap().2[0] = b'#';
    refused(&packed(&changed), "`more.cedar` is not what the manifest says");

    let manifest = String::from_utf8(entries[0].2.clone()).unwrap();
    let revision = bundle(&FILES).revision.hex();
    let digit = if revision.starts_with('0') { "1" } else { "0" };
    let forms = [
        (manifest.replacen(&revision, &format!("{digit}{}", revision.chars().skip(1).collect::<String>()), 1), "the manifest names"),
        (manifest.replace("\"v\": 1", "\"v\": 2"), "version 2 is not known"),
        (manifest.replace("\"market\"", "\"mar\\nket\""), "is not a name"),
        (manifest.replace("\"serial\"", "\"colour\": 1, \"serial\""), "unknown field"),
        (manifest.replace("\"serial\": 7", "\"serial\": 7, \"serial\": 8"), "duplicate field"),
        (manifest.replace("groups/all.yaml", "z/all.yaml"), "not sorted"),
        (manifest.replace("{\n", "{\n\n"), "not in the form"),
    ];
    for (text, words) in forms {
        let mut entries = entries.clone();
        entries[0].2 = text.into_bytes();
        refused(&packed(&entries), words);
    }
}

#[test]
fn archives_stay_inside_and_hold_plain_files() {
    let entries = unpacked(&signed(7).to_bytes().unwrap());
    let plain = tar::EntryType::Regular;
    for path in ["../up.yaml", "/etc/x.yaml", "a/../../x.yaml", "a//x.yaml", "./../x.yaml", "a/./x.yaml", "a\\x.yaml", "././x.yaml"] {
        refused(&packed(&[(path.to_owned(), plain, b"x".to_vec())]), "does not stay below");
        refused(&packed(&[entries.clone(), vec![(path.to_owned(), plain, b"x".to_vec())]].concat()), "does not stay below");
    }
    refused(&packed(&[("../up/".to_owned(), tar::EntryType::Directory, Vec::new())]), "does not stay below");
    for kind in [tar::EntryType::Symlink, tar::EntryType::Link, tar::EntryType::Char, tar::EntryType::Fifo, tar::EntryType::GNUSparse] {
        let bytes = packed(&[("x.yaml".to_owned(), kind, Vec::new())]);
        assert!(read(&bytes).is_err(), "{kind:?}");
    }
    refused(&packed(&[("x.yaml".to_owned(), tar::EntryType::Symlink, Vec::new())]), "is not a plain file");
    // A folder of its own is harmless without a manifest, and a stranger under one.
    let folder = ("groups/".to_owned(), tar::EntryType::Directory, Vec::new());
    let bare: Vec<Entry> = entries.iter().filter(|e| !e.0.starts_with('.')).cloned().collect();
    assert!(read(&packed(&[vec![folder.clone()], bare].concat())).is_ok());
    refused(&packed(&[entries, vec![folder]].concat()), "not in the form");
}

#[test]
fn nothing_hides_behind_the_end_and_nothing_explodes() {
    let built = signed(7);
    let bytes = built.to_bytes().unwrap();
    refused(&[bytes.as_slice(), b"x"].concat(), "bytes after the end");
    refused(&[bytes.as_slice(), &bytes].concat(), "bytes after the end");
    let mut tar = tarred(&unpacked(&bytes));
    tar.extend_from_slice(b"behind");
    refused(&gzip(&tar), "bytes after the end");
    let mut padded = tarred(&unpacked(&bytes));
    padded.extend_from_slice(&[0; 512]);
    refused(&gzip(&padded), "not in the form");
    // A second archive behind the first.
    refused(&gzip(&[tarred(&unpacked(&bytes)), tarred(&unpacked(&bytes))].concat()), "bytes after the end");
    for (at, value) in [(4, 1), (8, 2), (9, 3)] {
        let mut other = bytes.clone();
        other[at] = value;
        refused(&other, "not in the form");
    }
    refused(b"not an archive", "not a gzip archive");
    refused(&bytes[..bytes.len() / 2], "broken");

    // Much of nothing in a small file: as one file, and behind the end.
    let zeros = vec![0; 65 << 20];
    refused(&gzip_at(1, &tarred(&[("x.yaml".to_owned(), tar::EntryType::Regular, zeros.clone())])), "holds more than");
    // A header that claims little does not let more through.
    let mut tar = tarred(&[("x.yaml".to_owned(), tar::EntryType::Regular, b"kind: Group\n".to_vec())]);
    tar.extend_from_slice(&zeros);
    tar.extend_from_slice(&zeros[..26 << 20]);
    refused(&gzip_at(1, &tar), "holds more than");
}

#[test]
fn a_path_too_long_for_the_format_is_told_not_cut() {
    let path = format!("{}/x.yaml", "a".repeat(300));
    let built = BuiltBundle::build(bundle(&[(&path, "kind: Group\n")]), label("market", 1)).unwrap();
    assert!(matches!(built.to_bytes(), Err(ArchiveError::PathTooLong(found)) if found == path));
    assert!(BuiltBundle::build(bundle(&FILES), label("two\nlines", 1)).is_err());
}

/// Every single byte changed in every bit that matters: accepted never, or with the same content.
#[test]
fn no_flipped_byte_is_accepted_with_another_content() {
    let bytes = signed(7).to_bytes().unwrap();
    let key = signer().verifier();
    let original = read(&bytes).unwrap();
    let mut refusals = 0;
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= mask;
            match read(&flipped) {
                Err(_) => refusals += 1,
                Ok(built) => {
                    let verified = built.verify(&key, &Demands::default());
                    let same = built.bundle.files == original.bundle.files && built.manifest == original.manifest;
                    assert!(verified.is_err() || same, "byte {at} ^ {mask:#x} is accepted with another content");
                    refusals += usize::from(verified.is_err());
                }
            }
        }
    }
    // And under the compression, where the archive itself is written to.
    let tar = tarred(&unpacked(&bytes));
    let accepted = |tar: &[u8]| read(&gzip_at(2, tar)).is_ok_and(|built| built.verify(&key, &Demands::default()).is_ok());
    assert!(accepted(&tar));
    for at in (0..tar.len()).step_by(5).chain(0..600) {
        let mut flipped = tar.clone();
        flipped[at] ^= 0x01;
        assert!(!accepted(&flipped), "byte {at} of the archive can be changed");
    }
    println!("{refusals} of {} changes of the file are refused", bytes.len() * 2);
    assert!(refusals * 100 >= bytes.len() * 2 * 95, "{refusals} refusals: the test changes nothing that counts");
}
