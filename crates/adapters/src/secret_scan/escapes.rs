//! Text with its escapes decoded: percent-encoding, the escapes of string literals, character references of HTML, lists of
//! decimal numbers and fullwidth letters. Only what decodes to ASCII is, because that is all that a known value consists of
//! where its letters are looked for.

/// A decoded text and the way back.
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// Where each byte stands in the text that was decoded; one more than bytes, the last is the text's end.
    pub(super) places: Vec<usize>,
}

/// Decodes a text once; `None` when there is nothing to decode.
pub(super) fn decode(text: &[u8]) -> Option<Decoded> {
    let first = (0..text.len()).find(|at| unit(text, *at).is_some())?;
    let mut bytes = text[..first].to_vec();
    let mut places: Vec<usize> = (0..first).collect();
    let mut at = first;
    while at < text.len() {
        let (byte, length) = unit(text, at).unwrap_or((text[at], 1));
        bytes.push(byte);
        places.push(at);
        at += length;
    }
    places.push(text.len());
    Some(Decoded { bytes, places })
}

/// Returns the ASCII character that is encoded at this place, and the length of its code.
fn unit(text: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = &text[at..];
    let (code, length) = match rest {
        [b'%', ..] => number(rest, 1, 16, 2, 2)?,
        [b'\\', b'x', ..] => number(rest, 2, 16, 2, 2)?,
        [b'\\', b'u', b'{', ..] => {
            number(rest, 3, 16, 1, 6).filter(|(_, end)| rest.get(*end) == Some(&b'}'))?
        }
        [b'\\', b'u', ..] => number(rest, 2, 16, 4, 4)?,
        [b'\\', b'U', ..] => number(rest, 2, 16, 8, 8)?,
        [b'\\', b'0'..=b'7', ..] => number(rest, 1, 8, 2, 3)?,
        [b'&', b'#', b'x' | b'X', ..] => number(rest, 3, 16, 1, 6)?,
        [b'&', b'#', ..] => number(rest, 2, 10, 1, 7)?,
        // The fullwidth forms U+FF01 to U+FF5E in UTF-8.
        [0xef, 0xbc, last @ 0x81..=0xbf, ..] => (u32::from(*last) - 0x60, 3),
        [0xef, 0xbd, last @ 0x80..=0x9e, ..] => (u32::from(*last) - 0x20, 3),
        [b'0'..=b'9', ..] => listed(text, at)?,
        _ => return None,
    };
    let byte = u8::try_from(code).ok().filter(u8::is_ascii)?;
    let ends = length + usize::from(rest.starts_with(b"&#") && rest.get(length) == Some(&b';'));
    let ends = ends + usize::from(rest.starts_with(b"\\u{"));
    Some((byte, ends))
}

/// Reads a number of so many digits from `start` on; returns it with its end.
fn number(text: &[u8], start: usize, base: u32, fewest: usize, most: usize) -> Option<(u32, usize)> {
    let digits = text[start..].iter().take(most).map_while(|byte| char::from(*byte).to_digit(base));
    let (mut value, mut count) = (0_u32, 0);
    for digit in digits {
        (value, count) = (value.saturating_mul(base).saturating_add(digit), count + 1);
    }
    (count >= fewest).then_some((value, start + count))
}

/// Reads a decimal number that stands in a list: alone, with a comma on one side.
fn listed(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let before = text[..at].last();
    if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return None;
    }
    let (value, length) = number(&text[at..], 0, 10, 2, 4)?;
    let blank = |byte: &&u8| byte.is_ascii_whitespace();
    let next = text[at + length..].iter().find(|byte| !blank(byte));
    let last = text[..at].iter().rev().take(LIST_GAP).find(|byte| !blank(byte));
    let in_list =
        next == Some(&b',') || (last == Some(&b',') && next.is_none_or(|byte| !byte.is_ascii_alphanumeric()));
    (in_list && (32..127).contains(&value)).then_some((value, length))
}

/// Farthest that the comma before a number in a list may stand, in bytes.
const LIST_GAP: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_escape_is_decoded_and_found_again() {
        for text in [
            "x%41%7a",
            "x\\x41\\x7A",
            "x\\u0041\\u007a",
            "x\\u{41}\\u{7a}",
            "x\\U00000041\\U0000007a",
            "x\\101\\172",
            "x&#65;&#122;",
            "x&#x41;&#x7a;",
            "x\u{ff21}\u{ff5a}",
        ] {
            let decoded = decode(text.as_bytes()).unwrap();
            assert_eq!(decoded.bytes, b"xAz", "{text}");
            assert_eq!(
                (decoded.places.len(), decoded.places[1], decoded.places[3]),
                (4, 1, text.len()),
                "{text}"
            );
        }
        assert_eq!(decode(b"[65, 122,\n 9]").unwrap().bytes, b"[A, z,\n 9]");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        for text in [
            "",
            "100 %",
            "50%, 3",
            "a\\n\\t\\\\",
            "\\u12",
            "&amp; &#",
            "v1.65, 1.2",
            "65 of 122",
            "\u{e9}\u{4e2d}",
            "%e9",
        ] {
            assert!(decode(text.as_bytes()).is_none(), "{text}");
        }
    }
}
