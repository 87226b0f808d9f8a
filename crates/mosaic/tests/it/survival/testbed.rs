//! A place for killing servers in: a remote whose hook is slow, an agent and a gate that say when they start and end
//! and notice when a second one runs at the same time, and where all of that is written down.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic_testkit::git_fixture::Fixture;
use serde_json::{Value, json};

use crate::live_server::Server;

/// Longest wait for something that is certain to come.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// The agent. Its lock is inherited by everything it starts, so that what is left of an earlier attempt is noticed
/// by the next one. `escapes` in the task's name leaves a process behind that has fled its session twice.
const AGENT: &str = r#"#!/bin/sh
cat > /dev/null
exec 9> "PLACE/locks/$MOSAIC_AGENT_ID"
flock -n 9 || echo "OVERLAP agent $MOSAIC_AGENT_ID $$" >> PLACE/log
echo "start $MOSAIC_AGENT_ID $$" >> PLACE/log
case "$MOSAIC_TASK_ID" in *escapes*) setsid sh -c 'setsid sleep 600 & exec sleep 600' > /dev/null 2>&1 & ;; esac
while [ -e PLACE/hold-agent ]; do sleep 0.02; done
sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 300 }')"
echo "made by $MOSAIC_AGENT_ID" > "work-$MOSAIC_TASK_ID.txt"
echo "end $MOSAIC_AGENT_ID $$" >> PLACE/log
"#;

/// The gate. It judges one agent's commit, so two of them at the same time are the same fault.
const GATE: &str = r#"#!/bin/sh
commit=$(git rev-parse HEAD)
exec 8> "PLACE/locks/gate-$commit"
flock -n 8 || echo "OVERLAP gate $commit $$" >> PLACE/log
echo "gate $commit $$" >> PLACE/log
[ ! -e PLACE/hold-gate ] || sleep 600
sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 100 }')"
ls work-*.txt > /dev/null
"#;

/// The remote's hook: a push takes time, and each is written down.
const HOOK: &str = r#"#!/bin/sh
while read -r old new ref; do echo "push $new $ref" >> PLACE/log; done
i=0
while [ -e PLACE/hold-push ] && [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done
sleep "0.$(od -An -N2 -tu2 /dev/urandom | awk '{ printf "%03d", $1 % 100 }')"
"#;

/// Everything that outlives a server.
pub(crate) struct SurvivalTestbed {
    pub(crate) remote: Fixture,
    dir: PathBuf,
}

impl SurvivalTestbed {
    pub(crate) fn new() -> Self {
        let remote = Fixture::new();
        let dir = remote.path().join("place");
        std::fs::create_dir_all(dir.join("locks")).unwrap();
        std::fs::write(dir.join("log"), "").unwrap();
        let place = Self { remote, dir };
        place.program(&place.dir.join("agent.sh"), AGENT);
        place.program(&place.dir.join("gate.sh"), GATE);
        let gate = format!("[gates]\ntests = \"sh {}\"\n", place.dir.join("gate.sh").display());
        place.remote.commit_on("main", &[(".mosaic/config.toml", &gate)]);
        place.program(&place.remote.remote().join("hooks/pre-receive"), HOOK);
        place
    }

    fn program(&self, path: &Path, text: &str) {
        std::fs::write(path, text.replace("PLACE", &self.dir.display().to_string())).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn serve(&self) -> Server {
        let agent = format!("sh {}", self.dir.join("agent.sh").display());
        let env = [
            ("MOSAIC_COMMAND", agent),
            ("MOSAIC_RUNTIME", "command".into()),
            // The gate writes down when it runs, which an isolated one could not.
            ("MOSAIC_GATE_ISOLATION", "off".into()),
            ("MOSAIC_SLOTS", "4".into()),
            ("MOSAIC_KILL_GRACE_MS", "100".into()),
        ];
        Server::start(&self.data(), &env)
    }

    /// Returns the request for an agent. Only a lost server may repeat an attempt, unless the test asks for more.
    pub(crate) fn task(&self, name: &str, max_retries: u32) -> Value {
        json!({
            "taskId": name, "agentType": "worker", "gateProfile": "minimal", "maxRetries": max_retries,
            "context": {"repository": self.remote.url(), "branch": "main", "workItems": ["write a file"]},
        })
    }

    /// Lets agents, gates or pushes wait once they have started, until they are released.
    pub(crate) fn hold(&self, what: &str) {
        std::fs::write(self.flag(what), "").unwrap();
    }

    pub(crate) fn release(&self, what: &str) {
        std::fs::remove_file(self.flag(what)).unwrap();
    }

    fn flag(&self, what: &str) -> PathBuf {
        self.dir.join(format!("hold-{what}"))
    }

    /// The lines of what was written down that begin with a word.
    pub(crate) fn log(&self, word: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.join("log")).unwrap();
        text.lines().filter(|line| line.split(' ').next() == Some(word)).map(str::to_owned).collect()
    }

    /// Waits until there are at least so many lines that begin with a word, and returns the last one's fields.
    pub(crate) fn await_log(&self, word: &str, count: usize) -> Vec<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let lines = self.log(word);
            if lines.len() >= count {
                return lines[count - 1].split(' ').map(str::to_owned).collect();
            }
            assert!(
                Instant::now() < deadline,
                "{count} × \"{word}\" did not happen; there is {lines:?}\n{}",
                self.server_log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub(crate) fn server_log(&self) -> String {
        let read = |name: &str| std::fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        let text = format!("{}{}", read("log"), read("server.log"));
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Asserts that a completed agent's branch is on the remote exactly at the commit that it names.
    pub(crate) fn assert_pushed(&self, agent: &Value) {
        assert_eq!(agent["status"], "completed", "{agent:#}\n{}", self.server_log());
        let branch = agent["branch"].as_str().unwrap();
        let tip = self.remote.tip(branch);
        assert!(
            tip.is_some() && tip.as_deref() == agent["pushedCommit"].as_str(),
            "{branch} is at {tip:?}: {agent:#}"
        );
    }

    /// Asserts that nothing of this place runs but its server: no agent, no gate, no supervisor, no git.
    pub(crate) fn assert_quiet(&self, ids: &[String]) {
        let marks: Vec<String> = ids.iter().map(|id| format!("MOSAIC_AGENT_ID={id}")).collect();
        let marks: Vec<&str> = marks.iter().map(String::as_str).collect();
        let left = crate::live_server::processes_with(&marks);
        assert!(left.is_empty(), "processes of agents that have ended: {left:#?}");
    }
}

/// Returns the parent of a process.
pub(crate) fn parent(pid: &str) -> i32 {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(1).unwrap().parse().unwrap()
}
