//! Changes of an agent, as a patch or taken apart; secrets in them are masked. Names and lines are bytes: in JSON, what is
//! no UTF-8 comes in base64 and is marked as such.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mosaic_api::{DiffFile, DiffHunk, TextEncoding};
use mosaic_core::diff::Diff;
use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::limits;
use mosaic_core::ports::repositories::{ChangeKind, DiffForm, FileStat};

use crate::context::Context;
use crate::mask;
use crate::negotiate::choose;
use crate::params::{Id, Params};
use crate::patch::{self, Section};
use crate::problem::Problem;
use crate::view::Shown;

const TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");
const JSON: &str = "application/json";
const TEXT: &str = "text/x-diff";

/// `GET /v1/agents/{id}/diff`: base against the newest kept commit, or against the tree of an agent at work. `stat=1` leaves the text out.
pub(crate) async fn show(
    State(context): State<Context>,
    Id(id): Id,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let format = choose(&headers, &[JSON, TEXT])?;
    let mut r = params.reader(&["stat"]);
    let stat = r.switch("stat").unwrap_or(false);
    r.finish()?;
    let record = context.orchestrator.agent(id).await?;
    let form = if format == TEXT { DiffForm::Applicable } else { DiffForm::Readable };
    let diff = match context.orchestrator.diff(&record.agent, form, limits::DIFF_BYTES).await? {
        Some(diff) => Some(shown(&context, &record.agent, diff).await?),
        None => None,
    };
    if format == TEXT {
        let (text, truncated) = diff.map_or((Vec::new(), false), |diff| (diff.text, diff.truncated));
        let kind = match std::str::from_utf8(&text) {
            Ok(_) => "text/x-diff; charset=utf-8",
            Err(_) => TEXT,
        };
        let head = [(CONTENT_TYPE, kind), (TRUNCATED, if truncated { "true" } else { "false" })];
        return Ok((head, text).into_response());
    }
    let base = record.agent.work.base.as_ref().map(ToString::to_string);
    let nothing = mosaic_api::Diff {
        agent_id: id.to_string(),
        base,
        head: None,
        files: Vec::new(),
        text: String::new(),
        text_encoding: None,
        truncated: false,
        live: false,
    };
    let view = diff.map_or(nothing, |diff| view(id, diff, !stat));
    Ok(Answer(view).into_response())
}

/// Masks secrets, and ends what was cut with a whole line. A few MiB take a while, so other requests go on meanwhile.
async fn shown(context: &Context, agent: &Agent, mut diff: Diff) -> Result<Diff, Problem> {
    if diff.truncated {
        let end = diff.text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        diff.text.truncate(end);
    }
    withhold(context, agent, &mut diff).await?;
    let scanner = Arc::clone(&context.orchestrator.ports().scanner);
    let work = move || {
        let name = |bytes: Vec<u8>| {
            let text = String::from_utf8_lossy(&bytes);
            let masked = scanner.mask(&text);
            // The text may have lost bytes that are no UTF-8, so it replaces the name only where a secret was masked in
            // it.
            if masked == text { bytes } else { masked.into_bytes() }
        };
        let named = |file: FileStat| {
            let old_path = file.old_path.map(name);
            FileStat { path: name(file.path), old_path, ..file }
        };
        let files = diff.files.into_iter().map(named).collect();
        Diff { text: mask::diff(&*scanner, &diff.text), files, ..diff }
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())
}

