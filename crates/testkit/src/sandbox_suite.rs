//! Requirements on every sandbox. A sandbox whose places are only names says so with `files: false`.

use std::path::Path;
use std::sync::Arc;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::sandbox::{Command, Mount, Network, Policy, Purpose, Sandbox, SandboxError};

/// Runs every check, each on a fresh sandbox.
pub async fn run<S: Sandbox + ?Sized>(fresh: impl Fn() -> Arc<S>, files: bool) {
    an_agents_place_is_the_same_every_time(fresh(), files).await;
    every_gate_has_a_place_of_its_own(fresh(), files).await;
    a_commands_own_variables_come_last(fresh()).await;
    a_policy_is_kept_or_refused_by_name(fresh()).await;
    leftovers_are_what_is_not_released(fresh()).await;
    a_stop_leaves_nothing_and_may_be_repeated(fresh()).await;
    if files {
        staged_directories_land_in_the_configuration(fresh()).await;
    }
}

fn agent() -> AgentId {
    AgentId(uuid::Uuid::new_v4())
}

async fn an_agents_place_is_the_same_every_time(sandbox: Arc<impl Sandbox + ?Sized>, files: bool) {
    let (one, other) = (agent(), agent());
    let first = sandbox.prepare(one, Purpose::Agent, &Policy::default()).await.expect("prepared");
    assert_eq!((first.agent, first.purpose), (one, Purpose::Agent));
    if files {
        std::fs::write(first.config.join("session"), "x").expect("the configuration can be written");
    }
    let again = sandbox.prepare(one, Purpose::Agent, &Policy::default()).await.expect("prepared again");
    assert_eq!(again, first);
    let harvest = sandbox.prepare(one, Purpose::Harvest, &Policy::default()).await.expect("prepared");
    assert_ne!((&harvest.home, &harvest.tmp), (&first.home, &first.tmp));
    if files {
        std::fs::remove_dir_all(&first.home).expect("an agent may do that");
        std::os::unix::fs::symlink("/nonexistent", &first.home).expect("and that");
        let robust = sandbox.prepare(one, Purpose::Harvest, &Policy::default()).await;
        sandbox
            .discard(&robust.expect("no agent keeps its work from being received"))
            .await
            .expect("discarded");
        std::fs::remove_file(&first.home).expect("a link");
        std::fs::create_dir(&first.home).expect("made again");
    }
    let foreign = sandbox.prepare(other, Purpose::Agent, &Policy::default()).await.expect("prepared");
    assert_ne!((&foreign.home, &foreign.config), (&first.home, &first.config));
    sandbox.discard(&harvest).await.expect("discarded");
    if files {
        assert!(first.config.join("session").exists(), "sessions resume");
        assert!(first.home.is_dir() && first.tmp.is_dir());
    }
    sandbox.release(one).await.expect("released");
    sandbox.release(one).await.expect("a second release changes nothing");
    assert!(!first.config.exists());
    if files {
        assert!(foreign.config.is_dir(), "another agent's place stays");
    }
}

async fn every_gate_has_a_place_of_its_own(sandbox: Arc<impl Sandbox + ?Sized>, files: bool) {
    let id = agent();
    let own = sandbox.prepare(id, Purpose::Agent, &Policy::default()).await.expect("prepared");
    let one = sandbox.prepare(id, Purpose::Gate, &Policy::of_gates()).await.expect("prepared");
    let two = sandbox.prepare(id, Purpose::Gate, &Policy::of_gates()).await.expect("prepared");
    for (a, b) in [(&one, &two), (&one, &own), (&two, &own)] {
        assert_ne!(a.home, b.home);
        assert_ne!(a.tmp, b.tmp);
        assert_ne!(a.config, b.config);
    }
    if files {
        assert!(is_empty(&one.tmp) && is_empty(&one.config));
    }
    sandbox.discard(&one).await.expect("discarded");
    sandbox.discard(&one).await.expect("a second discard changes nothing");
    assert!(!one.home.exists() && !one.tmp.exists());
    if files {
        assert!(two.home.is_dir() && own.home.is_dir());
    }
    sandbox.release(id).await.expect("released");
    assert!(!two.home.exists() && !two.tmp.exists(), "a judgement that was cut off leaves nothing");
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("it is there").next().is_none()
}

