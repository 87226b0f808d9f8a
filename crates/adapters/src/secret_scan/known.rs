//! Values that the server itself keeps secret: its tokens, keys and passwords. They are looked for by value in everything that
//! is pushed or shown, in the forms in which a value travels: as it is, in base64, hexadecimal digits, percent-encoded, in
//! UTF-16, backwards, with escapes of programming languages, and cut into pieces by quotes, operators, blanks, line breaks or, when a
//! piece is long enough to be evidence by itself, by anything.
//!
//! One pass finds all of it: text and patterns are *squeezed*, which leaves letters and digits only, and one automaton over
//! the squeezed text knows every form of every value. What stands between the pieces, the zero bytes of UTF-16 and the two
//! alphabets of base64 fall away by that, and a value in a thousand pieces costs no more than a whole one.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use mosaic_core::limits;
use mosaic_core::ports::scanner::{Secret, replace};
use parking_lot::{Mutex, RwLock};

use super::characters::whole_characters;
use super::known_matcher::{Known, KnownHit, Matcher};
use super::value_strength::{LookedFor, TooWeak};

/// Values that must not leave the server, and the automata that look for them.
#[derive(Default)]
pub struct KnownSecrets {
    values: Mutex<VecDeque<Known>>,
    /// Made when it is next needed after a value was registered.
    matcher: RwLock<Option<Arc<Matcher>>>,
}

impl std::fmt::Debug for KnownSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.values.lock().len();
        write!(f, "KnownSecrets({count})")
    }
}

impl KnownSecrets {
    /// Looks for this value from now on; one that is known already costs nothing. At most [`limits::KNOWN_SECRETS`] are
    /// kept; then the oldest makes way.
    ///
    /// # Errors
    /// When the value is so weak that ordinary text would be taken for it. It is not looked for then.
    pub fn register(&self, name: &str, value: &[u8]) -> Result<LookedFor, TooWeak> {
        let value = value.trim_ascii();
        let looked_for = LookedFor::of(value)?;
        let mut values = self.values.lock();
        if values.iter().any(|known| known.value == value) {
            return Ok(looked_for);
        }
        if values.len() >= limits::KNOWN_SECRETS {
            values.pop_front();
        }
        values.push_back(Known { name: name.into(), value: value.to_owned() });
        // Building the automata takes longer than all lookups of a task, so that registering many values builds them once, at
        // the next lookup.
        *self.matcher.write() = None;
        Ok(looked_for)
    }

    fn matcher(&self) -> Arc<Matcher> {
        if let Some(made) = &*self.matcher.read() {
            return Arc::clone(made);
        }
        // In the order in which `register` takes them.
        let values = self.values.lock();
        let made = Arc::new(Matcher::new(&values));
        *self.matcher.write() = Some(Arc::clone(&made));
        made
    }

    /// Finds the known values in a text; spans may overlap.
    pub(super) fn find(&self, text: &str) -> Vec<KnownHit> {
        self.matcher().find(text.as_bytes())
    }

    /// Returns the text with every known value replaced by its name.
    pub fn mask(&self, text: &str) -> String {
        let found = self.find(text).into_iter().map(|hit| secret(text, hit)).collect();
        replace(text, found)
    }
}

