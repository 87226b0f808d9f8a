//! `mosaic audit`: who did what; whether the log is whole; its newest record and all of it, to be kept elsewhere. Reads
//! the state directory itself, so that it works without a server, or asks the server that was named with `--url`.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use mosaic_adapters::audit_file::{Chain, read, verify};
use mosaic_api::{AuditEntry, AuditHead, AuditPage, AuditVerified};
use mosaic_core::domain::ids::Timestamp;
use mosaic_core::limits;
use mosaic_core::ports::audit::{Verified, Wanted};
use serde_json::json;

use crate::cli::{AuditAction, AuditArgs, AuditFilter};
use crate::client::escape;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::sanitize;
use crate::sent::Sent;
use crate::session::{Session, say};
use crate::table::tabs;
use crate::view::shown;

/// Runs the command.
pub(super) fn run(session: &Session, args: &AuditArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        return Err(Problem::NotAllowed { what: "the audit log is not for agents".to_owned(), hint: None });
    }
    match &args.action {
        None => list(session, &args.filter),
        Some(AuditAction::List(filter)) => list(session, filter),
        Some(AuditAction::Verify) => check(session),
        Some(AuditAction::Head) => head(session),
        Some(AuditAction::Export) => export(session),
    }
}

/// Where the log is read: the files, unless a server was named.
enum Source {
    Files(PathBuf),
    Server(crate::client::Client),
}

fn source(session: &Session) -> Result<Source, Problem> {
    match session.place()? {
        Some(place) if place.explicit => Ok(Source::Server(session.client()?)),
        _ => Ok(Source::Files(session.data_dir()?)),
    }
}

fn unreadable(e: std::io::Error) -> Problem {
    Problem::from(anyhow::Error::new(e).context("the audit log cannot be read"))
}

fn chains(data: &std::path::Path) -> Result<Vec<Chain>, Problem> {
    let chains = Chain::all(data).map_err(unreadable)?;
    if chains.is_empty() {
        let what = format!("there is no audit log in {}", data.display());
        return Err(Problem::NotFound {
            what,
            hint: Some("the first start of the server makes it: mosaic serve".to_owned()),
        });
    }
    Ok(chains)
}

/// Hands every wanted record to `each`, chain by chain, in order.
fn every(
    source: &Source,
    filter: &AuditFilter,
    mut each: impl FnMut(&str, Entry) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let since = filter.since.as_deref().map(since).transpose()?;
    match source {
        Source::Files(data) => {
            for chain in chains(data)? {
                let mut wanted = Wanted {
                    after: 0,
                    limit: limits::STORE_PAGE,
                    actor: filter.actor.clone(),
                    action: filter.action.clone(),
                    since,
                };
                loop {
                    let page = read(&chain, &wanted).map_err(unreadable)?;
                    for record in &page.records {
                        each(chain.name(), entry(&record.line())?)?;
                    }
                    let Some(next) = page.next else { break };
                    wanted.after = next;
                }
            }
        }
        Source::Server(client) => {
            let mut path = "/v1/audit?after=0".to_owned();
            for (name, value) in [("actor", &filter.actor), ("action", &filter.action)] {
                path.extend(value.as_ref().map(|value| format!("&{name}={}", escape(value))));
            }
            path.extend(since.map(|since| format!("&since={}", escape(&since.to_rfc3339()))));
            let lines = BufReader::new(client.stream(&path, "application/x-ndjson")?).lines();
            for line in lines {
                let line = line.map_err(unreadable)?;
                each("server", entry(&line)?)?;
            }
        }
    }
    Ok(())
}

/// A record as it stands in the log.
type Entry = Sent<AuditEntry>;

fn entry(line: &str) -> Result<Entry, Problem> {
    serde_json::from_str(line).map_err(|e| unreadable(e.into()))
}

/// Reads a time, or how long ago it was.
pub(super) fn since(text: &str) -> Result<Timestamp, Problem> {
    if let Ok(at) = Timestamp::from_rfc3339(text) {
        return Ok(at);
    }
    let ago = humantime::parse_duration(text).map_err(|_| {
        Problem::usage(format!(
            "--since {}: write it as 2h, 7d or 2026-11-22T10:04:09Z",
            sanitize::line(text)
        ))
    })?;
    let now = Timestamp::from(std::time::SystemTime::now());
    Ok(Timestamp(now.0.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))))
}

fn list(session: &Session, filter: &AuditFilter) -> Result<Exit, Problem> {
    let mut newest: VecDeque<(String, Entry)> = VecDeque::new();
    every(&source(session)?, filter, |chain, record| {
        newest.push_back((chain.to_owned(), record));
        Ok(())
    })?;
    newest.make_contiguous().sort_by_key(|(chain, record)| (record.at.clone(), chain.clone(), record.n));
    let skip = newest.len().saturating_sub(filter.limit);
    let listed: Vec<_> = newest.into_iter().skip(skip).collect();
    if session.global.json {
        let items: Vec<Entry> = listed.into_iter().map(|(_, record)| record).collect();
        session.print_json(&items)?;
        return Ok(Exit::Ok);
    }
    let titles = ["n", "at", "actor", "action", "subject", "result", "reason"];
    let row = |(_, record): &(String, Entry)| {
        vec![
            record.n.to_string(),
            sanitize::line(&record.at),
            sanitize::line(&record.actor),
            sanitize::line(&record.action),
            shown(&record.subject),
            shown(&record.result),
            shown(&record.reason),
        ]
    };
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    session.print(tabs(&titles, &rows))?;
    if skip > 0 {
        say(&format!("{skip} older ones are not shown; see --limit, or: mosaic audit export"));
    }
    Ok(Exit::Ok)
}

