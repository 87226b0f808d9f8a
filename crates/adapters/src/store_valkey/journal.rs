//! The event log: a stream whose ids are the facts' numbers, given in the script that writes the fact. Who waits for news is
//! woken by the channel on which every fact is published, and by the own writes at once.

use std::sync::Arc;

use futures_util::StreamExt;
use mosaic_core::domain::journal::{Entry, LogRecord};
use mosaic_core::limits;
use mosaic_core::ports::store::StoreError;
use redis::streams::StreamRangeReply;
use serde_json::Value;

use super::args;
use super::inner::Inner;
use super::keys::Key;
use super::scripts::LOG;

impl Inner {
    /// Logs facts that belong to no change; see the port.
    pub(super) async fn log(&self, facts: &[LogRecord]) -> Result<(), StoreError> {
        if facts.is_empty() {
            return Ok(());
        }
        let answer = self.run(&LOG, self.with_facts(self.logging(), facts)?).await?;
        self.announce(args::number(&answer));
        Ok(())
    }

    /// Looks which fact is the newest.
    pub(super) async fn catch_up(&self) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("GET");
        cmd.arg(self.key(Key::Facts));
        let newest: Option<u64> = self.link.query(cmd).await?;
        self.announce(newest.unwrap_or(0));
        Ok(())
    }

    /// Reads logged facts; see the port. A damaged one keeps its number and has no data, so that the log has no gap.
    pub(super) async fn entries(&self, after: u64, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let Some(first) = after.checked_add(1).filter(|_| limit > 0) else { return Ok(Vec::new()) };
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(self.key(Key::Log)).arg(format!("{first}-0")).arg("+").arg("COUNT").arg(limit);
        let page: StreamRangeReply = self.link.query(cmd).await?;
        let read = |id: redis::streams::StreamId| {
            let seq = id.id.split('-').next().and_then(|seq| seq.parse().ok()).unwrap_or(0);
            let text: String = id.get("f").unwrap_or_default();
            Entry { seq, fact: serde_json::from_str(&text).unwrap_or_else(|_| unreadable(&text)) }
        };
        Ok(page.ids.into_iter().map(read).collect())
    }
}

/// Saves of a damaged fact what can be saved.
fn unreadable(text: &str) -> LogRecord {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let kind = value["kind"].as_str().unwrap_or_default().to_owned();
    let at = mosaic_core::domain::ids::Timestamp(value["at"].as_u64().unwrap_or(0));
    LogRecord::stored(kind, None, None, at, Value::Null)
}

/// Follows what anybody logs, for as long as the store is there. What was missed while the connection was lost is caught up
/// from the counter, and so is what a server that hangs does not tell.
pub(super) async fn follow(inner: Arc<Inner>) {
    loop {
        if let Ok(listener) = inner.link.listen(&[inner.key(Key::Events)]).await {
            let mut messages = listener.into_on_message();
            // Logged between the start and the subscription.
            drop(inner.catch_up().await);
            loop {
                match tokio::time::timeout(limits::STORE_LOOK, messages.next()).await {
                    Ok(Some(message)) => inner.announce(sequence(message.get_payload_bytes())),
                    Ok(None) => break,
                    Err(_) => drop(inner.catch_up().await),
                }
            }
        }
        tokio::time::sleep(limits::STORE_LISTEN_AGAIN).await;
    }
}

/// Returns the number in an envelope, which stands at its end.
fn sequence(envelope: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(envelope);
    // The script adds the number last. What stands before it is text that agents and callers may have chosen, with
    // these very words in it.
    let number = text.rsplit("\"sequence\":\"").next().and_then(|rest| rest.split('"').next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_read_from_the_end_of_an_envelope() {
        let envelope = r#"{"data":{"sequence":"9"},"time":"x","id":"12","sequence":"12"}"#;
        assert_eq!(sequence(envelope.as_bytes()), 12);
        assert_eq!(sequence(b"\xff"), 0);
    }
}