/// Describes a known value that was found; the line is for the caller to count.
pub(super) fn secret(text: &str, hit: KnownHit) -> Secret {
    let whole = |span: Range<usize>| {
        let span = whole_characters(text, span);
        (span.start, span.end)
    };
    Secret {
        rule: format!("known value {}", hit.name),
        line: 1,
        masked: format!("[{}]", hit.name),
        span: whole(hit.span),
        pieces: hit.pieces.into_iter().map(whole).collect(),
        known: true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::forms;
    use super::*;

    /// A key as services make them; put together here so that no scanner takes this file for a leak.
    fn key() -> String {
        ["Zx9", "qL2vT7", "mBn4Rw8Ky", "3Hd6Ps1"].concat()
    }

    fn known() -> KnownSecrets {
        let known = KnownSecrets::default();
        known.register("THE_KEY", key().as_bytes()).unwrap();
        known
    }

    #[track_caller]
    fn assert_found(text: &str) {
        let known = known();
        let masked = known.mask(text);
        assert!(masked.contains("[THE_KEY]"), "not found in {text:?}");
        // Masking is complete: nothing is found in what is left.
        assert!(known.find(&masked).is_empty(), "{masked:?}");
    }

    fn encode(value: &[u8], shift: usize) -> String {
        forms::base64(&[&b"abc"[..shift], value, &b"xy"[..]].concat(), false)
    }

    #[test]
    fn a_value_is_found_in_every_form() {
        let key = key();
        let raw = key.as_bytes();
        assert_found(&format!("token = \"{key}\""));
        assert_found(&key);
        for shift in 0..3 {
            assert_found(&format!("blob: {}", encode(raw, shift)));
            let url_safe = forms::base64(&[&b"abc"[..shift], raw].concat(), true);
            assert_found(&url_safe);
        }
        let hex: String = base16ct::lower::encode_string(raw);
        assert_found(&hex);
        assert_found(&hex.to_uppercase());
        assert_found(&raw.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
        assert_found(&raw.iter().map(|byte| format!("0x{byte:02X}, ")).collect::<String>());
        assert_found(&raw.iter().map(|byte| format!("%{byte:02X}")).collect::<String>());
        assert_found(&key.chars().rev().collect::<String>());
        assert_found(&key.chars().flat_map(|c| [c, '\0']).collect::<String>());
        assert_found(&key.chars().flat_map(|c| ['\0', c]).collect::<String>());
        let utf16: Vec<u8> = key.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for shift in 0..3 {
            assert_found(&encode(&utf16, shift));
        }
        let (one, two) = key.split_at(9);
        assert_found(&format!("let t = \"{one}\" +\n    \"{two}\";"));
        assert_found(&format!("'{one}' . '{two}'"));
        assert_found(&format!("{one}\\\n{two}"));
        assert_found(&format!("{one}\\n{two}"));
        assert_found(&format!("[\"{one}\", \"{two}\"].join(\"\")"));
        assert_found(&key.chars().map(|c| format!("'{c}',\n        ")).collect::<String>());
        let encoded = encode(raw, 1);
        assert_found(&encoded.chars().rev().collect::<String>());
        assert_found(&encode(encoded.as_bytes(), 2));
        assert_found(&encode(hex.as_bytes(), 1));
        let wide: String = base16ct::lower::encode_string(&utf16);
        assert_found(&wide);
        let (one, two) = encoded.split_at(encoded.len() / 2);
        assert_found(&format!("{one}\n{two}"));
    }

    #[test]
    fn a_value_is_found_behind_every_escape_and_through_two_of_them() {
        let key = key();
        let each =
            |form: &dyn Fn(u32) -> String| key.bytes().map(|byte| form(u32::from(byte))).collect::<String>();
        assert_found(&each(&|c| format!("\\u{c:04x}")));
        assert_found(&each(&|c| format!("\\{c:03o}")));
        assert_found(&each(&|c| format!("&#{c};")));
        assert_found(&each(&|c| format!("&#x{c:x};")));
        assert_found(&each(&|c| format!("{c}, ")));
        assert_found(&each(&|c| format!("%25{c:02x}")));
        assert_found(&each(&|c| char::from_u32(c + 0xfee0).unwrap().to_string()));
        // An encoder may encode more than it must.
        let some = |(at, byte): (usize, u8)| {
            if at % 5 == 0 { format!("%{byte:02x}") } else { char::from(byte).to_string() }
        };
        assert_found(&key.bytes().enumerate().map(some).collect::<String>());
    }

    #[test]
    fn a_value_that_is_no_text_is_found_raw_and_encoded() {
        let value: Vec<u8> = (0..32u8).map(|n| n.wrapping_mul(73).wrapping_add(131)).collect();
        assert!(std::str::from_utf8(&value).is_err());
        let known = KnownSecrets::default();
        known.register("RAW", &value).unwrap();
        for (before, after) in
            [(&b""[..], &b""[..]), (b"\xc3\xe2", b"\x80\x80"), (b"abc", b"def"), (b"\n", b"\n")]
        {
            let bytes = [before, &value, after].concat();
            let marked: String = bytes
                .utf8_chunks()
                .flat_map(|chunk| {
                    chunk.valid().chars().chain(chunk.invalid().iter().map(|_| '?')).collect::<Vec<_>>()
                })
                .collect();
            for text in [String::from_utf8_lossy(&bytes).into_owned(), marked] {
                assert!(known.mask(&text).contains("[RAW]"), "{text:?}");
            }
        }
        let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
        let texts = [hex, encode(&value, 0), encode(&value, 1), encode(&value, 2)];
        assert!(texts.iter().all(|text| known.mask(text).contains("[RAW]")), "{texts:?}");
        let other: Vec<u8> = (0..32u8).map(|n| n.wrapping_mul(75).wrapping_add(130)).collect();
        let other = String::from_utf8_lossy(&other).into_owned();
        assert_eq!(known.mask(&other), other);
    }

    #[test]
    fn a_half_of_a_random_value_is_evidence_alone() {
        let key = key();
        let (one, two) = key.split_at(13);
        assert_found(&format!("a = \"{one}\"\nb = \"{two}\"\n"));
        assert_found(&format!("T=\"{one}\"\nT+=\"{two}\"\n"));
        assert_found(one);
        assert_found(two);
        assert_found(&format!(
            "0000000   t   o   k   = {}\n0000020",
            one.chars().map(|c| format!("  {c} ")).collect::<String>()
        ));
        // Of a value that is made of words no part is.
        let known = KnownSecrets::default();
        known.register("WORDS", ["correct-horse", "-battery-staple-1"].concat().as_bytes()).unwrap();
        assert_eq!(known.mask("a horse, a battery and a staple-1"), "a horse, a battery and a staple-1");
        // Every token of this kind begins in the same way.
        let header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9";
        known.register("JWT", format!("{header}.eyJzdWIiOiIxIn0.{key}").as_bytes()).unwrap();
        assert_eq!(known.mask(header), header);
    }

    #[test]
    fn values_with_signs_are_found_percent_encoded_and_as_they_are() {
        let password = ["p&ss/w0rd+", "with=signs"].concat();
        let known = KnownSecrets::default();
        known.register("P", password.as_bytes()).unwrap();
        let percent = crate::url_encoding::encode(password.as_bytes());
        assert!(percent.contains("%26") && known.mask(&percent).contains("[P]"));
        assert!(known.mask(&percent.to_lowercase()).contains("[P]"));
        assert_eq!(known.mask(&format!("redis://:{password}@host")), "redis://:[P]@host");
        assert!(known.mask(&encode(password.as_bytes(), 2)).contains("[P]"));
    }

    #[test]
    fn weak_values_are_found_as_they_are_and_never_in_ordinary_text() {
        let known = KnownSecrets::default();
        known.register("WEAK", b"redis-dev").unwrap();
        assert_eq!(known.mask("requirepass redis-dev\n"), "requirepass [WEAK]\n");
        for text in
            ["redis: dev", "redis_dev", "redisdev", "\"redis\" + \"dev\"", "predis-devel", "ved-sider"]
        {
            assert_eq!(known.mask(text), text);
        }
        assert!(known.mask(&encode(b"redis-dev", 0)).contains("[WEAK]"));
        assert_eq!(known.register("SHORT", b"hun"), Err(TooWeak::Short));
        assert_eq!(known.register("WORD", b"password"), Err(TooWeak::Word));
        assert_eq!(known.register("EMPTY", b""), Err(TooWeak::Short));
    }

    #[test]
    fn a_short_value_is_found_as_a_word_and_encoded_and_in_no_longer_word() {
        let known = KnownSecrets::default();
        let value = ["hun", "ter2"].concat();
        assert_eq!(known.register("PIN", value.as_bytes()), Ok(LookedFor::AsWord));
        assert_eq!(known.register("LONG", b"hunter2-and-more"), Ok(LookedFor::Everywhere));
        let hex = base16ct::lower::encode_string(value.as_bytes());
        let base64 = forms::base64(value.as_bytes(), false);
        let wide: String = value.chars().flat_map(|c| [c, '\0']).collect();
        for text in [
            value.clone(),
            format!("p={value};"),
            format!("_{value}_"),
            format!("'{value}'"),
            hex,
            base64,
            wide,
        ] {
            let masked = known.mask(&text);
            assert!(masked.contains("[PIN]"), "{text:?}: {masked:?}");
            assert!(known.find(&masked).is_empty(), "{masked:?}");
        }
        for text in [
            format!("x{value}"),
            format!("{value}5"),
            "hunter 2".to_owned(),
            "hun\nter2".to_owned(),
            "2retnuh".to_owned(),
        ] {
            assert_eq!(known.mask(&text), text);
        }
        // Words, names and numbers of this length stand in every text.
        for (weak, why) in [
            ("abc", TooWeak::Short),
            ("secret", TooWeak::Word),
            ("Secret", TooWeak::Word),
            ("SECRET", TooWeak::Word),
            ("8080", TooWeak::Word),
            ("1.2.3", TooWeak::Word),
        ] {
            assert_eq!(known.register("WEAK", weak.as_bytes()), Err(why), "{weak}");
        }
    }

    #[test]
    fn other_text_holds_no_known_value() {
        let known = known();
        let text = include_str!("rules.rs");
        assert_eq!(known.mask(text), text);
        let part = &key()[..11];
        for text in [part, &format!("{part}{part}"), "", "日本語", &"a\0".repeat(500)] {
            assert_eq!(known.mask(text), text);
        }
        // Pieces far from each other are not one value.
        let (one, two) = (&key()[..9], &key()[9..20]);
        let far = format!("{one}{}{two}", " ".repeat(limits::KNOWN_APART + limits::KNOWN_SPREAD * 40));
        assert_eq!(known.mask(&far), far);
    }

    #[test]
    fn the_number_of_values_is_bounded_and_a_known_one_costs_nothing() {
        let known = KnownSecrets::default();
        for n in 0..limits::KNOWN_SECRETS + 5 {
            known.register("N", format!("value-number-{n:04}-Qz7").as_bytes()).unwrap();
            known.register("N", format!("value-number-{n:04}-Qz7").as_bytes()).unwrap();
        }
        assert_eq!(format!("{known:?}"), format!("KnownSecrets({})", limits::KNOWN_SECRETS));
        assert_eq!(known.mask("value-number-0000-Qz7"), "value-number-0000-Qz7");
        let last = format!("value-number-{:04}-Qz7", limits::KNOWN_SECRETS + 4);
        assert_eq!(known.mask(&last), "[N]");
    }
}
