//! Detection on manifests as projects write them.

use super::super::base_files::KnownFiles;
use super::*;

fn detected(files: &[(&str, &str)]) -> Detection {
    let files: KnownFiles = files.iter().map(|(path, text)| (*path, *text)).collect();
    let project = futures_util::future::FutureExt::now_or_never(Project::read(&files)).unwrap().unwrap();
    detect(&project)
}

fn run<'a>(detection: &'a Detection, gate: &str) -> &'a str {
    detection.gates.get(&word(gate)).and_then(|gate| gate.definition.run.as_deref()).unwrap_or_default()
}

fn formats(detection: &Detection, gate: &str) -> Vec<String> {
    let gate = detection.gates.get(&word(gate));
    gate.iter()
        .flat_map(|gate| &gate.definition.reports)
        .map(|r| format!("{} {}", r.format, r.path))
        .collect()
}

#[test]
fn a_cargo_workspace_is_checked_as_a_whole_and_by_its_lock_file() {
    let found = detected(&[
        ("Cargo.toml", "[workspace]\nmembers = ['a']"),
        ("Cargo.lock", ""),
        ("a/tests/it.rs", ""),
        ("a/src/tests/x.rs", ""),
    ]);
    assert_eq!(run(&found, "typecheck"), "cargo check --workspace --locked --all-targets");
    assert_eq!(run(&found, "lint"), "cargo clippy --workspace --locked --all-targets -- -D warnings");
    assert_eq!(formats(&found, "tests"), ["libtest -"]);
    assert_eq!(formats(&found, "coverage"), ["lcov {reports}/lcov.info"]);
    assert_eq!(found.gates[&word("integration")].reason, "a/tests/it.rs");
    assert_eq!(found.setup.unwrap().definition.run, "cargo fetch --locked");
    let named =
        detected(&[("Cargo.toml", "[package]"), (".github/workflows/ci.yml", "- run: cargo nextest run")]);
    assert_eq!(formats(&named, "tests"), ["nextest -"]);
    assert_eq!(named.gates[&word("tests")].reason, ".github/workflows/ci.yml");
    assert!(named.setup.is_none() && named.missing.contains_key("integration"));
}

#[test]
fn scripts_of_a_package_come_before_its_tools_and_its_lock_file_names_the_manager() {
    let found = detected(&[
        (
            "package.json",
            r#"{"scripts": {"lint": "x", "test": "vitest", "test:e2e": "y"},
                "devDependencies": {"typescript": "5", "vitest": "2", "@vitest/coverage-v8": "2"}}"#,
        ),
        ("pnpm-lock.yaml", ""),
        ("tsconfig.json", "{}"),
    ]);
    assert_eq!(run(&found, "typecheck"), "pnpm exec tsc --noEmit -p tsconfig.json");
    assert_eq!(run(&found, "lint"), "pnpm run lint");
    assert!(run(&found, "tests").starts_with("pnpm exec vitest run --retry=0"), "{}", run(&found, "tests"));
    assert_eq!(formats(&found, "coverage"), ["lcov {reports}/coverage/lcov.info"]);
    assert_eq!(found.gates[&word("coverage")].definition.needs, [word("tests")]);
    assert_eq!(run(&found, "integration"), "pnpm run test:e2e");
    let setup = found.setup.unwrap().definition;
    assert_eq!(
        (setup.run.as_str(), setup.outputs.as_slice()),
        ("pnpm install --frozen-lockfile", &["node_modules".to_owned()][..])
    );
    assert!(found.missing["build"].contains("script `build`"));
}

