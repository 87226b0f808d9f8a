//! Definitions that the reader accepts, definitions that it refuses, and its messages.

use super::*;

fn fault(text: &str) -> String {
    parse(text.as_bytes()).map(|config| format!("accepted: {config:?}")).unwrap_err().to_string()
}

#[test]
fn reads_the_documented_example() {
    let text = r#"
        #:schema http://127.0.0.1:3001/schemas/repo.json
        [hooks]
        setup  = "npm ci"
        [worktree]
        include = [".env.local"]
        ports = 10
        [gates]
        typecheck = "npm run typecheck"
        lint      = "npm run lint"
        tests     = { run = "npm test", junit = "junit.xml", timeout = "10m" }
        coverage  = { lcov = "coverage/lcov.info", min = 85 }
        [gates.profiles]
        standard = ["typecheck", "lint", "tests", "coverage"]
        [agent]
        prompt_append = "Keep commits small."
        protected = [".mosaic/**", "**/jest.config.*"]
    "#;
    let config = parse(text.as_bytes()).unwrap();
    let tests = &config.gates[&"tests".parse::<Word>().unwrap()];
    assert_eq!(
        (tests.run.as_deref(), tests.report("junit").map(|report| report.path.as_str()), tests.timeout_ms),
        (Some("npm test"), Some("junit.xml"), 600_000)
    );
    let coverage = &config.gates[&"coverage".parse::<Word>().unwrap()];
    assert_eq!((coverage.run.as_deref(), coverage.reports[0].min), (None, Some(85.0)));
    assert_eq!(config.gates.len(), 4);
    assert_eq!(config.warnings.len(), 3, "{:?}", config.warnings);
    assert!(config.warnings.iter().all(|w| w.contains("not used by this build")));
}

#[test]
fn every_fault_names_its_line() {
    let long = format!("[gates]\ntests = \"{}\"", "x".repeat(limits::GATE_RUN_BYTES + 1));
    let many = format!("[gates.profiles]\nstrict = [{}]", "\"a\",".repeat(limits::GATES + 1));
    let faults = [
        ("[gates]\ntests = ", "line 2"),
        (
            "[gates]\ntests = { run = \"a\", junti = \"b\" }",
            "line 2: unknown key `junti` (did you mean `junit`?)",
        ),
        ("[gates]\n\n[gate.profiles]", "did you mean `gates`?"),
        ("[zzzzzzzz]", "unknown key `zzzzzzzz` (known: gates"),
        ("gates = 1", "line 1: `gates` must be a table"),
        ("hooks = \"x\"", "line 1: `hooks` must be a table"),
        ("[gates]\ntests = 1", "line 2: gate `tests` must be a command"),
        ("[gates]\ntests = \" \"", "line 2: the command is empty"),
        ("[gates]\ntests = \"a\\u0000b\"", "NUL"),
        (&long, "longer than"),
        ("[gates]\n\"a b\" = \"x\"", "line 2: gate name `a b`"),
        ("[gates]\n\"../x\" = \"x\"", "line 2: gate name"),
        ("[gates]\n\"\\u001b[2J\" = \"x\"", "\\u{1b}[2J"),
        ("[gates]\nn123456789012345678901234567890123456789012345678 = \"x\"", "more than 48"),
        ("[gates.tests]\ntimeout = \"1m\"", "needs a command"),
        ("[gates.tests]\nrun = \"a\"\ntimeout = \"soon\"", "line 3: `timeout` must be a time"),
        ("[gates.tests]\nrun = \"a\"\ntimeout = \"0s\"", "above 0"),
        ("[gates.tests]\nrun = \"a\"\ntimeout = \"7h\"", "at most 6h"),
        ("[gates.tests]\nrun = \"a\"\ntimeout = 5", "must be a string, not integer"),
        ("[gates.coverage]\nrun = \"a\"\nmin = 90", "has `min` without"),
        ("[gates.coverage]\nlcov = \"a\"\nmin = 101", "from 0 to 100"),
        ("[gates.coverage]\nlcov = \"a\"\nmin = nan", "from 0 to 100"),
        ("[gates.coverage]\nlcov = \"a\"\nmin = \"85\"", "from 0 to 100"),
        ("[gates.coverage]\nlcov = \"/etc/passwd\"", "line 2: report path `/etc/passwd` must be relative"),
        ("[gates.coverage]\nlcov = \"../x\"", "must stay inside"),
        ("[gates.profiles]\nstandrad = []", "line 2: unknown profile `standrad` (did you mean `standard`?)"),
        ("[gates.profiles]\nstandard = \"tests\"", "must be a list"),
        ("[gates.profiles]\nstandard = [1]", "must be a string"),
        ("[gates]\nprofiles = \"x\"", "[gates.profiles]"),
        (&many, "more than 32 gates"),
        ("[gates]\ntests = \"a\"\ntests = \"b\"", "line 3"),
    ];
    for (text, want) in faults {
        let got = fault(text);
        assert!(got.starts_with("line ") && got.contains(want), "{text}: {got}");
    }
    let not_text = parse(b"[gates]\ntests = \"\xff\"").unwrap_err().to_string();
    assert!(not_text.starts_with("line 2: is not UTF-8"), "{not_text}");
}

