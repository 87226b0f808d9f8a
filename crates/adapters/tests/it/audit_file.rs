//! The audit log in files: any single edit is found, a crash loses nothing that was acknowledged, two programs never
//! write one log, full files and old files lead on.

mod edits;

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mosaic_adapters::audit_file::{Chain, FileAudit, read, record_locally, verify};
use mosaic_core::domain::audit::{Action, AuditEntry, Broken, HeadFile};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::ports::audit::{Audit, AuditError, Wanted};
use mosaic_testkit::audit_suite;
use mosaic_testkit::fakes::audit::FakeAudit;

const NODE: &str = "laptop";
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Set in the process that is killed while it writes.
const CHILD: &str = "MOSAIC_TEST_AUDIT_CHILD";

fn entry(n: usize) -> AuditEntry {
    let at = Timestamp(1_795_341_849_112 + n as u64);
    AuditEntry::new(Action::Kill, "operator", at)
        .subject(format!("agent {n}"))
        .reason(Some("looping"))
        .result("killed")
}

fn open(data: &Path) -> FileAudit {
    FileAudit::open(data, NODE, YEAR).unwrap()
}

fn broken(data: &Path) -> Option<Broken> {
    verify(&Chain::new(data, NODE), None).unwrap().broken
}

fn log(data: &Path) -> PathBuf {
    data.join("audit/laptop.jsonl")
}

/// Tells whether every edit is to be tried, which takes minutes, and not a sample of them.
fn dense() -> bool {
    std::env::var_os("MOSAIC_TEST_EDITS").is_some()
}

fn all() -> Wanted {
    Wanted { limit: 1_000_000, ..Wanted::default() }
}

async fn written(data: &Path, count: usize) {
    let audit = Arc::new(open(data));
    let calls: Vec<_> = (0..count)
        .map(|n| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move { audit.append(entry(n)).await.unwrap() })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn the_fake_and_the_files_pass_the_suite() {
    audit_suite::run(async || Arc::new(FakeAudit::default())).await;
    let dirs = std::sync::Mutex::new(Vec::new());
    audit_suite::run(async || {
        let dir = tempfile::tempdir().unwrap();
        let audit = Arc::new(open(dir.path()));
        dirs.lock().unwrap().push(dir);
        audit
    })
    .await;
}

/// A log of `count` records, and what can be done to its bytes.
struct Original {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
}

impl Original {
    async fn make(count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), count).await;
        assert_eq!(broken(dir.path()), None);
        let bytes = fs::read(log(dir.path())).unwrap();
        Self { dir, bytes }
    }

    fn lines(&self) -> Vec<&[u8]> {
        self.bytes.split_inclusive(|b| *b == b'\n').collect()
    }

    /// Puts these bytes in the place of the log and returns what the check says.
    fn with(&self, bytes: &[u8]) -> Option<Broken> {
        fs::write(log(self.dir.path()), bytes).unwrap();
        broken(self.dir.path())
    }
}

#[tokio::test]
async fn a_cut_log_is_not_covered_up_by_the_next_start() {
    let original = Original::make(20).await;
    let cut = original.lines()[..15].concat();
    assert_eq!(original.with(&cut).unwrap().n, 16);
    let audit = open(original.dir.path());
    assert_eq!(
        audit.append(entry(99)).await.unwrap().n,
        22,
        "behind the highest number and the record about the cut"
    );
    let verified = audit.verify().await.unwrap();
    assert_eq!(verified.broken.unwrap().n, 16);
    drop(audit);
    let kept = read(&Chain::new(original.dir.path(), NODE), &Wanted { after: 15, ..all() }).unwrap().records;
    assert_eq!(
        kept.iter().map(|r| (r.n, r.entry.action.as_str())).collect::<Vec<_>>(),
        [(21, "audit-broken"), (22, "kill")]
    );
}

