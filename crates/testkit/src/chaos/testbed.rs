//! Everything that outlives a server: a remote whose hook is slow, an agent and a gate that say when they start and end,
//! notice when a second one runs at the same time, and write down every byte of work they make.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};

use super::{Outcome, while_};
use crate::git_fixture::Fixture;

/// The agent. Its lock is inherited by everything it starts, so that what is left of an earlier run is noticed by the
/// next one. What it does follows from the first word of its task's name; every line of work it makes is unique, and is
/// written down once it is in the tree.
const AGENT: &str = include_str!("agent.sh");

/// The gate. It judges one agent's commit, so two of them at the same time are the same fault.
const GATE: &str = include_str!("gate.sh");

/// The remote's hook: a push takes time, and each is written down.
const HOOK: &str = include_str!("hook.sh");

/// A testbed for breaking servers in.
pub(crate) struct Testbed {
    pub(crate) remote: Fixture,
    dir: PathBuf,
    slots: u32,
    valkey: Option<u16>,
}

impl Testbed {
    /// Makes one for servers with so many agents at once, on the Valkey with this port if there is one.
    pub(crate) fn new(slots: u32, valkey: Option<u16>) -> Outcome<Self> {
        let remote = Fixture::new();
        let dir = remote.path().join("place");
        let make = |name: &str| std::fs::create_dir_all(dir.join(name)).map_err(while_("a place"));
        make("locks")?;
        make("tmp")?;
        let place = Self { remote, dir, slots, valkey };
        place.write("log", "")?;
        place.program(&place.dir.join("agent.sh"), AGENT)?;
        place.program(&place.dir.join("gate.sh"), GATE)?;
        place.program(&place.remote.remote().join("hooks/pre-receive"), HOOK)?;
        let gate = format!("[gates]\ntests = \"sh {}\"\n", place.dir.join("gate.sh").display());
        place.remote.commit_on("main", &[(".mosaic/config.toml", &gate)]);
        Ok(place)
    }

    fn program(&self, path: &Path, text: &str) -> Outcome<()> {
        let write = || {
            // In pieces, so that no scanner takes this file for a leak.
            let secret = ["ghp_", "R8sT2vLq", "Z5nXw7Kc", "4JfYb9Gd", "3HmPe6Ua", "1QoC"].concat();
            let text = text.replace("PLACE", &self.dir.display().to_string()).replace("SECRET", &secret);
            std::fs::write(path, text)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        };
        write().map_err(while_("a program of the place"))
    }

    fn write(&self, name: &str, text: &str) -> Outcome<()> {
        std::fs::write(self.dir.join(name), text).map_err(while_(name))
    }

    /// The directory that everything of this place has in its command line, environment or working directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The directory for temporary files of servers.
    pub(crate) fn tmp(&self) -> PathBuf {
        self.dir.join("tmp")
    }

    /// The file into which a server with failpoints writes its steps.
    pub(crate) fn trace(&self) -> PathBuf {
        self.dir.join("trace")
    }