/// Leaves out the new content of binary files in which there is a secret: in a patch it is packed and cannot be masked.
async fn withhold(context: &Context, agent: &Agent, diff: &mut Diff) -> Result<(), Problem> {
    let lines = patch::lines(&diff.text);
    let binary: Vec<Section> = patch::sections(&lines).into_iter().filter(|s| s.has_binary).collect();
    if binary.is_empty() {
        return Ok(());
    }
    let kinds: HashMap<&[u8], ChangeKind> =
        diff.files.iter().map(|file| (file.path.as_slice(), file.kind)).collect();
    let mut hidden = Vec::new();
    for section in binary {
        let deleted = kinds.get(section.path.as_slice()) == Some(&ChangeKind::Deleted);
        if !deleted && !is_clean(context, agent, &diff.head, &section.path).await? {
            hidden.push(section.lines);
        }
    }
    let mut text = Vec::with_capacity(diff.text.len());
    for (number, line) in lines.iter().enumerate() {
        let Some(section) = hidden.iter().find(|section| section.contains(&number)) else {
            text.extend_from_slice(line);
            continue;
        };
        let start = section.clone().find(|number| lines[*number].starts_with(b"GIT binary patch"));
        match start {
            Some(start) if number == start => {
                text.extend(b"Binary files differ (withheld: there is a secret in it)\n")
            }
            Some(start) if number > start => {}
            _ => text.extend_from_slice(line),
        }
    }
    diff.text = text;
    Ok(())
}

/// Tells whether no secret is in a file of the newest commit, as far as it can be read.
async fn is_clean(context: &Context, agent: &Agent, head: &str, path: &[u8]) -> Result<bool, Problem> {
    let (Ok(path), Ok(head)) = (std::str::from_utf8(path), head.parse()) else { return Ok(false) };
    let ports = context.orchestrator.ports();
    let repository = &agent.spec.context.repository;
    let bytes = ports.commits.read_file(repository, &head, path, limits::DIFF_BYTES + 1).await?;
    // A file that cannot be looked through as a whole counts as one that holds a secret.
    let Some(bytes) = bytes.filter(|bytes| bytes.len() <= limits::DIFF_BYTES) else { return Ok(false) };
    let (scanner, path) = (Arc::clone(&ports.scanner), path.to_owned());
    let scan = move || scanner.scan(Some(&path), &String::from_utf8_lossy(&bytes)).is_empty();
    tokio::task::spawn_blocking(scan).await.map_err(|_| Problem::internal())
}

fn view(id: AgentId, diff: Diff, with_text: bool) -> mosaic_api::Diff {
    let Diff { base, head, files, text, truncated, live } = diff;
    let text = if with_text { text } else { Vec::new() };
    let files = with_hunks(files, &text);
    let (text, text_encoding) = told(&text);
    let agent_id = id.to_string();
    mosaic_api::Diff {
        agent_id,
        base: Some(base),
        head: Some(head),
        files,
        text,
        text_encoding,
        truncated,
        live,
    }
}

/// Puts each file's hunks beside its names and numbers: what a patch says of a path belongs to the file of that path. A
/// file that becomes a link, say, has two parts there.
fn with_hunks(files: Vec<FileStat>, text: &[u8]) -> Vec<DiffFile> {
    let lines = patch::lines(text);
    let mut hunks: HashMap<Vec<u8>, Vec<DiffHunk>> = HashMap::new();
    for section in patch::sections(&lines) {
        let of_file = hunks.entry(section.path).or_default();
        for (head, range) in section.hunks {
            let (header, header_encoding) = told(lines[head].trim_ascii_end());
            let (lines, lines_encoding) = told(&lines[range].concat());
            of_file.push(DiffHunk { header, header_encoding, lines, lines_encoding });
        }
    }
    files.into_iter().map(|file| file_view(hunks.remove(&file.path).unwrap_or_default(), file)).collect()
}

fn file_view(hunks: Vec<DiffHunk>, file: FileStat) -> DiffFile {
    let binary = file.is_binary();
    let (path, path_encoding) = told(&file.path);
    let old = file.old_path.as_deref().map(told);
    let (old_path, old_path_encoding) = old.map_or((None, None), |(path, encoding)| (Some(path), encoding));
    let status = file.kind.shown();
    let FileStat { old_mode, new_mode, added, deleted, .. } = file;
    DiffFile {
        path,
        path_encoding,
        status,
        old_path,
        old_path_encoding,
        old_mode,
        new_mode,
        added,
        deleted,
        binary,
        hunks,
    }
}

/// Returns bytes as text, in base64 when they are no UTF-8.
fn told(bytes: &[u8]) -> (String, Option<TextEncoding>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (STANDARD.encode(bytes), Some(TextEncoding::Base64)),
    }
}
