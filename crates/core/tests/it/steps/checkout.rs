//! Step 3, checkout: the base is fetched and the tree made.

use mosaic_core::domain::outcome::{EndReason, Failure, FailureKind};
use mosaic_testkit::fakes::knobs::Broken;

use super::{fails_for_good, fails_once};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_that_does_not_answer_costs_an_attempt() {
    let failure = Failure::new(FailureKind::Network, "the remote did not answer");
    let (story, _) = fails_once(Broken::Fetch, &failure).await;
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_that_does_not_exist_fails_the_agent_at_once() {
    let failure = Failure::new(FailureKind::MissingBranch, "there is no branch main");
    let (story, record) = fails_for_good(Broken::Fetch, &failure).await;
    let end = record.agent.end().expect("it has ended");
    assert_eq!((end.reason, end.error.as_deref()), (EndReason::SetupFailed, Some("there is no branch main")));
    assert_eq!(record.agent.runs, 0, "no program ran");
    story.end().await;
}
