//! The table of a judgement: a line for each gate, then what went wrong, then the conclusion and where to read on.

use mosaic_api::{AgentGates, AgentView, Finding, GateOutcome, GateReport, GateResult, Isolation, Phase};

use super::log::LogEnd;
use super::verdict;
use crate::color::Paint;
use crate::sanitize;
use crate::view::{AgentStatus, shown};

/// Columns of a command, and the fewest that are worth showing.
const COMMAND: usize = 30;
const LEAST_COMMAND: usize = 8;
/// Columns before the name of a gate: verdict and time.
const BEFORE: usize = 18;
/// Longest line of a log's end where no terminal bounds it, in columns.
const LOG_COLUMNS: usize = 300;
/// Lines of a log's end.
const LOG_LINES: usize = 12;
/// Findings that are shown.
const FINDINGS: usize = 30;

/// Renders plan and report.
pub(super) fn render(
    agent: &AgentView,
    gates: &AgentGates,
    ends: &[LogEnd],
    width: Option<usize>,
    paint: Paint,
) -> String {
    let report = gates.report.as_ref();
    let results = report.map_or(&[][..], |report| &report.results);
    let name = agent.status.short_name();
    let mut out = heading(agent, gates, paint);
    rows(gates, results, width, paint).into_iter().for_each(|row| out.push_str(&row));
    for warning in warnings(agent, gates) {
        out.push_str(&format!("  {} {warning}\n", paint.warn("warning:")));
    }
    out.push_str(&match ends {
        [] => findings(results, paint),
        ends => failing(results, ends, width, paint),
    });
    out.push_str(&secrets(gates, &name));
    out.push_str(&conclusion(agent, gates, width, paint));
    let logged = |result: &&GateResult| is_red(result) && result.log.is_some();
    if let Some(result) = results.iter().find(logged) {
        out.push_str(&format!("log: mosaic gates {name} --log {}\n", sanitize::line(&result.name)));
    }
    out
}

fn is_red(result: &GateResult) -> bool {
    matches!(result.outcome, GateOutcome::Fail | GateOutcome::Error | GateOutcome::Flaky)
}

fn heading(agent: &AgentView, gates: &AgentGates, paint: Paint) -> String {
    let report = gates.report.as_ref();
    let commit = report.and_then(|report| report.commit.get(..7));
    let at = commit.map_or(String::new(), |commit| format!(" @ {}", sanitize::line(commit)));
    let weak = match report.is_some_and(is_weak) {
        true => format!(" · {}", paint.warn("weak isolation")),
        false => String::new(),
    };
    let mut out = format!("{} for {}{at}{weak}\n", agent.gate_profile, agent.status.short_name());
    if let Some(plan) = &gates.plan {
        let by = sanitize::line(&plan.defined_by);
        out.push_str(&paint.dim(&format!("defined by {by} · run by mosaic, not by the agent")));
        out.push('\n');
    }
    out
}

/// Tells whether code of the commit ran within reach of its judge.
fn is_weak(report: &GateReport) -> bool {
    let ran = |result: &GateResult| !result.cached && result.outcome != GateOutcome::Skip;
    report.isolation == Isolation::Weak && report.results.iter().any(ran)
}

/// Renders the line of every gate of the profile.
fn rows(gates: &AgentGates, results: &[GateResult], width: Option<usize>, paint: Paint) -> Vec<String> {
    let plan = gates.plan.iter();
    let undefined = plan.clone().flat_map(|plan| &plan.undefined);
    let none = plan.flat_map(|plan| &plan.declared_none);
    let names = results.iter().map(|result| &result.name).chain(undefined.clone()).chain(none.clone());
    let names = names.map(|name| sanitize::columns(&sanitize::line(name))).max().unwrap_or(0).max(10);
    let command = command_width(results, names, width);
    let one = |result: &GateResult| match width {
        None => result_line(result, names, paint),
        Some(width) => line(word(result, paint), &row(result, names, command), Some(width)),
    };
    let mut rows: Vec<String> = results.iter().map(one).collect();
    let not_run = |word: &str, name: &String, why: &str| {
        let rest = format!("[      —] {:<names$}  {why}", sanitize::line(name));
        line(paint.by_word(&word.to_lowercase(), &format!("{word:<5}")), &rest, width)
    };
    rows.extend(undefined.map(|name| not_run("SKIP", name, "no definition")));
    rows.extend(none.map(|name| not_run("NONE", name, "declared none by the base")));
    rows
}

/// Renders the line of a gate among gates whose names are at most so wide, for a screen without an edge.
pub(in crate::commands) fn result_line(result: &GateResult, names: usize, paint: Paint) -> String {
    line(word(result, paint), &row(result, names, COMMAND), None)
}

