//! `GET /openapi.json` of a coordinator. A test makes it from the route table and the types of `mosaic-api`, and compares.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

const DOCUMENT: &str = include_str!("../../../../docs/coordinator-openapi.json");

/// `GET /openapi.json`.
pub(super) async fn show() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}
