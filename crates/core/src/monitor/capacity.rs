//! Capacity of the machine for one more agent: its newest answer, and the decision that followed from it.

use crate::domain::capacity::{self, HostLoad};
use crate::limits;
use crate::monitor::Monitor;

impl Monitor {
    /// Learns whether the machine has capacity for one more agent. One that does not answer holds nothing up, except for its
    /// disk: what cannot be written must not be started.
    pub(crate) async fn ask_machine(&self) {
        // A copy, because the lock is not held over the question: a disk that hangs would hold up every
        // reader of the newest answer.
        let mut asked = self.asked.lock().clone();
        if asked.at.is_none_or(|at| self.clocks.elapsed().saturating_sub(at) >= limits::CAPACITY_PERIOD) {
            let ask = async { tokio::join!(self.host.load(), self.disk_capacity()) };
            let (host_load, disk) = tokio::select! {
                answer = ask => answer,
                () = self.clocks.sleep(limits::CAPACITY_ANSWER) => {
                    let why = format!("no answer within {} s", limits::CAPACITY_ANSWER.as_secs());
                    (HostLoad::default(), Err(why))
                }
            };
            asked.at = Some(self.clocks.elapsed());
            asked.host_load = host_load;
            asked.disk = disk.err().map(|why| format!("disk: {why}"));
        }
        // Decided anew every time: what was started since then counts.
        asked.refusal = asked
            .disk
            .clone()
            .or_else(|| capacity::refuse(self.capacity_limits, asked.host_load, self.drivers.count()));
        *self.asked.lock() = asked;
    }

    /// Returns what the machine has against one more agent, by its newest answer.
    pub(crate) fn refusal(&self) -> Option<String> {
        self.asked.lock().refusal.clone()
    }

    /// Takes whether something holds dispatch now; tells whether that is news.
    pub(crate) fn announce(&self, is_held: bool) -> bool {
        std::mem::replace(&mut self.asked.lock().announced, is_held) != is_held
    }

    /// Returns the machine's newest load.
    pub(crate) fn host_load(&self) -> HostLoad {
        self.asked.lock().host_load
    }

    /// Checks the free disk space against its floor; says how much there is, or what to do.
    pub(crate) async fn disk_capacity(&self) -> Result<String, String> {
        let free = self.host.free_bytes().await.map_err(|e| e.to_string())?;
        let mib = |bytes: u64| bytes / (1024 * 1024);
        let floor = self.disk_floor;
        if free < floor {
            return Err(format!(
                "only {} MiB free where the state is kept, {} MiB are needed; free some space, for example with \
                 mosaic prune",
                mib(free),
                mib(floor)
            ));
        }
        Ok(format!("{} MiB free", mib(free)))
    }
}
