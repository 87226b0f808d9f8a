//! Errors of the command line, in words for a person: what happened and why (the message), what to do next (the
//! hint). The exit code follows in `exit.rs`.

use thiserror::Error;

use crate::config::ConfigError;
use crate::sanitize;

/// An error answer of the server (`application/problem+json`), read tolerantly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ApiProblem {
    /// HTTP status.
    pub(crate) status: u16,
    /// The stable code, such as `task_active`; empty when the answer had none.
    pub(crate) code: String,
    /// Description of what happened.
    pub(crate) detail: String,
    /// Advice on the next step.
    pub(crate) hint: Option<String>,
    /// Faulty fields: JSON pointer and message.
    pub(crate) fields: Vec<(String, String)>,
}

impl ApiProblem {
    /// Tells whether the answer has this code.
    pub(crate) fn is(&self, code: mosaic_api::Code) -> bool {
        self.code == code.as_str()
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Error)]
pub(crate) enum Problem {
    /// The command line is wrong.
    #[error("{what}")]
    Usage {
        /// Description of the mistake.
        what: String,
        /// Advice on the next step.
        hint: Option<String>,
    },
    /// There is no such thing.
    #[error("{what}")]
    NotFound {
        /// Description of what was looked for.
        what: String,
        /// Advice on the next step.
        hint: Option<String>,
    },
    /// It is not allowed here.
    #[error("{what}")]
    NotAllowed {
        /// Description of what was refused.
        what: String,
        /// Advice on the next step.
        hint: Option<String>,
    },
    /// No server answers.
    #[error("{what}")]
    Unreachable {
        /// Description of what was tried.
        what: String,
        /// Advice on the next step.
        hint: Option<String>,
    },
    /// The state here does not allow it.
    #[error("{what}")]
    Conflict {
        /// Description of the obstacle.
        what: String,
        /// Advice on the next step.
        hint: Option<String>,
    },
    /// The time for waiting ran out.
    #[error("{what}")]
    WaitTimeout {
        /// Description of what was waited for.
        what: String,
    },
    /// The server refused.
    #[error("{}", api_message(.0))]
    Api(ApiProblem),
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Standard output could not be written.
    #[error("output cannot be written")]
    Output(#[source] std::io::Error),
    /// Anything else.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

fn api_message(api: &ApiProblem) -> String {
    let mut text = sanitize::line(&api.detail);
    if text.is_empty() {
        text = format!("the server answered {}", api.status);
    }
    for (pointer, message) in &api.fields {
        let part = format!("{}: {}", sanitize::line(pointer), sanitize::line(message));
        text.push_str("\n  ");
        text.push_str(&part);
    }
    text
}

impl Problem {
    /// Makes a usage error.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: None }
    }

    /// Makes a usage error that says what to do.
    pub(crate) fn usage_hint(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { what: what.into(), hint: Some(hint.into()) }
    }

    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Usage { hint, .. }
            | Self::NotFound { hint, .. }
            | Self::NotAllowed { hint, .. }
            | Self::Conflict { hint, .. }
            | Self::Unreachable { hint, .. } => hint.clone(),
            Self::Api(api) => match (&api.hint, api.status) {
                (Some(hint), _) => Some(sanitize::line(hint)),
                (None, 401) => Some("the token is the file `token` in the server's data directory: --token-file or MOSAIC_TOKEN".to_owned()),
                _ => None,
            },
            Self::Config(config) => config.hint(),
            Self::WaitTimeout { .. } | Self::Output(_) | Self::Other(_) => None,
        }
    }

    /// Returns the text for standard error: message, causes, hint, one line each.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("error: {self}\n");
        let mut cause = std::error::Error::source(self);
        while let Some(one) = cause {
            text.push_str(&format!("  because: {}\n", sanitize::line(&one.to_string())));
            cause = one.source();
        }
        if let Some(hint) = self.hint() {
            text.push_str(&format!("  {hint}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_with_fields_and_hint_and_without_control_characters() {
        let api = ApiProblem {
            status: 400,
            code: "validation_failed".to_owned(),
            detail: "1 field is \u{1b}[31mwrong".to_owned(),
            hint: Some("see the list".to_owned()),
            fields: vec![("/taskId".to_owned(), "is required".to_owned())],
        };
        let text = Problem::Api(api).render();
        assert_eq!(text, "error: 1 field is \\x1b[31mwrong\n  /taskId: is required\n  see the list\n");
    }
}
