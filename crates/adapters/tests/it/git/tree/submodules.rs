//! Submodules over a loopback HTTP remote: filled for agents and gates, from the base's own declarations only, and named
//! where they stay empty.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::domain::ids::CommitId;
use mosaic_core::ports::repositories::{Publisher, TreeRequest, Trees};
use mosaic_testkit::git_http_server::{GitHttpServer, Mood};

use crate::git::world::{World, branch, branch_main};

/// A world whose repository lies on an HTTP server, with others beside it.
struct Served {
    world: World,
    server: GitHttpServer,
}

impl Served {
    fn new() -> Self {
        let mut world = World::new();
        let root = world.fixture.path().join("srv");
        std::fs::create_dir(&root).expect("made");
        let server = GitHttpServer::start(&root, Mood::Honest);
        world.url = server.url("super.git").parse().expect("an address");
        Self { world, server }
    }

    /// Makes a repository on the server with a file and these submodules; returns its commit.
    fn repository(&self, name: &str, modules: &[Module<'_>]) -> String {
        let work = self.world.fixture.path().join(format!("work-{name}"));
        let bare = self.world.fixture.path().join("srv").join(format!("{name}.git"));
        let at = self.world.fixture.path();
        self.world.fixture.run(at, &["init", "-q", "-b", "main", work.to_str().expect("text")]);
        self.world.fixture.run(at, &["init", "-q", "--bare", "-b", "main", bare.to_str().expect("text")]);
        std::fs::write(work.join(format!("{name}.txt")), name).expect("written");
        self.declare(&work, modules);
        self.world.fixture.run(&work, &["remote", "add", "origin", bare.to_str().expect("text")]);
        self.commit(&work, "main")
    }

    fn declare(&self, work: &Path, modules: &[Module<'_>]) {
        let section =
            |m: &Module<'_>| format!("[submodule \"{}\"]\n\tpath = {}\n\turl = {}\n", m.name, m.path, m.url);
        let text: String = modules.iter().map(section).collect();
        if !modules.is_empty() {
            std::fs::write(work.join(".gitmodules"), text).expect("written");
        }
        self.world.fixture.run(work, &["add", "-A"]);
        for module in modules {
            let link = format!("160000,{},{}", module.pin, module.path);
            self.world.fixture.run(work, &["update-index", "--add", "--cacheinfo", &link]);
        }
    }

    fn commit(&self, work: &Path, branch: &str) -> String {
        self.world.fixture.run(work, &["commit", "-q", "-m", "x"]);
        self.world.fixture.run(work, &["push", "-q", "origin", &format!("HEAD:refs/heads/{branch}")]);
        self.world.fixture.run(work, &["rev-parse", "HEAD"])
    }

    /// Makes a tree and returns it with its warnings.
    async fn tree(&self) -> (TreeRequest, PathBuf, Vec<String>) {
        let request = self.world.agent().await;
        let made = self.world.git.make_tree(&request).await.expect("a tree");
        (request, made.path, made.warnings)
    }
}

struct Module<'a> {
    name: &'a str,
    path: &'a str,
    url: &'a str,
    pin: &'a str,
}

fn lib<'a>(url: &'a str, pin: &'a str) -> Module<'a> {
    Module { name: "lib", path: "lib", url, pin }
}

fn git(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new("git");
    command.args(args).current_dir(dir).env_clear().env("HOME", "/nonexistent");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).output().expect("git starts")
}