fn check(session: &Session) -> Result<Exit, Problem> {
    let all: Vec<Verified> = match source(session)? {
        Source::Files(data) => {
            let checked = chains(&data)?.iter().map(|chain| verify(chain, None)).collect::<Result<_, _>>();
            checked.map_err(unreadable)?
        }
        Source::Server(client) => {
            let answer = client.get::<AuditVerified>("/v1/audit/verify")?;
            vec![serde_json::from_value(answer.json().clone()).map_err(|e| unreadable(e.into()))?]
        }
    };
    let broken = all.iter().any(|verified| verified.broken.is_some());
    if session.global.json {
        session.print_json(&json!({"ok": !broken, "chains": all}))?;
    } else {
        session.print(all.iter().map(render).collect())?;
    }
    Ok(if broken { Exit::Error } else { Exit::Ok })
}

fn render(verified: &Verified) -> String {
    let chain = sanitize::line(&verified.chain);
    let mut out = match &verified.broken {
        Some(broken) => format!("{chain}  BROKEN at record {}: {}\n", broken.n, sanitize::line(&broken.why)),
        None if verified.head.n == 0 => format!("{chain}  whole: no records yet\n"),
        None => format!(
            "{chain}  whole: records {} to {}, newest hash {}\n",
            verified.first, verified.head.n, verified.head.hash
        ),
    };
    for remark in &verified.remarks {
        out.push_str(&format!("  note: {}\n", sanitize::line(remark)));
    }
    out
}

/// Prints number and hash of the newest record of each chain: kept elsewhere, they show a log that was made anew.
fn head(session: &Session) -> Result<Exit, Problem> {
    let heads: Vec<(String, AuditHead)> = match source(session)? {
        Source::Files(data) => {
            let mut heads = Vec::new();
            for chain in chains(&data)? {
                let verified = verify(&chain, None).map_err(unreadable)?;
                if let Some(broken) = verified.broken {
                    let what = format!("the log {} does not hold: {broken}", chain.name());
                    return Err(Problem::Other(anyhow::anyhow!("{what}; see: mosaic audit verify")));
                }
                heads.push((
                    verified.chain,
                    AuditHead { hash: verified.head.hash.to_string(), n: verified.head.n },
                ));
            }
            heads
        }
        Source::Server(client) => {
            let answer = client.get::<AuditPage>("/v1/audit?limit=1")?;
            vec![("server".to_owned(), answer.head.clone())]
        }
    };
    if session.global.json {
        let map: BTreeMap<String, AuditHead> = heads.into_iter().collect();
        session.print_json(&map)?;
    } else {
        let line = |(chain, head): &(String, AuditHead)| {
            format!("{}\t{}\t{}\n", sanitize::line(chain), head.n, sanitize::line(&head.hash))
        };
        session.print(heads.iter().map(line).collect())?;
    }
    Ok(Exit::Ok)
}

/// Prints every record as it stands in the files, which is what the hashes are over.
fn export(session: &Session) -> Result<Exit, Problem> {
    every(&source(session)?, &AuditFilter::default(), |_, record| {
        session.print_raw(format!("{}\n", record.json()).as_bytes())
    })?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mosaic_core::domain::audit::{Action, AuditEntry, Broken, Head, Record};

    #[test]
    fn an_exported_record_is_the_line_of_the_file() {
        let killed = AuditEntry::new(Action::Kill, "operator", Timestamp(1_795_341_849_112))
            .reason(Some("é\u{7}\"\n"));
        let record = Record::seal(Head::genesis("n"), killed);
        assert_eq!(entry(&record.line()).unwrap().json().to_string(), record.line());
    }

    #[test]
    fn a_check_names_the_first_bad_record() {
        let mut verified = Verified {
            chain: "laptop".to_owned(),
            head: Head::genesis("laptop"),
            first: 1,
            broken: None,
            remarks: vec!["record 4: audit-healed: a line\u{7}".to_owned()],
        };
        assert_eq!(
            render(&verified),
            "laptop  whole: no records yet\n  note: record 4: audit-healed: a line\\x07\n"
        );
        verified.broken = Some(Broken::new(12, "it is missing"));
        assert!(render(&verified).starts_with("laptop  BROKEN at record 12: it is missing\n"));
    }

    #[test]
    fn a_time_may_be_an_age() {
        assert_eq!(since("2026-11-22T10:04:09Z").unwrap(), Timestamp(1_795_341_849_000));
        assert!(since("2h").unwrap() < Timestamp::from(std::time::SystemTime::now()));
        assert!(since("yesterday").is_err());
    }
}