#[test]
fn a_slip_of_the_pen_is_pointed_out() {
    let config = parse(b"[gates]\ntypcheck = \"a\"\ne2e = \"b\"\nlint = \"c\"\nlints = \"d\"").unwrap();
    assert_eq!(config.warnings, ["no profile names the gate `typcheck` (did you mean `typecheck`?)"]);
}

#[test]
fn hostile_input_is_refused_quickly() {
    let megabyte = 1024 * 1024 - 16;
    let deep = [
        "[".repeat(megabyte),
        format!("a = {}", "[".repeat(megabyte)),
        format!("a = {}", "{ a = ".repeat(megabyte / 6)),
        format!("{}a = 1", "a.".repeat(megabyte / 2)),
        format!("[{}a]", "a.".repeat(megabyte / 2)),
        format!("{}\"a\" = 1", "\"a\".".repeat(megabyte / 4)),
        format!("{}a = 1", "a .\t".repeat(megabyte / 4)),
        format!("x = {{ {}a = 1 }}", "a.".repeat(megabyte / 2)),
        format!("x = '''\n''' \n{}a = 1", "a.".repeat(megabyte / 2)),
    ];
    for text in deep {
        assert!(parse(text.as_bytes()).is_err(), "{}", &text[..40]);
    }
    assert!(
        parse(&vec![b'#'; limits::GATE_CONFIG_BYTES + 1]).unwrap_err().to_string().contains("larger than")
    );
    let many: String = (0..30_000).map(|n| format!("g{n} = \"x\"\n")).collect();
    assert!(parse(format!("[gates]\n{many}").as_bytes()).is_ok());
}

#[test]
fn dots_in_commands_and_comments_are_no_nesting() {
    let dots = "a.b.".repeat(100);
    let text = format!(
        "# {dots}\n[gates]\ntests = \"\\\"{dots}\"\nlint = '{dots}' # {dots}\nbuild = \"\"\"\n{dots}\n\"\"\"\n"
    );
    assert_eq!(parse(text.as_bytes()).unwrap().gates.len(), 3);
}

