//! Keeps a job's output: the first part in the output file, then one marker line, then the newest few MiB in two
//! files that take turns, so that a last line after a flood is still read. A slow or absent reader costs nothing.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mosaic_core::limits;

/// Length of the line at the head of an overflow file, which says where in the output its content begins.
pub(super) const HEADER: u64 = 32;

/// Returns the head of an overflow file.
fn header(start: u64) -> String {
    format!("mosaic-over {start:019}\n")
}

/// Reads the head of an overflow file.
pub(super) fn parse_header(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.strip_prefix("mosaic-over ")?.strip_suffix('\n')?.parse().ok()
}

/// Returns the path of a file that stands beside the output file.
pub(super) fn beside(output: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(output);
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the paths of the two overflow files.
pub(super) fn overflow_paths(output: &Path) -> [PathBuf; 2] {
    [beside(output, ".over0"), beside(output, ".over1")]
}

fn create(path: &Path, append: bool) -> io::Result<File> {
    File::options().create(true).write(!append).append(append).truncate(!append).mode(0o600).open(path)
}

/// Writes all of it and says how much was written before an error.
fn write_counted(file: &mut File, mut bytes: &[u8]) -> (u64, Option<io::Error>) {
    let mut done = 0;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return (done, Some(io::ErrorKind::WriteZero.into())),
            Ok(n) => {
                done += n as u64;
                bytes = &bytes[n..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (done, Some(e)),
        }
    }
    (done, None)
}

/// The writing side of a job's standard output.
#[derive(Debug)]
pub(super) struct OutputWriter {
    path: PathBuf,
    /// The output file, until the limit or an error closed it.
    main: Option<File>,
    base: u64,
    limit: u64,
    kept: u64,
    total: u64,
    overflow: Overflow,
    error: Option<String>,
}

impl OutputWriter {
    /// Opens the output file for appending and removes what an earlier job left beside it.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let main = create(path, true)?;
        let base = main.metadata()?.len();
        let paths = overflow_paths(path);
        for old in &paths {
            match fs::remove_file(old) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        let overflow = Overflow { paths, open: None, turn: 0 };
        Ok(Self {
            path: path.to_owned(),
            main: Some(main),
            base,
            limit,
            kept: 0,
            total: 0,
            overflow,
            error: None,
        })
    }

    /// Returns the length of the output file before this job.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// Returns how many bytes the job wrote.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Returns why something could not be kept, if that happened.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Takes what the job wrote. Never fails: what cannot be kept is counted and remembered.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        if let Some(main) = &mut self.main {
            let room = usize::try_from(self.limit - self.kept).unwrap_or(usize::MAX).min(bytes.len());
            let (done, error) = write_counted(main, &bytes[..room]);
            self.kept += done;
            self.total += done;
            bytes = &bytes[usize::try_from(done).unwrap_or(room)..];
            if let Some(e) = error {
                self.error = Some(format!("output could not be kept: {e}"));
                self.main = None;
                self.mark_error(&e);
            } else if !bytes.is_empty() {
                self.mark_limit();
            }
        }
        if !bytes.is_empty() {
            if let Err(e) = self.overflow.append(self.total, bytes) {
                self.error = Some(format!("output could not be kept: {e}"));
            }
            self.total += bytes.len() as u64;
        }
    }

    /// Says in the output file why it ends. There is no room for more, so the marker takes the place of the last bytes;
    /// its length is theirs, so that places in the output stay what they are.
    fn mark_error(&self, error: &io::Error) {
        let marker = format!("\n[mosaic: the rest was not kept: {error}]\n");
        let Some(at) = self.kept.checked_sub(marker.len() as u64) else { return };
        let written = File::options()
            .write(true)
            .open(&self.path)
            .and_then(|file| file.write_all_at(marker.as_bytes(), self.base + at));
        // Best effort: the exit says it too.
        drop(written);
    }

    /// Ends the output file with a line that says why it ends.
    fn mark_limit(&mut self) {
        if let Some(mut main) = self.main.take() {
            let marker =
                format!("\n[mosaic: output limit of {} bytes reached, the rest was not kept]\n", self.limit);
            // Best effort: the limit is also known from the specification.
            let _ = write_counted(&mut main, marker.as_bytes());
        }
    }
}

/// The two overflow files.
#[derive(Debug)]
struct Overflow {
    paths: [PathBuf; 2],
    /// The file being written and how much of the output is in it.
    open: Option<(File, u64)>,
    turn: usize,
}

impl Overflow {
    /// Keeps bytes that begin at `start` of the whole output. After an error the next call begins a new file, so
    /// that within a file there is never a hole.
    fn append(&mut self, start: u64, bytes: &[u8]) -> io::Result<()> {
        // Two files take turns, so that beginning one anew leaves the newest output whole in the other.
        if self.open.as_ref().is_none_or(|(_, used)| *used >= limits::OVERFLOW_BYTES) {
            let mut file = create(&self.paths[self.turn], false)?;
            self.turn = 1 - self.turn;
            file.write_all(header(start).as_bytes())?;
            self.open = Some((file, 0));
        }
        let Some((file, used)) = &mut self.open else { return Ok(()) };
        let (done, error) = write_counted(file, bytes);
        *used += done;
        match error {
            Some(e) => {
                self.open = None;
                Err(e)
            }
            None => Ok(()),
        }
    }
}

/// Standard error: the start in a file, the end in memory.
#[derive(Debug)]
pub(super) struct ErrorTail {
    /// Where the start goes; most jobs say nothing, and then no file is made.
    path: Option<PathBuf>,
    file: Option<File>,
    room: u64,
    tail: Vec<u8>,
}

impl ErrorTail {
    /// Keeps standard error in `<output>.err`, made with the first byte; only in memory when that fails.
    pub(super) fn open(output: &Path) -> Self {
        let path = beside(output, ".err");
        let used = path.metadata().map_or(0, |meta| meta.len());
        let room = limits::STDERR_BYTES.saturating_sub(used);
        Self { path: Some(path), file: None, room, tail: Vec::new() }
    }

    /// Takes what the job wrote.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        let most = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        if most > 0
            && let Some(path) = self.path.take()
        {
            // It is opened for appending: an earlier job with the same output file may have written there.
            self.file = create(&path, true).ok();
        }
        if let Some(file) = &mut self.file
            && most > 0
        {
            let (done, error) = write_counted(file, &bytes[..most]);
            self.room -= done;
            if error.is_some() {
                self.file = None;
            }
        }
        self.tail.extend_from_slice(bytes);
        let surplus = self.tail.len().saturating_sub(limits::STDERR_TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// Returns the end of it as text of at most the bound, without a broken first character.
    pub(super) fn text(&self) -> String {
        let start = self.tail.iter().take(3).take_while(|b| (**b & 0xc0) == 0x80).count();
        let cut = self.tail.len() == limits::STDERR_TAIL_BYTES;
        let text = String::from_utf8_lossy(&self.tail[if cut { start } else { 0 }..]);
        // A replacement character is longer than the byte it stands for.
        let mut from = text.len().saturating_sub(limits::STDERR_TAIL_BYTES);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        text[from..].to_owned()
    }
}
