//! Variables by which a caller's environment chooses the repository that git means. A hook, an editor or `git rebase
//! --exec` sets them for its own repository; a call that names another one must not inherit them.

use std::process::Command;

/// The list of `git rev-parse --local-env-vars`, the namespace, the pathspec modes, and the quarantine of a
/// `pre-receive` hook.
const REPOSITORY_VARIABLES: &[&str] = &[
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_ATTR_SOURCE",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DEFAULT_REF_FORMAT",
    "GIT_DIR",
    "GIT_GLOB_PATHSPECS",
    "GIT_GRAFT_FILE",
    "GIT_ICASE_PATHSPECS",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_LITERAL_PATHSPECS",
    "GIT_NAMESPACE",
    "GIT_NOGLOB_PATHSPECS",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REF_STORAGE",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_SUPER_PREFIX",
    "GIT_WORK_TREE",
];

/// Removes every variable that chooses a repository, so that the command's directory alone decides.
pub fn forget_repository(command: &mut Command) -> &mut Command {
    for name in REPOSITORY_VARIABLES {
        command.env_remove(name);
    }
    command
}

/// Tells whether a variable chooses a repository, or a setting of git, for whatever git runs in its environment.
pub fn chooses_repository(name: &str) -> bool {
    REPOSITORY_VARIABLES.contains(&name) || name.starts_with("GIT_CONFIG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_has_all_that_this_git_calls_local() {
        let out = Command::new("git").args(["rev-parse", "--local-env-vars"]).output().unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.lines().count() > 5, "{text}");
        let missing: Vec<&str> = text.lines().filter(|name| !chooses_repository(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
