//! Looks at trees in the middle of a rebase, with this machine's git and with one that knows less.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use mosaic_core::ports::repositories::{Commits, HarvestJob, Intake, Publisher};

use crate::git::world::{World, branch_main};

/// Lets a job use a git that refuses some calls, as an older one does that does not know their options.
fn with_older_git(world: &World, job: &HarvestJob, refused: &str) {
    let program = world.fixture.path().join("older-git");
    let text =
        format!("#!/bin/sh\ncase \" $* \" in {refused}) exit 129;; esac\nexec /usr/bin/env git \"$@\"\n");
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut spec: serde_json::Value = serde_json::from_slice(&fs::read(&job.command[2]).unwrap()).unwrap();
    assert!(spec["git"].is_string(), "{spec}");
    spec["git"] = program.to_str().into();
    fs::write(&job.command[2], spec.to_string()).unwrap();
}

#[tokio::test]
async fn a_snapshot_during_a_rebase_shows_what_is_not_applied_yet_with_an_old_git_too() {
    let world = World::new();
    world.fixture.commit_on("main", &[("deep/er/a.txt", "0\n1\n2\n3\n4\n"), ("gone.txt", "x\n")]);
    let request = world.agent().await;
    for (name, text) in
        [("deep/er/a.txt", "0\nmine\n2\n3\n4\n"), ("two.txt", "2\n"), ("deep/three.txt", "3\n")]
    {
        world.write(&request, name, text);
        world.agent_git(&request, &["add", "-A"]);
        world.agent_git(&request, &["commit", "-qm", name]);
    }
    world.fixture.commit_on("main", &[("deep/er/a.txt", "0\ntheirs\n2\n3\n4\n"), ("theirs.txt", "t\n")]);
    world.git.fetch(&world.url, &branch_main(), &request.branch).await.unwrap();
    world.agent_git(&request, &["fetch", "-q", "origin"]);
    let tree = world.tree(&request);
    assert!(world.fixture.try_run(&tree, &["rebase", "-q", "origin/main"]).is_none(), "it must conflict");
    world.write(&request, "deep/er/a.txt", "0\nresolved\n2\n3\n4\n");
    world.write(&request, "open.txt", "new\n");
    for refused in ["*no-such-call*", "*\" -X \"*|*--merge-base*"] {
        let job = world.git.snapshot(&request).await.unwrap();
        with_older_git(&world, &job, refused);
        world.run_job(&request, &job);
        let live = world.git.receive_snapshot(&request, &job.outbox).await.unwrap().expect("a change");
        let changed = world.git.stat(&world.url, &request.base, &live).await.unwrap();
        let mut names: Vec<_> =
            changed.iter().map(|f| String::from_utf8_lossy(&f.path).into_owned()).collect();
        names.sort();
        assert_eq!(names, ["deep/er/a.txt", "deep/three.txt", "open.txt", "two.txt"], "{refused}");
        let text = world.git.read_file(&world.url, &live, "deep/er/a.txt", 100).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&text), "0\nresolved\n2\n3\n4\n", "{refused}");
    }
    // Where it cannot be told, no part is shown as if it were all.
    let job = world.git.snapshot(&request).await.unwrap();
    with_older_git(&world, &job, "*merge-tree*");
    world.run_job(&request, &job);
    let failed = world.git.receive_snapshot(&request, &job.outbox).await.unwrap_err();
    assert!(failed.message.contains("a rebase is under way"), "{failed:?}");
}
