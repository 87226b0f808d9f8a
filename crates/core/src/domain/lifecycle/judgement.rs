//! The judgement of a commit and its publication: filters, secrets, gates, conflicts, the push.

use super::super::agent::{Agent, State, Status, Turn};
use super::super::facts::{
    Fact, FilterRefused, FixRequested, GateFinished, GitConflict, GitPushed, SecretFound,
};
use super::super::gates::{FilteredPath, Finding, GateOutcome, GateReport, Verdict};
use super::super::ids::{CommitId, Timestamp};
use super::super::journal::LogRecord;
use super::super::outcome::EndReason;
use super::super::publication::{Publication, RemoteLook};
use super::decision::{Decision, count};
use crate::limits;

impl Decision {
    pub(super) fn secrets_found(&mut self, findings: Vec<Finding>) -> State {
        self.note(Fact::SecretFound(SecretFound { findings: findings.clone() }));
        let text = format!(
            "a new commit holds {}: {}; nothing was pushed",
            count(findings.len(), "secret"),
            secret_places(&findings)
        );
        self.refused(findings, EndReason::Secret, text)
    }

    /// Ends an agent whose changed paths go through a git filter: content that the repository keeps encrypted or elsewhere would
    /// be published as it is. No fix round mends that.
    pub(super) fn filtered(&mut self, mut paths: Vec<FilteredPath>) -> State {
        let named: Vec<String> = paths
            .iter()
            .take(limits::NAMED_COMMITS)
            .map(|one| format!("{} ({})", one.path, one.filter))
            .collect();
        let more = paths.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let text = format!(
            "changed paths go through a git filter, which does not run here, so they would be published as plain files: \
             {}{more}; nothing was pushed, the work is kept: get it with mosaic restore {} and commit it where the filter \
             is installed",
            named.join(", "),
            self.agent.name
        );
        paths.truncate(limits::FINDINGS);
        self.note(Fact::FilterRefused(FilterRefused { paths: paths.clone() }));
        self.agent.work.unjudged = false;
        self.agent.work.filtered = paths;
        self.settle(Status::Failed, EndReason::FilteredPaths, Some(text))
    }

    pub(super) fn judged(&mut self, head: CommitId, report: GateReport) -> State {
        self.note(Fact::GateFinished(GateFinished::of(&self.agent, &report, head.clone())));
        let failed = report.verdict == Verdict::Failed;
        if report.verdict == Verdict::Incomplete {
            self.agent.warn("verdict incomplete: not every gate of the profile could be judged; see gates");
        }
        for warning in report.fault_warnings() {
            self.agent.warn(&warning);
        }
        let (findings, blameless) = (report.findings(), report.blameless_end());
        let names: Vec<String> = report
            .results
            .iter()
            .filter(|r| !matches!(r.outcome, GateOutcome::Pass))
            .map(|r| format!("{} ({})", r.name, r.summary))
            .collect();
        self.agent.work.report = Some(report);
        if let Some(reason) = blameless.filter(|_| failed) {
            // A fix round would be paid for what no agent can repair in its own work.
            self.agent.work.unjudged = false;
            let text =
                format!("gates not passed, on the base neither: {}; the work is kept", names.join(", "));
            self.settle(Status::Failed, reason, Some(text))
        } else if failed {
            self.refused(findings, EndReason::GatesFailed, format!("gates not passed: {}", names.join(", ")))
        } else {
            if !self.agent.work.offered.contains(&head) {
                self.agent.work.offered.push(head.clone());
            }
            // Written before the push begins: whoever ends it in the middle knows what to ask the remote.
            self.agent.work.publication = Publication::MayBeThere { commit: head.clone() };
            State::Publishing { head }
        }
    }

    pub(super) fn pushed(&mut self, head: CommitId, shown: bool) {
        self.facts.push(pushed(&self.agent, &head, shown, self.now.at));
        let work = &mut self.agent.work;
        if shown {
            work.publication = Publication::There { commit: head.clone() };
        }
        work.pushed = Some(head);
        work.unjudged = false;
    }

    /// The remote was asked about a push of which the end was not known.
    pub(super) fn looked(&mut self, look: &RemoteLook) {
        if let Some(fact) = learn(&mut self.agent, look, self.now.at) {
            self.facts.push(fact);
        }
    }

    pub(super) fn conflicted(&mut self, base: &CommitId, files: &[String]) -> State {
        self.note(Fact::GitConflict(GitConflict { base: base.clone(), files: files.to_vec() }));
        let findings = files.iter().map(|path| Finding {
            source: "conflict".to_owned(),
            path: Some(path.clone()),
            line: None,
            secret: None,
            message: format!(
                "conflicts with the newest {} ({})",
                self.agent.spec.context.branch,
                base.short()
            ),
        });
        let text = format!(
            "the work conflicts with {} at {} in {}; nothing was pushed, the work is kept in the server's bare repository",
            self.agent.spec.context.branch,
            base.short(),
            files.join(", ")
        );
        self.refused(findings.collect(), EndReason::Conflict, text)
    }

    /// The work was refused: back to the agent while a fix round is left.
    pub(super) fn refused(&mut self, findings: Vec<Finding>, reason: EndReason, text: String) -> State {
        self.agent.work.unjudged = false;
        // They stand in the record and not only in the state, so that an attempt which is repeated later
        // begins with them.
        self.agent.work.findings.clone_from(&findings);
        if self.agent.fix_round < self.agent.spec.max_fix_rounds {
            self.agent.fix_round += 1;
            let fix_round = self.agent.fix_round;
            let requested = FixRequested { reason, fix_round, findings: findings.clone() };
            self.note(Fact::AgentFixRequested(requested));
            return State::Checkout { turn: Turn::Fix { findings } };
        }
        let rounds = count(self.agent.fix_round as usize, "fix round");
        self.settle(Status::Failed, reason, Some(format!("{text} (after {rounds})")))
    }
}

fn pushed(agent: &Agent, commit: &CommitId, shown: bool, at: Timestamp) -> LogRecord {
    let (branch, commit) = (agent.branch.clone(), commit.clone());
    LogRecord::about(agent, &Fact::GitPushed(GitPushed { branch, commit, shown }), at)
}

/// Records the remote's answer about a push of which the end was not known; returns the fact when it arrived.
pub(crate) fn learn(agent: &mut Agent, look: &RemoteLook, at: Timestamp) -> Option<LogRecord> {
    let work = &mut agent.work;
    work.publication = std::mem::take(&mut work.publication).after(look);
    let RemoteLook::Shows(commit) = look else { return None };
    let known = work.pushed.replace(commit.clone()).is_some();
    (!known).then(|| pushed(agent, commit, true, at))
}

/// Names the first secrets by rule and place, for people.
fn secret_places(findings: &[Finding]) -> String {
    const SHOWN: usize = 3;
    let one = |finding: &Finding| {
        let rule = finding.secret.as_ref().map_or(finding.source.as_str(), |secret| secret.rule.as_str());
        let place = match (&finding.path, finding.line) {
            (Some(path), Some(line)) => format!("in {path}:{line}"),
            (Some(path), None) => format!("in {path}"),
            (None, _) => "in a commit message".to_owned(),
        };
        let commit = finding.secret.as_ref().map(|secret| format!(" (commit {})", secret.commit.short()));
        format!("{rule} {place}{}", commit.unwrap_or_default())
    };
    let shown: Vec<String> = findings.iter().take(SHOWN).map(one).collect();
    let more = findings.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}