async fn a_commands_own_variables_come_last(sandbox: Arc<impl Sandbox + ?Sized>) {
    let handle = sandbox.prepare(agent(), Purpose::Agent, &Policy::default()).await.expect("prepared");
    let argv = vec!["sh".to_owned(), "-c".to_owned(), "a \"b\" $c".to_owned()];
    let env = vec![("LANG".to_owned(), "own".to_owned())];
    let made = sandbox.command(&handle, Command { argv: argv.clone(), env, cwd: "/".into() });
    assert!(made.argv.ends_with(&argv), "a command's words stay as they are: {:?}", made.argv);
    let last = made.env.iter().rev().find(|(name, _)| name == "LANG");
    assert_eq!(last.map(|(_, value)| value.as_str()), Some("own"));
    assert!(handle.env.iter().all(|variable| made.env.contains(variable)));
}

async fn a_policy_is_kept_or_refused_by_name(sandbox: Arc<impl Sandbox + ?Sized>) {
    let able = sandbox.capabilities();
    let elsewhere = Mount { source: "/usr".into(), target: "/inside/usr".into(), writable: false };
    let demands = [
        (able.limits, Policy { memory_bytes: Some(64 << 20), ..Policy::default() }),
        (able.limits, Policy { processes: Some(8), ..Policy::default() }),
        (able.own_network, Policy { network: Network::None, ..Policy::default() }),
        (able.mounts, Policy::default().with(elsewhere)),
    ];
    for (able, policy) in demands {
        let id = agent();
        match sandbox.prepare(id, Purpose::Agent, &policy).await {
            Ok(_) => assert!(able, "a policy was accepted that cannot be kept: {policy:?}"),
            Err(SandboxError::Unsupported { sandbox: name, demand }) => {
                assert!(!able && name == sandbox.name() && !demand.is_empty(), "{policy:?}");
                let left = sandbox.leftovers().await.expect("listed");
                assert!(!left.contains(&id), "a refusal makes nothing");
            }
            Err(other) => panic!("{policy:?}: {other}"),
        }
    }
}

async fn leftovers_are_what_is_not_released(sandbox: Arc<impl Sandbox + ?Sized>) {
    assert!(sandbox.leftovers().await.expect("nothing was made yet").is_empty());
    let (one, two) = (agent(), agent());
    for id in [one, two] {
        sandbox.prepare(id, Purpose::Agent, &Policy::default()).await.expect("prepared");
    }
    let mut found = sandbox.leftovers().await.expect("listed");
    found.sort_unstable();
    let mut both = vec![one, two];
    both.sort_unstable();
    assert_eq!(found, both);
    sandbox.release(one).await.expect("released");
    assert_eq!(sandbox.leftovers().await.expect("listed"), [two]);
}

async fn a_stop_leaves_nothing_and_may_be_repeated(sandbox: Arc<impl Sandbox + ?Sized>) {
    let id = agent();
    assert_eq!(sandbox.stop(id).await.expect("nothing to stop").container, None);
    let handle = sandbox.prepare(id, Purpose::Agent, &Policy::default()).await.expect("prepared");
    for _ in 0..2 {
        assert_eq!(sandbox.stop(id).await.expect("stopped").container, None);
    }
    let again = sandbox.prepare(id, Purpose::Agent, &Policy::default()).await.expect("prepared");
    assert_eq!(again, handle, "a stop ends what runs and keeps the place");
}

async fn staged_directories_land_in_the_configuration(sandbox: Arc<impl Sandbox + ?Sized>) {
    let id = agent();
    let config = sandbox.prepare(id, Purpose::Agent, &Policy::default()).await.expect("prepared").config;
    let staged = sandbox.staging(id).await.expect("staged");
    assert!(is_empty(&staged));
    std::fs::write(staged.join("SKILL.md"), "one").expect("written");
    sandbox.place(id, &staged, "skills/review").await.expect("placed");
    assert!(!staged.exists(), "a staged directory is moved");
    let source = tempfile::tempdir().expect("a directory");
    std::fs::write(source.path().join("SKILL.md"), "two").expect("written");
    std::os::unix::fs::symlink("/etc/passwd", source.path().join("link")).expect("linked");
    sandbox.place(id, source.path(), "skills/review").await.expect("placed again");
    let placed = config.join("skills/review");
    assert_eq!(std::fs::read_to_string(placed.join("SKILL.md")).expect("readable"), "two");
    assert!(placed.join("link").symlink_metadata().is_err(), "a copy is without links");
    assert!(source.path().join("SKILL.md").exists(), "what is not staged is copied");
    for outside in ["../x", "/x", "skills/../../x"] {
        assert!(sandbox.place(id, source.path(), outside).await.is_err(), "{outside}");
    }
}
