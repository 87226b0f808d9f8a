//! Figures of a history: counts, pass rate, times, flaky tests.

use std::collections::BTreeMap;

use super::GateRun;
use crate::domain::gates::GateOutcome;
use crate::domain::ids::Timestamp;
use crate::limits;

/// Part of the history that a caller wants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HistoryQuery {
    /// Only this repository.
    pub repository: Option<String>,
    /// Only this gate.
    pub gate: Option<String>,
    /// Only judgements that ended at this time or later.
    pub since: Option<Timestamp>,
    /// Only what comes after this repository and gate.
    pub after: Option<(String, String)>,
    /// Most entries.
    pub limit: usize,
}

/// A part of the history.
#[derive(Debug, Clone, PartialEq)]
pub struct GateHistoryPage {
    /// Beginning of the time that the figures cover: the filter's, or that of the oldest fact that counts when that is later.
    pub since: Option<Timestamp>,
    /// The entries, by repository and gate.
    pub items: Vec<GateHistory>,
    /// More entries follow.
    pub more: bool,
}

/// The history of one gate in one repository.
#[derive(Debug, Clone, PartialEq)]
pub struct GateHistory {
    /// The repository.
    pub repository: String,
    /// The gate.
    pub gate: String,
    /// Results that count: those in which something was judged.
    pub runs: u64,
    /// Passes among them.
    pub passed: u64,
    /// Failures among them.
    pub failed: u64,
    /// Errors among them.
    pub errors: u64,
    /// Flaky results among them.
    pub flaky: u64,
    /// Results that say that the gate was not run; they are no runs.
    pub skipped: u64,
    /// Runs whose verdict was known before.
    pub cached: u64,
    /// Share of passes among the runs, in percent.
    pub pass_rate: Option<f64>,
    /// Time that half of the runs did not exceed, cached ones aside, in milliseconds.
    pub p50_ms: Option<u64>,
    /// Time that 95 % of the runs did not exceed, cached ones aside, in milliseconds.
    pub p95_ms: Option<u64>,
    /// The flaky tests, most often seen first.
    pub flaky_tests: Vec<FlakyTest>,
    /// The newest results, newest first.
    pub recent: Vec<GateRun>,
}

/// A test that failed and then passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlakyTest {
    /// Its name.
    pub test: String,
    /// Judgements in which it was flaky.
    pub count: u64,
    /// When it was flaky last.
    pub last_seen: Timestamp,
}

/// Makes the page that a query wants of results that come oldest first.
pub(super) fn page<'a>(
    runs: impl Iterator<Item = &'a GateRun>,
    known_since: Option<Timestamp>,
    query: &HistoryQuery,
) -> GateHistoryPage {
    let mut groups: BTreeMap<(&str, &str), Vec<&GateRun>> = BTreeMap::new();
    for run in runs.filter(|run| wanted(run, query)) {
        groups.entry((&run.repository, &run.gate)).or_default().push(run);
    }
    let more = groups.len() > query.limit;
    let items = groups.into_iter().take(query.limit).map(|((repository, gate), runs)| GateHistory {
        repository: repository.to_owned(),
        gate: gate.to_owned(),
        ..figures(&runs)
    });
    let since = known_since.max(query.since.filter(|_| known_since.is_some()));
    GateHistoryPage { since, items: items.collect(), more }
}

fn wanted(run: &GateRun, query: &HistoryQuery) -> bool {
    query.repository.as_deref().is_none_or(|repository| *run.repository == *repository)
        && query.gate.as_deref().is_none_or(|gate| run.gate == gate)
        && query.since.is_none_or(|since| run.at >= since)
        && query.after.as_ref().is_none_or(|(repository, gate)| {
            (&*run.repository, run.gate.as_str()) > (repository.as_str(), gate.as_str())
        })
}

/// Returns the figures of one gate's results.
fn figures(runs: &[&GateRun]) -> GateHistory {
    let count = |outcome| runs.iter().filter(|run| run.outcome == outcome).count() as u64;
    let (passed, skipped) = (count(GateOutcome::Pass), count(GateOutcome::Skip));
    let judged = runs.len() as u64 - skipped;
    let cached = runs.iter().filter(|run| run.cached && run.outcome != GateOutcome::Skip).count() as u64;
    let times = runs.iter().filter(|run| !run.cached && run.outcome != GateOutcome::Skip);
    let mut times: Vec<u64> = times.map(|run| run.duration_ms).collect();
    times.sort_unstable();
    GateHistory {
        repository: String::new(),
        gate: String::new(),
        runs: judged,
        passed,
        failed: count(GateOutcome::Fail),
        errors: count(GateOutcome::Error),
        flaky: count(GateOutcome::Flaky),
        skipped,
        cached,
        // Counts of results in memory are far below 2^53.
        pass_rate: (judged > 0).then(|| passed as f64 * 100.0 / judged as f64),
        p50_ms: percentile(&times, 50),
        p95_ms: percentile(&times, 95),
        flaky_tests: flaky(runs),
        recent: runs.iter().rev().take(limits::HISTORY_RUNS).map(|run| (*run).clone()).collect(),
    }
}

