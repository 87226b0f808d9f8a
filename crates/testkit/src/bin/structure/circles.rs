//! Circles in a graph: its strongly connected components of more than one node (Tarjan).

use std::collections::{BTreeMap, BTreeSet};

/// Each node with the nodes that it leads to.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the circles, the largest first, each in order of names.
pub(crate) fn of(graph: &Graph) -> Vec<Vec<String>> {
    let mut search = Search::new(graph);
    for node in graph.keys() {
        if !search.number.contains_key(node.as_str()) {
            search.visit(node);
        }
    }
    let mut found = search.found;
    found.sort_by_key(|circle| std::cmp::Reverse(circle.len()));
    found
}

struct Search<'a> {
    graph: &'a Graph,
    number: BTreeMap<&'a str, usize>,
    lowest: BTreeMap<&'a str, usize>,
    path: Vec<&'a str>,
    found: Vec<Vec<String>>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph) -> Self {
        let (number, lowest) = (BTreeMap::new(), BTreeMap::new());
        Self { graph, number, lowest, path: Vec::new(), found: Vec::new() }
    }

    fn visit(&mut self, node: &'a str) {
        let own = self.number.len();
        self.number.insert(node, own);
        self.lowest.insert(node, own);
        self.path.push(node);
        for next in self.graph.get(node).into_iter().flatten() {
            if !self.number.contains_key(next.as_str()) {
                self.visit(next);
                self.lower(node, self.lowest[next.as_str()]);
            } else if self.path.contains(&next.as_str()) {
                self.lower(node, self.number[next.as_str()]);
            }
        }
        if self.lowest[node] == own {
            let from = self.path.iter().position(|other| *other == node).unwrap_or_default();
            let mut circle: Vec<String> = self.path.split_off(from).into_iter().map(str::to_owned).collect();
            if circle.len() > 1 {
                circle.sort();
                self.found.push(circle);
            }
        }
    }

    fn lower(&mut self, node: &'a str, to: usize) {
        let lowest = self.lowest.entry(node).or_insert(to);
        *lowest = (*lowest).min(to);
    }
}
