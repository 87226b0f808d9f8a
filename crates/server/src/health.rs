//! Liveness and readiness. Liveness answers while the process does; readiness really asks store, disk and git.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use mosaic_api::{Health, Readiness};
use mosaic_core::orchestrator::Check;

use crate::auth::authorize;
use crate::context::Context;
use crate::problem;

/// `GET /health`.
pub(crate) async fn live(State(context): State<Context>) -> Response {
    let (orchestrator, options) = (&context.orchestrator, &context.options);
    let uptime = orchestrator.now().since(options.started_at).as_secs_f64();
    let status = if orchestrator.is_draining() { "draining" } else { "ok" };
    let started_at = options.started_at.to_rfc3339();
    let (status, version) = (status.to_owned(), options.version.to_owned());
    Answer(Health { status, uptime, version, started_at }).into_response()
}

/// `GET /health/ready`.
pub(crate) async fn ready(State(context): State<Context>, headers: HeaderMap) -> Response {
    let checks = context.orchestrator.ready().await;
    // The kill switch makes nothing unready: the server is there and answers for it.
    context.orchestrator.know_orders().await;
    let stopped = context.orchestrator.switch_state().latch.is_some();
    let known = authorize(&context, &headers).await.is_ok();
    answer(checks, known, if stopped { "stopped" } else { "running" })
}

/// Answers with these checks. Details name directories and what is in them: they are for callers who may see everything.
pub(crate) fn answer(checks: Vec<Check>, known: bool, dispatch: &str) -> Response {
    let detail = |check: &Check| match (known, check.ok, check.warns) {
        (true, ..) => check.detail.clone(),
        (false, true, false) => "ok".to_owned(),
        (false, ..) => "fails; ask with the token for what it is".to_owned(),
    };
    let ready = checks.iter().all(|check| check.ok);
    let failing: Vec<String> =
        checks.iter().filter(|check| !check.ok).map(|check| check.name.clone()).collect();
    let checks: BTreeMap<String, mosaic_api::Check> = checks
        .into_iter()
        .map(|check| {
            let status = match (check.ok, check.warns) {
                (false, _) => mosaic_api::Check::FAIL,
                (true, true) => mosaic_api::Check::WARN,
                (true, false) => mosaic_api::Check::OK,
            };
            let detail = detail(&check);
            (check.name, mosaic_api::Check { status: status.to_owned(), detail })
        })
        .collect();
    let status = if ready { "ready" } else { "not_ready" };
    let body =
        Answer(Readiness { status: status.to_owned(), checks, failing, dispatch: dispatch.to_owned() });
    match ready {
        true => body.into_response(),
        false => problem::not_ready(body),
    }
}
