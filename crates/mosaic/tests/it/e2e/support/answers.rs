//! Response times of a server while something else goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Http;

/// Time between two questions: often enough for a hundredth, and no load of its own.
const PACE: Duration = Duration::from_millis(4);

/// The times of all answers, shortest first.
pub(crate) struct Answers(pub(crate) Vec<Duration>);

impl Answers {
    /// Returns the time within which this share of the answers came, in hundredths.
    pub(crate) fn within(&self, percent: usize) -> Duration {
        self.0[(self.0.len() * percent).div_ceil(100).clamp(1, self.0.len()) - 1]
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99, most) = (self.within(50), self.within(99), self.within(100));
        write!(f, "{} answers, p50 {p50:.1?}, p99 {p99:.1?}, slowest {most:.1?}", self.0.len())
    }
}

/// Turns when it goes out of scope, also when a test fails, so that nobody is waited for in vain.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks for liveness again and again while something goes on; every answer must be good.
pub(crate) fn asking<T>(http: &Http, meanwhile: impl FnOnce() -> T) -> (T, Answers) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let mut all = Vec::new();
            // At least one answer, also where the other work is over before the first question.
            while !over.load(Ordering::Relaxed) || all.is_empty() {
                let began = Instant::now();
                http.get("/health").expect(200);
                all.push(began.elapsed());
                std::thread::sleep(PACE);
            }
            all.sort_unstable();
            all
        });
        let result = {
            let _over = Over(&over);
            meanwhile()
        };
        (result, Answers(asked.join().unwrap()))
    })
}
