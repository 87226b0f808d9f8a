//! Check that this machine has capacity for one more agent, made before anything is taken from the queue. Below a floor
//! nothing new starts; the dispatcher's own period asks again, so it resumes by itself.

use crate::domain::room::{self, Reading};
use crate::limits;
use crate::orchestrator::Orchestrator;

impl Orchestrator {
    /// Says why nothing new may start now, when that is so. A machine that does not answer holds nothing up, except for
    /// its disk: what cannot be written must not be started.
    pub(crate) async fn held_up(&self) -> Option<String> {
        let mut asked = self.monitor.room.0.lock().clone();
        if asked.at.is_none_or(|at| self.elapsed().saturating_sub(at) >= limits::ROOM_PERIOD) {
            let ask = async { tokio::join!(self.ports.host.reading(), self.disk_room()) };
            let (reading, disk) = tokio::select! {
                answer = ask => answer,
                () = self.ports.clock.sleep(limits::ROOM_ANSWER) => {
                    let why = format!("no answer within {} s", limits::ROOM_ANSWER.as_secs());
                    (Reading::default(), Err(why))
                }
            };
            asked.at = Some(self.elapsed());
            asked.reading = reading;
            asked.disk = disk.err().map(|why| format!("disk: {why}"));
        }
        // Decided anew every time: what was started since then counts.
        let refusal = self
            .clocks
            .fault()
            .or_else(|| asked.disk.clone())
            .or_else(|| room::refuse(self.settings.floors, asked.reading, self.running()));
        if refusal.is_some() != asked.refusal.is_some() {
            match &refusal {
                Some(why) => tracing::warn!(why, "nothing new is started"),
                None => tracing::info!("there is room again; agents are started"),
            }
        }
        asked.refusal.clone_from(&refusal);
        *self.monitor.room.0.lock() = asked;
        refusal
    }

    /// Returns the newest answer without asking again: why nothing starts, and what the machine said.
    pub fn room(&self) -> (Option<String>, Reading) {
        let unread = self.orders.unread().map(|why| format!("orders: {why}"));
        let asked = self.monitor.room.0.lock();
        (unread.or_else(|| self.clocks.fault()).or_else(|| asked.refusal.clone()), asked.reading)
    }
}
