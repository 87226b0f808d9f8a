//! The job directory, `<data>/agents/<agent>/runs/<job>/`: what is intended, who supervises, how it ended. Every
//! file carries a layout version, because the server that reads it may be newer than the shim that wrote it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::processes::{Exit, JobSpec};
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::bounded_file::{self, put_aside_unless_plain};
use crate::durable_write::WholeFile;

use super::containment::{Containment, NamespaceMaker};
use super::linux::ProcessRef;
use super::rung::Rung;

/// Version of the files in a job directory.
pub(crate) const LAYOUT: u32 = 1;

/// Longest record that is read, in bytes: arguments and names with room to spare.
const RECORD_BYTES: u64 = 64 * 1024 * 1024;

/// `spec.json`: what is to run. On disk without the values of the environment, which may hold keys; the whole of
/// it reaches the shim through a pipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SpecFile {
    /// Layout version.
    pub(crate) version: u32,
    /// The specification of the program that runs.
    pub(crate) job: JobSpec,
    /// The job's cgroup, when it is to have one.
    #[serde(default)]
    pub(crate) cgroup: Option<PathBuf>,
    /// Time since the machine's start at which the job is frozen and killed unless the server extends it; none without a
    /// lease.
    #[serde(default)]
    pub(crate) lease_until: Option<Duration>,
    /// The way to make a pid namespace for a job that gets no cgroup.
    #[serde(default)]
    pub(crate) namespace: Option<NamespaceMaker>,
    /// Processes at once after which the job is ended; none for the usual bound.
    #[serde(default)]
    pub(crate) most_processes: Option<u32>,
    /// Where the kernel counts and bounds the job's processes, when its cgroup does not.
    #[serde(default)]
    pub(crate) fence: Option<PathBuf>,
    /// Open files that the program may have without asking for more; none for what the supervisor has.
    #[serde(default)]
    pub(crate) open_files: Option<u64>,
}

/// `shim.json`: who supervises.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShimFile {
    /// Layout version.
    pub(crate) version: u32,
    /// The shim, leader of the job's session.
    pub(crate) shim: ProcessRef,
    /// The main process; none when it could not be started.
    pub(crate) child: Option<ProcessRef>,
    /// The boot in which these ids mean something.
    pub(crate) boot_id: String,
    /// The cgroup in which the job really runs; none when it could not be made.
    pub(crate) cgroup: Option<PathBuf>,
    /// The fence around it, likewise.
    #[serde(default)]
    pub(crate) fence: Option<PathBuf>,
    /// Length of the output file when the job began.
    pub(crate) output_base: u64,
    /// The means that holds the job together. Shims outlive their server, so the name in the file stays.
    #[serde(default, rename = "confinement")]
    pub(crate) containment: Containment,
}

/// `exit.json`: how it ended. It exists once nothing of the job is alive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExitFile {
    /// Layout version.
    pub(crate) version: u32,
    /// The exit as the port reports it.
    pub(crate) exit: Exit,
    /// The furthest rung of the kill ladder.
    pub(crate) rung: String,
    /// The means that held the job together; none when no shim recorded it. The name in the file is that of earlier builds.
    #[serde(default, rename = "confinement")]
    pub(crate) containment: Option<Containment>,
    /// Why part of the output could not be kept, such as a full disk.
    #[serde(default)]
    pub(crate) output_error: Option<String>,
}

impl ExitFile {
    /// Returns the exit. The file lies where the agent can write: of a receipt only known words are passed on.
    pub(crate) fn into_exit(self) -> Exit {
        let Self { mut exit, rung, containment, .. } = self;
        if let Some(receipt) = &mut exit.receipt {
            receipt.rung = Rung::from_record(&rung).word().to_owned();
            receipt.confinement = containment.map(Containment::word).unwrap_or_default().to_owned();
            // A shim writes its exit after nothing of the job is left, so another number can only be forged.
            receipt.processes_after = 0;
            // A container is its sandbox's to name, never a shim's.
            receipt.container = None;
        }
        exit
    }
}

/// One job's directory.
#[derive(Debug, Clone)]
pub(crate) struct JobDir(PathBuf);

impl JobDir {
    /// Names a directory that may or may not exist.
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns its path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the data directory that it lies in; nothing for one that lies elsewhere.
    pub(crate) fn data(&self) -> Option<&Path> {
        data_of(&self.0)
    }

