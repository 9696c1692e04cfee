//! A Parquet file of any bytes: read or refused, in bounded memory, and the same however much is asked for at once. The fuzz target calls this
//! with random input, and a test of the auditor with the seeds.

use std::io::Read as _;

use portreeve_auditor::LogSource;

/// Reads it twice, as far as the first megabyte.
pub(crate) fn parquet(data: &[u8]) {
    let source = LogSource::Memory { name: String::new(), bytes: data.to_vec() };
    let Ok(whole) = source.open() else { return };
    let mut text = Vec::new();
    let failed = whole.take(1 << 20).read_to_end(&mut text).is_err();
    let mut again = Vec::new();
    let mut stream = source.open().map(|stream| stream.take(1 << 20));
    let mut piece = [0; 777];
    let ended = loop {
        match stream.as_mut().map(|stream| stream.read(&mut piece)) {
            Ok(Ok(0)) => break false,
            Ok(Ok(n)) => again.extend_from_slice(piece.get(..n).unwrap_or_default()),
            Ok(Err(_)) | Err(_) => break true,
        }
    };
    // What unpacks a damaged stream may give out less of it before its fault where more is asked for at once. A Parquet file may not.
    let is_packed = !data.starts_with(b"PAR1");
    let is_alike = if failed && is_packed { text.starts_with(&again) || again.starts_with(&text) } else { text == again };
    assert!(failed == ended && is_alike, "it reads otherwise in pieces: {} bytes and {}", text.len(), again.len());
}
