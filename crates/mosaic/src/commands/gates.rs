//! `mosaic gates`: what the quality gates found about an agent's commit, failing output last. The exit code is 11
//! unless they passed.

use serde_json::Value;

use crate::cli::OneAgent;
use crate::client::escape;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::plain;
use crate::problem::Problem;
use crate::resolve;
use crate::session::Session;
use crate::view::View;

/// Runs the command.
pub(super) fn run(session: &Session, args: &OneAgent) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.agent)?;
    let view = View::new(&agent);
    let gates = client.get(&format!("/v1/agents/{}/gates", escape(view.id())))?;
    if session.global.json {
        session.print_json(&gates)?;
    } else {
        session.print(render(&view, &gates, session.paint()))?;
    }
    let passed = verdict(&gates) == "passed";
    Ok(if passed { Exit::Ok } else { Exit::GatesNotPassed })
}

fn verdict(gates: &Value) -> &str {
    let report = gates.get("report").and_then(|r| r.get("verdict")).and_then(Value::as_str);
    report.unwrap_or_else(|| View::new(gates).text("verdict"))
}

/// Renders plan and report.
fn render(agent: &View<'_>, gates: &Value, paint: Paint) -> String {
    let null = Value::Null;
    let plan = gates.get("plan").unwrap_or(&null);
    let report = gates.get("report").unwrap_or(&null);
    let (plan, report) = (View::new(plan), View::new(report));
    let commit = report.text("commit");
    let at = commit.get(..7).map_or(String::new(), |c| format!(" @ {}", plain::line(c)));
    let mut out = format!("{} for {}{at}\n", agent.shown("gateProfile"), agent.name());
    let by = plan.shown("definedBy");
    if !by.is_empty() {
        out.push_str(&paint.dim(&format!("defined by {by} · run by mosaic, not by the agent")));
        out.push('\n');
    }
    let results: Vec<View<'_>> = report.list("results").iter().map(View::new).collect();
    let width = results.iter().map(|r| r.shown("name").chars().count()).max().unwrap_or(0).max(10);
    for result in &results {
        out.push_str(&result_line(result, width, paint));
    }
    for name in plan.list("undefined").iter().filter_map(Value::as_str) {
        out.push_str(&format!(
            "  {} [      —] {:<width$}   no definition\n",
            paint.warn("SKIP "),
            plain::line(name)
        ));
    }
    for warning in plan.warnings() {
        out.push_str(&format!("  {} {warning}\n", paint.warn("warning:")));
    }
    // What the agent's run was warned about bears on what the gates could judge.
    for warning in agent.warnings() {
        out.push_str(&format!("  {} {warning}\n", paint.warn("warning:")));
    }
    out.push_str(&findings(&results, paint));
    out.push_str(&secrets(gates, agent));
    out.push_str(&conclusion(agent, verdict(gates), &results, paint));
    out
}

fn result_line(result: &View<'_>, width: usize, paint: Paint) -> String {
    let outcome = result.text("outcome");
    let word = plain::cut(&plain::line(&outcome.to_uppercase()), 5);
    let word = format!(
        "{}{}",
        paint.by_word(outcome, &word),
        " ".repeat(5_usize.saturating_sub(word.chars().count()))
    );
    let tenths = result.number("durationMs") / 100;
    let time = format!("{}.{}s", tenths / 10, tenths % 10);
    let command = plain::cut(&result.shown("command"), 30);
    let line = format!(
        "  {word} [{time:>7}] {:<width$}  {command:<30}  {}",
        result.shown("name"),
        result.shown("summary")
    );
    format!("{}\n", line.trim_end())
}

fn findings(results: &[View<'_>], paint: Paint) -> String {
    let mut lines = Vec::new();
    for finding in results.iter().flat_map(|r| r.list("findings")) {
        let view = View::new(finding);
        let line =
            view.value().get("line").and_then(Value::as_u64).map_or(String::new(), |n| format!(":{n}"));
        let place = view.shown("path");
        let place = if place.is_empty() { view.shown("source") } else { format!("{place}{line}") };
        let message = plain::block(view.text("message")).replace('\n', "\n    ");
        lines.push(format!("{place}   {message}\n"));
    }
    if lines.is_empty() {
        return String::new();
    }
    let rule = paint.dim("────────────");
    format!("{rule}\n{}{rule}\n", lines.concat())
}

/// Lists the secrets that kept it from being judged, and what to do about one that is none.
fn secrets(gates: &Value, agent: &View<'_>) -> String {
    let found = View::new(gates);
    let found: Vec<View<'_>> = found.list("findings").iter().map(View::new).collect();
    let mut out = String::new();
    for finding in found.iter().filter(|finding| finding.value().get("secret").is_some()) {
        out.push_str(&format!("secret-scan   {}\n", super::status::secret(finding)));
    }
    if !out.is_empty() {
        let name = agent.name();
        out.push_str(&format!(
            "  if it is no secret: mosaic retry {name} --allow-secret FINGERPRINT --reason TEXT, or list it in .mosaic/allowed-secrets of the base\n"
        ));
    }
    out
}

fn conclusion(agent: &View<'_>, verdict: &str, results: &[View<'_>], paint: Paint) -> String {
    if verdict.is_empty() {
        return "not judged yet\n".to_owned();
    }
    let count = |words: &[&str]| results.iter().filter(|r| words.contains(&r.text("outcome"))).count();
    let total: u64 = results.iter().map(|r| r.number("durationMs")).sum();
    let fix = match agent.number("fixRound") {
        0 => String::new(),
        n => format!(" · returned to the agent {n} times"),
    };
    let word = paint.by_word(verdict, &plain::line(&verdict.to_uppercase()));
    format!(
        "{word} {} passed, {} failed, {} skipped in {}.{}s{fix}\n",
        count(&["pass"]),
        count(&["fail", "error"]),
        count(&["skip"]),
        total / 1000,
        total % 1000 / 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;
    use serde_json::json;

    #[test]
    fn failing_output_comes_last() {
        let agent = json!({"name": "fix-3f9a", "gateProfile": "standard", "fixRound": 1});
        let gates = json!({
            "plan": {"definedBy": "8c1d2e0:.mosaic/config.toml", "undefined": ["lint"], "warnings": []},
            "report": {"commit": "9f31c2aaaa", "verdict": "failed", "results": [
                {"name": "tests", "outcome": "pass", "durationMs": 1310, "command": "./test.sh", "summary": "20 passed"},
                {"name": "coverage", "outcome": "fail", "durationMs": 1600, "summary": "60.0% < 85%",
                 "findings": [{"source": "coverage", "path": "calc.sh", "line": 6, "message": "not run\u{1b}[m"}]},
            ]},
        });
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
        assert_eq!(
            render(&View::new(&agent), &gates, Paint::choose(ColorChoice::Never, false, &|_| None)),
            expected
        );
        assert_eq!(verdict(&gates), "failed");
    }
}
