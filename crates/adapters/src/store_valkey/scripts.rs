//! The Lua that runs inside the server: one script per atomic verb, each joined from shared fragments once.

use std::sync::OnceLock;

macro_rules! fragments {
    ($($name:ident),* $(,)?) => {
        $(
            #[expect(non_upper_case_globals, reason = "named after its file")]
            const $name: &str = include_str!(concat!("scripts/", stringify!($name), ".lua"));
        )*
    };
}

fragments! {
    base, head, journal, tasks, queue, parents, job_retention, jobs, priorities, classify_external, refuse, interventions,
    write_record, grant, admit, advance, amend, lease, take_over, log, pause,
    orders, kills, prune, remove, quarantine, peek, promote_due, position, counts, page, fleet, join, beat,
    leave, nodes, cordon, lapsed, movable, shorten, index, prepare, remove_node, report_work,
    restore_data, repositories, leased_of,
}

/// Permission that the server gives to a script.
#[derive(Clone, Copy)]
enum Allowed {
    /// To write while there is memory for it.
    Write,
    /// To write also when memory is full: a transition is recorded in any case.
    WriteAlways,
    /// To write also when memory is full what is soon written again: a failover may forget it.
    WriteLightly,
    /// To read.
    Read,
}

/// A script that is called by its digest.
pub(super) struct Script {
    /// Its name, for error texts.
    pub(super) name: &'static str,
    allowed: Allowed,
    parts: &'static [&'static str],
    joined: OnceLock<Joined>,
    plain: OnceLock<Joined>,
}

/// A script's text and its digest.
pub(super) struct Joined {
    pub(super) code: String,
    pub(super) digest: String,
}

impl Joined {
    fn new(code: String) -> Self {
        let digest = redis::Script::new(&code).get_hash().to_owned();
        Self { code, digest }
    }
}

impl Script {
    const fn new(name: &'static str, allowed: Allowed, parts: &'static [&'static str]) -> Self {
        Self { name, allowed, parts, joined: OnceLock::new(), plain: OnceLock::new() }
    }

    /// Returns the text with its digest.
    pub(super) fn joined(&self) -> &Joined {
        self.joined.get_or_init(|| {
            // A server whose memory is full refuses a script without `allow-oom` before it begins, also one that only
            // records the end of an agent or deletes something.
            let first = match self.allowed {
                Allowed::Write => "#!lua\n",
                Allowed::WriteAlways | Allowed::WriteLightly => "#!lua flags=allow-oom\n",
                Allowed::Read => "#!lua flags=no-writes,allow-oom\n",
            };
            Joined::new(format!("{first}{}", self.parts.concat()))
        })
    }

    /// Returns the text with its digest for a server that is too old to be told in the first line what is allowed.
    pub(super) fn plain(&self) -> &Joined {
        self.plain.get_or_init(|| Joined::new(self.parts.concat()))
    }

    /// Tells whether what it writes must survive a failover.
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.allowed, Allowed::Write | Allowed::WriteAlways)
    }
}

use Allowed::{Read, Write, WriteAlways, WriteLightly};

pub(super) static ADMIT: Script = Script::new(
    "admit",
    Write,
    &[base, head, journal, tasks, queue, parents, job_retention, jobs, index, admit],
);
pub(super) static ADVANCE: Script = Script::new(
    "advance",
    WriteAlways,
    &[base, head, journal, tasks, queue, parents, job_retention, jobs, write_record, advance],
);
pub(super) static AMEND: Script = Script::new(
    "amend",
    WriteAlways,
    &[base, head, journal, tasks, queue, parents, job_retention, jobs, write_record, amend],
);
pub(super) static LEASE: Script = Script::new(
    "lease",
    WriteAlways,
    &[base, head, queue, parents, job_retention, jobs, priorities, repositories, lease],
);
pub(super) static LEASED_OF: Script =
    Script::new("count leases", Read, &[base, head, repositories, leased_of]);
pub(super) static TAKE_OVER: Script = Script::new(
    "take over",
    WriteAlways,
    &[base, head, queue, parents, job_retention, jobs, grant, take_over],
);
pub(super) static LOG: Script = Script::new("log", WriteAlways, &[base, head, journal, log]);
pub(super) static PAUSE: Script =
    Script::new("pause", WriteAlways, &[base, head, journal, queue, parents, job_retention, jobs, pause]);
pub(super) static ORDERS: Script = Script::new("orders", WriteAlways, &[base, head, journal, orders]);
pub(super) static KILLS: Script = Script::new("kills", WriteAlways, &[base, head, journal, kills]);
pub(super) static PRUNE: Script = Script::new("prune", WriteAlways, &[base, prune]);
pub(super) static REMOVE: Script = Script::new(
    "remove",
    WriteAlways,
    &[base, head, journal, tasks, queue, parents, job_retention, jobs, index, remove],
);
pub(super) static QUARANTINE: Script =
    Script::new("quarantine", WriteLightly, &[base, head, queue, parents, job_retention, jobs, quarantine]);
pub(super) static PEEK: Script = Script::new("peek", Read, &[base, peek]);
pub(super) static PROMOTE_DUE: Script = Script::new(
    "promote due",
    WriteLightly,
    &[base, queue, parents, job_retention, jobs, priorities, promote_due],
);
pub(super) static POSITION: Script = Script::new("position", Read, &[base, head, priorities, position]);
pub(super) static COUNTS: Script = Script::new("counts", Read, &[base, counts]);
pub(super) static PAGE: Script = Script::new("page", Read, &[base, page]);
pub(super) static JOIN: Script = Script::new("join", WriteLightly, &[base, head, fleet, join]);
pub(super) static BEAT: Script = Script::new("beat", WriteLightly, &[base, head, fleet, beat]);
pub(super) static LEAVE: Script = Script::new("leave", WriteLightly, &[base, leave]);
pub(super) static NODES: Script = Script::new("nodes", Read, &[base, head, fleet, nodes]);
pub(super) static CORDON: Script = Script::new("cordon", WriteAlways, &[base, head, journal, cordon]);
pub(super) static LAPSED: Script = Script::new("lapsed", Read, &[base, head, fleet, lapsed]);
pub(super) static PREPARE: Script = Script::new("prepare", WriteLightly, &[base, prepare]);
pub(super) static REMOVE_NODE: Script =
    Script::new("remove a node", WriteAlways, &[base, head, journal, fleet, remove_node]);
pub(super) static REPORT_WORK: Script =
    Script::new("report work", WriteAlways, &[base, head, journal, report_work]);
pub(super) static INTERVENTIONS: Script = Script::new(
    "look for interventions",
    WriteLightly,
    &[base, head, queue, parents, job_retention, jobs, classify_external, interventions],
);
pub(super) static REFUSE: Script = Script::new(
    "refuse",
    WriteAlways,
    &[base, head, queue, parents, job_retention, jobs, classify_external, refuse],
);
pub(super) static RESTORE_DATA: Script = Script::new(
    "restore data",
    WriteAlways,
    &[base, head, journal, queue, parents, job_retention, jobs, classify_external, restore_data],
);
pub(super) static MOVABLE: Script = Script::new("movable", Read, &[base, head, movable]);
pub(super) static SHORTEN: Script =
    Script::new("shorten", WriteAlways, &[base, head, journal, tasks, shorten]);
