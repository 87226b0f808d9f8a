//! `mosaic token`: where the token is, and with `--show` the token itself.

use serde_json::json;

use crate::cli::TokenArgs;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::Session;

/// Runs the command.
pub(super) fn run(session: &Session, args: &TokenArgs) -> Result<Exit, Problem> {
    if session.in_agent() {
        return Err(Problem::NotAllowed { what: "the token is not for agents".to_owned(), hint: None });
    }
    let file = match &session.global.token_file {
        Some(file) => file.clone(),
        None => session.data_dir()?.join("token"),
    };
    if args.show {
        let token = session.token()?.ok_or_else(|| Problem::NotFound {
            what: format!("there is no token at {}", file.display()),
            hint: Some("the first start of the server makes it: mosaic serve".to_owned()),
        })?;
        // The one place that prints a secret: the caller asked for exactly this.
        session.print_raw(format!("{}\n", token.expose()).as_bytes())?;
        return Ok(Exit::Ok);
    }
    if session.global.json {
        session.print_json(&json!({"path": file.display().to_string(), "exists": file.exists()}))?;
    } else {
        session.print(format!("{}\n", file.display()))?;
    }
    Ok(Exit::Ok)
}
