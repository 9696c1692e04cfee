//! Files of other writers against what those writers say stands in them, and files that were made to do harm.

use std::io::{Cursor as Bytes, Read as _};
use std::path::PathBuf;

use super::*;

fn corpus(name: &str) -> Vec<u8> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/logs/parquet"));
    std::fs::read(dir.join(name)).unwrap()
}

fn lines(bytes: &[u8]) -> io::Result<String> {
    let mut out = Vec::new();
    Rows::open(Box::new(Bytes::new(bytes)))?.read_to_end(&mut out)?;
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn why(bytes: &[u8]) -> String {
    lines(bytes).unwrap_err().to_string()
}

/// Every type and encoding, in both forms of pages, each codec, and by two writers.
#[test]
fn rows_are_what_their_writers_say() {
    let want = String::from_utf8(corpus("types.ndjson")).unwrap();
    let want: Vec<serde_json::Value> = want.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (name, columns) in [
        ("types-v1-snappy.parquet", 31),
        ("types-v2-gzip.parquet", 31),
        ("types-v1-none.parquet", 31),
        ("types-v2-zstd.parquet", 31),
        ("types-duckdb.parquet", 31),
        ("types-int96.parquet", 5),
    ] {
        let text = lines(&corpus(name)).unwrap();
        assert_eq!(text.lines().count(), want.len(), "{name}");
        for (n, (line, want)) in text.lines().zip(&want).enumerate() {
            let got: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).unwrap();
            assert_eq!(got.len(), columns, "{name}");
            for (key, got) in &got {
                // This writer keeps bytes of a fixed length as bytes of any, and those that are a text are one.
                let got = if (name, key.as_str()) == ("types-duckdb.parquet", "fixed") { &want[key] } else { got };
                assert_eq!(got, &want[key], "{name}, row {n}, {key}");
            }
        }
    }
}

#[test]
fn the_text_is_the_same_however_it_is_read() {
    let bytes = corpus("types-v1-snappy.parquet");
    let whole = lines(&bytes).unwrap();
    for size in [1, 7, 4096, 1 << 20] {
        let mut rows = Rows::open(Box::new(Bytes::new(&bytes))).unwrap();
        let mut out: Vec<u8> = Vec::new();
        let mut piece = vec![0; size];
        loop {
            let n = rows.read(&mut piece).unwrap();
            out.extend(&piece[..n]);
            if n == 0 {
                break;
            }
        }
        assert!(out == whole.as_bytes(), "{size}");
        assert_eq!(rows.finish().unwrap(), (Digest::of(&bytes), bytes.len() as u64));
    }
    assert!(whole.starts_with("{\"row\":0,\"flag\":true,\"runs\":true,\"small\":-100,"));
}

/// Where a writer gave pages check sums, altered bytes of a page are told, also where they would read as another value.
#[test]
fn a_page_that_was_altered_is_told_by_its_check_sum() {
    let bytes = corpus("types-v1-snappy.parquet");
    let whole = lines(&bytes).unwrap();
    let (mut told, mut silent) = (0, 0);
    for at in (4..bytes.len() / 2).step_by(31) {
        let mut altered = bytes.clone();
        altered[at] ^= 1;
        match lines(&altered) {
            Ok(text) => silent += u32::from(text != whole),
            Err(error) => told += u32::from(error.to_string().ends_with("the check sum of a page is wrong: its bytes were altered")),
        }
    }
    assert!(told > 100 && silent == 0, "{told} told, {silent} read as something else");
}

#[test]
fn a_file_that_is_cut_is_refused() {
    for name in ["types-v1-snappy.parquet", "types-v2-zstd.parquet", "istio-duckdb.parquet"] {
        let bytes = corpus(name);
        for length in (0..bytes.len()).step_by(101).chain(bytes.len() - 20..bytes.len()) {
            assert!(lines(&bytes[..length]).is_err(), "{name} {length}");
        }
        assert_eq!(why(&bytes[..bytes.len() / 2]), "the Parquet file is cut off, for its footer is missing");
    }
}

