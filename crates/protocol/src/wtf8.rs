//! Text of Python's that may hold lone surrogates, in WTF-8: UTF-8 in which a surrogate has three bytes like its
//! neighbours.

/// A part of such text.
pub(crate) enum Piece<'a> {
    Text(&'a str),
    Surrogate(u16),
}

/// The parts of `wtf8`; bytes that are not WTF-8 come as U+FFFD each.
pub(crate) fn pieces(wtf8: &[u8]) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = wtf8;
    std::iter::from_fn(move || {
        let valid = match std::str::from_utf8(rest) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
        };
        if !valid.is_empty() {
            rest = &rest[valid.len()..];
            return Some(Piece::Text(valid));
        }
        let (surrogate, after) = match rest {
            [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf, after @ ..] => {
                (0xd000 | u16::from(second & 0x3f) << 6 | u16::from(third & 0x3f), after)
            }
            [_, after @ ..] => (0xfffd, after),
            [] => return None,
        };
        rest = after;
        Some(Piece::Surrogate(surrogate))
    })
}
