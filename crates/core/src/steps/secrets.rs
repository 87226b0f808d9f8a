//! The look for secrets in everything that new commits add: files, their names, messages and headers, of every commit and not
//! only the tip, because a secret that was added and removed again is still pushed.
//!
//! A value that stands in the base already is no new finding, wherever an agent moves it: it is as public as the base. What
//! the server itself keeps secret always is one. The rest is allowed by the repository, as it stands in the base, or by the
//! operator.

use std::collections::{BTreeMap, BTreeSet};

use tokio::sync::mpsc;

use super::context::StepContext;
use crate::domain::gates::Finding;
use crate::domain::ids::CommitId;
use crate::domain::outcome::Failure;
use crate::domain::secrets::{ALLOWED_FILE, Fingerprint, SecretFinding, ValueDigest, allowed_in};
use crate::limits;
use crate::ports::repositories::{Added, AddedPart};
use crate::ports::scanner::SecretScanner;

/// Scans what the commits from `base` to `head` add; returns what must not be pushed.
pub(super) async fn look(
    context: &StepContext<'_>,
    base: &CommitId,
    head: &CommitId,
) -> Result<Vec<Finding>, Failure> {
    let o = context.orchestrator;
    let repository = &context.agent.spec.context.repository;
    // A few hunks in flight are enough to keep reader and scanner both busy.
    let (send, mut receive) = mpsc::channel::<Added>(8);
    let read = o.ports.commits.additions(repository, base, head, send);
    let scan = async {
        let mut seen = Sightings::default();
        let mut border = Border::default();
        while let Some(added) = receive.recv().await {
            border.scan(&*o.ports.scanner, &added, &mut seen);
        }
        seen
    };
    let (read, seen) = tokio::join!(read, scan);
    read?;
    let in_branch = in_branch_name(context);
    if seen.values.is_empty() {
        return Ok(in_branch.into_iter().collect());
    }
    let standing = standing(context, base, &seen).await?;
    let file =
        o.ports.commits.read_file(repository, base, ALLOWED_FILE, limits::ALLOWED_SECRETS_BYTES).await?;
    let by_repository = file.map(|file| allowed_in(&file)).unwrap_or_default();
    let by_operator: BTreeSet<&Fingerprint> =
        context.agent.spec.allowed_secrets.iter().map(|allowed| &allowed.fingerprint).collect();
    let mut findings = Vec::new();
    for sighting in seen.values.values() {
        if !sighting.own && standing.contains(&ValueDigest::of_content(&sighting.value)) {
            continue;
        }
        for place in &sighting.places {
            let fingerprint = Fingerprint::of(&sighting.rule, place.path.as_deref(), &sighting.value);
            let allowed =
                by_operator.contains(&fingerprint) || (!sighting.own && by_repository.contains(&fingerprint));
            if !allowed {
                findings.push(finding(&*o.ports.scanner, sighting, place, fingerprint));
            }
        }
    }
    findings.sort_by_key(|(order, _)| *order);
    let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
    findings.extend(in_branch);
    findings.truncate(limits::FINDINGS);
    findings.extend(seen.overflow.filter(|_| findings.len() < limits::FINDINGS));
    Ok(findings)
}

/// Finds a value that the server keeps secret in the name of the branch, which is pushed: it was not known when the task came.
fn in_branch_name(context: &StepContext<'_>) -> Option<Finding> {
    let found = context.orchestrator.ports.scanner.scan(None, &context.agent.branch.to_string());
    let secret = found.into_iter().find(|found| found.known)?;
    let message =
        format!("{}: {} in the name of the branch; give the task another id", secret.rule, secret.masked);
    Some(Finding { source: SOURCE.to_owned(), path: None, line: None, message, secret: None })
}

/// Values that were found, each with its places.
#[derive(Default)]
struct Sightings {
    values: BTreeMap<ValueDigest, Sighting>,
    places: usize,
    /// Said instead of more of them.
    overflow: Option<Finding>,
}

