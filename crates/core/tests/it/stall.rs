//! The staged response to silence whole: every combination of signals, and random histories.

use std::time::Duration;

use mosaic_core::domain::stall::{DWELL_PERMILLE, Pace, Signals, Stage, Stall};
use mosaic_core::limits;
use proptest::prelude::*;

const CEILING: Duration = Duration::from_secs(1000);
const STAGES: [Stage; 5] = [Stage::None, Stage::Notice, Stage::Nudge, Stage::Interrupt, Stage::Kill];

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn silence(n: u64, with: Signals) -> Signals {
    Signals { silent: secs(n), quiet: secs(n), ..with }
}

/// Runs a silent agent to its end, one look per second; returns when each stage was entered.
fn entered(with: Signals) -> Vec<(Stage, u64)> {
    let mut stall = Stall::new(CEILING);
    (0..=2000).filter_map(|n| Some((stall.observe(secs(n), &silence(n, with))?, n))).collect()
}

fn with(cpu: Option<u32>, written: u64, processes: Option<u32>, tool: bool, retrying: bool) -> Signals {
    Signals { cpu, written: Some(written), processes, tool, retrying, ..Signals::default() }
}

#[test]
fn every_combination_has_its_pace() {
    let busy = limits::STALL_CPU_PERMILLE;
    let mut seen = [0; 4];
    for cpu in [None, Some(0), Some(busy - 1), Some(busy), Some(4000)] {
        for written in [0, 1] {
            for processes in [None, Some(1), Some(2)] {
                for tool in [false, true] {
                    for retrying in [false, true] {
                        let works = cpu.is_none_or(|cpu| cpu >= busy) || written > 0;
                        let child = processes != Some(1);
                        let expected = match (tool, child, works) {
                            (true, true, _) => Pace::Tool,
                            (_, _, true) => Pace::Busy,
                            _ if tool || child || retrying => Pace::Signs,
                            _ => Pace::Nothing,
                        };
                        let signals = with(cpu, written, processes, tool, retrying);
                        assert_eq!(Pace::of(&signals), expected, "{signals:?}");
                        let times = entered(signals);
                        let wanted: Vec<(Stage, u64)> =
                            STAGES[1..].iter().map(|s| (*s, u64::from(expected.permille(*s)))).collect();
                        assert_eq!(times, wanted, "{signals:?}");
                        seen[expected as usize] += 1;
                    }
                }
            }
        }
    }
    assert!(seen.iter().all(|n| *n > 0), "a pace was never called for: {seen:?}");
}

#[test]
fn a_slower_pace_is_slower_in_every_stage_and_none_passes_the_ceiling() {
    for stage in &STAGES[1..] {
        for pair in Pace::ALL.windows(2) {
            assert!(pair[0].permille(*stage) < pair[1].permille(*stage), "{pair:?} {stage:?}");
        }
    }
    for pace in Pace::ALL {
        assert!(pace.permille(Stage::Kill) <= 1000);
        for pair in STAGES[1..].windows(2) {
            assert!(pace.permille(pair[1]) - pace.permille(pair[0]) >= DWELL_PERMILLE, "{pace:?} {pair:?}");
        }
    }
}

#[test]
fn a_silent_background_task_with_a_process_is_never_ended_for_its_silence() {
    let background =
        |cpu, processes| Signals { background: true, ..with(Some(cpu), 0, processes, false, false) };
    let waits = entered(background(0, Some(2)));
    assert_eq!(waits.iter().map(|(stage, _)| *stage).collect::<Vec<_>>(), [Stage::Notice, Stage::Nudge]);
    assert_eq!(
        entered(background(limits::STALL_CPU_PERMILLE, Some(2))).len(),
        1,
        "one that works is not asked about"
    );
    assert_eq!(entered(background(0, None)).len(), 2);
    let gone = entered(background(0, Some(1)));
    assert_eq!(gone.last().map(|(stage, _)| *stage), Some(Stage::Kill), "nothing is there to wait for");
}

