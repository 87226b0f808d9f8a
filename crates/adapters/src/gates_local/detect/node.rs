//! Node projects: scripts of package.json, its development dependencies, and lock files (npm, pnpm, yarn).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Ecosystem;
use super::node_tests;
use super::project::Project;

const MANIFEST: &str = "package.json";
const TYPE_SCRIPTS: &[&str] = &["typecheck", "type-check", "check-types", "types", "tsc"];
const LINT_SCRIPTS: &[&str] = &["lint", "eslint"];
const INTEGRATION_SCRIPTS: &[&str] = &["test:integration", "test:e2e", "integration", "e2e"];

/// The parts of package.json that tell how a project is judged.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Package {
    /// Commands by name.
    pub(super) scripts: BTreeMap<String, String>,
    dependencies: BTreeMap<String, serde_json::Value>,
    dev_dependencies: BTreeMap<String, serde_json::Value>,
    workspaces: Option<serde_json::Value>,
}

impl Package {
    /// Tells whether the project depends on a package.
    pub(super) fn depends_on(&self, name: &str) -> bool {
        self.dev_dependencies.contains_key(name) || self.dependencies.contains_key(name)
    }

    fn script(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.scripts.get_key_value(*name)).map(|(name, _)| name.as_str())
    }
}

/// The package manager, by the project's lock file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manager {
    /// Runs a script, with its name to follow.
    pub(super) run: &'static str,
    /// Runs a program of a dependency, with its name to follow.
    pub(super) exec: &'static str,
    install: &'static str,
    lock: &'static str,
}

const NPM: Manager =
    Manager { run: "npm run", exec: "npx --no-install", install: "npm ci", lock: "package-lock.json" };
const MANAGERS: &[Manager] = &[
    NPM,
    Manager { lock: "npm-shrinkwrap.json", ..NPM },
    Manager {
        run: "pnpm run",
        exec: "pnpm exec",
        install: "pnpm install --frozen-lockfile",
        lock: "pnpm-lock.yaml",
    },
    Manager {
        run: "yarn run",
        exec: "yarn run",
        install: "yarn install --frozen-lockfile",
        lock: "yarn.lock",
    },
];

pub(super) fn detect(project: &Project) -> Option<Ecosystem> {
    if !project.has(MANIFEST) {
        return None;
    }
    let package: Package = serde_json::from_str(project.text(MANIFEST)).unwrap_or_default();
    let locked = MANAGERS.iter().find(|manager| project.has(manager.lock));
    let manager = locked.copied().unwrap_or(Manager {
        install: "npm install --no-package-lock",
        lock: MANIFEST,
        ..NPM
    });
    let mut found = Ecosystem::of(MANIFEST);
    typecheck(project, &package, &manager, &mut found);
    lint(project, &package, &manager, &mut found);
    node_tests::add(project, &package, &manager, &mut found);
    by_script(&package, &manager, &mut found, "build", &["build"]);
    by_script(&package, &manager, &mut found, "integration", INTEGRATION_SCRIPTS);
    setup(project, &package, &manager, &mut found);
    Some(found)
}

/// Adds a gate that is one of these scripts.
fn by_script(
    package: &Package,
    manager: &Manager,
    found: &mut Ecosystem,
    gate: &'static str,
    names: &[&str],
) {
    let Some(name) = package.script(names) else {
        found.lacks(gate, format!("add a script `{}` to {MANIFEST}, or declare {gate} = \"none\"", names[0]));
        return;
    };
    found.add(gate, format!("{} {name}", manager.run), format!("{MANIFEST} scripts.{name}"));
}

fn typecheck(project: &Project, package: &Package, manager: &Manager, found: &mut Ecosystem) {
    if let Some(name) = package.script(TYPE_SCRIPTS) {
        found.add("typecheck", format!("{} {name}", manager.run), format!("{MANIFEST} scripts.{name}"));
    } else if let Some(config) = project.first(&["tsconfig.json", "jsconfig.json"])
        && package.depends_on("typescript")
    {
        found.add("typecheck", format!("{} tsc --noEmit -p {config}", manager.exec), config);
    } else {
        let remedy = "add typescript to devDependencies and a tsconfig.json (with checkJs for JavaScript), or a script `typecheck`";
        found.lacks("typecheck", remedy);
    }
}

fn lint(project: &Project, package: &Package, manager: &Manager, found: &mut Ecosystem) {
    let is_eslint = |path: &&str| path.starts_with("eslint.config.") || path.starts_with(".eslintrc");
    if let Some(name) = package.script(LINT_SCRIPTS) {
        found.add("lint", format!("{} {name}", manager.run), format!("{MANIFEST} scripts.{name}"));
    } else if package.depends_on("eslint") {
        let reason =
            project.paths().find(is_eslint).unwrap_or("package.json devDependencies.eslint").to_owned();
        found.add("lint", format!("{} eslint .", manager.exec), reason);
    } else if package.depends_on("@biomejs/biome") {
        found.add(
            "lint",
            format!("{} biome ci .", manager.exec),
            "package.json devDependencies.@biomejs/biome",
        );
    } else {
        found.lacks("lint", "add eslint to devDependencies with its configuration, or a script `lint`");
    }
}

fn setup(project: &Project, package: &Package, manager: &Manager, found: &mut Ecosystem) {
    if package.dependencies.is_empty() && package.dev_dependencies.is_empty() && package.workspaces.is_none()
    {
        return;
    }
    // A package of a workspace has a manifest and a directory of dependencies of its own.
    let members =
        project.paths().filter(|path| path.ends_with("/package.json") && package.workspaces.is_some());
    let members: Vec<&str> = members.filter_map(|path| path.strip_suffix("/package.json")).collect();
    let outputs: Vec<String> = members.iter().map(|member| format!("{member}/node_modules")).collect();
    let mut inputs = vec![MANIFEST, manager.lock];
    inputs.dedup();
    inputs.extend(project.first(&[".npmrc"]));
    let outputs: Vec<&str> =
        std::iter::once("node_modules").chain(outputs.iter().map(String::as_str)).collect();
    found.sets_up(manager.install, &inputs, &outputs, manager.lock);
}
