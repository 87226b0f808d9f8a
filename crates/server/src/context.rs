//! State that every handler receives.

use std::sync::Arc;

use mosaic_core::Orchestrator;

use crate::options::ServerOptions;

/// State that every handler receives: the orchestrator and the service's settings.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) orchestrator: Arc<Orchestrator>,
    pub(crate) options: Arc<ServerOptions>,
}
