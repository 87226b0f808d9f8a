//! The two scripts of the bare queue with their arguments and answers.

use std::sync::OnceLock;

use mosaic_core::domain::ids::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::types::{Ended, Keep, Taken, Turned};

/// Includes a fragment that the shared store's own scripts are made of.
macro_rules! shared {
    ($name:literal) => {
        include_str!(concat!("../../../adapters/src/store_valkey/scripts/", $name, ".lua"))
    };
}

/// A script that is called by its digest.
pub(super) struct Script {
    parts: &'static [&'static str],
    joined: OnceLock<redis::Script>,
}

pub(super) static BARE_ADD: Script =
    Script::new(&["#!lua\n", shared!("base"), shared!("queue"), include_str!("bare_add.lua")]);
pub(super) static BARE_FINISH_AND_TAKE: Script = Script::new(&[
    "#!lua flags=allow-oom\n",
    shared!("base"),
    shared!("queue"),
    shared!("parents"),
    shared!("job_retention"),
    include_str!("bare_finish_and_take.lua"),
]);

impl Script {
    const fn new(parts: &'static [&'static str]) -> Self {
        Self { parts, joined: OnceLock::new() }
    }

    /// Runs it; the server is told its text when it does not know it.
    pub(super) async fn run(
        &self,
        connection: &MultiplexedConnection,
        keys: &str,
        args: Args,
    ) -> RedisResult<Value> {
        let script = self.joined.get_or_init(|| redis::Script::new(&self.parts.concat()));
        let mut call = script.key(keys);
        call.arg(args.0);
        call.invoke_async(&mut connection.clone()).await
    }
}

/// A call of a worker: the end of its job, when it has one, and the wish for the next.
pub(super) struct Turn {
    pub(super) ended: Option<Ended>,
    pub(super) token: String,
    pub(super) wants: bool,
    pub(super) lock_ms: u64,
    pub(super) at: Timestamp,
}

/// The arguments of a script.
pub(super) struct Args(Vec<Vec<u8>>);

impl Args {
    pub(super) fn with_capacity(count: usize) -> Self {
        Self(Vec::with_capacity(count))
    }

    pub(super) fn text(&mut self, text: String) {
        self.0.push(text.into_bytes());
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.push(number.to_string().into_bytes());
    }

    pub(super) fn turn(&mut self, turn: Turn) {
        let Turn { ended, token, wants, lock_ms, at: _ } = turn;
        match ended {
            None => self.number(0),
            Some(Ended { id, result, keep }) => {
                self.number(1);
                self.text(id);
                self.text(token.clone());
                let (outcome, result, stack) = match result {
                    Ok(value) => ("completed", value, String::new()),
                    Err((why, stack)) => ("failed", why, stack),
                };
                self.text(outcome.to_owned());
                self.text(result);
                self.text(stack);
                let keeping = match keep {
                    Keep::All => "all",
                    Keep::AsItsOptionsSay => "options",
                    Keep::None => "none",
                };
                self.text(keeping.to_owned());
            }
        }
        self.text(if wants { token } else { String::new() });
        self.number(lock_ms);
    }
}

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(
            String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        ),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

pub(super) fn turned(answer: Value, due: Option<Timestamp>) -> Option<Turned> {
    let mut parts = list(answer)?.into_iter();
    let Some(Value::Int(code)) = parts.next() else { return None };
    let mut fields = list(parts.next().unwrap_or(Value::Nil)).unwrap_or_default().into_iter().map(text);
    let mut next = || fields.next().flatten();
    let taken = next().map(|id| Taken {
        id,
        name: next().unwrap_or_default(),
        data: next().unwrap_or_default(),
        options: next().unwrap_or_default(),
        attempts: next().and_then(|n| n.parse().ok()).unwrap_or(0),
        doomed: next().filter(|why| !why.is_empty()),
    });
    Some(Turned { refused: (code < 0).then_some(code), next: taken, due })
}
