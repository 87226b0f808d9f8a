//! The gatekeeper elsewhere: a coordinator over HTTP, by the contract of the NestJS orchestrator with fields of ours.
//!
//! Always true: only a whole, well-formed answer about the asked commit and task is a verdict. Whatever else happens is a failure of
//! the attempt: it opens no gate, and costs the agent no fix round. The plan is made here, from the base commit, before the agent
//! starts.

mod address;
mod asked;
mod breaker;
mod fault;
mod http;
mod identity;
mod marks;
mod options;
mod outputs;
mod report;
mod said;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mosaic_api::{BundleNeeded, BundleReceived, CheckRequest, ReceivedProblem};
use mosaic_core::domain::gates::{GateDefinition, GateOutcome, GatePlan, GateReport, GateResult};
use mosaic_core::domain::outcome::Failure;
use mosaic_core::limits;
use mosaic_core::ports::clock::Clock;
use mosaic_core::ports::gatekeeper::{
    CommitForm, CommitSource, Gatekeeper, GatekeeperHealth, JudgeRequest, PlanRequest, PrepareRequest,
    Prepared,
};

pub use address::{CoordinatorUrl, InvalidCoordinatorUrl};
use breaker::Breaker;
use fault::CheckFault;
use http::{Answer, Http, Outgoing};
pub use options::CoordinatorOptions;
use said::Said;

/// Path of checks below the coordinator's address.
const CHECK: &str = "/api/quality/check";
/// Path of bundles below the coordinator's address.
const BUNDLES: &str = "/api/quality/bundles";
/// Bundles that are sent for one check: one that stands on the base, and then one with everything.
const MOST_BUNDLES: u32 = 2;
/// Largest answer that is no verdict, in bytes: a problem.
const PROBLEM_BYTES: usize = 64 * 1024;

/// Judges commits with a coordinator.
pub struct CoordinatorGatekeeper {
    options: CoordinatorOptions,
    http: Http,
    breaker: Breaker,
}

impl CoordinatorGatekeeper {
    /// Makes a gatekeeper. Nothing is sent yet.
    pub fn new(options: CoordinatorOptions) -> Self {
        let http = Http::new(options.url.clone(), options.token.clone());
        Self { options, http, breaker: Breaker::default() }
    }

    /// Asks until there is a verdict, or a fault that does not pass.
    async fn verdict(
        &self,
        request: &JudgeRequest,
        source: &dyn CommitSource,
    ) -> Result<GateReport, CheckFault> {
        let mut asked = asked::check(request);
        let (mut tries, mut bundles) = (0, 0);
        loop {
            let fault = match self.once(&asked).await {
                Ok(Reply::Verdict(answer)) => {
                    let said = Said::read(&answer, &asked)?;
                    return report::of(&self.options, request, said).await;
                }
                Ok(Reply::BundleNeeded { whole }) if bundles < MOST_BUNDLES => {
                    bundles += 1;
                    let bundle = if whole { source.whole_bundle().await } else { source.bundle().await };
                    match self.send(&bundle.map_err(CheckFault::Source)?).await {
                        Ok(name) => {
                            asked.bundle_id = Some(name);
                            continue;
                        }
                        Err(fault) => fault,
                    }
                }
                Ok(Reply::BundleNeeded { .. }) => CheckFault::BundleRefused,
                Err(fault) => fault,
            };
            tries += 1;
            if !fault.may_pass() || tries >= limits::CHECK_TRIES {
                return Err(fault);
            }
            tracing::info!(agent.id = %request.agent, error = %fault, tries, "the coordinator gave no verdict; it is asked again");
            self.options.clock.sleep(self.pause(tries, &fault)).await;
        }
    }

    /// Returns the pause before the next try: what the coordinator asks for, else doubled each time, with jitter.
    fn pause(&self, tries: u32, fault: &CheckFault) -> Duration {
        let doubled = limits::CHECK_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(16));
        let wanted = fault.retry_after().unwrap_or_default().max(doubled).min(limits::CHECK_PAUSE_CAP);
        wanted.mul_f64(1.0 + self.options.chance.dice().clamp(0.0, 1.0) / 2.0)
    }

    /// Sends the check once.
    async fn once(&self, asked: &CheckRequest) -> Result<Reply, CheckFault> {
        let body = serde_json::to_vec(asked).map_err(CheckFault::Unwritable)?;
        let answer = self.call(CHECK, Outgoing::Json(body), limits::CHECK_ANSWER_BYTES).await?;
        match answer.status {
            // What a `POST` of a NestJS controller answers by itself is 201.
            200 | 201 => Ok(Reply::Verdict(answer)),
            409 => match serde_json::from_slice::<BundleNeeded>(&answer.body) {
                Ok(needed) if needed.code == "bundle_needed" => {
                    Ok(Reply::BundleNeeded { whole: needed.whole })
                }
                _ => Err(refusal(&answer)),
            },
            _ => Err(refusal(&answer)),
        }
    }

    /// Sends a bundle and returns its name.
    async fn send(&self, bundle: &Path) -> Result<String, CheckFault> {
        let answer = self.call(BUNDLES, Outgoing::File(bundle.to_owned()), PROBLEM_BYTES).await?;
        if !matches!(answer.status, 200 | 201) {
            return Err(refusal(&answer));
        }
        let received: BundleReceived = serde_json::from_slice(&answer.body).map_err(CheckFault::NoJson)?;
        Ok(received.bundle_id)
    }

    /// Makes one request through the breaker.
    async fn call(&self, path: &str, body: Outgoing, most: usize) -> Result<Answer, CheckFault> {
        let clock = &*self.options.clock;
        let passage = self.breaker.enter(clock.elapsed()).map_err(CheckFault::BreakerOpen)?;
        let answer = self.http.post(path, body, most).await;
        // A coordinator that is busy, or that refuses, is there.
        let works = answer.as_ref().is_ok_and(|answer| answer.status < 500);
        passage.end(works, clock.elapsed());
        answer.map_err(CheckFault::Http)
    }
}

