//! The flags of every command, one file per kind of command, and the readers of their values.

mod fleet;
mod gates;
mod gates_command;
mod look;
mod orders;
mod records;
mod values;
mod work;

pub(crate) use fleet::{
    NodeArgs, NodeDrainArgs, NodeRemoveArgs, NodesAction, NodesArgs, QueueAction, QueueArgs,
};
pub(crate) use gates::GatesArgs;
pub(crate) use gates_command::{GatesCommand, GatesExplainArgs, GatesInitArgs, GatesRunArgs, TrustArgs};
pub(crate) use look::{DiffArgs, LogsArgs, PsArgs, StatusArgs, WaitArgs};
pub(crate) use orders::{
    AnswerArgs, DrainArgs, DrillArgs, FreezeArgs, KillAllArgs, KillArgs, KillswitchArgs, PruneArgs,
    RestoreArgs, RetryArgs, RmArgs, SwitchAction,
};
pub(crate) use records::{AuditAction, AuditArgs, AuditFilter, CompletionsArgs, ConfigArgs, TokenArgs};
pub(crate) use values::Cap;
pub(crate) use work::{
    CoordinatorArgs, DemoArgs, GateChoice, RunArgs, ServeArgs, SpawnArgs, TaskArgs, TypeChoice,
};
