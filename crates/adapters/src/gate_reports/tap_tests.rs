//! Streams of real producers, and streams that hide something.

use super::*;

fn read_tests(text: &str) -> Tests {
    parse(text.as_bytes()).expect("it is read")
}

#[test]
fn points_directives_and_diagnostics_are_read() {
    let tests = read_tests(
        "TAP version 13\n1..5\nok 1 - adds\nnot ok 2 - divides\n  ---\n  message: 'want 1, got 2'\n  at: '/tree/test/calc.js:9:3'\n  ...\n\
         ok 3 - later # SKIP no network\nnot ok 4 - someday # TODO\nok 5 - hash \\# skip\n",
    );
    assert_eq!((tests.passed, tests.failed, tests.skipped, tests.faults.len()), (2, 1, 2, 0));
    let failed = &tests.failures[0];
    assert_eq!((failed.id().as_str(), failed.message.as_str()), ("divides", "want 1, got 2"));
    assert_eq!((failed.path.as_deref(), failed.line), (Some("/tree/test/calc.js"), Some(9)));
}

#[test]
fn perl_says_where_a_test_failed_in_comments() {
    let tests = read_tests(
        "ok 1 - adds\nnot ok 2 - divides\n#   Failed test 'divides'\n#   at t/calc.t line 7.\n#          got: '1'\n1..2\n# Looks like you failed 1 test of 2.\n",
    );
    let failed = &tests.failures[0];
    assert_eq!((failed.path.as_deref(), failed.line), (Some("t/calc.t"), Some(7)));
    assert!(failed.message.starts_with("Failed test 'divides'"), "{}", failed.message);
}

#[test]
fn subtests_are_counted_and_their_own_point_is_not() {
    let tests = read_tests(
        "TAP version 14\n# Subtest: calc\n    # Subtest: inner\n        ok 1 - deep\n        1..1\n    ok 1 - inner\n    not ok 2 - divides\n    1..2\n\
         not ok 1 - calc\nok 2 - alone\n1..2\n",
    );
    assert_eq!((tests.passed, tests.failed, tests.faults.len()), (2, 1, 0), "{:?}", tests.faults);
    let hidden = read_tests("    not ok 1 - divides\n    1..1\nok 1 - calc\n1..1\n");
    assert_eq!(hidden.failed, 1);
    assert!(hidden.faults[0].contains("is ok although 1"), "{:?}", hidden.faults);
}

#[test]
fn a_stream_that_is_cut_or_lies_about_its_plan_is_a_fault() {
    for (text, wanted) in [
        ("1..3\nok 1\nok 2\n", "plans 3 tests and has 2"),
        ("1..1\nok 1\nok 2\n", "plans 1 tests and has 2"),
        ("ok 1\nok 2\n", "has no plan"),
        ("1..2\nok 1\nok 1\n", "test point 1 is reported more than once"),
        ("1..2\nok 1\nBail out! no database\n", "bailed out: no database"),
        ("1..1\n    ok 1\n", "a subtest has no result"),
        ("    ok 1\n    ok 2\n    1..3\nok 1 - a\n1..1\n", "plans 3 tests and has 2"),
    ] {
        let tests = read_tests(text);
        assert!(tests.faults.iter().any(|fault| fault.contains(wanted)), "{text}: {:?}", tests.faults);
    }
}

#[test]
fn several_programs_print_one_after_the_other() {
    let tests =
        read_tests("1..2\nok 1\nok 2\n1..1\nok 1\nTAP version 13\nok 1\n1..1\nok 1 - of one more\n1..1\n");
    assert_eq!((tests.passed, tests.faults.len()), (5, 0), "{:?}", tests.faults);
}

#[test]
fn skipped_streams_run_nothing_and_other_text_is_no_stream() {
    assert_eq!(read_tests("1..0 # SKIP no perl\n").ran(), 0);
    assert!(parse(b"okay\nnot okay\n1..x\n").is_err());
}
