//! The automata that find known values: every form of every value, in one pass over the squeezed text.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use mosaic_core::limits;

use super::agent_tokens;
use super::escapes::{self, Decoded};
use super::forms;
use super::squeeze::{pieces, squeeze, unsqueeze};

/// A known value that was found.
pub(super) struct KnownHit {
    /// Where it stands in the text, in bytes.
    pub(super) span: Range<usize>,
    /// Its parts, when it is in pieces.
    pub(super) pieces: Vec<Range<usize>>,
    /// Its name, such as `MOSAIC_GIT_TOKEN`.
    pub(super) name: Arc<str>,
}

impl KnownHit {
    fn new(text: &[u8], span: Range<usize>, name: Arc<str>) -> Self {
        Self { pieces: pieces(text, &span), span, name }
    }
}

/// A registered value.
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) value: Vec<u8>,
}

/// The automata over all forms of all values.
pub(super) struct Matcher {
    /// Over the text as it is: values that are too weak to be looked for in pieces.
    exact: Option<AhoCorasick>,
    /// The name of each, and whether it is text.
    exact_names: Vec<(Arc<str>, bool)>,
    /// Over the squeezed text, in any case of letters.
    squeezed: AhoCorasick,
    forms: Vec<Form>,
}

/// A pattern of the squeezed text.
struct Form {
    name: Arc<str>,
    length: usize,
    /// Only a part of the value: what goes on beside it in the same alphabet belongs to it.
    part: bool,
    /// The start of every agent's token; what follows decides.
    agent: Option<agent_tokens::Form>,
}

impl Matcher {
    pub(super) fn new(values: &VecDeque<Known>) -> Self {
        let (mut exact, mut exact_names) = (Vec::new(), Vec::new());
        let (mut patterns, mut all) = (Vec::new(), Vec::new());
        for known in values {
            for forms::Exact { text, is_text } in forms::exact(&known.value) {
                exact.push(text);
                exact_names.push((known.name.clone(), is_text));
            }
            for forms::Pattern { text, part } in forms::squeezed(&known.value) {
                all.push(Form { name: known.name.clone(), length: text.len(), part, agent: None });
                patterns.push(text);
            }
        }
        for (text, form) in agent_tokens::patterns() {
            let length = text.len();
            // Tokens of agents are not registered one by one: their common beginning is a pattern, and the form of what
            // follows it decides. So a token of an agent that ended long ago is found, too.
            all.push(Form { name: agent_tokens::NAME.into(), length, part: false, agent: Some(form) });
            patterns.push(text);
        }
        let exact = (!exact.is_empty())
            .then(|| AhoCorasick::new(&exact).expect("a bounded number of short patterns fits an automaton"));
        let squeezed = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            // The faster kind takes some hundred kilobytes for every value.
            .kind(Some(if values.len() <= 32 {
                AhoCorasickKind::DFA
            } else {
                AhoCorasickKind::ContiguousNFA
            }))
            .build(&patterns)
            .expect("a bounded number of short patterns fits an automaton");
        Self { exact, exact_names, squeezed, forms: all }
    }

    pub(super) fn find(&self, text: &[u8]) -> Vec<KnownHit> {
        let mut hits = Vec::new();
        self.find_in(text, &|place| place, text, &mut hits);
        // Layer by layer, because an encoder may run twice; bounded, because a text of backslashes decodes to another one of
        // them for a long time.
        let mut layer = escapes::decode(text);
        for _ in 0..limits::KNOWN_LAYERS {
            let Some(decoded) = layer.take() else { break };
            self.find_in(&decoded.bytes, &|place| decoded.places[place], text, &mut hits);
            layer = escapes::decode(&decoded.bytes).map(|next| Decoded {
                places: next.places.iter().map(|place| decoded.places[*place]).collect(),
                bytes: next.bytes,
            });
        }
        hits
    }

    /// Finds values in a layer of the text: the text itself, or one with escapes decoded, whose places `place` finds in the text.
    fn find_in(&self, layer: &[u8], place: &dyn Fn(usize) -> usize, text: &[u8], hits: &mut Vec<KnownHit>) {
        for found in self.exact.iter().flat_map(|exact| exact.find_iter(layer)) {
            let (name, is_text) = &self.exact_names[found.pattern().as_usize()];
            let span = place(found.start())..place(found.end());
            // A value that is as short as a word is found in longer words, too, and masking those would garble ordinary text.
            // Bytes that are no text have no words beside them.
            if !is_text {
                hits.push(KnownHit { span, pieces: Vec::new(), name: name.clone() });
            } else if stands_alone(layer, &found.range()) {
                hits.push(KnownHit::new(text, span, name.clone()));
            }
        }
        let squeezed = squeeze(layer);
        let mut found: Vec<(Range<usize>, &Form)> = self
            .squeezed
            .find_overlapping_iter(&squeezed)
            .filter_map(|found| {
                let form = &self.forms[found.pattern().as_usize()];
                let range = found.end() - form.length..found.end();
                match form.agent {
                    Some(agent) => Some((agent_tokens::whole(&squeezed, range, agent)?, form)),
                    None => Some((range, form)),
                }
            })
            .collect();
        if found.is_empty() {
            return;
        }
        found.sort_by_key(|(range, _)| range.start);
        let ranges: Vec<Range<usize>> = found.iter().map(|(range, _)| range.clone()).collect();
        for ((range, form), span) in found.iter().zip(unsqueeze(layer, &ranges)) {
            let span = place(span.start)..place(span.end);
            // Pieces that are too far apart are no value any more, and a mask over all between them would hide the rest.
            if span.len() <= limits::KNOWN_APART + limits::KNOWN_SPREAD * range.len() {
                // Where a part was found the rest of the value stands beside it, and half a key that is left readable is
                // worth as much as a whole one.
                let span = if form.part { with_rest(text, span) } else { span };
                hits.push(KnownHit::new(text, span, form.name.clone()));
            }
        }
    }
}

/// Tells whether no word goes on at either end.
fn stands_alone(text: &[u8], span: &Range<usize>) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    !word(span.start.checked_sub(1)) && !word(Some(span.end))
}

/// Widens a span to the run of encoded text that it is a part of: a part of a key in base64 is not left standing.
fn with_rest(text: &[u8], span: Range<usize>) -> Range<usize> {
    let of_run =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'%');
    let before =
        text[..span.start].iter().rev().take(limits::KNOWN_REST).take_while(|byte| of_run(byte)).count();
    let after = text[span.end..].iter().take(limits::KNOWN_REST).take_while(|byte| of_run(byte)).count();
    span.start - before..span.end + after
}
