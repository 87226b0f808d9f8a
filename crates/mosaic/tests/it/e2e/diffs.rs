//! `mosaic diff` and the diff route: hunks stand under their file whatever else happens to it, and the patch is what git
//! makes, byte for byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use super::support::{Home, Marker, body, script, until};

/// Renames, a file that becomes a link, a mode, bytes that are no text, names that are no UTF-8, a copy, a deletion.
const CHANGES: &str = "
git mv README.md A-RENAMED.md; echo more >> A-RENAMED.md
rm link.txt; ln -s src/lib.txt link.txt
chmod +x run.sh
printf 'caf\\351 au lait\\nzwei\\n' > latin.txt
printf '\\000\\001\\002\\377' > data.bin
printf 'x\\n' > \"$(printf 'na\\303\\257ve-\\344.txt')\"
printf 'q\\n' > 'a \"quoted\"\ttab.txt'
git rm -q gone.txt
echo last >> src/lib.txt
";

fn fixture() -> Fixture {
    let fixture = Fixture::new();
    let long = "a line of the readme\n".repeat(30);
    fixture.commit_on(
        "main",
        &[
            ("README.md", &long),
            ("link.txt", "was a file\n"),
            ("run.sh", "#!/bin/sh\n"),
            ("latin.txt", "cafe au lait\nzwei\n"),
            ("gone.txt", "gone\n"),
            ("data.bin", "\u{0}\u{1}old"),
        ],
    );
    fixture
}

fn hunks(file: &Value) -> String {
    file["hunks"].as_array().unwrap().iter().map(|hunk| hunk["lines"].as_str().unwrap()).collect()
}

#[test]
fn hunks_stand_under_their_file_and_names_and_bytes_are_kept() {
    let (home, fixture) = (Home::new(), fixture());
    let line = script(home.path(), "change.sh", CHANGES);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let id = done["agentId"].as_str().unwrap();
    let diff = server.http.get(&format!("/v1/agents/{id}/diff")).expect(200);
    let files = diff["files"].as_array().unwrap();
    let file =
        |path: &str| files.iter().find(|file| file["path"] == path).unwrap_or_else(|| panic!("{diff:#}"));
    let renamed = file("A-RENAMED.md");
    assert_eq!((&renamed["status"], &renamed["oldPath"]), (&json!("renamed"), &json!("README.md")));
    assert!(hunks(renamed).ends_with("+more\n"), "{renamed:#}");
    let link = file("link.txt");
    assert_eq!(
        (&link["status"], &link["oldMode"], &link["newMode"]),
        (&json!("typechanged"), &json!("100644"), &json!("120000"))
    );
    assert!(hunks(link).contains("-was a file") && hunks(link).contains("+src/lib.txt"), "{link:#}");
    let mode = file("run.sh");
    assert_eq!(
        (&mode["oldMode"], &mode["newMode"], &mode["hunks"]),
        (&json!("100644"), &json!("100755"), &json!([]))
    );
    let latin = file("latin.txt");
    assert_eq!(latin["hunks"][0]["linesEncoding"], "base64", "{latin:#}");
    assert_eq!(latin["hunks"][0]["lines"], "LWNhZmUgYXUgbGFpdAorY2Fm6SBhdSBsYWl0CiB6d2VpCg==");
    assert_eq!((&file("data.bin")["binary"], &file("data.bin")["hunks"]), (&json!(true), &json!([])));
    let odd = files.iter().find(|file| file["pathEncoding"] == "base64").unwrap();
    assert_eq!((&odd["path"], &odd["status"]), (&json!("bmHDr3ZlLeQudHh0"), &json!("added")), "{odd:#}");
    assert_eq!(hunks(odd), "+x\n");
    assert_eq!(hunks(file("a \"quoted\"\ttab.txt")), "+q\n");
    let gone = file("gone.txt");
    assert_eq!(
        (&gone["status"], &gone["newMode"], hunks(gone).as_str()),
        (&json!("deleted"), &json!(null), "-gone\n")
    );
    assert!(hunks(file("src/lib.txt")).ends_with("+last\n"));
}

#[test]
fn the_patch_of_the_command_line_applies_and_makes_the_same_tree() {
    let (home, fixture) = (Home::new(), fixture());
    let line = script(home.path(), "change.sh", CHANGES);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let done = server.life(&body(&fixture.url(), "T-1"), "completed", "done");
    let patch = server.cli(&["diff", done["agentId"].as_str().unwrap()]);
    assert_eq!(patch.status.code(), Some(0), "{}", String::from_utf8_lossy(&patch.stderr));
    let clone = fixture.path().join("apply");
    fixture.run(fixture.path(), &["clone", "-q", "remote.git", "apply"]);
    let mut apply = Command::new("git");
    apply.args(["apply", "--index", "-"]).current_dir(&clone).stdin(Stdio::piped());
    let mut apply = apply.spawn().unwrap();
    apply.stdin.take().unwrap().write_all(&patch.stdout).unwrap();
    assert!(apply.wait().unwrap().success());
    let made = fixture.run(&clone, &["write-tree"]);
    let wanted = fixture
        .run(&fixture.remote(), &["rev-parse", &format!("{}^{{tree}}", done["branch"].as_str().unwrap())]);
    assert_eq!(made, wanted);
    let names = server.cli(&["diff", "--stat", done["agentId"].as_str().unwrap()]);
    assert!(String::from_utf8_lossy(&names.stdout).contains("README.md → A-RENAMED.md"));
}

