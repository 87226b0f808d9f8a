//! Python projects: ruff or flake8, mypy or pyright, pytest or unittest, coverage.py.
//!
//! Tools run as modules of the project's interpreter, so that a virtual environment works wherever it was copied to, and the
//! tree's own sources come before what is installed, so that the code under judgement is what runs.

use toml::Table;

use super::project::Project;
use super::python_setup::{self, Environment};
use super::{Ecosystem, report};

const MANIFESTS: &[&str] = &["pyproject.toml", "setup.cfg", "setup.py", "Pipfile", "tox.ini"];

/// Runner of the tests.
enum Runner {
    /// pytest, for a reason.
    Pytest(String),
    /// unittest of the standard library, with the first test file.
    Unittest(String),
}

pub(super) fn detect(project: &Project) -> Option<Ecosystem> {
    let requirements = project.paths().find(|path| super::project::is_requirements(path));
    let manifest = project.first(MANIFESTS).or(requirements)?;
    let pyproject: Table = project.text("pyproject.toml").parse().unwrap_or_default();
    let sources = Sources::of(project);
    let mut found = Ecosystem::of("Python");
    let mut tools = Vec::new();
    let runner = runner(project);
    let typecheck = typecheck(project, &pyproject, &mut tools);
    let lint = lint(project, &pyproject, &mut tools);
    let measured = measured(project, &pyproject);
    if matches!(runner, Some(Runner::Pytest(_))) {
        tools.push("pytest");
    }
    if measured.is_some() && runner.is_some() {
        tools.push("coverage");
    }
    let environment = python_setup::detect(project, &pyproject, manifest, &tools);
    let python = |module: &str| sources.python(&environment, module);
    match typecheck {
        Some((args, reason)) => {
            found.add("typecheck", python(&sources.checked(&args)), reason);
        }
        None => found.lacks("typecheck", "add mypy or pyright to the development dependencies"),
    }
    match lint {
        Some((args, reason)) => {
            found.add("lint", python(&args), reason);
        }
        None => found.lacks("lint", "add ruff or flake8 to the development dependencies"),
    }
    match &runner {
        Some(runner) => tests(&mut found, runner, measured.as_deref(), &sources, &environment),
        None => found.lacks("tests", "write tests in files named test_*.py"),
    }
    integration(project, &pyproject, &mut found, &runner, &python);
    if pyproject.contains_key("build-system") {
        let run = python("pip wheel --quiet --no-deps --wheel-dir {reports} .");
        found.add("build", run, "pyproject.toml build-system");
    } else {
        found.lacks("build", "name a build system in pyproject.toml, or declare build = \"none\"");
    }
    found.setup = environment.setup;
    Some(found)
}

/// Directories of the project's own code.
struct Sources {
    /// `src` when the packages stand there.
    src: bool,
    /// Packages at the root, and modules.
    packages: Vec<String>,
}

impl Sources {
    fn of(project: &Project) -> Self {
        let is_foreign = |name: &str| ["tests", "test", "docs", "examples", "benchmarks"].contains(&name);
        let mut packages: Vec<String> = Vec::new();
        for path in project.paths() {
            let package = path.strip_suffix("/__init__.py").filter(|package| !package.contains('/'));
            let module = Some(path).filter(|path| path.ends_with(".py") && !path.contains('/'));
            let module = module
                .filter(|path| !["setup.py", "conftest.py", "noxfile.py"].contains(path) && !is_test(path));
            packages.extend(package.or(module).filter(|name| !is_foreign(name)).map(str::to_owned));
        }
        let src = project.paths().any(|path| path.starts_with("src/") && path.ends_with(".py"));
        Self { src, packages }
    }

    /// Returns a command that runs a module with the tree's sources before everything that is installed.
    fn python(&self, environment: &Environment, module: &str) -> String {
        let path = if self.src { "src:." } else { "." };
        format!("PYTHONPATH={path} {} -m {module}", environment.python)
    }

    /// Completes the arguments of a type checker that is not told elsewhere which files it checks.
    fn checked(&self, args: &str) -> String {
        if !args.ends_with(' ') {
            return args.to_owned();
        }
        let targets = if self.src { "src".to_owned() } else { self.packages.join(" ") };
        format!("{args}{}", if targets.is_empty() { "." } else { &targets })
    }

    /// Returns what coverage.py measures when the project does not say it.
    fn measured(&self) -> String {
        let is_package = |name: &&String| !name.ends_with(".py");
        let packages: Vec<&str> = self.packages.iter().filter(is_package).map(String::as_str).collect();
        match (self.src, packages.is_empty()) {
            (true, _) => "src".to_owned(),
            (false, false) => packages.join(","),
            (false, true) => ".".to_owned(),
        }
    }
}

fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    (name.starts_with("test") && name.ends_with(".py")) || name.ends_with("_test.py")
}

fn has_tool_table(pyproject: &Table, tool: &str) -> bool {
    pyproject.get("tool").and_then(|tools| tools.get(tool)).is_some()
}

fn typecheck(
    project: &Project,
    pyproject: &Table,
    tools: &mut Vec<&'static str>,
) -> Option<(String, String)> {
    let config = has_tool_table(pyproject, "mypy").then_some("pyproject.toml tool.mypy");
    let mypy = config.or_else(|| project.first(&["mypy.ini", ".mypy.ini"])).or_else(|| project.names("mypy"));
    if let Some(reason) = mypy {
        tools.push("mypy");
        let named = pyproject.get("tool").and_then(|tools| tools.get("mypy"));
        let names_files = named.is_some_and(|mypy| mypy.get("files").or(mypy.get("packages")).is_some());
        let end = if names_files { "" } else { " " };
        return Some((format!("mypy --cache-dir={{reports}}/mypy{end}"), reason.to_owned()));
    }
    let reason = project.first(&["pyrightconfig.json"]).or_else(|| project.names("pyright"))?;
    tools.push("pyright");
    Some(("pyright".to_owned(), reason.to_owned()))
}

