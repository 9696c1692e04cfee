//! The first message of a tunnel: what server name a TLS client asks for.
//!
//! Nothing is decrypted and nothing is answered. The name is what the client says, in the clear; whoever holds both ends of a
//! tunnel can say anything inside it, and this cannot see that.

use std::io;

use bytes::BytesMut;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::limits::{COPY_BYTES, HELLO_BYTES_MAX, HELLO_TIMEOUT};

/// What the first message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// TLS, with the server name asked for, in lower case.
    Tls(Option<String>),
    /// TLS that hides the server name asked for, or may: a placeholder looks the same.
    Hidden,
    /// Something else.
    Other,
}

/// Reads until the first message is whole. `seen` is what came already; what is read is added to it.
///
/// # Errors
/// The client went away, or what it sends does not end.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, seen: &mut BytesMut) -> io::Result<Hello> {
    let (mut acceptor, mut given) = (Acceptor::default(), 0);
    let reading = async {
        loop {
            if seen.first().is_some_and(|first| *first != HANDSHAKE) {
                return Ok(Hello::Other);
            }
            if let Some(hello) = look(&mut acceptor, seen, &mut given) {
                return Ok(hello);
            }
            if seen.len() >= HELLO_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            seen.reserve(COPY_BYTES.min(HELLO_BYTES_MAX));
            if stream.read_buf(seen).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    timeout(HELLO_TIMEOUT, reading).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()))
}

/// Gives the library what is new; `None` where more is needed.
fn look(acceptor: &mut Acceptor, seen: &[u8], given: &mut usize) -> Option<Hello> {
    while let Some(mut rest) = seen.get(*given..).filter(|rest| !rest.is_empty()) {
        match acceptor.read_tls(&mut rest) {
            Ok(taken @ 1..) => *given += taken,
            _ => return Some(Hello::Other),
        }
        match acceptor.accept() {
            Ok(None) => {}
            // What could not be followed is not believed.
            Ok(Some(_)) if has_extension(seen, ENCRYPTED_CLIENT_HELLO).unwrap_or(true) => return Some(Hello::Hidden),
            Ok(Some(accepted)) => return Some(Hello::Tls(accepted.client_hello().server_name().map(str::to_ascii_lowercase))),
            Err(_) => return Some(Hello::Other),
        }
    }
    None
}

/// The first byte of a TLS record that carries a handshake.
/// Whether the hello at the beginning of these records has an extension. `None` where they do not hold one whole.
fn has_extension(mut records: &[u8], wanted: usize) -> Option<bool> {
    let mut message = Vec::new();
    let mut body = loop {
        let mut read = message.as_slice();
        if let (Some(_), Some(length)) = (take(&mut read, 1), number(&mut read, 3))
            && let Some(body) = take(&mut read, length)
        {
            break body;
        }
        // The kind of a record and its version, then its length.
        take(&mut records, 3)?;
        let length = number(&mut records, 2)?;
        message.extend_from_slice(take(&mut records, length)?);
    };
    // Version and random; session id, cipher suites and compression methods, each behind its length.
    take(&mut body, 2 + 32)?;
    for bytes in [1, 2, 1] {
        let length = number(&mut body, bytes)?;
        take(&mut body, length)?;
    }
    let length = number(&mut body, 2)?;
    let mut extensions = take(&mut body, length)?;
    while !extensions.is_empty() {
        let kind = number(&mut extensions, 2)?;
        let length = number(&mut extensions, 2)?;
        take(&mut extensions, length)?;
        if kind == wanted {
            return Some(true);
        }
    }
    Some(false)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(taken)
}

fn number(bytes: &mut &[u8], n: usize) -> Option<usize> {
    Some(take(bytes, n)?.iter().fold(0, |number, byte| number * 256 + usize::from(*byte)))
}