#[tokio::test]
async fn what_others_do_to_the_file_meanwhile_is_found_and_no_record_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.append(entry(1)).await.unwrap();
    OpenOptions::new().append(true).open(log(dir.path())).unwrap().write_all(b"{\"half").unwrap();
    audit.append(entry(2)).await.unwrap();
    assert_eq!(audit.verify().await.unwrap().broken.unwrap().n, 2);
    assert_eq!(audit.read(all()).await.unwrap().records.len(), 2);
    fs::remove_file(log(dir.path())).unwrap();
    assert_eq!(audit.append(entry(3)).await.unwrap().n, 3);
    assert_eq!(audit.read(all()).await.unwrap().records[0].n, 3);
    assert_eq!(audit.verify().await.unwrap().broken.unwrap().n, 1);
}

#[tokio::test]
async fn every_state_a_crash_can_leave_is_whole() {
    let original = Original::make(5).await;
    let ends: Vec<usize> =
        original.bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(i, _)| i + 1).collect();
    let records = read(&Chain::new(original.dir.path(), NODE), &all()).unwrap().records;
    // Two were acknowledged, three more were announced.
    let head =
        HeadFile { head: records[1].head(), pending: Some(records[4].head()), ..HeadFile::genesis(NODE) };
    let mut healed = 0;
    let step = if dense() { 1 } else { 23 };
    for at in (ends[1]..=ends[4]).step_by(step).chain(ends[1..].iter().copied()) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("audit")).unwrap();
        fs::write(dir.path().join("audit/laptop.head"), head.text()).unwrap();
        fs::write(log(dir.path()), &original.bytes[..at]).unwrap();
        assert_eq!(broken(dir.path()), None, "cut at {at}");
        let audit = open(dir.path());
        audit.append(entry(9)).await.unwrap();
        let verified = audit.verify().await.unwrap();
        assert_eq!(verified.broken, None, "cut at {at}, after the start");
        // What did not arrive, and what is half there, is spoken of.
        let (whole, torn) = (ends.iter().filter(|end| **end <= at).count() as u64, !ends.contains(&at));
        let remarks = u64::from(whole < 5) + u64::from(torn);
        assert_eq!(
            (verified.remarks.len() as u64, verified.head.n),
            (remarks, whole + remarks + 1),
            "cut at {at}: {verified:?}"
        );
        healed += 1;
    }
    // What was acknowledged is not there: no crash does that.
    for at in (0..ends[1]).step_by(step) {
        fs::write(original.dir.path().join("audit/laptop.head"), head.text()).unwrap();
        assert!(original.with(&original.bytes[..at]).is_some(), "cut at {at}");
    }
    println!(
        "{healed} places of a crash healed, {} cuts of acknowledged records found",
        ends[1].div_ceil(step)
    );
}

#[tokio::test]
async fn a_torn_line_is_set_aside_and_the_log_says_so() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path(), 3).await;
    // What a crash leaves: an announcement of five records, one of them whole, half of the next.
    let other = tempfile::tempdir().unwrap();
    let bytes = {
        let audit = open(other.path());
        for n in [0, 1, 2] {
            audit.append(entry(n)).await.unwrap();
        }
        fs::read(log(other.path())).unwrap()
    };
    let half = &bytes[bytes.len() - 100..bytes.len() - 20];
    OpenOptions::new().append(true).open(log(dir.path())).unwrap().write_all(half).unwrap();
    assert_eq!(broken(dir.path()).unwrap().n, 4, "nothing was being written: somebody put it there");
    let audit = open(dir.path());
    assert_eq!(audit.append(entry(4)).await.unwrap().n, 5);
    let verified = audit.verify().await.unwrap();
    assert_eq!(verified.broken, None);
    assert!(
        verified.remarks[0].starts_with(
            "record 4: audit-healed: an unfinished line of 80 bytes was set aside in laptop.torn-4"
        ),
        "{verified:?}"
    );
    assert_eq!(fs::read(dir.path().join("audit/laptop.torn-4")).unwrap(), half);
}

