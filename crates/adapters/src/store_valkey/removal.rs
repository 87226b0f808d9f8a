//! Records and facts that go for good, each call a bounded piece of work.

use mosaic_core::domain::ids::{AgentId, NodeId, Timestamp};
use mosaic_core::domain::outcome::cut;
use mosaic_core::limits::{REMOVAL_WHY_BYTES, STORE_PAGE, TOMBSTONES};
use mosaic_core::ports::store::{EndedAfter, Removal, StoreError, Versioned};

use super::args::{self, Args, strange};
use super::inner::Inner;
use super::keys::Key;
use super::records::millis;
use super::scripts::{PRUNE, REMOVE};

impl Inner {
    /// Removes an ended agent; see the port.
    pub(super) async fn remove(&self, removal: Removal) -> Result<(), StoreError> {
        let Removal { agent, version, at, why, node, facts } = removal;
        // Its task is named in the record; the version tells whether it is still the same.
        let record = self.glance(agent).await?;
        let args = self
            .logging()
            .long(agent.to_string())
            .number(version)
            .text(record.agent.spec.task_id.as_str())
            .number(millis(at))
            .long(cut(why, REMOVAL_WHY_BYTES))
            .text(node.as_ref().map_or("", NodeId::as_str))
            .number(TOMBSTONES);
        let answer = args::list(self.run(&REMOVE, self.with_facts(args, &facts)?).await?, "a removal")?;
        let [word, newest] = answer.as_slice() else { return Err(strange("a removal")) };
        self.announce(args::number(newest));
        match args::text(word) {
            Some("done") => Ok(()),
            other => Err(self.refusal(agent, other).await?),
        }
    }

    /// Lists what ended before a time, oldest end first; see the port.
    pub(super) async fn settled(
        &self,
        before: Timestamp,
        after: EndedAfter,
        limit: usize,
    ) -> Result<Vec<Versioned>, StoreError> {
        let limit = limit.clamp(1, STORE_PAGE);
        let (mut ids, mut from) = (Vec::new(), 0);
        while ids.len() < limit {
            let mut cmd = redis::cmd("ZRANGEBYSCORE");
            // Several agents may have ended in the same millisecond. So a page begins at that time once more, and the
            // number of admission tells which of them were listed already.
            cmd.arg(self.key(Key::Ended)).arg(after.at).arg(format!("({}", millis(before))).arg("WITHSCORES");
            cmd.arg("LIMIT").arg(from).arg(STORE_PAGE);
            let page: Vec<(String, u64)> = self.link.query(cmd).await?;
            from += STORE_PAGE;
            let last = page.len() < STORE_PAGE;
            let members = page.iter().filter_map(|(member, at)| Some((place(member)?, *at)));
            let beyond = members.filter(|((seq, _), at)| EndedAfter { at: *at, seq: *seq } > after);
            ids.extend(beyond.map(|((_, id), _)| id));
            if last {
                break;
            }
        }
        ids.truncate(limit);
        let mut ended = self.fetch(&ids).await?;
        ended.retain(|record| record.agent.is_terminal());
        Ok(ended)
    }

    /// Removes old facts from the beginning of the log; see the port.
    pub(super) async fn prune_events(&self, before: Timestamp, most: usize) -> Result<u64, StoreError> {
        let args = Args::default().number(millis(before)).number(most as u64);
        Ok(args::number(&self.run(&PRUNE, args).await?))
    }
}

/// Takes a member of the ended agents apart.
fn place(member: &str) -> Option<(u64, AgentId)> {
    let (seq, id) = member.split_once(':')?;
    Some((seq.parse().ok()?, id.parse().ok()?))
}
