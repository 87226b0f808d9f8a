//! `mosaic diff`: what an agent changed since its base, as a patch or as a list of files.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mosaic_api::{AgentView, Diff, DiffFile, TextEncoding};

use crate::cli::DiffArgs;
use crate::client::escape;
use crate::color::Paint;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::session::{Session, say};
use crate::view::{AgentStatus, shown};

/// Runs the command.
pub(super) fn run(session: &Session, args: &DiffArgs) -> Result<Exit, Problem> {
    let client = session.client()?;
    let agent = resolve::agent(&client, &args.one.agent)?;
    let path = format!("/v1/agents/{}/diff", escape(&agent.status.agent_id));
    let diff =
        client.get::<Diff>(&if session.global.json { path.clone() } else { format!("{path}?stat=1") })?;
    if session.global.json {
        session.print_json(&diff)?;
    } else if args.name_only {
        let names: String = diff.files.iter().map(|file| format!("{}\n", new_name(file))).collect();
        session.print(names)?;
    } else if args.stat {
        session.print(stat(&agent, &diff, session.paint()))?;
    } else {
        let text = text_of(client.stream(&path, "text/x-diff")?)?;
        if session.terminal.out {
            session.print_raw(patch(&String::from_utf8_lossy(&text), session.paint()).as_bytes())?;
        } else {
            // A pipe gets the patch byte for byte, so that `git apply` works.
            session.print_raw(&text)?;
        }
    }
    if diff.files.is_empty() {
        say(&format!("{} has changed nothing so far", agent.status.short_name()));
    }
    if diff.live {
        say(&format!("{} is at work: this is its tree as it was a moment ago", agent.status.short_name()));
    }
    if diff.truncated {
        say(&format!("the diff was cut; the branch has all of it: {}", shown(&agent.status.branch)));
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
fn name_of(name: &str, encoding: Option<TextEncoding>) -> String {
    let bytes = match encoding {
        Some(TextEncoding::Base64) => STANDARD.decode(name).unwrap_or_default(),
        _ => name.as_bytes().to_vec(),
    };
    sanitize::line(&String::from_utf8_lossy(&bytes))
}

fn new_name(file: &DiffFile) -> String {
    name_of(&file.path, file.path_encoding)
}

/// Returns the names of a file: both when it was renamed or copied.
fn names(file: &DiffFile) -> String {
    match &file.old_path {
        None => new_name(file),
        Some(old) => format!("{} → {}", name_of(old, file.old_path_encoding), new_name(file)),
    }
}

fn short(commit: &str) -> String {
    sanitize::line(commit.get(..7).unwrap_or(commit))
}

fn stat(agent: &AgentView, diff: &Diff, paint: Paint) -> String {
    let sum = |count: fn(&DiffFile) -> Option<u64>| diff.files.iter().filter_map(count).sum::<u64>();
    let mut out = format!(
        "{} vs {}@{}   {} files  +{} -{}\n",
        shown(&agent.status.branch),
        sanitize::line(&agent.base_branch),
        short(diff.base.as_deref().unwrap_or_default()),
        diff.files.len(),
        sum(|file| file.added),
        sum(|file| file.deleted)
    );
    let width = diff.files.iter().map(|file| crate::sanitize::columns(&names(file))).max().unwrap_or(0);
    for file in &diff.files {
        let added = paint.good(&format!("+{}", file.added.unwrap_or(0)));
        let deleted = paint.bad(&format!("-{}", file.deleted.unwrap_or(0)));
        out.push_str(&format!(" {:<width$}  {added} {deleted}\n", names(file)));
    }
    out
}

/// Colours a patch; control characters are shown.
fn patch(text: &str, paint: Paint) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let safe = sanitize::block(line);
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
    use crate::color::ColorChoice;
    use serde_json::json;

    #[test]
    fn files_are_counted() {
        let agent = crate::samples::agent(json!({"branch": "mosaic/fix/1", "baseBranch": "main"}));
        let files = [
            json!({"path": "calc.sh", "added": 4, "deleted": 0}),
            json!({"path": "t\u{1b}", "added": 1, "deleted": 2}),
        ];
        let files = files.map(crate::samples::diff_file);
        let diff = crate::samples::diff(json!({"base": "8c1d2e0aaa", "files": files}));
        assert_eq!(
            stat(&agent, &diff, Paint::choose(ColorChoice::Never, false, &|_| None)),
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
