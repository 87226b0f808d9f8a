//! A real Sentinel for tests: watches a server and its replicas and makes a replica the primary when that one is gone. It
//! ends with the test program however that ends.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::require;
use crate::valkey_server::{ask, ask_all};

/// Name by which Sentinels know the server here.
pub const MASTER: &str = "mymaster";
/// Longest wait for it to answer.
const READY: Duration = Duration::from_secs(30);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Runs it and kills it when whoever started it is gone.
const GUARD: &str = r#"dir=$1; shift; "$@" >>"$dir/log" 2>&1 & echo $!; read word; { kill -9 $!; wait $!; } 2>/dev/null
rm -rf "$dir""#;

/// A Sentinel that runs for a test.
pub struct ValkeySentinel {
    guard: Child,
    port: u16,
}

impl ValkeySentinel {
    /// Starts one that watches the server on this port of the loopback; `None` (with a line that says so) when no program
    /// for it is installed and nobody requires one.
    pub fn watch(server: u16) -> Option<Self> {
        let program = program();
        let hint = "install redis-sentinel or valkey-sentinel";
        if !require::have("valkey", program.is_some(), hint) {
            return None;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .expect("a free port")
            .local_addr()
            .expect("bound")
            .port();
        let dir = tempfile::Builder::new().prefix("mosaic-sentinel-").tempdir().expect("a directory").keep();
        let file = dir.join("sentinel.conf");
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor {MASTER} 127.0.0.1 {server} 1\n\
             sentinel down-after-milliseconds {MASTER} 500\nsentinel failover-timeout {MASTER} 3000\n",
            dir.display()
        );
        std::fs::write(&file, text).expect("the file can be written");
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .args([&dir, &program.expect("looked at above"), &file])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut line = String::new();
        let told = BufReader::new(guard.stdout.take().expect("it was asked for")).read_line(&mut line);
        told.expect("the guard says the process id");
        let sentinel = Self { guard, port };
        sentinel.until("the Sentinel answers", || ask(port, "PING").is_ok_and(|answer| answer == "+PONG"));
        Some(sentinel)
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it knows so many replicas that it could make the primary.
    pub fn wait_for_replicas(&self, count: usize) {
        let knows = || {
            // One "flags" field per replica; one that is down or unknown has more words in it than "slave".
            ask_all(self.port, &format!("SENTINEL replicas {MASTER}")).is_ok_and(|answer| {
                let lines: Vec<&str> = answer.lines().collect();
                // A Sentinel refuses a failover (NOGOODSLAVE) while it knows no replica whose link was up of late.
                let usable = lines.windows(3).filter(|w| w[0] == "flags" && w[2] == "slave").count();
                let linked =
                    lines.windows(3).filter(|w| w[0] == "master-link-status" && w[2] == "ok").count();
                usable == count && linked == count
            })
        };
        self.until("the Sentinel knows the replicas", knows);
    }

    /// Returns the port of the server that it names as the primary.
    pub fn primary(&self) -> Option<u16> {
        let answer = ask_all(self.port, &format!("SENTINEL get-master-addr-by-name {MASTER}")).ok()?;
        answer.lines().nth(4)?.trim().parse().ok()
    }

    /// Has it make a replica the primary; false when it does not begin now.
    pub fn fail_over(&self) -> bool {
        ask(self.port, &format!("SENTINEL FAILOVER {MASTER}")).is_ok_and(|answer| answer == "+OK")
    }

    fn until(&self, what: &str, mut look: impl FnMut() -> bool) {
        let end = Instant::now() + READY;
        while !look() {
            assert!(Instant::now() < end, "waited in vain: {what}");
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for ValkeySentinel {
    fn drop(&mut self) {
        // The guard kills it when its standard input ends.
        drop(self.guard.stdin.take());
        drop(self.guard.wait());
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = ["valkey-sentinel", "redis-sentinel"];
    let found = places.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name)));
    found.into_iter().find(|file| file.is_file())
}
