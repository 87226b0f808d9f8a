//! Surroundings of agents and gates: which repository git means, where temporary files lie, and what they get of
//! the operator's environment.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;

use mosaic_testkit::git_fixture::Fixture;

use super::support::{Home, fixture_with_gates, script};

/// Runs `mosaic run` in the fixture's clone with this script as the agent and these further variables.
fn run(home: &Home, fixture: &Fixture, agent: &str, env: &[(&str, &str)]) -> Output {
    let agent = script(home.path(), "agent", &format!("cat >/dev/null\n{agent}\n"));
    let mut command = home.mosaic(&["run", "--gate", "minimal", "--max-retries", "0", "do"]);
    command.current_dir(fixture.path().join("work")).env("MOSAIC_TRUST", "all");
    command.env("MOSAIC_RUNTIME", "command").env("MOSAIC_COMMAND", agent);
    command.envs(env.iter().copied()).output().unwrap()
}

/// Checks that the run ended well and returns the content of a file on its branch.
#[track_caller]
fn made(fixture: &Fixture, output: &Output, file: &str) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stdout));
    let work = fixture.path().join("work");
    let branch = fixture.run(&work, &["for-each-ref", "--format=%(refname)", "refs/heads/mosaic"]);
    fixture.run(&work, &["show", &format!("{branch}:{file}")])
}

#[test]
fn a_repository_around_the_data_directory_never_answers() {
    let home = Home::new();
    let gate = "git rev-parse --verify HEAD && git diff --exit-code && ! git -C \"$TMPDIR\" rev-parse \
                && ! git -C \"$HOME\" rev-parse && ! env -u GIT_CEILING_DIRECTORIES git -C \"$HOME\" rev-parse";
    let fixture = fixture_with_gates(&format!("tests = '{gate}'"));
    fixture.run(home.path(), &["init", "-q", "-b", "main"]);
    fixture.run(home.path(), &["commit", "-q", "--allow-empty", "-m", "outer"]);
    let agent = "rm -rf .git; echo x > x.txt; git add -A; git commit -qm stray; env -u GIT_CEILING_DIRECTORIES git commit \
                 --allow-empty -qm stray; git status > /dev/null && echo found > found.txt; true";
    let output = run(&home, &fixture, agent, &[]);
    assert_eq!(made(&fixture, &output, "x.txt"), "x");
    let files = made(&fixture, &output, "");
    assert!(!files.contains("found.txt"), "{files}");
    assert_eq!(
        fixture.run(home.path(), &["rev-list", "--all", "--count"]),
        "1",
        "the outer repository was committed to"
    );
}

#[test]
fn commits_in_scratch_repositories_work_for_agents_and_gates() {
    let home = Home::new();
    let scratch = "cd \"$(mktemp -d)\" && git init -q . && git commit -q --allow-empty -m x && git log -1 --format=%an,%ae";
    let fixture = fixture_with_gates(&format!("tests = '{scratch}'"));
    let env = [("MOSAIC_GIT_NAME", "Some One"), ("MOSAIC_GIT_EMAIL", "one@example.com")];
    let output = run(&home, &fixture, &format!("({scratch}) > author.txt"), &env);
    assert_eq!(made(&fixture, &output, "author.txt"), "Some One,one@example.com");
}

#[test]
fn temporary_directories_are_short_private_and_gone_afterwards() {
    let home = Home::new();
    let check = "test ${#TMPDIR} -le 56 && test \"$(stat -c %a \"$TMPDIR\")\" = 700 && touch \"$TMPDIR/x\"";
    let fixture = fixture_with_gates(&format!("tests = '{check} && test ! -e \"$TMPDIR/of-the-agent\"'"));
    let deep = home.path().join("d".repeat(100));
    let agent = format!("{check} && touch \"$TMPDIR/of-the-agent\" && echo \"$TMPDIR\" > where.txt");
    for data in [home.data(), deep] {
        let output = run(&home, &fixture, &agent, &[("MOSAIC_DATA_DIR", data.to_str().unwrap())]);
        let place = PathBuf::from(made(&fixture, &output, "where.txt"));
        assert!(place.is_absolute() && !place.exists(), "{} is left", place.display());
        assert!(!place.parent().unwrap().exists(), "{} is left", place.parent().unwrap().display());
        let work = fixture.path().join("work");
        let branch = fixture.run(&work, &["for-each-ref", "--format=%(refname:short)", "refs/heads/mosaic"]);
        fixture.run(&work, &["branch", "-q", "-D", &branch]);
    }
}

