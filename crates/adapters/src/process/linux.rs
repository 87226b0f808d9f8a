//! Facts about processes from `/proc`, and signals that cannot hit the wrong one. All Linux-only code of the
//! process adapter that reads `/proc` is here.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use mosaic_core::limits;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::bounded_file;

/// Largest environment of a process that is read, in bytes: what the kernel lets arguments and environment take at most
/// with the usual stack. A process can point it at anything it has in memory.
const ENVIRONMENT_BYTES: u64 = 2 * 1024 * 1024;

/// Identifies a process beyond the reuse of its number: a number and its start time occur once per boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessRef {
    /// Process id.
    pub(crate) pid: i32,
    /// Start time in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub(crate) start: u64,
}

/// One line of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) process: ProcessRef,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    /// It is dead as a whole and only has to be buried.
    pub(crate) zombie: bool,
    /// Its first thread has ended, others run on. The kernel calls it a zombie too, shows neither its command line nor its
    /// environment, and a signal to its first thread alone reaches nobody.
    pub(crate) leaderless: bool,
    /// Stopped by a signal.
    pub(crate) stopped: bool,
}

/// Reads `/proc/<pid>/stat`; `None` when there is no such process any more.
pub(crate) fn look(pid: i32) -> Option<Seen> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let mut seen = parse_stat(pid, &text)?;
    // The state in the line is that of the first thread. When that one has ended, it stays `Z` whatever the
    // others do, and a freeze of the process could never be verified by it.
    seen.stopped |= seen.leaderless && all_stopped(pid);
    Some(seen)
}

/// Tells whether every living thread of a process is stopped.
fn all_stopped(pid: i32) -> bool {
    let look = |thread| {
        let text = std::fs::read(format!("/proc/{pid}/task/{thread}/stat")).ok()?;
        let end = text.iter().rposition(|b| *b == b')')?;
        text.get(end + 2).copied()
    };
    let mut living = threads(pid).filter_map(look).filter(|state| !matches!(state, b'Z' | b'X'));
    living.all(|state| matches!(state, b'T' | b't'))
}

/// Parses a `stat` line. The command name may hold anything, so the fields are counted from its last parenthesis.
fn parse_stat(pid: i32, text: &[u8]) -> Option<Seen> {
    let end = text.iter().rposition(|b| *b == b')')?;
    let mut fields = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let threads: u64 = fields.nth(13)?.parse().ok()?;
    let start = fields.nth(1)?.parse().ok()?;
    let (ended, stopped) = (matches!(state, "Z" | "X"), matches!(state, "T" | "t"));
    let (zombie, leaderless) = (ended && threads <= 1, ended && threads > 1);
    Some(Seen { process: ProcessRef { pid, start }, parent, session, zombie, leaderless, stopped })
}

/// Resources that one process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Own CPU and that of children it waited for, in clock ticks.
    pub(crate) cpu: u64,
    /// CPU of children it waited for alone, in clock ticks.
    pub(crate) children: u64,
    /// Resident memory, in pages.
    pub(crate) pages: u64,
    /// Bytes read from storage, waited-for children included; 0 where the kernel does not say.
    pub(crate) read: u64,
    /// Bytes written to storage, likewise.
    pub(crate) written: u64,
}

/// Reads what exactly this process uses; `None` when it is gone, or its number is somebody else's now.
pub(crate) fn figures(process: ProcessRef) -> Option<Figures> {
    let text = std::fs::read(format!("/proc/{}/stat", process.pid)).ok()?;
    let mut figures = parse_figures(process, &text)?;
    // The kernel shows this file only to those who may trace the process. A program that is set-user-id keeps
    // it to itself, and its bytes count as none.
    let io = std::fs::read_to_string(format!("/proc/{}/io", process.pid)).unwrap_or_default();
    for line in io.lines() {
        match line.split_once(": ") {
            Some(("read_bytes", n)) => figures.read = n.parse().unwrap_or(0),
            Some(("write_bytes", n)) => figures.written = n.parse().unwrap_or(0),
            _ => {}
        }
    }
    // The number may have gone to somebody else between the two files.
    look(process.pid).is_some_and(|now| now.process == process).then_some(figures)
}

/// Parses a `stat` line for fields 14 to 17 (times) and 24 (resident pages).
fn parse_figures(process: ProcessRef, text: &[u8]) -> Option<Figures> {
    if parse_stat(process.pid, text)?.process != process {
        return None;
    }
    let end = text.iter().rposition(|b| *b == b')')?;
    let fields: Vec<&str> = std::str::from_utf8(&text[end + 1..]).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    let children = number(13) + number(14);
    Some(Figures {
        cpu: number(11) + number(12) + children,
        children,
        pages: number(21),
        ..Figures::default()
    })
}

/// Lists every process that can be seen.
pub(crate) fn everything() -> Vec<Seen> {
    // The table is not read at one moment. A process that forks while it is read is missed when its child
    // gets a number that was passed already, so nobody may conclude from one reading that a tree is gone.
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(look).collect()
}

/// Lists the numbers of all living processes that can be seen.
pub(crate) fn living() -> Vec<i32> {
    everything().into_iter().filter(|seen| !seen.zombie).map(|seen| seen.process.pid).collect()
}

