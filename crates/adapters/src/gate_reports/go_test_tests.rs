//! Events of go test as they are, and as they never are.

use super::*;

fn read(text: &str) -> Tests {
    parse(text.as_bytes()).expect("it is read")
}

fn event(action: &str, test: &str, output: &str) -> String {
    let test = if test.is_empty() { String::new() } else { format!(",\"Test\":\"{test}\"") };
    let output = if output.is_empty() { String::new() } else { format!(",\"Output\":\"{output}\"") };
    format!(
        "{{\"Time\":\"2026-12-01T00:00:00Z\",\"Action\":\"{action}\",\"Package\":\"example.org/calc\"{test}{output}}}\n"
    )
}

fn run(parts: &[(&str, &str, &str)]) -> String {
    parts.iter().map(|(action, test, output)| event(action, test, output)).collect()
}

#[test]
fn tests_subtests_and_their_places_are_read() {
    let text = run(&[
        ("start", "", ""),
        ("run", "TestAdd", ""),
        ("output", "TestAdd", "=== RUN   TestAdd\\n"),
        ("pass", "TestAdd", ""),
        ("run", "TestDiv", ""),
        ("run", "TestDiv/zero", ""),
        ("output", "TestDiv/zero", "    calc_test.go:9: want 1, got 2\\n"),
        ("output", "TestDiv/zero", "    --- FAIL: TestDiv/zero (0.00s)\\n"),
        ("fail", "TestDiv/zero", ""),
        ("fail", "TestDiv", ""),
        ("run", "TestLater", ""),
        ("skip", "TestLater", ""),
        ("output", "", "FAIL\\n"),
        ("fail", "", ""),
    ]);
    let tests = read(&format!("go: downloading example.org/x v1.0.0\n{text}"));
    assert_eq!((tests.passed, tests.failed, tests.skipped, tests.faults.len()), (1, 1, 1, 0));
    let failed = &tests.failures[0];
    assert_eq!(failed.id(), "example.org/calc TestDiv/zero");
    assert_eq!((failed.path.as_deref(), failed.line), (Some("example.org/calc/calc_test.go"), Some(9)));
    assert_eq!(failed.message, "calc_test.go:9: want 1, got 2");
}

#[test]
fn a_package_without_an_end_is_a_fault() {
    let text = run(&[("start", "", ""), ("run", "TestAdd", ""), ("pass", "TestAdd", "")]);
    assert!(read(&text).faults[0].contains("example.org/calc has no end"));
}

#[test]
fn a_package_that_is_not_built_has_failed() {
    let text = "{\"ImportPath\":\"example.org/calc [example.org/calc.test]\",\"Action\":\"build-output\",\"Output\":\"./calc_test.go:7:9: undefined: x\\n\"}\n\
        {\"ImportPath\":\"example.org/calc [example.org/calc.test]\",\"Action\":\"build-fail\"}\n\
        {\"Action\":\"start\",\"Package\":\"example.org/calc\"}\n\
        {\"Action\":\"output\",\"Package\":\"example.org/calc\",\"Output\":\"FAIL\\texample.org/calc [build failed]\\n\"}\n\
        {\"Action\":\"fail\",\"Package\":\"example.org/calc\",\"Elapsed\":0,\"FailedBuild\":\"example.org/calc [example.org/calc.test]\"}\n";
    let tests = read(text);
    assert_eq!(tests.failed, 1);
    assert!(tests.faults.iter().any(|fault| fault.contains("was not built")), "{:?}", tests.faults);
    assert_eq!(
        (tests.failures[0].path.as_deref(), tests.failures[0].line),
        (Some("example.org/calc/calc_test.go"), Some(7))
    );
    let older = format!(
        "{}FAIL\texample.org/b [build failed]\n",
        run(&[("start", "", ""), ("run", "TestAdd", ""), ("pass", "TestAdd", ""), ("pass", "", "")])
    );
    assert!(read(&older).faults[0].contains("[build failed]"));
}

#[test]
fn a_panic_ends_the_tests_that_run() {
    let text = run(&[
        ("start", "", ""),
        ("run", "TestAdd", ""),
        ("output", "TestAdd", "panic: boom\\n"),
        ("output", "TestAdd", "\\t/tree/calc_test.go:12 +0x1d\\n"),
        ("fail", "", ""),
    ]);
    let tests = read(&text);
    assert_eq!((tests.passed, tests.failed), (0, 1));
    assert!(tests.failures[0].message.starts_with("has no end\npanic: boom"), "{:?}", tests.failures);
    assert_eq!(
        (tests.failures[0].path.as_deref(), tests.failures[0].line),
        (Some("/tree/calc_test.go"), Some(12))
    );
    // The package says that it passed, and a test has no result: os.Exit(0) in a test.
    let exit = run(&[("start", "", ""), ("run", "TestAdd", ""), ("pass", "", "")]);
    assert_eq!(read(&exit).failed, 1);
}

#[test]
fn a_second_result_without_a_second_run_is_forged_and_a_second_run_counts_once() {
    let forged =
        run(&[("run", "TestAdd", ""), ("fail", "TestAdd", ""), ("pass", "TestAdd", ""), ("pass", "", "")]);
    let tests = read(&forged);
    assert_eq!(tests.failed, 1);
    assert!(tests.faults[0].contains("second result"), "{:?}", tests.faults);
    let twice = run(&[
        ("run", "TestAdd", ""),
        ("pass", "TestAdd", ""),
        ("run", "TestAdd", ""),
        ("pass", "TestAdd", ""),
        ("pass", "", ""),
    ]);
    let tests = read(&twice);
    assert_eq!((tests.passed, tests.faults.len()), (1, 0));
}

#[test]
fn packages_without_tests_run_none() {
    let tests = read(&run(&[
        ("start", "", ""),
        ("output", "", "?   \\texample.org/calc\\t[no test files]\\n"),
        ("skip", "", ""),
    ]));
    assert_eq!((tests.ran(), tests.faults.len()), (0, 0));
    assert!(parse(b"ok  \texample.org/calc\t0.01s\n").is_err());
}
