//! The tokens that agents have for themselves. There is one per agent, so none is registered: how they begin is the pattern,
//! and what follows decides. The rule `mosaic-agent-token` finds them as they are; this finds them in other forms.

use std::ops::Range;

use super::forms::stem;
use super::squeeze::squeeze;

/// Name under which they are reported.
pub(super) const NAME: &str = "agent token";
/// Beginning of every one; see `core::domain::access`.
const START: &[u8] = b"mosaic_agent_";
/// Hexadecimal digits that follow: the agent's id and a MAC.
const DIGITS: usize = 32 + 64;
/// Bytes of a token: there is an underscore between id and MAC.
const TOKEN: usize = START.len() + DIGITS + 1;

/// Form in which a start was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is, in pieces or in UTF-16.
    Plain,
    /// Backwards: the rest stands before it.
    Reversed,
    /// In hexadecimal digits.
    Hex,
    /// In base64: this many more letters belong to it. Its digits make neither `+` nor `/`.
    Base64(usize),
}

/// Returns the starts as patterns of the squeezed text.
pub(super) fn patterns() -> Vec<(Vec<u8>, Form)> {
    let plain: Vec<u8> = START.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
    let hex: String = base16ct::lower::encode_string(START);
    let utf16: Vec<u8> = START.iter().flat_map(|byte| [*byte, 0]).collect();
    let mut out = vec![
        (plain.iter().rev().copied().collect(), Form::Reversed),
        (plain, Form::Plain),
        (hex.into_bytes(), Form::Hex),
    ];
    for (start, bytes) in [(START, TOKEN), (utf16.as_slice(), 2 * TOKEN)] {
        out.extend((0..3).map(|shift| {
            let stem = squeeze(&stem(start, shift));
            let more = (shift + bytes) * 8 / 6 - (shift * 8).div_ceil(6) - stem.len();
            (stem, Form::Base64(more))
        }));
    }
    out
}

/// Returns the whole token whose start stands here in the squeezed text; `None` when it is none.
pub(super) fn whole(squeezed: &[u8], start: Range<usize>, form: Form) -> Option<Range<usize>> {
    let after = |most: usize, fits: fn(&u8) -> bool| {
        squeezed[start.end..].iter().take(most).take_while(|byte| fits(byte)).count()
    };
    match form {
        Form::Plain => {
            let count = after(DIGITS, u8::is_ascii_hexdigit);
            (count == DIGITS).then_some(start.start..start.end + count)
        }
        Form::Reversed => {
            let from = start.start.checked_sub(DIGITS)?;
            squeezed[from..start.start].iter().all(u8::is_ascii_hexdigit).then_some(from..start.end)
        }
        Form::Hex => {
            // The underscore between id and MAC is one more byte.
            let count = after(2 * (DIGITS + 1), u8::is_ascii_hexdigit);
            (count == 2 * (DIGITS + 1)).then_some(start.start..start.end + count)
        }
        Form::Base64(more) => {
            let count = after(more, u8::is_ascii_alphanumeric);
            (count == more).then_some(start.start..start.end + count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::known::KnownSecrets;
    use crate::secret_scan::forms::base64;

    #[test]
    fn a_token_of_any_agent_is_found_in_every_form_and_its_start_alone_is_not() {
        let token = format!(
            "{}{}_{}",
            "mosaic_agent_",
            "7d0c6c1e4a524d0e9a550d7c9f2f3f9a",
            "0123456789abcdef".repeat(4)
        );
        let known = KnownSecrets::default();
        let hex: String = token.bytes().map(|byte| format!("{byte:02X}")).collect();
        let (one, two) = token.split_at(50);
        let mut forms = vec![
            hex,
            token.chars().rev().collect(),
            format!("\"{one}\"\n + \"{two}\""),
            token.chars().flat_map(|c| [c, '\0']).collect(),
            token.to_uppercase(),
        ];
        for shift in 0..3 {
            forms.push(base64(&[&b"ab"[..shift], token.as_bytes()].concat(), shift == 1));
        }
        for text in forms {
            assert!(known.mask(&text).contains("[agent token]"), "{text:?}");
        }
        for text in
            ["mosaic_agent_", "mosaic_agent_token", &base64(b"mosaic_agent_ is a start", false), &token[..60]]
        {
            assert_eq!(known.mask(text), text);
        }
    }
}
