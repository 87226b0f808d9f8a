//! Report of a drill, for people and for programs, with the limits of what can be promised on a machine like this.

use std::time::Duration;

use mosaic_api::{KillAll, KillReceipt, Killed, Status};
use serde_json::{Value, json};

use super::shapes::Shape;
use crate::color::Paint;
use crate::sanitize;
use crate::sent::Sent;
use crate::table::{column, render};

/// Result of the kills of one shape.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    shape: Shape,
    agents: u64,
    before: usize,
    after: usize,
    rung: String,
    ms: u64,
    past_grace_ms: u64,
    confinement: String,
    confirmed: bool,
}

impl Row {
    /// Puts the answers of its kills together: the slowest counts, and the furthest rung.
    pub(super) fn of(
        shape: Shape,
        agents: u64,
        before: usize,
        after: usize,
        answers: &[Sent<Killed>],
    ) -> Self {
        let receipts = || answers.iter().filter_map(|answer| answer.receipt.as_ref());
        let most = |field: fn(&KillReceipt) -> Option<u64>| receipts().filter_map(field).max().unwrap_or(0);
        let word = |field: fn(&KillReceipt) -> Option<&str>| {
            receipts().filter_map(field).max_by_key(|word| height(word)).unwrap_or_default().to_owned()
        };
        let confirmed = answers.iter().all(|answer| {
            let after = answer.receipt.as_ref().and_then(|receipt| receipt.processes_after);
            answer.verified && answer.agent.status == Status::Killed && after == Some(0)
        });
        let (ms, past_grace_ms) = (most(|r| r.took_ms), most(|r| r.past_grace_ms));
        let (rung, confinement) = (word(|r| r.rung.as_deref()), word(|r| r.confinement.as_deref()));
        Self { shape, agents, before, after, rung, ms, past_grace_ms, confinement, confirmed }
    }

    fn passed(&self) -> bool {
        self.before > 0 && self.after == 0 && self.confirmed
    }
}

/// Orders the rungs of the ladder.
fn height(rung: &str) -> usize {
    ["none", "interrupt", "term", "kill", "sweep"].iter().position(|known| *known == rung).unwrap_or(0)
}

/// Result of the kill-all at the end of the drill.
#[derive(Debug, Clone)]
pub(crate) struct Switch {
    agents: usize,
    before: usize,
    after: usize,
    ms: u64,
    failed: u64,
}

impl Switch {
    pub(super) fn of(agents: usize, before: usize, after: usize, took: Duration, answer: &KillAll) -> Self {
        let failed = answer.failed;
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        Self { agents, before, after, ms, failed }
    }

    fn passed(&self) -> bool {
        self.before > 0 && self.after == 0 && self.failed == 0
    }
}

/// The whole drill.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// Mechanism that holds agents together here.
    pub(super) confinement: &'static str,
    /// Reason for this mechanism.
    pub(super) why: String,
    /// One per shape.
    pub(super) rows: Vec<Row>,
    /// The last act.
    pub(super) switch: Switch,
}

impl Report {
    /// Tells whether nothing survived anything.
    pub(crate) fn passed(&self) -> bool {
        self.rows.iter().all(Row::passed) && self.switch.passed()
    }

    /// Says what is not promised here.
    fn not_promised(&self) -> &'static [&'static str] {
        match self.confinement {
            "cgroup" => {
                &["an agent with the rights of root could leave its cgroup; agents should not run as root"]
            }
            "pid namespace" => &[
                "nothing limits or counts what an agent uses",
                "a program that forks as fast as it can is not frozen, only killed",
            ],
            _ => &[
                "a program that forks as fast as it can takes seconds to kill, and is not frozen",
                "when an agent kills its own supervisor, what left its session with an empty environment is not found again",
                "nothing limits what an agent uses; a fork bomb is ended when its supervisor notices",
            ],
        }
    }

    /// Renders it for programs.
    pub(crate) fn json(&self) -> Value {
        let shapes: Vec<Value> = self.rows.iter().map(|row| {
            json!({
                "shape": row.shape.name, "what": row.shape.what, "agents": row.agents, "processesBefore": row.before,
                "processesAfter": row.after, "rung": row.rung, "tookMs": row.ms, "pastGraceMs": row.past_grace_ms,
                "confinement": row.confinement, "verified": row.confirmed, "passed": row.passed(),
            })
        }).collect();
        let s = &self.switch;
        json!({
            "passed": self.passed(), "confinement": self.confinement, "why": self.why, "shapes": shapes,
            "switch": {
                "agents": s.agents, "processesBefore": s.before, "processesAfter": s.after, "tookMs": s.ms,
                "failed": s.failed, "passed": s.passed(),
            },
            "notPromised": self.not_promised(), "graceMs": u64::try_from(super::stage::GRACE.as_millis()).unwrap_or(0),
        })
    }

    /// Renders it for people.
    pub(crate) fn text(&self, width: Option<usize>, paint: Paint) -> String {
        let verdict = |passed: bool| if passed { "ok" } else { "FAILED" }.to_owned();
        let columns = ["SHAPE", "WHAT IT DOES", "BEFORE", "AFTER", "RUNG", "PAST GRACE", ""].map(column);
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| {
                let (before, after) = (row.before.to_string(), row.after.to_string());
                let past = format!("{} ms", row.past_grace_ms);
                vec![
                    row.shape.name.to_owned(),
                    row.shape.what.to_owned(),
                    before,
                    after,
                    row.rung.clone(),
                    past,
                    verdict(row.passed()),
                ]
            })
            .collect();
        let mut out = render(&columns, &rows, width, 0, paint, &|_, _, shown| shown);
        let s = &self.switch;
        out.push_str(&format!(
            "\nthe switch on {} agents: {} processes before, {} after, {} ms with a grace of {} ms: {}\n",
            s.agents,
            s.before,
            s.after,
            s.ms,
            super::stage::GRACE.as_millis(),
            verdict(s.passed())
        ));
        out.push_str(&format!("held together by a {}: {}\n", self.confinement, sanitize::line(&self.why)));
        for line in self.not_promised() {
            out.push_str(&format!("  not promised here: {line}\n"));
        }
        let end = if self.passed() {
            "passed: a kill leaves nothing alive on this machine"
        } else {
            "FAILED: something survived, or was not verified"
        };
        out.push_str(&format!("{end}\n"));
        out
    }
}
