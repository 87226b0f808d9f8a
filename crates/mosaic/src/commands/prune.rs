//! `mosaic prune`: removes agents that ended long ago, page by page. It looks first, says what would go, and asks; work
//! that is kept nowhere else stays, unless `--force` and the number of such agents are given. Never by an agent.

use std::collections::BTreeMap;

use mosaic_api::{PruneRequest, Pruned, Unmerged};
use serde_json::json;

use super::rm::bytes;
use crate::cli::PruneArgs;
use crate::client::Client;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::{Session, say};
use crate::trust::ask_line;
use crate::view::name_of;

/// Most agents with unmerged work that are shown by name.
const SHOWN: usize = 20;

/// Sum over the pages of one pass.
#[derive(Default)]
struct Sum {
    removed: u64,
    freed: u64,
    unmerged: Vec<Unmerged>,
    errors: Vec<String>,
    /// Agents whose work lies on another node, by that node.
    elsewhere: BTreeMap<String, u64>,
    /// Where each page began, and how many of it have unmerged work.
    pages: Vec<(Option<String>, u64)>,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &PruneArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let hint = Some("ask the operator".to_owned());
        return Err(Problem::NotAllowed { what: "prune is not for agents".to_owned(), hint });
    }
    let client = session.client()?;
    let seen = look(&client, args)?;
    if args.dry_run {
        show(session, &seen, true)?;
        return Ok(Exit::Ok);
    }
    permit(session, args, &seen)?;
    let mut done = Sum { unmerged: Vec::new(), ..Sum::default() };
    for (cursor, unmerged) in &seen.pages {
        // The number of the look is sent for its page. When the number has changed since then, the server refuses
        // instead of losing work.
        let force = args.force.is_some().then_some(*unmerged);
        let body = PruneRequest { force, ..asked(args, cursor.clone()) };
        done.add(&*client.post("/v1/prune", &body)?.read::<Pruned>()?);
    }
    show(session, &done, false)?;
    Ok(if done.errors.is_empty() { Exit::Ok } else { Exit::Partly })
}

/// Makes the body for one page.
fn asked(args: &PruneArgs, cursor: Option<String>) -> PruneRequest {
    let older_than = Some(format!("{}ms", args.older_than.as_millis()));
    PruneRequest { older_than, dry_run: None, force: None, cursor }
}

/// Looks at every page without removing anything.
fn look(client: &Client, args: &PruneArgs) -> Result<Sum, Problem> {
    let mut sum = Sum::default();
    let mut cursor = None;
    loop {
        let body = PruneRequest { dry_run: Some(true), ..asked(args, cursor.clone()) };
        let page: Sent<Pruned> = client.post("/v1/prune", &body)?.read()?;
        sum.pages.push((cursor, page.unmerged.len() as u64));
        sum.add(&page);
        cursor = page.next_cursor.clone();
        if cursor.is_none() {
            return Ok(sum);
        }
    }
}

impl Sum {
    fn add(&mut self, page: &Pruned) {
        self.removed += page.removed;
        self.freed += page.freed_bytes;
        for (node, count) in &page.elsewhere {
            *self.elsewhere.entry(node.clone()).or_default() += count;
        }
        self.unmerged.extend_from_slice(&page.unmerged);
        self.errors.extend_from_slice(&page.errors);
    }
}

/// Makes sure that a person means it.
fn permit(session: &Session, args: &PruneArgs, seen: &Sum) -> Result<(), Problem> {
    let unmerged = seen.unmerged.len() as u64;
    if let Some(said) = args.force
        && unmerged > 0
    {
        if said != Some(unmerged) {
            list_unmerged(&seen.unmerged);
            confirm(
                session,
                said.is_some(),
                unmerged,
                &format!("This gives up the work of {unmerged} agents for good."),
                &format!("mosaic prune --force={unmerged}"),
            )?;
        }
        return Ok(());
    }
    match args.yes {
        _ if seen.removed == 0 => Ok(()),
        Some(None) => Ok(()),
        Some(Some(n)) if n == seen.removed => Ok(()),
        said => confirm(
            session,
            said.is_some(),
            seen.removed,
            &format!(
                "This removes {} ended agents with transcripts and logs ({}).",
                seen.removed,
                bytes(seen.freed)
            ),
            "mosaic prune --yes",
        ),
    }
}

fn confirm(session: &Session, wrong: bool, count: u64, what: &str, way: &str) -> Result<(), Problem> {
    if wrong {
        return Err(Problem::usage_hint(
            format!("the number is {count}; nothing was removed"),
            "look first: mosaic prune --dry-run",
        ));
    }
    if !session.terminal.asks {
        let text = format!("{what} It asks first, but this is no terminal");
        return Err(Problem::usage_hint(text, format!("say yes: {way}")));
    }
    say(what);
    let typed = ask_line(&format!("Type {count} to go on: "))?;
    if typed.parse() == Ok(count) {
        Ok(())
    } else {
        Err(Problem::usage("not confirmed; nothing was removed"))
    }
}

fn list_unmerged(unmerged: &[Unmerged]) {
    for one in unmerged.iter().take(SHOWN) {
        let name = name_of(&one.name, &one.agent_id);
        for commit in &one.commits {
            let short: String = sanitize::line(&commit.commit).chars().take(7).collect();
            say(&format!("  {name}  {short} {}", sanitize::line(&commit.subject)));
        }
        if one.tree.is_some() {
            say(&format!("  {name}  a working tree that was not received"));
        }
    }
    if unmerged.len() > SHOWN {
        say(&format!("  and {} more agents", unmerged.len() - SHOWN));
    }
}

fn show(session: &Session, sum: &Sum, dry: bool) -> Result<(), Problem> {
    if session.global.json {
        return session.print_json(&json!({
            "removed": sum.removed, "freedBytes": sum.freed, "unmerged": sum.unmerged, "errors": sum.errors,
            "elsewhere": sum.elsewhere, "dryRun": dry,
        }));
    }
    session.print(render(sum, dry))?;
    if dry {
        list_unmerged(&sum.unmerged);
    }
    Ok(())
}

fn render(sum: &Sum, dry: bool) -> String {
    let verb = if dry { "would be removed" } else { "removed" };
    let mut out = format!("{} {verb} · {} freed", sum.removed, bytes(sum.freed));
    if !sum.unmerged.is_empty() {
        out.push_str(&format!(" · {} kept for their unmerged work", sum.unmerged.len()));
    }
    out.push('\n');
    for (node, count) in &sum.elsewhere {
        let node = sanitize::line(node);
        out.push_str(&format!(
            "  {count} ran on node {node}, which alone can remove them: mosaic prune --url URL-OF-{node}\n"
        ));
    }
    for error in &sum.errors {
        out.push_str(&format!("  {}\n", sanitize::line(error)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_says_what_went_and_what_stayed() {
        let mut sum = Sum::default();
        let unmerged = crate::samples::unmerged(json!({"name": "a"}));
        let page = json!({"removed": 2, "freedBytes": 4096, "unmerged": [unmerged], "errors": ["x: \u{7}"]});
        sum.add(&crate::samples::pruned(page));
        sum.add(&crate::samples::pruned(json!({"removed": 1, "elsewhere": {"b": 2}})));
        assert_eq!(
            render(&sum, true),
            "3 would be removed · 4 KiB freed · 1 kept for their unmerged work\n  2 ran on node b, which alone can \
             remove them: mosaic prune --url URL-OF-b\n  x: \\x07\n"
        );
    }
}