/// Puts a line together. Only the part without colours is cut.
fn line(word: String, rest: &str, width: Option<usize>) -> String {
    let rest = width.map_or(rest.to_owned(), |width| sanitize::cut(rest, width.saturating_sub(8)));
    format!("  {word} {}\n", rest.trim_end())
}

/// Returns the columns that commands get: what a narrow terminal leaves beside name and details.
fn command_width(results: &[GateResult], name_width: usize, width: Option<usize>) -> usize {
    let details = results.iter().map(|result| sanitize::columns(&details(result))).max().unwrap_or(0);
    let Some(width) = width else { return COMMAND };
    match width.saturating_sub(BEFORE + name_width + 2 + details + 2) {
        left if left < LEAST_COMMAND => 0,
        left => left.min(COMMAND),
    }
}

/// Returns the outcome as a word of five columns.
fn word(result: &GateResult, paint: Paint) -> String {
    let outcome = result.outcome.to_string();
    paint.by_word(&outcome, &format!("{:<5}", sanitize::cut(&outcome.to_uppercase(), 5)))
}

/// Returns the rest of a gate's line.
fn row(result: &GateResult, name_width: usize, command_width: usize) -> String {
    let tenths = result.duration_ms / 100;
    let time = if result.cached { "cached".to_owned() } else { format!("{}.{}s", tenths / 10, tenths % 10) };
    let name = sanitize::line(&result.name);
    let pad = " ".repeat(name_width.saturating_sub(sanitize::columns(&name)));
    let command = match command_width {
        0 => String::new(),
        most => {
            let command = sanitize::cut(&shown(&result.command), most);
            format!("{command}{}  ", " ".repeat(most.saturating_sub(sanitize::columns(&command))))
        }
    };
    format!("[{time:>7}] {name}{pad}  {command}{}", details(result))
}

/// Returns what is known of a result: counts and coverage of one that passed; of any other first of all why it did not.
fn details(result: &GateResult) -> String {
    let summary = sanitize::line(&result.summary);
    let figures: Vec<String> = [tests(result), coverage(result)].into_iter().flatten().collect();
    match (result.outcome, figures.is_empty()) {
        (GateOutcome::Pass, false) => figures.join(", "),
        (_, true) => summary,
        // A summary mostly has the figures, in the words of the one that judged.
        _ if figures.iter().all(|figure| summary.contains(figure.as_str())) => summary,
        _ => format!("{summary} · {}", figures.join(", ")),
    }
}

fn tests(result: &GateResult) -> Option<String> {
    let tests = result.tests?;
    let mut text = format!("{} passed", tests.passed);
    for (count, word) in [(tests.failed, "failed"), (tests.flaky, "flaky")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    Some(format!("{text}, {} skipped", tests.skipped))
}

fn coverage(result: &GateResult) -> Option<String> {
    let coverage = result.coverage?;
    let change =
        coverage.base.map_or(String::new(), |base| format!(" ({:+.1})", no_minus(coverage.percent - base)));
    let changed = coverage.changed.map_or(String::new(), |share| format!(", {share:.1}% of changed lines"));
    Some(format!("{:.1}%{change}{changed}", coverage.percent))
}

/// Returns 0 for what would be shown as −0.0.
fn no_minus(change: f64) -> f64 {
    if change.abs() < 0.05 { 0.0 } else { change }
}

fn warnings(agent: &AgentView, gates: &AgentGates) -> Vec<String> {
    let plan = gates.plan.iter().flat_map(|plan| &plan.warnings);
    let report = gates.report.iter().flat_map(|report| &report.warnings);
    let mut all: Vec<String> = plan.chain(report).map(|warning| sanitize::line(warning)).collect();
    // What the agent's run was warned about bears on what the gates could judge.
    all.extend(agent.status.shown_warnings());
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|warning| seen.insert(warning.clone()));
    all
}

/// Renders the findings.
pub(in crate::commands) fn findings(results: &[GateResult], paint: Paint) -> String {
    failing(results, &[], None, paint)
}

/// Renders what went wrong: the findings, then the ends of the logs.
fn failing(results: &[GateResult], ends: &[LogEnd], width: Option<usize>, paint: Paint) -> String {
    let mut blocks = String::new();
    // Where nobody understood a log its end is a finding without a place; the end itself says it better.
    let is_shown =
        |finding: &&Finding| finding.path.is_some() || ends.iter().all(|end| end.gate != finding.source);
    let found: Vec<&Finding> = results.iter().flat_map(|result| &result.findings).filter(is_shown).collect();
    let rule = paint.dim("────────────");
    if !found.is_empty() {
        blocks.push_str(&format!("{rule}\n"));
        found.iter().take(FINDINGS).for_each(|finding| blocks.push_str(&one_finding(finding)));
    }
    if found.len() > FINDINGS {
        blocks.push_str(&format!("… and {} more: --json has all\n", found.len() - FINDINGS));
    }
    for end in ends {
        let lines = last_lines(&end.text, width);
        if !lines.is_empty() {
            blocks.push_str(&format!("{rule} {}, end of its log\n{lines}", sanitize::line(&end.gate)));
        }
    }
    if blocks.is_empty() { blocks } else { format!("{blocks}{rule}\n") }
}

