//! `mosaic gates`: what the quality gates found about an agent's commit, failing output last. The exit code is 11
//! unless they passed.

use mosaic_api::{AgentGates, AgentView, Finding, GateOutcome, GateResult, Verdict};

use crate::cli::{GatesArgs, GatesCommand};
use crate::client::escape;
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::session::Session;
use crate::view::{AgentStatus, shown};

/// Runs the command.
pub(super) fn run(session: &Session, args: &GatesArgs) -> Result<Exit, Problem> {
    match &args.command {
        Some(GatesCommand::Explain(args)) => return super::gates_explain::run(session, args),
        Some(GatesCommand::Init(args)) => return super::gates_explain::init(session, args),
        None => {}
    }
    let client = session.client()?;
    let agent = resolve::agent(&client, args.agent.as_deref().unwrap_or_default())?;
    let path = format!("/v1/agents/{}/gates", escape(&agent.status.agent_id));
    let gates = client.get::<AgentGates>(&path)?;
    if session.global.json {
        session.print_json(&gates)?;
    } else {
        session.print(render(&agent, &gates, session.paint()))?;
    }
    let passed = verdict(&gates) == Some(Verdict::Passed);
    Ok(if passed { Exit::Ok } else { Exit::GatesNotPassed })
}

fn verdict(gates: &AgentGates) -> Option<Verdict> {
    gates.report.as_ref().map(|report| report.verdict).or(gates.verdict)
}

/// Renders plan and report.
fn render(agent: &AgentView, gates: &AgentGates, paint: Paint) -> String {
    let commit = gates.report.as_ref().and_then(|report| report.commit.get(..7));
    let at = commit.map_or(String::new(), |commit| format!(" @ {}", sanitize::line(commit)));
    let name = agent.status.short_name();
    let mut out = format!("{} for {name}{at}\n", agent.gate_profile);
    let results = gates.report.as_ref().map_or(&[][..], |report| &report.results);
    let width =
        results.iter().map(|r| sanitize::columns(&sanitize::line(&r.name))).max().unwrap_or(0).max(10);
    if let Some(plan) = &gates.plan {
        let by = sanitize::line(&plan.defined_by);
        out.push_str(&paint.dim(&format!("defined by {by} · run by mosaic, not by the agent")));
        out.push('\n');
    }
    for result in results {
        out.push_str(&result_line(result, width, paint));
    }
    for name in gates.plan.iter().flat_map(|plan| &plan.undefined) {
        out.push_str(&format!(
            "  {} [      —] {:<width$}   no definition\n",
            paint.warn("SKIP "),
            sanitize::line(name)
        ));
    }
    let mut warn = |warning: &str| {
        out.push_str(&format!("  {} {warning}\n", paint.warn("warning:")));
    };
    if let Some(plan) = &gates.plan {
        plan.warnings.iter().for_each(|warning| warn(&sanitize::line(warning)));
    }
    // What the agent's run was warned about bears on what the gates could judge.
    agent.status.shown_warnings().iter().for_each(|warning| warn(warning));
    out.push_str(&findings(results, paint));
    out.push_str(&secrets(gates, &name));
    out.push_str(&conclusion(agent, verdict(gates), results, paint));
    out
}

fn result_line(result: &GateResult, width: usize, paint: Paint) -> String {
    let outcome = result.outcome.to_string();
    let word = sanitize::cut(&outcome.to_uppercase(), 5);
    let word = format!(
        "{}{}",
        paint.by_word(&outcome, &word),
        " ".repeat(5_usize.saturating_sub(word.chars().count()))
    );
    let tenths = result.duration_ms / 100;
    let time = format!("{}.{}s", tenths / 10, tenths % 10);
    let command = sanitize::cut(&shown(&result.command), 30);
    let line = format!(
        "  {word} [{time:>7}] {:<width$}  {command:<30}  {}",
        sanitize::line(&result.name),
        sanitize::line(&result.summary)
    );
    format!("{}\n", line.trim_end())
}

