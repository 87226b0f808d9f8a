//! The one table of settings: name, type, default, meaning, how a value is read and how the effective one is shown, one file of
//! rows per area. The lists of README and `mosaic config` are printed from it.

mod agents;
mod coordinator;
mod fleet;
mod operation;
mod service;
mod work;

use super::row::Variable;

/// Returns every setting, the contract's first.
pub(crate) fn variables() -> impl Iterator<Item = &'static Variable> {
    [service::ROWS, agents::ROWS, work::ROWS, coordinator::ROWS, fleet::ROWS, operation::ROWS]
        .into_iter()
        .flatten()
}

/// Returns the row of a variable.
pub(crate) fn find(name: &str) -> Option<&'static Variable> {
    variables().find(|row| row.name == name)
}

/// Returns the table in Markdown, as README has it.
pub(crate) fn markdown() -> String {
    let mut out = String::from("| variable | values | default | meaning |\n|---|---|---|---|\n");
    for row in variables() {
        let default = if row.default == "—" { "—".to_owned() } else { row.default.to_owned() };
        let kept = if row.contract { " (contract)" } else { "" };
        out.push_str(&format!("| `{}` | {} | {default} | {}{kept} |\n", row.name, row.kind, row.meaning));
    }
    out
}
