//! Every route on one page. A route that is not in the table does not exist, and one that does not say `Public`
//! needs a token: the operator's, or for `Own` that of the agent in the path.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::handler::Handler;
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use mosaic_api::Code;
use mosaic_core::Orchestrator;

use crate::auth::{Scope, authorize, guard};
use crate::context::Context;
use crate::options::ServerOptions;
use crate::problem::Problem;
use crate::reserved_connections::{self, Lanes};
use crate::{
    agents, archive, attention, audit, diff, events, forward, freeze, gate_history, gate_log, gates, health,
    hello, hosts, killswitch, node, nodes, openapi, queue, removal, resources, restore, shell, state, tasks,
    transcript, transfer, v1_agents,
};

/// One line of the table.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    scope: Scope,
    handler: MethodRouter<Context>,
    /// Answered by the node where the agent's files lie.
    at_home: bool,
    /// The connections kept for orders to stop on which it is answered, too.
    lanes: Lanes,
}

impl Route {
    /// Makes a line that is answered where it arrives, on ordinary connections.
    pub(crate) fn new(
        method: Method,
        path: &'static str,
        scope: Scope,
        handler: MethodRouter<Context>,
    ) -> Self {
        Self { method, path, scope, handler, at_home: false, lanes: Lanes::None }
    }

    fn info(&self) -> RouteInfo {
        RouteInfo { method: self.method.clone(), path: self.path, scope: self.scope }
    }

    /// Is answered on every connection: it stops agents, lets them resume, or says whether the server lives.
    pub(crate) fn stops(self) -> Self {
        Self { lanes: Lanes::All, ..self }
    }

    /// Is answered on the control socket: a person needs it to name the agent that is to be stopped.
    fn names_agents(self) -> Self {
        Self { lanes: Lanes::Control, ..self }
    }

    fn at_home(self) -> Self {
        Self { at_home: true, ..self }
    }
}

fn table() -> Vec<Route> {
    use Scope::{Admin, Own, Public};
    let route = Route::new;
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        // The contract, at these paths indefinitely.
        route(GET, "/health", Public, get(health::live)).stops(),
        route(GET, "/health/ready", Public, get(health::ready)).stops(),
        route(GET, "/v1/hello", Public, get(hello::show)).stops(),
        route(GET, "/openapi.json", Public, get(openapi::show)),
        route(POST, "/agents/spawn", Admin, post(agents::spawn)),
        route(GET, "/agents/{id}/status", Own, get(agents::status)),
        route(POST, "/agents/{id}/kill", Admin, post(agents::kill)).stops(),
        route(POST, "/agents/kill-all", Admin, post(agents::kill_all)).stops(),
        // The same under /v1, and what is ours.
        route(GET, "/v1/agents", Admin, get(v1_agents::list)).names_agents(),
        route(POST, "/v1/agents", Admin, post(agents::spawn)),
        route(POST, "/v1/agents/kill-all", Admin, post(agents::kill_all)).stops(),
        route(GET, "/v1/agents/{id}", Own, get(v1_agents::show)).names_agents(),
        route(Method::DELETE, "/v1/agents/{id}", Admin, delete(removal::remove)).at_home(),
        route(POST, "/v1/prune", Admin, post(removal::prune)),
        route(POST, "/v1/agents/{id}/kill", Admin, post(agents::kill)).stops(),
        route(POST, "/v1/agents/{id}/freeze", Admin, post(freeze::freeze)).at_home().stops(),
        route(POST, "/v1/agents/{id}/thaw", Admin, post(freeze::thaw)).at_home().stops(),
        route(POST, "/v1/agents/{id}/retry", Admin, post(v1_agents::retry)),
        route(POST, "/v1/agents/{id}/restore", Admin, post(restore::create)),
        route(GET, "/v1/agents/{id}/transcript", Own, get(transcript::read)).at_home(),
        route(GET, "/v1/agents/{id}/diff", Own, get(diff::show)).at_home(),
        route(GET, "/v1/agents/{id}/resources", Own, get(resources::show)).at_home(),
        route(GET, "/v1/agents/{id}/gates", Own, get(gates::show)),
        route(GET, "/v1/agents/{id}/gates/{gate}/log", Own, get(gate_log::show)).at_home(),
        route(GET, "/v1/gates", Admin, get(gate_history::list)),
        route(GET, "/v1/attention", Admin, get(attention::list)),
        route(POST, "/v1/attention/{id}/answer", Admin, post(attention::answer)).at_home(),
        route(GET, "/v1/events", Admin, get(events::stream)),
        route(POST, "/v1/archive/read", Admin, post(archive::read)),
        route(GET, "/v1/state", Admin, get(state::show)),
        route(GET, "/v1/queue", Admin, get(queue::show)),
        route(GET, "/v1/queue/export", Admin, get(transfer::unfinished)),
        route(POST, "/v1/queue/export", Admin, post(transfer::release)),
        route(POST, "/v1/queue/import", Admin, post(transfer::admit)),
        route(POST, "/v1/queue/pause", Admin, post(queue::pause)),
        route(POST, "/v1/queue/resume", Admin, post(queue::resume)),
        route(GET, "/v1/audit", Admin, get(audit::list)),
        route(GET, "/v1/audit/verify", Admin, get(audit::verify)),
        route(POST, "/v1/drain", Admin, post(node::drain)),
        route(GET, "/v1/nodes", Admin, get(nodes::list)),
        route(Method::DELETE, "/v1/nodes/{node}", Admin, delete(nodes::remove)),
        route(POST, "/v1/nodes/{node}/cordon", Admin, post(nodes::cordon)),
        route(POST, "/v1/nodes/{node}/uncordon", Admin, post(nodes::uncordon)),
        route(POST, "/v1/nodes/{node}/drain", Admin, post(nodes::drain)),
        route(GET, "/v1/killswitch", Admin, get(killswitch::show)).stops(),
        route(POST, "/v1/killswitch/engage", Admin, post(killswitch::engage)).stops(),
        route(POST, "/v1/killswitch/release", Admin, post(killswitch::release)).stops(),
        route(GET, "/v1/tasks/{taskId}", Admin, get(tasks::show)),
        route(Method::DELETE, "/v1/tasks/{taskId}", Admin, delete(tasks::remove)),
    ]
}

