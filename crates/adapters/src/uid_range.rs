//! Users for jobs: a range of numbers that belong to nobody else on this machine, of which a job leases one for itself. No two
//! jobs have the same number at once, whichever server of this machine started them.
//!
//! A lease is a locked file in a directory that all servers of the machine share. The kernel drops the lock with its server,
//! however that ends; what a lost server left running still has the number, so a number that any process has is not leased.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{FlockOperation, OFlags, flock};
use thiserror::Error;

/// The range of a machine that names none: above the users of people and services, and apart from the ranges that container
/// programs take from 100000 and from 524288 on.
const DEFAULT: (u32, u32) = (200_000, 265_535);
/// The directory of the leases. It is empty after a start of the machine, as the list of processes is.
const LEASES: &str = "/run/mosaic-uids";
/// Numbers below this are root's, people's and services'.
const LOWEST: u32 = 1000;
/// The number that stands for a user who has none, and the one above it that is no number.
const NOBODY: u32 = 65_534;

/// Range of user numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UidRange {
    first: u32,
    last: u32,
}

/// Reason why a text is no range of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "it must be two numbers from {LOWEST} on without {NOBODY}, the smaller one first, such as 200000-265535"
)]
pub struct UidRangeError;

impl Default for UidRange {
    fn default() -> Self {
        Self { first: DEFAULT.0, last: DEFAULT.1 }
    }
}

impl fmt::Display for UidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for UidRange {
    type Err = UidRangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (first, last) = text.split_once('-').ok_or(UidRangeError)?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| UidRangeError);
        let (first, last) = (number(first)?, number(last)?);
        let has_nobody = (first..=last).contains(&NOBODY) || last >= u32::MAX - 1;
        if first < LOWEST || first > last || has_nobody {
            return Err(UidRangeError);
        }
        Ok(Self { first, last })
    }
}

/// A user number that no other job has while this value lives.
#[derive(Debug)]
pub struct UidLease {
    uid: u32,
    _lock: File,
}

impl UidLease {
    /// Returns the number.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}

impl UidRange {
    /// Leases the lowest number that is free. Blocks for a look at the processes of this machine.
    ///
    /// # Errors
    /// When the leases cannot be kept, or no number is free.
    pub fn lease(&self) -> io::Result<UidLease> {
        self.lease_in(Path::new(LEASES))
    }

    fn lease_in(&self, directory: &Path) -> io::Result<UidLease> {
        open_directory(directory)?;
        let mut used = None;
        for uid in self.first..=self.last {
            let Some(lock) = try_lock(&directory.join(uid.to_string()))? else { continue };
            // Looked at once and with the lock held: a number can be taken only by a job that holds its lock.
            if !used.get_or_insert_with(used_numbers).contains(&uid) {
                return Ok(UidLease { uid, _lock: lock });
            }
        }
        let why = format!("every user number from {} to {} is in use", self.first, self.last);
        Err(io::Error::new(io::ErrorKind::ResourceBusy, why))
    }
}

/// Makes the directory for root alone, or checks that it is that.
fn open_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let meta = directory.symlink_metadata()?;
    let is_ours =
        meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
    if is_ours {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} belongs to another user", directory.display())))
    }
}

/// Locks a file; `None` when another server holds it.
fn try_lock(path: &PathBuf) -> io::Result<Option<File>> {
    let mut options = File::options();
    options.create(true).truncate(false).write(true).mode(0o600);
    let file = options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(e) if e == rustix::io::Errno::WOULDBLOCK => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Lists the users that processes of this machine have, in any of the four ways in which a process can have one.
fn used_numbers() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_process = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    let processes = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_process));
    let status = processes.filter_map(|entry| fs::read_to_string(entry.path().join("status")).ok());
    let numbers = |text: String| {
        let line = text.lines().find_map(|line| line.strip_prefix("Uid:")).map(str::to_owned);
        line.unwrap_or_default().split_ascii_whitespace().filter_map(|n| n.parse().ok()).collect::<Vec<u32>>()
    };
    status.flat_map(numbers).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_and_nonsense_is_refused() {
        let range: UidRange = "200000-265535".parse().unwrap();
        assert_eq!((range, range.to_string().as_str()), (UidRange::default(), "200000-265535"));
        for bad in ["", "5", "0-10", "2000-1000", "60000-70000", "a-b", "200000-4294967295"] {
            assert_eq!(bad.parse::<UidRange>(), Err(UidRangeError), "{bad}");
        }
    }

    #[test]
    fn no_two_leases_have_a_number_at_once() {
        let place = tempfile::tempdir().unwrap();
        let range: UidRange = "300000-300001".parse().unwrap();
        let lease = || range.lease_in(&place.path().join("leases"));
        let (one, two) = (lease().unwrap(), lease().unwrap());
        assert_eq!((one.uid(), two.uid()), (300_000, 300_001));
        assert_eq!(lease().unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(one);
        assert_eq!(lease().unwrap().uid(), 300_000);
    }

    #[test]
    fn a_number_that_a_process_has_is_not_leased() {
        let place = tempfile::tempdir().unwrap();
        // This very process has it, as what a lost server left running would.
        let own = rustix::process::getuid().as_raw();
        let range = UidRange { first: own, last: own };
        assert_eq!(range.lease_in(place.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    }
}