/// Every file of a directory with its content and the time of its last change; git freshens the time of an object that it
/// finds instead of writing it, so that of objects only the content is told.
fn state(dir: &std::path::Path) -> BTreeMap<PathBuf, (Vec<u8>, Option<std::time::SystemTime>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                let is_object = entry.path().starts_with(dir.join(".git/objects"));
                let changed = (!is_object).then(|| meta.modified().unwrap());
                all.insert(entry.path(), (std::fs::read(entry.path()).unwrap(), changed));
            }
        }
    }
    all
}

#[test]
fn an_agent_at_work_shows_what_it_has_committed_and_what_it_has_not_and_is_not_disturbed() {
    let (home, fixture, marker) = (Home::new(), fixture(), Marker::new());
    let line = script(
        home.path(),
        "work.sh",
        &format!(
            "git config filter.evil.clean 'touch {canary}; cat'\necho '*.txt filter=evil' > .git/info/attributes\n\
             echo one > committed.txt; git add -A; git commit -qm one; rm -f {canary}\n\
             echo more >> src/lib.txt; echo two > untracked.txt; sleep {marker}\n",
            canary = home.path().join("canary").display()
        ),
    );
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    until("the agent's work", || (!marker.alive().is_empty()).then_some(()));
    let tree = home.data().join("agents").join(&id).join("tree");
    let before = state(&tree);
    let path = format!("/v1/agents/{id}/diff");
    let diff = server.http.get(&path).expect(200);
    assert_eq!(diff["live"], true, "{diff:#}");
    let names: Vec<&str> =
        diff["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(names, ["committed.txt", "src/lib.txt", "untracked.txt"], "{diff:#}");
    let patch = server.cli(&["diff", &id]);
    let text = String::from_utf8_lossy(&patch.stdout).into_owned();
    assert!(text.contains("+one") && text.contains("+more") && text.contains("+two"), "{text}");
    assert!(String::from_utf8_lossy(&patch.stderr).contains("is at work"));
    assert!(state(&tree) == before, "the tree was changed");
    assert!(!home.path().join("canary").exists(), "a filter of the agent's ran");
    assert_eq!((server.agent(&id)["status"].as_str(), marker.alive().len()), (Some("running"), 1));
    // It is nobody's work, and in nobody's way.
    server.kill(&id);
    let ended = server.ended(&id);
    assert_eq!(ended["headCommit"], json!(null), "{ended:#}");
    let kept = server.http.get(&path).expect(200);
    assert_eq!((&kept["live"], kept["files"].as_array().unwrap().len()), (&json!(false), 3), "{kept:#}");
}

/// Commits three files on a branch of its own; another one changes the same line of `same.txt`.
const TWO_LINES: &str = "cat > /dev/null\ngit checkout -q -b other; echo theirs > same.txt; echo t > theirs.txt; git add -A; git commit -qm theirs\n\
     git checkout -q -\n\
     for n in first same last; do echo mine > $n.txt; git add -A; git commit -qm $n; done\n";

#[test]
fn an_agent_in_the_middle_of_something_shows_what_it_has_committed_and_what_it_has_not() {
    let cases: [(&str, &str, &[&str]); 6] = [
        ("a rebase", "git rebase other", &["first.txt", "last.txt", "same.txt"]),
        ("a rebase by patches", "git rebase --apply other", &["first.txt", "last.txt", "same.txt"]),
        ("a merge", "git merge other", &["first.txt", "last.txt", "same.txt", "theirs.txt"]),
        ("a cherry-pick", "git cherry-pick other", &["first.txt", "last.txt", "same.txt"]),
        ("a revert", "git revert --no-edit HEAD~1 && false", &["first.txt", "last.txt"]),
        ("a detached HEAD", "git checkout -q --detach", &["first.txt", "last.txt", "same.txt"]),
    ];
    for (what, step, committed) in cases {
        let (home, fixture, marker) = (Home::new(), fixture(), Marker::new());
        let text = format!(
            "{TWO_LINES}{step}\necho more >> first.txt; echo more >> src/lib.txt; echo new > new.txt; sleep {marker}\n"
        );
        let line = script(home.path(), "agent.sh", &text);
        let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
        let id = server.spawn(&body(&fixture.url(), "T-1"));
        until("the agent's work", || (!marker.alive().is_empty()).then_some(()));
        let diff = server.http.get(&format!("/v1/agents/{id}/diff")).expect(200);
        assert_eq!(diff["live"], true, "{what}: {diff:#}");
        let names: Vec<&str> =
            diff["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
        for file in committed.iter().chain(&["new.txt", "src/lib.txt"]) {
            assert!(names.contains(file), "{what}, {file}: {names:?}");
        }
        let file = |name: &str| {
            let files = diff["files"].as_array().unwrap();
            hunks(files.iter().find(|file| file["path"] == name).unwrap())
        };
        assert!(
            file("first.txt").contains("+mine") && file("first.txt").contains("+more"),
            "{what}: {diff:#}"
        );
        assert!(file("last.txt").contains("+mine"), "{what}: {diff:#}");
        server.kill(&id);
        server.ended(&id);
    }
}
