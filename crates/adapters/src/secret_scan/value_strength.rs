//! Strength of a value that is to be kept secret: one that ordinary text contains by chance would hide that text instead.

use mosaic_core::limits;

/// Way in which a value is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookedFor {
    /// In every form in which values travel.
    Everywhere,
    /// As it is, with no letter or digit beside it, and encoded: it is so short that more would find it in ordinary text.
    AsWord,
}

/// Says why a value is not looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooWeak {
    /// Ordinary text would be taken for it.
    #[error("it has fewer than {} bytes", limits::KNOWN_WORD)]
    Short,
    /// It is a word.
    #[error("it is a word or number that may stand anywhere")]
    Word,
}

impl LookedFor {
    /// Tells how a value of this kind is looked for.
    ///
    /// # Errors
    /// When the value is so weak that ordinary text would be taken for it. It is not looked for then.
    pub fn of(value: &[u8]) -> Result<Self, TooWeak> {
        let value = value.trim_ascii();
        if value.len() < limits::KNOWN_WORD {
            return Err(TooWeak::Short);
        }
        let is_short = value.len() < limits::KNOWN_SHORTEST;
        // A capital at the beginning makes no word a secret; digits alone are ports, years and sums.
        let rest = if is_short && value[0].is_ascii_uppercase() { &value[1..] } else { value };
        let one_kind = rest.iter().all(u8::is_ascii_lowercase) || value.iter().all(u8::is_ascii_uppercase);
        let number = is_short
            && value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b':' | b'-' | b'/'));
        match (one_kind && value.len() < 16 || number, is_short) {
            (true, _) => Err(TooWeak::Word),
            (false, true) => Ok(Self::AsWord),
            (false, false) => Ok(Self::Everywhere),
        }
    }
}
