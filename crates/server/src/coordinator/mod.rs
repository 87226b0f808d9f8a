//! The HTTP service of a coordinator: other routes than those of a server, behind the same checks of Host, Origin, token and
//! connections.

mod bundles;
mod checks;
mod failures;
mod openapi;
mod ready;

use std::sync::Arc;

use axum::http::Method;
use axum::routing::{get, post};
use axum::{Extension, Router};
use mosaic_core::Orchestrator;
use mosaic_core::coordinator::Coordinator;

use crate::auth::Scope;
use crate::context::Context;
use crate::health;
use crate::hello;
use crate::options::ServerOptions;
use crate::router::{Route, RouteInfo, assemble, infos};

fn table() -> Vec<Route> {
    use Scope::{Admin, Public};
    vec![
        Route::new(Method::GET, "/health", Public, get(health::live)).stops(),
        Route::new(Method::GET, "/health/ready", Public, get(ready::show)).stops(),
        Route::new(Method::GET, "/v1/hello", Public, get(hello::show)).stops(),
        Route::new(Method::GET, "/openapi.json", Public, get(openapi::show)),
        Route::new(Method::POST, "/api/quality/check", Admin, post(checks::check)),
        Route::new(Method::POST, "/api/quality/bundles", Admin, post(bundles::receive)),
    ]
}

/// Returns a coordinator's table of routes.
pub fn coordinator_routes() -> Vec<RouteInfo> {
    infos(&table())
}

/// Makes the HTTP service of a coordinator.
pub fn coordinator_router(
    coordinator: Arc<Coordinator>,
    orchestrator: Arc<Orchestrator>,
    options: ServerOptions,
) -> Router {
    let context = Context { orchestrator, options: Arc::new(options) };
    assemble(table(), context).layer(Extension(coordinator))
}