/// Returns what `all` knows of the trees below `roots`, the roots left out, zombies included.
pub(crate) fn below(all: &[Seen], roots: &[i32]) -> Vec<Seen> {
    let mut children: HashMap<i32, Vec<Seen>> = HashMap::new();
    for seen in all {
        children.entry(seen.parent).or_default().push(*seen);
    }
    // A list that was read while processes came and went may name two of them as the parents of each other.
    // Each number is followed once, so that such a circle ends.
    let (mut found, mut open, mut known) = (Vec::new(), roots.to_vec(), HashSet::new());
    while let Some(parent) = open.pop() {
        for seen in children.get(&parent).into_iter().flatten() {
            if known.insert(seen.process.pid) {
                open.push(seen.process.pid);
                found.push(*seen);
            }
        }
    }
    found
}

/// Sends a signal to exactly this process; false when it is gone. The handle is opened first and the start time
/// compared afterwards, so a number that was given to somebody else meanwhile is left alone.
pub(crate) fn signal(process: ProcessRef, signal: Signal) -> bool {
    let Some(pid) = Pid::from_raw(process.pid) else { return false };
    // From here on the handle names one process, whatever becomes of its number. Comparing first and opening
    // afterwards would leave a moment in which the number can be given to another one.
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return false };
    if look(process.pid).is_none_or(|now| now.process != process) {
        return false;
    }
    pidfd_send_signal(&handle, signal).is_ok()
}

/// Lists the threads of a process, the first ones of many.
pub(crate) fn threads(pid: i32) -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(limits::LEADERLESS_THREADS)
}

/// Returns the processes of threads that no list of processes names: their first threads have ended.
pub(crate) fn processes_of(threads: &[i32], known: &HashSet<i32>) -> HashSet<i32> {
    let process = |thread: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        let pid: i32 = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?;
        Some(pid).filter(|pid| !known.contains(pid))
    };
    threads.iter().filter(|thread| !known.contains(thread)).filter_map(process).collect()
}

/// Kills what lives below a process, once.
pub(crate) fn kill_below(pid: i32) {
    for seen in below(&everything(), &[pid]).into_iter().filter(|seen| !seen.zombie) {
        signal(seen.process, Signal::KILL);
    }
}

/// Returns variables of the environment that a process was started with; of a leaderless one a living thread tells it.
pub(crate) fn variables<const N: usize>(seen: &Seen, names: [&str; N]) -> [Option<String>; N] {
    let pid = seen.process.pid;
    let read = |path: String| bounded_file::read_prefix(Path::new(&path), ENVIRONMENT_BYTES).ok();
    let environment = match seen.leaderless {
        false => read(format!("/proc/{pid}/environ")),
        true => threads(pid)
            .filter_map(|thread| read(format!("/proc/{pid}/task/{thread}/environ")))
            .find(|environment| !environment.is_empty()),
    };
    let environment = environment.unwrap_or_default();
    names.map(|name| {
        let mut all = environment.split(|b| *b == 0).filter_map(|one| std::str::from_utf8(one).ok());
        all.find_map(|one| one.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    })
}

/// Returns the id of this boot, which tells whether recorded process ids still mean anything.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Returns where the cgroup v2 hierarchy is mounted, read from the text of `/proc/self/mountinfo`; hybrid hosts
/// have it beside the v1 controllers.
pub(crate) fn cgroup2_mount(mountinfo: &str) -> Option<&Path> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        right.starts_with("cgroup2 ").then(|| left.split(' ').nth(4).map(Path::new))?
    })
}

/// Returns this process's cgroup v2 path, relative to the mount and without the leading slash.
pub(crate) fn own_cgroup() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::/")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_with_a_hostile_name_is_read() {
        let line = b"42 (a) R 1 (b) S 7 8 9 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 987654 10 11\n";
        let seen = parse_stat(42, line).unwrap();
        assert_eq!((seen.parent, seen.session, seen.process.start, seen.zombie), (7, 9, 987_654, false));
        assert_eq!(parse_stat(1, b"1 (x"), None);
    }

    #[test]
    fn a_process_whose_first_thread_has_ended_is_dead_only_without_others() {
        let with = |threads: &str| {
            let line = format!("42 (a) Z 7 8 9 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 {threads} 0 987654 10 11\n");
            let seen = parse_stat(42, line.as_bytes()).unwrap();
            (seen.zombie, seen.leaderless)
        };
        assert_eq!((with("0"), with("1"), with("2")), ((true, false), (true, false), (false, true)));
    }

    #[test]
    fn figures_are_of_this_very_process() {
        let line = b"42 (a) R 1 (b) S 7 8 9 0 -1 4194560 1 0 0 0 1 2 3 4 20 0 1 0 987654 10 11\n";
        let process = ProcessRef { pid: 42, start: 987_654 };
        let figures = parse_figures(process, line).unwrap();
        assert_eq!((figures.cpu, figures.children, figures.pages), (10, 7, 11));
        assert_eq!(parse_figures(ProcessRef { start: 1, ..process }, line), None);
    }

    #[test]
    fn the_own_process_is_found_below_its_parent() {
        let me = look(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(below(&everything(), &[me.parent]).iter().any(|seen| seen.process == me.process));
        assert!(
            !signal(ProcessRef { start: me.process.start + 1, ..me.process }, Signal::KILL),
            "still here"
        );
    }

    #[test]
    fn cgroup2_is_found_on_unified_and_hybrid_hosts() {
        let hybrid = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw";
        assert_eq!(cgroup2_mount(hybrid), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup2_mount("1 2 0:3 / /proc rw - proc proc rw"), None);
    }
}
