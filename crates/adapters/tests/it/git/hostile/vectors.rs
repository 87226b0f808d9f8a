//! Ways by which an agent can have git run a program, each with a program that leaves a mark.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use mosaic_core::ports::repositories::TreeRequest;

use crate::git::world::World;

/// A program that leaves a mark when it runs, and behaves like `cat` so that git goes on.
pub(super) struct Canary {
    pub(super) program: PathBuf,
    pub(super) mark: PathBuf,
}

impl Canary {
    pub(super) fn new(dir: &Path) -> Self {
        let (program, mark) = (dir.join("canary.sh"), dir.join("canary-mark"));
        fs::write(&program, format!("#!/bin/sh\necho fired >> '{}'\nexit 1\n", mark.display()))
            .expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("made executable");
        Self { program, mark }
    }

    pub(super) fn text(&self) -> String {
        self.program.display().to_string()
    }

    /// Tells whether it ran since the last look.
    pub(super) fn fired(&self) -> bool {
        fs::remove_file(&self.mark).is_ok()
    }
}

pub(super) const VECTORS: &[&str] = &[
    "fsmonitor",
    "include",
    "config-worktree",
    "hooks",
    "hooks-path",
    "filter-attributes",
    "filter-info",
    "textconv",
    "diff-external",
    "diff-command",
    "ssh-command",
    "instead-of-ext",
    "uploadpack",
    "receivepack",
    "gpg-program",
    "nested-fsmonitor",
    "git-file",
    "git-link",
    "merge-driver",
    "credential-helper",
    "ext-submodule",
    "alternate-refs-command",
    "filter-process",
    "filter-home",
    "pack-objects-hook",
    "pager",
    "editor",
    "askpass",
    "alias",
    "trace",
    "attributes-file",
    "worktree-setting",
];

/// A git directory elsewhere whose configuration runs the canary.
fn evil_git_dir(world: &World, request: &TreeRequest, canary: &str) -> PathBuf {
    let to = world.fixture.path().join("evil.git");
    let from = world.tree(request).join(".git");
    assert!(Command::new("cp").arg("-a").arg(&from).arg(&to).status().expect("cp runs").success());
    let mut config = fs::read_to_string(to.join("config")).expect("there is a config");
    config.push_str(&format!(
        "[core]\n\tfsmonitor = {canary}\n\tworktree = {}\n",
        world.tree(request).display()
    ));
    fs::write(to.join("config"), config).expect("written");
    to
}

/// Plants one vector in the agent's tree, its git directory or its home.
pub(super) fn plant(world: &World, request: &TreeRequest, canary: &Canary, vector: &str) {
    let ways = [plant_files, plant_filters, plant_settings];
    assert!(ways.iter().any(|way| way(world, request, canary, vector)), "no such vector: {vector}");
}

/// Plants files in the git directory, hooks, and whole git directories; tells whether the vector is one of these.
fn plant_files(world: &World, request: &TreeRequest, canary: &Canary, vector: &str) -> bool {
    let c = canary.text();
    let dot = world.tree(request).join(".git");
    let set = |key: &str, value: &str| drop(world.agent_git(request, &["config", key, value]));
    match vector {
        "include" => {
            world.write(request, "planted.inc", &format!("[core]\n\tfsmonitor = {c}\n"));
            set("include.path", "../planted.inc");
        }
        "config-worktree" => {
            set("core.repositoryFormatVersion", "1");
            set("extensions.worktreeConfig", "true");
            fs::write(dot.join("config.worktree"), format!("[core]\n\tfsmonitor = {c}\n")).expect("written");
        }
        "hooks" | "hooks-path" => {
            let dir =
                if vector == "hooks" { dot.join("hooks") } else { world.tree(request).join("my-hooks") };
            fs::create_dir_all(&dir).expect("made");
            for hook in [
                "pre-commit",
                "post-index-change",
                "post-checkout",
                "pre-push",
                "reference-transaction",
                "post-rewrite",
            ] {
                let _ = fs::remove_file(dir.join(hook));
                fs::copy(&canary.program, dir.join(hook)).expect("copied");
            }
            if vector == "hooks-path" {
                set("core.hooksPath", &dir.display().to_string());
            }
        }
        "nested-fsmonitor" => {
            let nested = world.tree(request).join("nested");
            world.fixture.run(&world.tree(request), &["init", "-q", "nested"]);
            world.fixture.run(&nested, &["commit", "-q", "--allow-empty", "-m", "x"]);
            world.agent_git(request, &["add", "nested"]);
            world.fixture.run(&nested, &["config", "core.fsmonitor", &c]);
        }
        "git-file" | "git-link" => {
            let evil = evil_git_dir(world, request, &c);
            fs::remove_dir_all(&dot).expect("removed");
            match vector {
                "git-file" => fs::write(&dot, format!("gitdir: {}\n", evil.display())).expect("written"),
                _ => symlink(evil, &dot).expect("linked"),
            }
        }
        "worktree-setting" => {
            set("core.worktree", &world.tree(request).join("..").display().to_string());
            set("core.fsmonitor", &c);
        }
        _ => return false,
    }
    true
}

