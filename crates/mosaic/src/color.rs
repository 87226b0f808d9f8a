//! Colour and symbols of the terminal: decided once, from the flag, the environment and what the stream is.

use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Capabilities of the terminal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Standard output is a terminal.
    pub(crate) out: bool,
    /// Questions can be asked: standard input and standard error are terminals, and no agent is asking.
    pub(crate) asks: bool,
    /// Columns to fill; `None` when the output is piped.
    pub(crate) width: Option<usize>,
    /// Colouring of standard output.
    pub(crate) paint: Paint,
}

/// Colours text, or leaves it alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Paint {
    colour: bool,
    ascii: bool,
}

/// The environment that decides about colour; a closure so that tests need no real one.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<std::ffi::OsString>;

impl Paint {
    /// Decides about colour. `NO_COLOR` and `CLICOLOR_FORCE` count when set and not empty; the flag wins.
    pub(crate) fn choose(choice: ColorChoice, terminal: bool, env: Lookup<'_>) -> Self {
        let set = |name: &str| env(name).is_some_and(|v| !v.is_empty() && v != "0");
        let colour = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto if env("NO_COLOR").is_some_and(|v| !v.is_empty()) => false,
            ColorChoice::Auto if set("CLICOLOR_FORCE") => true,
            ColorChoice::Auto => terminal && env("TERM").is_none_or(|t| t != "dumb"),
        };
        Self { colour, ascii: set("MOSAIC_ASCII") }
    }

    fn wrap(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Marks a heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.wrap(Style::new().bold(), text)
    }

    /// Marks what matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.wrap(Style::new().dimmed(), text)
    }

    /// Marks what went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap(AnsiColor::Green.on_default(), text)
    }

    /// Marks what went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap(AnsiColor::Red.on_default(), text)
    }

    /// Marks what needs a look.
    pub(crate) fn warn(self, text: &str) -> String {
        self.wrap(AnsiColor::Yellow.on_default(), text)
    }

    /// Colours a status or outcome word by its meaning.
    pub(crate) fn by_word(self, word: &str, shown: &str) -> String {
        match word {
            "completed" | "pass" | "passed" | "ok" => self.good(shown),
            "failed" | "fail" | "error" | "flaky" | "FAIL" => self.bad(shown),
            "killed" | "skip" | "incomplete" | "warn" => self.warn(shown),
            _ => shown.to_owned(),
        }
    }

    /// Replaces the typographic symbols of our own texts when only ASCII is wanted.
    pub(crate) fn symbols(self, text: String) -> String {
        if !self.ascii {
            return text;
        }
        text.replace(" · ", " | ")
            .replace('·', "|")
            .replace('…', "...")
            .replace(['—', '─'], "-")
            .replace('→', "->")
            .replace('–', "-")
    }
}

impl Terminal {
    /// Looks at the streams and the environment.
    pub(crate) fn look(choice: ColorChoice, env: Lookup<'_>) -> Self {
        let out = std::io::stdout().is_terminal();
        let agent = env("MOSAIC_AGENT_ID").is_some_and(|v| !v.is_empty());
        let asks = !agent && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let columns = env("COLUMNS").and_then(|c| c.to_str()?.parse().ok()).filter(|&n: &usize| n >= 20);
        let window = || {
            rustix::termios::tcgetwinsize(std::io::stdout())
                .ok()
                .map(|w| usize::from(w.ws_col))
                .filter(|&n| n >= 20)
        };
        let width = out.then(|| columns.or_else(window).unwrap_or(80));
        Self { out, asks, width, paint: Paint::choose(choice, out, env) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_decides_about_colour_and_the_flag_wins() {
        let none = |_: &str| None;
        let no = |n: &str| (n == "NO_COLOR").then(|| "1".into());
        let force = |n: &str| (n == "CLICOLOR_FORCE").then(|| "1".into());
        assert!(Paint::choose(ColorChoice::Auto, true, &none).colour);
        assert!(!Paint::choose(ColorChoice::Auto, false, &none).colour);
        assert!(!Paint::choose(ColorChoice::Auto, true, &no).colour);
        assert!(Paint::choose(ColorChoice::Always, false, &no).colour);
        assert!(Paint::choose(ColorChoice::Auto, false, &force).colour);
        assert!(!Paint::choose(ColorChoice::Never, true, &force).colour);
    }

    #[test]
    fn a_style_begins_before_the_text_and_ends_after_it() {
        let paint = Paint::choose(ColorChoice::Always, false, &|_| None);
        let shown = [paint.bold("a"), paint.dim("a"), paint.good("a"), paint.bad("a"), paint.warn("a")];
        assert_eq!(shown, ["1", "2", "32", "31", "33"].map(|code| format!("\u{1b}[{code}ma\u{1b}[0m")));
    }

    #[test]
    fn symbols_become_ascii() {
        let ascii = |n: &str| (n == "MOSAIC_ASCII").then(|| "1".into());
        let paint = Paint::choose(ColorChoice::Never, false, &ascii);
        assert_eq!(paint.symbols("a · b…".to_owned()), "a | b...");
    }
}
