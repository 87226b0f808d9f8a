//! The registry of runtimes: what the settings, the command line and the variables of agents know of each. A runtime of this
//! build is a [`RuntimeKind`] and a row here; the compiler then asks for how it is made (`wire/runtimes.rs`) and what
//! `mosaic doctor` looks for (`commands/doctor/runtimes.rs`).

/// A runtime of this build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeKind {
    /// Claude Code.
    Claude,
    /// Any program, with the prompt on its standard input.
    Command,
    /// The scripted agent of the demo.
    Demo,
}

/// A setting without which a runtime cannot be the one of agents that name none.
#[derive(Debug)]
pub(crate) struct Needed {
    /// Its variable.
    pub(crate) variable: &'static str,
    /// The thing that it gives, for people.
    pub(crate) what: &'static str,
    /// Remedy, for people.
    pub(crate) fix: &'static str,
}

/// One runtime in the registry.
#[derive(Debug)]
pub(crate) struct RuntimeRow {
    pub(crate) kind: RuntimeKind,
    /// Its name in settings, requests and records, which its adapter has too.
    pub(crate) name: &'static str,
    pub(crate) needed: Option<Needed>,
    /// Beginnings of the names of variables that hold its secrets or choose where it sends them: agents never get those of
    /// the server's environment.
    pub(crate) own_variables: &'static [&'static str],
}

/// All runtimes. The first is the one of agents that name none, unless a setting names another.
pub(crate) const RUNTIMES: [RuntimeRow; 3] = [
    RuntimeRow {
        kind: RuntimeKind::Claude,
        name: "claude",
        needed: None,
        own_variables: &["CLAUDE_", "ANTHROPIC_"],
    },
    RuntimeRow {
        kind: RuntimeKind::Command,
        name: "command",
        needed: Some(Needed {
            variable: "MOSAIC_COMMAND",
            what: "a program to run",
            fix: "set MOSAIC_COMMAND to its command line",
        }),
        own_variables: &[],
    },
    RuntimeRow { kind: RuntimeKind::Demo, name: "demo", needed: None, own_variables: &[] },
];

/// The runtime of agents that name none, where no setting names one.
pub(crate) const DEFAULT: &str = RUNTIMES[0].name;

/// The names of all runtimes, for people. Made here, so that no list of them can be forgotten.
pub(crate) const NAMES: &str = match std::str::from_utf8(&JOINED) {
    Ok(names) => names,
    Err(_) => panic!("names are ASCII"),
};

const SEPARATOR: &[u8] = b", ";

const JOINED: [u8; joined_length()] = joined();

const fn joined_length() -> usize {
    let (mut length, mut row) = (0, 0);
    while row < RUNTIMES.len() {
        length += RUNTIMES[row].name.len() + if row > 0 { SEPARATOR.len() } else { 0 };
        row += 1;
    }
    length
}

const fn joined() -> [u8; joined_length()] {
    let mut all = [0; joined_length()];
    let (mut end, mut row) = (0, 0);
    while row < RUNTIMES.len() {
        if row > 0 {
            end = copied(&mut all, end, SEPARATOR);
        }
        end = copied(&mut all, end, RUNTIMES[row].name.as_bytes());
        row += 1;
    }
    all
}

/// Copies bytes to a place; returns the place behind them.
const fn copied(all: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    let mut n = 0;
    while n < bytes.len() {
        all[at + n] = bytes[n];
        n += 1;
    }
    at + n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_for_people_has_every_name_once() {
        assert_eq!(NAMES.split(", ").collect::<Vec<_>>(), RUNTIMES.map(|row| row.name));
    }

    #[test]
    fn the_glossary_names_every_runtime() {
        let glossary = include_str!("../../../../docs/glossary.md");
        let row = glossary.lines().find(|line| line.starts_with("| runtime |")).expect("the word is there");
        for runtime in &RUNTIMES {
            assert!(row.contains(&format!("`{}`", runtime.name)), "{}: {row}", runtime.name);
        }
    }
}