fn one_finding(finding: &Finding) -> String {
    let line = finding.line.map_or(String::new(), |n| format!(":{n}"));
    let place = shown(&finding.path);
    let place = if place.is_empty() { sanitize::line(&finding.source) } else { format!("{place}{line}") };
    let message = sanitize::block(&finding.message).replace('\n', "\n    ");
    format!("{place}   {message}\n")
}

/// Returns the last lines of a log that say something. The bar before them keeps them from being taken for lines of ours, or
/// for commands of a program that reads this output.
fn last_lines(text: &str, width: Option<usize>) -> String {
    let most = width.map_or(LOG_COLUMNS, |width| width.saturating_sub(4));
    let said = |line: &&str| !line.trim().is_empty();
    let lines: Vec<&str> = text.lines().rev().filter(said).take(LOG_LINES).collect();
    let shown = |line: &&str| format!("  | {}\n", sanitize::cut(&sanitize::line(line.trim_end()), most));
    lines.iter().rev().map(shown).collect()
}

/// Lists the secrets that kept it from being judged, and what to do about one that is none.
fn secrets(gates: &AgentGates, name: &str) -> String {
    let found: Vec<&Finding> = gates.findings.iter().filter(|finding| finding.secret.is_some()).collect();
    let mut out = String::new();
    for finding in &found {
        out.push_str(&format!("secret-scan   {}\n", crate::commands::status::secret(finding)));
    }
    if !found.is_empty() {
        out.push_str(&format!(
            "  if it is no secret: mosaic retry {name} --allow-secret FINGERPRINT --reason TEXT, or list it in .mosaic/allowed-secrets of the base\n"
        ));
    }
    out
}

fn conclusion(agent: &AgentView, gates: &AgentGates, width: Option<usize>, paint: Paint) -> String {
    let name = agent.status.short_name();
    let live = match gates.phase {
        Phase::Gating => format!("being judged now: mosaic gates -f {name}\n"),
        _ => String::new(),
    };
    let Some(verdict) = verdict(gates) else {
        return if live.is_empty() { "not judged yet\n".to_owned() } else { live };
    };
    let counts = counts(gates);
    let fix = match agent.status.fix_round {
        0 => String::new(),
        n => format!("returned to the agent ({n} of {})", gates.max_fix_rounds),
    };
    let word = verdict.to_string().to_uppercase();
    let columns = sanitize::columns(&word) + 1 + sanitize::columns(&counts) + 3 + sanitize::columns(&fix);
    let between = match width {
        _ if fix.is_empty() => "",
        Some(width) if columns > width => "\n",
        _ => " · ",
    };
    format!("{} {counts}{between}{fix}\n{live}", paint.by_word(&verdict.to_string(), &word))
}

