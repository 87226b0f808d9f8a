//! An audit log in memory, as strict as the port allows: what it answers for is checked as a chain every time.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use mosaic_core::domain::audit::{self, AuditEntry, Head, Record};
use mosaic_core::limits;
use mosaic_core::ports::audit::{Audit, AuditError, Page, Verified, Wanted};
use parking_lot::{Mutex, MutexGuard};

/// The chain's name.
const CHAIN: &str = "fake";

/// Records in memory.
#[derive(Debug, Default)]
pub struct FakeAudit {
    records: Mutex<Vec<Record>>,
    /// Nothing can be recorded any more.
    pub refuses: AtomicBool,
}

impl FakeAudit {
    fn records(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock()
    }

    /// Returns every audit entry so far as `action subject result`, for tests to compare.
    pub fn told(&self) -> Vec<String> {
        let text = |r: &Record| {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            format!("{} {} {}", r.entry.action, part(&r.entry.subject), part(&r.entry.result))
        };
        self.records().iter().map(text).collect()
    }

    /// Returns every audit entry so far.
    pub fn entries(&self) -> Vec<AuditEntry> {
        self.records().iter().map(|record| record.entry.clone()).collect()
    }
}

#[async_trait]
impl Audit for FakeAudit {
    async fn append(&self, entry: AuditEntry) -> Result<Head, AuditError> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(AuditError::Unavailable("the test said so".to_owned()));
        }
        let mut records = self.records();
        let end = records.last().map_or(Head::genesis(CHAIN), Record::head);
        let record = Record::seal(end, entry);
        let head = record.head();
        records.push(record);
        Ok(head)
    }

    fn note(&self, entry: AuditEntry) {
        if self.refuses.load(Ordering::SeqCst) {
            return;
        }
        let mut records = self.records();
        let end = records.last().map_or(Head::genesis(CHAIN), Record::head);
        records.push(Record::seal(end, entry));
    }

    async fn read(&self, wanted: Wanted) -> Result<Page, AuditError> {
        let mut page = Page { records: Vec::new(), next: None };
        let records = self.records();
        for (seen, record) in records.iter().filter(|record| record.n > wanted.after).enumerate() {
            if page.records.len() >= wanted.limit || seen >= limits::AUDIT_SCAN {
                page.next = Some(record.n - 1);
                break;
            }
            if wanted.fits(&record.entry) {
                page.records.push(record.clone());
            }
        }
        Ok(page)
    }

    async fn verify(&self) -> Result<Verified, AuditError> {
        let records = self.records();
        let checked = audit::verify(Head::genesis(CHAIN), records.iter());
        let head = *checked.as_ref().unwrap_or(&Head::genesis(CHAIN));
        Ok(Verified { chain: CHAIN.to_owned(), head, first: 1, broken: checked.err(), remarks: Vec::new() })
    }

    fn head(&self) -> Head {
        self.records().last().map_or(Head::genesis(CHAIN), Record::head)
    }
}
