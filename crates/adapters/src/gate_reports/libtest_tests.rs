//! Output of cargo test as it is, and as it never is.

use super::*;

fn read(text: &str) -> Tests {
    parse(text.as_bytes()).expect("it is read")
}

const TWO_BINARIES: &str = "   Compiling calc v0.1.0 (/tree)
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.42s
     Running unittests src/lib.rs (target/debug/deps/calc-2fae31c0d7a1b5e2)

running 4 tests
test tests::adds ... ok
test tests::later ... ignored, not yet
test tests::panics - should panic ... ok
test tests::breaks ... FAILED

failures:

---- tests::breaks stdout ----

thread 'tests::breaks' (4711) panicked at src/lib.rs:14:9:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    tests::breaks

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `--lib`
     Running tests/it.rs (target/debug/deps/it-91b0a7c6d2e4f835)

running 1 test
test tests::adds ... ok

test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

   Doc-tests calc

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

#[test]
fn binaries_of_one_log_are_added_up_and_failures_have_their_panic() {
    let tests = read(TWO_BINARIES);
    assert_eq!((tests.passed, tests.failed, tests.skipped, &tests.faults), (3, 1, 1, &Vec::new()));
    let failed = &tests.failures[0];
    assert_eq!(failed.id(), "calc tests::breaks");
    assert_eq!((failed.path.as_deref(), failed.line), (Some("src/lib.rs"), Some(14)));
    assert_eq!(failed.message, "assertion `left == right` failed\n  left: 1\n right: 2");
    assert!(tests.stopped_early.is_some());
    let all = format!("{TWO_BINARIES}\nerror: 1 target failed:\n    `--lib`\n");
    assert_eq!(read(&all).stopped_early, None);
}

#[test]
fn a_result_after_the_output_of_its_test_and_dots_are_read() {
    let loud = "running 2 tests\ntest a ... hello\nworld\nok\ntest b ... ok\n\ntest result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
    let tests = read(loud);
    assert_eq!((tests.passed, tests.faults.len()), (2, 0));
    let quiet = "running 3 tests\n...\ntest result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    let tests = read(quiet);
    assert_eq!((tests.passed, tests.skipped, tests.faults.len()), (2, 1, 0));
}

#[test]
fn a_panic_that_is_not_captured_is_told_of_its_test() {
    let text = "running 2 tests\ntest tests::a ... \nthread 'tests::a' (7) panicked at src/lib.rs:10:27:\nsums\nstack backtrace:\n   0: x\nnote: Some details\nFAILED\n\
                test tests::b ... ok\n\nfailures:\n\nfailures:\n    tests::a\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n";
    let tests = read(text);
    assert_eq!((tests.passed, tests.failed, &tests.faults), (1, 1, &Vec::new()));
    let failed = &tests.failures[0];
    assert_eq!((failed.name.as_str(), failed.line, failed.message.as_str()), ("tests::a", Some(10), "sums"));
}

#[test]
fn a_run_that_ends_early_repeats_or_miscounts_is_a_fault() {
    let result = |passed: u32, failed: u32| {
        format!("test result: ok. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n")
    };
    for (text, wanted) in [
        ("running 5 tests\ntest a ... ok\n".to_owned(), "no `test result:`"),
        (format!("running 5 tests\nrunning 1 test\ntest a ... ok\n{}", result(1, 0)), "no `test result:`"),
        (
            format!("running 2 tests\ntest a ... ok\ntest a ... ok\n{}", result(2, 0)),
            "`a` is reported more than once",
        ),
        (format!("running 3 tests\ntest a ... ok\n{}", result(1, 0)), "ran 3 tests and sums up 1"),
        (format!("running 2 tests\ntest a ... ok\n{}", result(2, 0)), "ran 2 tests and lists 1"),
        (
            format!("running 2 tests\ntest a ... ok\ntest b ... FAILED\n{}", result(2, 0)),
            "lists 1 failed tests and sums up 0",
        ),
        (format!("running 1 test\ntest a ... ok\n{}{}", result(1, 0), result(9, 0)), "ran nothing"),
    ] {
        let tests = read(&text);
        assert!(tests.faults.iter().any(|fault| fault.contains(wanted)), "{text}: {:?}", tests.faults);
    }
    let hidden = format!("running 1 test\ntest a ... FAILED\ntest a ... ok\n{}", result(1, 0));
    assert_eq!(read(&hidden).failed, 1);
}

#[test]
fn one_binary_that_runs_twice_repeats_its_tests() {
    let once = "     Running unittests src/lib.rs (target/debug/deps/calc-2fae)\nrunning 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n";
    assert_eq!(read(&format!("{once}{once}")).faults.len(), 1);
    let other = once.replace("calc-2fae", "calc-93b1");
    assert!(read(&format!("{once}{other}")).faults.is_empty());
}

#[test]
fn json_lines_are_read() {
    let text = r#"{ "type": "suite", "event": "started", "test_count": 3 }
{ "type": "test", "event": "started", "name": "tests::adds" }
{ "type": "test", "name": "tests::adds", "event": "ok" }
{ "type": "test", "name": "tests::later", "event": "ignored" }
{ "type": "test", "name": "tests::breaks", "event": "failed", "stdout": "\nthread 'tests::breaks' (7) panicked at src/lib.rs:14:9:\nno\n" }
{ "type": "suite", "event": "failed", "passed": 1, "failed": 1, "ignored": 1, "measured": 0, "filtered_out": 0, "exec_time": 0.01 }
"#;
    let tests = read(text);
    assert_eq!((tests.passed, tests.failed, tests.skipped, tests.faults.len()), (1, 1, 1, 0));
    assert_eq!((tests.failures[0].line, tests.failures[0].message.as_str()), (Some(14), "no"));
    let cut: String = text.lines().take(3).map(|line| format!("{line}\n")).collect();
    assert!(!read(&cut).faults.is_empty());
}

#[test]
fn text_without_a_binary_is_no_report() {
    assert!(parse(b"ok\n").is_err());
    assert!(parse(b"").is_err());
}
