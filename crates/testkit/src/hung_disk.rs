//! A disk that never answers: a FUSE file system whose server reads no request, mounted over a directory. Needs root and
//! `/dev/fuse`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::require;

/// Holds the device open and mounts; ends with its standard input, and every call that hangs with it.
const SERVE: &str = "exec 7<>/dev/fuse && \
    mount -i -t fuse -o fd=7,rootmode=40000,user_id=0,group_id=0 hung \"$0\" && echo mounted && read -r _";

/// A directory over which nothing answers, until this is dropped.
pub struct HungDisk {
    over: PathBuf,
    server: Child,
    input: Option<ChildStdin>,
}

/// Returns whether such a disk can be had; says why the test is skipped when not.
pub fn available() -> bool {
    let there = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
    require::have("mounts", there, "root and /dev/fuse")
}

impl HungDisk {
    /// Makes everything below this directory hang.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn over(directory: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", SERVE]).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut server = command.spawn().expect("sh starts");
        let mut line = String::new();
        let mut output = BufReader::new(server.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("it speaks");
        assert_eq!(line, "mounted\n", "nothing could be mounted over {}", directory.display());
        let input = server.stdin.take();
        Self { over: directory.to_owned(), server, input }
    }
}

impl Drop for HungDisk {
    fn drop(&mut self) {
        drop(self.input.take());
        // Both are all that can be done here; a test that fails says so by itself.
        let _ = self.server.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.over).status();
    }
}