/// Not a test by itself: the process that `a_kill_9_loses_nothing_acknowledged` kills.
#[test]
fn the_writing_child() {
    let Some(data) = std::env::var_os(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let audit = Arc::new(open(Path::new(&data)));
        let writers = (0..8).map(|writer| {
            let audit = Arc::clone(&audit);
            tokio::spawn(async move {
                for n in 0.. {
                    let head = audit.append(entry(writer * 1_000_000 + n)).await.unwrap();
                    // Acknowledged: whoever reads this line may rely on it.
                    println!("ack {} {}", head.n, head.hash);
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
    });
}

#[test]
fn a_kill_9_loses_nothing_acknowledged() {
    let rounds = std::env::var("MOSAIC_TEST_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    let dir = tempfile::tempdir().unwrap();
    let chain = Chain::new(dir.path(), NODE);
    let (mut acknowledged, mut crashed) = (0, 0);
    for round in 0..rounds {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "audit_file::the_writing_child", "--nocapture"])
            .env(CHILD, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let ack = |line: &String| line.strip_prefix("ack ").map(str::to_owned);
        let mut seen: Vec<String> =
            lines.by_ref().filter_map(|l| ack(&l)).take(20 + round % 7 * 13).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        seen.extend(lines.filter_map(|l| ack(&l)));
        acknowledged += seen.len();
        let verified = verify(&chain, None).unwrap();
        assert_eq!(verified.broken, None, "round {round}, before the next start");
        let records = read(&chain, &all()).unwrap().records;
        for ack in &seen {
            let n: u64 = ack.split(' ').next().unwrap().parse().unwrap();
            assert!(records.iter().any(|r| format!("{} {}", r.n, r.hash) == *ack), "record {n} is lost");
        }
        drop(open(dir.path()));
        let after = verify(&chain, None).unwrap();
        assert_eq!(after.broken, None, "round {round}, after the next start");
        crashed += usize::from(after.head.n > verified.head.n);
    }
    println!(
        "{rounds} kills, {acknowledged} acknowledged records, 0 lost; {crashed} times something was to be healed"
    );
}

#[tokio::test]
async fn two_programs_never_write_one_log() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let second = FileAudit::open(dir.path(), NODE, YEAR);
    assert_eq!(second.err(), Some(AuditError::InUse(NODE.to_owned())));
    // Another process is refused too: the child ends with a panic instead of writing.
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "audit_file::the_writing_child"])
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    assert!(!child.status.success());
    first.append(entry(1)).await.unwrap();
    drop(first);
    assert_eq!(open(dir.path()).head().n, 1);
}

#[tokio::test]
async fn what_the_command_line_did_is_taken_over_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = open(dir.path());
    server.append(entry(1)).await.unwrap();
    // A server that hangs has the lock, and the command line records all the same.
    record_locally(dir.path(), NODE, YEAR, vec![entry(2)]).unwrap();
    record_locally(dir.path(), NODE, YEAR, vec![entry(3), entry(4)]).unwrap();
    assert_eq!(server.head().n, 1);
    drop(server);
    for _ in 0..3 {
        let audit = open(dir.path());
        let records = audit.read(all()).await.unwrap().records;
        let subjects: Vec<&str> = records.iter().filter_map(|r| r.entry.subject.as_deref()).collect();
        assert_eq!(subjects, ["agent 1", "agent 2", "agent 3", "agent 4"]);
        assert_eq!(
            records[3].entry.result.as_deref(),
            Some("killed (done by the command line; record 3 of laptop+cli)")
        );
        assert_eq!(records[3].entry.at, entry(4).at);
    }
    let names: Vec<String> = Chain::all(dir.path()).unwrap().iter().map(|c| c.name().to_owned()).collect();
    assert_eq!(names, ["laptop", "laptop+cli"]);
    for chain in Chain::all(dir.path()).unwrap() {
        assert_eq!(verify(&chain, None).unwrap().broken, None);
    }
}

