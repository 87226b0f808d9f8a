//! Bundles that callers of a coordinator send: each lies in a directory of its own until its check has used it, or its time is over.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::domain::ids::Word;

/// Reason why a bundle could not be kept.
#[derive(Debug, Error)]
pub enum BundleError {
    /// It is larger than [`crate::limits::BUNDLE_BYTES`].
    #[error("the bundle is larger than {} bytes", crate::limits::BUNDLE_BYTES)]
    TooLarge,
    /// As many bundles are kept as may be.
    #[error("{} bundles wait for their checks already", crate::limits::CHECK_BUNDLES)]
    Full,
    /// The disk did not take it.
    #[error("the bundle could not be written: {0}")]
    Io(#[from] std::io::Error),
}

/// A bundle that is being received. Dropping it before [`BundleWriter::finish`] removes it.
#[async_trait]
pub trait BundleWriter: Send {
    /// Appends bytes.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), BundleError>;

    /// Ends it and returns its name.
    async fn finish(self: Box<Self>) -> Result<Word, BundleError>;
}

/// Keeps bundles.
#[async_trait]
pub trait Bundles: Send + Sync {
    /// Begins a new one.
    async fn begin(&self) -> Result<Box<dyn BundleWriter>, BundleError>;

    /// Returns the directory in which the file `bundle` is; `None` for a name that is not, or no more, known.
    async fn find(&self, name: &Word) -> Option<PathBuf>;

    /// Removes one. Idempotent.
    async fn discard(&self, name: &Word);

    /// Removes those that were received longer ago than this.
    async fn sweep(&self, older_than: Duration);
}
