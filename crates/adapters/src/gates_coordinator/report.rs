//! The report that follows from an answer: one result per gate of the plan, in its order.

use mosaic_core::domain::gates::{Finding, GateDefinition, GateOutcome, GateReport, GateResult, Isolation};
use mosaic_core::domain::outcome::cut;
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::JudgeRequest;
use mosaic_core::ports::scanner::SecretScanner;
use serde_json::Value;

use super::fault::CheckFault;
use super::marks::Marked;
use super::options::CoordinatorOptions;
use super::outputs;
use super::said::Said;

/// Longest message of a finding that is kept, in bytes.
const MESSAGE_BYTES: usize = 2000;
/// Most warnings that are kept.
const WARNINGS: usize = 8;

pub(super) async fn of(
    options: &CoordinatorOptions,
    request: &JudgeRequest,
    said: Said,
) -> Result<GateReport, CheckFault> {
    let mut results = Vec::with_capacity(request.plan.gates.len());
    let marked = said.marked();
    for gate in &request.plan.gates {
        let own = marked.iter().find(|one| one.name.eq_ignore_ascii_case(gate.name.as_str()));
        let mut result = match own.and_then(|one| Some((one, one.outcome?))) {
            Some((one, outcome)) => of_marked(gate, one, outcome),
            None => of_verdict(gate, &said),
        };
        if let Some(output) = own.and_then(|one| one.value.get("output")?.as_str()) {
            let kept = outputs::keep(
                options.transcripts.as_ref(),
                request.agent,
                request.round,
                &gate.name,
                output.to_owned(),
            );
            result.log = Some(kept.await.map_err(CheckFault::Output)?);
        }
        results.push(bounded(options.scanner.as_ref(), result));
    }
    if !said.approved && !results.iter().any(is_red) && !is_incomplete(&said, &results) {
        results = blame(options, request, &said, results)?;
    }
    refuse_gaps(options, request, &results)?;
    let mut report = GateReport::new(request.commit.clone(), results, &request.plan);
    report.isolation = isolation(&said.details);
    report.warnings = warnings(options.scanner.as_ref(), &said.details);
    Ok(report)
}

fn is_red(result: &GateResult) -> bool {
    !matches!(result.outcome, GateOutcome::Pass | GateOutcome::Skip)
}

/// Tells whether the coordinator itself says that nothing failed and something was not judged: then it is no refusal.
fn is_incomplete(said: &Said, results: &[GateResult]) -> bool {
    said.details.get("verdict").and_then(Value::as_str) == Some("incomplete")
        && results.iter().any(|result| result.outcome == GateOutcome::Skip)
}

/// Reads a result that was given for the gate itself.
fn of_marked(gate: &GateDefinition, one: &Marked<'_>, outcome: GateOutcome) -> GateResult {
    // In the form of `mosaic coordinator` everything is known; another form still has its outcome.
    if let Ok(result) = serde_json::from_value::<GateResult>(one.value.clone()) {
        return GateResult { name: gate.name.clone(), outcome, log: None, ..result };
    }
    let text = |field: &str| one.value.get(field).and_then(Value::as_str);
    let summary = text("summary").or_else(|| text("message"));
    let summary = summary.map_or_else(|| "judged by the coordinator".to_owned(), str::to_owned);
    let result =
        GateResult { command: gate.run.clone(), ..GateResult::new(gate.name.clone(), outcome, summary) };
    match outcome {
        GateOutcome::Pass | GateOutcome::Skip => result,
        _ => GateResult { findings: vec![finding(gate, &result.summary)], ..result },
    }
}

/// Makes the result of a gate about which only the whole verdict says something.
fn of_verdict(gate: &GateDefinition, said: &Said) -> GateResult {
    let named = said.gate.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(gate.name.as_str()));
    let (outcome, summary) = match (said.approved, named) {
        (true, _) => (GateOutcome::Pass, "approved by the coordinator".to_owned()),
        (false, true) => (GateOutcome::Fail, refusal(said)),
        (false, false) => (
            GateOutcome::Skip,
            "the coordinator refuses the commit and says nothing about this gate".to_owned(),
        ),
    };
    let result =
        GateResult { command: gate.run.clone(), ..GateResult::new(gate.name.clone(), outcome, summary) };
    match outcome {
        GateOutcome::Fail => GateResult { findings: vec![finding(gate, &explained(said))], ..result },
        _ => result,
    }
}

