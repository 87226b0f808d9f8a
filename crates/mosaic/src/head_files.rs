//! The files of the commit that HEAD of the operator's repository is on, for questions about its gates.

use async_trait::async_trait;
use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_core::ports::gatekeeper::BaseFiles;

use crate::local_git::LocalRepository;
use crate::problem::Problem;

/// The files of HEAD.
pub(crate) struct HeadFiles(pub(crate) LocalRepository);

#[async_trait]
impl BaseFiles for HeadFiles {
    async fn paths(&self) -> Result<Vec<String>, Failure> {
        self.0.files_at_head().map_err(failed)
    }

    async fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        self.0.file_at_head(path).map_err(failed)
    }
}

fn failed(problem: Problem) -> Failure {
    Failure::new(FailureKind::Internal, problem.to_string())
}
