//! The content of the commit that is judged, from the server's bare repository: made once, in the form that the gatekeeper reads.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::domain::outcome::Failure;
use crate::ports::gatekeeper::{CommitForm, CommitSource};
use crate::ports::repositories::{BundleExtent, Commits, JudgingCheckout, JudgingRequest, Trees};

/// A commit of the server's bare repository.
pub(crate) struct JudgedCommit {
    trees: Arc<dyn Trees>,
    commits: Arc<dyn Commits>,
    request: JudgingRequest,
    checkout: OnceCell<JudgingCheckout>,
    bundle: OnceCell<PathBuf>,
    whole_bundle: OnceCell<PathBuf>,
}

impl JudgedCommit {
    pub(crate) fn new(trees: Arc<dyn Trees>, commits: Arc<dyn Commits>, request: JudgingRequest) -> Self {
        let (checkout, bundle, whole_bundle) = (OnceCell::new(), OnceCell::new(), OnceCell::new());
        Self { trees, commits, request, checkout, bundle, whole_bundle }
    }

    /// Makes the commit's content in this form.
    pub(super) async fn prepare(&self, form: CommitForm) -> Result<(), Failure> {
        match form {
            CommitForm::Checkout => self.checkout().await.map(drop),
            CommitForm::Bundle => self.bundle().await.map(drop),
        }
    }

    /// Returns what a person should know of the checkout; nothing when none was made.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.checkout.get().map(|checkout| checkout.warnings.clone()).unwrap_or_default()
    }
}

#[async_trait]
impl CommitSource for JudgedCommit {
    async fn checkout(&self) -> Result<JudgingCheckout, Failure> {
        let make = || self.trees.checkout_for_judging(&self.request);
        self.checkout.get_or_try_init(make).await.cloned()
    }

    async fn bundle(&self) -> Result<PathBuf, Failure> {
        let make = || self.trees.bundle_for_judging(&self.request, BundleExtent::AfterBase);
        self.bundle.get_or_try_init(make).await.cloned()
    }

    async fn whole_bundle(&self) -> Result<PathBuf, Failure> {
        let make = || self.trees.bundle_for_judging(&self.request, BundleExtent::Whole);
        self.whole_bundle.get_or_try_init(make).await.cloned()
    }

    async fn objects(&self, paths: &[String]) -> Result<Vec<Option<String>>, Failure> {
        self.commits.objects(&self.request.repository, &self.request.commit, paths).await
    }

    fn base(&self) -> Option<Arc<dyn CommitSource>> {
        let request = JudgingRequest {
            commit: self.request.base.clone(),
            label: format!("{}-base", self.request.label),
            ..self.request.clone()
        };
        Some(Arc::new(Self::new(Arc::clone(&self.trees), Arc::clone(&self.commits), request)))
    }
}