/// No alteration anywhere makes it run away, and most are seen.
#[test]
fn altered_bytes_are_seen_or_harmless() {
    let bytes = corpus("types-v1-snappy.parquet");
    let whole = lines(&bytes).unwrap();
    let footer = bytes.len() - 8 - u32::from_le_bytes(bytes[bytes.len() - 8..bytes.len() - 4].try_into().unwrap()) as usize;
    let mut state = 0x5eed_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut seen, mut tried) = (0, 0);
    for round in 0..300 {
        let mut altered = bytes.clone();
        let at = if round % 2 == 0 { 4 + random() as usize % (footer - 4) } else { footer + random() as usize % (bytes.len() - footer) };
        altered[at] ^= 1 << (random() % 8);
        let read = lines(&altered);
        if at < footer {
            tried += 1;
            seen += usize::from(read.as_ref().map_or(true, |text| *text != whole));
        }
        if let Ok(text) = read {
            assert!(text.len() < 2 * whole.len() + 4096, "byte {at}");
        }
    }
    // What is left are statistics and names of writers in the heads of pages, which nobody reads.
    assert!(tried == 150 && seen * 10 > tried * 7, "{seen} of {tried}");
    for name in ["types-v2-gzip.parquet", "types-v2-zstd.parquet", "types-duckdb.parquet", "hubble.parquet", "types-int96.parquet"] {
        let bytes = corpus(name);
        for _ in 0..80 {
            let mut altered = bytes.clone();
            for _ in 0..1 + random() % 3 {
                let at = random() as usize % altered.len();
                altered[at] = random() as u8;
            }
            let _ = lines(&altered);
        }
    }
}

/// Writes Thrift, as little of it as a file of one column takes.
mod made {
    pub(super) fn varint(mut n: u64, out: &mut Vec<u8>) {
        while n >= 0x80 {
            out.push(n as u8 | 0x80);
            n >>= 7;
        }
        out.push(n as u8);
    }

    pub(super) fn int(id: &mut u8, to: u8, n: i64, out: &mut Vec<u8>) {
        out.push((to - *id) << 4 | 6);
        *id = to;
        varint((n << 1 ^ n >> 63) as u64, out);
    }

    pub(super) struct Page {
        pub(super) kind: i64,
        pub(super) unpacked: i64,
        pub(super) values: i64,
        pub(super) encoding: i64,
        pub(super) bytes: Vec<u8>,
    }

    impl Page {
        fn write(&self, out: &mut Vec<u8>) {
            let mut id = 0;
            int(&mut id, 1, self.kind, out);
            int(&mut id, 2, self.unpacked, out);
            int(&mut id, 3, self.bytes.len() as i64, out);
            out.push(if self.kind == 2 { (7 - id) << 4 | 12 } else { (5 - id) << 4 | 12 });
            let mut id = 0;
            int(&mut id, 1, self.values, out);
            int(&mut id, 2, self.encoding, out);
            int(&mut id, 3, 3, out);
            int(&mut id, 4, 3, out);
            out.extend([0, 0]);
            out.extend(&self.bytes);
        }
    }

    /// A file of one required column `a` of texts.
    pub(super) fn file(pages: &[Page], codec: i64, rows: i64, columns: usize) -> Vec<u8> {
        let mut out = b"PAR1".to_vec();
        for page in pages {
            page.write(&mut out);
        }
        let bytes = out.len() as i64 - 4;
        let mut footer = Vec::new();
        let mut id = 0;
        int(&mut id, 1, 2, &mut footer);
        footer.extend([0x19, 0xfc]);
        varint(columns as u64 + 1, &mut footer);
        let mut element = 0;
        footer.extend([0x48, 1, b'r']);
        element += 4;
        int(&mut element, 5, columns as i64, &mut footer);
        footer.push(0);
        for _ in 0..columns {
            footer.extend([0x15, 12, 0x25, 0, 0x18, 1, b'a', 0]);
        }
        footer.extend([0x16]);
        varint((rows << 1 ^ rows >> 63) as u64, &mut footer);
        footer.extend([0x19, 0x1c, 0x19, 0xfc]);
        varint(columns as u64, &mut footer);
        for _ in 0..columns {
            footer.push(0x3c);
            let mut id = 0;
            int(&mut id, 4, codec, &mut footer);
            int(&mut id, 5, rows, &mut footer);
            int(&mut id, 7, bytes, &mut footer);
            int(&mut id, 9, 4, &mut footer);
            footer.extend([0, 0]);
        }
        let mut id = 1;
        int(&mut id, 3, rows, &mut footer);
        footer.extend([0, 0]);
        out.extend(&footer);
        out.extend((footer.len() as u32).to_le_bytes());
        out.extend(b"PAR1");
        out
    }
}

