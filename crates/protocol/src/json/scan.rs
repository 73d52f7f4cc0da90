//! Finding the end of plain text, eight bytes at a time.

const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);

/// Marks the bytes of `word` that equal `byte`. Only the lowest mark can be relied on: a borrow may set higher ones.
const fn equal(word: u64, byte: u8) -> u64 {
    let difference = word ^ (ONES * byte as u64);
    difference.wrapping_sub(ONES) & !difference & HIGHS
}

/// Marks the bytes of `word` that are below a space, with the reserve of [`equal`].
const fn control(word: u64) -> u64 {
    word.wrapping_sub(ONES * b' ' as u64) & !word & HIGHS
}

/// Where the first byte is that ends plain text in JSON that is read: a quote, a backslash or a control character.
#[inline]
pub(super) fn end_of_plain(bytes: &[u8]) -> usize {
    find(
        bytes,
        |word| equal(word, b'"') | equal(word, b'\\') | control(word),
        |byte| byte < b' ' || byte == b'"' || byte == b'\\',
    )
}

/// Where the first byte is that JSON in ASCII must escape.
#[inline]
pub(super) fn end_of_unescaped(bytes: &[u8]) -> usize {
    find(
        bytes,
        |word| equal(word, b'"') | equal(word, b'\\') | equal(word, 0x7f) | control(word) | word & HIGHS,
        |byte| !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\',
    )
}

#[inline]
fn find(bytes: &[u8], marks: impl Fn(u64) -> u64, ends: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for byte in 0..=255_u8 {
            for at in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[at] = byte;
                let plain = !(byte < b' ' || byte == b'"' || byte == b'\\');
                assert_eq!(end_of_plain(&bytes), if plain { 20 } else { at }, "{byte} at {at}");
                let unescaped = plain && byte < 0x7f;
                assert_eq!(end_of_unescaped(&bytes), if unescaped { 20 } else { at }, "{byte} at {at}");
            }
        }
    }
}
