//! Repositories whose history git's own checks complain about: old importers wrote such objects, and everybody works with them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::git::world::World;
use mosaic_core::ports::repositories::{Kept, Publisher, TreeRequest};

/// Writes an object into the remote as it is.
fn object(world: &World, kind: &str, content: &[u8]) -> String {
    let mut child = Command::new("git")
        .args(["hash-object", "-t", kind, "-w", "--literally", "--stdin"])
        .current_dir(world.fixture.remote())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("git starts");
    child.stdin.take().expect("piped").write_all(content).expect("written");
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success());
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn entry(mode: &str, name: &str, object: &str) -> Vec<u8> {
    let raw =
        (0..object.len()).step_by(2).map(|at| u8::from_str_radix(&object[at..at + 2], 16).expect("hex"));
    format!("{mode} {name}\0").into_bytes().into_iter().chain(raw).collect()
}

/// Makes a commit main of the remote.
fn become_main(world: &World, commit: &str) {
    world.fixture.run(&world.fixture.remote(), &["update-ref", "refs/heads/main", commit]);
}

const WELL: &str = "author A <a@example.com> 1 +0000\ncommitter A <a@example.com> 1 +0000\n\nold\n";

/// Makes a commit of a base in the remote.
type Base = fn(&World) -> String;

fn tree(world: &World, root: &[Vec<u8>]) -> String {
    let tree = object(world, "tree", &root.concat());
    object(world, "commit", format!("tree {tree}\n{WELL}").as_bytes())
}

fn blob(world: &World, text: &str) -> String {
    object(world, "blob", text.as_bytes())
}

fn sub(world: &World) -> String {
    let f = blob(world, "x\n");
    object(world, "tree", &entry("100644", "f", &f))
}

fn with(world: &World, name: &str, text: &str) -> String {
    let (f, sub) = (blob(world, text), sub(world));
    tree(world, &[entry("100644", name, &f), entry("40000", "sub", &sub)])
}

/// Bases of which a commit or a tree is one that git's checks complain about.
fn odd_objects() -> Vec<(&'static str, Base)> {
    vec![
        ("zeroPaddedFilemode", |w| {
            let (f, sub) = (blob(w, "x\n"), sub(w));
            let inner = object(w, "tree", &[entry("100644", "f", &f), entry("040000", "g", &sub)].concat());
            tree(w, &[entry("100644", "f", &f), entry("040000", "sub", &inner)])
        }),
        ("missingSpaceBeforeDate", |w| {
            let tree = sub(w);
            let text = "author A <a@example.com>1 +0000\ncommitter A <a@example.com> 1 +0000\n\nold\n";
            object(w, "commit", format!("tree {tree}\n{text}").as_bytes())
        }),
        ("badTimezone", |w| {
            let tree = sub(w);
            let text = "author A <a@example.com> 1 +51800\ncommitter A <a@example.com> 1 -7\n\nold\n";
            object(w, "commit", format!("tree {tree}\n{text}").as_bytes())
        }),
        ("missingEmail", |w| {
            let tree = sub(w);
            object(
                w,
                "commit",
                format!("tree {tree}\nauthor A 1 +0000\ncommitter A 1 +0000\n\nold\n").as_bytes(),
            )
        }),
        ("duplicateEntries", |w| {
            let (f, sub) = (blob(w, "x\n"), sub(w));
            tree(w, &[entry("100644", "f", &f), entry("100644", "f", &f), entry("40000", "sub", &sub)])
        }),
        ("duplicateEntriesBelow", |w| {
            let f = blob(w, "x\n");
            let inner = object(w, "tree", &[entry("100644", "f", &f), entry("100644", "f", &f)].concat());
            tree(w, &[entry("100644", "f", &f), entry("40000", "sub", &inner)])
        }),
        ("treeNotSorted", |w| {
            let (f, sub) = (blob(w, "x\n"), sub(w));
            tree(w, &[entry("40000", "sub", &sub), entry("100644", "f", &f)])
        }),
        ("badFilemode", |w| {
            let (f, sub) = (blob(w, "x\n"), sub(w));
            tree(w, &[entry("100664", "f", &f), entry("40000", "sub", &sub)])
        }),
    ]
}

/// Bases with a file that git reads as settings and complains about.
fn odd_settings() -> Vec<(&'static str, Base)> {
    vec![
        ("gitmodulesUpdate", |w| {
            with(
                w,
                ".gitmodules",
                "[submodule \"x\"]\n\tpath = x\n\turl = https://example.com/x\n\tupdate = !cmd\n",
            )
        }),
        ("gitmodulesUrl", |w| with(w, ".gitmodules", "[submodule \"x\"]\n\tpath = x\n\turl = -dash\n")),
        ("gitmodulesParse", |w| with(w, ".gitmodules", "[submodule\n")),
        ("gitattributesLineLength", |w| with(w, ".gitattributes", &format!("{} text\n", "a".repeat(3000)))),
        ("gitignoreSymlink", |w| {
            let (f, sub) = (blob(w, "sub/f"), sub(w));
            tree(w, &[entry("120000", ".gitignore", &f), entry("40000", "sub", &sub)])
        }),
        ("gitattributesSymlink", |w| {
            let (f, sub) = (blob(w, "sub/f"), sub(w));
            tree(w, &[entry("120000", ".gitattributes", &f), entry("40000", "sub", &sub)])
        }),
        ("mailmapSymlink", |w| {
            let (f, sub) = (blob(w, "sub/f"), sub(w));
            tree(w, &[entry("120000", ".mailmap", &f), entry("40000", "sub", &sub)])
        }),
    ]
}

