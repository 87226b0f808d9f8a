//! A judgement as JUnit XML: a test suite with a test case for each gate, so that whatever shows test results shows gates.

use mosaic_api::{AgentGates, GateOutcome, GateReport, GateResult};

/// Writes a report as JUnit XML.
pub(crate) fn write(gates: &AgentGates, report: &GateReport) -> String {
    let cases: Vec<Case> = report.results.iter().map(Case::of).chain(not_run(gates)).collect();
    let count = |is: fn(&Fate) -> bool| cases.iter().filter(|case| is(&case.fate)).count();
    let total: u64 = report.results.iter().map(|result| result.duration_ms).sum();
    let figures = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\" time=\"{}\"",
        cases.len(),
        count(|fate| matches!(fate, Fate::Failure(..))),
        count(|fate| matches!(fate, Fate::Error(..))),
        count(|fate| matches!(fate, Fate::Skipped(_))),
        seconds(total)
    );
    let name = escaped(&format!("gates of {} @ {}", gates.agent_id, report.commit));
    let class = escaped(&format!("mosaic.{}", gates.profile));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {figures}>\n  <testsuite name=\"{name}\" {figures}>\n"
    );
    cases.iter().for_each(|case| case.write(&class, &mut out));
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// Gates of the profile without a result.
fn not_run(gates: &AgentGates) -> impl Iterator<Item = Case> {
    let plan = gates.plan.iter();
    let undefined = plan.clone().flat_map(|plan| &plan.undefined).map(|name| (name, "no definition"));
    let none = plan.flat_map(|plan| &plan.declared_none).map(|name| (name, "declared none by the base"));
    undefined.chain(none).map(|(name, why)| Case {
        name: name.clone(),
        duration_ms: 0,
        fate: Fate::Skipped(why.to_owned()),
    })
}

/// Outcome of a gate in the words of JUnit.
enum Fate {
    Passed,
    /// Kind, message and details.
    Failure(&'static str, String, String),
    /// Message and details.
    Error(String, String),
    Skipped(String),
}

struct Case {
    name: String,
    duration_ms: u64,
    fate: Fate,
}

impl Case {
    fn of(result: &GateResult) -> Self {
        let (summary, details) = (result.summary.clone(), details(result));
        let fate = match result.outcome {
            GateOutcome::Pass => Fate::Passed,
            GateOutcome::Fail => Fate::Failure("fail", summary, details),
            GateOutcome::Flaky => Fate::Failure("flaky", summary, details),
            GateOutcome::Skip => Fate::Skipped(summary),
            GateOutcome::Error | GateOutcome::Unknown => Fate::Error(summary, details),
        };
        Self { name: result.name.clone(), duration_ms: result.duration_ms, fate }
    }

    fn write(&self, class: &str, out: &mut String) {
        let (name, time) = (escaped(&self.name), seconds(self.duration_ms));
        let inner = match &self.fate {
            Fate::Passed => String::new(),
            Fate::Failure(kind, message, details) => format!(
                "      <failure type=\"{kind}\" message=\"{}\">{}</failure>\n",
                escaped(message),
                escaped(details)
            ),
            Fate::Error(message, details) => format!(
                "      <error type=\"error\" message=\"{}\">{}</error>\n",
                escaped(message),
                escaped(details)
            ),
            Fate::Skipped(why) => format!("      <skipped message=\"{}\"/>\n", escaped(why)),
        };
        out.push_str(&format!("    <testcase classname=\"{class}\" name=\"{name}\" time=\"{time}\""));
        match inner.as_str() {
            "" => out.push_str("/>\n"),
            inner => out.push_str(&format!(">\n{inner}    </testcase>\n")),
        }
    }
}

/// Lists the findings of a gate, one after the other.
fn details(result: &GateResult) -> String {
    let one = |finding: &mosaic_api::Finding| {
        let line = finding.line.map_or(String::new(), |line| format!(":{line}"));
        let place = finding.path.as_ref().map_or(String::new(), |path| format!("{path}{line}: "));
        format!("{place}{}\n", finding.message)
    };
    result.findings.iter().map(one).collect()
}

fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// Escapes a text for an attribute or for content. XML 1.0 has no way to write most control characters; they become U+FFFD.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\r' | '\t' => out.push_str(&format!("&#{};", u32::from(c))),
            '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'.. => out.push(c),
            _ => out.push('\u{fffd}'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn every_text_becomes_well_formed() {
        assert_eq!(
            escaped("<a b=\"c\">&]]>\n\u{0}\u{1b}[m\u{fffe}ü😀"),
            "&lt;a b=&quot;c&quot;&gt;&amp;]]&gt;&#10;\u{fffd}\u{fffd}[m\u{fffd}ü😀"
        );
    }
}
