//! The whole output of a gate, for reports that are read from it. Within its bound nothing is left out; what is cut is no
//! report any more.

use mosaic_core::domain::gates::GateDefinition;
use mosaic_core::limits;

/// Path of a report that the command prints.
pub(super) const OUTPUT: &str = "-";

/// The output so far.
#[derive(Debug, Default)]
pub(super) struct CapturedOutput {
    bytes: Vec<u8>,
    wanted: bool,
    cut: bool,
}

impl CapturedOutput {
    /// Captures the output of a gate that prints a report, and nothing of any other.
    pub(super) fn of(gate: &GateDefinition) -> Self {
        Self { wanted: gate.reports.iter().any(|report| report.path == OUTPUT), ..Self::default() }
    }

    /// Returns how much of the output the supervisor keeps for the one who reads it.
    pub(super) fn limit(&self) -> u64 {
        if self.wanted { limits::PRINTED_REPORT_BYTES as u64 } else { limits::GATE_LOG_BYTES }
    }

    /// Takes more output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.wanted || self.cut {
            return;
        }
        match self.bytes.len() + bytes.len() > limits::PRINTED_REPORT_BYTES {
            true => self.lose(),
            false => self.bytes.extend_from_slice(bytes),
        }
    }

    /// Notes that output was lost: what is left could hide the failure.
    pub(super) fn lose(&mut self) {
        (self.cut, self.bytes) = (true, Vec::new());
    }

    /// Returns the whole output; `None` when a part of it is missing.
    pub(super) fn whole(&self) -> Option<&[u8]> {
        (self.wanted && !self.cut).then_some(&self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use mosaic_core::domain::gates::ReportSpec;

    use super::*;

    #[test]
    fn output_is_whole_or_no_report() {
        let mut gate = GateDefinition::of_command("tests".parse().unwrap(), "t".to_owned());
        let mut unread = CapturedOutput::of(&gate);
        unread.push(b"x");
        assert!(unread.whole().is_none() && unread.limit() == limits::GATE_LOG_BYTES);
        gate.reports.push(ReportSpec::new("libtest".parse().unwrap(), OUTPUT));
        let mut output = CapturedOutput::of(&gate);
        output.push(b"a");
        output.push(b"b");
        assert_eq!(output.whole(), Some(&b"ab"[..]));
        output.push(&vec![b'x'; limits::PRINTED_REPORT_BYTES]);
        output.push(b"ok");
        assert!(output.whole().is_none());
    }
}