fn findings(results: &[GateResult], paint: Paint) -> String {
    let mut lines = Vec::new();
    for finding in results.iter().flat_map(|result| &result.findings) {
        let line = finding.line.map_or(String::new(), |n| format!(":{n}"));
        let place = shown(&finding.path);
        let place = if place.is_empty() { sanitize::line(&finding.source) } else { format!("{place}{line}") };
        let message = sanitize::block(&finding.message).replace('\n', "\n    ");
        lines.push(format!("{place}   {message}\n"));
    }
    if lines.is_empty() {
        return String::new();
    }
    let rule = paint.dim("────────────");
    format!("{rule}\n{}{rule}\n", lines.concat())
}

/// Lists the secrets that kept it from being judged, and what to do about one that is none.
fn secrets(gates: &AgentGates, name: &str) -> String {
    let found: Vec<&Finding> = gates.findings.iter().filter(|finding| finding.secret.is_some()).collect();
    let mut out = String::new();
    for finding in &found {
        out.push_str(&format!("secret-scan   {}\n", super::status::secret(finding)));
    }
    if !found.is_empty() {
        out.push_str(&format!(
            "  if it is no secret: mosaic retry {name} --allow-secret FINGERPRINT --reason TEXT, or list it in .mosaic/allowed-secrets of the base\n"
        ));
    }
    out
}

fn conclusion(agent: &AgentView, verdict: Option<Verdict>, results: &[GateResult], paint: Paint) -> String {
    let Some(verdict) = verdict else { return "not judged yet\n".to_owned() };
    let count = |words: &[GateOutcome]| results.iter().filter(|r| words.contains(&r.outcome)).count();
    let total: u64 = results.iter().map(|result| result.duration_ms).sum();
    let fix = match agent.status.fix_round {
        0 => String::new(),
        n => format!(" · returned to the agent {n} times"),
    };
    let verdict = verdict.to_string();
    let word = paint.by_word(&verdict, &verdict.to_uppercase());
    format!(
        "{word} {} passed, {} failed, {} skipped in {}.{}s{fix}\n",
        count(&[GateOutcome::Pass]),
        count(&[GateOutcome::Fail, GateOutcome::Error, GateOutcome::Flaky]),
        count(&[GateOutcome::Skip]),
        total / 1000,
        total % 1000 / 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::json;

    #[test]
    fn failing_output_comes_last() {
        let agent = json!({"name": "fix-3f9a", "gateProfile": "standard", "fixRound": 1});
        let agent = crate::samples::agent(agent);
        let gates = crate::samples::gates(json!({
            "plan": {"gates": [], "trusted": true, "definedBy": "8c1d2e0:.mosaic/config.toml", "undefined": ["lint"], "warnings": []},
            "report": {"commit": "9f31c2aaaa", "verdict": "failed", "results": [
                {"name": "tests", "outcome": "pass", "durationMs": 1310, "command": "./test.sh", "summary": "20 passed"},
                {"name": "coverage", "outcome": "fail", "durationMs": 1600, "summary": "60.0% < 85%",
                 "findings": [{"source": "coverage", "path": "calc.sh", "line": 6, "message": "not run\u{1b}[m"}]},
            ]},
        }));
        let expected = "standard for fix-3f9a @ 9f31c2a
defined by 8c1d2e0:.mosaic/config.toml · run by mosaic, not by the agent
  PASS  [   1.3s] tests       ./test.sh                       20 passed
  FAIL  [   1.6s] coverage                                    60.0% < 85%
  SKIP  [      —] lint         no definition
────────────
calc.sh:6   not run\\x1b[m
────────────
FAILED 1 passed, 1 failed, 0 skipped in 2.9s · returned to the agent 1 times
";
        assert_eq!(render(&agent, &gates, Paint::choose(ColorChoice::Never, false, &|_| None)), expected);
        assert_eq!(verdict(&gates), Some(Verdict::Failed));
    }
}
