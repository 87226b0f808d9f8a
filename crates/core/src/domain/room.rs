//! Capacity of this machine for one more agent: its available memory and its load against their limits. Pure; the caller
//! decides when to ask again.

use serde::{Deserialize, Serialize};

/// Limits of memory and load beyond which nothing new starts.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Floors {
    /// Available memory below which nothing new starts, in bytes; 0 is no floor.
    pub memory_bytes: u64,
    /// Load average (one minute) per core above which nothing new starts beside what runs; 0 is no ceiling.
    pub load_per_core: f64,
}

/// Memory and load that the machine reports. A figure that it does not report holds nothing up.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Available memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Load average of the last minute per core.
    pub load_per_core: Option<f64>,
}

/// Says why nothing new may start, when that is so. Memory holds up everything; load does so only beside what runs, so
/// that a machine that others keep busy still gets through its queue, one agent at a time.
pub fn refuse(floors: Floors, reading: Reading, running: usize) -> Option<String> {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    if let Some(free) = reading.memory_bytes.filter(|free| *free < floors.memory_bytes) {
        return Some(format!(
            "memory: {} MiB available, {} MiB must stay free (MOSAIC_MEMORY_FLOOR_BYTES)",
            mib(free),
            mib(floors.memory_bytes)
        ));
    }
    let load =
        reading.load_per_core.filter(|load| floors.load_per_core > 0.0 && *load > floors.load_per_core);
    load.filter(|_| running > 0).map(|load| {
        format!("load: {load:.2} per core, the ceiling is {:.2} (MOSAIC_LOAD_CEILING)", floors.load_per_core)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_floor_and_each_combination() {
        let floors = Floors { memory_bytes: 100 << 20, load_per_core: 2.0 };
        let at =
            |memory: Option<u64>, load: Option<f64>| Reading { memory_bytes: memory, load_per_core: load };
        let says = |reading, running| refuse(floors, reading, running).unwrap_or_default();
        assert_eq!(says(at(None, None), 3), "");
        assert_eq!(says(at(Some(100 << 20), Some(2.0)), 3), "");
        assert!(says(at(Some((100 << 20) - 1), None), 0).starts_with("memory: 99 MiB"));
        assert!(says(at(Some(1), Some(9.0)), 0).starts_with("memory"));
        assert!(says(at(Some(1 << 40), Some(2.01)), 1).starts_with("load: 2.01"));
        assert_eq!(says(at(Some(1 << 40), Some(9.0)), 0), "", "one agent may always run");
        assert_eq!(refuse(Floors::default(), at(Some(0), Some(99.0)), 5), None, "floors of 0 are off");
    }
}
