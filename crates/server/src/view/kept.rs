//! Work of agents that is kept, published or removed.

use mosaic_core::domain::agent::Salvaged;
use mosaic_core::domain::kept_work::{KeptRef, KeptWork};
use mosaic_core::domain::publication::Publication;
use mosaic_core::ports::repositories::UnmergedCommit;
use mosaic_core::removal::{Removed, Unmerged};

use super::shown::Shown;

impl Shown for Salvaged {
    type View = mosaic_api::Salvaged;

    fn shown(&self) -> Self::View {
        mosaic_api::Salvaged { reference: self.reference.clone(), commit: self.commit.to_string() }
    }
}

impl Shown for KeptRef {
    type View = mosaic_api::KeptRef;

    fn shown(&self) -> Self::View {
        mosaic_api::KeptRef { reference: self.reference.clone(), commit: self.commit.to_string() }
    }
}

impl Shown for KeptWork {
    type View = mosaic_api::KeptWork;

    fn shown(&self) -> Self::View {
        let Self { attempt, run, node, at, state, refs, earlier } = self;
        mosaic_api::KeptWork {
            attempt: *attempt,
            run: *run,
            node: node.to_string(),
            at: at.shown(),
            state: state.shown(),
            refs: refs.shown(),
            earlier: *earlier,
        }
    }
}

impl Shown for Publication {
    type View = mosaic_api::Publication;

    fn shown(&self) -> Self::View {
        use mosaic_api::PublicationState as State;
        let state = match self {
            Self::None => State::None,
            Self::MayBeThere { .. } => State::MayBeThere,
            Self::There { .. } => State::There,
            Self::NotThere { .. } => State::NotThere,
        };
        mosaic_api::Publication { state, commit: self.commit().map(ToString::to_string) }
    }
}

impl Shown for UnmergedCommit {
    type View = mosaic_api::UnmergedCommit;

    fn shown(&self) -> Self::View {
        mosaic_api::UnmergedCommit { commit: self.commit.to_string(), subject: self.subject.clone() }
    }
}

impl Shown for Unmerged {
    type View = mosaic_api::Unmerged;

    fn shown(&self) -> Self::View {
        let Self { agent_id, name, commits, more, tree, remote, elsewhere } = self;
        mosaic_api::Unmerged {
            agent_id: agent_id.to_string(),
            name: name.clone(),
            commits: commits.shown(),
            more: *more,
            tree: tree.clone(),
            remote: remote.clone(),
            elsewhere: elsewhere.shown(),
        }
    }
}

impl Shown for Removed {
    type View = mosaic_api::Removed;

    fn shown(&self) -> Self::View {
        let Self { agent_id, name, freed_bytes, discarded } = self;
        mosaic_api::Removed {
            agent_id: agent_id.to_string(),
            name: name.clone(),
            freed_bytes: *freed_bytes,
            discarded: discarded.shown(),
        }
    }
}
