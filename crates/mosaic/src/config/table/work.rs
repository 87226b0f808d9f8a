//! The work of agents: git, skills, gates.

use crate::config::parsers as p;
use crate::config::row::{Variable, ours, path, secret};

/// The rows, in the order in which they are shown.
pub(super) const ROWS: &[Variable] = &[
    ours("MOSAIC_BRANCH_PREFIX", "branch name part", "mosaic", "first part of the branches of agents")
        .read(|c, v| p::branch_prefix(v).map(|x| c.branch_prefix = x), |c| Some(c.branch_prefix.clone())),
    ours(
        "MOSAIC_GIT_CREDENTIALS_FILE",
        "file",
        "—",
        "lines as of git-credential-store; each is used for its own host only",
    )
    .read(|c, v| p::path(v).map(|x| c.git_credentials_file = Some(x)), |c| path(&c.git_credentials_file)),
    ours("MOSAIC_GIT_TOKEN", "text", "—", "token for git over https, sent to MOSAIC_GIT_TOKEN_HOST only")
        .secret(|c| c.git_token.as_ref())
        .read(|c, v| p::secret(v).map(|s| c.git_token = Some(s)), |c| secret(&c.git_token)),
    ours("MOSAIC_GIT_TOKEN_HOST", "host name", "—", "the host that MOSAIC_GIT_TOKEN is for")
        .read(|c, v| p::host(v).map(|x| c.git_token_host = Some(x)), |c| c.git_token_host.clone()),
    ours("MOSAIC_GIT_NAME", "text", "the operator's user.name, else Mosaic Agent", "author of commits")
        .read(|c, v| p::line(v, 256).map(|x| c.git_name = Some(x)), |c| c.git_name.clone()),
    ours(
        "MOSAIC_GIT_EMAIL",
        "text",
        "the operator's user.email, else agent@mosaic.invalid",
        "mail address of the author",
    )
    .read(|c, v| p::line(v, 256).map(|x| c.git_email = Some(x)), |c| c.git_email.clone()),
    ours(
        "MOSAIC_SKILLS",
        "hint, require",
        "hint",
        "a skill that is not found is a hint and a warning, or a failure",
    )
    .read(
        |c, v| p::choice(v, &[("hint", false), ("require", true)]).map(|x| c.require_skills = x),
        |c| Some(if c.require_skills { "require" } else { "hint" }.to_owned()),
    ),
    ours("MOSAIC_SKILLS_DIR", "directory", "—", "the operator's skills: one folder with a SKILL.md each")
        .read(|c, v| p::path(v).map(|x| c.skills_dir = Some(x)), |c| path(&c.skills_dir)),
    ours(
        "MOSAIC_ALLOW_INCOMPLETE",
        "strict",
        "—",
        "strict: a strict profile with undefined gates runs all the same, with verdict incomplete",
    )
    .read(
        |c, v| p::choice(v, &[("strict", true)]).map(|x| c.allow_incomplete_strict = x),
        |c| c.allow_incomplete_strict.then(|| "strict".to_owned()),
    ),
];