/// Plants filters, drivers and what the home directory says; tells whether the vector is one of these.
fn plant_filters(world: &World, request: &TreeRequest, canary: &Canary, vector: &str) -> bool {
    let c = canary.text();
    let dot = world.tree(request).join(".git");
    let set = |key: &str, value: &str| drop(world.agent_git(request, &["config", key, value]));
    let attributes = |line: &str| world.write(request, ".gitattributes", line);
    match vector {
        "filter-attributes" | "filter-info" => {
            set("filter.x.clean", &c);
            set("filter.x.smudge", &c);
            match vector {
                "filter-info" => fs::write(dot.join("info/attributes"), "* filter=x\n").expect("written"),
                _ => attributes("* filter=x\n"),
            }
        }
        "textconv" | "diff-command" => {
            set(if vector == "textconv" { "diff.x.textconv" } else { "diff.x.command" }, &c);
            attributes("* diff=x\n");
        }
        "merge-driver" => {
            set("merge.x.driver", &c);
            attributes("* merge=x\n");
        }
        "filter-process" => {
            set("filter.x.process", &c);
            set("filter.x.required", "true");
            attributes("* filter=x\n");
        }
        "filter-home" => {
            let text = format!("[filter \"x\"]\n\tclean = {c}\n\tsmudge = {c}\n[core]\n\tfsmonitor = {c}\n");
            fs::write(world.fixture.path().join(".gitconfig"), text).expect("written");
            attributes("* filter=x\n");
        }
        "pack-objects-hook" => {
            // Only obeyed where the user's own settings say so.
            let text = format!("[uploadpack]\n\tpackObjectsHook = {c}\n");
            fs::write(world.fixture.path().join(".gitconfig"), &text).expect("written");
            set("uploadpack.packObjectsHook", &c);
        }
        "trace" => {
            let mark = canary.mark.display().to_string();
            let text = format!("[trace2]\n\tnormalTarget = {mark}\n\teventTarget = {mark}\n");
            fs::write(world.fixture.path().join(".gitconfig"), text).expect("written");
        }
        "attributes-file" => {
            set("filter.x.clean", &c);
            let file = world.fixture.path().join("my-attributes");
            fs::write(&file, "* filter=x\n").expect("written");
            set("core.attributesFile", &file.display().to_string());
        }
        _ => return false,
    }
    true
}

/// Plants settings of the repository; tells whether the vector is one of these.
fn plant_settings(world: &World, request: &TreeRequest, canary: &Canary, vector: &str) -> bool {
    let c = canary.text();
    let set = |key: &str, value: &str| drop(world.agent_git(request, &["config", key, value]));
    match vector {
        "fsmonitor" => set("core.fsmonitor", &c),
        "diff-external" => set("diff.external", &c),
        "ssh-command" => {
            set("core.sshCommand", &c);
            set("remote.origin.url", "ssh://git@host.invalid/x");
            set("remote.origin.pushurl", "ssh://git@host.invalid/x");
        }
        "instead-of-ext" => {
            set("protocol.ext.allow", "always");
            set(&format!("url.ext::{c} .insteadOf"), &world.data().join("repos").display().to_string());
        }
        "uploadpack" => set("remote.origin.uploadpack", &c),
        "receivepack" => {
            set("remote.origin.receivepack", &c);
            set("remote.origin.pushurl", &world.url.to_string());
        }
        "gpg-program" => {
            set("commit.gpgSign", "true");
            set("gpg.program", &c);
        }
        "credential-helper" => set("credential.helper", &format!("!{c}")),
        "ext-submodule" => {
            set("protocol.ext.allow", "always");
            set("submodule.sub.url", &format!("ext::{c}"));
            set("submodule.sub.active", "true");
            world.write(
                request,
                ".gitmodules",
                &format!("[submodule \"sub\"]\n\tpath = sub\n\turl = ext::{c}\n"),
            );
            let link = format!("160000,{},sub", request.base);
            world.agent_git(request, &["update-index", "--add", "--cacheinfo", &link]);
        }
        "alternate-refs-command" => set("core.alternateRefsCommand", &c),
        "pager" => set("core.pager", &c),
        "editor" => {
            set("core.editor", &c);
            set("sequence.editor", &c);
        }
        "askpass" => {
            set("core.askPass", &c);
            set("remote.origin.url", "https://127.0.0.1:1/x");
        }
        "alias" => {
            for verb in ["st", "add", "commit", "bundle", "hash-object", "ls-files", "fast-import"] {
                set(&format!("alias.{verb}"), &format!("!{c}"));
            }
        }
        _ => return false,
    }
    true
}
