//! The words agents get: the task, the task again after an interruption, the findings that must be repaired, and
//! the rules that hold for every run. Pure text from plain data, so that every word can be read and tested here.

use std::fmt::Write as _;

use super::gates::Finding;
use super::ids::BranchName;
use super::outcome::cut;
use super::spec::AgentType;
use crate::limits;

/// One work item as it was asked for, with what was found for it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkItem {
    /// The id or the plain text of the spawn.
    pub id: String,
    /// The text that was found in the repository under this id; `None` passes the id on literally.
    pub body: Option<String>,
}

/// Everything the first prompt is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptParts {
    /// The caller's name for the work.
    pub task_id: String,
    /// Purpose of the agent.
    pub agent_type: AgentType,
    /// The branch that the work starts from.
    pub branch: String,
    /// The work.
    pub work_items: Vec<WorkItem>,
    /// Skills that were found and made visible to the agent.
    pub skills_found: Vec<String>,
    /// Skills that were asked for and not found: plain hints.
    pub skills_missing: Vec<String>,
    /// The caller's free text.
    pub instructions: Option<String>,
}

/// Returns the prompt of a fresh session.
pub fn first_prompt(parts: &PromptParts) -> String {
    let mut text = format!(
        "You are {} for task {}. Your working directory is a clone of the repository on a branch of your own, made \
         from `{}`.\n\n",
        role(parts.agent_type),
        parts.task_id,
        parts.branch
    );
    work(&mut text, &parts.work_items);
    if let Some(instructions) = parts.instructions.as_deref().filter(|text| !text.trim().is_empty()) {
        push(&mut text, format_args!("## Instructions\n\n{}\n\n", instructions.trim_end()));
    }
    if !parts.skills_found.is_empty() {
        push(
            &mut text,
            format_args!("Use these skills where they help: {}.\n\n", parts.skills_found.join(", ")),
        );
    }
    if !parts.skills_missing.is_empty() {
        let list = parts.skills_missing.join(", ");
        push(
            &mut text,
            format_args!(
                "These skills were asked for, but none is installed; take the names as hints: {list}.\n\n"
            ),
        );
    }
    text.push_str(ending(parts.agent_type));
    text
}

/// Returns the prompt of a run that begins again after an interruption: what was done so far may be there.
pub fn again_prompt(parts: &PromptParts) -> String {
    format!(
        "An earlier run of this task was interrupted. Its work may be in the working directory, committed or not: look \
         at `git status` and `git log` first, keep what is good and go on from there.\n\n{}",
        first_prompt(parts)
    )
}

/// Returns the prompt of a fix round. Findings beyond the limit are counted, not listed.
pub fn fix_prompt(findings: &[Finding], base_branch: &BranchName) -> String {
    let mut text = String::from("Your work was judged and cannot be published yet. What was found:\n\n");
    for finding in findings.iter().take(limits::FINDINGS) {
        let place = match (&finding.path, finding.line) {
            (Some(path), Some(line)) => format!(" {path}:{line}"),
            (Some(path), None) => format!(" {path}"),
            (None, _) => String::new(),
        };
        let message = finding.message.trim_end().replace('\n', "\n  ");
        push(&mut text, format_args!("- [{}]{place}: {message}\n", finding.source));
    }
    if findings.len() > limits::FINDINGS {
        push(&mut text, format_args!("- … and {} more\n", findings.len() - limits::FINDINGS));
    }
    text.push('\n');
    let has = |source: &str| findings.iter().any(|finding| finding.source == source);
    if has("conflict") {
        push(
            &mut text,
            format_args!(
                "`{base_branch}` has moved on and your work conflicts with it. Fetch it and merge it: `git fetch origin \
                 {base_branch}`, then `git merge origin/{base_branch}`, resolve the conflicts in the files above so that \
                 both sides' intent is kept, and commit the merge.\n\n"
            ),
        );
    }
    if has("secret-scan") {
        text.push_str(
            "A secret must not stay in any commit of your branch, so removing it in a further commit is not enough: \
             rewrite your own commits without it (for instance `git reset --soft` to the base and commit again).\n\n",
        );
    }
    text.push_str(
        "Repair all of it at its cause, do not weaken or skip the checks, and commit your work. It is then judged again.\n",
    );
    text
}

/// Returns what is added to the system prompt: our rules, then the repository's own instructions to agents, each
/// file, with its name, cut to [`limits::PROMPT_FILE_BYTES`].
pub fn system_text<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = String::from(RULES);
    for (name, file) in files.into_iter().map(|(name, file)| (name, file.trim())) {
        if file.is_empty() {
            continue;
        }
        let file = cut(file.to_owned(), limits::PROMPT_FILE_BYTES);
        push(&mut text, format_args!("\n# The repository's {name}\n\n{file}\n"));
    }
    text
}

/// Rules for every agent, whatever the task.
const RULES: &str = "\
# Rules of this run

- You work unattended: nobody answers questions. Where something is unclear, choose what is most sensible and say so.
- Stay inside your working directory; it is yours alone.
- Commit your work with clear messages when it is done. What is not committed is committed for you.
- Never push and never change remotes: your commits are collected, judged and published for you.
- Quality gates and a secret scan judge your commits. What they find comes back to you.
- Never write passwords, keys or tokens into files or output.
- When you are done, say briefly what you did.
";

/// Appends formatted text; writing to a `String` cannot fail.
fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes any text");
}

