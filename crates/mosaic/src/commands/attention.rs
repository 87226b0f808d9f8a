//! `mosaic attention` and `mosaic answer`: decisions that people are asked for, and the answers; never from an agent.

use mosaic_api::{AttentionAnswer, AttentionAnswered, OpenAttention, Page};

use crate::cli::AnswerArgs;
use crate::client::{Client, escape};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::resolve;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::Session;
use crate::table::{Column, column, render, tabs};
use crate::view::{now, span, time};

/// A decision as it was sent.
type Open = Sent<OpenAttention>;

/// Runs `mosaic attention`.
pub(super) fn list(session: &Session) -> Result<Exit, Problem> {
    let open = open_decisions(&session.client()?)?;
    if session.global.json {
        session.print_json(&serde_json::json!({"items": open}))?;
    } else if session.terminal.out {
        session.print(show(&open, session.terminal.width, session.paint()))?;
    } else {
        let titles = ["id", "agentId", "name", "kind", "since", "answers", "message"];
        let row = |one: &Open| {
            vec![
                sanitize::line(&one.id),
                sanitize::line(&one.agent_id),
                sanitize::line(&one.name),
                one.kind.to_string(),
                sanitize::line(&one.since),
                answers(one),
                sanitize::line(&one.message),
            ]
        };
        session.print(tabs(&titles, &open.iter().map(row).collect::<Vec<_>>()))?;
    }
    Ok(Exit::Ok)
}

/// Reads the list page by page.
fn open_decisions(client: &Client) -> Result<Vec<Open>, Problem> {
    let (mut open, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get::<Page<Open>>(&format!("/v1/attention?limit=200{cursor}"))?;
        open.extend(page.items.iter().cloned());
        match page.next_cursor.as_deref().filter(|_| !page.items.is_empty()) {
            Some(next) => cursor = format!("&cursor={}", escape(next)),
            None => return Ok(open),
        }
    }
}

fn answers(one: &OpenAttention) -> String {
    one.answers.iter().map(AttentionAnswer::to_string).collect::<Vec<_>>().join(",")
}

const COLUMNS: [Column; 5] =
    [column("AGENT"), column("KIND"), column("WAITING").right(), column("ANSWERS").from(60), column("WHY")];

fn show(open: &[Open], width: Option<usize>, paint: crate::color::Paint) -> String {
    if open.is_empty() {
        return "nothing needs you\n".to_owned();
    }
    let at = now();
    let row = |one: &Open| {
        let since = time(&one.since).map_or(String::new(), |since| span(at.since(since)));
        vec![
            sanitize::line(&one.name),
            one.kind.to_string(),
            since,
            answers(one),
            sanitize::line(&one.message),
        ]
    };
    let rows: Vec<Vec<String>> = open.iter().map(row).collect();
    let mut out = render(&COLUMNS, &rows, width, 0, paint, &|_, _, shown| shown);
    for one in open {
        out.push_str(&format!("{}: {}\n", sanitize::line(&one.name), sanitize::line(&one.next)));
    }
    out.push_str("answer: mosaic answer AGENT ANSWER\n");
    out
}

/// Runs `mosaic answer`.
pub(super) fn answer(session: &Session, args: &AnswerArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        let hint = Some("ask the operator".to_owned());
        return Err(Problem::NotAllowed { what: "answers are not for agents".to_owned(), hint });
    }
    let client = session.client()?;
    let agent = || Ok(resolve::agent(&client, &args.decision)?.status.agent_id.clone());
    let id = meant(&args.decision, agent, || open_decisions(&client))?;
    let body = mosaic_api::AnswerRequest { answer: args.answer.into(), reason: args.reason.clone() };
    let path = format!("/v1/attention/{}/answer", escape(&id));
    let answered = client.post(&path, &body).map_err(of_command_line)?.read::<AttentionAnswered>()?;
    if session.global.json {
        session.print_json(&answered)?;
    } else {
        let name = crate::view::name_of(&answered.agent.name, &answered.agent.agent_id);
        let was = if answered.changed { "answered" } else { "was answered already" };
        session.print(format!("{name}  {was}: {}\n", answered.answer))?;
    }
    Ok(Exit::Ok)
}

/// Names the command that lists open decisions where the server, which knows no command line, names its route.
fn of_command_line(problem: Problem) -> Problem {
    match problem {
        Problem::Api(mut refused)
            if matches!(refused.code.as_str(), "attention_closed" | "attention_not_found") =>
        {
            refused.hint = Some("nothing was done; all open ones: mosaic attention".to_owned());
            Problem::Api(refused)
        }
        other => other,
    }
}

/// Finds the decision that is meant: by its whole name, which needs no look-up, or by its agent when that has just one.
fn meant(
    typed: &str,
    agent: impl FnOnce() -> Result<String, Problem>,
    open: impl FnOnce() -> Result<Vec<Open>, Problem>,
) -> Result<String, Problem> {
    if typed.contains('.') {
        return Ok(typed.to_owned());
    }
    let (agent, open) = (agent()?, open()?);
    let found: Vec<&Open> = open.iter().filter(|one| one.agent_id == agent).collect();
    let shown = sanitize::cut(&sanitize::line(typed), 80);
    match found.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(Problem::NotFound {
            what: format!("agent \"{shown}\" has no open decision"),
            hint: Some("all of them: mosaic attention".to_owned()),
        }),
        several => {
            let ids: String = several.iter().map(|one| format!("\n  {}", sanitize::line(&one.id))).collect();
            let what = format!("\"{shown}\" has {} open decisions:{ids}", several.len());
            Err(Problem::usage_hint(what, "name one of them"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::{ColorChoice, Paint};
    use serde_json::json;

    fn open(kind: &str) -> Open {
        let one = json!({
            "id": format!("a.{kind}.1"), "agentId": "a", "name": "fix-7d0c", "taskId": "US-1", "node": null, "kind": kind,
            "since": "", "message": "no output\u{7}", "next": "look", "answers": ["wait", "kill"],
        });
        Sent::read(one).unwrap()
    }

    #[test]
    fn decisions_are_a_table_with_the_next_step_below() {
        let paint = || Paint::choose(ColorChoice::Never, false, &|_| None);
        assert_eq!(
            show(&[open("stalled")], Some(120), paint()),
            "AGENT     KIND     WAITING  ANSWERS    WHY\nfix-7d0c  stalled           wait,kill  no output\\x07\nfix-7d0c: look\nanswer: mosaic answer AGENT ANSWER\n"
        );
        assert_eq!(show(&[], None, paint()), "nothing needs you\n");
    }

    #[test]
    fn an_agent_with_one_decision_names_it() {
        let agent = || Ok("a".to_owned());
        assert_eq!(meant("fix", agent, || Ok(vec![open("quota")])).unwrap(), "a.quota.1");
        let whole = meant("a.quota.1", || unreachable!("no look-up"), || unreachable!("no look-up"));
        assert_eq!(whole.unwrap(), "a.quota.1");
        let two = meant("a", agent, || Ok(vec![open("quota"), open("stalled")])).unwrap_err();
        assert!(two.to_string().contains("a.stalled.1"), "{two}");
        assert!(meant("a", agent, || Ok(Vec::new())).unwrap_err().to_string().contains("no open decision"));
        let of_another = meant("other", || Ok("b".to_owned()), || Ok(vec![open("quota")]));
        assert!(of_another.is_err());
    }
}
