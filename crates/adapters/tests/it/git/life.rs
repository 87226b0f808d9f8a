//! The life of an agent's work through the git adapter, with real git and a real remote.

use std::fs;

use crate::git::world::{World, branch, branch_main};
use mosaic_core::domain::ids::CommitId;
use mosaic_core::domain::outcome::FailureKind;
use mosaic_core::ports::fleet::Hold;
use mosaic_core::ports::repositories::{Commits, DiffForm, FileStat, Fit, Kept, Publisher, Pushed, Trees};

fn paths(files: &[FileStat]) -> Vec<&str> {
    files.iter().map(|file| std::str::from_utf8(&file.path).expect("a name of ours")).collect()
}

#[tokio::test]
async fn a_change_goes_from_tree_to_pushed_branch() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "src/new.txt", "hello\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "first"]);
    world.write(&request, "src/lib.txt", "one\ntwo\nthree\nfour\n");
    world.write(&request, "ignored/x", "not this");
    let head = world.keep_commits(&request).await;

    let log = world.store_git(&[
        "log",
        "--format=%s|%an|%ae|%(trailers:key=Mosaic-Task,valueonly)|%(trailers:key=Mosaic-Agent,valueonly)",
        &format!("{}..{head}", request.base),
    ]);
    assert_eq!(log.matches("US-1 'quoted' \"x\"").count(), 2, "{log}");
    assert_eq!(log.matches(&request.agent.to_string()).count(), 2, "{log}");
    assert!(
        log.contains("first|Mosaic Agent|agent@mosaic.invalid")
            && log.contains("Mosaic: work left uncommitted"),
        "{log}"
    );

    let git = &world.git;
    let stat = git.stat(&world.url, &request.base, &head).await.unwrap();
    assert_eq!(paths(&stat), ["src/lib.txt", "src/new.txt"]);
    assert_eq!((stat[0].added, stat[0].deleted), (Some(1), Some(0)));
    let (diff, cut) = git.diff(&world.url, &request.base, &head, DiffForm::Readable, 100_000).await.unwrap();
    assert!(String::from_utf8_lossy(&diff).contains("+four") && !cut);
    let (short, cut) = git.diff(&world.url, &request.base, &head, DiffForm::Readable, 10).await.unwrap();
    assert_eq!((short.len(), cut), (10, true));

    let added = world.additions(&request.base, &head).await;
    assert!(
        added.iter().any(|a| a.path.as_deref() == Some("src/lib.txt") && a.line == 4 && a.text == "four"),
        "{added:?}"
    );
    assert!(added.iter().any(|a| a.path.is_none() && a.text.contains("first")), "{added:?}");

    assert_eq!(git.fit(&world.url, &branch_main(), &head).await.unwrap(), Fit::Clean(request.base.clone()));
    let judged = world.judging(&request, &head, "gates-1").await.unwrap().path;
    assert_eq!(fs::read_to_string(judged.join("src/new.txt")).unwrap(), "hello\n");
    assert!(judged.join(".git").is_dir());
    assert_eq!(
        git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap(),
        Pushed::Done
    );
    assert_eq!(
        git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap(),
        Pushed::Done,
        "the same again is done"
    );
    assert_eq!(world.fixture.tip(request.branch.as_str()).as_deref(), Some(head.as_str()));
    assert_eq!(
        world.fixture.read_branch_file(request.branch.as_str(), "src/new.txt").as_deref(),
        Some("hello\n")
    );
    let seen = git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    assert_eq!(seen.tip.as_ref(), Some(&head));

    git.remove(request.agent).await.unwrap();
    git.remove(request.agent).await.unwrap();
    git.idle().await;
    assert!(!world.tree(&request).exists() && !judged.exists());
    assert_eq!(fs::read_dir(world.data().join("trash")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(world.data().join("git/credentials")).unwrap().count(), 0);
}

#[tokio::test]
async fn nothing_changed_is_said() {
    let world = World::new();
    let request = world.agent().await;
    assert_eq!(world.keep(&request).await.unwrap(), Kept::Nothing);
    world.agent_git(&request, &["commit", "-q", "--allow-empty", "-m", "empty"]);
    assert_eq!(world.keep(&request).await.unwrap(), Kept::Nothing, "an empty commit changes nothing");
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::new();
    let own = branch("mosaic/x/1");
    let failure = world.git.fetch(&world.url, &branch("no-such"), &own).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::MissingBranch);
    assert!(failure.message.contains("no-such"), "{}", failure.message);
    let elsewhere = format!("{}/nothing-here", world.fixture.path().display()).parse().unwrap();
    let failure = world.git.fetch(&elsewhere, &branch_main(), &own).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::MissingRepository, "{}", failure.message);
}

