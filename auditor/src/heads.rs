//! Signed heads whose signatures were checked. Only such heads can vouch for a chain (INV-10).

use portreeve_engine::chain::{Head, HeadError, HeadVerifier};

/// Heads with valid signatures of known keys. There is no other way to make one than to check them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedHeads(Vec<Head>);

/// A heads file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the heads file: {cause}")]
pub struct HeadsError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong.
    #[source]
    pub cause: HeadError,
}

impl VerifiedHeads {
    /// Reads a heads file (one head a line) and checks each signature against the keys, of which one must fit. Empty lines are passed
    /// over. A key is not bound to a process: whoever holds one of them can vouch for any log.
    ///
    /// # Errors
    /// The first line that is no head of these keys. One false head spoils the file: nothing else in it can be trusted either.
    pub fn read(bytes: &[u8], keys: &[HeadVerifier]) -> Result<Self, HeadsError> {
        let mut heads = Vec::new();
        for (line, text) in (1..).zip(bytes.split(|b| *b == b'\n')) {
            let text = text.trim_ascii();
            if text.is_empty() {
                continue;
            }
            let head = Head::from_line(text).map_err(|cause| HeadsError { line, cause })?;
            if !keys.iter().any(|key| key.verify(&head).is_ok()) {
                return Err(HeadsError { line, cause: HeadError::Signature(head.seq) });
            }
            heads.push(head);
        }
        Ok(Self(heads))
    }

    /// The heads.
    pub fn iter(&self) -> std::slice::Iter<'_, Head> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds heads that were checked with another key.
    pub fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl<'a> IntoIterator for &'a VerifiedHeads {
    type Item = &'a Head;
    type IntoIter = std::slice::Iter<'a, Head>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
