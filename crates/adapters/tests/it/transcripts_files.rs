//! Transcripts in files: numbers, restarts, torn lines, the quota, watching.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use mosaic_adapters::transcripts_files::FileTranscripts;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::transcripts::{Checkpoint, Line, TranscriptCursor, Transcripts};
use uuid::Uuid;

const T0: Timestamp = Timestamp(1_800_000_000_000);

fn agent(n: u128) -> AgentId {
    AgentId(Uuid::from_u128(n))
}

fn text(n: usize) -> AgentEvent {
    AgentEvent::Text { text: format!("line {n} \u{202e} \"quoted\"\nsecond") }
}

fn entries(dir: &Path) -> std::path::PathBuf {
    dir.join(agent(1).to_string()).join("entries.jsonl")
}

fn at(bytes: u64) -> Checkpoint {
    Checkpoint { run: 1, bytes }
}

fn open(dir: &Path) -> FileTranscripts {
    FileTranscripts::new(dir.to_owned())
}

fn numbers(lines: &[Line]) -> Vec<u64> {
    lines.iter().map(|line| line.n).collect()
}

#[tokio::test]
async fn entries_read_back_page_by_page_and_numbers_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let every = vec![
        AgentEvent::Started { session: Some("s".to_owned()), model: None, version: None },
        AgentEvent::ApiRetry { status: Some(529), attempt: 2 },
        AgentEvent::Usage { input_tokens: u64::from(u32::MAX) + 1, output_tokens: 2, cost_usd: Some(0.125) },
        AgentEvent::ToolResult { id: "1".to_owned(), ok: false, text: "no".to_owned() },
    ];
    let first = open(dir.path());
    first.append(agent(1), T0, 1, at(0), every.clone()).await.unwrap();
    first.append(agent(1), T0, 1, at(0), Vec::new()).await.unwrap();
    drop(first);
    let second = open(dir.path());
    second.append(agent(1), Timestamp(T0.0 + 1), 2, at(0), vec![text(5)]).await.unwrap();
    let lines = second.read(agent(1), 0, 100).await.unwrap();
    assert_eq!(numbers(&lines), [1, 2, 3, 4, 5]);
    assert_eq!(lines[..4].iter().map(|line| line.event.clone()).collect::<Vec<_>>(), every);
    assert_eq!((lines[4].at, lines[4].attempt, &lines[4].event), (Timestamp(T0.0 + 1), 2, &text(5)));
    assert_eq!(numbers(&second.read(agent(1), 2, 2).await.unwrap()), [3, 4]);
    assert!(second.read(agent(1), 5, 10).await.unwrap().is_empty());
    assert!(second.read(agent(1), u64::MAX, 10).await.unwrap().is_empty());
    assert!(second.read(agent(2), 0, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_long_transcript_is_read_from_the_middle_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let wide = |n: usize| AgentEvent::Output { text: format!("{n} {}", "x".repeat(4000)) };
    for chunk in (0..600).collect::<Vec<_>>().chunks(100) {
        first.append(agent(1), T0, 1, at(0), chunk.iter().map(|n| wide(*n)).collect()).await.unwrap();
    }
    for transcripts in [first, open(dir.path())] {
        for after in [0, 1, 64, 65, 66, 300, 598, 599] {
            let lines = transcripts.read(agent(1), after, 3).await.unwrap();
            let expected: Vec<u64> = (after + 1..=600).take(3).collect();
            assert_eq!(numbers(&lines), expected);
            assert_eq!(lines[0].event, wide(after as usize));
        }
    }
}

#[tokio::test]
async fn a_torn_last_line_is_left_out_and_cut_away_by_the_next_append() {
    let torn: [&[u8]; 4] = [b"{\"n\":3,\"at\":18", b"\0\0\0\0\0\0", b"{\"n\":3}", b"garbage\nmore"];
    for tail in torn {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path()).append(agent(1), T0, 1, at(0), vec![text(1), text(2)]).await.unwrap();
        let path = entries(dir.path());
        OpenOptions::new().append(true).open(&path).unwrap().write_all(tail).unwrap();
        let transcripts = open(dir.path());
        assert_eq!(numbers(&transcripts.read(agent(1), 0, 10).await.unwrap()), [1, 2]);
        transcripts.append(agent(1), T0, 1, at(0), vec![text(3)]).await.unwrap();
        assert_eq!(numbers(&transcripts.read(agent(1), 0, 10).await.unwrap()), [1, 2, 3]);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() == 3 && text.ends_with('\n'), "{text:?}");
    }
}

#[tokio::test]
async fn parallel_appends_are_numbered_without_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = std::sync::Arc::new(open(dir.path()));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..20 {
        let transcripts = transcripts.clone();
        callers.spawn(async move {
            transcripts.append(agent(1), T0, 1, at(0), vec![text(n), text(n)]).await.unwrap()
        });
    }
    callers.join_all().await;
    let lines = transcripts.read(agent(1), 0, 100).await.unwrap();
    assert_eq!(numbers(&lines), (1..=40).collect::<Vec<_>>());
    assert!(lines.chunks(2).all(|pair| pair[0].event == pair[1].event), "one call's entries stand together");
}