#[test]
fn output_is_progress_until_the_nudge_and_an_event_always_is() {
    let nothing = with(Some(0), 0, Some(1), false, false);
    let mut stall = Stall::new(CEILING);
    assert_eq!(stall.observe(secs(300), &silence(300, nothing)), Some(Stage::Notice));
    let spoke = Signals { silent: secs(1), quiet: secs(310), ..nothing };
    assert_eq!(stall.observe(secs(310), &spoke), Some(Stage::None));
    let mut stall = Stall::new(CEILING);
    for n in [300, 500] {
        stall.observe(secs(n), &silence(n, nothing));
    }
    assert_eq!(stall.stage(), Stage::Nudge);
    let acknowledged = Signals { silent: secs(1), quiet: secs(510), ..nothing };
    assert_eq!(stall.observe(secs(510), &acknowledged), None, "an acknowledgement counted as going on");
    let acknowledged = Signals { silent: secs(141), quiet: secs(650), ..nothing };
    assert_eq!(stall.observe(secs(650), &acknowledged), Some(Stage::Interrupt));
    let event = Signals { silent: secs(1), quiet: secs(1), ..nothing };
    assert_eq!(stall.observe(secs(660), &event), Some(Stage::None));
}

#[test]
fn output_without_meaning_is_worth_a_notice_and_no_more() {
    let mut stall = Stall::new(CEILING);
    let mut stages = Vec::new();
    for n in 0..10_000 {
        let chatter = Signals { silent: secs(0), quiet: secs(n), processes: Some(1), ..Signals::default() };
        stages.extend(stall.observe(secs(n), &chatter));
    }
    assert_eq!(stages, [Stage::Notice]);
    let event = Signals { processes: Some(1), ..Signals::default() };
    assert_eq!(stall.observe(secs(10_000), &event), Some(Stage::None));
}

fn any_signals() -> impl Strategy<Value = Signals> {
    let cpu = proptest::option::of(0..100_u32);
    let processes = proptest::option::of(1..4_u32);
    (cpu, proptest::option::of(0..2_u64), processes, any::<bool>(), any::<bool>()).prop_map(
        |(cpu, written, processes, tool, retrying)| Signals {
            cpu,
            written,
            processes,
            tool,
            retrying,
            ..Signals::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_stage_is_skipped_and_silence_ends_within_the_ceiling(
        looks in proptest::collection::vec((any_signals(), 1..50_u64), 1..200),
    ) {
        let mut stall = Stall::new(CEILING);
        let (mut now, mut before) = (0, Stage::None);
        let mut longest = 0;
        for (signals, pause) in looks.into_iter().cycle().take(4000) {
            now += pause;
            longest = longest.max(pause);
            if let Some(stage) = stall.observe(secs(now), &silence(now, signals)) {
                let place = |stage| STAGES.iter().position(|s| *s == stage);
                prop_assert_eq!(place(stage), place(before).map(|at| at + 1), "from {:?} to {:?}", before, stage);
                before = stage;
            }
            if before == Stage::Kill {
                break;
            }
        }
        prop_assert_eq!(before, Stage::Kill);
        // A stage is entered at a look only, so the last one may come a whole pause after its time.
        prop_assert!(secs(now) <= CEILING + secs(longest), "killed after {now} s");
        prop_assert_eq!(stall.observe(secs(now + 1), &Signals::default()), None, "a kill is the last stage");
    }

    #[test]
    fn an_agent_that_goes_on_is_never_killed(
        looks in proptest::collection::vec((any_signals(), 1..50_u64, 0..299_u64), 1..400),
    ) {
        let mut stall = Stall::new(CEILING);
        let (mut now, mut spoke) = (0, 0_u64);
        for (signals, pause, silent) in looks {
            now += pause;
            if now - spoke > silent {
                spoke = now;
            }
            let seen = Signals { silent: secs(now - spoke), quiet: secs(now - spoke), ..signals };
            stall.observe(secs(now), &seen);
            prop_assert!(stall.stage() <= Stage::Notice);
        }
    }
}
