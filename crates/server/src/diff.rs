//! What an agent changed, as text or taken apart; secrets in it are masked.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use mosaic_core::limits;
use mosaic_core::orchestrator::Diff;
use mosaic_core::ports::repositories::FileStat;
use serde_json::{Value, json};

use crate::mask;
use crate::negotiate::choose;
use crate::params::{Id, Params};
use crate::problem::Problem;
use crate::router::Context;

const TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");
const JSON: &str = "application/json";
const TEXT: &str = "text/x-diff";

/// `GET /v1/agents/{id}/diff`: base against the newest kept commit. `stat=1` leaves the text out.
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
    let diff = match context.orchestrator.diff(&record.agent, limits::DIFF_BYTES).await? {
        Some(diff) => Some(masked(&context, diff).await?),
        None => None,
    };
    if format == TEXT {
        let (text, truncated) = diff.map_or((Vec::new(), false), |diff| (diff.text, diff.truncated));
        let head = [
            (CONTENT_TYPE, "text/x-diff; charset=utf-8"),
            (TRUNCATED, if truncated { "true" } else { "false" }),
        ];
        return Ok((head, text).into_response());
    }
    let Some(diff) = diff else {
        let base = &record.agent.work.base;
        let empty =
            json!({"agentId": id, "base": base, "head": null, "files": [], "text": "", "truncated": false});
        return Ok(Answer(empty).into_response());
    };
    let Diff { base, head, files, text, truncated } = diff;
    let text = if stat { String::new() } else { String::from_utf8_lossy(&text).into_owned() };
    let files = with_hunks(files, &text);
    Ok(Answer(json!({"agentId": id, "base": base, "head": head, "files": files, "text": text, "truncated": truncated}))
        .into_response())
}

/// Masks secrets in the text. A few MiB take a while, so other requests go on meanwhile.
async fn masked(context: &Context, diff: Diff) -> Result<Diff, Problem> {
    let scanner = Arc::clone(&context.orchestrator.ports().scanner);
    let work = move || {
        let named = |file: FileStat| FileStat { path: scanner.mask(&file.path), ..file };
        let files = diff.files.into_iter().map(named).collect();
        Diff { text: mask::diff(&*scanner, &diff.text), files, ..diff }
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::internal())
}

/// Puts each file's hunks beside its numbers. Git lists files in one order in both, so place decides, not the
/// name, which a diff may quote; a cut diff has fewer files than the numbers.
fn with_hunks(files: Vec<FileStat>, text: &str) -> Vec<Value> {
    let mut sections = sections(text).into_iter();
    files
        .into_iter()
        .map(|file| {
            let hunks = sections.next().unwrap_or_default();
            let binary = file.added.is_none() && file.deleted.is_none();
            json!({"path": file.path, "added": file.added, "deleted": file.deleted, "binary": binary, "hunks": hunks})
        })
        .collect()
}

/// Splits a unified diff into files and each file into hunks. A line of content always starts with a blank, `+`,
/// `-` or `\`, so nothing inside a file can look like the start of the next.
fn sections(text: &str) -> Vec<Vec<Value>> {
    let mut out: Vec<Vec<(String, String)>> = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with("diff --git ") {
            out.push(Vec::new());
        } else if let Some(file) = out.last_mut() {
            if line.starts_with("@@ ") {
                file.push((line.trim_end().to_owned(), String::new()));
            } else if let Some((_, lines)) = file.last_mut() {
                lines.push_str(line);
            }
        }
    }
    let hunk = |(header, lines): (String, String)| json!({"header": header, "lines": lines});
    out.into_iter().map(|file| file.into_iter().map(hunk).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_looks_like_a_header_stays_content() {
        let text = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n a\n+diff --git a/y b/y\n+@@ -1 +1 @@\n\
                    diff --git a/z b/z\nBinary files differ\n";
        let found = sections(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].len(), 1);
        assert_eq!(found[0][0]["lines"], " a\n+diff --git a/y b/y\n+@@ -1 +1 @@\n");
        assert!(found[1].is_empty());
    }
}
