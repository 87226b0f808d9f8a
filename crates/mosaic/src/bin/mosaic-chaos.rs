//! The whole product with failpoints around its ports, for the chaos suite: `MOSAIC_CHAOS` says which step breaks and
//! how, `MOSAIC_CHAOS_TRACE` where the steps are written down. Built with the feature `chaos` only.

use std::process::ExitCode;
use std::sync::{Arc, LazyLock};

use mosaic_testkit::failpoints::{self, Plan};

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| match Plan::from_env() {
    Ok(plan) => Arc::new(plan),
    Err(why) => {
        eprintln!("error: {why}");
        std::process::exit(2);
    }
});

fn main() -> ExitCode {
    mosaic::main_with(mosaic::PortWrappers {
        processes: |processes| failpoints::processes(&PLAN, processes),
        ports: |ports| failpoints::ports(&PLAN, ports),
    })
}
