//! `mosaic config`: every variable with its effective value and where it comes from. Secrets are never shown.

use serde_json::{Value, json};

use crate::cli::ConfigArgs;
use crate::config::row::Variable;
use crate::config::table::{markdown, variables};
use crate::config::{Config, ConfigError, unknown_names};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::session::{Session, say};
use crate::table::{column, render};

/// Runs the command. Exit code 2 when the server would not start with this environment.
pub(super) fn run(session: &Session, args: &ConfigArgs) -> Result<Exit, Problem> {
    if args.markdown {
        session.print_raw(markdown().as_bytes())?;
        return Ok(Exit::Ok);
    }
    let (config, faults) = Config::faults(&|name| session.env(name));
    let mut warnings = unknown_names(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()));
    warnings.extend(config.unread_warnings());
    let flag = session.global.data_dir.is_some();
    if session.global.json {
        session.print_json(&as_json(&config, &faults, &warnings, flag))?;
    } else {
        let rows: Vec<Vec<String>> = variables()
            .map(|row| {
                let value = (row.show)(&config).map_or_else(|| "—".to_owned(), |v| crate::sanitize::line(&v));
                vec![row.name.to_owned(), value, origin(&config, row, flag), row.meaning.to_owned()]
            })
            .collect();
        let columns = [column("VARIABLE"), column("VALUE"), column("FROM"), column("MEANING").from(100)];
        session.print(render(
            &columns,
            &rows,
            session.terminal.width,
            0,
            session.paint(),
            &|_, _, shown| shown,
        ))?;
        for fault in &faults {
            say(Problem::Config(fault.clone()).render().trim_end());
        }
        warnings.iter().for_each(|warning| say(&format!("warning: {warning}")));
    }
    Ok(if faults.is_empty() { Exit::Ok } else { Exit::Usage })
}

fn origin(config: &Config, row: &Variable, data_dir_flag: bool) -> String {
    if data_dir_flag && row.name == "MOSAIC_DATA_DIR" {
        return "--data-dir".to_owned();
    }
    // A value that stands under the old name of a setting came from there.
    let old = row.old_name.and_then(|old| config.origins.get(old));
    config.origins.get(row.name).or(old).cloned().unwrap_or_else(|| "default".to_owned())
}

fn as_json(config: &Config, faults: &[ConfigError], warnings: &[String], flag: bool) -> Value {
    let rows: Vec<Value> = variables()
        .map(|row| {
            json!({
                "name": row.name, "value": (row.show)(config), "origin": origin(config, row, flag), "type": row.kind,
                "default": row.default, "meaning": row.meaning, "secret": row.secret, "contract": row.contract, "since": row.since,
            })
        })
        .collect();
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    json!({"variables": rows, "errors": faults, "warnings": warnings})
}
