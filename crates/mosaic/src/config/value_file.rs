//! Files that hold the value of a setting: regular ones, and pipes that somebody writes into, as `<(program)` of a shell
//! is. A pipe that nobody writes into is refused and not waited for.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use mosaic_adapters::bounded_file;
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Longest wait for a program to write a value into a pipe.
const PIPE: Duration = Duration::from_secs(5);
/// Period at which a pipe is looked at.
const PIPE_STEP: Duration = Duration::from_millis(10);

/// Reads a value of at most so many bytes.
pub(super) fn read(path: &Path, most: u64) -> io::Result<String> {
    if std::fs::metadata(path)?.file_type().is_fifo() {
        pipe(path, most)
    } else {
        bounded_file::read_linked_text(path, most)
    }
}

fn pipe(path: &Path, most: u64) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(openat(CWD, path, flags, Mode::empty())?);
    let until = Instant::now() + PIPE;
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match file.read(&mut piece) {
            // The kernel answers 0 while no writer has the pipe open, and EAGAIN while a writer has it open and has
            // written nothing.
            Ok(0) if bytes.is_empty() => {
                return Err(io::Error::other("it is a pipe that nobody writes into"));
            }
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(PIPE_STEP)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the pipe was not written to its end in time",
                ));
            }
            Err(e) => return Err(e),
        }
        if bytes.len() as u64 > most {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it has more than {most} bytes"),
            ));
        }
    }
    String::from_utf8(bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_read_when_somebody_writes_and_refused_when_nobody_does() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("value");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(read(&path, 100).unwrap_err().to_string().contains("nobody writes"));
        // Both ends are open before it is read, as they are behind `<(program)`.
        let end = File::options().read(true).write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &end, b"secret\n").unwrap();
        let closing = std::thread::spawn(move || drop(end));
        assert_eq!(read(&path, 100).unwrap(), "secret\n");
        closing.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "plain").unwrap();
        assert_eq!(read(&path, 5).unwrap(), "plain");
        assert_eq!(read(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