fn refusal(said: &Said) -> String {
    said.message.clone().unwrap_or_else(|| "refused by the coordinator".to_owned())
}

/// Returns message and details, for the agent that is to repair it.
fn explained(said: &Said) -> String {
    match &said.details {
        Value::Null => refusal(said),
        details => format!("{} {details}", refusal(said)),
    }
}

fn finding(gate: &GateDefinition, message: &str) -> Finding {
    Finding {
        source: gate.name.to_string(),
        path: None,
        line: None,
        message: message.to_owned(),
        secret: None,
    }
}

/// Puts a refusal that names no gate of the plan on the first gate without a result of its own. One that contradicts all results is a
/// fault: the agent would be sent back with nothing to repair.
fn blame(
    options: &CoordinatorOptions,
    request: &JudgeRequest,
    said: &Said,
    mut results: Vec<GateResult>,
) -> Result<Vec<GateResult>, CheckFault> {
    let marked = said.marked();
    let has_own = |gate: &GateDefinition| {
        marked.iter().any(|one| one.outcome.is_some() && one.name.eq_ignore_ascii_case(gate.name.as_str()))
    };
    let open = request.plan.gates.iter().position(|gate| !has_own(gate));
    let Some(open) = open else {
        return Err(CheckFault::Contradiction("it refuses, and no gate failed".to_owned()));
    };
    let gate = &request.plan.gates[open];
    let failed = GateResult {
        findings: vec![finding(gate, &explained(said))],
        ..GateResult::new(gate.name.clone(), GateOutcome::Fail, refusal(said))
    };
    results[open] = bounded(options.scanner.as_ref(), failed);
    Ok(results)
}

/// Refuses a report with a gate of a strict profile that was not judged.
fn refuse_gaps(
    options: &CoordinatorOptions,
    request: &JudgeRequest,
    results: &[GateResult],
) -> Result<(), CheckFault> {
    if request.profile != GateProfile::Strict || !options.strict_needs_all || results.iter().any(is_red) {
        return Ok(());
    }
    match results.iter().find(|result| result.outcome == GateOutcome::Skip) {
        Some(skipped) => Err(CheckFault::NotJudged(skipped.name.to_string())),
        None => Ok(()),
    }
}

fn isolation(details: &Value) -> Isolation {
    let said = details.get("isolation").cloned().unwrap_or_default();
    serde_json::from_value(said).unwrap_or_default()
}

fn warnings(scanner: &dyn SecretScanner, details: &Value) -> Vec<String> {
    let said = details.get("warnings").and_then(Value::as_array).into_iter().flatten();
    said.filter_map(Value::as_str).take(WARNINGS).map(|text| plain(scanner, text, MESSAGE_BYTES)).collect()
}

/// Returns a text of a coordinator as it may be shown and stored.
fn plain(scanner: &dyn SecretScanner, text: &str, most: usize) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    cut(scanner.mask(&text), most)
}

/// Bounds and masks everything that a coordinator said about a gate.
fn bounded(scanner: &dyn SecretScanner, mut result: GateResult) -> GateResult {
    result.summary = plain(scanner, &result.summary, limits::ERROR_BYTES);
    result.command = result.command.map(|command| plain(scanner, &command, limits::GATE_RUN_BYTES));
    result.findings.truncate(limits::FINDINGS);
    for finding in &mut result.findings {
        finding.source = result.name.to_string();
        finding.message = plain(scanner, &finding.message, MESSAGE_BYTES);
        finding.path = finding.path.take().map(|path| plain(scanner, &path, limits::ERROR_BYTES));
        // What the scan of this server finds is the only secret that an operator can allow.
        finding.secret = None;
    }
    result
}
