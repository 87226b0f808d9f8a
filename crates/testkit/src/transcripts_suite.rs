//! Requirements on every keeper of transcripts.

use std::sync::Arc;

use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::ports::runtime::AgentEvent;
use mosaic_core::ports::transcripts::{Checkpoint, TranscriptCursor, Transcripts};

/// Time of the first entry.
const START: Timestamp = Timestamp(1_800_000_000_000);

/// Runs every check, each on a fresh keeper.
pub async fn run<T: Transcripts + ?Sized>(fresh: impl Fn() -> Arc<T>) {
    entries_are_read_back_from_any_cursor(fresh().as_ref()).await;
    agents_are_kept_apart(fresh().as_ref()).await;
    a_cursor_says_what_the_marks_said(fresh().as_ref()).await;
    readers_learn_of_every_append(fresh().as_ref()).await;
    raw_files_are_read_by_pieces(fresh().as_ref()).await;
    what_is_discarded_is_gone(fresh().as_ref()).await;
}

fn agent(n: u128) -> AgentId {
    AgentId(uuid::Uuid::from_u128(n))
}

fn text(n: usize) -> AgentEvent {
    AgentEvent::Text { text: format!("line {n} \u{202e} \"quoted\"\nsecond") }
}

fn checkpoint(run: u32, bytes: u64) -> Checkpoint {
    Checkpoint { run, bytes }
}

async fn entries_are_read_back_from_any_cursor(kept: &(impl Transcripts + ?Sized)) {
    assert!(kept.read(agent(1), 0, 10).await.expect("an unknown agent has none").is_empty());
    // Appends of different sizes, so that pages end in the middle of some.
    for (at, batch) in [vec![1], vec![2, 3, 4], vec![], vec![5, 6], vec![7]].into_iter().enumerate() {
        let events = batch.into_iter().map(text).collect();
        let time = Timestamp(START.0 + at as u64);
        kept.append(agent(1), time, 1, checkpoint(1, at as u64), events).await.expect("appended");
    }
    for after in 0..8 {
        for limit in [1, 3, 100] {
            let lines = kept.read(agent(1), after, limit).await.expect("read");
            let numbers: Vec<u64> = lines.iter().map(|line| line.n).collect();
            let expected: Vec<u64> = (after + 1..=7).take(limit).collect();
            assert_eq!(numbers, expected, "after {after}, at most {limit}");
            for line in lines {
                assert_eq!(line.event, text(usize::try_from(line.n).expect("small")));
                assert_eq!(line.attempt, 1);
            }
        }
    }
}

async fn agents_are_kept_apart(kept: &(impl Transcripts + ?Sized)) {
    kept.append(agent(1), START, 1, checkpoint(1, 1), vec![text(1)]).await.expect("appended");
    kept.append(agent(2), START, 3, checkpoint(1, 1), vec![text(2)]).await.expect("appended");
    let lines = kept.read(agent(2), 0, 10).await.expect("read");
    assert_eq!((lines.len(), lines[0].n, lines[0].attempt), (1, 1, 3));
    assert_ne!(kept.raw(agent(1), 1), kept.raw(agent(2), 1));
    assert_ne!(kept.log(agent(1), "gate-1-tests"), kept.log(agent(1), "gate-2-tests"));
}

async fn a_cursor_says_what_the_marks_said(kept: &(impl Transcripts + ?Sized)) {
    assert_eq!(kept.cursor(agent(1), 1).await.expect("nothing is told yet"), TranscriptCursor::default());
    kept.append(agent(1), START, 1, checkpoint(1, 40), vec![text(1), text(2)]).await.expect("appended");
    kept.append(agent(1), START, 1, checkpoint(1, 90), vec![text(3)]).await.expect("appended");
    assert_eq!(kept.cursor(agent(1), 1).await.expect("told"), TranscriptCursor { bytes: 90, entries: 0 });
    kept.append(agent(1), START, 1, checkpoint(2, 7), vec![text(4)]).await.expect("appended");
    let earlier = kept.cursor(agent(1), 1).await.expect("told");
    assert!(earlier.bytes >= 90 && earlier.entries == 0, "an earlier run is told as a whole: {earlier:?}");
    assert_eq!(kept.cursor(agent(1), 2).await.expect("told"), TranscriptCursor { bytes: 7, entries: 0 });
    assert_eq!(kept.cursor(agent(1), 3).await.expect("told"), TranscriptCursor::default());
}

async fn readers_learn_of_every_append(kept: &(impl Transcripts + ?Sized)) {
    let mut newest = kept.watch(agent(1));
    newest.mark_unchanged();
    kept.append(agent(1), START, 1, checkpoint(1, 1), vec![text(1)]).await.expect("appended");
    assert!(newest.has_changed().expect("the keeper lives"));
}

async fn raw_files_are_read_by_pieces(kept: &(impl Transcripts + ?Sized)) {
    assert!(kept.raw_files(agent(1)).await.expect("there are none").is_empty());
    let paths = [2, 10, 1].map(|run| kept.raw(agent(1), run));
    for path in &paths {
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
        std::fs::write(path, b"0123456789").expect("written");
    }
    let found = kept.raw_files(agent(1)).await.expect("listed");
    assert_eq!(found, [paths[2].clone(), paths[0].clone(), paths[1].clone()], "oldest first");
    let piece = |from, most| kept.piece(agent(1), &paths[0], from, most);
    assert_eq!(piece(0, 4).await.expect("read"), b"0123");
    assert_eq!(piece(8, 100).await.expect("read"), b"89");
    assert!(piece(10, 4).await.expect("at the end").is_empty());
    let missing = kept.piece(agent(1), &kept.raw(agent(1), 3), 0, 4).await.expect_err("it is not there");
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

async fn what_is_discarded_is_gone(kept: &(impl Transcripts + ?Sized)) {
    assert_eq!(kept.discard(agent(1)).await.expect("there is nothing"), 0);
    kept.append(agent(1), START, 1, checkpoint(1, 9), vec![text(1)]).await.expect("appended");
    kept.append(agent(2), START, 1, checkpoint(1, 9), vec![text(1)]).await.expect("appended");
    let size = kept.size(agent(1)).await.expect("measured");
    assert!(size > 0);
    let mut shelved: Vec<AgentId> =
        kept.shelved().await.expect("listed").iter().map(|shelf| shelf.agent).collect();
    shelved.sort_unstable();
    assert_eq!(shelved, [agent(1), agent(2)]);
    assert_eq!(kept.discard(agent(1)).await.expect("discarded"), size);
    assert_eq!(kept.discard(agent(1)).await.expect("a second time"), 0);
    assert!(kept.read(agent(1), 0, 10).await.expect("read").is_empty());
    assert_eq!(kept.cursor(agent(1), 1).await.expect("told"), TranscriptCursor::default());
    assert_eq!(kept.read(agent(2), 0, 10).await.expect("read").len(), 1);
}
