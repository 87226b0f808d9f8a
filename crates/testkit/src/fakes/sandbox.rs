//! A sandbox that confines nothing and leads nowhere.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::domain::outcome::Failure;
use mosaic_core::ports::sandbox::{Confinement, Sandbox};

use super::knobs::Broken;
use super::world::Part;

#[async_trait]
impl Sandbox for Part {
    fn name(&self) -> &'static str {
        "fake"
    }
    async fn confine(&self, _: AgentId) -> Result<Confinement, Failure> {
        self.0.knobs.works(self.1.as_str(), Broken::Sandbox)?;
        let nowhere = PathBuf::from("/nonexistent");
        Ok(Confinement { home: nowhere.clone(), config: nowhere, env: Vec::new(), wrap: Vec::new() })
    }
    async fn staging(&self, _: AgentId) -> Result<PathBuf, Failure> {
        Ok(PathBuf::from("/nonexistent"))
    }
    async fn place(&self, _: AgentId, _: &Path, _: &str) -> Result<(), Failure> {
        Ok(())
    }
    async fn release(&self, _: AgentId) -> Result<(), Failure> {
        Ok(())
    }
}
