//! The OpenAPI document of a coordinator is made from its route table and the types of the API. Write it anew with
//! `MOSAIC_WRITE_DOCS=1 cargo test -p mosaic-server --test it the_openapi_document_of_a_coordinator`.

use std::fs;
use std::path::Path;

use mosaic_api::{Operation, coordinator_document};
use mosaic_server::{Scope, coordinator_routes};

use crate::documented::{page, same};

/// Of each route what the route table does not say: summary, query, body, status and type of its answer.
type Described =
    (&'static str, &'static str, &'static [&'static str], Option<&'static str>, (u16, &'static str));

const DESCRIBED: [Described; 6] = [
    ("GET /health", "Tells that the coordinator lives", &[], None, (200, "Health")),
    ("GET /health/ready", "Checks disk and git, counts checks", &[], None, (200, "Readiness")),
    ("GET /v1/hello", "Proves that the coordinator knows a token", &["nonce"], None, (200, "Hello")),
    ("GET /openapi.json", "Describes the API", &[], None, (200, "object")),
    ("POST /api/quality/check", "Judges a commit", &[], Some("CheckRequest"), (200, "CheckAnswer")),
    (
        "POST /api/quality/bundles",
        "Takes a git bundle, the raw body, for a check",
        &[],
        None,
        (201, "BundleReceived"),
    ),
];

fn operations() -> Vec<Operation> {
    let of = |route: mosaic_server::RouteInfo| {
        let name = format!("{} {}", route.method, route.path);
        let described = DESCRIBED.iter().find(|one| one.0 == name);
        let (_, summary, query, body, answer) =
            described.unwrap_or_else(|| panic!("{name} is not described in this file"));
        Operation {
            method: route.method.to_string(),
            path: route.path.to_owned(),
            summary,
            query,
            body: *body,
            body_is_optional: false,
            answer: *answer,
            is_public: route.scope == Scope::Public,
        }
    };
    coordinator_routes().into_iter().map(of).collect()
}

#[test]
fn the_openapi_document_of_a_coordinator_is_as_routes_and_types_are() {
    let document = format!("{:#}\n", coordinator_document(env!("CARGO_PKG_VERSION"), &operations()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/coordinator-openapi.json");
    if std::env::var_os("MOSAIC_WRITE_DOCS").is_some() {
        fs::write(&path, &document).expect("docs/coordinator-openapi.json can be written");
    }
    let there = fs::read_to_string(&path).expect("docs/coordinator-openapi.json is there");
    assert!(there == document, "docs/coordinator-openapi.json is old; see the top of this file");
    let references = document.split("#/components/schemas/").skip(1);
    for name in references.filter_map(|rest| rest.split('"').next()) {
        assert!(document.contains(&format!("\n      \"{name}\": {{")), "{name} leads nowhere");
    }
}

#[test]
fn every_route_of_a_coordinator_is_on_its_page() {
    let page = page("coordinator.md");
    let rows = crate::documented::rows(&page, "| method, path |");
    let documented = rows.iter().map(|row| row[0].replace('`', "")).collect();
    let there = coordinator_routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    same("routes in docs/coordinator.md", documented, there);
}
