//! The official BullMQ client and Bull Board's API as an oracle: a Node process that is asked in JSON lines what it sees
//! of a queue, and told what to do to it. The packages are installed once into a cache directory, never into the tree.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

/// Far longer than any answer takes; only a fault reaches it.
const PATIENCE: Duration = Duration::from_secs(60);
/// The packages with their exact versions.
const PACKAGE: &str = include_str!("../bullmq/package.json");

/// Returns a directory whose `node_modules` has the packages: `MOSAIC_TEST_BULLMQ_DIR`, or one in the user's cache, where
/// npm puts them at the first use. `None` when that is not possible here; the reason is printed.
pub fn packages() -> Option<PathBuf> {
    let (found, how) = match find_or_install() {
        Ok(dir) => (Some(dir), String::new()),
        Err(e) => (None, e.to_string()),
    };
    crate::require::have("bullmq", found.is_some(), &how).then_some(found).flatten()
}

/// Requirements of the packages that this machine lacks.
#[derive(Debug, Error)]
enum PackagesError {
    #[error("the program node")]
    NoNode,
    #[error("a home directory")]
    NoHome,
    #[error("MOSAIC_TEST_BULLMQ_DIR has no node_modules with bullmq, ioredis and @bull-board/api")]
    Incomplete,
    #[error("{0}")]
    Install(String),
}

fn find_or_install() -> Result<PathBuf, PackagesError> {
    if !runs("node") {
        return Err(PackagesError::NoNode);
    }
    if let Some(given) = std::env::var_os("MOSAIC_TEST_BULLMQ_DIR").map(PathBuf::from) {
        let has = is_complete(&given);
        return has.then_some(given).ok_or(PackagesError::Incomplete);
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")));
    let dir = cache.ok_or(PackagesError::NoHome)?.join("mosaic-tests").join("bullmq-6.7.0");
    install(&dir).map(|()| dir)
}

fn is_complete(dir: &Path) -> bool {
    ["bullmq", "ioredis", "@bull-board/api"]
        .iter()
        .all(|one| dir.join("node_modules").join(one).join("package.json").is_file())
}

fn runs(program: &str) -> bool {
    let version = std::process::Command::new(program).arg("--version").output();
    version.is_ok_and(|out| out.status.success())
}

/// Installs what the lock file names, one process at a time.
fn install(dir: &Path) -> Result<(), PackagesError> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        PackagesError::Install(format!("{what} in {}: {e}", dir.display()))
    };
    std::fs::create_dir_all(dir).map_err(|e| failed("no directory could be made", &e))?;
    let lock = File::create(dir.join("installing")).map_err(|e| failed("no file could be made", &e))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).map_err(|e| failed("no lock", &e))?;
    let package = dir.join("package.json");
    if is_complete(dir) && std::fs::read_to_string(&package).is_ok_and(|text| text == PACKAGE) {
        return Ok(());
    }
    std::fs::write(&package, PACKAGE).map_err(|e| failed("nothing could be written", &e))?;
    let mut npm = std::process::Command::new("npm");
    // What is optional are native extras.
    npm.args([
        "install",
        "--no-package-lock",
        "--omit=optional",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]);
    npm.current_dir(dir).stdin(Stdio::null());
    let done = npm.output().map_err(|e| failed("npm could not be run", &e))?;
    if done.status.success() && is_complete(dir) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(failed("npm install failed", &said.lines().last().unwrap_or("it said nothing")))
}

/// Error that Node threw.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct NodeError(pub String);

/// Receivers of the answers, by the request's number.
type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, NodeError>>>>>;

/// The Node process. It ends with this value.
pub struct NodeOracle {
    stdin: AsyncMutex<(ChildStdin, u64)>,
    waiting: Waiting,
    _child: Child,
}

impl NodeOracle {
    /// Starts it on a queue of the server at this port. `packages` is what [`packages`] returned.
    pub fn start(packages: &Path, port: u16, prefix: &str, queue: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("bullmq/oracle.mjs");
        let what = json!({"port": port, "prefix": prefix, "queue": queue});
        let mut child = Command::new("node")
            .arg(script)
            .arg(what.to_string())
            .env("MOSAIC_TEST_BULLMQ_DIR", packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs, as was checked");
        let stdin = child.stdin.take().expect("it is piped");
        let stdout = child.stdout.take().expect("it is piped");
        let waiting = Waiting::default();
        // Ends with the process, whose output it reads.
        tokio::spawn(hand_out(stdout, Arc::clone(&waiting)));
        Self { stdin: AsyncMutex::new((stdin, 0)), waiting, _child: child }
    }

    /// Asks; the error is what Node threw. The verbs are in `bullmq/oracle.mjs`.
    pub async fn try_ask(&self, verb: &str, what: Value) -> Result<Value, NodeError> {
        let (tell, answer) = oneshot::channel();
        {
            let mut stdin = self.stdin.lock().await;
            stdin.1 += 1;
            let request = json!({"id": stdin.1, "verb": verb, "what": what});
            self.waiting.lock().insert(stdin.1, tell);
            let line = format!("{request}\n");
            stdin.0.write_all(line.as_bytes()).await.expect("node reads on");
        }
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer.unwrap_or_else(|_| panic!("node did not answer {verb}")).expect("node lives")
    }

    /// Asks; panics with what Node threw.
    pub async fn ask(&self, verb: &str, what: Value) -> Value {
        self.try_ask(verb, what).await.unwrap_or_else(|e| panic!("node could not {verb}: {e}"))
    }
}

async fn hand_out(stdout: ChildStdout, waiting: Waiting) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(mut answer) = serde_json::from_str::<Value>(&line) else { continue };
        let asked = answer["id"].as_u64().and_then(|id| waiting.lock().remove(&id));
        let result = match answer["error"].as_str() {
            Some(why) => Err(NodeError(why.to_owned())),
            None => Ok(answer["ok"].take()),
        };
        if let Some(asked) = asked {
            // Who asked may have given up.
            let _ = asked.send(result);
        }
    }
    // Nobody is answered any more.
    waiting.lock().clear();
}
