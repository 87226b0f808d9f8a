//! The body of a spawn out of flags. It is checked here with the server's own rules, so that a wrong value is
//! named by its flag before anything is sent.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use mosaic_core::domain::ids::slug;
use mosaic_core::domain::spec::SpawnSpec;

use crate::cli::{Cap, GateChoice, TaskArgs};
use crate::plain;
use crate::problem::Problem;

/// Where the work is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// The repository's address or path.
    pub(super) repository: String,
    /// The base branch.
    pub(super) branch: String,
}

fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
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
pub(super) fn build(text: Option<&str>, args: &TaskArgs, place: &Place) -> Result<Value, Problem> {
    let items = items(text, args)?;
    let task = args.task.clone().unwrap_or_else(|| slug(&items[0]));
    if args.gate == Some(GateChoice::Custom) && args.gates.is_empty() {
        return Err(Problem::usage("--gates: is required with --gate custom, such as --gates lint,tests"));
    }
    let mut context = json!({"repository": place.repository, "branch": place.branch, "workItems": items});
    if !args.skills.is_empty() {
        context["skills"] = json!(args.skills);
    }
    if let Some(text) = &args.instructions {
        context["instructions"] = json!(text);
    }
    let mut body = json!({"taskId": task, "agentType": word(&args.agent_type), "context": context});
    if let Some(profile) = &args.gate {
        body["gateProfile"] = json!(word(profile));
    } else if !args.gates.is_empty() {
        body["gateProfile"] = json!("custom");
    }
    if !args.gates.is_empty() {
        body["gates"] = json!(args.gates);
    }
    let mut set = |field: &str, value: Option<Value>| {
        if let Some(value) = value {
            body[field] = value;
        }
    };
    set("priority", args.priority.map(Value::from));
    set("timeoutSeconds", args.timeout.map(|t| Value::from(t.as_secs())));
    set("maxRetries", args.max_retries.map(Value::from));
    set("runtime", args.runtime.clone().map(Value::from));
    set("model", args.model.clone().map(Value::from));
    set("budget", budget(&args.budget));
    set("labels", labels(&args.labels));
    set("nodeLabels", labels(&args.node_labels));
    check(&body)?;
    Ok(body)
}

fn labels(pairs: &[(String, String)]) -> Option<Value> {
    let labels: Map<String, Value> = pairs.iter().map(|(k, v)| (k.clone(), Value::from(v.clone()))).collect();
    (!labels.is_empty()).then_some(Value::Object(labels))
}

fn budget(caps: &[Cap]) -> Option<Value> {
    let mut budget = Map::new();
    for cap in caps {
        match cap {
            Cap::Usd(usd) => budget.insert("usd".to_owned(), Value::from(*usd)),
            Cap::Turns(turns) => budget.insert("turns".to_owned(), Value::from(*turns)),
        };
    }
    (!budget.is_empty()).then_some(Value::Object(budget))
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

fn check(body: &Value) -> Result<(), Problem> {
    let faults = match SpawnSpec::parse(body) {
        Ok(_) => return Ok(()),
        Err(faults) => faults,
    };
    let lines: Vec<String> =
        faults.iter().map(|f| format!("{}: {}", flag(&f.pointer), plain::line(&f.message))).collect();
    Err(Problem::usage(lines.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        task: TaskArgs,
    }

    fn body(args: &[&str]) -> Result<Value, String> {
        let line = Line::try_parse_from(std::iter::once("x").chain(args.iter().copied()))
            .map_err(|e| e.to_string())?;
        let place =
            Place { repository: "https://git.example.com/r.git".to_owned(), branch: "main".to_owned() };
        build(Some("Fix divide by zero!"), &line.task, &place).map_err(|p| p.to_string())
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
