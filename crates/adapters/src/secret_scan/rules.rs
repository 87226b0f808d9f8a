//! The rules, most precise first. A rule is its keywords and what must stand at one of them; formats are those that
//! the issuing services document or are seen to use.

use std::ops::Range;
use std::sync::{LazyLock, OnceLock};

use regex::bytes::{Regex, RegexBuilder};

use super::assignment;
use super::authorization;
use super::plausible;
use super::private_key;
use super::services::SERVICES;
use super::suffixed;
use super::url_password;

/// Bytes that a format's expression may look at, from its keyword on. Real tokens are far shorter.
const WINDOW: usize = 16 * 1024;

/// One kind of secret.
pub(super) struct Rule {
    /// Its name for people.
    pub id: &'static str,
    /// Its place in [`RULES`].
    pub order: usize,
    /// Words without which it never matches, in any case of letters.
    pub keywords: &'static [&'static str],
    /// Names and entropy instead of a format.
    pub generic: bool,
    finder: Finder,
}

enum Finder {
    /// An expression that starts at the keyword; group 1 is the secret, or else all of it.
    Format(Format),
    /// A function of text and keyword.
    Code(fn(&[u8], Range<usize>) -> Option<Range<usize>>),
}

struct Format {
    pattern: &'static str,
    compiled: OnceLock<Regex>,
    /// True when the keyword is so short that it must start a word.
    starts_word: bool,
    /// Least entropy in bits per byte, so that `ghp_xxxxxxxx` in a manual is not a finding.
    entropy: f64,
}

/// The text at a keyword, as the rule judges it.
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// Something in the rule's format that is no secret, up to here; it need not be looked at again.
    Harmless(usize),
    /// A secret.
    Secret(Range<usize>),
}

impl Rule {
    /// Tells what stands at this keyword.
    pub(super) fn find(&self, text: &[u8], keyword: Range<usize>) -> Found {
        match &self.finder {
            Finder::Code(find) => find(text, keyword).map_or(Found::Nothing, Found::Secret),
            Finder::Format(format) => format.find(text, keyword.start),
        }
    }
}

impl Format {
    fn find(&self, text: &[u8], at: usize) -> Found {
        if self.starts_word && !starts_word(text, at) {
            return Found::Nothing;
        }
        let window = &text[at..text.len().min(at + WINDOW)];
        let found = self.regex().captures(window);
        let Some(secret) = found.and_then(|found| found.get(1).or_else(|| found.get(0))) else {
            return Found::Nothing;
        };
        let value = secret.as_bytes();
        if plausible::entropy(value) < self.entropy || plausible::is_example(value) {
            return Found::Harmless(at + secret.end());
        }
        Found::Secret(at + secret.start()..at + secret.end())
    }

    fn regex(&self) -> &Regex {
        self.compiled.get_or_init(|| {
            RegexBuilder::new(self.pattern)
                .unicode(false)
                .build()
                .expect("the pattern is constant and tested")
        })
    }
}

/// Tells whether a word starts here. A letter that ends an escape (`\n`, `%3D`) does not belong to the word.
fn starts_word(text: &[u8], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map(|i| text[i]);
    match before(1) {
        None => true,
        Some(b'n' | b'r' | b't') if before(2) == Some(b'\\') => true,
        Some(last) if last.is_ascii_hexdigit() && before(3) == Some(b'%') => true,
        Some(last) => !(last.is_ascii_alphanumeric() || matches!(last, b'_' | b'-' | b'+' | b'/')),
    }
}

const fn format(
    order: usize,
    id: &'static str,
    keywords: &'static [&'static str],
    pattern: &'static str,
    starts_word: bool,
    entropy: f64,
) -> Rule {
    let finder = Finder::Format(Format { pattern, compiled: OnceLock::new(), starts_word, entropy });
    Rule { id, order, keywords, generic: false, finder }
}

const fn code(
    order: usize,
    id: &'static str,
    keywords: &'static [&'static str],
    find: fn(&[u8], Range<usize>) -> Option<Range<usize>>,
) -> Rule {
    Rule { id, order, keywords, generic: false, finder: Finder::Code(find) }
}