    /// Returns the environment that every server here is started with.
    pub(crate) fn env(&self) -> BTreeMap<&'static str, String> {
        let text = |path: &Path| path.display().to_string();
        let mut env = BTreeMap::from([
            ("HOME", text(&self.dir)),
            ("TMPDIR", text(&self.tmp())),
            ("MOSAIC_DATA_DIR", text(&self.data())),
            ("ORCHESTRATOR_PORT", "0".to_owned()),
            ("MOSAIC_ALLOW_LOCAL_REPOSITORIES", "true".to_owned()),
            ("MOSAIC_LOG_FORMAT", "text".to_owned()),
            ("MOSAIC_RUNTIME", "command".to_owned()),
            // The gate writes down when it runs, which an isolated one could not.
            ("MOSAIC_GATE_ISOLATION", "off".to_owned()),
            ("MOSAIC_COMMAND", format!("sh {}", self.dir.join("agent.sh").display())),
            ("MOSAIC_SLOTS", self.slots.to_string()),
            ("MOSAIC_KILL_GRACE_MS", "100".to_owned()),
            ("MOSAIC_DRAIN_MS", "300".to_owned()),
        ]);
        if let Some(port) = self.valkey {
            env.insert("VALKEY_HOST", "127.0.0.1".to_owned());
            env.insert("VALKEY_PORT", port.to_string());
            // The directory's name is this place's alone.
            let name = self.remote.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
            env.insert("MOSAIC_VALKEY_PREFIX", format!("{{{}}}", name.trim_start_matches('.')));
        }
        env
    }

    /// Returns the request for an agent. Only a lost server may repeat an attempt, unless `max_retries` allows more.
    pub(crate) fn task(&self, name: &str, max_retries: u32) -> Value {
        json!({
            "taskId": name, "agentType": "worker", "gateProfile": "minimal", "maxRetries": max_retries,
            "context": {"repository": self.remote.url(), "branch": "main", "workItems": ["write a file"]},
        })
    }

    /// Lets an agent that waits for this word go on.
    pub(crate) fn go(&self, word: &str) -> Outcome<()> {
        self.write(&format!("go-{word}"), "")
    }

    /// Returns what was written down: the fields of each line that begins with a word.
    pub(crate) fn log(&self, word: &str) -> Vec<Vec<String>> {
        self.all_log().into_iter().filter(|fields| fields[0] == word).collect()
    }

    /// Returns everything that was written down, in its order.
    pub(crate) fn all_log(&self) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// Returns the agents of which a program is alive.
    pub(crate) fn alive(&self) -> Vec<String> {
        let program = self.dir.join("agent.sh").display().to_string();
        let runs = |pid: &str| {
            // A number that somebody else has by now has another command line.
            let line = std::fs::read(Path::new("/proc").join(pid).join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&program)
        };
        let started = self.log("start").into_iter().filter(|fields| fields.len() > 2 && runs(&fields[2]));
        started.map(|fields| fields[1].clone()).collect()
    }

    /// Opens the log that servers write.
    pub(crate) fn server_log(&self) -> Outcome<File> {
        let path = self.dir.join("server.log");
        File::options().create(true).append(true).open(path).map_err(while_("server.log"))
    }

    /// Notes something in the servers' log, between what they say.
    pub(crate) fn note(&self, text: &str) {
        if let Ok(mut log) = self.server_log() {
            // Only a reader's help.
            let _ = writeln!(log, "---- {text}");
        }
    }

    /// Copies what tells how it came to a violation into a directory that stays.
    pub(crate) fn keep_evidence(&self, into: &Path) -> Outcome<()> {
        std::fs::create_dir_all(into).map_err(while_("evidence"))?;
        for name in ["log", "server.log", "trace"] {
            if self.dir.join(name).exists() {
                std::fs::copy(self.dir.join(name), into.join(name)).map_err(while_(name))?;
            }
        }
        Ok(())
    }

    /// Returns the processes of this place other than one: everything that has its directory in command line,
    /// environment or working directory, or one of these texts in its environment.
    pub(crate) fn processes(&self, but: Option<u32>, texts: &[String]) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(pid) = name.parse::<u32>() else { continue };
            if Some(pid) == but {
                continue;
            }
            // What cannot be read is gone, or somebody else's.
            let read = |file: &str| {
                let bytes = std::fs::read(entry.path().join(file)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let (args, env) = (read("cmdline"), read("environ"));
            let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
            let ours = args.contains(&dir) || env.contains(&dir) || cwd.starts_with(&self.dir);
            if ours || texts.iter().any(|text| env.contains(text.as_str())) {
                found.push(format!("process {name}: {}", args.replace('\0', " ")));
            }
        }
        found
    }

    /// Kills the parents (the supervisors) of the programs that wrote a word.
    pub(crate) fn kill_parents(&self, word: &str) {
        for fields in self.log(word) {
            let stat = std::fs::read_to_string(Path::new("/proc").join(&fields[2]).join("stat"));
            let parent = stat.ok().and_then(|stat| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok());
            if let Some(parent) = parent.and_then(rustix::process::Pid::from_raw) {
                // It may have ended by itself.
                let _ = rustix::process::kill_process(parent, rustix::process::Signal::KILL);
            }
        }
    }

    /// Waits until there are at least so many lines that begin with a word; false when there are not by then.
    pub(crate) fn await_log(&self, word: &str, count: usize, deadline: Instant) -> bool {
        while self.log(word).len() < count {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(4));
        }
        true
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        // Nothing of a place may outlive it, whatever a broken server left: only what names it is ended.
        for process in self.processes(Some(std::process::id()), &[]) {
            let pid = process.split([' ', ':']).nth(1).and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
                // It may have ended by itself.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}
