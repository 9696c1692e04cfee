//! Room in vectors that may become very long, and seldom do.
//!
//! A vector that grows is copied to a new place each time, and the old places stay with the process: of a million cells a third of the
//! memory was such holes. So from some length on there is room for all that its bound allows. What is not used of it is never touched,
//! and the system gives memory to what is touched.

use crate::limits::{ROOM_AT_ONCE, TEXT_MOVED_BYTES, TEXT_ROOM_BYTES};

/// Adds an item to a vector that never becomes longer than `most`.
#[inline]
pub(crate) fn push<T>(to: &mut Vec<T>, item: T, most: usize) {
    if to.len() == to.capacity() && to.len() >= ROOM_AT_ONCE {
        to.reserve_exact(most.saturating_sub(to.len()).max(ROOM_AT_ONCE));
    }
    to.push(item);
}

/// Adds to a text that may become very long; from [`TEXT_ROOM_BYTES`] on the system moves it without copying it.
pub(crate) fn push_str(to: &mut String, text: &str) {
    if to.capacity() - to.len() < text.len() && (TEXT_MOVED_BYTES..TEXT_ROOM_BYTES).contains(&to.capacity()) {
        to.reserve_exact(TEXT_ROOM_BYTES.saturating_sub(to.len()).max(text.len()));
    }
    to.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_vector_is_moved_once_more() {
        let mut to = Vec::new();
        let mut moved = 0;
        for n in 0..ROOM_AT_ONCE * 8 {
            let before = to.capacity();
            push(&mut to, n, ROOM_AT_ONCE * 8);
            moved += usize::from(n > ROOM_AT_ONCE && to.capacity() != before);
        }
        assert!(moved == 0 && to.len() == to.capacity(), "{moved} {}", to.capacity());
        // Beyond what was said to be the most it goes on.
        push(&mut to, 0, ROOM_AT_ONCE * 8);
        assert_eq!(to.len(), ROOM_AT_ONCE * 8 + 1);
        assert!(to.into_iter().take(10).eq(0..10));
    }

    #[test]
    fn so_is_a_long_text() {
        let (mut to, mut sizes) = (String::new(), Vec::new());
        for n in 0..(TEXT_ROOM_BYTES >> 16) + 2 {
            push_str(&mut to, &char::from(b'a' + u8::try_from(n % 26).unwrap()).to_string().repeat(1 << 16));
            sizes.push(to.capacity());
        }
        sizes.dedup();
        assert!(sizes.windows(2).any(|w| w[0] <= TEXT_MOVED_BYTES * 2 && w[1] == TEXT_ROOM_BYTES), "{sizes:?}");
        assert!(to.starts_with("aa") && to.len() > TEXT_ROOM_BYTES);
    }
}
