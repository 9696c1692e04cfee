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
    assert!((failed, &text) == (ended, &again), "it reads otherwise in pieces: {} bytes and {}", text.len(), again.len());
}
