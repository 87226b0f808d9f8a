//! Go modules: vet, gofmt or golangci-lint, test with its events and profile.

use super::project::Project;
use super::{Ecosystem, report};

const MANIFEST: &str = "go.mod";
/// Build tags that set integration tests apart.
const TAGS: &[&str] = &["integration", "e2e"];

pub(super) fn detect(project: &Project) -> Option<Ecosystem> {
    if !project.has(MANIFEST) {
        return None;
    }
    let mut found = Ecosystem::of("go.mod");
    // Vet checks the types of tests, too, which a build does not compile.
    found.add("typecheck", "go vet ./...", MANIFEST);
    lint(project, &mut found);
    if project.paths().any(|path| path.ends_with("_test.go")) {
        let run = "go test -json -count=1 -coverprofile={reports}/cover.out ./...";
        found.add("tests", run, MANIFEST).reports = vec![report("go-test", "-")];
        found.add_reader("coverage", report("go-cover", "{reports}/cover.out"), MANIFEST);
    } else {
        found.lacks("tests", "there is no _test.go file: write tests");
        found.lacks("coverage", "there is no _test.go file: write tests");
    }
    found.add("build", "go build ./...", MANIFEST);
    integration(project, &mut found);
    if project.has("go.sum") {
        found.sets_up("go mod download", &["go.mod", "go.sum"], &[], "go.sum");
    }
    Some(found)
}

fn lint(project: &Project, found: &mut Ecosystem) {
    let configs = [".golangci.yml", ".golangci.yaml", ".golangci.toml", ".golangci.json"];
    if let Some(reason) = project.first(&configs) {
        found.add("lint", "golangci-lint run ./...", reason);
        return;
    }
    // The standard library's own style check: every Go project is expected to satisfy it, and vet already serves as typecheck.
    let run = "unformatted=$(find . -name '*.go' -not -path './vendor/*' -not -path '*/testdata/*' -exec gofmt -l {} +) && \
               test -z \"$unformatted\" || { echo \"not formatted by gofmt:\"; echo \"$unformatted\"; exit 1; }";
    found.add("lint", run, MANIFEST);
}

fn integration(project: &Project, found: &mut Ecosystem) {
    let tagged = |tag: &str| {
        let line = |line: &str| line.starts_with("//go:build") && super::project::has_word(line, tag);
        project.texts().find(|(path, text)| path.ends_with("_test.go") && text.lines().any(line))
    };
    match TAGS.iter().find_map(|tag| tagged(tag).map(|(path, _)| (tag, path.to_owned()))) {
        Some((tag, path)) => {
            let run = format!("go test -json -count=1 -tags {tag} ./...");
            let reason = format!("{path} (build tag {tag})");
            found.add("integration", run, reason).reports = vec![report("go-test", "-")];
        }
        None => found.lacks(
            "integration",
            "mark integration tests with `//go:build integration` in files named *integration*_test.go, or declare integration = \"none\"",
        ),
    }
}
