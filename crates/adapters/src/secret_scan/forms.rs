//! The forms in which a value may stand in a text, as patterns of the squeezed text (`squeeze.rs`).

use mosaic_core::limits;

use super::plausible::{changes, classes, entropy};
use super::squeeze::squeeze;
use crate::url_encoding;

/// Fewest letters and digits of a pattern: with fewer, ordinary text would fit.
const SHORTEST: usize = 8;
/// The same for the forms of a value that is looked for as a word: digits of a checksum fit eight of them now and then.
const SHORTEST_OF_WORD: usize = 9;
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

/// A pattern of the text as it is.
pub(super) struct Exact {
    pub(super) text: Vec<u8>,
    /// It is text: a word that goes on at either end is another one.
    pub(super) is_text: bool,
}

/// Returns the patterns over the text as it is: of a value that may not be looked for in pieces, in UTF-16 in both orders of bytes
/// as well, and of one that is no text.
pub(super) fn exact(value: &[u8]) -> Vec<Exact> {
    let mut all: Vec<Exact> =
        unreadable(value).into_iter().map(|text| Exact { text, is_text: false }).collect();
    if is_random(value) {
        return all;
    }
    let wide = |zero_first: bool| -> Vec<u8> {
        value.iter().flat_map(|byte| if zero_first { [0, *byte] } else { [*byte, 0] }).collect()
    };
    let texts = [value.to_owned(), wide(true), wide(false)];
    all.extend(texts.map(|text| Exact { text, is_text: true }));
    all
}

/// Fewest bytes of ASCII in a part of a value that is no text: what is replaced in it tells nothing.
const READABLE: usize = 8;

/// Returns the parts of a value that is no text, as they read once marks stand in the place of what is no text in it: one for
/// every fault, or one for every byte. Each begins and ends in ASCII, so that its neighbours do not change it. Who reads lines sees
/// the parts between line breaks.
fn unreadable(value: &[u8]) -> Vec<Vec<u8>> {
    if std::str::from_utf8(value).is_ok() {
        return Vec::new();
    }
    let inner = |part: &'_ [u8]| -> Option<Vec<u8>> {
        let (first, last) = (part.iter().position(u8::is_ascii)?, part.iter().rposition(u8::is_ascii)?);
        let readable = part.iter().filter(|byte| byte.is_ascii()).count();
        (readable >= READABLE).then(|| part[first..=last].to_owned())
    };
    let parts = std::iter::once(value).chain(value.split(|byte| *byte == b'\n'));
    let forms = |part: Vec<u8>| {
        let marks = |chunk: std::str::Utf8Chunk<'_>| {
            chunk.valid().bytes().chain(chunk.invalid().iter().map(|_| b'?')).collect::<Vec<u8>>()
        };
        [
            String::from_utf8_lossy(&part).into_owned().into_bytes(),
            part.utf8_chunks().flat_map(marks).collect(),
        ]
    };
    parts.filter_map(inner).flat_map(forms).collect()
}

