//! Attacks that an agent can plant: none of them runs in the server or leaves its place. Every vector is first shown
//! to work against plain git where it can, so that a silent canary means something.

mod vectors;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use self::vectors::{Canary, VECTORS, plant};
use crate::git::world::{World, branch, branch_main};
use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{Commits, DiffForm, Intake, Kept, Publisher, TreeRequest, Trees};

/// Plain git in the tree, as a careless server would run it. None of its failures matter, only the canary.
fn careless(world: &World, request: &TreeRequest) {
    for args in [
        &["status"][..],
        &["diff"],
        &["log", "-p", "-1"],
        &["fetch", "origin"],
        &["push", "origin", "HEAD:refs/heads/careless"],
        &["submodule", "update", "--init"],
        &["add", "-A"],
        &["commit", "-m", "x"],
        &["show"],
        &["status"],
        &["merge", "--no-edit", "other"],
        &["commit", "--amend"],
        &["st"],
        &["credential", "fill"],
        &["clone", "--no-local", ".", "../careless-clone"],
    ] {
        let mut child = Command::new("git")
            .args(args)
            .current_dir(world.tree(request))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", world.fixture.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("git starts");
        // Only one of them asks for something, and it is a credential.
        let _ = child.stdin.take().expect("piped").write_all(b"protocol=https\nhost=host.invalid\n\n");
        let _ = child.wait();
    }
}

/// Everything the server does with an agent's work, in order.
async fn everything(world: &World, request: &TreeRequest, canary: &Canary, vector: &str) {
    let git = &world.git;
    let again = TreeRequest { reuse: true, ..request.clone() };
    git.make_tree(&again).await.expect("the tree is kept or made anew");
    plant(world, request, canary, vector);
    canary.fired(); // by the agent's own git, while it was planted
    for job in [git.salvage(request).await, git.snapshot(request).await] {
        world.run_job(request, &job.expect("prepared"));
        assert!(!canary.fired(), "{vector} ran while the tree was kept");
    }
    let outbox = world.run_harvest(request).await;
    assert!(!canary.fired(), "{vector} ran in the harvest");
    let Kept::Commits { head } = git.receive(request, &outbox).await.expect("received").kept else {
        panic!("{vector}: no commits")
    };
    assert!(!world.additions(&request.base, &head).await.is_empty());
    git.stat(&world.url, &request.base, &head).await.expect("stat");
    git.diff(&world.url, &request.base, &head, DiffForm::Readable, 1 << 20).await.expect("diff");
    git.list_files(&world.url, &head, "").await.expect("listing");
    git.export(&world.url, &head, "", &world.fixture.path().join("export")).await.expect("export");
    world.fixture.commit_on("main", &[("src/lib.txt", "upstream\ntwo\nthree\n")]);
    git.fit(&world.url, &branch_main(), &head).await.expect("fit");
    world.judging(request, &head, "x").await.expect("checkout");
    git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.expect("push");
    let fresh = TreeRequest { start: head, reuse: false, ..request.clone() };
    git.make_tree(&fresh).await.expect("made anew from the kept commit");
    git.remove(request.agent).await.expect("removed");
    git.idle().await;
}

#[tokio::test]
async fn nothing_planted_runs_outside_the_confinement() {
    let mut fired_plainly = Vec::new();
    for vector in VECTORS {
        let world = World::new();
        let canary = Canary::new(world.fixture.path());

        // The control: the same setting against plain git, in a tree of another agent.
        let control = world.agent().await;
        world.agent_git(&control, &["checkout", "-q", "-b", "other"]);
        world.write(&control, "src/lib.txt", "one\ntwo\nOTHER\n");
        world.agent_git(&control, &["commit", "-qam", "other"]);
        world.agent_git(&control, &["checkout", "-q", control.branch.as_str()]);
        world.write(&control, "src/lib.txt", "one\ntwo\nCONTROL\n");
        plant(&world, &control, &canary, vector);
        careless(&world, &control);
        if canary.fired() {
            fired_plainly.push(*vector);
        }
        let _ = fs::remove_dir_all(world.fixture.path().join("evil.git"));
        let _ = fs::remove_file(world.fixture.path().join(".gitconfig"));

        let request = world.agent().await;
        world.write(&request, "src/lib.txt", "one\ntwo\nCHANGED\n");
        everything(&world, &request, &canary, vector).await;
        assert!(!canary.fired(), "{vector} ran in the server");
    }
    assert!(fired_plainly.len() >= 29, "the control fired only for {fired_plainly:?}");
}

