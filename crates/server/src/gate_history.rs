//! `GET /v1/gates`: the history of gates by repository and gate.

use axum::Json as Answer;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use mosaic_api::GateHistoryList;
use mosaic_core::domain::ids::Word;
use mosaic_core::domain::repository::RepositoryUrl;
use mosaic_core::gate_history::{FlakyTest, GateHistory, GateRun, HistoryQuery};
use mosaic_core::limits;

use crate::context::Context;
use crate::mask;
use crate::params::Params;
use crate::problem::Problem;
use crate::view::Shown;

/// Separates the two names in a cursor; neither can have it.
const BETWEEN: char = '\n';

/// Returns the cursor that goes on after an entry. It holds the entry's names, so that it stays good while entries come and go.
fn cursor(last: &GateHistory) -> String {
    base16ct::lower::encode_string(format!("{}{BETWEEN}{}", last.repository, last.gate).as_bytes())
}

fn read_cursor(text: &str) -> Result<(String, String), Problem> {
    let malformed = || Problem::field("/query/cursor", "is no cursor of this server");
    let bytes = base16ct::lower::decode_vec(text).map_err(|_| malformed())?;
    let names = String::from_utf8(bytes).map_err(|_| malformed())?;
    let (repository, gate) = names.split_once(BETWEEN).ok_or_else(malformed)?;
    Ok((repository.to_owned(), gate.to_owned()))
}

/// `GET /v1/gates`.
pub(crate) async fn list(State(context): State<Context>, params: Params) -> Result<Response, Problem> {
    let mut r = params.reader(&["repository", "gate", "since", "limit", "cursor"]);
    let repository = r.parsed("repository", |text| text.parse::<RepositoryUrl>()).map(String::from);
    let gate = r.parsed("gate", |text| text.parse::<Word>()).map(|gate| gate.to_string());
    let since = r.time("since");
    let limit = r.number("limit", 1..=limits::HTTP_PAGE as u64).map_or(50, |n| n as usize);
    let cursor_text = r.text("cursor");
    r.finish()?;
    let after = cursor_text.map(read_cursor).transpose()?;
    let query = HistoryQuery { repository, gate, since, after, limit };
    let page = context.orchestrator.gate_history(&query).await?;
    let next_cursor = page.items.last().filter(|_| page.more).map(cursor);
    let list = GateHistoryList { since: page.since.shown(), items: page.items.shown(), next_cursor };
    // Names of tests are texts of agents.
    Ok(Answer(mask::view(&*context.orchestrator.ports().scanner, list)?).into_response())
}

impl Shown for GateHistory {
    type View = mosaic_api::GateHistory;

    fn shown(&self) -> Self::View {
        mosaic_api::GateHistory {
            repository: self.repository.clone(),
            gate: self.gate.clone(),
            runs: self.runs,
            passed: self.passed,
            failed: self.failed,
            errors: self.errors,
            flaky: self.flaky,
            skipped: self.skipped,
            cached: self.cached,
            pass_rate: self.pass_rate,
            p50_ms: self.p50_ms,
            p95_ms: self.p95_ms,
            flaky_tests: self.flaky_tests.shown(),
            recent: self.recent.shown(),
        }
    }
}

impl Shown for FlakyTest {
    type View = mosaic_api::FlakyTest;

    fn shown(&self) -> Self::View {
        let Self { test, count, last_seen } = self;
        mosaic_api::FlakyTest { test: test.clone(), count: *count, last_seen_at: last_seen.shown() }
    }
}

impl Shown for GateRun {
    type View = mosaic_api::GateRun;

    fn shown(&self) -> Self::View {
        mosaic_api::GateRun {
            agent_id: self.agent.map(|agent| agent.to_string()),
            task_id: self.task.as_ref().map(ToString::to_string),
            commit: self.commit.clone(),
            at: self.at.shown(),
            outcome: self.outcome.shown(),
            duration_ms: self.duration_ms,
            cached: self.cached,
        }
    }
}
