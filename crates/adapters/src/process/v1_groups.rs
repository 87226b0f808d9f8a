//! Control groups of the first version: where a controller is mounted, and in which of its groups a process is.

use std::path::Path;

/// Finds where a v1 controller is mounted.
pub(super) fn mount<'a>(mountinfo: &'a str, controller: &str) -> Option<&'a Path> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut words = right.split(' ');
        let is_v1 = words.next() == Some("cgroup");
        let is_this = words.nth(1).is_some_and(|options| options.split(',').any(|one| one == controller));
        (is_v1 && is_this).then(|| left.split(' ').nth(4).map(Path::new))?
    })
}

/// Finds the group of a v1 controller in the text of `/proc/<pid>/cgroup`, relative to the controller's root.
pub(super) fn group<'a>(groups: &'a str, controller: &str) -> Option<&'a str> {
    groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then(|| path.trim_start_matches('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_controller_is_found_among_others() {
        let mounts = "30 1 0:2 / /sys/fs/cgroup/x rw - cgroup2 cgroup2 rw\n\
                      31 1 0:3 / /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids\n";
        assert_eq!(mount(mounts, "pids"), Some(Path::new("/sys/fs/cgroup/pids")));
        assert_eq!(mount("30 1 0:2 / /x rw - cgroup2 cgroup2 rw,pids", "pids"), None);
        assert_eq!(group("8:pids:/a/b\n", "pids"), Some("a/b"));
        assert_eq!(group("7:cpu,pids:/\n", "pids"), Some(""));
        assert_eq!(group("0::/a\n1:cpu:/\n", "pids"), None);
    }
}
