//! Standing orders in the state directory: what is written is read, whoever writes beside it, and what is broken never
//! lets anything start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mosaic_adapters::orders_files::OrdersDir;
use mosaic_core::domain::ids::{AgentId, Timestamp};
use mosaic_core::domain::orders::{Barrier, KillOrder, Latch};
use mosaic_core::ports::orders::{Filed, StopFile};
use uuid::Uuid;

fn barrier(seq: Option<u64>, before: u64, at: u64) -> Barrier {
    Barrier { seq, before: Timestamp(before), by: "alice".to_owned(), reason: None, at: Timestamp(at) }
}

fn latch(by: &str) -> Latch {
    Latch { by: by.to_owned(), reason: Some("freeze".to_owned()), at: Timestamp(5) }
}

#[test]
fn what_is_written_is_read_and_only_by_its_owner() {
    let data = tempfile::tempdir().unwrap();
    let dir = OrdersDir::new(data.path());
    assert_eq!(dir.read(), Filed::default());
    let kill =
        KillOrder { agent: AgentId(Uuid::new_v4()), by: "bob".to_owned(), reason: None, at: Timestamp(7) };
    dir.write_barrier(&barrier(Some(3), 0, 1)).unwrap();
    dir.write_latch(Some(&latch("alice"))).unwrap();
    dir.write_latch(Some(&latch("bob"))).unwrap();
    dir.write_kill(&kill).unwrap();
    let other = OrdersDir::new(data.path());
    let read = other.read();
    assert_eq!(
        (read.orders.barrier, read.orders.latch),
        (Some(barrier(Some(3), 0, 1)), Some(latch("alice")))
    );
    assert_eq!((read.kills, read.stop), (vec![kill.clone()], StopFile::Absent));
    let mode = |name: &str| fs::metadata(data.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("orders"), mode("orders/latch.json")), (0o700, 0o600));
    for _ in 0..2 {
        other.write_latch(None).unwrap();
        other.forget_kill(kill.agent).unwrap();
    }
    fs::write(other.stop_path(), "").unwrap();
    let read = dir.read();
    assert_eq!((read.orders.latch, read.kills, read.stop), (None, vec![], StopFile::There));
    assert_eq!(
        fs::read_dir(data.path().join("orders")).unwrap().count(),
        1,
        "nothing is left beside the orders"
    );
}

#[test]
fn a_place_takes_over_from_a_time_and_nothing_sinks() {
    let data = tempfile::tempdir().unwrap();
    let dir = OrdersDir::new(data.path());
    let reach = || dir.read().orders.barrier.map(|b| (b.seq, b.before.0)).unwrap();
    dir.write_barrier(&barrier(None, 100, 100)).unwrap();
    assert_eq!(reach(), (None, 100));
    dir.write_barrier(&barrier(Some(4), 0, 90)).unwrap();
    assert_eq!(reach(), (Some(4), 100), "it was ordered before that time");
    dir.write_barrier(&barrier(Some(2), 0, 100)).unwrap();
    assert_eq!(reach(), (Some(4), 0));
}

#[test]
fn many_writers_lose_no_order() {
    let data = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for n in 1..=8 {
            let dir = OrdersDir::new(data.path());
            scope.spawn(move || {
                for step in 0..10 {
                    dir.write_barrier(&barrier(Some(n * 10 + step), 0, 1)).unwrap();
                    dir.write_barrier(&barrier(None, n * 10 + step, 1)).unwrap();
                }
            });
        }
    });
    let read = OrdersDir::new(data.path()).read().orders.barrier.unwrap();
    assert_eq!((read.seq, read.before), (Some(89), Timestamp(89)));
}