#[tokio::test]
async fn a_full_transcript_ends_with_one_marker_that_counts_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let limited = || FileTranscripts::limited(dir.path().to_owned(), 2000);
    let first = limited();
    for n in 0..100 {
        first.append(agent(1), T0, 1, at(0), vec![text(n)]).await.unwrap();
    }
    let kept = first.read(agent(1), 0, 1000).await.unwrap();
    let fitting = kept.len() - 1;
    assert!((5..50).contains(&fitting));
    let marker = |lines: &[Line]| match &lines.last().unwrap().event {
        AgentEvent::Notice { text } => text.clone(),
        other => panic!("{other:?}"),
    };
    assert!(marker(&kept).ends_with(&format!("{} so far", 100 - fitting)), "{}", marker(&kept));
    let second = limited();
    second.append(agent(1), T0, 1, at(0), vec![text(1)]).await.unwrap();
    let again = second.read(agent(1), 0, 1000).await.unwrap();
    assert_eq!(numbers(&again), numbers(&kept));
    assert!(marker(&again).ends_with(&format!("{} so far", 101 - fitting)), "{}", marker(&again));
    assert!(std::fs::metadata(entries(dir.path())).unwrap().len() < 2300);
}

#[tokio::test]
async fn a_watcher_hears_of_every_append_to_its_agent_alone() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = open(dir.path());
    let mut watcher = transcripts.watch(agent(1));
    transcripts.append(agent(2), T0, 1, at(0), vec![text(1)]).await.unwrap();
    assert!(!watcher.has_changed().unwrap());
    transcripts.append(agent(1), T0, 1, at(0), vec![text(1)]).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), watcher.changed()).await.unwrap().unwrap();
    assert_eq!(*watcher.borrow_and_update(), 1);
}

#[tokio::test]
async fn raw_files_are_listed_oldest_first_and_logs_apart() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = open(dir.path());
    assert!(transcripts.raw_files(agent(1)).await.unwrap().is_empty());
    let paths: Vec<_> = [1, 2, 10].map(|run| transcripts.raw(agent(1), run)).to_vec();
    std::fs::create_dir(paths[0].parent().unwrap()).unwrap();
    for path in paths.iter().rev() {
        std::fs::write(path, "x").unwrap();
    }
    let log = transcripts.log(agent(1), "run-3");
    std::fs::write(&log, "x").unwrap();
    assert_eq!(transcripts.raw_files(agent(1)).await.unwrap(), paths);
    assert_eq!(paths[0], dir.path().join(agent(1).to_string()).join("run-1.log"));
}

#[tokio::test]
async fn an_append_that_cannot_be_written_says_so_and_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = open(dir.path());
    std::fs::write(dir.path().join(agent(1).to_string()), "not a directory").unwrap();
    transcripts.append(agent(1), T0, 1, at(0), vec![text(1)]).await.unwrap_err();
    transcripts.append(agent(2), T0, 1, at(0), vec![text(1)]).await.unwrap();
    assert_eq!(transcripts.read(agent(2), 0, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_told_is_known_after_a_crash_to_the_entry() {
    let dir = tempfile::tempdir().unwrap();
    let told = |run| {
        let transcripts = open(dir.path());
        async move { transcripts.cursor(agent(1), run).await.unwrap() }
    };
    assert_eq!(told(1).await, TranscriptCursor::default());
    open(dir.path()).append(agent(1), T0, 1, at(100), vec![text(1), text(2)]).await.unwrap();
    assert_eq!(told(1).await, TranscriptCursor { bytes: 100, entries: 0 });
    let whole = std::fs::read(entries(dir.path())).unwrap();
    open(dir.path()).append(agent(1), T0, 1, at(250), vec![text(3), text(4), text(5)]).await.unwrap();
    let more = std::fs::read(entries(dir.path())).unwrap();
    // The server dies while the second append is being written: at every byte of it.
    for length in whole.len()..more.len() {
        std::fs::write(entries(dir.path()), &more[..length]).unwrap();
        let complete = more[whole.len()..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        assert_eq!(told(1).await, TranscriptCursor { bytes: 100, entries: complete }, "cut at {length}");
        let read = open(dir.path()).read(agent(1), 0, 10).await.unwrap();
        assert_eq!(read.len() as u64, 2 + complete);
    }
    std::fs::write(entries(dir.path()), &more).unwrap();
    assert_eq!(told(1).await, TranscriptCursor { bytes: 250, entries: 0 });
    // The next run has its own output; what belongs to an earlier one is told whole.
    assert_eq!(told(2).await, TranscriptCursor { bytes: 0, entries: 0 });
    let next = Checkpoint { run: 2, bytes: 7 };
    open(dir.path()).append(agent(1), T0, 1, next, vec![text(6)]).await.unwrap();
    assert_eq!(
        (told(2).await, told(1).await),
        (TranscriptCursor { bytes: 7, entries: 0 }, TranscriptCursor { bytes: u64::MAX, entries: 0 })
    );
}