fn role(agent_type: AgentType) -> &'static str {
    match agent_type {
        AgentType::Worker => "a worker",
        AgentType::Reviewer => "a reviewer",
        AgentType::Tester => "a tester",
    }
}

fn work(text: &mut String, items: &[WorkItem]) {
    text.push_str("## Work\n\n");
    for item in items {
        match &item.body {
            Some(body) => {
                let body = cut(body.trim_end().to_owned(), limits::PROMPT_FILE_BYTES);
                push(text, format_args!("### {}\n\n{body}\n\n", item.id));
            }
            None => push(text, format_args!("- {}\n", item.id)),
        }
    }
    if !text.ends_with("\n\n") {
        text.push('\n');
    }
}

fn ending(agent_type: AgentType) -> &'static str {
    match agent_type {
        AgentType::Worker => "Carry out the work and commit it.\n",
        AgentType::Reviewer => {
            "Review; change nothing unless the work above asks for it. Your final text is the result: report every \
             finding with file and line, how serious it is and what to do, or say that there is none.\n"
        }
        AgentType::Tester => {
            "Test; add or change tests only where the work above asks for it, and commit those. Your final text is the \
             result: report what you ran, what failed with file and line, and what is not covered.\n"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(agent_type: AgentType) -> PromptParts {
        PromptParts {
            task_id: "T-7".into(),
            agent_type,
            branch: "main".into(),
            work_items: vec![
                WorkItem { id: "fix the sum".into(), body: None },
                WorkItem { id: "US-1".into(), body: Some("# Story\nAdd a button.\n".into()) },
            ],
            skills_found: vec!["typescript".into()],
            skills_missing: vec!["nestjs".into(), "prisma".into()],
            instructions: Some("Be brief.".into()),
        }
    }

    #[test]
    fn the_first_prompt_has_everything_that_was_asked() {
        let text = first_prompt(&parts(AgentType::Worker));
        for needle in [
            "a worker",
            "T-7",
            "`main`",
            "- fix the sum\n",
            "### US-1\n\n# Story\nAdd a button.\n",
            "Be brief.",
            "where they help: typescript.",
            "hints: nestjs, prisma.",
            "commit it.",
        ] {
            assert!(text.contains(needle), "{needle:?} is missing in:\n{text}");
        }
    }

    #[test]
    fn nothing_asked_leaves_no_empty_section() {
        let mut parts = parts(AgentType::Worker);
        parts.skills_found.clear();
        parts.skills_missing.clear();
        parts.instructions = Some("  \n".into());
        let text = first_prompt(&parts);
        assert!(!text.contains("skills") && !text.contains("Instructions"), "{text}");
    }

    #[test]
    fn reviewers_and_testers_report_in_their_final_text() {
        assert!(first_prompt(&parts(AgentType::Reviewer)).contains("Your final text is the result"));
        assert!(first_prompt(&parts(AgentType::Tester)).contains("Your final text is the result"));
    }

    #[test]
    fn the_task_again_says_that_work_may_be_there() {
        let text = again_prompt(&parts(AgentType::Worker));
        assert!(
            text.contains("interrupted") && text.contains("git status") && text.ends_with("commit it.\n"),
            "{text}"
        );
    }

    fn finding(source: &str, path: Option<&str>, line: Option<u64>, message: &str) -> Finding {
        Finding {
            source: source.into(),
            path: path.map(Into::into),
            line,
            message: message.into(),
            secret: None,
        }
    }

    #[test]
    fn a_fix_prompt_lists_places_and_says_how_to_merge() {
        let base = "main".parse().expect("valid");
        let findings = [
            finding("tests", Some("src/a.rs"), Some(3), "expected 4\ngot 5"),
            finding("conflict", Some("README.md"), None, "changed on both sides"),
            finding("coverage", None, None, "60.0% < 85%"),
        ];
        let text = fix_prompt(&findings, &base);
        for needle in [
            "- [tests] src/a.rs:3: expected 4\n  got 5\n",
            "- [conflict] README.md: changed",
            "- [coverage]: 60.0%",
            "git fetch origin main",
            "git merge origin/main",
        ] {
            assert!(text.contains(needle), "{needle:?} is missing in:\n{text}");
        }
        let no_conflict = fix_prompt(&findings[..1], &base);
        assert!(!no_conflict.contains("git merge") && !no_conflict.contains("rewrite"), "{no_conflict}");
        assert!(
            fix_prompt(&[finding("secret-scan", None, None, "key")], &base)
                .contains("rewrite your own commits")
        );
    }

    #[test]
    fn too_many_findings_are_counted() {
        let base = "main".parse().expect("valid");
        let many = vec![finding("lint", None, None, "x"); limits::FINDINGS + 7];
        assert!(fix_prompt(&many, &base).contains("… and 7 more"));
    }

    #[test]
    fn the_system_text_has_the_rules_and_cuts_files() {
        let long = "ä".repeat(limits::PROMPT_FILE_BYTES);
        let text = system_text([("AGENTS.md", &*long), ("TOOLS.md", "Use tabs.")]);
        assert!(
            text.contains("Never push")
                && text.contains("repository's AGENTS.md")
                && text.contains("Use tabs.")
        );
        assert!(text.len() < limits::PROMPT_FILE_BYTES + 4096, "{}", text.len());
        assert!(!system_text([("TOOLS.md", " \n")]).contains("TOOLS.md"));
    }
}