/// A value that a rule found.
struct Sighting {
    rule: String,
    masked: String,
    value: String,
    own: bool,
    places: Vec<SecretLocation>,
}

/// A place where a value is added.
struct SecretLocation {
    commit: CommitId,
    path: Option<String>,
    line: Option<u64>,
    part: AddedPart,
    /// Its number in the order of sightings.
    order: usize,
}

impl Sightings {
    fn note(&mut self, rule: String, value: &str, masked: String, own: bool, mut place: SecretLocation) {
        place.order = self.places;
        self.places += 1;
        let digest = ValueDigest::of(&rule, value);
        if self.values.len() >= limits::SECRET_VALUES && !self.values.contains_key(&digest) {
            // Never pushed unseen: more values than can be compared are a finding by themselves.
            self.overflow.get_or_insert_with(|| Finding {
                source: SOURCE.to_owned(),
                path: place.path,
                line: place.line,
                message: format!("more than {} different values look like secrets", limits::SECRET_VALUES),
                secret: None,
            });
            return;
        }
        let sighting = self.values.entry(digest).or_insert_with(|| Sighting {
            rule,
            masked,
            value: value.to_owned(),
            own,
            places: Vec::new(),
        });
        let again = |known: &SecretLocation| known.path == place.path && known.commit == place.commit;
        if sighting.places.len() < limits::FINDINGS && !sighting.places.iter().any(again) {
            sighting.places.push(place);
        }
    }
}

/// Source of these findings.
const SOURCE: &str = "secret-scan";

/// The end of the last piece of text: a secret on the border of two pieces is in neither of them whole.
#[derive(Default)]
struct Border {
    commit: Option<CommitId>,
    path: Option<String>,
    /// The end of the text and the line it begins on.
    tail: String,
    tail_line: u64,
    /// The line that the text ends on.
    last_line: u64,
}

impl Border {
    fn scan(&mut self, scanner: &dyn SecretScanner, added: &Added, seen: &mut Sightings) {
        let same = added.part == AddedPart::Content
            && self.commit.as_ref() == Some(&added.commit)
            && self.path == added.path;
        let between = match added.line {
            line if same && line == self.last_line => Some(""),
            line if same && line == self.last_line + 1 => Some("\n"),
            _ => None,
        };
        let joined = between.map(|between| [self.tail.as_str(), between, &added.text].concat());
        let (text, first) = match &joined {
            Some(joined) => (joined.as_str(), self.tail_line),
            None => (added.text.as_str(), added.line),
        };
        let old = text.len() - added.text.len();
        // A name is looked at by itself; that it names the file it is in means nothing.
        let path = added.path.as_deref().filter(|_| added.part == AddedPart::Content);
        for secret in scanner.scan(path, text) {
            // It ends in the part that was scanned together with the piece before.
            if secret.span.1 <= old {
                continue;
            }
            let (commit, line) = (added.commit.clone(), first + secret.line - 1);
            let line = (added.part == AddedPart::Content).then_some(line);
            let place = SecretLocation { commit, path: added.path.clone(), line, part: added.part, order: 0 };
            let value = text.get(secret.span.0..secret.span.1).unwrap_or_default();
            seen.note(secret.rule, value, secret.masked, secret.known, place);
        }
        self.remember(added);
    }

    fn remember(&mut self, added: &Added) {
        if added.part != AddedPart::Content {
            self.commit = None;
            return;
        }
        let text = &added.text;
        let mut cut = text.len().saturating_sub(limits::SECRET_BORDER);
        while !text.is_char_boundary(cut) {
            cut += 1;
        }
        let lines = |part: &str| part.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.tail_line = added.line + lines(&text[..cut]);
        self.tail = text[cut..].to_owned();
        self.last_line = self.tail_line + lines(&self.tail);
        (self.commit, self.path) = (Some(added.commit.clone()), added.path.clone());
    }
}

