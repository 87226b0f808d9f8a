//! The body of a check, made from a judgement.

use mosaic_api::CheckRequest;
use mosaic_core::domain::spec::GateProfile;
use mosaic_core::limits;
use mosaic_core::ports::gatekeeper::JudgeRequest;

/// The one moment at which this orchestrator asks: everything on the exact commit.
const STAGE: &str = "post-commit";

pub(super) fn check(request: &JudgeRequest) -> CheckRequest {
    let files = request.changed.iter().flatten().filter_map(|path| String::from_utf8(path.clone()).ok());
    CheckRequest {
        task_id: request.task.to_string(),
        agent_id: request.agent.to_string(),
        stage: STAGE.to_owned(),
        profile: match request.profile {
            GateProfile::Strict => mosaic_api::GateProfile::Strict,
            GateProfile::Standard => mosaic_api::GateProfile::Standard,
            GateProfile::Minimal => mosaic_api::GateProfile::Minimal,
            GateProfile::Custom => mosaic_api::GateProfile::Custom,
        },
        gates: request.plan.gates.iter().map(|gate| gate.name.to_string()).collect(),
        repository: request.repository.to_string(),
        branch: request.branch.to_string(),
        base_commit: request.base.to_string(),
        head_commit: request.commit.to_string(),
        files: files.take(limits::CHECK_FILES).collect(),
        diff_summary: request.diff_summary.clone(),
        base_branch: Some(request.base_branch.to_string()),
        attempt: Some(request.round),
        bundle_id: None,
    }
}