/// Returns the smallest of the sorted values that so many percent of them do not exceed (nearest rank).
fn percentile(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

fn flaky(runs: &[&GateRun]) -> Vec<FlakyTest> {
    let mut seen: BTreeMap<&str, (u64, Timestamp)> = BTreeMap::new();
    for run in runs {
        for test in &run.flaky_tests {
            let one = seen.entry(test).or_insert((0, run.at));
            *one = (one.0 + 1, one.1.max(run.at));
        }
    }
    let one = |(test, (count, last_seen)): (&str, _)| FlakyTest { test: test.to_owned(), count, last_seen };
    let mut tests: Vec<FlakyTest> = seen.into_iter().map(one).collect();
    tests.sort_by_key(|test| std::cmp::Reverse((test.count, test.last_seen)));
    tests.truncate(limits::HISTORY_RUNS);
    tests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(gate: &str, at: u64, outcome: GateOutcome, duration_ms: u64) -> GateRun {
        GateRun {
            repository: "https://git.example.com/r.git".into(),
            gate: gate.to_owned(),
            agent: None,
            task: None,
            commit: "c".to_owned(),
            at: Timestamp(at),
            outcome,
            duration_ms,
            cached: false,
            flaky_tests: Vec::new(),
        }
    }

    fn of(runs: &[GateRun], query: HistoryQuery) -> GateHistoryPage {
        page(runs.iter(), Some(Timestamp(1)), &HistoryQuery { limit: 10, ..query })
    }

    #[test]
    fn a_cached_or_skipped_result_says_nothing_about_times() {
        let mut runs: Vec<GateRun> = (1..=100).map(|n| run("tests", n, GateOutcome::Pass, n * 10)).collect();
        runs.push(GateRun { cached: true, ..run("tests", 101, GateOutcome::Pass, 0) });
        runs.push(run("tests", 102, GateOutcome::Skip, 0));
        runs.push(run("tests", 103, GateOutcome::Fail, 10));
        let history = &of(&runs, HistoryQuery::default()).items[0];
        assert_eq!((history.runs, history.passed, history.failed), (102, 101, 1));
        assert_eq!((history.skipped, history.cached), (1, 1));
        assert_eq!((history.p50_ms, history.p95_ms), (Some(500), Some(950)));
        assert_eq!((history.recent.len(), history.recent[0].at), (50, Timestamp(103)));
    }

    #[test]
    fn a_flaky_result_is_no_pass_and_its_tests_are_counted() {
        let flaky = |at, test: &str| GateRun {
            flaky_tests: vec![test.to_owned()],
            ..run("tests", at, GateOutcome::Flaky, 5)
        };
        let runs = [flaky(1, "a"), flaky(2, "b"), flaky(3, "b"), run("tests", 4, GateOutcome::Pass, 5)];
        let history = &of(&runs, HistoryQuery::default()).items[0];
        assert_eq!((history.flaky, history.pass_rate), (3, Some(25.0)));
        let tests: Vec<_> = history.flaky_tests.iter().map(|one| (one.test.as_str(), one.count)).collect();
        assert_eq!((tests, history.flaky_tests[0].last_seen), (vec![("b", 2), ("a", 1)], Timestamp(3)));
    }

    #[test]
    fn pages_go_on_after_the_last_gate_and_filters_count() {
        let runs: Vec<GateRun> =
            ["lint", "tests", "types"].map(|gate| run(gate, 5, GateOutcome::Pass, 1)).to_vec();
        let first = page(runs.iter(), Some(Timestamp(1)), &HistoryQuery { limit: 2, ..Default::default() });
        assert_eq!((first.items.len(), first.more, first.since), (2, true, Some(Timestamp(1))));
        let after = Some((first.items[1].repository.clone(), first.items[1].gate.clone()));
        let rest = of(&runs, HistoryQuery { after, ..Default::default() });
        assert_eq!((rest.items.len(), rest.items[0].gate.as_str(), rest.more), (1, "types", false));
        let late = of(&runs, HistoryQuery { since: Some(Timestamp(6)), ..Default::default() });
        assert_eq!((late.items.len(), late.since), (0, Some(Timestamp(6))));
        let one = of(&runs, HistoryQuery { gate: Some("lint".to_owned()), ..Default::default() });
        assert_eq!(one.items.len(), 1);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!((percentile(&[], 50), percentile(&[7], 95)), (None, Some(7)));
        assert_eq!((percentile(&[1, 2], 50), percentile(&[1, 2, 3], 95)), (Some(1), Some(3)));
    }
}
