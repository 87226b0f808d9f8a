//! The one owner of the question why nothing new starts on this node. The dispatcher asks it before anything is taken from the
//! queue; `GET /v1/state`, `/health/ready`, the queue's reasons and the heartbeat show its newest answer.

use crate::domain::orders::Latch;
use crate::orchestrator::Orchestrator;
use crate::ports::fleet::Cordon;

/// Reason why this node starts nothing new. Each ends by itself or by an order; none changes what runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Blocked {
    /// The server is stopping.
    Draining,
    /// The kill switch is engaged.
    KillSwitch(Latch),
    /// The standing orders are not known, for a reason when there is one.
    OrdersUnknown(Option<String>),
    /// The node is out of service.
    Cordoned(Cordon),
    /// This machine's clock is wrong.
    Clock(String),
    /// This machine has no capacity for one more agent.
    Capacity(String),
}

impl Blocked {
    /// Returns the reason for people, as a lower-case fragment.
    pub fn message(&self) -> String {
        let because = |reason: &Option<String>| reason.as_ref().map(|r| format!(": {r}")).unwrap_or_default();
        match self {
            Self::Draining => "the server is stopping; the next one continues".to_owned(),
            Self::KillSwitch(latch) => {
                format!("the kill switch is engaged by {}{}", latch.by, because(&latch.reason))
            }
            Self::OrdersUnknown(why) => format!("orders: {}", why.as_deref().unwrap_or("not read yet")),
            Self::Cordoned(cordon) => {
                format!("this node is cordoned by {}{}", cordon.by, because(&cordon.reason))
            }
            Self::Clock(why) | Self::Capacity(why) => why.clone(),
        }
    }
}

impl Orchestrator {
    /// Returns why nothing new starts here, as far as is known without asking the machine again. A pause of the queue stands in
    /// the store, which gives no entry out while it lasts.
    pub fn blocked(&self) -> Option<Blocked> {
        self.is_draining().then_some(Blocked::Draining).or_else(|| self.order_or_machine_blocks())
    }

    /// Returns what blocks the dispatcher. That new agents are refused does not: what was admitted before that still runs, and
    /// the dispatcher itself is told when to stop.
    fn order_or_machine_blocks(&self) -> Option<Blocked> {
        if let Some(latch) = self.orders.latch() {
            return Some(Blocked::KillSwitch(latch));
        }
        if let Some(why) = self.orders.unread() {
            return Some(Blocked::OrdersUnknown(Some(why)));
        }
        if !self.orders.are_known() {
            return Some(Blocked::OrdersUnknown(None));
        }
        self.fleet.cordoned().map(Blocked::Cordoned).or_else(|| self.machine_blocks())
    }

    /// Returns what the machine has against one more agent, by its newest answer.
    fn machine_blocks(&self) -> Option<Blocked> {
        let refusal = || self.monitor.refusal().map(Blocked::Capacity);
        self.clocks.fault().map(Blocked::Clock).or_else(refusal)
    }

    /// Tells whether the dispatcher may take an entry now; asks the machine again when its answer is old.
    pub(crate) async fn may_take(&self) -> bool {
        let machine = |blocked: &Blocked| matches!(blocked, Blocked::Clock(_) | Blocked::Capacity(_));
        // The machine is asked only when nothing else stands in the way: a kill switch may stay engaged for
        // days, and each question costs a look at load and disk.
        if self.order_or_machine_blocks().is_some_and(|blocked| !machine(&blocked)) {
            return false;
        }
        self.monitor.ask_machine().await;
        let blocked = self.order_or_machine_blocks();
        let is_held = blocked.is_some();
        if self.monitor.announce(is_held) {
            match &blocked {
                Some(blocked) => tracing::warn!(why = blocked.message(), "nothing new is started"),
                None => tracing::info!("there is capacity again; agents are started"),
            }
        }
        !is_held
    }
}