/// Counts the outcomes, and the time that was spent on them.
fn counts(gates: &AgentGates) -> String {
    let results = gates.report.as_ref().map_or(&[][..], |report| &report.results);
    let count = |words: &[GateOutcome]| results.iter().filter(|r| words.contains(&r.outcome)).count();
    let some =
        |count: usize, word: &str| if count == 0 { String::new() } else { format!(", {count} {word}") };
    let total: u64 = results.iter().filter(|result| !result.cached).map(|result| result.duration_ms).sum();
    format!(
        "{} passed, {} failed{}, {} skipped{} in {}.{}s",
        count(&[GateOutcome::Pass]),
        count(&[GateOutcome::Fail, GateOutcome::Error]),
        some(count(&[GateOutcome::Flaky]), "flaky"),
        count(&[GateOutcome::Skip]),
        some(gates.plan.as_ref().map_or(0, |plan| plan.declared_none.len()), "declared none"),
        total / 1000,
        total % 1000 / 100
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;
    use serde_json::{Value, json};

    fn screen(gates: Value, ends: &[LogEnd], width: Option<usize>, colour: ColorChoice) -> String {
        let agent = json!({"name": "fix-3f9a", "gateProfile": "standard", "fixRound": 1});
        let agent = crate::samples::agent(agent);
        let paint = Paint::choose(colour, false, &|_| None);
        render(&agent, &crate::samples::gates(gates), ends, width, paint)
    }

    #[test]
    fn failing_output_comes_last() {
        let gates = json!({
            "plan": {"gates": [], "trusted": true, "definedBy": "8c1d2e0:.mosaic/config.toml", "undefined": ["lint"], "warnings": []},
            "phase": "working",
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
  SKIP  [      —] lint        no definition
────────────
calc.sh:6   not run\\x1b[m
────────────
FAILED 1 passed, 1 failed, 0 skipped in 2.9s · returned to the agent (1 of 2)
";
        assert_eq!(screen(gates, &[], None, ColorChoice::Never), expected);
    }

    /// Gates of every outcome, with everything that a result can have.
    fn everything() -> Value {
        let result = |name: &str, outcome: &str, run: &str, summary: &str, more: Value| {
            let mut result = json!({"name": name, "outcome": outcome, "durationMs": 12_340, "command": run, "summary": summary,
                "log": format!("gate-1-{name}")});
            result.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
            result
        };
        let found = json!({"findings": [
            {"source": "lint", "path": "src/lib.rs", "line": 3, "message": "unused variable: `x`"},
            {"source": "lint", "message": "the end of a log that nobody understood"},
        ]});
        json!({
            "phase": "gating",
            "plan": {"gates": [], "trusted": true, "definedBy": "8c1d2e0:.mosaic/config.toml", "undefined": ["coverage-of-docs"],
                "declaredNone": ["integration"], "warnings": ["no toolchain file"]},
            "report": {"commit": "9f31c2aaaa", "verdict": "failed", "isolation": "weak", "warnings": ["the base is red, too"],
                "results": [
                    result("typecheck", "pass", "npm run typecheck", "exit 0", json!({"cached": true})),
                    result("lint", "fail", "npm run lint -- --max-warnings 0 --cache", "1 finding (exit 1)", found),
                    result("tests", "flaky", "npm test", "1 flaky test", json!({
                        "tests": {"passed": 19, "failed": 0, "skipped": 1, "flaky": 1}})),
                    result("unit", "pass", "npm run unit", "20 passed", json!({
                        "tests": {"passed": 20, "failed": 0, "skipped": 1, "flaky": 0}})),
                    result("coverage", "pass", "npm run coverage", "86.2% ≥ 85%", json!({
                        "coverage": {"percent": 86.24, "base": 84.9, "changed": 91.0}})),
                    result("build", "error", "npm run build", "timed out after 15m", json!({})),
                    result("漢字e2e", "skip", "npm run e2e", "needs tests, which did not pass", json!({"log": null})),
                ]},
        })
    }

    fn ends() -> Vec<LogEnd> {
        let text =
            "first\n\n::stop-commands::x\nred \u{1b}[31m…\u{7}\n".to_owned() + &"wide ".repeat(40) + "\n";
        [("lint", text), ("build", "\n \n".to_owned())]
            .map(|(gate, text)| LogEnd { gate: gate.to_owned(), text })
            .into()
    }

    #[test]
    fn a_screen_of_every_outcome() {
        let text = screen(everything(), &ends(), Some(80), ColorChoice::Never);
        for line in text.lines() {
            assert!(sanitize::columns(line) <= 80, "{line}");
        }
        insta::assert_snapshot!("gates_80_columns", text);
        insta::assert_snapshot!("gates_piped", screen(everything(), &ends(), None, ColorChoice::Never));
        let colours = screen(everything(), &ends(), Some(120), ColorChoice::Always);
        insta::assert_snapshot!("gates_120_columns_in_colour", colours.replace('\u{1b}', "\\e"));
    }

    #[test]
    fn figures_are_not_said_twice_and_a_change_of_nothing_has_no_sign_of_less() {
        let result = |outcome: &str, summary: &str, more: Value| -> GateResult {
            let mut result = json!({"name": "x", "outcome": outcome, "durationMs": 1, "summary": summary});
            result.as_object_mut().expect("it is one").extend(more.as_object().expect("it is one").clone());
            serde_json::from_value(result).expect("it is a result")
        };
        let coverage = |percent: f64| json!({"coverage": {"percent": percent, "base": 60.0}});
        assert_eq!(details(&result("fail", "50.0% < 85%", coverage(50.0))), "50.0% < 85% · 50.0% (-10.0)");
        assert_eq!(details(&result("pass", "x", coverage(59.98))), "60.0% (+0.0)");
        let tests = json!({"tests": {"passed": 3, "failed": 1, "skipped": 0}});
        assert_eq!(
            details(&result("fail", "3 passed, 1 failed, 0 skipped (exit 1)", tests.clone())),
            "3 passed, 1 failed, 0 skipped (exit 1)"
        );
        assert_eq!(details(&result("fail", "exit 1", tests)), "exit 1 · 3 passed, 1 failed, 0 skipped");
    }
}
