//! `mosaic run`: spawn, follow, wait. Without `--repo` on the repository one is in; without a server it serves from
//! this process until its task has ended.

use mosaic_api::{AgentView, Code, OrderRequest, PublicationState, SpawnRequest};

use super::body;
use super::body::RepositoryBranch;
use super::server_config::server_config;
use super::spawn;
use super::summary;
use crate::cli::{RunArgs, ServeArgs};
use crate::client::{Client, escape};
use crate::color::Paint;
use crate::exit::Exit;
use crate::follow::{self, Followed};
use crate::interrupt::{self, Interrupts};
use crate::local_git::LocalRepository;
use crate::locate;
use crate::problem::Problem;
use crate::run_state::RunState;
use crate::sent::Agent;
use crate::serve::{LocalOptions, LocalServer, ServerFile, start_local};
use crate::session::{Session, say};
use crate::transcript;
use crate::trust;
use crate::view::admitted_name;
use crate::wire;

/// The server that the task is given to.
struct Server {
    client: Client,
    local: Option<LocalRun>,
    interrupts: Interrupts,
}

/// A server inside this process with its state.
struct LocalRun {
    server: LocalServer,
    state: RunState,
}

/// Runs the command.
pub(super) fn run(session: &Session, args: &RunArgs) -> Result<Exit, Problem> {
    body::items(args.text.as_deref(), &args.task)?;
    if args.task.repo.is_some() {
        let spawn_place = spawn::place(&args.task)?;
        let body = body::build(args.text.as_deref(), &args.task, &spawn_place)?;
        let server = Server { client: session.client()?, local: None, interrupts: interrupt::catch() };
        return work(session, args, server, &body, None);
    }
    let repository = LocalRepository::here()?.ok_or_else(|| {
        Problem::usage_hint("there is no git repository here", "go into one, or name one: --repo URL")
    })?;
    let place = local_place(args, &repository)?;
    let body = body::build(args.text.as_deref(), &args.task, &place)?;
    if let Some(names) = repository.uncommitted()? {
        say(&format!("note: uncommitted changes are not included: {names}"));
    }
    let server = match reachable(session)? {
        Some(client) => Server { client, local: None, interrupts: interrupt::catch() },
        None => in_process(session, &repository, &body)?,
    };
    work(session, args, server, &body, Some(&repository))
}

/// Takes the committed HEAD's branch of the repository one is in.
fn local_place(args: &RunArgs, repository: &LocalRepository) -> Result<RepositoryBranch, Problem> {
    if repository.head()?.is_none() {
        return Err(Problem::usage_hint(
            "this repository has no commit yet",
            "make one: git add -A && git commit",
        ));
    }
    let branch = match &args.task.branch {
        Some(branch) => branch.clone(),
        None => repository.current_branch()?.ok_or_else(|| {
            Problem::usage_hint(
                "HEAD is on no branch",
                "go on one: git switch -c NAME; or name one: --branch main",
            )
        })?,
    };
    let root = std::fs::canonicalize(&repository.root)
        .map_err(|e| anyhow::Error::new(e).context("the repository's path cannot be resolved"))?;
    let path = root.to_str().ok_or_else(|| Problem::usage("the repository's path is not UTF-8"))?;
    Ok(RepositoryBranch { repository: path.to_owned(), branch })
}

/// Returns a client when a server answers. A server that was asked for by name must answer.
fn reachable(session: &Session) -> Result<Option<Client>, Problem> {
    let Some(place) = session.place()? else { return Ok(None) };
    let client = Client::new(&place);
    // The server of another run ends with that run, so it is nobody else's.
    let of_run = !place.explicit && ServerFile::read(&session.data_dir()?).is_some_and(|file| file.run);
    if place.explicit || (!of_run && client.answers()) {
        return Ok(Some(client));
    }
    Ok(None)
}

/// Serves in this process, with a state of this run's own: another server's queue is none of its business.
fn in_process(
    session: &Session,
    repository: &LocalRepository,
    body: &SpawnRequest,
) -> Result<Server, Problem> {
    let mut config = server_config(session, &ServeArgs::default())?;
    let choice = trust::settle(session, config.trust, &config.data_dir, repository)?;
    let allowed_repository = std::fs::canonicalize(&repository.root)
        .map_err(|e| anyhow::Error::new(e).context("the repository's path cannot be resolved"))?;
    // Before anything is started, so that whatever is started is also stopped.
    let interrupts = interrupt::catch();
    let state = RunState::make(&config.data_dir, &body.task_id)?;
    let options = LocalOptions {
        allowed_repository: Some(allowed_repository),
        trust: choice,
        trusted: Some(trust::file(&config.data_dir)),
        // Common to all runs: what one has set up serves the next.
        gate_cache: Some(config.data_dir.join(wire::GATE_CACHE)),
    };
    // Only now, because the approved digests above are common to all runs and lie in the common directory.
    state.path().clone_into(&mut config.data_dir);
    let server = start_local(&config, options)?;
    state.announce()?;
    say(&format!("started server {} until this task has ended", server.url()));
    let token =
        Some(crate::config::Secret::new(server.token().to_owned())).filter(|t| !t.expose().is_empty());
    let client = Client::new(&locate::ServerLocation {
        url: server.url().to_owned(),
        token,
        explicit: true,
        port: None,
    });
    Ok(Server { client, local: Some(LocalRun { server, state }), interrupts })
}

