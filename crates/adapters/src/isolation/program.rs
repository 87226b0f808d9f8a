//! The isolated command before it is one: gives every right away and then becomes the program.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use rustix::fs::{FileType, fchown, fstat};
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit, setsid};
use rustix::thread::{
    clear_ambient_capability_set, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use serde::{Deserialize, Serialize};

use super::BROKEN;
use super::spec::Spec;

/// Rights and words of the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Program {
    uid: u32,
    gid: u32,
    /// The user must be changed; in a user namespace it has its number already.
    changes_user: bool,
    tasks: u64,
    command: Vec<String>,
    /// The shell that no process inside can read.
    shell: PathBuf,
}

impl Program {
    /// Takes what the specification says about the command.
    pub(super) fn of(spec: &Spec, shell: PathBuf) -> Self {
        Self {
            uid: spec.uid,
            gid: spec.gid,
            changes_user: !spec.own_users,
            tasks: spec.tasks,
            command: spec.command.clone(),
            shell,
        }
    }
}

/// Becomes the program; returns only when that cannot be done.
pub(super) fn main(program: &OsStr) -> ExitCode {
    let parsed = program.to_str().ok_or(io::ErrorKind::InvalidInput.into());
    let become_it = parsed.and_then(|text| Ok(serde_json::from_str::<Program>(text)?)).and_then(|program| {
        give_up_rights(&program)?;
        Err::<(), _>(exec(&program))
    });
    if let Err(why) = become_it {
        eprintln!("the command cannot be started: {why}");
    }
    ExitCode::from(BROKEN)
}

fn give_up_rights(program: &Program) -> io::Result<()> {
    // In a session of its own nothing that the command signals as a whole has one of ours in it.
    let _ = setsid();
    let most = |value| Rlimit { current: Some(value), maximum: Some(value) };
    setrlimit(Resource::Core, most(0))?;
    setrlimit(Resource::Nproc, most(program.tasks))?;
    if program.changes_user {
        let (uid, gid) = (Uid::from_raw(program.uid), Gid::from_raw(program.gid));
        own_output(uid, gid);
        set_thread_groups(&[])?;
        set_thread_res_gid(gid, gid, gid)?;
        // Every capability of root goes with the number.
        set_thread_res_uid(uid, uid, uid)?;
    }
    // In a user namespace the first process has handed one on.
    clear_ambient_capability_set()?;
    set_no_new_privs(true)?;
    Ok(())
}

/// Gives the pipe that takes the output to the user: without that a program which opens `/dev/stderr` is refused.
fn own_output(uid: Uid, gid: Gid) {
    for output in [rustix::stdio::stdout(), rustix::stdio::stderr()] {
        let is_pipe = fstat(output).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if is_pipe {
            // Where the kernel refuses it, everything but that works.
            let _ = fchown(output, Some(uid), Some(gid));
        }
    }
}

fn exec(program: &Program) -> io::Error {
    let Some((name, arguments)) = program.command.split_first() else {
        return io::ErrorKind::InvalidInput.into();
    };
    let mut command = match name.as_str() {
        "sh" => Command::new(&program.shell),
        other => Command::new(other),
    };
    command.arg0(name).args(arguments).exec()
}
