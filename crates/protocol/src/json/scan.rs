//! Finding the end of plain text, many bytes at a time.

/// Where the first byte is that ends plain text in JSON that is read: a quote, a backslash or a control character.
#[inline]
pub(super) fn end_of_plain(bytes: &[u8]) -> usize {
    find(bytes, |byte| (byte < b' ') | (byte == b'"') | (byte == b'\\'))
}

/// Where the first byte is that JSON in ASCII must escape.
#[inline]
pub(super) fn end_of_unescaped(bytes: &[u8]) -> usize {
    find(bytes, |byte| (byte < b' ') | (byte == b'"') | (byte == b'\\') | (byte > b'~'))
}

#[inline]
fn find(bytes: &[u8], ends: impl Fn(u8) -> bool) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<16>() {
        if has_end(chunk, &ends) {
            break;
        }
        at += 16;
    }
    let rest = &bytes[at..];
    let is_plain = match (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
        // Those in the middle are looked at twice.
        (Some(first), Some(last)) if rest.len() < 16 => !has_end(first, &ends) && !has_end(last, &ends),
        _ => false,
    };
    match is_plain {
        true => bytes.len(),
        false => at + rest.iter().position(|byte| ends(*byte)).unwrap_or(rest.len()),
    }
}

/// Looks at all without a branch for any, so that they are compared at once.
#[inline]
fn has_end<const N: usize>(bytes: &[u8; N], ends: &impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |has, byte| has | ends(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for byte in 0..=255_u8 {
            for (length, at) in (1..50).flat_map(|length| (0..length).map(move |at| (length, at))) {
                let mut bytes = vec![b'a'; length];
                bytes[at] = byte;
                let plain = !(byte < b' ' || byte == b'"' || byte == b'\\');
                assert_eq!(
                    end_of_plain(&bytes),
                    if plain { length } else { at },
                    "{byte} at {at} of {length}"
                );
                let unescaped = plain && byte < 0x7f;
                assert_eq!(
                    end_of_unescaped(&bytes),
                    if unescaped { length } else { at },
                    "{byte} at {at} of {length}"
                );
            }
        }
    }
}
