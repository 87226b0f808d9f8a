//! The work that attempts of an agent left behind, by its record alone.

use super::agent::Agent;
use super::ids::{NodeId, Timestamp};
use super::kept_work::{KeptRef, KeptWork, LeftWork, WorkState, head_ref};
use super::publication::Publication;

impl Agent {
    /// Notes what the attempt that is over left on a node; nothing where it had nothing.
    pub(super) fn leave_work(&mut self, node: &NodeId, at: Timestamp) {
        let work = &self.work;
        if self.runs == 0 || !(work.dirty || work.kept.is_some() || work.salvage.is_some()) {
            return;
        }
        let left = LeftWork {
            attempt: self.attempt,
            run: self.runs,
            node: node.clone(),
            at,
            base: work.base.clone(),
            received: work.kept.clone(),
            unreceived: work.dirty || work.kept.is_none(),
        };
        if self.left.len() < crate::limits::LEFT_WORK {
            self.left.push(left);
        } else {
            self.warn("more attempts ended on other nodes than are listed; mosaic logs shows when");
        }
    }

    /// Lists the work of earlier attempts by the record alone, oldest first.
    pub fn left_work(&self) -> Vec<KeptWork> {
        self.left.iter().map(|left| left.kept(self.id)).collect()
    }

    /// Describes the work of the last attempt of an agent that has ended, on the node that ran it.
    pub fn last_work(&self, node: &NodeId) -> Option<KeptWork> {
        let (end, work) = (self.end()?, &self.work);
        if self.runs == 0 || self.left.last().is_some_and(|left| left.run == self.runs) {
            return None;
        }
        let id = self.id;
        let head = work.kept.clone().map(|commit| KeptRef { reference: head_ref(id), commit });
        let saved = work.salvage.as_ref();
        let saved = saved.map(|s| KeptRef { reference: s.reference.clone(), commit: s.commit.clone() });
        let published = match &work.publication {
            Publication::There { commit } => {
                saved.is_none() && work.kept.as_ref().is_none_or(|k| k == commit)
            }
            _ => false,
        };
        let refs: Vec<KeptRef> = head.into_iter().chain(saved).collect();
        let state = match (work.dirty, published, refs.is_empty()) {
            (true, _, _) => WorkState::Unreported,
            (false, true, _) => WorkState::Published,
            (false, false, true) => WorkState::Nothing,
            (false, false, false) => WorkState::Kept,
        };
        let node = self.node.clone().unwrap_or_else(|| node.clone());
        let (attempt, run) = (self.attempt, self.runs);
        Some(KeptWork { attempt, run, node, at: end.at, state, refs, earlier: false })
    }
}
