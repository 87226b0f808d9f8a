//! Repositories, in five parts by who needs them: one bare repository per remote, a tree per agent, and everything that is read,
//! judged and pushed from the bare repository. No method runs git on an agent's tree after the agent had it; what an agent made
//! comes in as a bundle that its own confinement wrote (see [`Intake`]). One adapter may implement all five.

mod commits;
mod intake;
mod kept_work;
mod publisher;
mod trees;

pub use self::commits::{Added, AddedPart, ChangeKind, Commits, DiffForm, FileStat, FilterUse};
pub use self::intake::{HarvestJob, Intake, Kept, Received};
pub use self::kept_work::{KeptRefs, KeptWork, RepoCache, RestoreRequest, Restored, UnmergedCommit};
pub use self::publisher::{Fit, NotAllowed, Publisher, Pushed, RemoteState};
pub use self::trees::{
    BundleExtent, JudgingCheckout, JudgingRequest, StrayTree, TreeRequest, Trees, Worktree,
};