fn finding(
    scanner: &dyn SecretScanner,
    sighting: &Sighting,
    place: &SecretLocation,
    fingerprint: Fingerprint,
) -> (usize, Finding) {
    let part = match place.part {
        AddedPart::Content => "",
        AddedPart::Message => " in the commit message",
        AddedPart::Name => " in the name of the file",
    };
    let (rule, masked) = (&sighting.rule, &sighting.masked);
    let secret =
        SecretFinding { rule: rule.clone(), commit: place.commit.clone(), fingerprint, own: sighting.own };
    let finding = Finding {
        source: SOURCE.to_owned(),
        // A name may be the secret.
        path: place.path.as_deref().map(|path| scanner.mask(path)),
        line: place.line,
        message: format!(
            "{rule}: {masked}{part} (commit {}); remove it from every commit",
            place.commit.short()
        ),
        secret: Some(secret),
    };
    (place.order, finding)
}

/// Finds which of the values stand in the base, in whatever layout: files that hold a part of one of them are scanned in the same
/// way, and a value of one line may also stand there as it is, where no rule takes it for a secret.
async fn standing(
    context: &StepContext<'_>,
    base: &CommitId,
    seen: &Sightings,
) -> Result<BTreeSet<ValueDigest>, Failure> {
    let (commits, scanner) = (&context.orchestrator.ports.commits, &context.orchestrator.ports.scanner);
    let repository = &context.agent.spec.context.repository;
    let comparable = || seen.values.values().filter(|sighting| !sighting.own);
    let mut lines: Vec<String> = comparable().filter_map(|sighting| longest_part(&sighting.value)).collect();
    lines.sort();
    lines.dedup();
    let (mut found, mut verbatim) = (BTreeSet::new(), BTreeSet::new());
    let mut scan = |path: Option<&str>, text: &str| {
        for secret in scanner.scan(path, text) {
            let value = text.get(secret.span.0..secret.span.1).unwrap_or_default();
            found.insert(ValueDigest::of_content(value));
        }
    };
    let mut compared = 0_usize;
    if !lines.is_empty() {
        let files = commits.files_with(repository, base, &lines).await?;
        for (path, bytes) in files {
            let text = String::from_utf8_lossy(&bytes);
            scan(Some(&path), &text);
            for sighting in comparable().filter(|sighting| sighting.value.len() >= VERBATIM) {
                compared = compared.saturating_add(text.len());
                // A value that is not compared any more counts as new. So the bound may cost a false finding,
                // but lets no secret through.
                if compared > limits::SECRET_COMPARED_BYTES {
                    break;
                }
                if stands_in(&text, &sighting.value) {
                    verbatim.insert(ValueDigest::of_content(&sighting.value));
                }
            }
            tokio::task::yield_now().await;
        }
    }
    let in_name = |sighting: &Sighting| sighting.places.iter().any(|place| place.part == AddedPart::Name);
    if comparable().any(in_name) {
        for path in commits.list_files(repository, base, "").await? {
            scan(None, &path);
        }
    }
    found.append(&mut verbatim);
    Ok(found)
}

/// Shortest value that is looked for as it is, in bytes: a shorter one may be a part of a word.
const VERBATIM: usize = 8;

/// Tells whether a value stands in a text as it is, and not as a part of a longer one.
fn stands_in(text: &str, value: &str) -> bool {
    let goes_on = |byte: Option<&u8>| {
        byte.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'/'))
    };
    let bytes = text.as_bytes();
    text.match_indices(value).any(|(at, _)| {
        let (before, after) = (at.checked_sub(1).and_then(|at| bytes.get(at)), bytes.get(at + value.len()));
        !goes_on(before) && !goes_on(after) && after != Some(&b'=')
    })
}