#[tokio::test]
async fn the_chain_goes_on_across_files_and_old_files_go() {
    let dir = tempfile::tempdir().unwrap();
    let long = |n: usize| entry(n).result("x".repeat(1000));
    // In waves: all of them at once would wait longer for a busy disk than any caller does.
    let fill = async |audit: &Arc<FileAudit>, count: usize| {
        for wave in (0..count).step_by(500) {
            let calls: Vec<_> = (wave..count.min(wave + 500))
                .map(|n| {
                    let audit = Arc::clone(audit);
                    tokio::spawn(async move { audit.append(long(n)).await.unwrap() })
                })
                .collect();
            for call in calls {
                call.await.unwrap();
            }
        }
    };
    let full = || {
        let names = fs::read_dir(dir.path().join("audit"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.contains('@')).collect();
        names.sort();
        names
    };
    let audit = Arc::new(open(dir.path()));
    fill(&audit, 7000).await;
    let first = full();
    assert!(first.len() >= 2 && first[0] == "laptop@000000000001.jsonl", "{first:?}");
    let verified = audit.verify().await.unwrap();
    assert_eq!((verified.broken, verified.first, verified.head.n), (None, 1, 7000));
    let page = audit.read(Wanted { after: 6998, ..all() }).await.unwrap();
    assert_eq!(page.records.iter().map(|r| r.n).collect::<Vec<_>>(), [6999, 7000]);
    drop(audit);
    // A full file that is missing, or an edit in one, is found.
    let place = dir.path().join("audit").join(&first[0]);
    let bytes = fs::read(&place).unwrap();
    fs::remove_file(&place).unwrap();
    assert_eq!(broken(dir.path()).unwrap().n, 1);
    let mut other = bytes.clone();
    other[500] ^= 1;
    fs::write(&place, &other).unwrap();
    assert_eq!(broken(dir.path()).unwrap().n, 1);
    fs::write(&place, &bytes).unwrap();
    assert_eq!(broken(dir.path()), None);
    // Records of today are older than nothing: with no time to keep them, full files go at the next start.
    drop(FileAudit::open(dir.path(), NODE, Duration::ZERO).unwrap());
    assert_eq!(full(), Vec::<String>::new());
    let verified = verify(&Chain::new(dir.path(), NODE), None).unwrap();
    assert_eq!(verified.broken, None);
    assert!(verified.first > 1 && verified.head.n == 7001, "{verified:?}");
    let said = read(&Chain::new(dir.path(), NODE), &Wanted { after: 7000, ..all() }).unwrap().records;
    assert_eq!(said[0].entry.action, "audit-trimmed");
    assert_eq!(
        said[0].entry.subject.as_deref(),
        Some(format!("records 1 to {}", verified.first - 1).as_str())
    );
    // The oldest record that is kept must still be the one behind the anchor.
    let text = fs::read(log(dir.path())).unwrap();
    let cut = text.iter().position(|b| *b == b'\n').unwrap() + 1;
    fs::write(log(dir.path()), &text[cut..]).unwrap();
    assert_eq!(broken(dir.path()).unwrap().n, verified.first);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_or_counted() {
    let dir = tempfile::tempdir().unwrap();
    let audit = open(dir.path());
    audit.append(entry(1)).await.unwrap();
    // Nothing can be announced where this name is a directory.
    let blocked = dir.path().join("audit/laptop.head-new");
    fs::create_dir(&blocked).unwrap();
    audit.note(entry(2));
    assert!(matches!(audit.append(entry(3)).await, Err(AuditError::Unavailable(_))));
    fs::remove_dir(&blocked).unwrap();
    audit.append(entry(4)).await.unwrap();
    let told: Vec<_> = audit
        .read(all())
        .await
        .unwrap()
        .records
        .into_iter()
        .map(|r| (r.entry.action, r.entry.result.unwrap()))
        .collect();
    assert_eq!(
        told[1],
        ("audit-lost".to_owned(), "1 entries could not be recorded; the server's log has them".to_owned())
    );
    assert_eq!((told.len(), audit.verify().await.unwrap().broken), (3, None));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("audit"), mode("audit/laptop.jsonl"), mode("audit/laptop.head")), (0o700, 0o600, 0o600));
}
