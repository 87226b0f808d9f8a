//! Git: trees, bare repositories, what is received and kept.

use std::time::Duration;

/// Most submodules of one checkout, nested ones too; each may cost a fetch.
pub const SUBMODULES: usize = 100;
/// Deepest nesting of submodules.
pub const SUBMODULE_DEPTH: usize = 8;
/// Largest `.gitmodules` that is read, in bytes.
pub const GITMODULES_BYTES: usize = 256 * 1024;
/// Most findings returned to an agent or kept in a record; the rest is counted.
pub const FINDINGS: usize = 50;
/// Longest time for one network operation of git.
pub const GIT_NETWORK: Duration = Duration::from_secs(300);
/// Longest wait for a remote that is asked whether it has a commit: a kill's answer waits for it.
pub const REMOTE_LOOK: Duration = Duration::from_secs(5);
/// Queries to a remote that took a push before it counts as one that does not show it, and the pause between two queries:
/// some remotes answer from copies that are a moment old.
pub const PUSH_LOOKS: u32 = 4;
/// See [`PUSH_LOOKS`].
pub const PUSH_LOOK_PAUSE: Duration = Duration::from_secs(1);
/// Time after which a push that was broken off cannot arrive any more: a remote may take in what it received, hooks
/// included, without anybody waiting for it.
pub const PUSH_ARRIVES: Duration = Duration::from_secs(300);
/// Newest records among which a round of the caretaker looks for pushes of which the end is not known.
pub const PUSHES_LOOKED_AT: usize = 200;
/// Most remotes that a round of the caretaker asks about such pushes: each may take [`REMOTE_LOOK`].
pub const PUSHES_ASKED: usize = 10;
/// Longest time for one local operation of git.
pub const GIT_LOCAL: Duration = Duration::from_secs(120);
/// Longest time for a look into the tree of an agent at work: whoever asks for its diff waits for it.
pub const LIVE_DIFF: Duration = Duration::from_secs(30);
/// Longest time for committing and bundling what an agent left, inside its confinement.
pub const HARVEST: Duration = Duration::from_secs(120);
/// Largest bundle taken from an agent's tree, in bytes: what fits beside the tree on an ordinary disk.
pub const BUNDLE_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Most files taken from a tree whose `.git` is unusable.
pub const WALKER_FILES: usize = 1_000_000;
/// Largest index of a tree that is read, in bytes: some million files.
pub const INDEX_BYTES: u64 = 512 * 1024 * 1024;
/// Largest file of ignore rules or attributes that is obeyed, in bytes.
pub const RULES_BYTES: u64 = 1024 * 1024;
/// Most loose refs of a tree that are looked at.
pub const MIRRORED_REFS: usize = 20_000;
/// New commits that may change git attributes: each costs a look at its whole tree.
pub const ATTRIBUTE_COMMITS: usize = 100;
/// Things named one by one that lie in a tree and are not in its commit; the rest is counted.
pub const NAMED_LEFT: usize = 20;
/// Most files kept in a salvage that only the agent's own ignore rules leave out: results, not installed packages.
pub const IGNORED_FILES: u64 = 5_000;
/// Most bytes of them.
pub const IGNORED_BYTES: u64 = 128 * 1024 * 1024;
/// Files below ignored directories that are counted before counting is given up: half a second of looking.
pub const IGNORED_COUNTED: u64 = 100_000;
/// Most branches kept of a tree whose HEAD does not descend from the base.
pub const KEPT_BRANCHES: usize = 100;
/// Largest list of paths read from git, in bytes.
pub const LISTING_BYTES: usize = 64 * 1024 * 1024;
/// Largest description of a salvaged tree that is written and read, in bytes: some hundred thousand odd files.
pub const SALVAGE_STATE_BYTES: usize = 64 * 1024 * 1024;
/// Most stashes of an agent that are kept with its salvaged tree.
pub const KEPT_STASHES: usize = 100;
/// Time between the two looks at a stale git lock: a lock that lives changes hands or has a process by then.
pub const LOCK_SECOND_LOOK: Duration = Duration::from_millis(200);
/// Longest wait for git processes of a server that is gone to end after they were told to.
pub const GIT_ORPHANS: Duration = Duration::from_secs(5);
/// Commits named of one agent whose work would be lost; the rest is counted.
pub const NAMED_COMMITS: usize = 20;
/// Longest file of git's own that is read whole: the packed refs of a repository with millions of them.
pub const GIT_FILE_BYTES: u64 = 1 << 30;
/// Largest file of one loose ref that is read, in bytes.
pub const REF_BYTES: u64 = 4096;
/// Largest file of packed refs that is read, in bytes: a million refs.
pub const PACKED_REFS_BYTES: u64 = 128 * 1024 * 1024;
/// Most tags that a tree and a gate's checkout get, the newest ones: versions are told by the nearest, and each costs a line that
/// every git command of the agent reads.
pub const TAGS: usize = 2_000;
/// Time after which tags are looked for again although the base has not moved: releases are tagged rarely, and a look is a
/// fetch.
pub const TAGS_AGE: Duration = Duration::from_secs(300);
/// Longest such look: an agent's start waits for it.
pub const TAGS_LOOK: Duration = Duration::from_secs(30);
/// Most branches below the prefix of agents' branches with which every agent's start looks for a branch named like the prefix:
/// so many come along in an answer of 30 kB.
pub const PREFIX_BRANCHES: usize = 256;
/// Time for which a remote that has more of them, and no branch named like the prefix, is not asked again.
pub const PREFIX_AGE: Duration = Duration::from_secs(300);
/// The part of the disk floor below which work is not bundled: more than what is set aside.
pub const BUNDLE_PART: u64 = 4;
