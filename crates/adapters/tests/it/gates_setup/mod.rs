//! Setups that run once, verdicts that are remembered, and faults that are the base's: with real git and real commands.

mod world;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use mosaic_core::domain::gates::{GateFault, GateOutcome, GatePlan, SetupDefinition, Verdict};
use mosaic_core::domain::outcome::FailureKind;

use self::world::{World, git, plan, setup};

/// Counts runs of a setup in a file outside everything that is cached.
fn counted(world: &World, run: &str) -> (SetupDefinition, std::path::PathBuf) {
    let count = world.home.path().join("count");
    (setup(&format!("echo run >> '{}'; {run}", count.display())), count)
}

fn runs(count: &std::path::Path) -> usize {
    std::fs::read_to_string(count).unwrap_or_default().lines().count()
}

const MAKE: &str = "mkdir -p deps/bin \"$HOME/.cargo/registry\"; cat lock > deps/content; echo cached > \"$HOME/.cargo/registry/crate\"; \
     printf '#!%s/deps/bin/x\\n' \"$PWD\" > deps/bin/tool; chmod 755 deps/bin/tool; ln -s \"$PWD/deps/content\" deps/link";

#[tokio::test]
async fn a_setup_runs_once_and_every_tree_gets_a_copy_that_fits_its_place() {
    let world = World::new();
    let base = world.commit(&[("lock", "1"), ("a", "a")]);
    let (setup, count) = counted(&world, MAKE);
    let plan = GatePlan { setup: Some(setup), ..plan(&[]) };
    let (first, home, _) = world.prepare(&base, &plan).await.unwrap();
    let (second, _, _) = world.prepare(&base, &plan).await.unwrap();
    assert_eq!(runs(&count), 1);
    for tree in [&first, &second] {
        assert_eq!(std::fs::read_to_string(tree.join("deps/content")).unwrap(), "1");
        // What names the place where it was made names this tree now.
        let tool = std::fs::read_to_string(tree.join("deps/bin/tool")).unwrap();
        assert_eq!(tool, format!("#!{}/deps/bin/x\n", tree.display()));
        assert_eq!(
            std::fs::metadata(tree.join("deps/bin/tool")).unwrap().permissions().mode() & 0o777,
            0o755
        );
        assert_eq!(std::fs::read_link(tree.join("deps/link")).unwrap(), tree.join("deps/content"));
        // It is no work of the agent's.
        assert_eq!(git(tree, &["status", "--porcelain"]), "");
        assert!(tree.parent().unwrap().join("tree.outputs").is_file());
    }
    assert_eq!(std::fs::read_to_string(home.join(".cargo/registry/crate")).unwrap(), "cached\n");
    // Another lock file is another setup; another file is not.
    let same = world.commit(&[("a", "b")]);
    world.prepare(&same, &plan).await.unwrap();
    assert_eq!(runs(&count), 1);
    let other = world.commit(&[("lock", "2")]);
    let (tree, _, _) = world.prepare(&other, &plan).await.unwrap();
    assert_eq!(
        (runs(&count), std::fs::read_to_string(tree.join("deps/content")).unwrap()),
        (2, "2".to_owned())
    );
}

#[tokio::test]
async fn nothing_that_an_agent_writes_reaches_the_next_one() {
    let world = World::new();
    let base = world.commit(&[("lock", "1")]);
    let plan = GatePlan { setup: Some(setup(MAKE)), ..plan(&[]) };
    let (first, _, _) = world.prepare(&base, &plan).await.unwrap();
    let file = first.join("deps/content");
    assert_eq!(std::fs::metadata(&file).unwrap().nlink(), 1, "a hard link would be written through");
    std::fs::write(&file, "poison").unwrap();
    let (second, _, _) = world.prepare(&base, &plan).await.unwrap();
    assert_eq!(std::fs::read_to_string(second.join("deps/content")).unwrap(), "1");
    let judged =
        GatePlan { setup: plan.setup, ..self::plan(&[("tests", "test \"$(cat deps/content)\" = 1")]) };
    assert_eq!(world.judge(&base, &base, &judged).await.verdict, Verdict::Passed);
}

