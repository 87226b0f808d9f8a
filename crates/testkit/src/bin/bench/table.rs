//! The result table and the few statistics it needs.

use std::fmt::Write as _;

/// Rows of figures, each with its target where there is one.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    /// Adds a row and shows it at once, so that a long run is not silent.
    pub(crate) fn row(&mut self, what: &str, figure: &str, target: &str, met: Option<bool>) {
        let met = met.map_or("", |met| if met { "yes" } else { "**no**" });
        eprintln!(
            "{what}: {figure}{}",
            if target.is_empty() { String::new() } else { format!(" (target {target})") }
        );
        self.rows.push([what, figure, target, met].map(str::to_owned));
    }

    /// Returns the table in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = "| what | figure | target | met |\n|---|---|---|---|\n".to_owned();
        for [what, figure, target, met] in &self.rows {
            writeln!(text, "| {what} | {figure} | {target} | {met} |").expect("writing to a string succeeds");
        }
        text
    }
}

/// Returns the value below which this share (0–1) of the values lies; 0 of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * share).ceil() as usize).saturating_sub(1);
    sorted.get(at).copied().unwrap_or(0.0)
}

/// Returns the middle value; of an even number the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (n, middle) if n % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&values), 2.5);
        assert_eq!(median(&values[..3]), 3.0);
        assert_eq!(quantile(&values, 0.5), 2.0);
        assert_eq!(quantile(&values, 0.99), 4.0);
        assert_eq!(quantile(&[], 0.5), 0.0);
    }
}