#[test]
fn a_script_of_node_test_gets_reports_and_the_placeholder_of_npm_is_no_test() {
    let package =
        |test: &str| format!(r#"{{"scripts": {{"test": "{test}"}}, "devDependencies": {{"c8": "10"}}}}"#);
    let found = detected(&[("package.json", &package("c8 node --test test/"))]);
    let run_of_tests = run(&found, "tests");
    assert!(
        run_of_tests.contains("; c8 --reporter=lcovonly")
            && run_of_tests.contains(" node --test --test-reporter=spec")
    );
    assert!(run_of_tests.ends_with(" test/"), "{run_of_tests}");
    let none = detected(&[("package.json", &package("echo \\\"Error: no test specified\\\" && exit 1"))]);
    assert!(!none.gates.contains_key(&word("tests")) && none.missing.contains_key("tests"));
}

#[test]
fn tools_of_a_python_project_are_those_that_it_names() {
    let found = detected(&[
        (
            "pyproject.toml",
            "[project]\nname = 'x'\n[project.optional-dependencies]\ndev = ['pytest', 'pytest-cov', 'mypy']\n[tool.ruff]\n",
        ),
        ("src/x/__init__.py", ""),
        ("tests/test_x.py", ""),
        ("tests/integration/test_y.py", ""),
    ]);
    assert_eq!(run(&found, "lint"), "PYTHONPATH=src:. .venv/bin/python -m ruff check --no-cache .");
    assert!(run(&found, "typecheck").ends_with(" -m mypy --cache-dir={reports}/mypy src"));
    assert_eq!(formats(&found, "tests"), ["junit {reports}/pytest.xml"]);
    assert!(
        run(&found, "tests")
            .contains(" -m coverage run --data-file={reports}/.coverage --source=src -m pytest ")
    );
    assert_eq!(formats(&found, "coverage"), ["coverage-py {reports}/coverage.json"]);
    assert!(run(&found, "integration").ends_with(" tests/integration"));
    let setup = found.setup.unwrap().definition;
    // The linter is only configured, so that it is installed by its name.
    assert!(setup.run.contains("'.[dev]'") && setup.run.ends_with("pip install -q ruff"), "{}", setup.run);
    assert_eq!(setup.outputs, [".venv"]);
}

#[test]
fn a_python_project_of_the_standard_library_needs_no_setup() {
    let found = detected(&[("setup.cfg", ""), ("calc.py", ""), ("test_calc.py", "import unittest")]);
    assert_eq!(run(&found, "tests"), "PYTHONPATH=. python3 -m unittest discover -v");
    assert_eq!(formats(&found, "tests"), ["unittest -"]);
    assert!(found.setup.is_none());
    let missing: Vec<_> = found.missing.keys().copied().collect();
    assert_eq!(missing, ["build", "coverage", "integration", "lint", "typecheck"]);
}

#[test]
fn a_go_module_is_tested_and_measured_by_one_run() {
    let found = detected(&[
        ("go.mod", "module m"),
        ("calc_test.go", ""),
        ("db_integration_test.go", "//go:build integration\n\npackage m"),
    ]);
    assert_eq!(run(&found, "typecheck"), "go vet ./...");
    assert_eq!(
        (formats(&found, "tests"), formats(&found, "coverage")),
        (vec!["go-test -".to_owned()], vec!["go-cover {reports}/cover.out".to_owned()])
    );
    assert_eq!(run(&found, "integration"), "go test -json -count=1 -tags integration ./...");
    assert!(found.setup.is_none());
}

#[test]
fn targets_of_a_makefile_are_gates_and_fill_what_a_language_leaves_open() {
    let makefile = ".PHONY: test lint\nX := 1\ntest: build\n\t@./t/run.sh\nlint:\n\tshellcheck *.sh\ncoverage:\n\t./cov --out=cov/lcov.info\nbuild:\n";
    let found = detected(&[("Makefile", makefile), ("t/run.sh", "echo \"1..2\"")]);
    assert_eq!((run(&found, "tests"), formats(&found, "tests")), ("make test", vec!["tap -".to_owned()]));
    assert_eq!(formats(&found, "coverage"), ["lcov cov/lcov.info"]);
    assert_eq!(found.gates[&word("lint")].reason, "Makefile target lint");
    assert!(found.missing["typecheck"].contains("target `typecheck`"));
    let beside = detected(&[("Makefile", makefile), ("setup.cfg", ""), ("test_a.py", "import unittest")]);
    assert!(run(&beside, "tests").contains("unittest"));
    assert_eq!(run(&beside, "lint"), "make lint");
    assert_eq!(run(&detected(&[("justfile", "test filter='':\n    x\n")]), "tests"), "just test");
}

#[test]
fn a_second_language_with_tests_is_named_and_one_without_is_not_the_first() {
    let tool = ("package.json", r#"{"devDependencies": {"prettier": "3"}}"#);
    let found = detected(&[tool, ("go.mod", ""), ("a_test.go", "")]);
    assert!(run(&found, "tests").starts_with("go test") && found.warnings.is_empty());
    let both =
        detected(&[("package.json", r#"{"scripts": {"test": "jest"}}"#), ("go.mod", ""), ("a_test.go", "")]);
    assert!(both.warnings[0].starts_with("package.json stands beside go.mod"), "{:?}", both.warnings);
    assert!(detected(&[("README.md", "")]).gates.is_empty());
}

#[test]
fn manifests_that_cannot_be_read_are_no_fault_of_detection() {
    for (path, text) in
        [("package.json", "{"), ("Cargo.toml", "["), ("pyproject.toml", "= 1"), ("Makefile", ":::\n\t:")]
    {
        detected(&[(path, text)]);
    }
}
