//! Processes that stand still in a freezer of cgroup v1: SIGKILL waits there until the group is thawed, so an agent that freezes
//! itself would outlive every kill. (In v2 the frozen die.) They are killed first and let go afterwards: nothing of them
//! runs any more.

use std::collections::BTreeSet;
use std::fs;

use super::linux;
use super::v1_groups::{group, mount};

/// Lets a process that has been sent SIGKILL out of the freezer group that it stands still in.
pub(super) fn release(pid: i32) {
    let freezer_of = |path: &str| {
        let groups = fs::read_to_string(path).ok()?;
        group(&groups, "freezer").map(str::to_owned)
    };
    let Some(own) = freezer_of("/proc/self/cgroup") else { return };
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let Some(mount) = mount(&mounts, "freezer") else { return };
    // Every thread is asked: in v1 each may be in a group of its own, and a first thread that has ended shows the root.
    let threads =
        linux::threads(pid).filter_map(|thread| freezer_of(&format!("/proc/{pid}/task/{thread}/cgroup")));
    let frozen: BTreeSet<String> = threads.filter(|theirs| *theirs != own).collect();
    if frozen.is_empty() {
        return;
    }
    // A move thaws this process alone, with all its threads: the group may be the operator's, with others in it that are to stay
    // frozen.
    if fs::write(mount.join(&own).join("cgroup.procs"), pid.to_string()).is_ok() {
        return;
    }
    // Only a server that is not root comes here. It may write to groups of its own user alone, so what else it thaws is that
    // user's.
    for theirs in frozen {
        for above in mount.join(theirs).ancestors().take_while(|above| *above != mount) {
            // Best effort: the next look for survivors finds them.
            let _ = fs::write(above.join("freezer.state"), "THAWED");
        }
    }
}