#[tokio::test]
async fn of_two_tasks_with_the_same_setup_one_runs_it_and_the_other_waits() {
    let world = World::new();
    let base = world.commit(&[("lock", "1")]);
    let (setup, count) = counted(&world, MAKE);
    let plan = GatePlan { setup: Some(setup), ..plan(&[]) };
    let (one, other) = tokio::join!(world.prepare(&base, &plan), world.prepare(&base, &plan));
    assert!(one.unwrap().0.join("deps/content").exists() && other.unwrap().0.join("deps/content").exists());
    assert_eq!(runs(&count), 1);
}

#[tokio::test]
async fn what_the_commit_has_itself_stays_and_no_link_leads_out_of_a_tree() {
    let world = World::new();
    let repository = world.home.path().join("repository");
    symlink("/", repository.join("out")).unwrap();
    let base = world.commit(&[("lock", "1"), ("deps/mine", "mine")]);
    let made = SetupDefinition {
        outputs: vec!["deps".to_owned(), "out/x".to_owned(), "../y".to_owned()],
        ..setup("rm -rf deps; mkdir deps")
    };
    let plan = GatePlan { setup: Some(made), ..plan(&[]) };
    let (tree, _, _) = world.prepare(&base, &plan).await.unwrap();
    assert_eq!(std::fs::read_to_string(tree.join("deps/mine")).unwrap(), "mine");
}

#[tokio::test]
async fn a_setup_that_fails_says_so_with_the_end_of_its_log_and_is_tried_again_next_time() {
    let world = World::new();
    let base = world.commit(&[("lock", "1")]);
    let (setup, count) = counted(&world, "echo no such package; exit 3");
    let plan = GatePlan { setup: Some(setup), ..plan(&[]) };
    for _ in 0..2 {
        let failure = world.prepare(&base, &plan).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Setup);
        assert!(
            failure.message.contains("exit 3") && failure.message.ends_with("no such package"),
            "{}",
            failure.message
        );
        assert!(failure.message.contains("setup-1"), "{}", failure.message);
    }
    assert_eq!(runs(&count), 2);
    let slow = SetupDefinition { timeout_ms: 200, ..world::setup("exec sleep 60") };
    let failure =
        world.prepare(&base, &GatePlan { setup: Some(slow), ..world::plan(&[]) }).await.unwrap_err();
    assert!(
        failure.kind == FailureKind::Setup && failure.message.contains("took longer than 200ms"),
        "{}",
        failure.message
    );
}

#[tokio::test]
async fn a_missing_program_is_told_before_anything_is_run() {
    let world = World::new();
    let base = world.commit(&[("lock", "1")]);
    let plan = GatePlan {
        setup: Some(setup("true")),
        ..plan(&[("tests", "no-such-tool --all"), ("lint", "./lint.sh")])
    };
    let failure = world.prepare(&base, &plan).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Setup);
    assert!(failure.message.contains("gate tests needs `no-such-tool`"), "{}", failure.message);
    assert!(world.processes.started().is_empty());
}

#[tokio::test]
async fn untrusted_commands_are_never_run_not_even_to_set_up() {
    let world = World::new();
    let base = world.commit(&[("lock", "1")]);
    let plan = GatePlan { setup: Some(setup(MAKE)), trusted: false, ..plan(&[]) };
    let (tree, _, _) = world.prepare(&base, &plan).await.unwrap();
    assert!(!tree.join("deps").exists() && world.processes.started().is_empty());
}

#[tokio::test]
async fn a_commit_with_another_lock_file_is_judged_with_what_that_one_makes_and_nobody_else_gets_it() {
    let world = World::new();
    let base = world.commit(&[("lock", "1")]);
    let head = world.commit(&[("lock", "2")]);
    let (setup, count) = counted(&world, &format!("rm -rf deps; {MAKE}"));
    let gates = [("tests", "cmp lock deps/content")];
    let plan = GatePlan { setup: Some(setup), ..plan(&gates) };
    assert_eq!(world.judge(&base, &head, &plan).await.verdict, Verdict::Passed);
    assert_eq!(runs(&count), 2, "once on the base and once in the checkout");
    let (tree, _, _) = world.prepare(&base, &plan).await.unwrap();
    assert_eq!(std::fs::read_to_string(tree.join("deps/content")).unwrap(), "1");
    // One that does not work with it is the commit's own fault.
    let broken = world.commit(&[("lock", "broken")]);
    let setup = world::setup("mkdir -p deps; ! grep broken lock");
    let plan = GatePlan { setup: Some(setup), ..world::plan(&gates) };
    let report = world.judge(&base, &broken, &plan).await;
    let [result] = &report.results[..] else { panic!("{report:?}") };
    assert_eq!((report.verdict, result.fault), (Verdict::Failed, None));
    assert!(result.findings[0].message.contains("the setup does not work with this commit"), "{report:?}");
}