/// A route as documentation and tests see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// The method; `GET` answers `HEAD` too.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Access that a caller needs.
    pub scope: Scope,
}

/// Returns the table of routes.
pub fn routes() -> Vec<RouteInfo> {
    table().iter().map(Route::info).collect()
}

/// Returns what documentation and tests see of a table.
pub(crate) fn infos(table: &[Route]) -> Vec<RouteInfo> {
    table.iter().map(Route::info).collect()
}

/// Makes the HTTP service of an orchestrator.
pub fn router(orchestrator: Arc<Orchestrator>, options: ServerOptions) -> Router {
    assemble(table(), Context { orchestrator, options: Arc::new(options) })
}

/// Makes the HTTP service of a table of routes, with every check before them.
pub(crate) fn assemble(table: Vec<Route>, context: Context) -> Router {
    let paths: Arc<[&'static str]> = table.iter().map(|route| route.path).collect();
    let mut by_path: BTreeMap<&'static str, (MethodRouter<Context>, Vec<&'static str>)> = BTreeMap::new();
    for route in table {
        let mut handler = route.handler;
        if route.at_home {
            handler = handler.route_layer(from_fn_with_state(context.clone(), forward::to_home));
        }
        // The layer that is added last runs first: the check of the reserved connections, then the guard, then the way
        // to another node. No request leaves this node before its caller is known.
        let door = (context.clone(), route.scope, route.lanes);
        let guarded = handler.route_layer(from_fn_with_state(door, guard));
        let guarded = guarded.route_layer(from_fn_with_state(route.lanes, reserved_connections::check));
        let (handlers, allowed) = by_path.remove(route.path).unwrap_or_default();
        by_path.insert(route.path, (handlers.merge(guarded), [allowed, methods(&route.method)].concat()));
    }
    let mut router = Router::new();
    for (path, (handlers, allowed)) in by_path {
        let allow = allowed.join(", ");
        let refuse = move |State(context): State<Context>, method: Method, headers: HeaderMap| async move {
            // Without a token a caller does not even learn which methods a path has.
            let refused = authorize(&context, &headers).await.err();
            refused.unwrap_or_else(|| Problem::method_not_allowed(method.as_str(), &allow))
        };
        let refuse = refuse.layer(from_fn_with_state(Lanes::None, reserved_connections::check));
        router = router.route(path, handlers.fallback_service(refuse.with_state(context.clone())));
    }
    let nowhere = move |State(context): State<Context>, headers: HeaderMap, uri: Uri| async move {
        nowhere(&context, &headers, &uri, &paths).await
    };
    let nowhere = nowhere.layer(from_fn_with_state(Lanes::None, reserved_connections::check));
    router
        .fallback_service(nowhere.with_state(context.clone()))
        .layer(from_fn_with_state(context.clone(), hosts::check))
        .layer(from_fn_with_state(context.clone(), shell::wrap))
        .with_state(context)
}

fn methods(method: &Method) -> Vec<&'static str> {
    match *method {
        Method::GET => vec!["GET", "HEAD"],
        Method::POST => vec!["POST"],
        _ => vec!["DELETE"],
    }
}

/// Answers for everything that is no route: who has no token learns nothing, the others get the nearest paths.
async fn nowhere(context: &Context, headers: &HeaderMap, uri: &Uri, paths: &[&'static str]) -> Response {
    if let Err(problem) = authorize(context, headers).await {
        return problem.into_response();
    }
    let path: String = uri.path().chars().take(200).collect();
    let mut near: Vec<(usize, &str)> =
        paths.iter().map(|near| (strsim::damerau_levenshtein(&path, near), *near)).collect();
    near.sort_unstable();
    near.dedup();
    let near: Vec<&str> = near.into_iter().take(3).map(|(_, path)| path).collect();
    Problem::new(Code::RouteNotFound, format!("there is nothing at {}", path.escape_debug()))
        .hint(format!("near it are: {}", near.join(", ")))
        .with("near", near)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(lanes: Lanes) -> Vec<String> {
        let routes = table().into_iter().filter(|route| route.lanes == lanes);
        routes.map(|route| format!("{} {}", route.method, route.path)).collect()
    }

    #[test]
    fn the_connections_kept_for_orders_answer_what_stops_agents_and_no_more() {
        let all = [
            "GET /health",
            "GET /health/ready",
            // Without the proof no client sends its order.
            "GET /v1/hello",
            "POST /agents/{id}/kill",
            "POST /agents/kill-all",
            "POST /v1/agents/kill-all",
            "POST /v1/agents/{id}/kill",
            "POST /v1/agents/{id}/freeze",
            "POST /v1/agents/{id}/thaw",
            "GET /v1/killswitch",
            "POST /v1/killswitch/engage",
            "POST /v1/killswitch/release",
        ];
        assert_eq!(answered(Lanes::All), all);
        assert_eq!(answered(Lanes::Control), ["GET /v1/agents", "GET /v1/agents/{id}"]);
    }
}
