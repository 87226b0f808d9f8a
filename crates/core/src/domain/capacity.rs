//! Capacity of this machine for one more agent: its available memory and its load against their limits. Pure; the caller
//! decides when to ask again.

use serde::{Deserialize, Serialize};

/// Limits of memory and load beyond which nothing new starts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CapacityLimits {
    /// Available memory below which nothing new starts, in bytes; 0 is no floor.
    pub memory_bytes: u64,
    /// Load average (one minute) per core above which nothing new starts beside what runs; 0 is no ceiling.
    pub load_per_core: f64,
}

/// Memory and load that the machine reports. A figure that it does not report holds nothing up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostLoad {
    /// Available memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Load average of the last minute per core.
    pub load_per_core: Option<f64>,
}

/// Says why nothing new may start, when that is so. Memory holds up everything; load does so only beside what runs, so
/// that a machine that others keep busy still gets through its queue, one agent at a time.
pub fn refuse(limits: CapacityLimits, host_load: HostLoad, running: usize) -> Option<String> {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    if let Some(free) = host_load.memory_bytes.filter(|free| *free < limits.memory_bytes) {
        return Some(format!(
            "memory: {} MiB available, {} MiB must stay free (MOSAIC_MEMORY_FLOOR_BYTES)",
            mib(free),
            mib(limits.memory_bytes)
        ));
    }
    let load =
        host_load.load_per_core.filter(|load| limits.load_per_core > 0.0 && *load > limits.load_per_core);
    load.filter(|_| running > 0).map(|load| {
        format!("load: {load:.2} per core, the ceiling is {:.2} (MOSAIC_LOAD_CEILING)", limits.load_per_core)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_and_each_combination() {
        let limits = CapacityLimits { memory_bytes: 100 << 20, load_per_core: 2.0 };
        let at =
            |memory: Option<u64>, load: Option<f64>| HostLoad { memory_bytes: memory, load_per_core: load };
        let says = |host_load, running| refuse(limits, host_load, running).unwrap_or_default();
        assert_eq!(says(at(None, None), 3), "");
        assert_eq!(says(at(Some(100 << 20), Some(2.0)), 3), "");
        assert!(says(at(Some((100 << 20) - 1), None), 0).starts_with("memory: 99 MiB"));
        assert!(says(at(Some(1), Some(9.0)), 0).starts_with("memory"));
        assert!(says(at(Some(1 << 40), Some(2.01)), 1).starts_with("load: 2.01"));
        assert_eq!(says(at(Some(1 << 40), Some(9.0)), 0), "", "one agent may always run");
        assert_eq!(
            refuse(CapacityLimits::default(), at(Some(0), Some(99.0)), 5),
            None,
            "limits of 0 are off"
        );
    }
}