fn lint(project: &Project, pyproject: &Table, tools: &mut Vec<&'static str>) -> Option<(String, String)> {
    let config = has_tool_table(pyproject, "ruff").then_some("pyproject.toml tool.ruff");
    let ruff =
        config.or_else(|| project.first(&["ruff.toml", ".ruff.toml"])).or_else(|| project.names("ruff"));
    let ruff = ruff.or_else(|| project.names("ruff-pre-commit"));
    if let Some(reason) = ruff {
        tools.push("ruff");
        return Some(("ruff check --no-cache .".to_owned(), reason.to_owned()));
    }
    let reason = project.first(&[".flake8"]).or_else(|| project.names("flake8"))?;
    tools.push("flake8");
    Some(("flake8 --extend-exclude .venv".to_owned(), reason.to_owned()))
}

/// Returns where the project names its coverage tool.
fn measured(project: &Project, pyproject: &Table) -> Option<String> {
    let config = has_tool_table(pyproject, "coverage").then_some("pyproject.toml tool.coverage");
    let named = config.or_else(|| project.first(&[".coveragerc"])).or_else(|| project.names("pytest-cov"));
    named.or_else(|| project.names("coverage")).map(str::to_owned)
}

fn runner(project: &Project) -> Option<Runner> {
    let is_conftest = |path: &&str| path.ends_with("conftest.py");
    let config = project.first(&["pytest.ini"]).or_else(|| project.names("pytest"));
    let named = config.or_else(|| project.names("pytest-cov")).or_else(|| project.paths().find(is_conftest));
    let test = project.paths().find(|path| is_test(path));
    if let Some(reason) = named {
        return test.map(|_| Runner::Pytest(reason.to_owned()));
    }
    let imports = |(path, text): &(&str, &str)| path.ends_with(".py") && text.contains("import pytest");
    if let Some((path, _)) = project.texts().find(imports) {
        return Some(Runner::Pytest(format!("{path} (imports pytest)")));
    }
    test.map(|path| Runner::Unittest(path.to_owned()))
}

/// Adds the tests, and coverage by the same run when the project names the tool.
fn tests(
    found: &mut Ecosystem,
    runner: &Runner,
    measured: Option<&str>,
    sources: &Sources,
    environment: &Environment,
) {
    let (module, report_of_tests, reason) = match runner {
        Runner::Pytest(reason) => (
            "pytest -p no:cacheprovider --junitxml={reports}/pytest.xml",
            report("junit", "{reports}/pytest.xml"),
            reason,
        ),
        Runner::Unittest(path) => ("unittest discover -v", report("unittest", "-"), path),
    };
    let Some(measured) = measured else {
        found.add("tests", sources.python(environment, module), reason.clone()).reports =
            vec![report_of_tests];
        found.lacks("coverage", "add coverage or pytest-cov to the development dependencies");
        return;
    };
    // A tool that says itself what it measures is not overruled.
    let source = if measured.contains("tool.coverage") || measured == ".coveragerc" {
        String::new()
    } else {
        format!(" --source={}", sources.measured())
    };
    let data = "--data-file={reports}/.coverage";
    let run = sources.python(environment, &format!("coverage run {data}{source} -m {module}"));
    let json = sources.python(environment, &format!("coverage json -q {data} -o {{reports}}/coverage.json"));
    // The tests' exit status decides; a report that could not be written is the coverage gate's fault.
    let command = format!("{run}; code=$?; {json}; exit $code");
    found.add("tests", command, reason.clone()).reports = vec![report_of_tests];
    found.add_reader("coverage", report("coverage-py", "{reports}/coverage.json"), measured);
}

fn integration(
    project: &Project,
    pyproject: &Table,
    found: &mut Ecosystem,
    runner: &Option<Runner>,
    python: &impl Fn(&str) -> String,
) {
    let junit = || vec![report("junit", "{reports}/integration.xml")];
    let pytest = "pytest -p no:cacheprovider --junitxml={reports}/integration.xml";
    if let Some(Runner::Pytest(_)) = runner {
        let path = ["pytest", "ini_options", "markers"];
        let tool = pyproject.get("tool");
        let markers = tool.and_then(|tool| path.iter().try_fold(tool, |table, key| table.get(key)));
        let markers = markers.and_then(toml::Value::as_array);
        let is_marker =
            |marker: &toml::Value| marker.as_str().is_some_and(|text| text.starts_with("integration"));
        if markers.is_some_and(|markers| markers.iter().any(is_marker)) {
            let reason = "pyproject.toml marker integration";
            found.add("integration", python(&format!("{pytest} -m integration")), reason).reports = junit();
            return;
        }
        let directories = ["tests/integration", "tests/e2e", "test/integration"];
        if let Some(directory) = directories.iter().find(|directory| project.has_below(directory)) {
            found.add("integration", python(&format!("{pytest} {directory}")), *directory).reports = junit();
            return;
        }
    }
    found.lacks(
        "integration",
        "put integration tests into tests/integration or give them a pytest marker `integration`, or declare integration = \"none\"",
    );
}
