//! Answers that were lately read from commits. A commit never changes, so an answer about one stays right (where other things
//! count, too, such as tags, they are part of the question); tasks on the same base
//! ask the same questions one after another.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use mosaic_core::limits;
use parking_lot::Mutex;

/// A question about a commit: the bare repository, the commit, what was asked and its bound.
pub(crate) type Question = (PathBuf, String, String, usize);

/// A bounded memory of answers; the oldest goes first.
pub(crate) struct CommitCache<T> {
    answers: Mutex<VecDeque<(Question, Arc<T>)>>,
}

impl<T> CommitCache<T> {
    pub(crate) fn new() -> Self {
        Self { answers: Mutex::default() }
    }

    /// Returns a remembered answer.
    pub(crate) fn recall(&self, question: &Question) -> Option<Arc<T>> {
        let answers = self.answers.lock();
        answers.iter().find(|(known, _)| known == question).map(|(_, answer)| Arc::clone(answer))
    }

    /// Remembers an answer of this size, unless it is too large.
    pub(crate) fn keep(&self, question: Question, answer: T, bytes: usize) -> Arc<T> {
        let answer = Arc::new(answer);
        if bytes <= limits::REMEMBERED_BYTES {
            let mut answers = self.answers.lock();
            if answers.len() >= limits::REMEMBERED {
                answers.pop_front();
            }
            answers.push_back((question, Arc::clone(&answer)));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(n: usize) -> Question {
        (PathBuf::from("/store"), "c".to_owned(), "path".to_owned(), n)
    }

    #[test]
    fn answers_are_kept_up_to_the_bounds() {
        let memory = CommitCache::new();
        for n in 0..=limits::REMEMBERED {
            memory.keep(question(n), n, 1);
        }
        assert_eq!(memory.recall(&question(0)), None, "the oldest is still there");
        assert_eq!(memory.recall(&question(limits::REMEMBERED)).as_deref(), Some(&limits::REMEMBERED));
        assert_eq!(*memory.keep(question(1_000), 7, limits::REMEMBERED_BYTES + 1), 7);
        assert_eq!(memory.recall(&question(1_000)), None, "a large answer is kept");
    }
}