/// Returns the patterns over the squeezed text.
pub(super) fn squeezed(value: &[u8]) -> Vec<Pattern> {
    let whole = |text: Vec<u8>| Pattern { text, part: false };
    let part = |text: Vec<u8>| Pattern { text, part: true };
    let mut out = Vec::new();
    if is_random(value) {
        let plain = squeeze(value);
        out.push(whole(backwards(&plain)));
        out.extend(fragments(value).into_iter().map(part));
        out.push(whole(plain));
    }
    let hex: String = base16ct::lower::encode_string(value);
    let utf16: Vec<u8> = value.iter().flat_map(|byte| [*byte, 0]).collect();
    let wide_hex: String = value.iter().map(|byte| format!("{byte:02x}00")).collect();
    // Without the last zero byte, it stands in both orders of bytes.
    out.push(whole(wide_hex.as_bytes()[..wide_hex.len().saturating_sub(2)].to_vec()));
    let once = url_encoding::encode(value);
    if once.as_bytes() != value {
        out.push(whole(squeeze(once.as_bytes())));
        out.push(whole(squeeze(url_encoding::encode(once.as_bytes()).as_bytes())));
    }
    for shift in 0..3 {
        let stem = stem(value, shift);
        out.push(part(squeeze(&backwards(&stem))));
        out.push(part(squeeze(&stem)));
        out.extend((0..3).map(|outer| part(squeeze(&self::stem(&stem, outer)))));
        for bytes in [&utf16, hex.as_bytes(), hex.to_uppercase().as_bytes()] {
            out.push(part(squeeze(&self::stem(bytes, shift))));
        }
    }
    out.extend((0..5).map(|shift| part(stem32(value, shift))));
    out.push(whole(hex.into_bytes()));
    let shortest = if value.len() < limits::KNOWN_SHORTEST { SHORTEST_OF_WORD } else { SHORTEST };
    out.retain(|pattern| pattern.text.len() >= shortest);
    out
}

fn backwards(text: &[u8]) -> Vec<u8> {
    text.iter().rev().copied().collect()
}

/// Letters and digits of a value that is looked for by its fragments, at least.
const FRAGMENTED: usize = 20;
/// A longer value is looked for by every fourth fragment only: what is split off of it is longer, too.
const LONG: usize = 64;

/// Returns the fragments of a random value that are evidence by themselves: a value that is split over two variables, two files
/// or the lines of a dump has long ones.
fn fragments(value: &[u8]) -> Vec<Vec<u8>> {
    // The header of a JSON web token is that of every other one, and so is the beginning of a key's file.
    let secret =
        if value.starts_with(b"eyJ") { value.rsplit(|byte| *byte == b'.').next() } else { Some(value) };
    let plain = squeeze(secret.unwrap_or_default());
    if plain.len() < FRAGMENTED || value.starts_with(b"-----") {
        return Vec::new();
    }
    let step = if plain.len() <= LONG { 1 } else { 4 };
    let (short, long) = (limits::KNOWN_FRAGMENT, limits::KNOWN_FRAGMENT + 4);
    let window = |start: usize| {
        let text = &plain[start..start + short];
        if classes(text) >= 3 && entropy(text) >= 3.0 {
            return Some(text);
        }
        let text = plain.get(start..start + long)?;
        (changes(text) >= 3 && entropy(text) >= 3.0).then_some(text)
    };
    (0..=plain.len() - short).step_by(step).filter_map(window).map(<[u8]>::to_vec).collect()
}

/// Returns the characters of a value in base64 that are the same whatever stands before and after it, when `shift`
/// bytes stand before it in its group of three.
pub(super) fn stem(value: &[u8], shift: usize) -> Vec<u8> {
    let padded = [&[0u8; 2][..shift], value].concat();
    let encoded = base64(&padded, false);
    let first = (shift * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded.as_bytes()[first..last].to_vec()
}

/// Returns the same for base32, in whose groups five bytes stand.
fn stem32(value: &[u8], shift: usize) -> Vec<u8> {
    let padded = [&[0u8; 4][..shift], value].concat();
    let (first, last) = ((shift * 8).div_ceil(5), padded.len() * 8 / 5);
    let bit = |at: usize| padded[at / 8] >> (7 - at % 8) & 1;
    let letter = |n: usize| (0..5).fold(0_u8, |bits, at| bits << 1 | bit(n * 5 + at));
    (first..last).map(|n| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[usize::from(letter(n))]).collect()
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
            let stem = String::from_utf8(squeeze(&stem(value, shift))).unwrap();
            for (before, after) in [("", ""), ("xyz", "q"), ("123456", "zzzz")] {
                let text = [before.as_bytes(), &b"ab"[..shift], value, after.as_bytes()].concat();
                assert!(base64(&text, false).contains(&stem), "{shift} {before:?} {after:?}");
            }
        }
    }
}
