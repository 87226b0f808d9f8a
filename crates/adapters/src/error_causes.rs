//! The causes of an error, for the log of the server. A failure that leaves an adapter has one text, for people; what led to
//! it is told once, where the failure is handed out.

use std::error::Error;

/// Most causes that are told: none of ours is this deep, and a circle must end.
const MOST: usize = 16;

/// Joins an error and its causes, the outermost first. What a text repeats of its cause is told once.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| (**cause).source()).take(MOST);
    for cause in causes.map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// Logs an error that has causes as it leaves an adapter's part. One without a cause says all in its text, which whoever asked
/// records or shows.
pub(crate) fn log_causes(part: &str, error: &dyn Error) {
    if error.source().is_some() {
        tracing::warn!(part, causes = with_causes(error), "an adapter could not do what was asked of it");
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Step {
        #[error("the tree could not be kept")]
        Keep(#[source] Box<Step>),
        #[error("writing {0} failed: {1}")]
        Write(&'static str, #[source] io::Error),
        #[error("round and round")]
        Round(#[source] Forever),
    }

    #[derive(Debug, thiserror::Error)]
    #[error("forever {0}")]
    struct Forever(u32);

    #[test]
    fn every_cause_is_told_once_the_outermost_first() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Step::Keep(Box::new(Step::Write("packed-refs", denied)));
        assert_eq!(
            with_causes(&error),
            "the tree could not be kept: writing packed-refs failed: permission denied"
        );
        assert_eq!(with_causes(&Step::Round(Forever(1))), "round and round: forever 1");
    }

    /// Keeps the fields of every event.
    #[derive(Default)]
    struct Log(std::sync::Arc<parking_lot::Mutex<String>>);

    impl tracing::Subscriber for Log {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }
        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                self.0.lock().push_str(&format!("{field}={value:?} "));
            });
        }
        fn enter(&self, _: &tracing::span::Id) {}
        fn exit(&self, _: &tracing::span::Id) {}
    }

    #[test]
    fn an_error_that_leaves_is_logged_with_its_causes_and_one_without_them_is_not() {
        let log = std::sync::Arc::<parking_lot::Mutex<String>>::default();
        tracing::subscriber::with_default(Log(log.clone()), || {
            log_causes("git", &Step::Write("packed-refs", io::ErrorKind::StorageFull.into()));
            log_causes("git", &Forever(2));
        });
        let log = log.lock();
        assert!(
            log.contains("part=\"git\"") && log.contains("writing packed-refs failed: no storage"),
            "{log}"
        );
        assert!(!log.contains("forever"), "{log}");
    }
}