    /// Returns `<agent>/<job>`, for errors and logs.
    pub(crate) fn label(&self) -> String {
        let part =
            |path: Option<&Path>| path.and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned());
        let agent = part(self.0.parent().and_then(Path::parent)).unwrap_or_default();
        format!("{agent}/{}", part(Some(&self.0)).unwrap_or_default())
    }

    /// Makes it, for its owner only. Fails when the agent had a job of this name.
    pub(crate) fn make(&self) -> io::Result<()> {
        let above = self.0.parent().unwrap_or(&self.0);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(above)?;
        // The last directory must be new. Two supervisors of one job would write one output file and one
        // exit, so the file system decides which of two starts is the first.
        fs::DirBuilder::new().mode(0o700).create(&self.0)
    }

    /// Opens the lock file, which the shim holds for its life. The agent can write here: what stands there instead, such
    /// as a pipe that would hold whoever opens it, is moved aside.
    fn lock_file(&self) -> io::Result<File> {
        let path = self.0.join("lock");
        put_aside_unless_plain(&path)?;
        let mut options = File::options();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(harmless());
        options.open(path)
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_lock(&self) -> io::Result<Option<File>> {
        let file = self.lock_file()?;
        // The kernel drops the lock with the last descriptor of the file, however its holder ends, and the
        // program of the job does not inherit the descriptor. A file with a process number would say nothing
        // after a SIGKILL, once the number is used again.
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(e) if e == rustix::io::Errno::WOULDBLOCK => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Reads a file of the layout; `None` when there is none yet.
    pub(crate) fn load<T: Versioned>(&self) -> io::Result<Option<T>> {
        match bounded_file::read(&self.0.join(T::NAME), RECORD_BYTES) {
            Ok(text) => T::parse(&text).map(Some),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Writes a file of the layout so that a reader sees all of it or nothing.
    pub(crate) fn save<T: Versioned>(&self, value: &T) -> io::Result<()> {
        let (text, path) = (serde_json::to_vec(value)?, self.0.join(T::NAME));
        // No sync: a loss of power ends every process that these files tell of, and the boot id in `shim.json` shows the next
        // server that it happened. A start and an end of each job would wait for the disk otherwise.
        WholeFile::at(&path).without_sync().fill(|file| {
            file.write_all(&text)?;
            put_aside_unless_plain(&path)
        })
    }

    /// Tells whether a supervisor said who it is.
    pub(crate) fn has_begun(&self) -> bool {
        self.0.join(ShimFile::NAME).symlink_metadata().is_ok_and(|meta| meta.is_file())
    }

    /// Tells whether the job has ended cleanly.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.join(ExitFile::NAME).exists()
    }
}

/// Returns the flags with which opening a name that an agent may have planted neither waits nor leads elsewhere.
fn harmless() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits().cast_signed()
}

/// A file of the layout.
pub(crate) trait Versioned: Serialize + DeserializeOwned {
    /// Its name in the job directory.
    const NAME: &'static str;

    /// Parses its text. Refuses a layout newer than this program knows, by name.
    fn parse(text: &[u8]) -> io::Result<Self> {
        #[derive(Deserialize)]
        struct Header {
            version: u32,
        }
        let header: Header = serde_json::from_slice(text)?;
        if header.version > LAYOUT {
            let why = format!(
                "{} has layout {}, newer than {LAYOUT}: use the newer program",
                Self::NAME,
                header.version
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(serde_json::from_slice(text)?)
    }
}

impl Versioned for SpecFile {
    const NAME: &'static str = "spec.json";
}
impl Versioned for ShimFile {
    const NAME: &'static str = "shim.json";
}
impl Versioned for ExitFile {
    const NAME: &'static str = "exit.json";
}

/// Returns the data directory of a job directory.
pub(crate) fn data_of(job: &Path) -> Option<&Path> {
    let mut above = job.ancestors().skip(1);
    let is = |dir: Option<&Path>, name: &str| dir.and_then(Path::file_name).is_some_and(|is| is == name);
    let shaped = is(above.next(), "runs") && above.next().is_some() && is(above.next(), "agents");
    above.next().filter(|_| shaped)
}

/// Returns the directory of an agent's jobs.
pub(crate) fn runs(data: &Path, agent: AgentId) -> PathBuf {
    data.join("agents").join(agent.to_string()).join("runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_samples_still_load() {
        let spec = SpecFile::parse(include_bytes!("../../tests/data/process-v1/spec.json")).unwrap();
        assert_eq!(spec.job.command, ["git", "status"]);
        assert_eq!(spec.job.time_limit, Some(Duration::from_secs(90)));
        let shim = ShimFile::parse(include_bytes!("../../tests/data/process-v1/shim.json")).unwrap();
        assert_eq!(shim.child.map(|child| child.pid), Some(4243));
        let exit = ExitFile::parse(include_bytes!("../../tests/data/process-v1/exit.json")).unwrap();
        assert_eq!((exit.exit.code, exit.exit.leaked, exit.rung.as_str()), (Some(3), 2, "term"));
    }

    #[test]
    fn a_newer_layout_is_refused_by_name() {
        let error = ExitFile::parse(br#"{"version":2,"anything":1}"#).unwrap_err();
        assert!(error.to_string().contains("layout 2"), "{error}");
    }

    #[test]
    fn what_an_agent_planted_neither_holds_nor_misleads_anybody() {
        let place = tempfile::tempdir().unwrap();
        let outside = place.path().join("outside");
        std::fs::write(&outside, "untouched").unwrap();
        let dir = JobDir::at(place.path().join("agents/a/runs/run-1"));
        dir.make().unwrap();
        let exit =
            ExitFile::parse(br#"{"version":1,"exit":{"code":0,"signal":null,"timedOut":false,"leaked":0,"outputBytes":0,"stderrTail":"","startError":null},"rung":"none"}"#).unwrap();
        for name in ["lock", ExitFile::NAME] {
            let path = dir.path().join(name);
            let plant: [&dyn Fn(); 4] = [
                &|| assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
                &|| std::os::unix::fs::symlink(&outside, &path).unwrap(),
                &|| std::os::unix::fs::symlink("/dev/zero", &path).unwrap(),
                &|| std::fs::create_dir_all(path.join("full/of/things")).unwrap(),
            ];
            for plant in plant {
                // What is not there need not go.
                let _ = std::fs::remove_file(&path);
                plant();
                assert!(dir.try_lock().unwrap().is_some());
                dir.save(&exit).unwrap();
                assert_eq!(dir.load::<ExitFile>().unwrap(), Some(exit.clone()));
            }
        }
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "untouched");
    }

    #[test]
    fn the_lock_is_held_once() {
        let place = tempfile::tempdir().unwrap();
        let dir = JobDir::at(place.path().join("agents/a/runs/run-1"));
        dir.make().unwrap();
        let held = dir.try_lock().unwrap();
        assert!(held.is_some() && dir.try_lock().unwrap().is_none());
        drop(held);
        assert!(dir.try_lock().unwrap().is_some());
        assert_eq!(dir.label(), "a/run-1");
    }
}
