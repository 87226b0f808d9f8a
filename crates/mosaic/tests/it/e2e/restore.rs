//! A killed agent's uncommitted work comes back with `mosaic restore`, byte for byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Marker, Server, body, script, until};

/// An agent that commits, stages, changes, deletes, and then works on indefinitely.
fn busy(home: &Home, marker: &Marker) -> String {
    let agent = format!(
        "set -e\n\
         printf 'committed\\n' > committed.txt && git add -A && git commit -qm 'half of it'\n\
         printf 'staged\\n' > src/lib.txt && git add src/lib.txt && printf 'not staged' > src/lib.txt\n\
         head -c 100000 /dev/urandom > noise.bin\n\
         printf '#!/bin/sh\\r\\n' > tool && chmod 755 tool && printf x > private && chmod 600 private\n\
         printf x > \"$(printf 'odd \\nname \\377')\" && ln -s nowhere link && rm README.md\n\
         mkdir -p ignored && printf x > ignored/not-this\n\
         touch up.tmp\n\
         while :; do sleep {marker}; done\n"
    );
    script(home.path(), "busy.sh", &agent)
}

/// Everything but `.git` and what is ignored.
fn picture(root: &Path) -> BTreeMap<Vec<u8>, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let meta = fs::symlink_metadata(&path).unwrap();
            let skipped = [&b".git"[..], b"ignored", b"up.tmp"].contains(&name.as_slice());
            if skipped {
                continue;
            } else if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_symlink() {
                all.insert(name, (0, fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()));
            } else {
                all.insert(name, (meta.mode() & 0o777, fs::read(&path).unwrap()));
            }
        }
    }
    all
}

fn git(at: &Path, args: &[&str]) -> String {
    let out = Command::new("git").args(args).current_dir(at).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn restore(server: &Server<'_>, id: &str) -> Value {
    let output = server.cli(&["restore", id, "--json"]);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_a_killed_agent_left_comes_back() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = busy(&home, &marker);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let tree = server.home().data().join("agents").join(&id).join("tree");
    until("the agent to have done its part", || tree.join("up.tmp").exists().then_some(()));
    let refused = server.http.post(&format!("/v1/agents/{id}/restore"), None).expect(409);
    assert_eq!(refused["code"], "agent_active");
    let (before, head) = (picture(&tree), git(&tree, &["rev-parse", "HEAD"]));
    let index = git(&tree, &["ls-files", "-s"]);
    assert!(before.contains_key(&b"odd \nname \xff"[..]) && !before.contains_key(&b"README.md"[..]));
    server.kill(&id);
    until("the tree to be removed", || (!tree.exists()).then_some(()));

    let restored = restore(&server, &id);
    let at = Path::new(restored["path"].as_str().unwrap());
    assert_eq!(at.parent().unwrap().file_name(), Some(OsStr::new("restored")));
    assert_eq!(picture(at), before);
    assert_eq!(git(at, &["ls-files", "-s"]), index);
    assert_eq!(
        (git(at, &["rev-parse", "HEAD"]).trim(), &restored["head"]),
        (head.trim(), &json!(head.trim()))
    );
    let branch = restored["branch"].as_str().unwrap();
    assert_eq!(git(at, &["rev-parse", "--abbrev-ref", "HEAD"]).trim(), branch);
    assert_eq!(restored["salvage"], server.agent(&id)["salvage"]);
    let diff = server.http.get(&format!("/v1/agents/{id}/diff")).expect(200);
    assert!(diff.to_string().contains("noise.bin") && diff.to_string().contains("committed.txt"), "{diff:#}");

    let again = restore(&server, &id);
    assert_ne!(again["path"], restored["path"], "a copy of its own each time");
    assert_eq!(picture(Path::new(again["path"].as_str().unwrap())), before);
}

#[test]
fn an_agent_that_did_nothing_leaves_nothing() {
    let (home, fixture, marker) = (Home::new(), Fixture::new(), Marker::new());
    let line = script(home.path(), "idle.sh", &format!("while :; do sleep {marker}; done\n"));
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent to run", || (!marker.alive().is_empty()).then_some(()));
    server.kill(&id);
    let output = server.cli(&["restore", &id]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing that could be restored"), "{output:?}");
}