#[test]
fn reports_are_a_list_of_any_format() {
    let text = "[gates]\ntests = { run = 't', min = 88, junit = 'z.xml', reports = [{ format = 'junit', path = 'a.xml' }, \
                { format = 'junit', path = 'b.xml' }, { format = 'lcov', path = 'l', min = 91 }, { format = 'lcov', path = 'm' }] }";
    let config = parse(text.as_bytes()).unwrap();
    let gate = &config.gates[&"tests".parse::<Word>().unwrap()];
    let found: Vec<_> = gate.reports.iter().map(|r| (r.format.as_str(), r.path.as_str(), r.min)).collect();
    let wanted = [
        ("junit", "z.xml", None),
        ("junit", "a.xml", None),
        ("junit", "b.xml", None),
        ("lcov", "l", Some(91.0)),
        ("lcov", "m", Some(88.0)),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn faults_of_reports_name_their_line() {
    let many = format!("reports = [{}]", "{ format = 'junit', path = 'a' },".repeat(33));
    let faults = [
        ("reports = 1", "`reports` must be a list"),
        ("reports = [1]", "a report must be a table"),
        (
            "reports = [{ format = 'junti', path = 'x' }]",
            "unknown report format `junti` (did you mean `junit`?)",
        ),
        ("reports = [{ format = \"\\u001b[2J\", path = 'x' }]", "unknown report format `\\u{1b}[2J`"),
        ("reports = [{ format = 'junit' }]", "needs `format` and `path`"),
        ("reports = [{ format = 'junit', path = '../x' }]", "must stay inside the repository"),
        ("reports = [{ format = 'junit', path = 'x', min = 1 }]", "has no `min`"),
        ("reports = [{ format = 'junit', paht = 'x' }]", "did you mean `path`?"),
        ("reports = [{ format = 'junit', path = 'x' }], min = 1", "has `min` without"),
        ("jnuit = 'x'", "did you mean `junit`?"),
        (&many, "has more than 32 reports"),
    ];
    for (field, wanted) in faults {
        let why = fault(&format!("[gates]\ntests = {{ run = 't', {field} }}"));
        assert!(why.starts_with("line 2: ") && why.contains(wanted), "{field}: {why}");
    }
}

#[test]
fn needs_env_none_and_quarantine_are_read() {
    let read = parse(
        b"setup = 'none'\n[gates]\ndetect = false\nintegration = 'none'\n\
         tests = { run = 't', env = ['DATABASE_URL'] }\ncoverage = { lcov = 'l', needs = ['tests'] }\n\
         [[quarantine]]\ntest = 'a::b'\nowner = 'ann'\nreason = 'clock'\nexpires = '2026-12-01'\n",
    )
    .unwrap();
    assert!(read.has_no_setup && read.ignores_detection);
    assert_eq!(read.declared_none, ["integration".parse().unwrap()]);
    let gate = |name: &str| &read.gates[&name.parse::<Word>().unwrap()];
    assert_eq!(
        (gate("tests").env.as_slice(), gate("coverage").needs.len()),
        (&["DATABASE_URL".to_owned()][..], 1)
    );
    assert_eq!(read.quarantine.len(), 1);
}

#[test]
fn needs_that_lead_nowhere_or_in_a_circle_are_faults_with_their_line() {
    for (text, expected) in [
        ("[gates]\na = { run = 'x', needs = ['bb'] }", "line 2: unknown gate `bb`"),
        (
            "[gates]\na = { run = 'x', needs = ['b'] }\nb = { run = 'x', needs = ['a'] }",
            "line 2: gate `a` needs itself",
        ),
        ("[gates]\na = { run = 'x', env = ['A=b'] }", "line 2: `A=b` is no name of a variable"),
        ("[gates]\na = { run = 'x', env = ['MOSAIC_TOKEN'] }", "are not passed to gates"),
        (
            "[[quarantine]]\ntest = 'a'\nowner = 'b'\nexpires = '2026-12-01'",
            "line 1: a quarantined test needs `reason`",
        ),
        ("[[quarantine]]\ntest = 'a'\nowner = 'b'\nreason = 'c'\nexpires = 'soon'", "must be a day such as"),
    ] {
        let fault = parse(text.as_bytes()).unwrap_err().to_string();
        assert!(fault.contains(expected), "{text}: {fault}");
    }
}

#[test]
fn a_web_of_needs_is_checked_in_bounded_time() {
    let gate = |n: usize| {
        let needs: Vec<String> = (n + 1..(n + 30).min(300)).map(|m| format!("'g{m}'")).collect();
        format!("g{n} = {{ run = 'x', needs = [{}] }}\n", needs.join(", "))
    };
    let text: String = (0..300).map(gate).collect();
    assert!(parse(format!("[gates]\n{text}").as_bytes()).is_ok());
}

#[test]
fn a_quarantine_ends_and_is_never_long() {
    use mosaic_core::domain::ids::Timestamp;
    let now = Timestamp::from_rfc3339("2026-12-01T10:00:00Z").unwrap();
    let valid = |expires: &str| {
        let text = format!("[[quarantine]]\ntest = 'a'\nowner = 'b'\nreason = 'c'\nexpires = '{expires}'");
        let mut warnings = Vec::new();
        let kept = valid_quarantine(parse(text.as_bytes()).unwrap().quarantine, now, &mut warnings);
        (kept.map(|kept| kept.len()).map_err(|fault| fault.to_string()), warnings.len())
    };
    assert_eq!((valid("2026-12-01"), valid("2027-03-01")), ((Ok(1), 0), (Ok(1), 0)));
    assert_eq!(valid("2026-11-30"), (Ok(0), 1));
    assert!(
        valid("2027-03-02")
            .0
            .unwrap_err()
            .contains("line 1: `expires` = 2027-03-02 is more than 90 days ahead")
    );
}

#[test]
fn a_gate_keeps_its_own_home_and_detection_is_switched_by_a_boolean() {
    let fault = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
    assert!(fault("[gates]\ntests = { run = 't', env = ['HOME'] }").contains("HOME of its own"));
    assert!(fault("[gates]\ndetect = 'false'").contains("line 2: `detect` must be true or false"));
}
