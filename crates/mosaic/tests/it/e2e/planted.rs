//! Traps that a hostile agent leaves in its tree: nothing of it runs in the server, nothing foreign is taken, no secret
//! gets out.

use std::path::{Path, PathBuf};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::json;

use super::support::{Home, body, script};

#[test]
fn planted_git_settings_never_run_outside_the_confinement() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let canary = home.path().join("canary");
    std::fs::create_dir(&canary).unwrap();
    // A repository that the agent may not read through us.
    let foreign = Fixture::new();
    foreign.commit_on("main", &[("secret.txt", "foreign words\n")]);
    let hidden = foreign.tip("main").unwrap();
    // Everything that runs by these settings tells who started it: whether it was in an agent's environment.
    let agent = format!(
        r#"cat > '{canary}/touch' <<'EOF'
#!/bin/sh
if [ -n "$MOSAIC_AGENT_ID" ]; then echo "$0 $*" >> '{canary}/inside'; else echo "$0 $*" >> '{canary}/outside'; fi
cat
EOF
chmod +x '{canary}/touch'
echo good > good.txt
for name in pre-commit post-commit post-checkout post-merge pre-push reference-transaction post-index-change fsmonitor-watchman; do
  cp '{canary}/touch' ".git/hooks/$name"
done
git config core.fsmonitor '{canary}/touch'
git config core.hooksPath '{canary}'
git config core.sshCommand '{canary}/touch'
git config core.pager '{canary}/touch'
git config core.editor '{canary}/touch'
git config diff.external '{canary}/touch'
git config filter.evil.clean '{canary}/touch'
git config filter.evil.smudge '{canary}/touch'
git config filter.evil.process '{canary}/touch'
git config filter.evil.required true
git config diff.evil.textconv '{canary}/touch'
git config merge.evil.driver '{canary}/touch'
git config uploadpack.packObjectsHook '{canary}/touch'
git config gpg.program '{canary}/touch'
git config commit.gpgSign true
git config credential.helper '!{canary}/touch'
git config remote.origin.url 'ext::{canary}/touch'
git config alias.commit '!{canary}/touch'
printf '* diff=evil merge=evil\n*.never filter=evil\n' > .gitattributes
mkdir nested && git -C nested init -q && git -C nested config core.fsmonitor '{canary}/touch' && echo n > nested/n.txt
echo '{foreign}/objects' >> .git/objects/info/alternates
ln -s '{foreign}/refs/heads/main' .git/refs/heads/stolen
ln -s /etc/passwd passwd
"#,
        canary = canary.display(),
        foreign = foreign.remote().display(),
    );
    let line = script(home.path(), "agent.sh", &agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = server.spawn(&body(&fixture.url(), "T-1"));
    let done = server.ended(&id);
    assert_eq!(done["status"], "completed", "{done:#}\n{}", server.log());
    let branch = done["branch"].as_str().unwrap();
    assert_eq!(fixture.read_branch_file(branch, "good.txt").as_deref(), Some("good\n"));
    let outside = std::fs::read_to_string(canary.join("outside")).unwrap_or_default();
    assert_eq!(outside, "", "planted programs ran outside the agent's confinement");
    for repository in [fixture.remote(), cache_of(&home)] {
        let found = fixture.try_run(&repository, &["cat-file", "-e", &hidden]);
        assert!(found.is_none(), "a foreign object came into {}", repository.display());
    }
    assert_eq!(fixture.branches().len(), 2, "{:?}", fixture.branches());
    let mode = fixture.run(&fixture.remote(), &["ls-tree", branch, "passwd"]);
    assert!(mode.is_empty() || mode.starts_with("120000"), "a link was followed: {mode}");
}

/// Returns the server's bare repository, the only one in the data directory.
fn cache_of(home: &Home) -> PathBuf {
    fn find(dir: &Path, depth: usize) -> Option<PathBuf> {
        if dir.join("objects").is_dir() && dir.join("HEAD").is_file() {
            return Some(dir.to_owned());
        }
        let entries = std::fs::read_dir(dir).ok().filter(|_| depth > 0)?;
        entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
            .find_map(|e| find(&e.path(), depth - 1))
    }
    find(&home.data(), 4).unwrap()
}

/// Returns every file below a directory that holds these bytes, except git's own objects.
fn holding(dir: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if entry.file_type().unwrap().is_dir() {
            found.extend(holding(&path, needle));
        } else if std::fs::read(&path)
            .is_ok_and(|bytes| bytes.windows(needle.len()).any(|part| part == needle))
        {
            found.push(path);
        }
    }
    found
}

#[test]
fn a_secret_in_an_intermediate_commit_is_blocked_and_masked_everywhere() {
    let (home, fixture) = (Home::new(), Fixture::new());
    // Put together here, so that no scanner takes this file for a leak.
    let secret = ["ghp_", "R8sT2vLq", "Z5nXw7Kc", "4JfYb9Gd", "3HmPe6Ua", "1QoC"].concat();
    let told = home.path().join("told");
    let agent = format!(
        "cat > '{}'\ngit config user.name A; git config user.email a@example.com\n\
         echo 'token = \"{secret}\"' > config.txt; git add .; git commit -qm 'add it'\n\
         echo 'token = env' > config.txt; git add .; git commit -qm 'remove it {secret}'\n\
         echo 'I used {secret} for this'\n",
        told.display()
    );
    let line = script(home.path(), "agent.sh", &agent);
    // At this level the log says most, and has most to give away.
    let server = home.serve(&[("MOSAIC_COMMAND", &line), ("MOSAIC_LOG", "debug")]);
    let mut asked = body(&fixture.url(), "T-1");
    asked["maxFixRounds"] = json!(1);
    let failed = server.life(&asked, "failed", "secret");
    assert_eq!(failed["fixRound"], 1);
    assert_eq!(fixture.branches(), ["main"], "something was pushed");
    let told = std::fs::read_to_string(&told).unwrap();
    assert!(told.contains("config.txt") && !told.contains(&secret), "the findings: {told}");

    let id = failed["agentId"].as_str().unwrap();
    let paths = ["", "/transcript", "/gates", "/diff"].map(|part| format!("/v1/agents/{id}{part}"));
    let others = [format!("/agents/{id}/status"), "/v1/agents".to_owned(), "/v1/queue".to_owned()];
    for path in paths.iter().chain(&others) {
        let reply = server.http.get(path);
        assert!(!reply.text.contains(&secret), "{path} tells the secret: {}", reply.text);
    }
    let transcript = server.http.get(&paths[1]);
    assert!(transcript.text.contains("I used"), "{}", transcript.text);
    for command in ["logs", "status", "gates", "diff"] {
        let output = server.cli(&[command, id]);
        let text = format!("{output:?}");
        assert!(!text.contains(&secret), "mosaic {command} tells the secret: {text}");
    }
    assert!(!server.log().contains(&secret), "the log tells the secret");
    drop(server);
    // The raw output is the agent's own words, kept as they came; nothing else on the disk has it in the clear.
    let found = holding(&home.data(), secret.as_bytes());
    let is_raw = |path: &&PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("run-");
    let strange: Vec<&PathBuf> = found.iter().filter(|path| !is_raw(path)).collect();
    assert!(strange.is_empty(), "{strange:?}");
}
