//! The conformance suite of the five parts of the repositories port: real git and the fake run it, so that a story told with the
//! fake holds for git. The cases say what a caller sees and nothing of how it is done.
//!
//! An implementation gives a [`Ground`] and writes `mosaic_testkit::repositories_suite!(ground)` in a test file; each case becomes a
//! test of its own.

#![expect(clippy::expect_used, reason = "the suite is test code: a panic is how a case fails")]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::ids::{AgentId, CommitId};
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{
    Commits, DiffForm, Fit, HarvestJob, Intake, Kept, KeptWork, Publisher, Pushed, RestoreRequest,
    TreeRequest, Trees,
};

/// Room for every text that a case asks for, in bytes.
const ROOM: usize = 1024 * 1024;

/// One implementation with a remote of its own.
#[async_trait]
pub trait Ground: Send + Sync {
    /// Working trees.
    fn trees(&self) -> Arc<dyn Trees>;
    /// Intake.
    fn intake(&self) -> Arc<dyn Intake>;
    /// Commits.
    fn commits(&self) -> Arc<dyn Commits>;
    /// The remote.
    fn publisher(&self) -> Arc<dyn Publisher>;
    /// Kept work.
    fn kept_work(&self) -> Arc<dyn KeptWork>;
    /// Returns the request for the tree of a new agent, on the remote's base as it was fetched.
    async fn request(&self) -> TreeRequest;
    /// Changes a file of the tree, as its agent would.
    fn edit(&self, request: &TreeRequest);
    /// Runs a program where the agent's confinement would.
    fn run(&self, request: &TreeRequest, job: &HarvestJob);
}

/// Makes a test of each case; takes an expression for a new [`Ground`].
#[macro_export]
macro_rules! repositories_suite {
    ($ground:expr) => {
        $crate::repositories_suite! { @cases $ground;
            a_tree_is_there_from_when_it_is_made_until_it_is_removed, a_tree_that_is_whole_is_used_again,
            what_was_received_fits_and_is_shown_once_it_was_pushed, receiving_twice_gives_the_same_commit,
            names_and_text_of_a_difference_agree, a_snapshot_takes_nothing_in,
            a_salvage_is_listed_until_it_is_forgotten, a_salvage_comes_back, of_a_stranger_nothing_is_kept;
        }
    };
    (@cases $ground:expr; $($case:ident),* $(,)?;) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::repositories_suite::$case(&$ground).await;
            }
        )*
    };
}

async fn made(ground: &dyn Ground) -> TreeRequest {
    let request = ground.request().await;
    ground.trees().make_tree(&request).await.expect("the tree is made");
    ground.edit(&request);
    request
}

async fn received(ground: &dyn Ground, request: &TreeRequest) -> CommitId {
    let job = ground.intake().harvest(request).await.expect("a harvest is prepared");
    ground.run(request, &job);
    let received = ground.intake().receive(request, &job.outbox).await.expect("the work is taken in");
    match received.kept {
        Kept::Commits { head } => head,
        other => panic!("a changed tree gives commits: {other:?}"),
    }
}

async fn salvaged(ground: &dyn Ground, request: &TreeRequest) {
    let job = ground.intake().salvage(request).await.expect("a salvage is prepared");
    ground.run(request, &job);
    let salvaged = ground.intake().receive_salvage(request, &job.outbox).await.expect("it is taken in");
    let salvaged = salvaged.expect("a changed tree has something to salvage");
    let known = ground.kept_work().salvaged(&request.repository, request.agent).await.expect("it is read");
    assert_eq!(known, Some(salvaged), "what was taken in is what is kept");
}