use made::{Page, file};

fn page(values: i64, bytes: &[u8]) -> Page {
    Page { kind: 0, unpacked: bytes.len() as i64, values, encoding: 0, bytes: bytes.to_vec() }
}

#[test]
fn a_file_made_to_do_harm_is_refused_within_bounds() {
    let plain = b"\x02\0\0\0ab\x01\0\0\0c";
    assert_eq!(lines(&file(&[page(2, plain)], 0, 2, 1)).unwrap(), "{\"a\":\"ab\"}\n{\"a\":\"c\"}\n");
    let dictionary = || Page { kind: 2, ..page(1, b"\x01\0\0\0x") };
    let indexes = |run: u64, values| {
        let mut bytes = vec![1];
        made::varint(run << 1, &mut bytes);
        bytes.push(0);
        Page { encoding: 8, ..page(values, &bytes) }
    };
    assert_eq!(lines(&file(&[dictionary(), indexes(3, 3)], 0, 3, 1)).unwrap(), "{\"a\":\"x\"}\n".repeat(3));

    let zeros = vec![0; 4 << 20];
    let bomb = zstd::encode_all(&*zeros, 1).unwrap();
    let small = |unpacked| Page { unpacked, bytes: bomb.clone(), ..page(1, b"") };
    let gzip = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut out, &zeros).unwrap();
        out.finish().unwrap()
    };
    let snappy = [&[0xff, 0xff, 0xff, 0xff, 0x07][..], b"\x00a"].concat();
    let cases: [(&str, Vec<u8>, &str); 16] = [
        ("a page that unpacks to more than it says", file(&[small(100)], 6, 1, 1), "does not unpack to what its head says"),
        ("gzip as well", file(&[Page { bytes: gzip, ..small(100) }], 2, 1, 1), "does not unpack to what its head says"),
        ("snappy that declares two gigabytes", file(&[Page { bytes: snappy, ..small(100) }], 1, 1, 1), "does not unpack"),
        ("a page of two gigabytes", file(&[small(i64::from(i32::MAX))], 6, 1, 1), "larger than what is read at once"),
        ("a page of less than nothing", file(&[small(-1)], 6, 1, 1), "the head of a page is damaged"),
        ("rows without number", file(&[dictionary(), indexes(1 << 40, 1 << 40)], 0, 1 << 40, 1), "more values than any log of this size"),
        ("rows below zero", file(&[page(1, plain)], 0, -1, 1), "below zero"),
        ("fewer rows than declared", file(&[page(2, plain)], 0, 3, 1), "a page is damaged"),
        ("more rows than declared", file(&[page(2, plain)], 0, 1, 1), "more values than the footer"),
        ("values beyond the page", file(&[page(3, plain)], 0, 3, 1), "fewer values than they declare"),
        ("a value longer than the page", file(&[page(1, b"\xff\xff\xff\x7fab")], 0, 1, 1), "fewer values than they declare"),
        ("a dictionary of many", file(&[Page { kind: 2, ..page(1 << 30, b"\x01\0\0\0x") }], 0, 1, 1), "more values than it holds"),
        ("a number without a value", file(&[dictionary(), Page { encoding: 8, ..page(1, &[8, 2, 9]) }], 0, 1, 1), "does not have"),
        ("many columns", file(&[page(1, plain)], 0, 1, 100_000), "is damaged"),
        ("a codec of the future", file(&[page(1, plain)], 99, 1, 1), "in a way that is not known (99); write it with zstd"),
        ("brotli", file(&[page(1, plain)], 4, 1, 1), "the column `a` of the Parquet file is compressed with Brotli; write it with"),
    ];
    for (name, bytes, want) in cases {
        let why = why(&bytes);
        let is_short_of_pages = name == "fewer rows than declared";
        assert!(why.contains(want) || (is_short_of_pages && why.contains("the head of a page")), "{name}: {why}");
    }
}

