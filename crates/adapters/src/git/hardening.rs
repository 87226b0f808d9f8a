//! Settings and variables of every git call, on either side of the wall.

/// Settings given to every call: each closes a way by which a repository or a remote could run or redirect
/// something, or make git do work nobody asked for.
pub(super) const SETTINGS: &[&str] = &[
    "core.hooksPath=/dev/null",      // no hook of any repository
    "core.fsmonitor=false",          // a repository may name a program here
    "core.attributesFile=/dev/null", // attributes select filters
    "core.excludesFile=/dev/null",   // nor may a file in HOME hide anything
    "core.quotePath=false",          // paths as they are; odd ones are still quoted
    "core.pager=cat",
    "gc.auto=0",              // objects of running agents must not be pruned
    "maintenance.auto=false", // nor a detached child be left behind
    "protocol.version=2",
    "http.followRedirects=false", // credentials stay with the host they were given for
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "credential.helper=", // forgets every helper configured elsewhere
    "credential.interactive=false",
    "advice.detachedHead=false",
];

/// Variables of every call, here and in an agent's confinement: each closes a way by which the machine or the operator's own
/// settings could make git run something, ask somebody or show something else than what is there.
pub(super) const VARIABLES: &[(&str, &str)] = &[
    ("LC_ALL", "C"), // messages are read by `messages`
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_ASKPASS", "/bin/false"),
    ("SSH_ASKPASS", "/bin/false"),
    ("SSH_ASKPASS_REQUIRE", "never"),
    ("GIT_EDITOR", "/bin/false"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_NO_REPLACE_OBJECTS", "1"), // a replaced object is not what would be handed over or pushed
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_LITERAL_PATHSPECS", "1"),
];
