//! The rungs of the kill ladder, in climbing order.

/// The furthest rung of the kill ladder that a stop needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rung {
    /// Nothing had to be stopped.
    None,
    /// The protocol's interrupt on the standard input.
    Interrupt,
    /// SIGTERM.
    Term,
    /// One SIGKILL for all: by the cgroup, or by the first process of a namespace.
    Kill,
    /// SIGKILL for processes one by one.
    Sweep,
}

impl Rung {
    const ALL: [Self; 5] = [Self::None, Self::Interrupt, Self::Term, Self::Kill, Self::Sweep];

    /// Returns the word of receipts and records.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Interrupt => "interrupt",
            Self::Term => "term",
            Self::Kill => "kill",
            Self::Sweep => "sweep",
        }
    }

    /// Reads a word from a record. The record lies where the agent can write, so a word that is none of ours counts as the
    /// lowest rung and is never passed on.
    pub(crate) fn from_record(word: &str) -> Self {
        Self::ALL.into_iter().find(|rung| rung.word() == word).unwrap_or(Self::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rung_is_read_by_its_word_and_no_other() {
        for rung in Rung::ALL {
            assert_eq!(Rung::from_record(rung.word()), rung);
        }
        assert_eq!(Rung::from_record("anything the agent wrote"), Rung::None);
    }
}
