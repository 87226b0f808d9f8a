//! Lists of agents, read page by page.

use mosaic_api::Page;

use crate::client::{Client, escape};
use crate::problem::Problem;
use crate::sent::Agent;

/// Agents of one page.
pub(super) const PAGE: usize = 200;

/// Reads agents page by page. `filters` is the rest of the query, each part with its `&`.
pub(super) fn list(client: &Client, filters: &str, most: usize) -> Result<Vec<Agent>, Problem> {
    let mut agents: Vec<Agent> = Vec::new();
    let mut cursor = String::new();
    while agents.len() < most {
        let limit = PAGE.min(most - agents.len());
        let page = client.get::<Page<Agent>>(&format!("/v1/agents?limit={limit}{filters}{cursor}"))?;
        let next = page.next_cursor.as_deref().map(|cursor| format!("&cursor={}", escape(cursor)));
        let done = page.items.is_empty();
        agents.extend(page.items.iter().cloned());
        match next {
            Some(next) if !done => cursor = next,
            _ => break,
        }
    }
    agents.truncate(most);
    Ok(agents)
}
