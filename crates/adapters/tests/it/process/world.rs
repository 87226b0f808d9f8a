//! Helpers that the tests of the process adapter share: real shims, the misbehaving agent, and a look at surviving processes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mosaic_adapters::process::{CgroupChoice, ProcessOptions, ShimProcesses};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::{Exit, Job, JobEvent, JobSpec, Processes, Stdin};
use uuid::Uuid;

/// Longest wait of a test for anything.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// Finds a program that cargo built beside the tests, as text.
pub(super) fn example(name: &str) -> String {
    crate::programs::example(name).to_str().unwrap().to_owned()
}

/// A data directory with processes of one agent.
pub(super) struct World {
    pub(super) place: tempfile::TempDir,
    pub(super) agent: AgentId,
    pub(super) processes: ShimProcesses,
    pub(super) mark: String,
    cgroup: CgroupChoice,
}

impl World {
    pub(super) fn new(cgroup: CgroupChoice) -> Self {
        let place = tempfile::tempdir().unwrap();
        let agent = AgentId(Uuid::new_v4());
        let mark = format!("mark-{agent}");
        let processes = open(place.path(), cgroup.clone());
        Self { place, agent, processes, mark, cgroup }
    }

    /// Forgets the server and starts another one on the same directory.
    pub(super) fn restart(&mut self) {
        self.processes = open(self.place.path(), self.cgroup.clone());
    }

    pub(super) fn spec(&self, words: &[&str]) -> JobSpec {
        let command =
            std::iter::once(example("fake-agent")).chain(words.iter().map(|w| (*w).to_owned())).collect();
        JobSpec {
            agent: self.agent,
            name: "run-1".parse().unwrap(),
            command,
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("SECRET".into(), "canary-in-the-environment".into()),
            ],
            cwd: self.place.path().to_owned(),
            stdin: Stdin::Null,
            memo: None,
            output: self.output(),
            output_limit: 1024 * 1024,
            interrupt: None,
            time_limit: None,
        }
    }

    pub(super) fn output(&self) -> PathBuf {
        self.place.path().join("transcript")
    }

    pub(super) fn job_dir(&self) -> PathBuf {
        self.place.path().join("agents").join(self.agent.to_string()).join("runs/run-1")
    }

    pub(super) async fn start(&self, words: &[&str]) -> Box<dyn Job> {
        self.processes.start(self.spec(words)).await.unwrap()
    }

    /// Reads a number out of `shim.json`.
    pub(super) fn recorded(&self, who: &str) -> i32 {
        let text = std::fs::read_to_string(self.job_dir().join("shim.json")).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json[who]["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// Lists the processes whose command line has this world's mark.
    pub(super) fn survivors(&self) -> Vec<i32> {
        let marked = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(self.mark.len()).any(|part| part == self.mark.as_bytes()))
        };
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(marked).collect()
    }

    /// Returns the marked processes that stay: a `…-leaf` only passes through on its way to becoming one.
    fn settled(&self) -> usize {
        let passing = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(5).any(|part| part == b"-leaf"))
        };
        self.survivors().iter().filter(|pid| !passing(pid)).count()
    }

    /// Waits until at least so many marked processes live and stay.
    pub(super) async fn await_marked(&self, count: usize) {
        let deadline = Instant::now() + DEADLINE;
        while self.settled() < count {
            assert!(Instant::now() < deadline, "only {} of {count} came up", self.settled());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(super) fn open(data: &Path, cgroup: CgroupChoice) -> ShimProcesses {
    ShimProcesses::new(ProcessOptions {
        data_dir: data.to_owned(),
        shim_command: vec![example("shim"), "shim".to_owned()],
        cgroup,
        trash: None,
        open_files: None,
    })
}

/// The output and the exit that a job reported.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) output: Vec<u8>,
    pub(super) gaps: u64,
    pub(super) exit: Exit,
}

/// Follows a job to its end.
pub(super) async fn follow(job: &mut dyn Job) -> Story {
    let (mut output, mut gaps) = (Vec::new(), 0);
    loop {
        match tokio::time::timeout(DEADLINE, job.next()).await.expect("the job reports in time").unwrap() {
            JobEvent::Output(bytes) => output.extend(bytes),
            JobEvent::Gap(bytes) => gaps += bytes,
            JobEvent::Exited(exit) => return Story { output, gaps, exit },
        }
    }
}

/// Reads output until it has this line.
pub(super) async fn await_line(job: &mut dyn Job, line: &str) {
    let mut seen = Vec::new();
    loop {
        match tokio::time::timeout(DEADLINE, job.next()).await.expect("the job reports in time").unwrap() {
            JobEvent::Output(bytes) => seen.extend(bytes),
            other => panic!("{other:?} before {line:?}; output {:?}", String::from_utf8_lossy(&seen)),
        }
        if String::from_utf8_lossy(&seen).lines().any(|one| one == line) {
            return;
        }
    }
}
