//! Context of every command: the flags, the environment, the terminal, and the server when the command asks for it.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::cli::Global;
use crate::client::Client;
use crate::color::{Paint, Terminal};
use crate::config::{self, real_env};
use crate::control::Control;
use crate::locate::{self, ServerLocation, Wanted};
use crate::problem::Problem;
use crate::serve::control_path;

/// One run of the program.
pub(crate) struct Session {
    /// The flags of every command.
    pub(crate) global: Global,
    /// Capabilities of the terminal.
    pub(crate) terminal: Terminal,
}

impl Session {
    /// Looks at flags and terminal.
    pub(crate) fn new(global: Global) -> Self {
        let terminal = Terminal::look(global.color, &real_env);
        Self { global, terminal }
    }

    /// Looks up a variable; `--data-dir` stands over its own.
    pub(crate) fn env(&self, name: &str) -> Option<OsString> {
        match (name, &self.global.data_dir) {
            ("MOSAIC_DATA_DIR", Some(dir)) => Some(dir.clone().into_os_string()),
            ("MOSAIC_DATA_DIR_FILE", Some(_)) => None,
            _ => real_env(name),
        }
    }

    /// Tells whether an agent runs this command: then no questions, and nothing wide.
    pub(crate) fn in_agent(&self) -> bool {
        self.env("MOSAIC_AGENT_ID").is_some_and(|id| !id.is_empty())
    }

    /// Returns how to colour standard output.
    pub(crate) fn paint(&self) -> Paint {
        self.terminal.paint
    }

    /// Returns the data directory.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Problem> {
        Ok(config::data_dir(&|name| self.env(name))?)
    }

    fn wanted(&self) -> Wanted {
        Wanted { url: self.global.url.clone(), token_file: self.global.token_file.clone() }
    }

    /// Returns where the server is expected, if anything says so.
    pub(crate) fn place(&self) -> Result<Option<ServerLocation>, Problem> {
        locate::find(&self.wanted(), &|name| self.env(name))
    }

    /// Returns a client for the server.
    pub(crate) fn client(&self) -> Result<Client, Problem> {
        match self.place()? {
            Some(place) => Ok(Client::new(&place)),
            None => Err(locate::nobody(&self.data_dir()?)),
        }
    }

    /// Returns a client for orders to stop: it goes over the control socket of this machine's server when there is
    /// one, which gets through when the port is busy with others.
    pub(crate) fn stop_client(&self) -> Result<Client, Problem> {
        let client = self.client()?;
        let explicit = self.place()?.is_some_and(|place| place.explicit);
        // An address that was named may belong to another server than the one of this directory, to which the socket
        // leads.
        let control = Control::of(control_path(&self.data_dir()?)).filter(|_| !explicit);
        Ok(client.over(control))
    }

    /// Returns the token the server is called with.
    pub(crate) fn token(&self) -> Result<Option<config::Secret>, Problem> {
        locate::token(&self.wanted(), &|name| self.env(name))
    }

    /// Prints data, with symbols as the terminal wants them.
    pub(crate) fn print(&self, text: String) -> Result<(), Problem> {
        self.print_raw(self.paint().symbols(text).as_bytes())
    }

    /// Prints data as it is.
    pub(crate) fn print_raw(&self, bytes: &[u8]) -> Result<(), Problem> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(Problem::Output)
    }

    /// Prints one JSON value: indented on a terminal, one line otherwise. JSON escapes control characters itself,
    /// but not the invisible ones of Unicode; on a terminal those are escaped too.
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), Problem> {
        let value = serde_json::to_value(value).map_err(|e| Problem::Other(e.into()))?;
        let text = if self.terminal.out { format!("{value:#}\n") } else { format!("{value}\n") };
        let text = if self.terminal.out { json_safe(&text) } else { text };
        self.print_raw(text.as_bytes())
    }
}

fn json_safe(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '\n' && mosaic_core::domain::ids::is_unprintable(c) {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// Says something on standard error. A closed standard error is nobody's problem.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::json_safe;

    #[test]
    fn json_for_terminals_has_no_invisible_characters() {
        let value = serde_json::json!({"a": "x\u{1b}\u{202e}\u{9b}y"});
        let text = json_safe(&format!("{value:#}\n"));
        assert_eq!(text, "{\n  \"a\": \"x\\u001b\\u202e\\u009by\"\n}\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
