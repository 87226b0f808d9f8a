//! The list of allowed findings in the body of a retry.

use serde_json::Value;

use super::reader::{FieldError, Reader, check_prose};
use crate::domain::secrets::{AllowedSecret, Fingerprint};
use crate::limits;

impl AllowedSecret {
    /// Reads a list of allowed findings, each a fingerprint with a reason. Errors with every fault found; `at` is where the
    /// list stands.
    pub fn list(at: &str, value: Option<&Value>) -> Result<Vec<Self>, Vec<FieldError>> {
        let fault = |at: String, code: &str, message: &str| {
            vec![FieldError { pointer: at, code: code.to_owned(), message: message.to_owned() }]
        };
        let items = match value {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) if items.len() <= limits::ALLOWED_SECRETS => items,
            Some(Value::Array(_)) => return Err(fault(at.to_owned(), "range", "has too many entries")),
            Some(_) => return Err(fault(at.to_owned(), "type", "must be a list of objects")),
        };
        let (mut out, mut faults) = (Vec::new(), Vec::new());
        for (n, item) in items.iter().enumerate() {
            let at = format!("{at}/{n}");
            let Value::Object(fields) = item else {
                faults.extend(fault(at, "type", "must be an object"));
                continue;
            };
            let mut inner = Reader::new(&at, fields, &["fingerprint", "reason"]);
            let fingerprint = inner.text("fingerprint", true).map(Fingerprint::parse);
            if fingerprint == Some(None) {
                inner.fault("fingerprint", "invalid", "must be the 32 digits that the finding shows");
            }
            let reason = inner.text("reason", true);
            if let Some(Err(why)) = reason.map(|text| check_prose(text, limits::REASON_BYTES)) {
                inner.fault("reason", "invalid", why.to_string());
            }
            if let (true, Some(Some(fingerprint)), Some(reason)) =
                (inner.errors.is_empty(), fingerprint, reason)
            {
                out.push(Self { fingerprint, reason: reason.to_owned() });
            }
            faults.append(&mut inner.errors);
        }
        if faults.is_empty() { Ok(out) } else { Err(faults) }
    }
}
