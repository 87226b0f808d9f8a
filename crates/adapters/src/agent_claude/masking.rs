//! Keeps the credentials that an agent's program was given out of everything it says back to us.

use std::collections::VecDeque;
use std::sync::Arc;

use mosaic_core::limits;
use parking_lot::{Mutex, MutexGuard};

use crate::secret_scan::KnownSecrets;

/// Secrets that must never be shown. Clones share them: a login that is renewed while a conversation runs is masked in it too.
#[derive(Clone, Default)]
pub(crate) struct Secrets {
    all: Arc<Mutex<VecDeque<String>>>,
    /// Learns them too, for all that is pushed and shown.
    known: Option<Arc<KnownSecrets>>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.all().len())
    }
}

impl Secrets {
    /// Makes a list that tells what it learns.
    pub(super) fn telling(known: Option<Arc<KnownSecrets>>) -> Self {
        Self { all: Arc::default(), known }
    }

    fn all(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.all.lock()
    }

    /// Takes more values; short ones are left out, as masking them would eat ordinary words. Of very many the oldest go.
    pub(super) fn learn(&self, values: impl IntoIterator<Item = String>) {
        let mut all = self.all();
        for value in values.into_iter().filter(|value| value.len() >= 8) {
            if all.contains(&value) {
                continue;
            }
            if let Some(known) = &self.known {
                // One that is too weak to be looked for elsewhere is still masked here.
                let _ = known.register("Claude login", value.as_bytes());
            }
            if all.len() >= limits::KNOWN_TOKENS {
                all.pop_front();
            }
            all.push_back(value);
        }
    }

    /// Returns the text without them.
    pub(super) fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.all().iter() {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), "[masked]");
            }
        }
        text
    }
}
