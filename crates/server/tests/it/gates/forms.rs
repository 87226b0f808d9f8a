//! The report as JUnit XML and as SARIF.

use mosaic_core::domain::gates::GateOutcome;
use mosaic_testkit::fakes::scanner::SECRET;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Value, json};

use super::{Judged, finding, result, word};

const JUNIT: &str = "application/xml";
const SARIF: &str = "application/sarif+json";

/// Makes a judgement with one gate of each outcome and texts that mean something in XML and JSON.
async fn judged() -> Judged {
    let mut judged = Judged::new(&["typecheck", "lint", "tests", "e2e", "slow"]).await;
    let plan = judged.agent.work.plan.as_mut().expect("there is a plan");
    plan.undefined = vec![word("coverage")];
    plan.declared_none = vec![word("integration")];
    let mut lint = result("lint", GateOutcome::Fail, 1);
    lint.findings = vec![
        finding("lint", Some("src/a b:c.rs"), Some(7), &format!("<no> & \"{SECRET}\"]]>\n\u{1b}[31mred")),
        finding("lint", Some("/usr/lib/x.h"), Some(0), "outside"),
        finding("lint", None, None, ""),
    ];
    let results = vec![
        result("typecheck", GateOutcome::Pass, 1),
        lint,
        result("tests", GateOutcome::Flaky, 1),
        result("e2e", GateOutcome::Error, 1),
        result("slow", GateOutcome::Skip, 1),
    ];
    judged.reports(results).await;
    judged
}

/// Returns an element's attribute.
fn attribute(element: &BytesStart<'_>, name: &str) -> String {
    let found = element.try_get_attribute(name).expect("the element is well formed");
    found.map_or(String::new(), |one| one.value.into_owned())
}

#[tokio::test]
async fn junit_has_a_test_case_for_each_gate() {
    let judged = judged().await;
    let answer = judged.world.get_as(&judged.path(""), JUNIT).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, JUNIT));
    let text = answer.text();
    assert!(!text.contains(SECRET) && text.contains("open…"), "{text}");
    let mut reader = Reader::from_str(&text);
    let (mut cases, mut fates) = (Vec::new(), Vec::new());
    loop {
        match reader.read_event().expect("it is well formed") {
            Event::Start(element) | Event::Empty(element) => match element.name().as_ref() {
                "testcase" => cases.push(attribute(&element, "name")),
                "testsuite" => {
                    let figures =
                        ["tests", "failures", "errors", "skipped"].map(|name| attribute(&element, name));
                    assert_eq!(figures, ["7", "2", "1", "3"]);
                }
                "failure" | "error" | "skipped" => {
                    let name = element.name().as_ref().to_owned();
                    fates.push(format!("{}: {name} {}", cases.len(), attribute(&element, "type")));
                }
                _ => {}
            },
            Event::Eof => break,
            _ => {}
        }
    }
    assert_eq!(cases, ["typecheck", "lint", "tests", "e2e", "slow", "coverage", "integration"]);
    let wanted = [
        "2: failure fail",
        "3: failure flaky",
        "4: error error",
        "5: skipped ",
        "6: skipped ",
        "7: skipped ",
    ];
    assert_eq!(fates, wanted);
}

/// Checks the fields that SARIF 2.1.0 requires, and the ranges of those that are there.
fn check_sarif(log: &Value) {
    assert_eq!(log["version"], "2.1.0");
    let runs = log["runs"].as_array().expect("runs is required");
    for run in runs {
        let driver = &run["tool"]["driver"];
        assert!(driver["name"].is_string(), "tool.driver.name is required");
        let rules = driver["rules"].as_array().expect("it has rules");
        assert!(rules.iter().all(|rule| rule["id"].is_string()), "rule.id is required");
        for invocation in run["invocations"].as_array().expect("it has invocations") {
            assert!(invocation["executionSuccessful"].is_boolean(), "executionSuccessful is required");
            for notification in invocation["toolExecutionNotifications"].as_array().expect("it has them") {
                assert!(notification["message"]["text"].is_string(), "notification.message is required");
            }
        }
        for result in run["results"].as_array().expect("a run that looked has results") {
            let text = result["message"]["text"].as_str().expect("result.message is required");
            assert!(!text.is_empty(), "a message is not empty");
            let rule = result["ruleIndex"].as_u64().expect("it has one") as usize;
            assert_eq!(rules[rule]["id"], result["ruleId"]);
            assert!(
                ["none", "note", "warning", "error"].contains(&result["level"].as_str().expect("a level"))
            );
            for location in result["locations"].as_array().into_iter().flatten() {
                let place = &location["physicalLocation"];
                assert!(place["artifactLocation"]["uri"].is_string(), "{place}");
                assert!(
                    place["region"].is_null() || place["region"]["startLine"].as_u64() >= Some(1),
                    "{place}"
                );
            }
        }
    }
}

#[tokio::test]
async fn sarif_has_a_result_for_each_finding_of_a_red_gate() {
    let judged = judged().await;
    let answer = judged.world.get_as(&judged.path(""), SARIF).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, SARIF));
    assert!(!answer.text().contains(SECRET));
    let log = answer.json();
    check_sarif(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    let rules: Vec<_> = results.iter().map(|one| one["ruleId"].as_str().unwrap()).collect();
    assert_eq!(rules, ["lint", "lint", "lint", "tests", "e2e"]);
    let place = &results[0]["locations"][0]["physicalLocation"];
    assert_eq!(
        *place,
        json!({"artifactLocation": {"uri": "src/a%20b%3Ac.rs", "uriBaseId": "%SRCROOT%"}, "region": {"startLine": 7}})
    );
    let outside = &results[1]["locations"][0]["physicalLocation"];
    assert_eq!(*outside, json!({"artifactLocation": {"uri": "file:///usr/lib/x.h"}}));
    let said = log["runs"][0]["invocations"][0]["toolExecutionNotifications"].to_string();
    for gate in ["slow", "coverage", "integration"] {
        assert!(said.contains(gate), "{gate} was not judged: {said}");
    }
}

#[tokio::test]
async fn a_report_that_is_not_there_is_no_file_without_results() {
    let judged = Judged::new(&["tests"]).await;
    for form in [JUNIT, SARIF] {
        judged.world.get_as(&judged.path(""), form).await.is(404, "log_not_found");
    }
    judged.world.get_as(&judged.path(""), "text/html").await.is(406, "not_acceptable");
}
