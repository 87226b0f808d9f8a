//! Jobs from start to end under real shims: output, input, exit, floods, limits.

use std::time::{Duration, Instant};

use super::world::{World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::{JobEvent, ProcessError, Processes, Stdin};

#[tokio::test]
async fn a_job_reports_its_output_and_its_exit() {
    let world = World::new(CgroupChoice::Auto);
    let mut job = world.start(&["garbage"]).await;
    let story = follow(&mut *job).await;
    assert_eq!(story.output, b"a\0b\xff\xfe\xc3(\n\x1b[31mred\n");
    assert_eq!((story.exit.code, story.exit.signal, story.exit.leaked), (Some(0), None, 0));
    assert_eq!((story.exit.output_bytes, story.gaps), (story.output.len() as u64, 0));
    assert_eq!(std::fs::read(world.output()).unwrap(), story.output);
    assert!(world.processes.unfinished().await.unwrap().is_empty());
    world.processes.forget(world.agent).await.unwrap();
    world.processes.forget(world.agent).await.unwrap();
    assert!(!world.job_dir().exists());
}

#[tokio::test]
async fn exit_codes_and_standard_error_are_kept() {
    let world = World::new(CgroupChoice::Auto);
    let story = follow(&mut *world.start(&["exit", "7"]).await).await;
    assert_eq!(story.exit.code, Some(7));
    let mut spec = world.spec(&["stderr", "20000"]);
    spec.name = "run-2".parse().unwrap();
    let story = follow(&mut *world.processes.start(spec).await.unwrap()).await;
    assert_eq!(story.exit.stderr_tail, "é".repeat(4096));
}

#[tokio::test]
async fn a_job_that_left_nothing_has_no_receipt_and_one_that_left_something_counts_it() {
    let world = World::new(CgroupChoice::Auto);
    // Its last child ends at the moment of its own end, so that the supervisor now and then sees it once and not again.
    for n in 0..60 {
        let mut spec = world.spec(&[]);
        spec.name = format!("run-{n}").parse().unwrap();
        spec.command = ["sh", "-c", "sh -c : >/dev/null 2>&1 & exit 0"].map(str::to_owned).to_vec();
        let story = follow(&mut *world.processes.start(spec).await.unwrap()).await;
        let counted = story.exit.receipt.as_ref().map(|receipt| receipt.processes_before);
        assert_ne!(counted, Some(0), "job {n}: {:?}", story.exit);
        assert_eq!(counted.unwrap_or(0), story.exit.leaked, "job {n}: {:?}", story.exit);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_exit_with_a_reason() {
    let world = World::new(CgroupChoice::Auto);
    let mut spec = world.spec(&[]);
    spec.command = vec!["/no/such/program".to_owned()];
    let story = follow(&mut *world.processes.start(spec.clone()).await.unwrap()).await;
    let why = story.exit.start_error.unwrap();
    assert!(why.contains("/no/such/program") && story.exit.code.is_none(), "{why}");
    let Err(again) = world.processes.start(spec.clone()).await else { panic!("a name is used once") };
    assert!(matches!(again, ProcessError::NotStarted { .. }), "{again}");
    (spec.name, spec.cwd) = ("run-2".parse().unwrap(), "/no/such/directory".into());
    let story = follow(&mut *world.processes.start(spec).await.unwrap()).await;
    assert!(story.exit.start_error.unwrap().contains("/no/such/directory"));
}

#[tokio::test]
async fn input_is_text_then_end_or_an_open_line() {
    let world = World::new(CgroupChoice::Auto);
    let mut spec = world.spec(&["echo"]);
    let long = "x".repeat(300_000);
    spec.stdin = Stdin::Text(format!("one\n{long}\n"));
    let story = follow(&mut *world.processes.start(spec.clone()).await.unwrap()).await;
    assert_eq!(String::from_utf8(story.output).unwrap(), format!("one\n{long}\nend of input\n"));
    (spec.name, spec.stdin) = ("run-2".parse().unwrap(), Stdin::Open { first: String::new() });
    let mut job = world.processes.start(spec).await.unwrap();
    for word in ["first", "second ✓ \u{1}"] {
        job.write(format!("{word}\n").as_bytes()).await.unwrap();
        await_line(&mut *job, word).await;
    }
    assert!(job.write(b"\xff").await.is_err());
    job.close_stdin().await.unwrap();
    job.close_stdin().await.unwrap();
    let story = follow(&mut *job).await;
    assert_eq!((story.output.as_slice(), story.exit.code), (b"end of input\n".as_slice(), Some(0)));
    assert!(job.write(b"late\n").await.is_err());
    job.close_stdin().await.unwrap();
}

#[tokio::test]
async fn a_job_that_reads_nothing_gets_an_error_not_a_hang() {
    let world = World::new(CgroupChoice::Auto);
    let mut spec = world.spec(&["sleep", &world.mark]);
    spec.stdin = Stdin::Open { first: String::new() };
    let mut job = world.processes.start(spec).await.unwrap();
    let block = "y".repeat(1024 * 1024);
    job.write(block.as_bytes()).await.unwrap();
    let error = job.write(block.as_bytes()).await.unwrap_err();
    assert!(error.to_string().contains("does not read"), "{error}");
    world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    assert!(world.survivors().is_empty());
}

#[tokio::test]
async fn waiting_for_an_event_can_be_cancelled() {
    let world = World::new(CgroupChoice::Auto);
    let mut spec = world.spec(&["grow"]);
    spec.stdin = Stdin::Open { first: String::new() };
    let mut job = world.processes.start(spec).await.unwrap();
    let mut seen = Vec::new();
    for n in 0..50 {
        job.write(b"\n").await.unwrap();
        let want = format!("line {n}\n");
        while !seen.ends_with(want.as_bytes()) {
            // Cancelled at a different point each time.
            let patience = Duration::from_micros(50 * (n % 7));
            if let Ok(event) = tokio::time::timeout(patience, job.next()).await {
                let JobEvent::Output(bytes) = event.unwrap() else { panic!("it runs on") };
                seen.extend(bytes);
            }
        }
    }
    assert_eq!(String::from_utf8(seen).unwrap(), (0..50).map(|n| format!("line {n}\n")).collect::<String>());
    job.close_stdin().await.unwrap();
    assert_eq!(follow(&mut *job).await.exit.code, Some(0));
}

#[tokio::test]
async fn a_leaked_child_that_holds_the_output_does_not_delay_the_end() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::Off] {
        let world = World::new(cgroup);
        let begun = Instant::now();
        let story = follow(&mut *world.start(&["leak", &world.mark]).await).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
        assert_eq!((story.exit.code, story.exit.leaked), (Some(0), 1));
        assert_eq!(story.output, b"left one behind\n");
        assert!(world.survivors().is_empty());
    }
}

#[tokio::test]
async fn a_dead_grandchild_that_nobody_buries_does_not_delay_the_end() {
    for cgroup in [CgroupChoice::Auto, CgroupChoice::PidNamespace, CgroupChoice::Off] {
        let world = World::new(cgroup);
        let mut spec = world.spec(&[]);
        // The middle one lives on in a session of its own with a dead child, and holds the output open.
        let line = format!("setsid sh -c 'true & exec sleep 1000.{}' & echo done", std::process::id());
        spec.command = ["sh", "-c", &line].map(str::to_owned).to_vec();
        let begun = Instant::now();
        let story = follow(&mut *world.processes.start(spec).await.unwrap()).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
        assert_eq!((story.exit.code, story.output.as_slice()), (Some(0), b"done\n".as_slice()));
        // The shell may be caught before it became the sleeper, with its child still alive.
        assert!((1..=2).contains(&story.exit.leaked), "{:?}", story.exit);
    }
}

#[tokio::test]
async fn the_time_limit_stops_a_job() {
    let world = World::new(CgroupChoice::Auto);
    let mut spec = world.spec(&["sleep", &world.mark]);
    spec.time_limit = Some(Duration::from_millis(200));
    let story = follow(&mut *world.processes.start(spec).await.unwrap()).await;
    assert!(story.exit.timed_out && story.exit.signal == Some(15), "{:?}", story.exit);
    assert!(world.survivors().is_empty());
}

/// Returns the most memory the shim ever had, in KiB.
fn peak_kib(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

async fn a_flood_is_bounded(behaviour: &str, bytes: u64) {
    let world = World::new(CgroupChoice::Auto);
    let mut job = world.start(&[behaviour, &bytes.to_string()]).await;
    let shim = world.recorded("shim");
    let (mut seen, mut last, mut peak) = (0, Vec::new(), 0);
    let exit = loop {
        match job.next().await.unwrap() {
            JobEvent::Output(chunk) => {
                assert!(!chunk.is_empty() && chunk.len() <= 64 * 1024);
                seen += chunk.len() as u64;
                last.extend(chunk);
                last.drain(..last.len().saturating_sub(64));
                peak = peak_kib(shim).max(peak);
            }
            JobEvent::Gap(missed) => seen += missed,
            JobEvent::Exited(exit) => break exit,
        }
    };
    assert_eq!((exit.code, seen), (Some(0), exit.output_bytes));
    assert!(exit.output_bytes >= bytes, "{exit:?}");
    assert!(last.ends_with(b"\nthe result\n"), "{}", String::from_utf8_lossy(&last));
    assert!(peak < 16 * 1024, "the shim grew to {peak} KiB");
    let kept: u64 = std::fs::read_dir(world.place.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("transcript"))
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert!(kept < 10 * 1024 * 1024, "{kept} bytes kept");
}

#[tokio::test]
async fn a_flood_stays_within_its_quota_and_the_last_line_arrives() {
    a_flood_is_bounded("flood", 300_000_000).await;
}

#[tokio::test]
async fn a_line_of_100_mb_stays_within_the_quota() {
    a_flood_is_bounded("line", 100_000_000).await;
}

#[tokio::test]
async fn a_flood_nobody_reads_does_not_stop_the_job() {
    let world = World::new(CgroupChoice::Auto);
    let mut job = world.start(&["flood", "50000000"]).await;
    // The server does not look until everything is over.
    let deadline = Instant::now() + super::world::DEADLINE;
    while !world.job_dir().join("exit.json").exists() {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let story = follow(&mut *job).await;
    assert!(story.gaps > 30_000_000 && story.output.ends_with(b"\nthe result\n"), "gap {}", story.gaps);
}

#[tokio::test]
async fn the_environment_is_not_written_to_disk() {
    let world = World::new(CgroupChoice::Auto);
    follow(&mut *world.start(&["exit", "0"]).await).await;
    for entry in std::fs::read_dir(world.job_dir()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read(&path).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains("canary"), "{}", path.display());
    }
}

#[tokio::test]
async fn a_stop_without_running_jobs_does_nothing() {
    let world = World::new(CgroupChoice::Auto);
    let nothing = || world.processes.stop(world.agent, Duration::from_secs(5));
    assert_eq!(
        (nothing().await.unwrap().rung, nothing().await.unwrap().processes_before),
        ("none".into(), 0)
    );
    follow(&mut *world.start(&["exit", "0"]).await).await;
    assert_eq!(nothing().await.unwrap().rung, "none");
    world.processes.forget(world.agent).await.unwrap();
}

#[tokio::test]
async fn nothing_stands_beside_the_output_in_the_end() {
    let world = World::new(CgroupChoice::Off);
    let mut spec = world.spec(&[]);
    (spec.command, spec.output_limit) =
        (["sh", "-c", "yes | head -c 300000"].map(str::to_owned).to_vec(), 1000);
    let mut job = world.processes.start(spec).await.unwrap();
    let story = follow(&mut *job).await;
    assert_eq!(story.output.len() as u64 + story.gaps, 300_000);
    let mut names: Vec<_> = std::fs::read_dir(world.place.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["agents", "transcript"]);
}

#[tokio::test]
async fn pipes_planted_beside_the_output_hold_nobody() {
    let world = World::new(CgroupChoice::Auto);
    let mut job = world.start(&["sleep", &world.mark]).await;
    for over in ["over0", "over1"] {
        let pipe = world.output().with_extension(over);
        let planted =
            [pipe.clone(), std::path::PathBuf::from(format!("{}.{over}", world.output().display()))];
        for pipe in planted {
            if !pipe.exists() {
                assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            }
        }
    }
    std::fs::remove_file(world.job_dir().join("lock")).unwrap();
    let lock = world.job_dir().join("lock");
    assert!(std::process::Command::new("mkfifo").arg(&lock).status().unwrap().success());
    assert!(tokio::time::timeout(Duration::from_millis(300), job.next()).await.is_err(), "nothing was said");
    let stopped =
        tokio::time::timeout(Duration::from_secs(30), world.processes.stop(world.agent, Duration::ZERO));
    let receipt = stopped.await.expect("a pipe holds the kill").unwrap();
    assert!(receipt.processes_before > 0 && receipt.processes_after == 0, "{receipt:?}");
    assert!(world.survivors().is_empty());
}