/// Asks a coordinator whether it is there.
pub async fn probe(url: &CoordinatorUrl, token: Option<String>, clock: &dyn Clock) -> GatekeeperHealth {
    look(&Http::new(url.clone(), token), url, clock).await
}

async fn look(http: &Http, url: &CoordinatorUrl, clock: &dyn Clock) -> GatekeeperHealth {
    let answer = tokio::select! {
        answer = http.get("/health", PROBLEM_BYTES) => answer,
        () = clock.sleep(limits::CHECK_PROBE) => Err(http::HttpError::Silent),
    };
    match answer {
        // Whoever answers at all is there: the contract has no route for its health.
        Ok(answer) if answer.status < 500 => GatekeeperHealth::Reached(format!("{url} answers")),
        Ok(answer) => GatekeeperHealth::Unreachable(format!("{url} answers {}", answer.status)),
        Err(e) => GatekeeperHealth::Unreachable(format!("{url} does not answer: {e}")),
    }
}

/// Answer to a check that is no fault by its status.
enum Reply {
    Verdict(Answer),
    BundleNeeded { whole: bool },
}

/// Returns the fault of an answer whose status is no verdict.
fn refusal(answer: &Answer) -> CheckFault {
    let read: ReceivedProblem = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = read.detail.or(read.message).unwrap_or_default();
    let detail = detail.chars().filter(|c| !c.is_control()).take(300).collect();
    match answer.status {
        300..=399 => CheckFault::Redirect(answer.status),
        429 | 502..=504 => {
            CheckFault::Busy { status: answer.status, retry_after: answer.retry_after, detail }
        }
        status => CheckFault::Status { status, detail },
    }
}

#[async_trait]
impl Gatekeeper for CoordinatorGatekeeper {
    fn reads(&self) -> CommitForm {
        CommitForm::Bundle
    }

    async fn health(&self) -> GatekeeperHealth {
        look(&self.http, &self.options.url, &*self.options.clock).await
    }

    async fn plan(&self, request: PlanRequest<'_>) -> Result<GatePlan, Failure> {
        let base = request.base.short().to_owned();
        let mut plan = self.options.local.plan(request).await?;
        // Where the base defines nothing, the coordinator may have definitions of its own. Where it defines some, a profile is as
        // complete or incomplete as it is without a coordinator.
        if plan.gates.is_empty() && plan.trusted && !plan.undefined.is_empty() {
            let by_name =
                |name| GateDefinition { run: None, ..GateDefinition::of_command(name, String::new()) };
            plan.gates = std::mem::take(&mut plan.undefined).into_iter().map(by_name).collect();
            plan.defined_by = format!("the coordinator ({base} defines no gate)");
        }
        Ok(plan)
    }

    async fn prepare(
        &self,
        request: PrepareRequest,
        base: Arc<dyn CommitSource>,
    ) -> Result<Prepared, Failure> {
        // The agent's tree is here, and so is its setup. The programs of the gates need only be where the gates are run.
        let plan = GatePlan { gates: Vec::new(), ..request.plan };
        self.options.local.prepare(PrepareRequest { plan, ..request }, base).await
    }

    async fn judge(
        &self,
        request: JudgeRequest,
        source: Arc<dyn CommitSource>,
    ) -> Result<GateReport, Failure> {
        if !request.plan.trusted {
            return Ok(untrusted(request));
        }
        // Made before anything is asked: a commit that cannot be read here is a fault of this machine.
        source.bundle().await?;
        let judged = tokio::select! {
            judged = self.verdict(&request, source.as_ref()) => judged,
            () = self.options.clock.sleep(self.options.deadline) => {
                Err(CheckFault::Deadline(self.options.deadline))
            }
        };
        judged.map_err(|fault| fault.into_failure(&self.options.url))
    }
}

fn untrusted(request: JudgeRequest) -> GateReport {
    let skipped = |gate: &GateDefinition| {
        let why = "not run: the repository's commands are not trusted";
        GateResult { command: gate.run.clone(), ..GateResult::new(gate.name.clone(), GateOutcome::Skip, why) }
    };
    let results = request.plan.gates.iter().map(skipped).collect();
    GateReport::new(request.commit, results, &request.plan)
}
