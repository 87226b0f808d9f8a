//! The secret scan: rules over added text, and the values that the server itself keeps secret (`known.rs`).
//!
//! One pass over the text finds the keywords of all rules (Aho-Corasick); a rule looks only at a bounded piece of
//! text around its own keyword, so time is linear in the text whatever stands in it. A rule's expression is
//! compiled when its keyword is first seen.
//!
//! Comments that ask for an exception (`gitleaks:allow`, `mosaic:allow-secret` and the like) are not honoured: an
//! agent could write one next to the secret that it should not commit.

mod agent_tokens;
mod assignment;
mod authorization;
mod characters;
mod escapes;
mod forms;
mod known;
mod known_matcher;
mod plausible;
mod private_key;
mod rules;
mod services;
mod squeeze;
mod suffixed;
mod url_password;
mod value_strength;

use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind};
use mosaic_core::ports::scanner::{Secret, SecretScanner, replace};

use characters::whole_characters;
pub use known::KnownSecrets;
use rules::{Found, RULES, Rule};
pub use value_strength::{LookedFor, TooWeak};

/// Tells whether the name of a variable says that its value is a secret, by the rule for values under telling names.
pub fn names_secret(name: &str) -> bool {
    assignment::names_secret(name)
}

/// Returns what the rules find in a text.
pub fn found_in(text: &str) -> Vec<&str> {
    let found = RuleScanner::new().scan(None, text).into_iter();
    found.filter_map(|secret| text.get(secret.span.0..secret.span.1)).collect()
}

/// Files of package managers that are full of digests under telling names. Only the generic rule passes them over:
/// the rules for real token formats hold everywhere.
const LOCK_FILES: &[&str] = &[
    "cargo.lock",
    "package-lock.json",
    "npm-shrinkwrap.json",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lock",
    "deno.lock",
    "composer.lock",
    "gemfile.lock",
    "poetry.lock",
    "pipfile.lock",
    "uv.lock",
    "pdm.lock",
    "go.sum",
    "flake.lock",
    "mix.lock",
    "pubspec.lock",
    "podfile.lock",
];

/// Finds secrets by rules, and known values.
pub struct RuleScanner {
    known: Arc<KnownSecrets>,
    keywords: AhoCorasick,
    /// Which rule each keyword belongs to.
    owners: Vec<&'static Rule>,
}

/// A secret before it is told: its rule's place in order of precision, its rule and where it stands.
struct Hit {
    span: Range<usize>,
    order: usize,
}

impl RuleScanner {
    /// Makes a scanner that knows no value yet.
    pub fn new() -> Self {
        Self::knowing(Arc::default())
    }

    /// Makes a scanner that also looks for these values, and for those registered later. Only the keywords are compiled here.
    pub fn knowing(known: Arc<KnownSecrets>) -> Self {
        let pairs =
            || RULES.iter().flat_map(|rule| rule.keywords.iter().map(move |keyword| (rule, *keyword)));
        let keywords = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .kind(Some(AhoCorasickKind::DFA))
            .build(pairs().map(|(_, keyword)| keyword))
            .expect("the keywords are few and constant");
        Self { known, keywords, owners: pairs().map(|(rule, _)| rule).collect() }
    }

    fn hits(&self, path: Option<&str>, text: &str) -> Vec<Hit> {
        let generic = !path.is_some_and(is_lock_file);
        let bytes = text.as_bytes();
        let mut hits: Vec<Hit> = Vec::new();
        // Where each rule may look next: what it has matched it does not match again.
        let mut from = vec![0; RULES.len()];
        for keyword in self.keywords.find_overlapping_iter(bytes) {
            let rule = self.owners[keyword.pattern().as_usize()];
            if keyword.start() < from[rule.order] || (rule.generic && !generic) {
                continue;
            }
            match rule.find(bytes, keyword.range()) {
                Found::Nothing => {}
                Found::Harmless(end) => from[rule.order] = end,
                Found::Secret(span) => {
                    let span = whole_characters(text, span);
                    from[rule.order] = span.end;
                    hits.push(Hit { span, order: rule.order });
                }
            }
        }
        disjoint(hits)
    }
}

impl Default for RuleScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl SecretScanner for RuleScanner {
    fn scan(&self, path: Option<&str>, text: &str) -> Vec<Secret> {
        let mut found: Vec<Secret> =
            self.known.find(text).into_iter().map(|hit| known::secret(text, hit)).collect();
        found.sort_by_key(|secret| (secret.span.0, std::cmp::Reverse(secret.span.1)));
        // Several forms of one value may fit the same text.
        found.dedup_by(|next, last| next.span.0 < last.span.1);
        let known = found.len();
        for hit in self.hits(path, text) {
            let (start, end) = (hit.span.start, hit.span.end);
            // What is known by value is named by that.
            if !found[..known].iter().any(|known| start < known.span.1 && known.span.0 < end) {
                let (rule, masked) = (RULES[hit.order].id.to_owned(), mask(&text[hit.span]));
                let (line, span) = (1, (start, end));
                found.push(Secret { rule, line, masked, span, pieces: Vec::new(), known: false });
            }
        }
        found.sort_by_key(|secret| secret.span.0);
        count_lines(text, &mut found);
        found
    }

    fn mask(&self, text: &str) -> String {
        // All that is known, and what the rules find beside it: a known value must not keep the rest of a key in sight.
        let rules = self.hits(None, text).into_iter().map(|hit| {
            let (masked, span) = (mask(&text[hit.span.clone()]), (hit.span.start, hit.span.end));
            let rule = RULES[hit.order].id.to_owned();
            Secret { rule, line: 1, masked, span, pieces: Vec::new(), known: false }
        });
        let known = self.known.find(text).into_iter().map(|hit| known::secret(text, hit));
        replace(text, known.chain(rules).collect())
    }
}

/// Counts the line of each secret, in order of place, in one pass.
fn count_lines(text: &str, found: &mut [Secret]) {
    let (mut line, mut counted) = (1, 0);
    for secret in found {
        let newlines = text.as_bytes()[counted..secret.span.0].iter().filter(|byte| **byte == b'\n').count();
        line += newlines as u64;
        counted = secret.span.0;
        secret.line = line;
    }
}

fn is_lock_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
    LOCK_FILES.contains(&name.as_str())
}

/// Sorts hits and joins those that overlap: the most precise rule names what all of them cover.
fn disjoint(mut hits: Vec<Hit>) -> Vec<Hit> {
    // By place and then by precision, so that one pass joins what overlaps and the first of a group is its best name.
    hits.sort_by_key(|hit| (hit.span.start, hit.order));
    let mut out: Vec<Hit> = Vec::with_capacity(hits.len());
    for hit in hits {
        match out.last_mut() {
            Some(last) if hit.span.start < last.span.end => {
                last.span.end = last.span.end.max(hit.span.end);
                last.order = last.order.min(hit.order);
            }
            _ => out.push(hit),
        }
    }
    out
}

/// Shows the first four characters of a long secret; of a short one at most a quarter, so that what is shown is
/// never most of it.
fn mask(secret: &str) -> String {
    let shown = (secret.chars().count() / 4).min(4);
    secret.chars().take(shown).chain(['…']).collect()
}
