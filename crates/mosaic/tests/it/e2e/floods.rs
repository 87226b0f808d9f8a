//! Agents that write too much or no text at all: the run goes on, memory stays bounded, nothing is left behind.

use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use mosaic_core::domain::ids::Timestamp;
use mosaic_testkit::git_fixture::Fixture;

use super::support::{Answers, Home, Server, asking, body, rounds, script, until};

/// Most that the server may grow, in KiB.
const GROWTH_KIB: u64 = 64 * 1024;
/// Most bytes that the raw output of one run takes on disk: the part that is kept, and the newest part past it.
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

/// An agent beside the flood that says the time, in milliseconds, until it is let go.
const NEIGHBOUR: &str =
    "neighbour)\ncat > /dev/null\nwhile [ ! -e GO ]; do date +%s%3N; sleep 0.05; done\necho x > n.txt;;\n";

/// Returns the program line of an agent that does this, beside neighbours until the file exists.
fn flooding(home: &Home, go: &Path, text: &str) -> String {
    let neighbour = NEIGHBOUR.replace("GO", &format!("'{}'", go.display()));
    script(home.path(), "agent.sh", &format!("case $MOSAIC_TASK_ID in\n{neighbour}*)\n{text};;\nesac\n"))
}

/// Returns the delays of the lines of an agent that prints the time: from printing a line to its place in the transcript.
fn heard(server: &Server<'_>, id: &str) -> Answers {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page =
            server.http.get(&format!("/v1/agents/{id}/transcript?after={after}&limit=200")).expect(200);
        let items = page["items"].as_array().unwrap();
        let Some(last) = items.last() else { break };
        after = last["n"].as_u64().unwrap();
        for item in items.iter().filter(|item| item["kind"] == "output") {
            let said: u64 = item["text"].as_str().unwrap().trim().parse().unwrap();
            let told = Timestamp::from_rfc3339(item["at"].as_str().unwrap()).unwrap();
            all.push(told.since(Timestamp::from(UNIX_EPOCH + Duration::from_millis(said))));
        }
    }
    assert!(all.len() >= 5, "the neighbour said {} lines only", all.len());
    all.sort_unstable();
    Answers(all)
}

/// Runs one agent while liveness is asked again and again and a neighbour talks; returns the agent's id.
fn through(server: &Server<'_>, fixture: &Fixture, task: &str, go: &Path) -> String {
    let neighbour = server.spawn(&body(&fixture.url(), "neighbour"));
    until("the neighbour to talk", || {
        let page = server.http.get(&format!("/v1/agents/{neighbour}/transcript")).expect(200);
        (page["items"].as_array().unwrap().len() > 5).then_some(())
    });
    // What every server needs is there already.
    let before = memory(server, "VmRSS");
    let began = Instant::now();
    let id = server.spawn(&body(&fixture.url(), task));
    let (agent, answers) = asking(&server.http, || server.ended(&id));
    let took = began.elapsed();
    assert_eq!(agent["status"], "completed", "{agent:#}\n{}", server.log());
    let grown = memory(server, "VmHWM").saturating_sub(before);
    std::fs::write(go, "").unwrap();
    assert_eq!(server.ended(&neighbour)["status"], "completed");
    let heard = heard(server, &neighbour);
    println!(
        "{task}: {took:.1?}, the server grew by {grown} KiB\n  /health: {answers}\n  neighbour's lines: {heard}"
    );
    assert!(grown <= GROWTH_KIB, "the server grew by {grown} KiB");
    assert!(answers.within(99).as_secs() < 2, "liveness: {answers}");
    assert!(heard.within(99).as_secs() < 10, "the neighbour was held up: {heard}");
    id
}

#[test]
fn a_flood_is_cut_at_the_quota_and_the_run_goes_on() {
    let mb = rounds("MOSAIC_FLOOD_MB", 300);
    let (home, fixture) = (Home::new(), Fixture::new());
    let agent = format!(
        "yes \"$(head -c 127 /dev/zero | tr '\\0' f)\" | head -c {mb}000000\necho\necho the very end\necho x > x.txt\n"
    );
    let go = home.path().join("go");
    let line = flooding(&home, &go, &agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = through(&server, &fixture, "flood", &go);
    let agent = server.agent(&id);
    assert!(agent["result"].as_str().unwrap().ends_with("the very end"), "{agent:#}");
    let kept = bytes_in(&home.data());
    println!("flood: {kept} bytes are kept");
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
    let go = home.path().join("go");
    let line = flooding(&home, &go, agent);
    let server = home.serve(&[("MOSAIC_COMMAND", &line)]);
    let id = through(&server, &fixture, "line", &go);
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