/// All rules; where two find the same text, the earlier one names it. Names with entropy are the last resort.
pub(super) static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let services = SERVICES.iter().map(|(id, keywords, pattern, starts_word, entropy)| {
        format(0, id, keywords, pattern, *starts_word, *entropy)
    });
    let all = keys().into_iter().chain(tokens()).chain(passwords()).chain(services).chain([last()]);
    all.enumerate().map(|(order, rule)| Rule { order, ..rule }).collect()
});

/// Names and entropy instead of a format.
const fn last() -> Rule {
    let finder = Finder::Code(assignment::find);
    Rule { id: "generic-secret", order: 0, keywords: assignment::KEYWORDS, generic: true, finder }
}

/// The rules of keys and of the tokens of model services and code hosts.
fn keys() -> [Rule; 7] {
    [
        code(0, "private-key", &["PRIVATE KEY"], private_key::find),
        format(
            1,
            "aws-access-key-id",
            &["AKIA", "ASIA", "ABIA", "ACCA", "A3T"],
            r"^((?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?:[^A-Za-z0-9_+/=]|$)",
            true,
            3.0,
        ),
        format(
            2,
            "github-token",
            &["ghp_", "gho_", "ghu_", "ghs_", "ghr_"],
            r"^gh[pousr]_[A-Za-z0-9]{36,}",
            false,
            3.0,
        ),
        format(
            3,
            "github-fine-grained-token",
            &["github_pat_"],
            r"^github_pat_[A-Za-z0-9_]{36,}",
            false,
            3.0,
        ),
        format(4, "anthropic-api-key", &["sk-ant-"], r"^sk-ant-[A-Za-z0-9_-]{24,}", false, 3.3),
        format(
            5,
            "openai-api-key",
            &["sk-proj-", "sk-svcacct-", "sk-admin-"],
            r"^sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{20,}",
            false,
            3.3,
        ),
        format(6, "openai-api-key", &["sk-"], r"^(sk-[A-Za-z0-9]{20,})(?:[^A-Za-z0-9_-]|$)", true, 3.5),
    ]
}

/// The rules of tokens of other services that come first.
fn tokens() -> [Rule; 5] {
    [
        format(
            7,
            "slack-token",
            &["xoxa-", "xoxb-", "xoxe-", "xoxo-", "xoxp-", "xoxr-", "xoxs-", "xoxe."],
            r"^xox[abeoprs][.-](?:[A-Za-z]+-)?[0-9][A-Za-z0-9-]{9,}",
            false,
            2.8,
        ),
        format(
            8,
            "slack-app-token",
            &["xapp-"],
            r"^xapp-[0-9]-[A-Z0-9]+-[0-9]+-[A-Za-z0-9]{16,}",
            false,
            3.0,
        ),
        format(
            9,
            "slack-webhook",
            &["hooks.slack.com/"],
            r"^hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9_-]{6,}/[A-Za-z0-9_/-]{16,})",
            false,
            3.0,
        ),
        format(
            10,
            "stripe-key",
            &["sk_live_", "rk_live_", "sk_test_", "rk_test_", "sk_prod_", "rk_prod_"],
            r"^[sr]k_(?:live|test|prod)_[A-Za-z0-9]{16,}",
            false,
            3.3,
        ),
        format(
            11,
            "jwt",
            &["eyJ"],
            r"^eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}",
            true,
            4.0,
        ),
    ]
}

/// The rules of passwords where they are used, and of tokens that are known by their end.
fn passwords() -> [Rule; 7] {
    [
        code(12, "url-password", &["://"], url_password::find),
        // What agents of this program are given for themselves.
        format(
            13,
            "mosaic-agent-token",
            &["mosaic_agent_"],
            r"^mosaic_agent_[0-9a-f]{32}_[0-9a-f]{64}",
            false,
            3.0,
        ),
        code(14, "authorization-header", &["Bearer ", "Basic "], authorization::header),
        code(15, "command-line-password", &["-u ", "--user ", "-u=", "--user="], authorization::option),
        code(16, "discord-bot-token", &[".G"], suffixed::discord),
        code(17, "maxmind-license-key", &["_mmk"], suffixed::maxmind),
        code(18, "mailchimp-api-key", &["-us"], suffixed::mailchimp),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_know_their_place_and_their_expressions_compile() {
        for (place, rule) in RULES.iter().enumerate() {
            assert_eq!(rule.order, place, "{}", rule.id);
            if let Finder::Format(format) = &rule.finder {
                assert!(format.regex().as_str().starts_with('^'));
            }
        }
    }
}