/// The extension in which a client hides the name that it asks for behind another one.
const ENCRYPTED_CLIENT_HELLO: usize = 0xfe0d;
const HANDSHAKE: u8 = 22;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// The first flight of a client that asks for `name`.
    fn flight(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    /// The hello of a client that hides its name, or has a placeholder in the place of that, as browsers do.
    fn hidden(name: &str) -> Vec<u8> {
        use rustls::client::{EchGreaseConfig, EchMode};
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let suite = rustls::crypto::aws_lc_rs::hpke::ALL_SUPPORTED_SUITES[0];
        let placeholder = EchGreaseConfig::new(suite, suite.generate_key_pair().unwrap().0);
        let config = ClientConfig::builder_with_provider(provider).with_ech(EchMode::Grease(placeholder)).unwrap();
        let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let mut out = Vec::new();
        client.write_tls(&mut out).unwrap();
        out
    }

    /// The same handshake bytes in records of so many bytes.
    fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&[22, 3, 1], &u16::try_from(part.len()).unwrap().to_be_bytes()[..], part].concat();
        hello[5..].chunks(size).flat_map(record).collect()
    }

    #[tokio::test]
    async fn a_name_that_is_hidden_is_told() {
        let hello = hidden("api.cards.example");
        for bytes in [hello.clone(), in_records(&hello, 100)] {
            assert_eq!(of(vec![bytes]).await.0.unwrap(), Hello::Hidden);
        }
        let plain = in_records(&flight("api.cards.example"), 100);
        assert_eq!(of(vec![plain]).await.0.unwrap(), Hello::Tls(Some("api.cards.example".to_owned())));
        // Wherever it is cut, nothing is made out that is not there.
        let whole = flight("api.cards.example");
        assert_eq!(has_extension(&whole, ENCRYPTED_CLIENT_HELLO), Some(false));
        assert_eq!(has_extension(&whole, 0), Some(true), "the server name is an extension");
        for end in 0..whole.len() {
            assert_eq!(has_extension(&whole[..end], ENCRYPTED_CLIENT_HELLO), None);
        }
    }

    async fn of(pieces: Vec<Vec<u8>>) -> (io::Result<Hello>, BytesMut) {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        let mut seen = BytesMut::new();
        let write = async move {
            for piece in pieces {
                far.write_all(&piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (hello, ()) = tokio::join!(read(&mut near, &mut seen), write);
        (hello, seen)
    }

    #[tokio::test]
    async fn the_name_is_found_however_it_comes() {
        let whole = flight("API.cards.example");
        for size in [1, 7, whole.len()] {
            let (hello, seen) = of(whole.chunks(size).map(<[u8]>::to_vec).collect()).await;
            assert_eq!(hello.unwrap(), Hello::Tls(Some("api.cards.example".to_owned())));
            assert_eq!(seen, whole, "every byte that was read is still to be sent");
        }
        assert_eq!(of(vec![flight("10.0.0.1")]).await.0.unwrap(), Hello::Tls(None));
    }

    #[tokio::test]
    async fn what_is_no_hello_is_told_apart() {
        assert_eq!(of(vec![b"SSH-2.0-x\r\n".to_vec()]).await.0.unwrap(), Hello::Other);
        assert_eq!(of(vec![vec![22, 3, 1, 0, 4, 9, 9, 9, 9]]).await.0.unwrap(), Hello::Other);
        let cut = flight("api.cards.example")[..40].to_vec();
        assert_eq!(of(vec![cut]).await.0.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(of(vec![Vec::new()]).await.0.is_err());
        // A record that announces more than a hello may have, byte by byte without end.
        let endless = [&[22, 3, 1, 0x3f, 0xff, 1, 0, 0xff, 0xff][..], &[0; 40_000]].concat();
        let (hello, seen) = of(vec![endless]).await;
        assert!(!matches!(hello, Ok(Hello::Tls(_))) && seen.len() <= 2 * HELLO_BYTES_MAX, "{hello:?}");
    }
}