#[tokio::test]
async fn a_foreign_repository_named_by_alternates_is_not_copied() {
    let world = World::new();
    let foreign = world.fixture.path().join("foreign");
    world.fixture.run(world.fixture.path(), &["init", "-q", "foreign"]);
    fs::write(foreign.join("private.txt"), "foreign secret\n").unwrap();
    world.fixture.run(&foreign, &["add", "-A"]);
    world.fixture.run(&foreign, &["commit", "-qm", "private"]);
    let secret = world.fixture.run(&foreign, &["rev-parse", "HEAD:private.txt"]);
    let request = world.agent().await;
    let alternates = world.tree(&request).join(".git/objects/info/alternates");
    let text = fs::read_to_string(&alternates).unwrap() + &format!("{}/.git/objects\n", foreign.display());
    fs::write(&alternates, text).unwrap();
    symlink(foreign.join(".git/refs/heads"), world.tree(&request).join(".git/refs/heads/stolen")).unwrap();
    world.write(&request, "mine.txt", "x\n");
    world.keep_commits(&request).await;
    // Also not when the branches are kept because HEAD does not descend from the base.
    world.agent_git(&request, &["checkout", "-q", "--orphan", "unrelated"]);
    assert!(matches!(world.keep(&request).await, Ok(Kept::Diverged { .. })));
    assert!(
        world.fixture.try_run(&world.store(), &["cat-file", "-e", &secret]).is_none(),
        "a foreign object was copied"
    );
    world.store_git(&["fsck", "--connectivity-only"]);
}

#[tokio::test]
async fn an_outbox_is_taken_as_hostile() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "mine.txt", "x\n");
    let outbox = world.run_harvest(&request).await;
    let bundle = outbox.join("bundle");
    let whole = fs::read(&bundle).unwrap();

    fs::remove_file(&bundle).unwrap();
    assert!(
        world.git.receive(&request, &outbox).await.is_err(),
        "a bundle that is said to exist but does not"
    );
    symlink("/etc/hostname", &bundle).unwrap();
    assert!(world.git.receive(&request, &outbox).await.is_err(), "a link");
    fs::remove_file(&bundle).unwrap();
    fs::create_dir(&bundle).unwrap();
    assert!(world.git.receive(&request, &outbox).await.is_err(), "a directory");
    fs::remove_dir(&bundle).unwrap();
    assert!(Command::new("mkfifo").arg(&bundle).status().unwrap().success());
    assert!(world.git.receive(&request, &outbox).await.is_err(), "a pipe, which must not be waited for");
    fs::remove_file(&bundle).unwrap();
    for cut in [0, 10, whole.len() / 2, whole.len() - 1] {
        fs::write(&bundle, &whole[..cut]).unwrap();
        let failure = world.git.receive(&request, &outbox).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::BadInput, "cut at {cut}: {}", failure.message);
    }
    // A header that names a commit that is not in the pack.
    let text = String::from_utf8_lossy(&whole).into_owned();
    let head = text.lines().find_map(|l| l.strip_suffix(" HEAD")).unwrap().to_owned();
    let at = whole.windows(head.len()).position(|w| w == head.as_bytes()).unwrap();
    let mut forged = whole.clone();
    forged[at..at + head.len()].copy_from_slice("d".repeat(head.len()).as_bytes());
    fs::write(&bundle, &forged).unwrap();
    assert!(world.git.receive(&request, &outbox).await.is_err(), "a forged head");
    assert!(
        !world.store().join(format!("refs/agents/{}/head", request.agent)).exists(),
        "nothing refused has a ref"
    );
    fs::write(&bundle, &whole).unwrap();
    let received = world.git.receive(&request, &outbox).await.unwrap();
    assert!(matches!(received.kept, Kept::Commits { .. }));
}