#[tokio::test]
async fn a_verdict_is_remembered_for_the_same_content_definition_and_base() {
    let world = World::new();
    let base = world.commit(&[("a", "1")]);
    let head = world.commit(&[("a", "2")]);
    let plan = plan(&[("tests", "true"), ("lint", "true")]);
    let first = world.judge(&base, &head, &plan).await;
    assert!(first.results.iter().all(|result| !result.cached && result.log.is_some()));
    let started = world.processes.started().len();
    let again = world.judge(&base, &head, &plan).await;
    assert_eq!(again.verdict, Verdict::Passed);
    assert!(again.results.iter().all(|result| result.cached && result.log.is_none()));
    assert_eq!(world.processes.started().len(), started, "nothing ran");
    // Another commit of the same content is the same; another base or definition is not.
    let same = world.commit(&[]);
    let report = world.judge(&base, &same, &plan).await;
    assert_eq!((report.results[0].cached, &report.commit), (true, &same));
    assert!(!world.judge(&same, &head, &plan).await.results[0].cached);
    let other = world::plan(&[("tests", "true"), ("lint", "test 1 = 1")]);
    assert!(!world.judge(&base, &head, &other).await.results[0].cached);
}

#[tokio::test]
async fn what_could_not_be_judged_is_not_remembered() {
    let world = World::new();
    let base = world.commit(&[("a", "1")]);
    let plan = plan(&[("tests", "kill -KILL $$")]);
    for _ in 0..2 {
        let report = world.judge(&base, &base, &plan).await;
        assert_eq!((report.results[0].outcome, report.results[0].cached), (GateOutcome::Error, false));
    }
}

#[tokio::test]
async fn a_gate_that_cannot_be_judged_on_the_base_either_is_a_fault_of_the_machine() {
    let world = World::new();
    let base = world.commit(&[("a", "1")]);
    let head = world.commit(&[("a", "2")]);
    let report = world
        .judge(&base, &head, &plan(&[("tests", "sh -c 'no-such-tool'; exit 127"), ("lint", "true")]))
        .await;
    assert_eq!(report.results[0].fault, Some(GateFault::Machine));
    assert!(report.blameless_end().is_some() && report.findings().is_empty(), "{report:?}");
    // The same word of the shell is the commit's fault where the base has the program.
    let base = world.commit(&[("tool", "#!/bin/sh\n")]);
    git(&world.home.path().join("repository"), &["rm", "-q", "tool"]);
    let head = world.commit(&[]);
    let report = world.judge(&base, &head, &plan(&[("tests", "sh tool || exit 127")])).await;
    assert_eq!((report.results[0].fault, report.blameless_end()), (None, None));
}

#[tokio::test]
async fn a_red_base_is_warned_about_once_it_is_known() {
    let world = World::new();
    let base = world.commit(&[("a", "1")]);
    let head = world.commit(&[("a", "2")]);
    let plan = plan(&[("tests", "echo 'a:1: wrong'; exit 1"), ("lint", "true")]);
    let (_, _, prepared) = world.prepare(&base, &plan).await.unwrap();
    assert_eq!(prepared.warnings, [""; 0], "nobody has judged it yet");
    let report = world.judge(&base, &head, &plan).await;
    // It may be what the agent was asked to mend, so that it goes back to the agent.
    assert_eq!((report.results[0].fault, report.findings().len()), (None, 1));
    let is_told = |warning: &String| warning.starts_with("gate tests is red on the base already");
    assert!(report.warnings.iter().any(is_told), "{:?}", report.warnings);
    let (_, _, prepared) = world.prepare(&base, &plan).await.unwrap();
    assert!(prepared.warnings[0].starts_with("gate tests is red on the base already"), "{prepared:?}");
}
