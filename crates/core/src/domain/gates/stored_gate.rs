//! The form of a gate in records, which builds before a gate had a list of reports read, too.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{GateDefinition, ReportSpec};
use crate::domain::ids::Word;

/// Path that stands for reports which an older build does not know. No report may have it, so that such a build, on an older
/// node of the fleet, ends the gate with an error that quotes it: without it that build would judge by fewer reports and
/// could pass what this one fails.
const UNKNOWN_TO_OLDER: &str = "/its list of reports needs a newer build of mosaic";

/// A gate as it is stored.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredGate {
    name: Word,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    /// Path of an lcov report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lcov: Option<String>,
    /// Path of a JUnit report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    junit: Option<String>,
    /// Least line coverage of the lcov report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    /// All reports, where the keys above cannot hold them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reports: Vec<ReportSpec>,
    timeout_ms: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    needs: Vec<Word>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    env: Vec<String>,
}

impl Serialize for GateDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredGate::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for GateDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StoredGate::deserialize(deserializer).map(Self::from)
    }
}

impl From<StoredGate> for GateDefinition {
    fn from(stored: StoredGate) -> Self {
        let StoredGate { name, run, lcov, junit, min, mut reports, timeout_ms, needs, env } = stored;
        if reports.is_empty() && junit.as_deref() == Some(UNKNOWN_TO_OLDER) {
            // An older build wrote this record and dropped the list that it did not know.
            reports = vec![ReportSpec::new(word(GateDefinition::LOST), UNKNOWN_TO_OLDER)];
        } else if reports.is_empty() {
            let junit = junit.map(|path| ReportSpec::new(word("junit"), path));
            let lcov = lcov.map(|path| ReportSpec { min, ..ReportSpec::new(word("lcov"), path) });
            reports = junit.into_iter().chain(lcov).collect();
        }
        Self { name, run, reports, timeout_ms, needs, env }
    }
}

impl From<GateDefinition> for StoredGate {
    fn from(gate: GateDefinition) -> Self {
        let GateDefinition { name, run, reports, timeout_ms, needs, env } = gate;
        let (lcov, junit, min) = (None, None, None);
        let stored = Self { name, run, lcov, junit, min, reports: Vec::new(), timeout_ms, needs, env };
        let formats: Vec<_> = reports.iter().map(|report| (report.format.as_str(), report.min)).collect();
        // The old keys know neither a directory of reports, nor the output, nor a floor for changed lines.
        let is_new = |report: &ReportSpec| {
            report.min_changed.is_some() || report.path == "-" || report.path.starts_with("{reports}")
        };
        match formats.as_slice() {
            _ if reports.iter().any(is_new) => {
                Self { junit: Some(UNKNOWN_TO_OLDER.to_owned()), reports, ..stored }
            }
            [] => stored,
            [("junit", None)] => Self { junit: path(&reports, 0), ..stored },
            [("lcov", min)] => Self { lcov: path(&reports, 0), min: *min, ..stored },
            [("junit", None), ("lcov", min)] => {
                Self { junit: path(&reports, 0), lcov: path(&reports, 1), min: *min, ..stored }
            }
            _ => Self { junit: Some(UNKNOWN_TO_OLDER.to_owned()), reports, ..stored },
        }
    }
}

fn path(reports: &[ReportSpec], at: usize) -> Option<String> {
    reports.get(at).map(|report| report.path.clone())
}

fn word(text: &str) -> Word {
    text.parse().expect("the names of formats are words")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::GatePlan;
    use super::*;

    #[test]
    fn gates_of_earlier_builds_are_read_and_written_as_they_were() {
        let both =
            json!({"name": "tests", "run": "t", "lcov": "l", "junit": "j", "min": 90.0, "timeoutMs": 5});
        let lcov = json!({"name": "tests", "lcov": "l", "timeoutMs": 5});
        let junit = json!({"name": "tests", "run": "t", "junit": "j", "timeoutMs": 5});
        let plain = json!({"name": "tests", "run": "t", "timeoutMs": 5});
        for old in [&both, &lcov, &junit, &plain] {
            let gate: GateDefinition = serde_json::from_value(old.clone()).expect("it is read");
            assert_eq!(&serde_json::to_value(&gate).expect("it is written"), old);
        }
        let gate: GateDefinition = serde_json::from_value(both).expect("it is read");
        assert_eq!(gate.report("lcov").and_then(|report| report.min), Some(90.0));
        assert_eq!(gate.reports.iter().map(|report| report.path.as_str()).collect::<Vec<_>>(), ["j", "l"]);
    }

    #[test]
    fn a_list_that_an_older_build_dropped_is_known_to_be_lost() {
        let reports = ["a", "b"].map(|path| ReportSpec::new(word("junit"), path));
        let gate = GateDefinition {
            reports: reports.to_vec(),
            ..GateDefinition::of_command(word("tests"), "t".to_owned())
        };
        let plan = |gate: GateDefinition| GatePlan { gates: vec![gate], ..GatePlan::default() };
        assert!(!plan(gate.clone()).has_lost_reports());
        let mut stored = serde_json::to_value(&gate).expect("it is written");
        stored.as_object_mut().expect("an object").remove("reports");
        let gate: GateDefinition = serde_json::from_value(stored).expect("it is read");
        assert!(plan(gate).has_lost_reports());
    }

    #[test]
    fn further_reports_come_back_and_an_older_build_passes_no_such_gate() {
        let report = |format: &str, path: &str| ReportSpec::new(word(format), path);
        let lists = [
            vec![report("junit", "a"), report("junit", "b")],
            vec![report("lcov", "a"), report("junit", "b")],
            vec![report("one-of-a-newer-build", "a")],
            vec![report("junit", "-")],
            vec![report("lcov", "{reports}/l")],
            vec![ReportSpec { min_changed: Some(90.0), ..report("lcov", "a") }],
        ];
        for reports in lists {
            let gate =
                GateDefinition { reports, ..GateDefinition::of_command(word("tests"), "t".to_owned()) };
            let stored = serde_json::to_value(&gate).expect("it is written");
            let old = stored["junit"].as_str().expect("an older build finds a report to judge by");
            assert!(old.starts_with('/'), "an older build refuses {old}");
            assert_eq!(serde_json::from_value::<GateDefinition>(stored).expect("it is read"), gate);
        }
    }
}