/// A tree is there from when it is made until it is removed; removing it again changes nothing.
pub async fn a_tree_is_there_from_when_it_is_made_until_it_is_removed(ground: &dyn Ground) {
    let (trees, request) = (ground.trees(), made(ground).await);
    let agent = request.agent;
    let is_there = async || {
        let listed = trees.present().await.expect("listed").contains(&agent);
        (trees.has_tree(agent).await.expect("looked at"), listed)
    };
    assert_eq!(is_there().await, (true, true));
    trees.remove(agent).await.expect("it is removed");
    assert!(!is_there().await.0, "a removed tree is there");
    trees.remove(agent).await.expect("removing is idempotent");
    trees.abandon(agent).await.expect("so is giving up");
    let beside = trees.keep_beside(agent).await.expect("what is beside the tree is kept");
    assert_eq!(beside, [""; 0], "nothing lay beside the tree");
    assert_eq!(is_there().await, (false, false), "nothing of a removed agent is left");
}

/// A tree that is whole is kept when the request says so, and made anew when it does not.
pub async fn a_tree_that_is_whole_is_used_again(ground: &dyn Ground) {
    let request = made(ground).await;
    for reuse in [true, false] {
        let again = TreeRequest { reuse, ..request.clone() };
        let tree = ground.trees().make_tree(&again).await.expect("it is made or kept");
        assert_eq!((tree.agent, tree.reused), (request.agent, reuse));
    }
}

/// Received work fits onto the base that it stands on. The remote shows it once it was pushed, and not before.
pub async fn what_was_received_fits_and_is_shown_once_it_was_pushed(ground: &dyn Ground) {
    let (publisher, request) = (ground.publisher(), made(ground).await);
    let head = received(ground, &request).await;
    let fit = publisher.fit(&request.repository, &request.base_branch, &head).await.expect("it is tried");
    assert_eq!(fit, Fit::Clean(request.base.clone()));
    let shown = async || {
        let commits = [head.clone()];
        let (repository, branch, base) = (&request.repository, &request.branch, &request.base_branch);
        publisher.shown(repository, branch, base, &commits).await.expect("the remote is asked")
    };
    assert_eq!(shown().await, None, "nothing is shown before the push");
    let pushed = publisher.push(&request.repository, &head, &request.branch, None, &Hold::forever()).await;
    assert_eq!(pushed.expect("the push is made"), Pushed::Done);
    assert_eq!(shown().await, Some(head.clone()));
}

/// A bundle that is received twice gives the same commit.
pub async fn receiving_twice_gives_the_same_commit(ground: &dyn Ground) {
    let request = made(ground).await;
    let job = ground.intake().harvest(&request).await.expect("a harvest is prepared");
    ground.run(&request, &job);
    let mut heads = Vec::new();
    for _ in 0..2 {
        heads.push(ground.intake().receive(&request, &job.outbox).await.expect("it is taken in").kept);
    }
    assert_eq!(heads[0], heads[1], "one bundle is one commit, however often it is read");
}

/// The list of changed files is empty exactly when the text is; between a commit and itself both are.
pub async fn names_and_text_of_a_difference_agree(ground: &dyn Ground) {
    let (commits, request) = (ground.commits(), made(ground).await);
    let head = received(ground, &request).await;
    for end in [&head, &request.base] {
        let (repository, base) = (&request.repository, &request.base);
        let files = commits.stat(repository, base, end).await.expect("the names");
        let text = commits.diff(repository, base, end, DiffForm::Readable, ROOM).await.expect("the text");
        assert_eq!(files.is_empty(), text.0.is_empty());
        assert_eq!(files.is_empty(), *end == request.base, "only what was changed differs");
        let cut = commits.diff(repository, base, end, DiffForm::Readable, 1).await.expect("the text, cut");
        assert_eq!(
            (cut.0.len(), cut.1),
            (text.0.len().min(1), text.0.len() > 1),
            "a text is cut at its bound"
        );
    }
}

