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
    // Details name directories and what is in them: for those only who may see everything.
    let known = authorize(&context, &headers).await.is_ok();
    let detail = |check: &Check| match (known, check.ok) {
        (true, _) => check.detail.clone(),
        (false, true) => "ok".to_owned(),
        (false, false) => "fails; ask with the token for what it is".to_owned(),
    };
    let ready = checks.iter().all(|check| check.ok);
    let failing: Vec<String> =
        checks.iter().filter(|check| !check.ok).map(|check| check.name.clone()).collect();
    let checks: BTreeMap<String, mosaic_api::Check> = checks
        .into_iter()
        .map(|c| {
            let status = if c.ok { "ok" } else { "fail" };
            let detail = detail(&c);
            (c.name, mosaic_api::Check { status: status.to_owned(), detail })
        })
        .collect();
    let status = if ready { "ready" } else { "not_ready" };
    // The kill switch makes nothing unready: the server is there and answers for it.
    context.orchestrator.know_orders().await;
    let stopped = context.orchestrator.switch_state().latch.is_some();
    let dispatch = if stopped { "stopped" } else { "running" };
    let (status, dispatch) = (status.to_owned(), dispatch.to_owned());
    let body = Answer(Readiness { status, checks, failing, dispatch });
    match ready {
        true => body.into_response(),
        false => problem::not_ready(body),
    }
}