/// Bases that git's checks complain about.
fn bases() -> Vec<(&'static str, Base)> {
    [odd_objects(), odd_settings()].concat()
}

#[tokio::test]
async fn what_the_base_has_is_not_held_against_an_agent() {
    let mut wrong = Vec::new();
    for (name, base) in bases() {
        for many in [false, true] {
            let world = World::new();
            become_main(&world, &base(&world));
            let request = world.agent().await;
            for n in 0..if many { 200 } else { 1 } {
                world.write(&request, &format!("new/{n}"), &format!("{n}\n"));
            }
            world.write(&request, "sub/f", "changed\n");
            match world.keep(&request).await {
                Ok(Kept::Commits { .. }) => {}
                other => wrong.push(format!("{name} {many}: {other:?}")),
            }
            if let Err(e) = world.salvage(&request).await {
                wrong.push(format!("{name} {many} salvage: {}", e.message));
            }
            let amended = world.agent().await;
            amend(&world, &amended);
            match world.keep(&amended).await {
                Ok(Kept::Commits { .. }) => {}
                other => wrong.push(format!("{name} {many} own: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Commits as the agent, in the tree that the base has.
fn amend(world: &World, request: &TreeRequest) {
    world.write(request, "sub/f", "changed\n");
    world.agent_git(request, &["add", "-A"]);
    let args = ["-c", "user.name=a", "-c", "user.email=a@e", "commit", "-qm", "x"];
    world.agent_git(request, &args);
}

/// Commits a file of settings that git's checks refuse, as an agent.
async fn refused(world: &World, name: &str, text: &str) -> String {
    let request = world.agent().await;
    world.write(&request, name, text);
    world.agent_git(&request, &["add", "-A"]);
    world.agent_git(&request, &["-c", "user.name=a", "-c", "user.email=a@e", "commit", "-qm", "x"]);
    world.keep(&request).await.expect_err("it is refused").message
}

#[tokio::test]
async fn what_an_agent_makes_is_checked_in_full_also_where_the_base_is_old() {
    let bad = "[submodule \"y\"]\n\tpath = y\n\turl = https://example.com/y\n\tupdate = !other\n";
    for (_, base) in bases() {
        let world = World::new();
        become_main(&world, &base(&world));
        let told = refused(&world, "deep/.gitmodules", bad).await;
        assert!(told.contains("gitmodules") || told.contains("gitattributes"), "{told}");
        // What was refused once lies in the store now, and is no more known for that.
        let told = refused(&world, ".gitmodules", bad).await;
        assert!(told.contains("gitmodules"), "{told}");
    }
    // What is harmless as a file of the base is not when an agent makes git read it as settings.
    let world = World::new();
    let blob = object(&world, "blob", bad.as_bytes());
    let tree = object(&world, "tree", &entry("100644", "fixture", &blob));
    become_main(&world, &object(&world, "commit", format!("tree {tree}\n{WELL}").as_bytes()));
    let told = refused(&world, ".gitmodules", bad).await;
    assert!(told.contains("gitmodulesUpdate"), "{told}");
}

#[tokio::test]
async fn what_another_branch_of_the_remote_has_is_not_held_against_an_agent_that_merges_it() {
    let world = World::new();
    let good = world.fixture.tip("main").expect("main has a tip");
    for (name, base) in bases() {
        let old = base(&world);
        become_main(&world, &old);
        // Some agent works on it, so that the store has it.
        world.agent().await;
        world.fixture.run(&world.fixture.remote(), &["update-ref", "refs/heads/old", &old]);
        let branch = crate::git::world::branch("old");
        world.git.fetch(&world.url, &branch, &branch).await.expect("it is fetched");
        become_main(&world, &good);
        let request = world.agent().await;
        world.agent_git(&request, &["fetch", "-q", "origin", "old"]);
        let args = ["-c", "user.name=a", "-c", "user.email=a@e", "merge", "-q", "--no-edit"];
        let more = ["--allow-unrelated-histories", "-s", "ours", "FETCH_HEAD"];
        world.agent_git(&request, &[&args[..], &more].concat());
        world.write(&request, "new.txt", "x\n");
        let kept = world.keep(&request).await;
        assert!(matches!(kept, Ok(Kept::Commits { .. })), "{name}: {kept:?}");
    }
}
