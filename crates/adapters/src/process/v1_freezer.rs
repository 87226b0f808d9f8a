//! Processes that stand still in a freezer of cgroup v1: SIGKILL waits there until the group is thawed, so an agent that freezes
//! itself would outlive every kill. (In v2 the frozen die.) They are killed first and let go afterwards: nothing of them
//! runs any more.

use std::fs;

use super::v1_groups::{group, mount};

/// Lets a process that has been sent SIGKILL out of the freezer group that it stands still in.
pub(super) fn release(pid: i32) {
    let read = |path: &str| fs::read_to_string(path).ok();
    let (Some(theirs), Some(own), Some(mounts)) =
        (read(&format!("/proc/{pid}/cgroup")), read("/proc/self/cgroup"), read("/proc/self/mountinfo"))
    else {
        return;
    };
    let (Some(theirs), Some(own)) = (group(&theirs, "freezer"), group(&own, "freezer")) else { return };
    let Some(mount) = mount(&mounts, "freezer").filter(|_| theirs != own) else { return };
    // A move thaws this process alone: the group may be the operator's, with others in it that are to stay frozen.
    if fs::write(mount.join(own).join("cgroup.procs"), pid.to_string()).is_ok() {
        return;
    }
    // Who may not move it shares no group with others: what the agent could freeze belongs to the same user.
    for above in mount.join(theirs).ancestors().take_while(|above| *above != mount) {
        // Best effort: who looks for survivors finds them.
        let _ = fs::write(above.join("freezer.state"), "THAWED");
    }
}
