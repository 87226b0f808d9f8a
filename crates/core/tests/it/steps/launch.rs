//! Step 5, launch: the runtime's program is started.

use mosaic_core::domain::outcome::{Failure, FailureKind};
use mosaic_testkit::fakes::knobs::Broken;

use super::{fails_for_good, fails_once};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_is_not_there_fails_the_agent_by_name() {
    let failure = Failure::new(FailureKind::ProgramMissing, "no program fake-agent");
    let (story, record) = fails_for_good(Broken::Program, &failure).await;
    assert_eq!(record.agent.end().and_then(|end| end.error.as_deref()), Some("no program fake-agent"));
    story.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_failed_for_a_passing_reason_is_repeated() {
    let failure = Failure::new(FailureKind::Internal, "no process could be made");
    let (story, _) = fails_once(Broken::Program, &failure).await;
    story.end().await;
}