#[test]
fn what_cannot_be_read_lets_nothing_start() {
    let data = tempfile::tempdir().unwrap();
    let dir = OrdersDir::new(data.path());
    let agent = AgentId(Uuid::new_v4());
    let orders = data.path().join("orders");
    fs::create_dir(&orders).unwrap();
    dir.write_latch(Some(&latch("alice"))).unwrap();
    let whole = fs::read(orders.join("latch.json")).unwrap();
    for length in 0..whole.len() {
        fs::write(orders.join("latch.json"), &whole[..length]).unwrap();
        assert!(dir.read().orders.latch.is_some(), "cut to {length} bytes it lets everything start");
    }
    fs::write(orders.join("latch.json"), String::from_utf8(whole).unwrap().replace(":1,", ":2,")).unwrap();
    assert!(dir.read().orders.latch.unwrap().reason.unwrap().contains("version 2"));
    fs::write(orders.join("barrier.json"), "{").unwrap();
    fs::write(orders.join(format!("kill-{agent}.json")), "").unwrap();
    fs::write(orders.join("kill-nobody.json"), "{}").unwrap();
    let read = dir.read();
    assert_eq!((read.orders.barrier, read.kills.len(), read.kills[0].agent), (None, 1, agent));
    // And writing over it works.
    dir.write_barrier(&barrier(Some(1), 0, 1)).unwrap();
    assert_eq!(dir.read().orders.barrier, Some(barrier(Some(1), 0, 1)));
    dir.write_latch(Some(&latch("bob"))).unwrap();
    assert_eq!(dir.read().orders.latch, Some(latch("bob")));
}

/// Plants something at a path where nothing is.
type Plant = (&'static str, fn(&std::path::Path));

#[test]
fn what_is_no_file_is_unknown_and_a_write_takes_its_place() {
    let agent = AgentId(Uuid::new_v4());
    let kill = format!("kill-{agent}.json");
    let plant: [Plant; 5] = [
        ("a pipe", |path| {
            assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a directory", |path| fs::create_dir_all(path.join("full/of/things")).unwrap()),
        ("a link to endless bytes", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()),
        ("a link to nothing", |path| std::os::unix::fs::symlink("/nonexistent", path).unwrap()),
        ("a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
    ];
    for (what, plant) in plant {
        for name in ["latch.json", "barrier.json", kill.as_str()] {
            let data = tempfile::tempdir().unwrap();
            let dir = OrdersDir::new(data.path());
            fs::create_dir(data.path().join("orders")).unwrap();
            plant(&data.path().join("orders").join(name));
            let read = dir.read();
            let why = read.unread.clone().unwrap_or_default();
            assert!(why.contains(name) && !why.contains(data.path().to_str().unwrap()), "{what}: {why}");
            assert_eq!((read.orders.latch, read.kills.len(), read.stop), (None, 0, StopFile::Absent));
            dir.write_latch(Some(&latch("alice"))).unwrap();
            dir.write_barrier(&barrier(Some(1), 0, 1)).unwrap();
            dir.forget_kill(agent).unwrap();
            let read = dir.read();
            let expected = (Some(latch("alice")), Some(barrier(Some(1), 0, 1)), None);
            assert_eq!((read.orders.latch, read.orders.barrier, read.unread), expected, "{what} at {name}");
            dir.write_latch(None).unwrap();
            assert_eq!(dir.read().orders.latch, None);
        }
        let data = tempfile::tempdir().unwrap();
        let dir = OrdersDir::new(data.path());
        plant(&data.path().join("orders"));
        let as_dir = what == "a directory";
        assert_eq!(dir.read().unread.is_none(), as_dir, "{what} in place of the directory");
        dir.write_latch(Some(&latch("alice"))).unwrap();
        assert_eq!(OrdersDir::new(data.path()).read().orders.latch, Some(latch("alice")), "{what}");
    }
}

#[test]
fn thousands_of_planted_entries_are_not_read_through() {
    let data = tempfile::tempdir().unwrap();
    let dir = OrdersDir::new(data.path());
    dir.write_latch(Some(&latch("alice"))).unwrap();
    for n in 0..12_000 {
        fs::File::create(data.path().join(format!("orders/planted-{n}"))).unwrap();
    }
    let read = dir.read();
    assert_eq!(read.orders.latch, Some(latch("alice")));
    assert!(read.unread.unwrap().contains("more than"));
}
