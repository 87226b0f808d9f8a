//! Agents that write too much or no text at all: the run goes on, memory stays bounded, nothing is left behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mosaic_testkit::git_fixture::Fixture;

use super::support::{Home, Server, body, script};

/// Most that the server may grow, in KiB.
const GROWTH_KIB: u64 = 64 * 1024;
/// What is kept of the raw output of one run, in bytes, and what the newest part past it may take.
const QUOTA: u64 = (256 + 8 + 1) * 1024 * 1024;

/// Reads a line of `/proc/<pid>/status`, in KiB.
fn memory(server: &Server<'_>, line: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

fn bytes_in(dir: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let size = |entry: std::fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        _ => entry.metadata().map_or(0, |m| m.len()),
    };
    entries.flatten().map(size).sum()
}

/// Runs one agent while liveness is asked again and again; returns the agent's id.
fn through(server: &Server<'_>, fixture: &Fixture, task: &str) -> String {
    // One life before, so that what every server needs is there already.
    let before = memory(server, "VmRSS");
    let began = Instant::now();
    let id = server.spawn(&body(&fixture.url(), task));
    let over = AtomicBool::new(false);
    let (agent, slowest) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut slowest = std::time::Duration::ZERO;
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                server.http.get("/health").expect(200);
                slowest = slowest.max(began.elapsed());
            }
            slowest
        });
        let agent = server.ended(&id);
        over.store(true, Ordering::Relaxed);
        (agent, asked.join().unwrap())
    });
    assert_eq!(agent["status"], "completed", "{agent:#}\n{}", server.log());
    let grown = memory(server, "VmHWM").saturating_sub(before);
    eprintln!("{task}: {:?}, the server grew by {grown} KiB, slowest answer {slowest:?}", began.elapsed());
    assert!(grown <= GROWTH_KIB, "the server grew by {grown} KiB");
    assert!(slowest.as_secs() < 5, "liveness took {slowest:?}");
    id
}

#[test]
fn a_flood_is_cut_at_the_quota_and_the_run_goes_on() {
    let mb: u64 = std::env::var("MOSAIC_FLOOD_MB").map_or(300, |text| text.parse().unwrap());
    let (home, fixture) = (Home::new(), Fixture::new());
    let agent = format!(
        "yes \"$(head -c 127 /dev/zero | tr '\\0' f)\" | head -c {mb}000000\necho\necho the very end\necho x > x.txt\n"
    );
    let line = script(home.path(), "agent.sh", &agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = through(&server, &fixture, "flood");
    let agent = server.agent(&id);
    assert!(agent["result"].as_str().unwrap().ends_with("the very end"), "{agent:#}");
    let kept = bytes_in(&home.data());
    eprintln!("flood: {kept} bytes are kept");
    assert!(kept < 2 * QUOTA, "{kept} bytes are kept");
    let mut raw = Vec::new();
    let files = walk(&home.data().join("transcripts"));
    let largest = files.iter().max_by_key(|path| path.metadata().unwrap().len()).unwrap();
    assert!(largest.metadata().unwrap().len() <= QUOTA, "{}", largest.display());
    if mb > 256 {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = std::fs::File::open(largest).unwrap();
        file.seek(SeekFrom::End(-4096)).unwrap();
        file.read_to_end(&mut raw).unwrap();
        let tail = String::from_utf8_lossy(&raw);
        assert!(tail.lines().any(|l| l.contains("mosaic") && !l.contains("fff")), "no marker: {tail}");
    }
    assert!(!home.data().join("agents").join(&id).exists());
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            all.extend(walk(&entry.path()))
        } else {
            all.push(entry.path())
        }
    }
    all
}

#[test]
fn an_endless_line_and_bytes_that_are_no_text_do_no_harm() {
    let (home, fixture) = (Home::new(), Fixture::new());
    let agent = "head -c 100000000 /dev/zero | tr '\\0' l\necho\n\
                 printf 'a\\0b\\377\\376\\303(\\n\\033[31mred\\033]0;title\\007\\n\\342\\200\\256rtl\\n'\n\
                 head -c 200000 /dev/urandom >&2\necho the very end\necho x > x.txt\n";
    let line = script(home.path(), "agent.sh", agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = through(&server, &fixture, "line");
    assert!(server.agent(&id)["result"].as_str().unwrap().contains("the very end"));
    let shown = server.cli(&["logs", &id]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success() && text.contains("red") && text.contains("the very end"), "{text}");
    let bad = text.chars().find(|c| (c.is_control() && !matches!(c, '\n' | '\t')) || *c == '\u{202e}');
    assert_eq!(bad, None, "{text:?}");
    assert!(text.contains("\\x1b") || text.contains("\\u{1b}"), "{text:?}");
    let raw = walk(&home.data().join("transcripts")).into_iter().map(|path| std::fs::read(path).unwrap());
    let needle = b"a\0b\xff\xfe\xc3(\n";
    assert!(
        raw.into_iter().any(|bytes| bytes.windows(needle.len()).any(|part| part == needle)),
        "the raw bytes are not kept"
    );
}
