//! The modules of one crate, a file each, and which of them names something in which other. A name that a module only passes
//! on (`pub use`) counts as one of the module that it comes from. Tests inside a file are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::circles::Graph;
use crate::figures::sources;

/// A module's path from its crate's root; the root's is empty.
type Name = Vec<String>;

/// Re-exports that lead to re-exports are followed this far.
const DEPTH: usize = 8;

/// All modules of one crate.
pub(crate) struct Modules(BTreeMap<Name, Module>);

#[derive(Default)]
struct Module {
    /// Every path that the module names, from the crate's root on.
    named: BTreeSet<Name>,
    /// Names that it brings into its own scope, each with the path that it stands for.
    scope: BTreeMap<String, Name>,
}

/// Reads the modules below a crate's `src`.
pub(crate) fn of_crate(src: &Path) -> Modules {
    let files = sources(src);
    let prefix = format!("{}/", src.display());
    let names: Vec<(Name, &str)> = files
        .iter()
        .filter(|(path, _)| !path.contains("/bin/"))
        .map(|(path, text)| (name_of(path.strip_prefix(&prefix).unwrap_or(path)), text.as_str()))
        .collect();
    let known: BTreeSet<Name> = names.iter().map(|(name, _)| name.clone()).collect();
    Modules(names.into_iter().map(|(name, text)| (name.clone(), read(&name, text, &known))).collect())
}

impl Modules {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns which modules each module names.
    pub(crate) fn imports(&self) -> Graph {
        let shown = |name: &Name| if name.is_empty() { "crate".to_owned() } else { name.join("::") };
        let edges = |name: &Name, module: &Module| {
            let targets = module.named.iter().filter_map(|path| self.target(path, DEPTH));
            targets.filter(|target| target != name).map(|target| shown(&target)).collect()
        };
        self.0.iter().map(|(name, module)| (shown(name), edges(name, module))).collect()
    }

    /// Returns the module that defines what a path names.
    fn target(&self, path: &Name, depth: usize) -> Option<Name> {
        let length = (0..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let (module, rest) = (&path[..length], &path[length..]);
        if let (Some(first), true) = (rest.first(), depth > 0)
            && let Some(elsewhere) = self.0[module].scope.get(first)
            && elsewhere != path
        {
            return self.target(elsewhere, depth - 1);
        }
        // The root by itself is named by `crate::` paths that lead to no file of ours, macros above all.
        (!(module.is_empty() && rest.is_empty())).then(|| module.to_vec())
    }
}

fn name_of(path: &str) -> Name {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    let mut parts: Name = path.split('/').map(str::to_owned).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

fn read(name: &Name, text: &str, known: &BTreeSet<Name>) -> Module {
    let code: Vec<&str> = text
        .lines()
        .take_while(|line| *line != "mod tests {")
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect();
    let mut module = Module::default();
    let (statements, rest) = uses(&code);
    for statement in statements {
        for (path, alias) in expand(&statement) {
            if let Some(path) = absolute(name, &path, known) {
                module.scope.insert(alias, path.clone());
                module.named.insert(path);
            }
        }
    }
    let words: Vec<&str> = rest.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).collect();
    for word in words.iter().filter(|word| word.contains("::")) {
        let path: Vec<String> = word.split("::").filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if let Some(path) = absolute(name, &path, known) {
            module.named.insert(path);
        }
    }
    module
}

/// Returns the `use` statements of a file, each as one line without the word, and the rest of it: in a statement
/// `super::{a, b}` the parent itself is not named.
fn uses(code: &[&str]) -> (Vec<String>, String) {
    let (mut found, mut rest) = (Vec::new(), String::new());
    let mut open: Option<String> = None;
    for line in code.iter().map(|line| line.trim()) {
        let begun =
            line.split_once("use ").filter(|(before, _)| before.is_empty() || before.starts_with("pub"));
        let part = match (&open, begun) {
            (None, Some((_, tree))) => tree,
            (Some(_), _) => line,
            (None, None) => {
                rest.push_str(line);
                rest.push(' ');
                continue;
            }
        };
        let text = open.get_or_insert_default();
        text.push_str(part);
        if part.ends_with(';') {
            found.push(text.trim_end_matches(';').to_owned());
            open = None;
        }
    }
    (found, rest)
}

/// Expands `a::{b, c::{d, self}}` into paths, each with the name that it gets.
fn expand(tree: &str) -> Vec<(Vec<String>, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        if parts.len() > 1 && parts.last().is_some_and(|last| last == "self") {
            parts.pop();
        }
        let last = parts.last().cloned().unwrap_or_default();
        return vec![(parts, alias.map_or(last, |alias| alias.trim().to_owned()))];
    };
    let prefix = &tree[..open];
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    // The closing braces of inner groups were cut off with the outer one's; the splitting counts what is open.
    split(inner).into_iter().flat_map(|part| expand(&format!("{prefix}{part}"))).collect()
}

/// Splits a group at the commas that stand in no inner group.
fn split(group: &str) -> Vec<String> {
    let (mut parts, mut depth, mut part) = (Vec::new(), 0_usize, String::new());
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// Returns a path from the crate's root on; none when it leads out of the crate.
fn absolute(module: &Name, path: &[String], known: &BTreeSet<Name>) -> Option<Name> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let above = module[..module.len().checked_sub(1)?].to_vec();
            if rest.first().is_some_and(|next| next == "super") {
                return absolute(&above, rest, known);
            }
            Some([above.as_slice(), rest].concat())
        }
        _ => {
            let child = [module.as_slice(), std::slice::from_ref(first)].concat();
            known.contains(&child).then(|| [child.as_slice(), rest].concat())
        }
    }
}