#[tokio::test]
async fn a_whole_tree_is_kept_and_a_broken_one_made_anew() {
    let world = World::new();
    let mut request = world.agent().await;
    world.write(&request, "mine.txt", "x");
    world.write(&request, ".git/index.lock", "");
    request.reuse = true;
    assert!(world.git.make_tree(&request).await.unwrap().reused);
    assert!(world.tree(&request).join("mine.txt").exists());
    assert!(!world.tree(&request).join(".git/index.lock").exists());
    let head = world.keep_commits(&request).await;
    fs::remove_file(world.data().join("agents").join(request.agent.to_string()).join("tree.json")).unwrap();
    request.start = head;
    assert!(!world.git.make_tree(&request).await.unwrap().reused);
    assert_eq!(
        fs::read_to_string(world.tree(&request).join("mine.txt")).unwrap(),
        "x",
        "from the last kept commit"
    );
    assert_eq!(world.agent_git(&request, &["status", "--porcelain"]), "");
}

#[tokio::test]
async fn a_conflict_names_the_files_and_the_new_base_is_fetchable() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "src/lib.txt", "mine\n");
    let head = world.keep_commits(&request).await;
    let newest: CommitId = world.fixture.commit_on("main", &[("src/lib.txt", "theirs\n")]).parse().unwrap();
    let fit = world.git.fit(&world.url, &branch_main(), &head).await.unwrap();
    assert_eq!(fit, Fit::Conflict { base: newest.clone(), files: vec!["src/lib.txt".to_owned()] });
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    assert_eq!(world.agent_git(&request, &["rev-parse", "origin/main"]), newest.as_str());
    world.agent_git(&request, &["merge", "-q", "-s", "ours", "--no-edit", "origin/main"]);
    let merged = world.keep_commits(&request).await;
    assert_eq!(world.git.fit(&world.url, &branch_main(), &merged).await.unwrap(), Fit::Clean(newest));
}

#[tokio::test]
async fn a_merge_without_conflict_is_clean_and_its_resolution_is_seen() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "other.txt", "mine\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "mine"]);
    let head = world.keep_commits(&request).await;
    let newest: CommitId =
        world.fixture.commit_on("main", &[("upstream.txt", "upstream-line\n")]).parse().unwrap();
    assert_eq!(world.git.fit(&world.url, &branch_main(), &head).await.unwrap(), Fit::Clean(newest));
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    world.agent_git(&request, &["merge", "-q", "--no-commit", "--no-ff", "origin/main"]);
    world.write(&request, "other.txt", "mine\nplanted in the merge\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "merged"]);
    let merged = world.keep_commits(&request).await;
    let added = world.additions(&request.base, &merged).await;
    assert!(added.iter().any(|a| a.text.contains("planted in the merge")), "{added:?}");
    assert!(added.iter().any(|a| a.text == "mine"), "what the agent did before counts: {added:?}");
    assert!(
        !added.iter().any(|a| a.text.contains("upstream-line")),
        "what it merged is not its own: {added:?}"
    );
    let stat = world.git.stat(&world.url, &request.base, &merged).await.unwrap();
    assert_eq!(paths(&stat), ["other.txt"]);
    let (diff, _) =
        world.git.diff(&world.url, &request.base, &merged, DiffForm::Readable, 100_000).await.unwrap();
    assert!(!String::from_utf8(diff).unwrap().contains("upstream-line"));
    let before = world.git.stat(&world.url, &request.base, &head).await.unwrap();
    assert_eq!(paths(&before), ["other.txt"]);
}

#[tokio::test]
async fn a_remote_that_moved_is_not_overwritten() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let other: CommitId =
        world.fixture.commit_on(request.branch.as_str(), &[("b.txt", "b\n")]).parse().unwrap();
    let pushed = world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap();
    assert_eq!(pushed, Pushed::Moved(Some(other.clone())));
    assert_eq!(world.fixture.tip(request.branch.as_str()).as_deref(), Some(other.as_str()));
    let wrong = request.base.clone();
    let pushed =
        world.git.push(&world.url, &head, &request.branch, Some(&wrong), &Hold::forever()).await.unwrap();
    assert_eq!(pushed, Pushed::Moved(Some(other.clone())));
    assert_eq!(
        world.git.push(&world.url, &head, &request.branch, Some(&other), &Hold::forever()).await.unwrap(),
        Pushed::Done
    );
}