/// A snapshot shows the work and counts as nobody's: nothing is kept by it.
pub async fn a_snapshot_takes_nothing_in(ground: &dyn Ground) {
    let request = made(ground).await;
    let job = ground.intake().snapshot(&request).await.expect("a snapshot is prepared");
    ground.run(&request, &job);
    let shown = ground.intake().receive_snapshot(&request, &job.outbox).await.expect("it is read");
    assert!(shown.is_some_and(|commit| commit != request.base), "a changed tree shows its change");
    let kept = ground.kept_work().salvaged(&request.repository, request.agent).await.expect("it is read");
    assert_eq!(kept, None);
}

/// Salvaged work is listed and counts as not merged, until it is forgotten; forgetting again changes nothing.
pub async fn a_salvage_is_listed_until_it_is_forgotten(ground: &dyn Ground) {
    let (kept_work, request) = (ground.kept_work(), made(ground).await);
    salvaged(ground, &request).await;
    let (store, agent) = (kept_work.cache_of(&request.repository), request.agent);
    ground.trees().abandon(agent).await.expect("the tree is not needed for it");
    let refs = kept_work.refs_of(&store, agent, 10).await.expect("listed");
    assert!(refs.first().is_some_and(|first| first.reference.contains("salvage")), "{refs:?}");
    assert_eq!(kept_work.refs_of(&store, agent, 0).await.expect("listed"), [], "a list has a bound");
    assert!(!kept_work.unmerged(&store, agent, &[], 10).await.expect("looked at").is_empty());
    for _ in 0..2 {
        kept_work.forget(&store, agent).await.expect("forgotten");
        assert_eq!(kept_work.refs_of(&store, agent, 10).await.expect("listed"), []);
        assert_eq!(kept_work.unmerged(&store, agent, &[], 10).await.expect("looked at"), []);
        assert_eq!(kept_work.salvaged(&request.repository, agent).await.expect("read"), None);
    }
}

/// A salvage comes back on the agent's branch after its tree is gone, in a directory called after the agent.
pub async fn a_salvage_comes_back(ground: &dyn Ground) {
    let request = made(ground).await;
    salvaged(ground, &request).await;
    ground.trees().remove(request.agent).await.expect("the tree is removed");
    let kept = ground.kept_work().salvaged(&request.repository, request.agent).await.expect("read");
    let wanted = restore(&request, request.agent, kept.clone());
    let restored = ground.kept_work().restore(&wanted).await.expect("it comes back").expect("it is kept");
    assert_eq!((&restored.branch, &restored.salvage), (&request.branch, &kept));
    let name = restored.path.file_name().map(|name| name.to_string_lossy().into_owned());
    assert!(name.is_some_and(|name| name.starts_with("an-agent")), "{:?}", restored.path);
    assert!(restored.path.is_absolute() && restored.path != Path::new("/"));
}

/// An agent that never was has nothing: no tree, no refs, no commits, nothing to restore.
pub async fn of_a_stranger_nothing_is_kept(ground: &dyn Ground) {
    let (kept_work, request) = (ground.kept_work(), made(ground).await);
    let stranger = AgentId(uuid::Uuid::from_u128(7));
    let store = kept_work.cache_of(&request.repository);
    assert!(!ground.trees().present().await.expect("listed").contains(&stranger));
    assert_eq!(kept_work.refs_of(&store, stranger, 10).await.expect("listed"), []);
    assert_eq!(kept_work.unmerged(&store, stranger, &[], 10).await.expect("looked at"), []);
    assert_eq!(kept_work.salvaged(&request.repository, stranger).await.expect("read"), None);
    assert_eq!(kept_work.restore(&restore(&request, stranger, None)).await.expect("asked"), None);
}

fn restore(
    request: &TreeRequest,
    agent: AgentId,
    salvage: Option<mosaic_core::domain::agent::Salvaged>,
) -> RestoreRequest {
    RestoreRequest {
        agent,
        name: "an-agent".to_owned(),
        repository: request.repository.clone(),
        base_branch: request.base_branch.clone(),
        base: request.base.clone(),
        branch: request.branch.clone(),
        head: None,
        salvage,
    }
}