#[test]
fn agents_and_gates_get_proxies_authorities_and_what_is_named() {
    let home = Home::new();
    let fixture = fixture_with_gates(
        "tests = 'test \"$HTTPS_PROXY\" = http://proxy.example:1 && test \"$MINE\" = yes'",
    );
    let env = [
        ("HTTPS_PROXY", "http://proxy.example:1"),
        ("NODE_EXTRA_CA_CERTS", "/etc/corp.pem"),
        ("JAVA_HOME", "/opt/java"),
        ("MINE", "yes"),
        ("OTHER", "no"),
        ("MOSAIC_AGENT_ENV", "MINE,-JAVA_HOME"),
    ];
    let output = run(&home, &fixture, "env | grep -v MOSAIC > env.txt", &env);
    let got = made(&fixture, &output, "env.txt");
    let has = |line: &str| got.lines().any(|one| one == line);
    assert!(has("HTTPS_PROXY=http://proxy.example:1") && has("NODE_EXTRA_CA_CERTS=/etc/corp.pem"), "{got}");
    assert!(has("MINE=yes") && has("NO_PROXY=localhost,127.0.0.1,::1"), "{got}");
    assert!(!got.contains("JAVA_HOME") && !got.contains("OTHER="), "{got}");

    let refused = run(&home, &fixture, "true", &[("MOSAIC_AGENT_ENV", "CLAUDE_API_KEY")]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("CLAUDE_API_KEY is never passed on"), "{text}");
}

/// Returns the directory of the real `rustup`, whose shims find their toolchain by the operator's home.
fn rustup() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found =
        std::env::split_paths(&path).find(|dir| dir.join("rustup").is_file() && dir.join("cargo").exists());
    let how = "install rustup with a default toolchain";
    mosaic_testkit::require::have("rustup", found.is_some(), how).then_some(found).flatten()
}

fn rustup_home() -> PathBuf {
    let own = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    own.unwrap_or_else(|| Path::new(&std::env::var_os("HOME").unwrap()).join(".rustup"))
}

#[test]
fn a_real_rustup_toolchain_works_in_agents_and_gates() {
    let Some(shims) = rustup() else { return };
    let home = Home::new();
    let fixture = fixture_with_gates("tests = 'cargo test --offline'");
    fixture.commit_on(
        "main",
        &[
            ("Cargo.toml", "[package]\nname = \"tiny\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
            ("src/lib.rs", "#[test]\nfn it_holds() {}\n"),
            (".gitignore", "target\n"),
        ],
    );
    let path =
        std::env::join_paths([shims, "/usr/local/bin".into(), "/usr/bin".into(), "/bin".into()]).unwrap();
    // The operator has said nothing; the toolchains lie where rustup puts them.
    symlink(rustup_home(), home.path().join(".rustup")).unwrap();
    let output = run(&home, &fixture, "cargo --version > version.txt", &[("PATH", path.to_str().unwrap())]);
    let version = made(&fixture, &output, "version.txt");
    assert!(version.starts_with("cargo "), "{version}");
    assert!(!home.path().join(".cargo").exists(), "the operator's home was written to");
}

#[test]
fn a_hook_of_another_repository_does_not_choose_the_repository() {
    let (home, fixture, other) = (Home::new(), fixture_with_gates("tests = 'true'"), Fixture::new());
    let git_dir = other.path().join("work/.git");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (dir, index, tree) = (text(&git_dir), text(&git_dir.join("index")), text(&other.path().join("work")));
    let env = [
        ("GIT_DIR", dir.as_str()),
        ("GIT_INDEX_FILE", &index),
        ("GIT_WORK_TREE", &tree),
        ("GIT_PREFIX", "sub/"),
        ("GIT_CONFIG_PARAMETERS", "'core.bare'='true'"),
    ];
    let output = run(&home, &fixture, "echo x > x.txt", &env);
    assert_eq!(made(&fixture, &output, "x.txt"), "x");
    assert_eq!(
        other.run(&other.path().join("work"), &["branch", "--list"]),
        "* main",
        "the hook's repository was used"
    );
}