#[track_caller]
fn said(dir: &Path, args: &[&str]) -> String {
    let out = git(dir, args);
    assert!(out.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn submodules_are_filled_for_agents_and_gates_and_work_without_the_remote() {
    let served = Served::new();
    let inner = served.repository("inner", &[]);
    let nested = Module { name: "in.ner", path: "deep/inner", url: "../inner.git", pin: &inner };
    let pin = served.repository("lib", &[nested]);
    served.repository("super", &[lib("../lib.git", &pin)]);
    let (request, tree, warnings) = served.tree().await;
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(tree.join("lib/deep/inner/inner.txt")).unwrap(), "inner");

    let judged = served.world.judging(&request, &request.base, "a").await.unwrap();
    assert_eq!(judged.warnings, Vec::<String>::new());
    for dir in [&tree, &judged.path] {
        let status = said(dir, &["submodule", "status", "--recursive"]);
        let lines: Vec<&str> = status.lines().collect();
        assert_eq!(lines.len(), 2, "{status}");
        assert!(
            lines[0].starts_with(&format!(" {pin} lib"))
                && lines[1].starts_with(&format!(" {inner} lib/deep/inner")),
            "{status}"
        );
        assert_eq!(said(dir, &["status", "--porcelain"]), "");
        assert_eq!(said(&dir.join("lib"), &["rev-parse", "HEAD"]), pin);
    }
    assert_eq!(said(&judged.path.join("lib"), &["remote"]), "", "gates have no remote");

    // From here on no remote answers.
    served.server.set(Mood::Silent);
    said(&tree, &["submodule", "update", "--init", "--recursive"]);
    std::fs::remove_dir_all(tree.join("lib")).unwrap();
    said(&tree, &["submodule", "update", "--init", "--recursive"]);
    assert!(tree.join("lib/deep/inner/inner.txt").exists());
    let again = served.world.git.make_tree(&request).await.unwrap();
    assert_eq!((again.reused, again.warnings), (false, Vec::new()));
    assert!(tree.join("lib/lib.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_submodule_that_cannot_be_had_is_named_and_costs_nothing_else() {
    let served = Served::new();
    let pin = served.repository("lib", &[]);
    let at = |name, url| Module { name, path: name, url, pin: &pin };
    let missing = "1".repeat(40);
    served.repository(
        "super",
        &[
            at("good", "../lib.git"),
            at("gone", "../no-such.git"),
            at("ext", "ext::sh -c 'touch /tmp/fired'"),
            at("../../hooks", "../lib.git"),
            at("up", "../../../../x"),
            Module { name: "unpinned", path: "unpinned", url: "../lib.git", pin: &missing },
        ]
        .into_iter()
        .map(|module| if module.path == "../../hooks" { Module { path: "odd", ..module } } else { module })
        .collect::<Vec<_>>(),
    );
    let (_, tree, warnings) = served.tree().await;
    assert_eq!(std::fs::read_to_string(tree.join("good/lib.txt")).unwrap(), "lib");
    for name in ["gone", "ext", "odd", "up", "unpinned"] {
        assert!(
            warnings.iter().any(|w| w.starts_with(&format!("submodule {name}: "))),
            "{name}: {warnings:?}"
        );
        assert_eq!(std::fs::read_dir(tree.join(name)).unwrap().count(), 0, "{name}");
    }
    assert_eq!(warnings.len(), 5, "{warnings:?}");
    assert!(!tree.join(".git/hooks/HEAD").exists() && !tree.join("hooks").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_cannot_have_another_repository_fetched() {
    let served = Served::new();
    let pin = served.repository("lib", &[]);
    let private = served.repository("private", &[]);
    served.repository("super", &[lib("../lib.git", &pin)]);
    let (request, ..) = served.tree().await;
    // As if the agent had made it: another address, and a commit that only that repository has.
    let work = served.world.fixture.path().join("work-super");
    served.declare(&work, &[lib("../private.git", &private)]);
    let evil: CommitId = served.commit(&work, "evil").parse().unwrap();
    served.world.git.fetch(&served.world.url, &branch("evil"), &branch_main()).await.unwrap();
    let judged = served.world.judging(&request, &evil, "a").await.unwrap();
    assert_eq!(std::fs::read_dir(judged.path.join("lib")).unwrap().count(), 0);
    assert!(judged.warnings[0].contains("no branch or tag of"), "{:?}", judged.warnings);

    // A later commit of the same remote is another matter.
    let later = served.world.fixture.path().join("work-lib");
    std::fs::write(later.join("later.txt"), "later").unwrap();
    served.world.fixture.run(&later, &["add", "-A"]);
    let later = served.commit(&later, "main");
    served.declare(&work, &[lib("../lib.git", &later)]);
    let honest: CommitId = served.commit(&work, "honest").parse().unwrap();
    served.world.git.fetch(&served.world.url, &branch("honest"), &branch_main()).await.unwrap();
    let judged = served.world.judging(&request, &honest, "b").await.unwrap();
    assert_eq!(judged.warnings, Vec::<String>::new());
    assert!(judged.path.join("lib/later.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_they_are_named() {
    let mut served = Served::new();
    let pin = served.repository("lib", &[]);
    served.repository("super", &[lib("../lib.git", &pin)]);
    let data = served.world.fixture.path().join("data");
    let mut options = GitOptions::new(data, crate::programs::example("shim"));
    (options.allow_local, options.submodules) = (true, false);
    served.world.git = GitRepositories::new(options).unwrap();
    let (_, tree, warnings) = served.tree().await;
    assert_eq!(warnings, ["submodules stay empty, because MOSAIC_SUBMODULES=off: lib"]);
    assert_eq!(std::fs::read_dir(tree.join("lib")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_this_machine_need_permission_in_submodules_too() {
    let mut served = Served::new();
    let pin = served.repository("lib", &[]);
    let local = served.world.fixture.path().join("srv/lib.git");
    let at = |name, url| Module { name, path: name, url, pin: &pin };
    let main = served.world.fixture.path().join("srv/super.git");
    let http = served.server.url("lib.git");
    served.repository("super", &[at("file", local.to_str().unwrap()), at("http", &http)]);
    let mut options =
        GitOptions::new(served.world.fixture.path().join("data"), crate::programs::example("shim"));
    options.allowed_local_paths = vec![main.clone()];
    served.world.git = GitRepositories::new(options).unwrap();
    served.world.url = main.to_str().unwrap().parse().unwrap();
    let (_, tree, warnings) = served.tree().await;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|w| w.contains("MOSAIC_ALLOW_LOCAL_REPOSITORIES")), "{warnings:?}");
    for name in ["file", "http"] {
        assert_eq!(std::fs::read_dir(tree.join(name)).unwrap().count(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_clone_gives_its_own_submodules_without_the_network() {
    let mut served = Served::new();
    let pin = served.repository("lib", &[]);
    served.repository("super", &[lib("../lib.git", &pin)]);
    let clone = served.world.fixture.path().join("clone");
    let url = served.world.url.as_str().to_owned();
    let at = served.world.fixture.path().to_owned();
    served.world.fixture.run(&at, &["clone", "-q", "--recurse-submodules", &url, clone.to_str().unwrap()]);
    served.server.set(Mood::Silent);
    let mut options = GitOptions::new(at.join("data"), crate::programs::example("shim"));
    options.allowed_local_paths = vec![clone.clone()];
    served.world.git = GitRepositories::new(options).unwrap();
    served.world.url = clone.to_str().unwrap().parse().unwrap();
    let (_, tree, warnings) = served.tree().await;
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(std::fs::read_to_string(tree.join("lib/lib.txt")).unwrap(), "lib");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_repository_that_nothing_declares_is_named() {
    let served = Served::new();
    let pin = served.repository("lib", &[]);
    served.repository("super", &[lib("../lib.git", &pin)]);
    let work = served.world.fixture.path().join("work-super");
    served
        .world
        .fixture
        .run(&work, &["update-index", "--add", "--cacheinfo", &format!("160000,{pin},stray")]);
    served.commit(&work, "main");
    let (_, _, warnings) = served.tree().await;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("submodule stray: .gitmodules has no entry"), "{warnings:?}");
}