fn work(
    session: &Session,
    args: &RunArgs,
    server: Server,
    body: &SpawnRequest,
    repository: Option<&LocalRepository>,
) -> Result<Exit, Problem> {
    let mut ran = None;
    let outcome = spawn_and_follow(session, args, &server, body, repository, &mut ran);
    if let Some(LocalRun { server, state }) = server.local {
        // Stopped before the state is left: that looks through the directory and may delete it, and the server writes
        // there until its end.
        server.stop();
        state.leave(ran.as_deref().filter(|_| matches!(outcome, Ok(Exit::Ok))));
    }
    outcome
}

fn spawn_and_follow(
    session: &Session,
    args: &RunArgs,
    server: &Server,
    body: &SpawnRequest,
    repository: Option<&LocalRepository>,
    ran: &mut Option<String>,
) -> Result<Exit, Problem> {
    let client = &server.client;
    let admitted = spawn::send(client, body, args.task.idempotency_key.as_deref())
        .map_err(|p| explain(p, client, repository.is_some()))?;
    if let Some(local) = &server.local {
        // It ends with this task, so it must not take another.
        local.server.refuse_new();
    }
    say(&spawn::admitted(&admitted));
    let id = admitted.agent_id.clone();
    *ran = Some(id.clone());
    // The log is a message here: standard output has the result only.
    let paint =
        Paint::choose(session.global.color, std::io::IsTerminal::is_terminal(&std::io::stderr()), &|name| {
            session.env(name)
        });
    let followed = follow::follow(client, &id, 0, Some(&server.interrupts), &mut |entry| {
        if !args.quiet {
            let text = paint.symbols(transcript::render(entry, paint));
            if !text.is_empty() {
                say(text.trim_end_matches('\n'));
            }
        }
        Ok(())
    })?;
    let agent = match followed {
        Followed::Ended(agent) => {
            if may_be_lost(&agent) {
                // The state of this run has the only copy that is known to exist.
                *ran = None;
            }
            agent
        }
        Followed::Interrupted => return Ok(interrupted(server, &id, &admitted_name(&admitted))),
    };
    finish(session, args, &agent, repository, server.local.is_none())
}

/// Tells whether the remote took a commit and has not shown it since.
fn may_be_lost(agent: &AgentView) -> bool {
    agent.publication.state == PublicationState::MayBeThere
}

fn finish(
    session: &Session,
    args: &RunArgs,
    agent: &Agent,
    repository: Option<&LocalRepository>,
    server_stays: bool,
) -> Result<Exit, Problem> {
    if session.global.json {
        session.print_json(agent)?;
    } else if server_stays {
        session.print(summary::render(agent, session.paint()))?;
    } else {
        session.print(summary::told(agent, session.paint()))?;
    }
    let exit = Exit::of_agent(&agent.status);
    if let (Some(repository), true, Exit::Ok) = (repository, args.push, exit) {
        let branch = agent.status.branch.as_deref().unwrap_or_default();
        if agent.pushed_commit.is_none() {
            say("nothing to push: the agent changed nothing");
        } else if branch.parse::<mosaic_core::domain::ids::BranchName>().is_ok() {
            repository.push(branch)?;
            say(&format!("pushed {branch} to origin"));
        }
    }
    Ok(exit)
}

/// Ends after Ctrl-C, SIGTERM or SIGHUP: with a server elsewhere the agent goes on, with one in this process it is killed.
fn interrupted(server: &Server, id: &str, name: &str) -> Exit {
    if server.local.is_none() {
        say(&format!("\nleft; the agent goes on: mosaic logs -f {name} · mosaic kill {name}"));
        return Exit::Interrupted;
    }
    say("\nstopping: the agent is killed, its work is kept");
    let body = OrderRequest { reason: Some("mosaic run was interrupted".to_owned()) };
    match server.client.post(&format!("/agents/{}/kill", escape(id)), &body) {
        Ok(_) => say(&format!("{name} was killed; do it again with the same command")),
        Err(problem) => say(problem.render().trim_end()),
    }
    Exit::Interrupted
}

/// Adds what helps when a server refuses the repository one is in.
fn explain(problem: Problem, client: &Client, local: bool) -> Problem {
    match problem {
        Problem::Api(mut api) if local && api.status == 403 && api.is(Code::PolicyDenied) => {
            let why = format!("the server {} does not take repositories by path", client.url());
            api.detail = if api.detail.is_empty() { why } else { format!("{why}: {}", api.detail) };
            let hint = "start it with MOSAIC_ALLOW_LOCAL_REPOSITORIES=true, or stop it so that this command serves by itself, or name a remote: --repo URL";
            api.hint = Some(hint.to_owned());
            Problem::Api(api)
        }
        other => other,
    }
}
