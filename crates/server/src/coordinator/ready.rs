//! Readiness of a coordinator: what it judges with, and how busy it is.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use mosaic_core::coordinator::Coordinator;
use mosaic_core::orchestrator::Check;

use crate::auth::authorize;
use crate::context::Context;
use crate::health;

/// Checks of an orchestrator that say something about a coordinator, too: it dispatches nothing and keeps no records.
const SHARED: [&str; 2] = ["disk", "git"];

/// `GET /health/ready`.
pub(super) async fn show(
    State(context): State<Context>,
    Extension(coordinator): Extension<Arc<Coordinator>>,
    headers: HeaderMap,
) -> Response {
    let mut checks = context.orchestrator.ready().await;
    checks.retain(|check| SHARED.contains(&check.name.as_str()));
    let (running, waiting) = coordinator.load();
    let detail = format!("{running} run, {waiting} wait");
    // A full queue is answered by itself, and empties by itself.
    checks.push(Check { name: "checks".to_owned(), ok: true, warns: false, detail });
    health::answer(checks, authorize(&context, &headers).await.is_ok(), "running")
}
