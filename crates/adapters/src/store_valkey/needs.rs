//! Requirements of a job on the node that takes it, in words that scripts compare: `r` and a mark of the repository, `t` and
//! the runtime, `l` and each label. The asker's conditions come in the same words.

use mosaic_core::domain::agent::Agent;
use mosaic_core::domain::placement::Conditions;
use sha2::{Digest, Sha256};

use super::args::Args;

/// Bytes of the mark of a repository: enough that two repositories of one fleet never have the same.
const MARK: usize = 8;

/// Returns what an agent's job needs, one word a line.
pub(super) fn needs(agent: &Agent) -> String {
    let spec = &agent.spec;
    let mut words = vec![repository(spec.context.repository.as_str())];
    words.extend(spec.runtime.as_ref().map(|name| runtime(name.as_str())));
    words.extend(spec.node_labels.iter().map(|(name, value)| label(name.as_str(), value)));
    words.join("\n")
}

/// Puts conditions together as the script takes them: how many of a repository may be leased (0 for any number), what is
/// refused, then what the node has.
pub(super) fn conditions(conditions: &Conditions) -> Args {
    let refused: Vec<String> = conditions
        .repositories
        .iter()
        .map(|name| repository(name))
        .chain(conditions.runtimes.iter().map(|name| runtime(name)))
        .chain(conditions.agents.iter().map(|agent| format!("a{agent}")))
        .collect();
    let most = conditions.repository_leases.unwrap_or(0) as u64;
    let labels: Vec<String> = conditions.labels.iter().map(|(name, value)| label(name, value)).collect();
    let list = |args: Args, words: Vec<String>| {
        let count = words.len() as u64;
        words.into_iter().fold(args.number(count), Args::long)
    };
    list(list(Args::default().number(most), refused), labels)
}

/// Returns the word of a repository.
pub(super) fn repository(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let mark: String = base16ct::lower::encode_string(&digest[..MARK]);
    format!("r{mark}")
}

fn runtime(name: &str) -> String {
    format!("t{name}")
}

fn label(name: &str, value: &str) -> String {
    format!("l{name}={value}")
}
