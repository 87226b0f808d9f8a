//! A real Valkey or Redis server for tests: on a free port, with a directory of its own, killed, paused and started again
//! at will. A small shell stands guard over it, so that it ends with the test program however that ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::require;

/// Longest wait for a server to answer: it may have to load what it kept.
const READY: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Runs the server and kills it when told to, or when whoever started it is gone.
const GUARD: &str = r#"dir=$1; shift; "$@" >>"$dir/log" 2>&1 & echo $!; read word; { kill -9 $!; wait $!; } 2>/dev/null
[ "$word" = keep ] || rm -rf "$dir""#;

/// A server that runs for a test.
pub struct ValkeyServer {
    program: PathBuf,
    options: Vec<String>,
    environment: Vec<(&'static str, String)>,
    dir: PathBuf,
    port: u16,
    running: Option<Running>,
}

struct Running {
    guard: Child,
    pid: Pid,
}

impl ValkeyServer {
    /// Starts a server with an append-only file that is synced every second; `None` (with a line that says so) when no
    /// server program is installed and nobody requires one.
    pub fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts a server with more options, as on its command line.
    pub fn start_with(options: &[&str]) -> Option<Self> {
        Self::start_in(options, &[])
    }

    /// Starts a server with more options and more environment.
    pub fn start_in(options: &[&str], environment: &[(&'static str, String)]) -> Option<Self> {
        let program = program();
        let hint = "install redis-server or valkey-server, or set MOSAIC_TEST_VALKEY_BIN";
        if !require::have("valkey", program.is_some(), hint) {
            return None;
        }
        let usual = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""];
        let dir = tempfile::Builder::new().prefix("mosaic-valkey-").tempdir().expect("a directory");
        let mut server = Self {
            program: program.expect("looked at above"),
            options: usual.iter().chain(options).map(|&one| one.to_owned()).collect(),
            environment: environment.to_vec(),
            dir: dir.keep(),
            port: free_port(),
            running: None,
        };
        // Somebody else may have taken the port meanwhile.
        for _ in 0..10 {
            if server.launch() {
                return Some(server);
            }
            server.port = free_port();
        }
        panic!("{} does not start:\n{}", server.program.display(), server.log());
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the directory with its files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the server's process id; panics while it is dead.
    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server runs").pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Kills it as a loss of the process would; what it kept stays.
    pub fn kill(&mut self) {
        self.stop("keep\n");
    }

    /// Starts it again on the same port and directory.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.launch(), "{} does not start again:\n{}", self.program.display(), self.log());
    }

    /// Starts it again as [`Self::restart`] does, with more options from now on, which win over those before.
    pub fn restart_with(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(|&one| one.to_owned()));
        self.restart();
    }

    /// Stops its process where it is; it answers nobody.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends one command, its words separated by spaces, and returns the first line of the answer.
    pub fn ask(&self, command: &str) -> std::io::Result<String> {
        ask(self.port, command)
    }

    /// Sends one command and returns the whole answer as it came.
    pub fn ask_all(&self, command: &str) -> std::io::Result<String> {
        ask_all(self.port, command)
    }

    fn signal(&self, signal: Signal) {
        let running = self.running.as_ref().expect("the server runs");
        kill_process(running.pid, signal).expect("the server is a process of ours");
    }

    /// Returns whether it answers.
    fn launch(&mut self) -> bool {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&self.dir)
            .arg(&self.program)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--daemonize", "no", "--dir"])
            .arg(&self.dir)
            .args(&self.options)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut line = String::new();
        let told = BufReader::new(guard.stdout.take().expect("it was asked for")).read_line(&mut line);
        told.expect("the guard says the process id");
        let pid = line.trim().parse().ok().and_then(Pid::from_raw).expect("a process id");
        self.running = Some(Running { guard, pid });
        let until = Instant::now() + READY;
        while Instant::now() < until {
            if ask(self.port, "PING").is_ok_and(|answer| answer == "+PONG") && self.is_ours() {
                return true;
            }
            if self.has_ended() {
                break;
            }
            std::thread::sleep(LOOK);
        }
        self.kill();
        false
    }

    /// Tells whether who answers on the port is the process that was started.
    fn is_ours(&self) -> bool {
        let dir = format!("{}", self.dir.display());
        ask_all(self.port, "CONFIG GET dir").is_ok_and(|answer| answer.contains(&dir))
    }

    fn has_ended(&self) -> bool {
        // The guard reaps the server only when it is told to stop, so a server that died by itself is a zombie until
        // then.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|rest| rest.starts_with('Z') || rest.is_empty())
    }

    fn stop(&mut self, word: &str) {
        if let Some(mut running) = self.running.take() {
            let told =
                running.guard.stdin.take().is_some_and(|mut stdin| stdin.write_all(word.as_bytes()).is_ok());
            debug_assert!(told, "the guard listens as long as it lives");
            // The guard ends after it has reaped the server. From here on the port is free, and no late write can
            // follow.
            drop(running.guard.wait());
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }
}

impl Drop for ValkeyServer {
    fn drop(&mut self) {
        self.stop("\n");
        // Also when it was killed before; there is nothing to do about a directory that stays.
        drop(std::fs::remove_dir_all(&self.dir));
    }
}

/// Returns the server program: `MOSAIC_TEST_VALKEY_BIN`, or what PATH has.
fn program() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("MOSAIC_TEST_VALKEY_BIN") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let places = ["valkey-server", "redis-server"];
    let found = places.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    found.into_iter().find(|file| file.is_file())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

fn connect(port: u16, command: &str) -> std::io::Result<TcpStream> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    Ok(stream)
}

pub(crate) fn ask(port: u16, command: &str) -> std::io::Result<String> {
    let mut line = String::new();
    BufReader::new(connect(port, command)?).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

pub(crate) fn ask_all(port: u16, command: &str) -> std::io::Result<String> {
    let mut stream = connect(port, command)?;
    // Having answered, it closes the connection; a Sentinel knows no QUIT.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
