//! `POST /api/quality/bundles`: a git bundle on its way to a check, as the raw body.

use std::sync::Arc;

use axum::Extension;
use axum::Json as Answer;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use mosaic_api::{BundleReceived, Code};
use mosaic_core::coordinator::Coordinator;
use mosaic_core::limits;
use mosaic_core::ports::bundles::BundleError;

use crate::context::Context;
use crate::problem::Problem;

/// `POST /api/quality/bundles`.
pub(super) async fn receive(
    State(context): State<Context>,
    Extension(coordinator): Extension<Arc<Coordinator>>,
    body: Body,
) -> Result<Response, Problem> {
    let mut writer = coordinator.bundles().begin().await?;
    let mut chunks = body.into_data_stream();
    loop {
        // Counted from the last byte that came: a large bundle over a slow line takes as long as it takes.
        let stalled = context.orchestrator.ports().clock.sleep(limits::BUNDLE_STALL);
        let chunk = tokio::select! {
            chunk = chunks.next() => chunk,
            () = stalled => {
                let text = format!("nothing of the bundle came for {} s", limits::BUNDLE_STALL.as_secs());
                return Err(Problem::new(Code::RequestTimeout, text));
            }
        };
        match chunk {
            Some(Ok(bytes)) => writer.write(&bytes).await?,
            Some(Err(e)) => {
                return Err(Problem::new(Code::InvalidJson, format!("the bundle could not be read: {e}")));
            }
            None => break,
        }
    }
    let name = writer.finish().await?;
    Ok((StatusCode::CREATED, Answer(BundleReceived { bundle_id: name.to_string() })).into_response())
}

impl From<BundleError> for Problem {
    fn from(error: BundleError) -> Self {
        let code = match &error {
            BundleError::TooLarge => Code::PayloadTooLarge,
            BundleError::Full => Code::ChecksFull,
            BundleError::Io(_) => Code::CheckUnavailable,
        };
        Self::new(code, error.to_string())
    }
}
