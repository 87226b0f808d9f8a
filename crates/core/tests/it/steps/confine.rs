//! Step 4, confine: the sandbox around the tree.

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_testkit::fakes::knobs::Broken;

use super::fails_once;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_confinement_no_program_starts() {
    let failure = Failure::new(FailureKind::Internal, "the private directories could not be made");
    let (story, id) = fails_once(Broken::Sandbox, &failure).await;
    assert_eq!(story.o.agent(id).await.unwrap().agent.runs, 1, "only the second attempt ran a program");
    story.end().await;
}
