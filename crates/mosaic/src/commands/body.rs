//! The body of a spawn out of flags. It is checked here with the server's own rules, so that a wrong value is
//! named by its flag before anything is sent.

use std::collections::BTreeMap;

use mosaic_api::{AgentType, Budget, Context, GateProfile, SpawnRequest};
use mosaic_core::domain::ids::slug;
use mosaic_core::domain::spec::SpawnSpec;

use crate::cli::{Cap, GateChoice, TaskArgs, TypeChoice};
use crate::problem::Problem;
use crate::sanitize;

/// Repository and branch that the work starts from.
#[derive(Debug, Clone)]
pub(super) struct RepositoryBranch {
    /// The repository's address or path.
    pub(super) repository: String,
    /// The base branch.
    pub(super) branch: String,
}

impl From<TypeChoice> for AgentType {
    fn from(choice: TypeChoice) -> Self {
        match choice {
            TypeChoice::Worker => Self::Worker,
            TypeChoice::Reviewer => Self::Reviewer,
            TypeChoice::Tester => Self::Tester,
        }
    }
}

impl From<GateChoice> for GateProfile {
    fn from(choice: GateChoice) -> Self {
        match choice {
            GateChoice::Strict => Self::Strict,
            GateChoice::Standard => Self::Standard,
            GateChoice::Minimal => Self::Minimal,
            GateChoice::Custom => Self::Custom,
        }
    }
}

/// Returns the work items: the text first, then `--item`. Errors when there is none.
pub(super) fn items(text: Option<&str>, args: &TaskArgs) -> Result<Vec<String>, Problem> {
    let items: Vec<String> = text.into_iter().map(str::to_owned).chain(args.items.iter().cloned()).collect();
    if items.is_empty() {
        return Err(Problem::usage_hint(
            "there is nothing to do: no text and no --item",
            "for example: mosaic spawn \"fix divide by zero\"",
        ));
    }
    Ok(items)
}

/// Makes the body of a spawn and checks it.
pub(super) fn build(
    text: Option<&str>,
    args: &TaskArgs,
    place: &RepositoryBranch,
) -> Result<SpawnRequest, Problem> {
    let work_items = items(text, args)?;
    if args.gate == Some(GateChoice::Custom) && args.gates.is_empty() {
        return Err(Problem::usage("--gates: is required with --gate custom, such as --gates lint,tests"));
    }
    let named_gates = (!args.gates.is_empty()).then(|| args.gates.clone());
    let body = SpawnRequest {
        task_id: args.task.clone().unwrap_or_else(|| slug(&work_items[0])),
        agent_type: args.agent_type.into(),
        gate_profile: args.gate.map(GateProfile::from).or(named_gates.as_ref().map(|_| GateProfile::Custom)),
        gates: named_gates,
        context: Context {
            repository: place.repository.clone(),
            branch: place.branch.clone(),
            work_items,
            skills: args.skills.clone(),
            instructions: args.instructions.clone(),
        },
        priority: args.priority,
        max_retries: args.max_retries,
        backoff: None,
        max_fix_rounds: None,
        timeout_seconds: args.timeout.map(|time| time.as_secs()),
        runtime: args.runtime.clone(),
        model: args.model.clone(),
        budget: budget(&args.budget),
        labels: labels(&args.labels),
        node_labels: labels(&args.node_labels),
    };
    check(&body)?;
    Ok(body)
}

fn labels(pairs: &[(String, String)]) -> Option<BTreeMap<String, String>> {
    (!pairs.is_empty()).then(|| pairs.iter().cloned().collect())
}

fn budget(caps: &[Cap]) -> Option<Budget> {
    let mut budget = Budget { usd: None, turns: None };
    for cap in caps {
        match cap {
            Cap::Usd(usd) => budget.usd = Some(*usd),
            Cap::Turns(turns) => budget.turns = Some(*turns),
        }
    }
    (!caps.is_empty()).then_some(budget)
}

/// Names the flag that a field comes from.
fn flag(pointer: &str) -> &'static str {
    let known: [(&str, &str); 16] = [
        ("/taskId", "--task"),
        ("/agentType", "--type"),
        ("/gateProfile", "--gate"),
        ("/gates", "--gates"),
        ("/context/repository", "--repo"),
        ("/context/branch", "--branch"),
        ("/context/workItems", "the text or --item"),
        ("/context/skills", "--skill"),
        ("/context/instructions", "--instructions"),
        ("/priority", "--priority"),
        ("/timeoutSeconds", "--timeout (in seconds)"),
        ("/maxRetries", "--max-retries"),
        ("/runtime", "--runtime"),
        ("/model", "--model"),
        ("/budget", "--budget"),
        ("/nodeLabels", "--node-label"),
    ];
    known.iter().find(|(start, _)| pointer.starts_with(start)).map_or("--label", |(_, flag)| flag)
}

fn check(body: &SpawnRequest) -> Result<(), Problem> {
    let body = serde_json::to_value(body).map_err(|e| Problem::Other(e.into()))?;
    let faults = match SpawnSpec::parse(&body) {
        Ok(_) => return Ok(()),
        Err(faults) => faults,
    };
    let lines: Vec<String> =
        faults.iter().map(|f| format!("{}: {}", flag(&f.pointer), sanitize::line(&f.message))).collect();
    Err(Problem::usage(lines.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::{Value, json};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        task: TaskArgs,
    }

    fn body(args: &[&str]) -> Result<Value, String> {
        let line = Line::try_parse_from(std::iter::once("x").chain(args.iter().copied()))
            .map_err(|e| e.to_string())?;
        let place = RepositoryBranch {
            repository: "https://git.example.com/r.git".to_owned(),
            branch: "main".to_owned(),
        };
        let body = build(Some("Fix divide by zero!"), &line.task, &place).map_err(|p| p.to_string())?;
        Ok(serde_json::to_value(body).unwrap())
    }

    #[test]
    fn flags_become_the_contracts_body() {
        let got = body(&[
            "--priority",
            "3",
            "--budget",
            "$2",
            "--budget",
            "40turns",
            "--timeout",
            "30m",
            "--label",
            "team=web",
            "--gates",
            "lint,tests",
        ]);
        assert_eq!(
            got.unwrap(),
            json!({
                "taskId": "fix-divide-by-zero", "agentType": "worker", "gateProfile": "custom", "gates": ["lint", "tests"],
                "context": {"repository": "https://git.example.com/r.git", "branch": "main", "workItems": ["Fix divide by zero!"]},
                "priority": 3, "timeoutSeconds": 1800, "budget": {"usd": 2.0, "turns": 40}, "labels": {"team": "web"},
            })
        );
    }

    #[test]
    fn wrong_values_are_named_by_their_flags() {
        assert!(body(&["--gate", "strct"]).unwrap_err().contains("'strict'"));
        assert!(body(&["--task", "-x"]).is_err());
        assert_eq!(
            body(&["--branch", "x", "--timeout", "5s"]).unwrap_err(),
            "--timeout (in seconds): must be a whole number from 60 to 86400"
        );
        assert!(body(&["--gate", "custom"]).unwrap_err().starts_with("--gates: "));
        assert!(body(&["--model", "a b"]).unwrap_err().starts_with("--model: "));
    }
}