#[tokio::test]
async fn objects_that_fsck_refuses_are_refused() {
    let world = World::new();
    let request = world.agent().await;
    let tree = world.tree(&request);
    // A tree with an entry named ".git", which no porcelain would make.
    let blob = world.agent_git(&request, &["hash-object", "-w", "README.md"]);
    let mut raw = b"100644 .git\0".to_vec();
    raw.extend((0..blob.len()).step_by(2).map(|i| u8::from_str_radix(&blob[i..i + 2], 16).unwrap()));
    fs::write(tree.join("raw"), &raw).unwrap();
    let bad = world.agent_git(&request, &["hash-object", "-w", "-t", "tree", "--literally", "raw"]);
    fs::remove_file(tree.join("raw")).unwrap();
    let commit = world.fixture.run(&tree, &["commit-tree", &bad, "-p", request.base.as_str(), "-m", "bad"]);
    world.agent_git(&request, &["update-ref", "HEAD", &commit]);
    world.write(&request, ".git/info/exclude", "*\n");
    let outbox = world.data().join("handmade");
    fs::create_dir(&outbox).unwrap();
    let not_base = format!("^{}", request.base);
    world.agent_git(
        &request,
        &["bundle", "create", "-q", outbox.join("bundle").to_str().unwrap(), &not_base, "HEAD"],
    );
    let failure = world.git.receive(&request, &outbox).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadInput, "{}", failure.message);
}

#[tokio::test]
async fn strings_that_look_like_options_stay_strings() {
    let world = World::new();
    let canary = Canary::new(world.fixture.path());
    let c = canary.text();
    let own = branch("mosaic/x/1");
    let urls = [
        format!("--upload-pack={c}"),
        format!("ext::{c}"),
        format!("ssh://-oProxyCommand={c}/x"),
        format!("-oProxyCommand={c}:x"),
        format!("file://--upload-pack={c}"),
        format!("/--upload-pack={c}"),
        format!("git@host.invalid:--upload-pack={c}"),
        format!("/tmp/$({c})"),
        format!("/tmp/`{c}`"),
        format!("/tmp/;{c}"),
        format!("fd::0/{c}"),
        format!("https://host.invalid/$({c})"),
    ];
    for url in &urls {
        if let Ok(url) = url.parse() {
            assert!(world.git.fetch(&url, &branch_main(), &own).await.is_err(), "{url}");
        }
    }
    let names = [
        "-x",
        "--upload-pack=x",
        "main;x",
        "$(x)",
        "`x`",
        "main --x",
        "+main",
        "!x",
        "a'b",
        "a\"b",
        "=",
        "ü",
    ];
    for name in names.into_iter().chain([format!("$({c})"), format!(";{c}")].iter().map(String::as_str)) {
        if let Ok(name) = name.parse() {
            let failure = world.git.fetch(&world.url, &name, &own).await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::MissingBranch, "{name}: {}", failure.message);
        }
    }
    let request = world.agent().await;
    for label in ["", "../x", "a/b", "-", "a b", "a\0b"] {
        let made = world.judging(&request, &request.base, label).await;
        assert_eq!(made.is_ok(), label == "-", "{label:?}");
    }
    assert!(!canary.fired());
}

