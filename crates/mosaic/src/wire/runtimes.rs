//! The adapters of the runtimes, made from the configuration. Belongs to `wire.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mosaic_adapters::agent_claude::{ClaudeOptions, ClaudeRuntime};
use mosaic_adapters::agent_command::CommandRuntime;
use mosaic_adapters::agent_demo::DemoRuntime;
use mosaic_adapters::disk::OffThread;
use mosaic_adapters::secret_scan::KnownSecrets;
use mosaic_core::ports::runtime::Runtime;

use crate::config::Config;
use crate::config::runtimes::{RUNTIMES, RuntimeKind};

/// Makes every runtime that can be made with these settings, by its name.
pub(super) fn all(
    config: &Config,
    self_exe: &Path,
    path_env: &str,
    known: &Arc<KnownSecrets>,
) -> BTreeMap<String, Arc<dyn Runtime>> {
    let make = |kind| -> Option<Arc<dyn Runtime>> {
        Some(match kind {
            RuntimeKind::Claude => {
                let claude = claude(config, path_env, known);
                // A login that cannot be read is told by whoever needs it: the probe of the runtime, and the start of an agent.
                let _ = claude.learn();
                Arc::new(claude)
            }
            RuntimeKind::Command => Arc::new(CommandRuntime::new(config.command.clone()?, Vec::new())),
            RuntimeKind::Demo => Arc::new(DemoRuntime::new(self_exe.to_owned())),
        })
    };
    let made = RUNTIMES.iter().filter_map(|row| Some((row.name.to_owned(), make(row.kind)?)));
    made.map(|(name, runtime)| (name, Arc::new(OffThread::<dyn Runtime>::new(runtime)) as _)).collect()
}

/// Makes the runtime of Claude Code, which tells these known values its key and the tokens of its login.
pub(super) fn claude(config: &Config, path_env: &str, known: &Arc<KnownSecrets>) -> ClaudeRuntime {
    ClaudeRuntime::new(ClaudeOptions {
        program: config.claude_bin.clone(),
        path_env: path_env.to_owned(),
        api_key: config.claude_api_key.as_ref().map(|key| key.expose().to_owned()),
        login_dir: config.claude_login.clone(),
        upstream: config.model_upstream.clone(),
        default_model: None,
        known: Some(Arc::clone(known)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_runtime_is_made_under_the_name_that_its_adapter_has() {
        let mut config = Config::defaults("/data".into());
        config.command = Some("true".to_owned());
        let all = all(&config, Path::new("/program"), "", &Arc::default());
        assert_eq!(all.len(), RUNTIMES.len());
        for (name, runtime) in &all {
            assert_eq!(name, runtime.name());
        }
    }
}
