//! Characters that have no business in a name, and those that a terminal must not be given as they are: controls,
//! formatting characters, and everything that a font shows as nothing. From the Unicode character database, version 16.

/// Characters that no control function of `char` knows but that are invisible, change the direction of what follows, or
/// look like a space: `Default_Ignorable_Code_Point`, `Bidi_Control`, the general categories Cf, Zl and Zp, and the blank
/// pattern of Braille. First and last of each range, in order.
const INVISIBLE: &[(u32, u32)] = &[
    (0x00ad, 0x00ad),
    (0x034f, 0x034f),
    (0x0600, 0x0605),
    (0x061c, 0x061c),
    (0x06dd, 0x06dd),
    (0x070f, 0x070f),
    (0x0890, 0x0891),
    (0x08e2, 0x08e2),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];

/// Tells whether a character has no business in a name: controls, everything in [`INVISIBLE`], blanks other than the space, and
/// what is nobody's.
pub fn is_unprintable(c: char) -> bool {
    let code = u32::from(c);
    let range = INVISIBLE.partition_point(|(_, last)| *last < code);
    let invisible = INVISIBLE.get(range).is_some_and(|(first, _)| *first <= code);
    c.is_control() || invisible || (c.is_whitespace() && c != ' ') || is_nobodys(code)
}

/// Tells whether a code point has no meaning that two people share: private use, and those that are no characters at all.
fn is_nobodys(code: u32) -> bool {
    let private = matches!(code, 0xe000..=0xf8ff | 0xf0000..=0xffffd | 0x10_0000..=0x10_fffd);
    private || matches!(code, 0xfdd0..=0xfdef) || code & 0xfffe == 0xfffe
}

/// The narrower rule under which names were admitted by earlier versions; records of theirs must stay readable.
pub(crate) fn was_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Marks every character of a text that must not be shown as it is. In running text the joiners and selectors stay that
/// make one picture out of several, or that some scripts need between two letters; anywhere else they hide something.
pub fn hidden_in(text: &str) -> impl Iterator<Item = (char, bool)> + '_ {
    let mut before: Option<char> = None;
    let mut rest = text.chars().peekable();
    std::iter::from_fn(move || {
        let c = rest.next()?;
        let hidden = is_unprintable(c) && !joins(before, c, rest.peek().copied());
        before = Some(c);
        Some((c, hidden))
    })
}

/// Tells whether a joiner or variation selector does its work here: one alone, after what it belongs to.
fn joins(before: Option<char>, c: char, after: Option<char>) -> bool {
    let Some(before) = before else { return false };
    match c {
        '\u{fe0e}' | '\u{fe0f}' => is_picture(before) || matches!(before, '#' | '*' | '0'..='9'),
        '\u{200d}' => after.is_some_and(|after| {
            (is_picture(before) || before == '\u{fe0f}') && is_picture(after)
                || is_of_joining_script(before) && is_of_joining_script(after)
        }),
        '\u{200c}' => is_of_joining_script(before) && after.is_some_and(is_of_joining_script),
        // An empty cell of a chart made of Braille patterns.
        '\u{2800}' => true,
        _ => false,
    }
}

/// Tells whether a character is a symbol that comes in forms: emoji, arrows, signs.
fn is_picture(c: char) -> bool {
    let is_symbol = matches!(c, '\u{a9}' | '\u{ae}' | '\u{203c}'..='\u{3299}' | '\u{1f000}'..='\u{1faff}');
    is_symbol && !is_unprintable(c)
}

/// Tells whether a character is of a script whose letters join: Arabic to Mongolian.
fn is_of_joining_script(c: char) -> bool {
    matches!(c, '\u{600}'..='\u{18af}') && !is_unprintable(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_unprintable_and_letters_of_all_scripts_are_not() {
        let hidden = [
            '\0',
            '\u{1b}',
            '\u{7f}',
            '\u{9b}',
            '\u{ad}',
            '\u{34f}',
            '\u{61c}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{180e}',
            '\u{200b}',
            '\u{200e}',
            '\u{2028}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{206f}',
            '\u{2800}',
            '\u{3164}',
            '\u{fe00}',
            '\u{fe0f}',
            '\u{feff}',
            '\u{ffa0}',
            '\u{fff9}',
            '\u{fffa}',
            '\u{fffb}',
            '\u{1d173}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{e01ef}',
        ];
        for c in hidden {
            assert!(is_unprintable(c), "{c:?}");
        }
        for c in "aZ0 -_ÄßéĐжאشあ漢字한국어हिन्दी🦀→\u{fffd}".chars().filter(|c| *c != '\u{200d}')
        {
            assert!(!is_unprintable(c), "{c:?}");
        }
        assert!(INVISIBLE.windows(2).all(|two| two[0].1 < two[1].0), "the ranges are in order");
        assert!((0..=0xe0fff).filter_map(char::from_u32).all(|c| !was_unprintable(c) || is_unprintable(c)));
    }

    fn shown(text: &str) -> String {
        hidden_in(text).map(|(c, hidden)| if hidden { '?' } else { c }).collect()
    }

    #[test]
    fn joiners_stay_where_they_join_and_nowhere_else() {
        for fine in ["❤️", "👩‍💻", "🏳️‍🌈", "1️⃣", "©️", "می\u{200c}خواهم", "क्\u{200d}ष"]
        {
            assert_eq!(shown(fine), fine);
        }
        for (text, expected) in [
            ("a\u{200d}b", "a?b"),
            ("a\u{fe0f}", "a?"),
            ("\u{fe0f}", "?"),
            ("❤\u{fe0f}\u{fe0f}", "❤\u{fe0f}?"),
            ("👩\u{200d}", "👩?"),
            ("👩\u{200d}x", "👩?x"),
            ("🦀\u{e0041}\u{e0042}", "🦀??"),
            ("admin\u{3164}", "admin?"),
            ("a\u{202e}b", "a?b"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }
}
