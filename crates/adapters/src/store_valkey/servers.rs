//! The servers that may be asked where our keys are: those that were named, and the others of their cluster as it said
//! itself. So a cluster is found again through any server that is left, when the one that was named is dead.

use std::sync::atomic::{AtomicUsize, Ordering};

use mosaic_core::limits;
use parking_lot::Mutex;
use redis::Value;

use super::address::Address;

/// The servers, in the order in which they are tried.
pub(super) struct Servers {
    named: Vec<Address>,
    learned: Mutex<Vec<Address>>,
    next: AtomicUsize,
}

impl Servers {
    /// Starts with those that were named; there is at least one.
    pub(super) fn new(named: Vec<Address>) -> Self {
        Self { named, learned: Mutex::default(), next: AtomicUsize::new(0) }
    }

    /// Returns the next one to try: each in turn, indefinitely.
    pub(super) fn next(&self) -> Address {
        let learned = self.learned.lock();
        let all: Vec<&Address> = self.named.iter().chain(learned.iter()).collect();
        all[self.next.fetch_add(1, Ordering::Relaxed) % all.len()].clone()
    }

    /// Returns how many were named.
    pub(super) fn count(&self) -> usize {
        self.named.len()
    }

    /// Takes the answer of one of them to `CLUSTER SLOTS`.
    pub(super) fn learn(&self, slots: &Value, asked: &Address) {
        let mut learned = self.learned.lock();
        learned.clear();
        for address in addresses(slots, asked) {
            if learned.len() < limits::CLUSTER_SERVERS
                && !self.named.contains(&address)
                && !learned.contains(&address)
            {
                learned.push(address);
            }
        }
    }
}

/// Reads the servers out of `[[first, last, [host, port, …], …], …]`. An empty host stands for the one that was asked.
fn addresses(slots: &Value, asked: &Address) -> Vec<Address> {
    let list = |value: &Value| match value {
        Value::Array(parts) => parts.clone(),
        _ => Vec::new(),
    };
    let server = |value: Value| {
        let parts = list(&value);
        let port = match parts.get(1)? {
            Value::Int(port) => u16::try_from(*port).ok()?,
            _ => return None,
        };
        let host = match parts.first()? {
            Value::BulkString(bytes) if !bytes.is_empty() => String::from_utf8(bytes.clone()).ok()?,
            _ => asked.0.clone(),
        };
        Some((host, port))
    };
    list(slots).iter().flat_map(|range| list(range).into_iter().skip(2)).filter_map(server).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(host: &str, port: i64) -> Value {
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), Value::BulkString("id".into())])
    }

    #[test]
    fn what_the_cluster_says_is_tried_after_what_was_named() {
        let servers = Servers::new(vec![("a".to_owned(), 1)]);
        assert_eq!((servers.next(), servers.next()), (("a".to_owned(), 1), ("a".to_owned(), 1)));
        let range = |all: Vec<Value>| Value::Array([vec![Value::Int(0), Value::Int(9)], all].concat());
        let slots =
            Value::Array(vec![range(vec![server("", 1), server("b", 2)]), range(vec![server("b", 2)])]);
        servers.learn(&slots, &("a".to_owned(), 1));
        let tried: Vec<Address> = (0..4).map(|_| servers.next()).collect();
        assert_eq!(tried.iter().filter(|one| one.0 == "b").count(), 2, "{tried:?}");
        servers.learn(&Value::Nil, &("a".to_owned(), 1));
        assert_eq!(servers.next().0, "a");
    }
}