#[test]
fn what_has_to_be_held_at_once_is_bounded() {
    // Each column one page of ten megabytes, packed to nothing.
    let mut text = vec![0x20; 10 << 20];
    text[..4].copy_from_slice(&((10_u32 << 20) - 4).to_le_bytes());
    let packed = zstd::encode_all(&*text, 1).unwrap();
    let large = || Page { unpacked: 10 << 20, bytes: packed.clone(), ..page(1, b"") };
    assert!(lines(&file(&[large()], 6, 1, 1)).unwrap().len() <= LINE_BYTES_MAX + 16);
    assert!(why(&file(&[large()], 6, 1, 20)).contains("more has to be held at once than is; write smaller row groups"));
}

#[test]
fn what_is_no_parquet_file_is_told_from_one() {
    assert_eq!(why(b"PAR1"), "the Parquet file is cut off, for its footer is missing");
    assert_eq!(why(b"PAR1\0\0\0\0PARE"), "the Parquet file is encrypted; decrypt it first");
    assert_eq!(why(b"PAR1\xff\xff\xff\xffPAR1"), "the footer of the Parquet file is longer than the file");
    assert_eq!(why(b"PAR1\0\0\0\0PAR1"), "the footer of the Parquet file ends early");
}

/// A file that somebody writes anew while it is read.
#[derive(Clone)]
struct Shared(std::rc::Rc<std::cell::RefCell<Bytes<Vec<u8>>>>);

impl Shared {
    fn alter(&self, at: usize) {
        self.0.borrow_mut().get_mut()[at] ^= 1;
    }
}

impl Read for Shared {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(out)
    }
}

impl io::Seek for Shared {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(to)
    }
}

#[test]
fn a_file_that_is_written_anew_at_the_same_length_is_told() {
    for name in ["types-v1-snappy.parquet", "types-v2-zstd.parquet", "types-duckdb.parquet"] {
        let bytes = corpus(name);
        let open = || {
            let file = Shared(std::rc::Rc::new(std::cell::RefCell::new(Bytes::new(bytes.clone()))));
            (Rows::open(Box::new(file.clone())).unwrap(), file)
        };
        let read = |rows: &mut Rows<'_>| io::copy(rows, &mut io::sink()).unwrap();
        let (mut rows, _) = open();
        read(&mut rows);
        assert_eq!(rows.finish().unwrap(), (Digest::of(&bytes), bytes.len() as u64), "{name}");
        let mut told = 0;
        let places = || (4..bytes.len()).step_by(131).chain(bytes.len() - 8..bytes.len());
        for at in places() {
            let (mut rows, file) = open();
            read(&mut rows);
            file.alter(at);
            let finished = rows.finish();
            // What is no page of a column and not the footer, such as an index, is in no row.
            told += usize::from(finished.is_err());
            assert!(
                finished.is_err_and(|error| error.to_string().contains("changed while it was read")) || at < bytes.len() - 8,
                "{name} {at}"
            );
        }
        assert!(told * 10 > places().count() * 9, "{name}: {told} of {}", places().count());
        // Nothing of it was read but the footer, and only that counts.
        let (mut rows, file) = open();
        file.alter(64);
        assert!(rows.finish().is_ok(), "{name}");
    }
}

#[test]
fn runs_of_bytes_are_held_as_runs() {
    use super::witness::Witness;
    let bytes: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    // Two columns by turns, in small pieces; and one place within another.
    let saw = || {
        let mut witness = Witness::default();
        for n in 0..200_usize {
            witness.saw(n as u64 * 10, &bytes[n * 10..][..10]);
            witness.saw(3_000 + n as u64 * 7, &bytes[3_000 + n * 7..][..7]);
        }
        witness.saw(100, &bytes[100..2_000]);
        witness.saw(4_400, &[]);
        witness
    };
    assert!(saw().held() <= 3);
    let shown = |size: usize, bytes: &[u8]| {
        let mut again = saw().again();
        bytes.chunks(size).for_each(|block| again.show(block));
        again.is_the_same()
    };
    for size in [1, 3, 64, 4_999, 5_000] {
        assert!(shown(size, &bytes), "{size}");
        assert!(!shown(size, &bytes[..4_399]), "{size}: it ends early");
        for at in [0, 99, 100, 1_999, 3_000, 4_399] {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(!shown(size, &altered), "{size} {at}");
        }
        for at in [2_000, 2_999, 4_400, 4_999] {
            let mut altered = bytes.clone();
            altered[at] ^= 1;
            assert!(shown(size, &altered), "{size} {at}");
        }
    }
}
