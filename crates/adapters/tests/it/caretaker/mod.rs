//! The caretaker on a real store, real git and real files: nothing that may hold work goes before it is kept, nothing
//! that is over stays indefinitely, and every round can be repeated.

mod testbed;

use std::time::Duration;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::publication::Publication;
use mosaic_core::domain::retention::Retention;
use mosaic_core::ports::repositories::{KeptWork, Publisher, Trees};
use mosaic_core::ports::store::{Removal, Store, StoreError};
use mosaic_core::ports::transcripts::Transcripts;
use testbed::CaretakerTestbed;

async fn remove_record(place: &CaretakerTestbed, id: AgentId) {
    let read = place.store.get(id).await.unwrap();
    let (at, why) = (place.now(), "test".to_owned());
    place
        .store
        .remove(Removal {
            agent: id,
            version: read.version,
            at,
            why,
            node: Some("node".parse().unwrap()),
            facts: Vec::new(),
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_tree_whose_record_is_lost_is_kept_before_it_goes() {
    let mut place = CaretakerTestbed::new();
    let lost = place.agent("lost");
    place.tree(&lost).await;
    let report = place.round().await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert!(!place.own(lost.id).exists(), "its directory is gone");
    let file = format!("refs/mosaic/salvage/{}:work.txt", lost.id);
    assert_eq!(place.store_git(&["show", &file]), "precious");
    assert_eq!((report.orphans, report.orphan_refs), (0, 1));
    assert_eq!(place.round().await.orphan_refs, 1, "another round changes nothing");
}

#[tokio::test]
async fn a_tree_that_cannot_be_kept_stays_and_is_tried_again_later() {
    let program = std::path::PathBuf::from("/nonexistent/program");
    let mut place = CaretakerTestbed::retaining(Retention::default(), Some(program));
    let lost = place.agent("lost");
    place.tree(&lost).await;
    let (unknown, unused) = (place.agent("unknown"), place.agent("unused"));
    place.tree(&unknown).await;
    std::fs::write(place.own(unknown.id).join("tree.json"), "{\"repos").unwrap();
    place.tree(&unused).await;
    std::fs::remove_file(place.own(unused.id).join("tree.json")).unwrap();
    for expected in [2, 0] {
        let report = place.round().await;
        assert_eq!((report.orphans, report.problems.len()), (2, expected), "{:?}", report.problems);
        for stays in [&lost, &unknown] {
            assert!(
                place.own(stays.id).join("tree/work.txt").exists(),
                "work that nobody received was removed"
            );
        }
        assert!(!place.own(unused.id).exists(), "a tree that no agent ever had holds no work");
    }
    place.pass_days(1);
    assert_eq!(place.round().await.problems.len(), 2, "it is tried again");
}

#[tokio::test]
async fn what_is_left_of_a_removed_agent_is_taken_away() {
    let mut place = CaretakerTestbed::new();
    let gone = place.agent("gone");
    place.tree(&gone).await;
    place.keep_commit(&gone);
    place.log(gone.id, 10, 0);
    place.record_ended(gone.clone()).await;
    // As a crash right after the record was removed leaves it.
    remove_record(&place, gone.id).await;
    let report = place.round().await;
    assert_eq!((report.orphans, report.orphan_refs), (0, 0), "{:?}", report.problems);
    assert!(!place.own(gone.id).exists());
    assert_eq!(place.store_git(&["for-each-ref", "refs/agents"]), "");
    assert_eq!(place.transcripts.size(gone.id).await.unwrap(), 0);
}

#[tokio::test]
async fn transcripts_of_a_removed_agent_go_although_nothing_else_of_it_is_left() {
    let mut place = CaretakerTestbed::new();
    let gone = place.agent("gone");
    place.log(gone.id, 10, 0);
    place.record_ended(gone.clone()).await;
    // As a crash between the last directory and the transcripts leaves it.
    remove_record(&place, gone.id).await;
    assert!(!place.own(gone.id).exists());
    assert_eq!(place.transcripts.shelved().await.unwrap().len(), 1);
    let report = place.round().await;
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(
        place.transcripts.shelved().await.unwrap().len(),
        0,
        "its removal promised that nothing stays"
    );
}

#[tokio::test]
async fn ended_agents_give_back_what_their_end_could_not() {
    let mut place = CaretakerTestbed::new();
    let (clean, dirty) = (place.agent("clean"), {
        let mut dirty = place.agent("dirty");
        dirty.work.dirty = true;
        dirty.work.cleanup_pending = Some("the disk was full".to_owned());
        dirty
    });
    for agent in [&clean, &dirty] {
        place.tree(agent).await;
        place.record_ended(agent.clone()).await;
    }
    let active = place.agent("active");
    place.tree(&active).await;
    mosaic_testkit::store_suite::sample::admit(&*place.store, &active).await;
    let report = place.round().await;
    assert!(!place.own(clean.id).exists());
    assert!(
        place.own(active.id).join("tree/work.txt").exists(),
        "an agent that has not ended keeps its tree"
    );
    let kept = place.own(dirty.id).join("tree/work.txt").exists()
        || place.store_has(&["rev-parse", "--verify", &format!("refs/mosaic/salvage/{}", dirty.id)]);
    assert!(kept, "work that nobody received is in the tree or in the store");
    assert_eq!(report.cleanup_pending, u64::from(place.own(dirty.id).exists()));
}

#[tokio::test]
async fn refs_without_a_record_stay_for_their_time_and_for_ever_with_unmerged_work() {
    let mut place = CaretakerTestbed::new();
    let (merged, unmerged) = (place.agent("merged"), place.agent("unmerged"));
    let context = &merged.spec.context;
    place.git.fetch(&context.repository, &context.branch, &merged.branch).await.unwrap();
    let commit = place.keep_commit(&unmerged);
    place.store_git(&["update-ref", &format!("refs/agents/{}/head", merged.id), "refs/heads/main"]);
    place.store_git(&["update-ref", &format!("refs/mosaic/salvage/{}", merged.id), "refs/heads/main"]);
    assert_eq!(place.round().await.orphan_refs, 2);
    // Packed refs are found and removed as well.
    place.store_git(&["pack-refs", "--all"]);
    assert_eq!(place.round().await.orphan_refs, 2);
    place.pass_days(89);
    assert_eq!(place.round().await.orphan_refs, 2);
    place.pass_days(2);
    let report = place.round().await;
    assert_eq!(report.orphan_refs, 1, "{:?}", report.problems);
    let left = place.store_git(&["for-each-ref", "--format=%(objectname)", "refs/agents", "refs/mosaic"]);
    assert_eq!(left, commit.to_string());
    place.pass_days(10_000);
    assert_eq!(place.round().await.orphan_refs, 1);
}

#[tokio::test]
async fn old_records_go_unless_their_work_is_nowhere_else() {
    let mut place = CaretakerTestbed::new();
    let first = place.agent("first");
    let context = &first.spec.context;
    place.git.fetch(&context.repository, &context.branch, &first.branch).await.unwrap();
    let mut old = Vec::new();
    for n in 0..8 {
        let mut agent = place.agent(&format!("t{n}"));
        let commit = place.keep_commit(&agent);
        // Of each four one was pushed, one made nothing, one has work that is nowhere else, one was pushed to a remote
        // that took it and does not show it.
        match n % 4 {
            0 => {
                agent.work.publication = Publication::There { commit: commit.clone() };
                agent.work.pushed = Some(commit);
            }
            3 => agent.work.pushed = Some(commit),
            1 => place.git.forget(&place.git.cache_of(&context.repository), agent.id).await.unwrap(),
            _ => {}
        }
        place.record_ended(agent.clone()).await;
        old.push(agent.id);
    }
    assert_eq!(place.round().await.unmerged_kept, 0);
    place.pass_days(60);
    let young = place.agent("young");
    place.record_ended(young.clone()).await;
    place.pass_days(31);
    let report = place.round().await;
    assert_eq!((report.unmerged_kept, report.problems.len()), (4, 0), "{:?}", report.problems);
    for (n, id) in old.iter().enumerate() {
        let there = place.store.get(*id).await;
        assert_eq!(there.is_ok(), n % 4 >= 2, "agent {n}: {there:?}");
        assert!(there.is_ok() || matches!(there, Err(StoreError::Pruned { .. })));
    }
    assert!(place.store.get(young.id).await.is_ok());
    // Facts of the same age went with them, numbers stay.
    let log = place.store.entries(0, 100).await.unwrap();
    let newest = *place.store.newest().borrow();
    assert!(log[0].seq > 1 && log.last().unwrap().seq == newest, "{log:?}");
    assert!(log.windows(2).all(|pair| pair[1].seq == pair[0].seq + 1));
}

#[tokio::test]
async fn transcripts_go_by_age_and_then_by_size_and_never_under_a_running_agent() {
    let retention = Retention { bytes: 2500, ..Retention::default() };
    let mut place = CaretakerTestbed::retaining(retention, None);
    let [ancient, older, newer, newest, active] = ["a", "b", "c", "d", "e"].map(|task| place.agent(task));
    for (agent, days) in [(&ancient, 40), (&older, 20), (&newer, 10), (&newest, 1)] {
        place.record_ended(agent.clone()).await;
        place.log(agent.id, 1000, days);
    }
    mosaic_testkit::store_suite::sample::admit(&*place.store, &active).await;
    place.log(active.id, 1000, 90);
    let report = place.round().await;
    let mut left = Vec::new();
    for agent in [&ancient, &older, &newer, &newest, &active] {
        left.push(place.transcripts.size(agent.id).await.unwrap());
    }
    assert_eq!(left, [0, 0, 0, 1000, 1000], "{:?}", report.problems);
    assert_eq!(report.transcript_bytes, 2000);
    assert!(place.store.get(ancient.id).await.is_ok(), "the record has a time of its own");
}

#[tokio::test]
async fn a_store_is_packed_again_only_when_nothing_shares_its_objects() {
    let mut place = CaretakerTestbed::new();
    let (kept, lives) = (place.agent("kept"), place.agent("lives"));
    place.tree(&lives).await;
    mosaic_testkit::store_suite::sample::admit(&*place.store, &lives).await;
    let commit = place.keep_commit(&kept);
    place.record_ended(kept.clone()).await;
    // Somebody's objects that no ref reaches: one old, one young; a tree may need either.
    let object = |text: &str| {
        let file = place.fixture.path().join("loose");
        std::fs::write(&file, text).unwrap();
        place.store_git(&["hash-object", "-w", file.to_str().unwrap()])
    };
    let (old, young) = (object("old"), object("young"));
    let path = place.repository().join("objects").join(&old[..2]).join(&old[2..]);
    let at = std::time::SystemTime::now() - Duration::from_secs(30 * 86_400);
    std::fs::File::open(path).unwrap().set_modified(at).unwrap();
    let packs = || {
        let entries = std::fs::read_dir(place.repository().join("objects/pack")).unwrap().flatten();
        entries.filter(|e| e.path().extension().is_some_and(|kind| kind == "pack")).count()
    };
    let source = place.repository().join("objects/pack");
    for n in 0..60 {
        let one = object(&format!("packed {n}"));
        let list = place.fixture.path().join("list");
        std::fs::write(&list, format!("{one}\n")).unwrap();
        let order = format!("git pack-objects -q '{}/pack' < '{}'", source.display(), list.display());
        let done =
            std::process::Command::new("sh").arg("-c").arg(order).current_dir(place.repository()).output();
        assert!(done.unwrap().status.success());
    }
    assert!(packs() >= 60);
    let url = &kept.spec.context.repository;
    assert_eq!(place.git.tidy(&[]).await.unwrap(), None, "a tree shares its objects");
    assert!(packs() >= 60 && place.store_has(&["cat-file", "-e", &old]));
    place.git.remove(lives.id).await.unwrap();
    assert_eq!(place.git.tidy(std::slice::from_ref(url)).await.unwrap(), None, "an agent of it runs");
    assert!(packs() >= 60);
    assert_eq!(place.git.tidy(&[]).await.unwrap(), Some(place.git.cache_of(url)));
    assert!(packs() <= 2, "{} packs", packs());
    assert!(place.store_has(&["cat-file", "-e", commit.as_str()]), "kept work is reachable and stays");
    assert!(place.store_has(&["cat-file", "-e", &young]), "what is young stays, whoever may need it");
    assert!(!place.store_has(&["cat-file", "-e", &old]));
    place.store_git(&["fsck", "--strict"]);
    assert_eq!(place.git.tidy(&[]).await.unwrap(), None);
    assert_eq!(place.round().await.problems, Vec::<String>::new());
}