/// Returns the longest part of a value that is the same in every layout; `None` when all are too short to tell anything.
fn longest_part(value: &str) -> Option<String> {
    let broken = value.replace(r"\n", "\n").replace(r"\r", "\n").replace(r"\t", "\n");
    let is_layout = |c: char| {
        c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '\\' | '\0' | char::REPLACEMENT_CHARACTER)
    };
    let parts = broken.split(is_layout).filter(|part| part.len() >= 4);
    parts.max_by_key(|part| part.len()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::scanner::Secret;

    /// Finds `<` to `>` as a secret.
    struct Angles;

    impl SecretScanner for Angles {
        fn scan(&self, _: Option<&str>, text: &str) -> Vec<Secret> {
            let start = text.find('<');
            let end = start.and_then(|start| text[start..].find('>').map(|at| start + at + 1));
            let Some((start, end)) = start.zip(end) else { return Vec::new() };
            let line = 1 + text[..start].matches('\n').count() as u64;
            let (rule, masked) = ("angles".to_owned(), "…".to_owned());
            vec![Secret { rule, line, masked, span: (start, end), pieces: Vec::new(), known: false }]
        }
    }

    fn added(path: &str, line: u64, text: &str) -> Added {
        let commit = "a".repeat(40).parse().expect("a commit id");
        Added { commit, path: Some(path.to_owned()), line, text: text.to_owned(), part: AddedPart::Content }
    }

    fn places(pieces: &[Added]) -> Vec<(String, Option<u64>)> {
        let (mut seen, mut border) = (Sightings::default(), Border::default());
        for piece in pieces {
            border.scan(&Angles, piece, &mut seen);
        }
        seen.values
            .into_values()
            .flat_map(|one| one.places.into_iter().map(move |p| (one.value.clone(), p.line)))
            .collect()
    }

    #[test]
    fn a_secret_on_the_border_of_two_pieces_is_seen_whole_and_once() {
        let whole = [("<ab>".to_owned(), Some(2))];
        assert_eq!(places(&[added("f", 1, "x\n<a"), added("f", 2, "b>\nz")]), whole);
        assert_eq!(places(&[added("f", 1, "x\n<ab>"), added("f", 3, "z")]), whole);
        assert_eq!(places(&[added("f", 1, "x\n<a"), added("f", 3, "b>")]), [("<a\nb>".to_owned(), Some(2))]);
        let long = "y".repeat(3 * limits::SECRET_BORDER);
        assert_eq!(places(&[added("f", 1, &format!("{long}\n<a")), added("f", 2, "b>")]), whole);
    }

    #[test]
    fn pieces_of_other_files_and_places_are_not_joined() {
        assert_eq!(places(&[added("f", 1, "<a"), added("g", 1, "b>")]), []);
        assert_eq!(places(&[added("f", 1, "<a"), added("f", 9, "b>")]), []);
    }

    #[test]
    fn a_part_to_search_for_is_long_and_free_of_what_changes_with_the_layout() {
        let part = Some("MIIBOgIBAAJB".to_owned());
        assert_eq!(longest_part("-----B\r\nMIIBOgIBAAJB\r\nabc"), part);
        assert_eq!(longest_part(r"-----B\nMIIBOgIBAAJB\nabc"), part);
        assert_eq!(longest_part("ab\ncd"), None);
    }

    #[test]
    fn a_value_stands_in_a_text_only_as_a_whole() {
        for text in ["K=Zx9qL2vT7", "k: 'Zx9qL2vT7'\n", "\"Zx9qL2vT7\",", "Zx9qL2vT7"] {
            assert!(stands_in(text, "Zx9qL2vT7"), "{text:?}");
        }
        for text in ["K=aZx9qL2vT7", "Zx9qL2vT7b", "Zx9qL2vT7=", "x/Zx9qL2vT7", "Zx9qL2vT"] {
            assert!(!stands_in(text, "Zx9qL2vT7"), "{text:?}");
        }
    }
}