#[tokio::test]
async fn a_hook_that_declines_is_a_refusal_in_its_words() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let hook = world.fixture.remote().join("hooks/pre-receive");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, "#!/bin/sh\nprintf 'no \\033[31mbots here\\n' >&2\nexit 1\n").unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    match world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap() {
        Pushed::Refused(words) => {
            assert!(words.contains("bots here") && !words.contains('\u{1b}'), "{words}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_local_repository_that_hides_refs_refuses_a_push_to_them() {
    let world = World::new();
    let remote = world.fixture.remote();
    let request = world.agent().await;
    world.write(&request, "a.txt", "a\n");
    let head = world.keep_commits(&request).await;
    let settings = remote.join("config");
    let before = fs::read_to_string(&settings).unwrap();
    fs::write(&settings, format!("{before}[receive]\n\thideRefs = refs/heads/mosaic\n")).unwrap();
    let push = || async {
        world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap()
    };
    let refused = push().await;
    assert!(matches!(&refused, Pushed::Refused(words) if words.contains("hidden")), "{refused:?}");
    fs::write(&settings, before).unwrap();
    assert_eq!(push().await, Pushed::Done);
    assert_eq!(world.fixture.tip(request.branch.as_str()).as_deref(), Some(head.as_str()));
}

#[tokio::test]
async fn a_head_elsewhere_counts_when_it_descends_and_is_kept_when_not() {
    let world = World::new();
    let request = world.agent().await;
    world.agent_git(&request, &["checkout", "-q", "--detach"]);
    world.write(&request, "detached.txt", "x\n");
    let head = world.keep_commits(&request).await;
    assert!(world.git.read_file(&world.url, &head, "detached.txt", 100).await.unwrap().is_some());

    let request = world.agent().await;
    world.write(&request, "good.txt", "x\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "good"]);
    world.agent_git(&request, &["checkout", "-q", "--orphan", "unrelated"]);
    world.write(&request, "orphan.txt", "x\n");
    match world.keep(&request).await.unwrap() {
        Kept::Diverged { branches } => {
            assert_eq!(branches, [request.branch.to_string(), "unrelated".to_owned()])
        }
        other => panic!("{other:?}"),
    }
    let kept = format!("refs/agents/{}/branches/unrelated:orphan.txt", request.agent);
    assert_eq!(world.store_git(&["cat-file", "blob", &kept]), "x");
}

#[tokio::test]
async fn work_under_way_and_stale_locks_do_not_lose_work() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, "src/lib.txt", "mine\n");
    world.agent_git(&request, &["commit", "-qam", "mine"]);
    world.fixture.commit_on("main", &[("src/lib.txt", "theirs\n")]);
    world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    let tree = world.tree(&request);
    assert!(
        world.fixture.try_run(&tree, &["rebase", "-q", "origin/main"]).is_none(),
        "the rebase stops at a conflict"
    );
    world.write(&request, ".git/index.lock", "");
    world.write(&request, ".git/refs/heads/x.lock", "");
    let head = world.keep_commits(&request).await;
    let text = world.git.read_file(&world.url, &head, "src/lib.txt", 100).await.unwrap().unwrap();
    assert_eq!(text, b"mine\n");
}

#[tokio::test]
async fn an_unusable_git_directory_is_no_loss() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let world = World::new();
    world.fixture.commit_on("main", &[("run.sh", "#!/bin/sh\n")]);
    for (round, ruin) in ["missing", "link", "file", "no objects", "corrupt head"].into_iter().enumerate() {
        let request = world.agent().await;
        let tree = world.tree(&request);
        let name = format!("odd \"{round}\"\n\u{e9}.txt");
        world.write(&request, &name, "kept\n");
        world.write(&request, "ignored/x", "not this");
        world.write(&request, "nested/.git/config", "[core]\n");
        world.write(&request, "nested/file", "y");
        fs::set_permissions(tree.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::remove_file(tree.join("README.md")).unwrap();
        symlink("/etc/passwd", tree.join("leak")).unwrap();
        let dot = tree.join(".git");
        if round < 3 {
            fs::rename(&dot, world.fixture.path().join(format!("gone-{round}"))).unwrap();
        }
        match ruin {
            "link" => symlink(world.fixture.remote(), &dot).unwrap(),
            "file" => fs::write(&dot, format!("gitdir: {}\n", world.fixture.remote().display())).unwrap(),
            "no objects" => fs::remove_dir_all(dot.join("objects")).unwrap(),
            "corrupt head" => fs::write(dot.join("HEAD"), "\0\0garbage").unwrap(),
            _ => {}
        }
        let head = world.keep_commits(&request).await;
        let files = world.git.list_files(&world.url, &head, "").await.unwrap();
        assert!(files.contains(&name) && files.contains(&"nested/file".to_owned()), "{ruin}: {files:?}");
        for absent in ["README.md", "leak", "ignored/x", "nested/.git/config"] {
            assert!(!files.contains(&absent.to_owned()), "{ruin}: {absent} in {files:?}");
        }
        let judged = world.judging(&request, &head, "x").await.unwrap().path;
        assert_eq!(fs::metadata(judged.join("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);
        let log = world.store_git(&["log", "-1", "--format=%B", head.as_str()]);
        assert!(log.contains("Mosaic-Agent: ") && log.contains("Mosaic-Task: "), "{log}");
    }
}

#[tokio::test]
async fn files_are_read_listed_and_exported() {
    let world = World::new();
    world.fixture.run(&world.fixture.path().join("work"), &["config", "core.symlinks", "true"]);
    std::os::unix::fs::symlink("/etc/passwd", world.fixture.path().join("work/skill-link")).unwrap();
    world.fixture.commit_on(
        "main",
        &[("skills/a/SKILL.md", "# a\n"), ("skills/a/sub/run", "x"), ("skillset/b", "no")],
    );
    let request = world.agent().await;
    let (git, url, base) = (&world.git, &world.url, &request.base);
    assert_eq!(
        git.read_file(url, base, "skills/a/SKILL.md", 100).await.unwrap().as_deref(),
        Some(b"# a\n".as_slice())
    );
    assert_eq!(
        git.read_file(url, base, "skills/a/SKILL.md", 2).await.unwrap().as_deref(),
        Some(b"# ".as_slice())
    );
    for missing in ["nope", "skills", "../x", "/etc/passwd", "a\nb", "--batch"] {
        assert_eq!(git.read_file(url, base, missing, 100).await.unwrap(), None, "{missing:?}");
    }
    assert_eq!(git.list_files(url, base, "skills").await.unwrap(), ["skills/a/SKILL.md", "skills/a/sub/run"]);
    assert!(git.list_files(url, base, "").await.unwrap().contains(&"skill-link".to_owned()));
    let into = world.fixture.path().join("out");
    git.export(url, base, "skills/a", &into).await.unwrap();
    assert_eq!(fs::read_to_string(into.join("sub/run")).unwrap(), "x");
    let all = world.fixture.path().join("all");
    git.export(url, base, "", &all).await.unwrap();
    assert!(all.join("README.md").exists() && fs::symlink_metadata(all.join("skill-link")).is_err());
}

#[tokio::test]
async fn many_at_once_share_the_store() {
    let world = std::sync::Arc::new(World::new());
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move {
                let request = world.agent().await;
                world.write(&request, &format!("f{i}.txt"), "x\n");
                let head = world.keep_commits(&request).await;
                world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap().unwrap(), Pushed::Done);
    }
    assert_eq!(world.fixture.branches().len(), 9);
}

#[tokio::test]
async fn additions_hide_neither_binary_files_nor_merges_of_many() {
    let world = World::new();
    let request = world.agent().await;
    world.write(&request, ".gitattributes", "*.dat -diff binary\n");
    world.write(&request, "x.dat", "\0\0binary-line\nsecond\n");
    world.write(&request, "a \"b\"\t\u{e9}.txt", "odd-path-line\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "binary"]);
    for side in ["one", "two"] {
        world.agent_git(&request, &["checkout", "-q", "-b", side, request.base.as_str()]);
        world.write(&request, side, "side\n");
        world.agent_git(&request, &["add", "-A"]);
        world.agent_git(&request, &["commit", "-qm", side]);
    }
    world.agent_git(&request, &["checkout", "-q", request.branch.as_str()]);
    world.agent_git(&request, &["merge", "-q", "--no-commit", "one", "two"]);
    world.write(&request, "evil.txt", "octopus-line\n");
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["commit", "-qm", "octopus"]);
    let head = world.keep_commits(&request).await;
    let added = world.additions(&request.base, &head).await;
    let has = |path: &str, text: &str| {
        added.iter().any(|a| a.path.as_deref() == Some(path) && a.text.contains(text))
    };
    assert!(has("x.dat", "binary-line"), "{added:?}");
    assert!(has("a \"b\"\t\u{e9}.txt", "odd-path-line"), "{added:?}");
    assert!(has("evil.txt", "octopus-line"), "{added:?}");
}

#[tokio::test]
async fn a_listener_that_goes_away_ends_the_reading() {
    let world = World::new();
    let request = world.agent().await;
    for i in 0..150 {
        world.write(&request, &format!("many/{i}.txt"), &format!("line {i}\n").repeat(2000));
    }
    let head = world.keep_commits(&request).await;
    let packs = fs::read_dir(world.store().join("objects/pack")).unwrap().count();
    assert!(packs > 0, "a large bundle is kept as a pack");
    let (into, from) = tokio::sync::mpsc::channel(1);
    drop(from);
    world.git.additions(&world.url, &request.base, &head, into).await.unwrap();
}

#[tokio::test]
async fn a_repository_with_sha_256_works_too() {
    let mut world = World::new();
    let at = world.fixture.path().to_owned();
    world
        .fixture
        .run(&at, &["init", "-q", "--bare", "--initial-branch=main", "--object-format=sha256", "r256.git"]);
    world.fixture.run(&at, &["init", "-q", "--initial-branch=main", "--object-format=sha256", "w256"]);
    fs::write(at.join("w256/a.txt"), "a\n").unwrap();
    world.fixture.run(&at.join("w256"), &["add", "-A"]);
    world.fixture.run(&at.join("w256"), &["commit", "-qm", "a"]);
    world.fixture.run(&at.join("w256"), &["push", "-q", "../r256.git", "main"]);
    world.url = at.join("r256.git").display().to_string().parse().unwrap();
    let request = world.agent().await;
    world.write(&request, "b.txt", "b\n");
    let head = world.keep_commits(&request).await;
    assert_eq!(head.as_str().len(), 64);
    assert!(world.additions(&request.base, &head).await.iter().any(|a| a.text == "b"));
    assert_eq!(
        world.git.push(&world.url, &head, &request.branch, None, &Hold::forever()).await.unwrap(),
        Pushed::Done
    );
}

#[tokio::test]
async fn a_branch_replaced_by_a_directory_of_branches_is_fetched() {
    let world = World::new();
    let own = branch("mosaic/x/1");
    world.fixture.commit_on("topic", &[("t", "1")]);
    world.git.fetch(&world.url, &branch("topic"), &own).await.unwrap();
    world.fixture.run(&world.fixture.remote(), &["branch", "-q", "-D", "topic"]);
    world.fixture.run(&world.fixture.path().join("work"), &["checkout", "-q", "main"]);
    world.fixture.run(&world.fixture.path().join("work"), &["branch", "-q", "-D", "topic"]);
    world.fixture.run(&world.fixture.path().join("work"), &["fetch", "-q", "--prune"]);
    let below = world.fixture.commit_on("topic/below", &[("t", "2")]);
    let seen = world.git.fetch(&world.url, &branch("topic/below"), &own).await.unwrap();
    assert_eq!(seen.base.as_str(), below);
}

#[tokio::test]
async fn a_shallow_clone_is_refused_by_that_word() {
    let mut world = World::new();
    world.fixture.commit_on("main", &[("second.txt", "x\n")]);
    let at = world.fixture.path().to_owned();
    let from = format!("file://{}", world.fixture.url());
    world.fixture.run(&at, &["clone", "-q", "--depth", "1", &from, "shallow"]);
    world.url = at.join("shallow").to_str().unwrap().parse().unwrap();
    let main = crate::git::world::branch_main();
    let refused =
        world.git.fetch(&world.url, &main, &crate::git::world::branch("mosaic/x")).await.unwrap_err();
    assert!(refused.message.contains("--unshallow"), "{}", refused.message);
    world.fixture.run(&at.join("shallow"), &["fetch", "-q", "--unshallow"]);
    world.git.fetch(&world.url, &main, &crate::git::world::branch("mosaic/x")).await.unwrap();
}
