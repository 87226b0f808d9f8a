//! Real git passes the conformance suite of the repositories' five parts.

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_adapters::git::{GitOptions, GitRepositories};
use mosaic_core::ports::repositories::{
    Commits, HarvestJob, Intake, KeptWork, Publisher, TreeRequest, Trees,
};
use mosaic_testkit::repositories_suite::Ground;

use super::world::World;

/// A remote and real git, as the other tests have them, and the same adapter once more behind the parts.
struct Real {
    world: World,
    git: Arc<GitRepositories>,
}

fn ground() -> Real {
    let world = World::new();
    let mut options = GitOptions::new(world.data(), crate::programs::example("shim"));
    options.allow_local = true;
    let git = Arc::new(GitRepositories::new(options).expect("the data directory can be made"));
    Real { world, git }
}

#[async_trait]
impl Ground for Real {
    fn trees(&self) -> Arc<dyn Trees> {
        self.git.clone()
    }
    fn intake(&self) -> Arc<dyn Intake> {
        self.git.clone()
    }
    fn commits(&self) -> Arc<dyn Commits> {
        self.git.clone()
    }
    fn publisher(&self) -> Arc<dyn Publisher> {
        self.git.clone()
    }
    fn kept_work(&self) -> Arc<dyn KeptWork> {
        self.git.clone()
    }
    async fn request(&self) -> TreeRequest {
        let request = self.world.agent().await;
        self.git.remove(request.agent).await.expect("the suite makes the tree itself");
        request
    }
    fn edit(&self, request: &TreeRequest) {
        self.world.write(request, "README.md", "changed by its agent\n");
    }
    fn run(&self, request: &TreeRequest, job: &HarvestJob) {
        self.world.run_job(request, job);
    }
}

mosaic_testkit::repositories_suite!(ground());
