//! `mosaic diff`: what an agent changed since its base, as a patch or as a list of files.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::cli::DiffArgs;
use crate::client::escape;
use crate::exit::Exit;
use crate::paint::Paint;
use crate::plain;
use crate::problem::Problem;
use crate::resolve;
use crate::session::{Session, say};
use crate::view::View;

/// Runs the command.
pub(super) fn run(session: &Session, args: &DiffArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let view = View::new(&agent);
    let path = format!("/v1/agents/{}/diff", escape(view.id()));
    let diff = client.get(&if session.global.json { path.clone() } else { format!("{path}?stat=1") })?;
    let shown = View::new(&diff);
    if session.global.json {
        session.print_json(&diff)?;
    } else if args.name_only {
        let names: String =
            shown.list("files").iter().map(|f| format!("{}\n", new_name(&View::new(f)))).collect();
        session.print(names)?;
    } else if args.stat {
        session.print(stat(&view, &shown, session.paint()))?;
    } else {
        let text = text_of(client.stream(&path, "text/x-diff")?)?;
        if session.terminal.out {
            session.print_raw(patch(&String::from_utf8_lossy(&text), session.paint()).as_bytes())?;
        } else {
            // A pipe gets the patch byte for byte, so that `git apply` works.
            session.print_raw(&text)?;
        }
    }
    if shown.list("files").is_empty() {
        say(&format!("{} has changed nothing so far", view.name()));
    }
    if diff.get("live").and_then(Value::as_bool) == Some(true) {
        say(&format!("{} is at work: this is its tree as it was a moment ago", view.name()));
    }
    if diff.get("truncated").and_then(Value::as_bool) == Some(true) {
        say(&format!("the diff was cut; the branch has all of it: {}", view.shown("branch")));
    }
    Ok(Exit::Ok)
}

fn text_of(reader: impl Read) -> Result<Vec<u8>, Problem> {
    let mut text = Vec::new();
    let most = u64::try_from(mosaic_core::limits::DIFF_BYTES * 2).unwrap_or(u64::MAX);
    reader.take(most).read_to_end(&mut text).map_err(|e| Problem::Other(anyhow::Error::new(e)))?;
    Ok(text)
}

/// Returns a name for people: what is no UTF-8 is replaced.
fn name_of(file: &View<'_>, field: &str) -> String {
    let bytes = match file.text(&format!("{field}Encoding")) {
        "base64" => STANDARD.decode(file.text(field)).unwrap_or_default(),
        _ => file.text(field).as_bytes().to_vec(),
    };
    plain::line(&String::from_utf8_lossy(&bytes))
}

fn new_name(file: &View<'_>) -> String {
    name_of(file, "path")
}

/// Returns the names of a file: both when it was renamed or copied.
fn names(file: &View<'_>) -> String {
    match file.text("oldPath") {
        "" => new_name(file),
        _ => format!("{} → {}", name_of(file, "oldPath"), new_name(file)),
    }
}

fn short(commit: &str) -> String {
    plain::line(commit.get(..7).unwrap_or(commit))
}

fn stat(agent: &View<'_>, diff: &View<'_>, paint: Paint) -> String {
    let files: Vec<View<'_>> = diff.list("files").iter().map(View::new).collect();
    let sum = |field: &str| files.iter().map(|f| f.number(field)).sum::<u64>();
    let mut out = format!(
        "{} vs {}@{}   {} files  +{} -{}\n",
        agent.shown("branch"),
        agent.shown("baseBranch"),
        short(diff.text("base")),
        files.len(),
        sum("added"),
        sum("deleted")
    );
    let width = files.iter().map(|f| names(f).chars().count()).max().unwrap_or(0);
    for file in &files {
        let added = paint.good(&format!("+{}", file.number("added")));
        let deleted = paint.bad(&format!("-{}", file.number("deleted")));
        out.push_str(&format!(" {:<width$}  {added} {deleted}\n", names(file)));
    }
    out
}

/// Colours a patch; control characters are shown.
fn patch(text: &str, paint: Paint) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let safe = plain::block(line);
        let coloured = match line.as_bytes().first() {
            _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => {
                paint.bold(&safe)
            }
            Some(b'+') => paint.good(&safe),
            Some(b'-') => paint.bad(&safe),
            Some(b'@') => paint.dim(&safe),
            _ => safe,
        };
        out.push_str(&coloured);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paint::ColorChoice;
    use serde_json::json;

    #[test]
    fn files_are_counted() {
        let agent = json!({"branch": "mosaic/fix/1", "baseBranch": "main"});
        let diff = json!({"base": "8c1d2e0aaa", "files": [{"path": "calc.sh", "added": 4, "deleted": 0}, {"path": "t\u{1b}", "added": 1, "deleted": 2}]});
        assert_eq!(
            stat(&View::new(&agent), &View::new(&diff), Paint::choose(ColorChoice::Never, false, &|_| None)),
            "mosaic/fix/1 vs main@8c1d2e0   2 files  +5 -2\n calc.sh  +4 -0\n t\\x1b    +1 -2\n"
        );
    }

    #[test]
    fn a_patch_on_a_terminal_is_harmless() {
        assert_eq!(
            patch("+a\u{1b}[2J\n-b\tc\n", Paint::choose(ColorChoice::Never, false, &|_| None)),
            "+a\\x1b[2J\n-b\tc\n"
        );
    }
}
