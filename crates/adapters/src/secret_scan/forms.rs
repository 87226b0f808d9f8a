//! The forms in which a value may stand in a text, as patterns of the squeezed text (`squeeze.rs`).

use super::plausible::entropy;
use super::squeeze::squeeze;

/// Fewest letters and digits of a pattern: with fewer, ordinary text would fit.
const SHORTEST: usize = 8;
/// Fewest letters and digits of a value that is looked for in pieces and backwards.
const IN_PIECES: usize = 12;

/// A pattern of the squeezed text.
pub(super) struct Pattern {
    pub(super) text: Vec<u8>,
    /// It is a part of the encoded value: what goes on beside it belongs to it.
    pub(super) part: bool,
}

/// Tells whether a value is so random that its letters and digits alone, in pieces or backwards, are evidence.
fn is_random(value: &[u8]) -> bool {
    let plain = squeeze(value);
    let has = |kind: fn(&u8) -> bool| plain.iter().any(kind);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic);
    plain.len() >= IN_PIECES && (mixed || plain.len() >= 24) && entropy(&plain) >= 3.0
}

/// Returns the patterns over the text as it is: of a value that may not be looked for in pieces. UTF-16 in both orders of bytes.
pub(super) fn exact(value: &[u8]) -> Vec<Vec<u8>> {
    if is_random(value) {
        return Vec::new();
    }
    let wide = |zero_first: bool| -> Vec<u8> {
        value.iter().flat_map(|byte| if zero_first { [0, *byte] } else { [*byte, 0] }).collect()
    };
    vec![value.to_owned(), wide(true), wide(false)]
}

/// Returns the patterns over the squeezed text.
pub(super) fn squeezed(value: &[u8]) -> Vec<Pattern> {
    let whole = |text: Vec<u8>| Pattern { text, part: false };
    let mut out = Vec::new();
    if is_random(value) {
        let plain = squeeze(value);
        out.push(whole(plain.iter().rev().copied().collect()));
        out.push(whole(plain));
    }
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    out.push(whole(hex.into_bytes()));
    let once = percent(value);
    if once.as_bytes() != value {
        out.push(whole(squeeze(once.as_bytes())));
        out.push(whole(squeeze(percent(once.as_bytes()).as_bytes())));
    }
    let utf16: Vec<u8> = value.iter().flat_map(|byte| [*byte, 0]).collect();
    for bytes in [value, &utf16] {
        out.extend((0..3).map(|shift| Pattern { text: stem(bytes, shift), part: true }));
    }
    out.retain(|pattern| pattern.text.len() >= SHORTEST);
    out
}

/// Returns the letters and digits of a value in base64 that are the same whatever stands before and after it, when `shift`
/// bytes stand before it in its group of three.
pub(super) fn stem(value: &[u8], shift: usize) -> Vec<u8> {
    let padded = [&[0u8; 2][..shift], value].concat();
    let encoded = base64(&padded, false);
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    squeeze(&encoded.as_bytes()[first..last])
}

/// Encodes in base64 without padding.
pub(super) fn base64(bytes: &[u8], url_safe: bool) -> String {
    let alphabet: &[u8; 64] = if url_safe {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    } else {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    };
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits =
            group.iter().enumerate().fold(0u32, |bits, (at, byte)| bits | u32::from(*byte) << (16 - 8 * at));
        for n in 0..=group.len() {
            out.push(char::from(alphabet[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    out
}

/// Encodes for a URL: everything but letters, digits and `-._~`.
pub(super) fn percent(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes(), false), text);
        }
        assert_eq!(base64(&[0xfb, 0xff], true), "-_8");
    }

    #[test]
    fn a_stem_stands_in_the_encoded_value_whatever_is_around_it() {
        let value = b"some value of a kind";
        for shift in 0..3 {
            let stem = String::from_utf8(stem(value, shift)).unwrap();
            for (before, after) in [("", ""), ("xyz", "q"), ("123456", "zzzz")] {
                let text = [before.as_bytes(), &b"ab"[..shift], value, after.as_bytes()].concat();
                assert!(base64(&text, false).contains(&stem), "{shift} {before:?} {after:?}");
            }
        }
    }
}
