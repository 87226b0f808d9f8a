//! Repositories that keep files behind a git filter: a change to one of them is refused by name and kept, never pushed as
//! plain bytes; everything else goes its way.

use std::path::Path;
use std::process::Command;

use mosaic_testkit::git_fixture::Fixture;
use mosaic_testkit::require;
use serde_json::{Value, json};

use super::support::{Home, body};

/// An attributes file of an operator.
const SEALED: &str = "*.sec filter=git-crypt\n";

fn restored(answer: &Value, path: &str) -> String {
    let file = Path::new(answer["path"].as_str().unwrap()).join(path);
    std::fs::read_to_string(file).unwrap()
}

#[test]
fn what_a_clean_filter_encrypts_is_refused_by_name_kept_and_warned_about_at_the_start() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let work = fixture.path().join("work");
    for (key, value) in [("clean", "tr a-z n-za-m"), ("smudge", "tr n-za-m a-z"), ("required", "true")] {
        fixture.run(&work, &["config", &format!("filter.git-crypt.{key}"), value]);
    }
    fixture.commit_on(
        "main",
        &[(".gitattributes", "*.sec filter=git-crypt\n"), ("list.sec", "first customer\n")],
    );
    // The control: the remote has what the filter made of the file, so a plain push would show there.
    assert_eq!(fixture.read_branch_file("main", "list.sec").unwrap(), "svefg phfgbzre\n");
    let agent = "sh -c 'echo \"second customer\" >> list.sec; git commit -qam add; echo x > x.txt'";
    let server = home.serve(&[("MOSAIC_COMMAND", agent)]);
    let failed = server.life(&body(&fixture.url(), "T-1"), "failed", "filtered_paths");
    assert_eq!(failed["filteredPaths"], json!([{"path": "list.sec", "filter": "git-crypt"}]), "{failed:#}");
    let name = failed["name"].as_str().unwrap();
    let error = failed["error"].as_str().unwrap();
    assert!(
        error.contains("list.sec (git-crypt)") && error.contains(&format!("mosaic restore {name}")),
        "{error}"
    );
    let warned = failed["warnings"].to_string();
    assert!(warned.contains("git-crypt (1 file, such as list.sec)"), "{failed:#}");
    assert_eq!(fixture.branches(), ["main"], "it was pushed");
    let id = failed["agentId"].as_str().unwrap();
    let back = server.http.post(&format!("/v1/agents/{id}/restore"), None).expect(201);
    assert!(restored(&back, "list.sec").ends_with("second customer\n"));
    assert_eq!(server.http.delete(&format!("/v1/agents/{id}")).expect(409)["code"], "unmerged_work");
    drop(server);
    let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'git mv list.sec moved.sec; echo x > x.txt'")]);
    let done = server.life(&body(&fixture.url(), "T-2"), "completed", "done");
    let branch = done["branch"].as_str().unwrap();
    assert_eq!(fixture.read_branch_file(branch, "moved.sec").unwrap(), "svefg phfgbzre\n");
    assert!(done["warnings"].to_string().contains("git-crypt"), "{done:#}");
}

#[test]
fn changes_to_files_of_a_real_git_lfs_are_refused_by_name() {
    let version = Command::new("git-lfs").arg("version").output();
    let there = version.is_ok_and(|out| out.status.success());
    if !require::have("git-lfs", there, "install git-lfs") {
        return;
    }
    let (home, fixture) = (Home::new(), Fixture::new());
    let work = fixture.path().join("work");
    fixture.run(&work, &["lfs", "install", "--local", "--skip-repo"]);
    fixture.run(&work, &["lfs", "track", "*.bin"]);
    fixture.commit_on("main", &[("data.bin", "large content\n")]);
    let pointer = fixture.read_branch_file("main", "data.bin").unwrap();
    assert!(pointer.starts_with("version https://git-lfs.github.com/spec/v1"), "{pointer}");
    // One agent writes plain bytes, one uses git-lfs itself: its pointer would name an object that no remote has.
    let plain = "sh -c 'echo plain > data.bin; echo other > other.bin'";
    let own = "sh -c 'git lfs install --local --skip-repo && echo own > data.bin && git add -A && git commit -qm own'";
    for (task, agent, paths) in
        [("T-1", plain, vec!["data.bin", "other.bin"]), ("T-2", own, vec!["data.bin"])]
    {
        let server = home.serve(&[("MOSAIC_COMMAND", agent)]);
        let failed = server.life(&body(&fixture.url(), task), "failed", "filtered_paths");
        let named: Vec<Value> = paths.iter().map(|path| json!({"path": path, "filter": "lfs"})).collect();
        assert_eq!(failed["filteredPaths"], json!(named), "{failed:#}");
        assert!(failed["warnings"].to_string().contains("lfs (1 file, such as data.bin)"), "{failed:#}");
        assert_eq!(fixture.branches(), ["main"], "it was pushed");
    }
}

/// Filters that only the operator's own files name: of the account, by its settings or at the usual place, and of the clone.
#[test]
fn filters_that_only_the_operators_own_files_name_are_refused_by_name_and_warned_about_at_the_start() {
    type Plant = fn(&Path, &Path);
    let plants: [(&str, Plant); 3] = [
        ("the usual place", |home, _| write(&home.join(".config/git/attributes"), SEALED)),
        ("a setting", |home, _| {
            write(&home.join(".gitconfig"), "[core]\n\tattributesFile = ~/mine\n");
            write(&home.join("mine"), SEALED);
        }),
        ("the clone", |_, remote| write(&remote.join("info/attributes"), SEALED)),
    ];
    for (what, plant) in plants {
        let (home, fixture) = (Home::new(), Fixture::new());
        fixture.commit_on("main", &[("list.sec", "first\n"), ("plain.txt", "plain\n")]);
        plant(home.path(), &fixture.remote());
        let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo second >> list.sec; echo x > x.txt'")]);
        let failed = server.life(&body(&fixture.url(), "T-1"), "failed", "filtered_paths");
        let named = json!([{"path": "list.sec", "filter": "git-crypt"}]);
        assert_eq!(failed["filteredPaths"], named, "{what}: {failed:#}");
        let warned = failed["warnings"].to_string();
        assert!(warned.contains("git-crypt (1 file, such as list.sec)"), "{what}: {failed:#}");
        assert_eq!(fixture.branches(), ["main"], "{what}: it was pushed");
        drop(server);
        let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo x > x.txt'")]);
        server.life(&body(&fixture.url(), "T-2"), "completed", "done");
        drop(server);
        // What a commit takes back from the account's files is no filter; a clone's own file is stronger.
        fixture.commit_on("main", &[(".gitattributes", "*.sec -filter\n")]);
        let server = home.serve(&[("MOSAIC_COMMAND", "sh -c 'echo third >> list.sec'")]);
        let (status, reason) =
            if what == "the clone" { ("failed", "filtered_paths") } else { ("completed", "done") };
        server.life(&body(&fixture.url(), "T-3"), status, reason);
    }
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
