//! Choice of what holds jobs together: the best means that the host offers and the operator allows. It is reported with its
//! reason.

use std::path::PathBuf;

use super::cgroup::CgroupChoice;
use super::containment::{Containment, NamespaceMaker};
use super::fence;

/// The containment that the jobs of a server get, and the reason for the choice.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) cgroups: Option<PathBuf>,
    pub(crate) namespace: Option<NamespaceMaker>,
    /// Where jobs get fences, for want of a cgroup that counts.
    pub(crate) fences: Option<PathBuf>,
    why: String,
}

impl Chosen {
    /// Looks at the host.
    pub(crate) fn look(choice: &CgroupChoice) -> Self {
        let mut chosen = Self::best(choice);
        // `pids.max` is there where the parent hands the controller down.
        let counts = chosen.cgroups.as_ref().is_some_and(|parent| {
            let handed = std::fs::read_to_string(parent.join("cgroup.subtree_control"));
            handed.is_ok_and(|handed| handed.split_ascii_whitespace().any(|one| one == "pids"))
        });
        chosen.fences = if counts { None } else { fence::parent() };
        chosen
    }

    /// Says how processes of a job are counted and bounded.
    pub(crate) fn bounded_by(&self) -> &'static str {
        match (&self.cgroups, &self.fences) {
            (_, Some(_)) => "the kernel (v1 pids controller)",
            (Some(_), None) => "the kernel (pids controller)",
            (None, None) => "its supervisor",
        }
    }

    fn best(choice: &CgroupChoice) -> Self {
        let fences = None;
        if let Some(parent) = choice.parent() {
            let why = format!("each job has its own below {}", parent.display());
            return Self { cgroups: Some(parent), namespace: None, fences, why };
        }
        let none = match choice {
            CgroupChoice::Auto | CgroupChoice::Under(_) => "no cgroup v2 that this user may write to",
            CgroupChoice::PidNamespace | CgroupChoice::Off => "cgroups are switched off",
        };
        if *choice == CgroupChoice::Off {
            let why = format!("{none}, and so are pid namespaces");
            return Self { cgroups: None, namespace: None, fences, why };
        }
        match NamespaceMaker::find() {
            Ok(maker) => Self { cgroups: None, namespace: Some(maker), fences, why: none.to_owned() },
            Err(e) => Self { cgroups: None, namespace: None, fences, why: format!("{none}, and {e}") },
        }
    }

    /// Returns what a job gets and why.
    pub(crate) fn said(&self) -> (&'static str, String) {
        let kind = match (&self.cgroups, &self.namespace) {
            (Some(_), _) => Containment::Cgroup,
            (None, Some(_)) => Containment::PidNamespace,
            (None, None) => Containment::Subreaper,
        };
        (kind.word(), self.why.clone())
    }
}
