//! Jobs that outlive their server: the next one goes on reading, writing and stopping, or learns how they ended.

use std::time::Duration;

use super::world::{World, await_line, follow};
use mosaic_adapters::process::CgroupChoice;
use mosaic_core::ports::processes::{Adopted, ProcessError, Processes, Stdin};

async fn adopt(world: &World) -> Option<Adopted> {
    world.processes.adopt(world.agent, &"run-1".parse().unwrap()).await.unwrap()
}

fn open(world: &World, words: &[&str]) -> mosaic_core::ports::processes::JobSpec {
    let mut spec = world.spec(words);
    spec.stdin = Stdin::Open { first: "said at the start\n".to_owned() };
    spec.memo = Some("remember me".to_owned());
    spec
}

#[tokio::test]
async fn a_living_job_is_read_from_its_start_and_talked_to_by_server_after_server() {
    let mut world = World::new(CgroupChoice::Auto);
    let mut job = world.processes.start(open(&world, &["echo"])).await.unwrap();
    await_line(&mut *job, "said at the start").await;
    let mut last = "said at the start".to_owned();
    for n in 0..4 {
        drop(job);
        world.restart();
        let adopted = adopt(&world).await.expect("it lives");
        assert_eq!((adopted.memo.as_deref(), adopted.rebooted), (Some("remember me"), false));
        job = adopted.job;
        // From its first byte on, so what was said last comes again.
        await_line(&mut *job, &last).await;
        last = format!("to server {n}");
        job.write(format!("{last}\n").as_bytes()).await.unwrap();
        await_line(&mut *job, &last).await;
    }
    let receipt = world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    assert!(receipt.processes_before > 0 && receipt.processes_after == 0, "{receipt:?}");
    assert_eq!(follow(&mut *job).await.exit.signal, Some(9));
}

#[tokio::test]
async fn an_answer_that_is_repeated_by_a_later_server_reaches_the_program_once() {
    let mut world = World::new(CgroupChoice::Auto);
    let mut job = world.processes.start(open(&world, &["echo"])).await.unwrap();
    job.answer(18, b"to line 1\n").await.unwrap();
    drop(job);
    world.restart();
    job = adopt(&world).await.expect("it lives").job;
    job.answer(18, b"to line 1\n").await.unwrap();
    job.answer(9, b"to a line before\n").await.unwrap();
    job.answer(28, b"to line 2\n").await.unwrap();
    job.write(b"of its own accord\n").await.unwrap();
    job.close_stdin().await.unwrap();
    let output = String::from_utf8(follow(&mut *job).await.output).unwrap();
    assert_eq!(output, "said at the start\nto line 1\nto line 2\nof its own accord\nend of input\n");
}

#[tokio::test]
async fn a_job_that_ended_meanwhile_is_settled_from_its_files() {
    let mut world = World::new(CgroupChoice::Auto);
    let mut job = world.processes.start(open(&world, &["echo"])).await.unwrap();
    job.close_stdin().await.unwrap();
    let whole = follow(&mut *job).await;
    world.restart();
    let story = follow(&mut *adopt(&world).await.expect("its files are there").job).await;
    assert_eq!((story.output, story.exit), (whole.output, whole.exit));
}

#[tokio::test]
async fn a_job_whose_supervisor_died_is_lost_after_its_last_word() {
    let mut world = World::new(CgroupChoice::Auto);
    let mut job = world.processes.start(open(&world, &["echo"])).await.unwrap();
    await_line(&mut *job, "said at the start").await;
    drop(job);
    let shim = rustix::process::Pid::from_raw(world.recorded("shim")).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    world.restart();
    let mut adopted = adopt(&world).await.expect("its files are there");
    await_line(&mut *adopted.job, "said at the start").await;
    let lost = adopted.job.next().await.unwrap_err();
    assert!(matches!(lost, ProcessError::Lost(_)), "{lost}");
    world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    assert!(world.survivors().is_empty());
}

#[tokio::test]
async fn another_boot_is_noticed_and_a_job_that_never_was_is_none() {
    let mut world = World::new(CgroupChoice::Auto);
    assert!(adopt(&world).await.is_none());
    let mut job = world.processes.start(open(&world, &["echo"])).await.unwrap();
    await_line(&mut *job, "said at the start").await;
    world.processes.stop(world.agent, Duration::ZERO).await.unwrap();
    let file = world.job_dir().join("shim.json");
    let mut record: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["bootId"] = "another".into();
    std::fs::write(&file, record.to_string()).unwrap();
    world.restart();
    assert!(adopt(&world).await.expect("its files are there").rebooted);
    // Its server died while the supervisor was being started: there is a wish and nobody who does it.
    std::fs::remove_file(&file).unwrap();
    std::fs::remove_file(world.job_dir().join("exit.json")).unwrap();
    assert!(adopt(&world).await.is_none());
    // One that was only slow finds that it is too late.
    assert!(world.job_dir().join("exit.json").exists());
}