#[tokio::test]
async fn removal_follows_no_link_and_manages_what_tools_leave_behind() {
    let world = World::new();
    let outside = world.fixture.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("canary"), "alive").unwrap();
    let request = world.agent().await;
    let tree = world.tree(&request);
    symlink(&outside, tree.join("link")).unwrap();
    symlink(outside.join("canary"), tree.join("file-link")).unwrap();
    fs::hard_link(outside.join("canary"), tree.join("hard-link")).unwrap();
    fs::create_dir_all(tree.join("read-only/inner")).unwrap();
    fs::set_permissions(tree.join("read-only"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut deep = tree.clone();
    for _ in 0..300 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    let home = world.data().join("agents").join(request.agent.to_string()).join("home");
    fs::create_dir(&home).unwrap();
    world.git.remove(request.agent).await.unwrap();
    assert!(!tree.exists(), "renamed at once");
    world.git.idle().await;
    assert_eq!(fs::read_dir(world.data().join("trash")).unwrap().count(), 0, "all is deleted");
    assert_eq!(fs::read_to_string(outside.join("canary")).unwrap(), "alive");
    assert!(home.exists(), "what others own stays");

    // The agent's directory itself swapped for a link.
    let request = world.agent().await;
    let dir = world.data().join("agents").join(request.agent.to_string());
    fs::rename(&dir, world.fixture.path().join("aside")).unwrap();
    fs::create_dir(outside.join("tree")).unwrap();
    symlink(&outside, &dir).unwrap();
    assert!(world.git.remove(request.agent).await.is_err());
    world.git.idle().await;
    assert!(outside.join("tree").exists());

    // What an earlier server left is taken up.
    fs::create_dir_all(world.data().join("trash/left/over")).unwrap();
    world.git.empty_trash().unwrap();
    world.git.idle().await;
    assert!(!world.data().join("trash/left").exists());
}

#[tokio::test]
async fn a_remote_that_says_nothing_ends_at_the_deadline_and_leaves_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (ssh, pids) = (dir.path().join("fake-ssh"), dir.path().join("pids"));
    fs::write(&ssh, format!("#!/bin/sh\nsleep 600 &\necho $$ $! >> '{}'\nwait\n", pids.display())).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut options = GitOptions::new(dir.path().join("data"), "/nonexistent");
    options.ssh_program = ssh.display().to_string();
    options.network_deadline = Duration::from_secs(2);
    let git = GitRepositories::new(options).unwrap();
    let began = Instant::now();
    let failure =
        git.fetch(&"git@host.invalid:x/y".parse().unwrap(), &branch_main(), &branch("o")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Network, "{}", failure.message);
    assert!(began.elapsed() < Duration::from_secs(60), "long after the deadline");
    let text = fs::read_to_string(&pids).unwrap();
    let all: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(all.len(), 2);
    let until = Instant::now() + Duration::from_secs(20);
    while all.iter().any(|pid| is_alive(pid)) {
        assert!(Instant::now() < until, "children of git survived");
        tokio::task::yield_now().await;
    }
}

/// Tells whether a process runs; a zombie that waits for its new parent does not.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[tokio::test]
async fn local_repositories_need_permission() {
    let world = World::new();
    let mut options = GitOptions::new(world.fixture.path().join("other"), "/nonexistent");
    options.allowed_local_paths = vec![world.fixture.path().join("work")];
    let git = GitRepositories::new(options).unwrap();
    let ok = |url: String| git.allowed(&url.parse().unwrap()).is_ok();
    assert!(ok(format!("{}/work", world.fixture.path().display())));
    assert!(ok(format!("file://{}/work/.git", world.fixture.path().display())));
    assert!(!ok(world.fixture.url()));
    assert!(!ok("http://127.0.0.1:1/x".to_owned()));
    assert!(ok("https://host.invalid/x".to_owned()));
    let failure = git.fetch(&world.url, &branch_main(), &branch("o")).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadInput);
    git.remove(AgentId(uuid::Uuid::new_v4())).await.unwrap();
}
