//! Tables for people: aligned columns, dropped from right to left when the terminal is narrow; the columns that
//! say what and why never drop, the last one is cut.

use crate::color::Paint;
use crate::sanitize;

/// One column.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    /// Its heading.
    pub(crate) title: &'static str,
    /// Shown only when the terminal has at least this many columns; 0 always.
    pub(crate) from_width: usize,
    /// Figures are set flush right.
    pub(crate) right: bool,
}

/// Makes a column that never drops.
pub(crate) const fn column(title: &'static str) -> Column {
    Column { title, from_width: 0, right: false }
}

impl Column {
    /// Drops the column below this width.
    pub(crate) const fn from(mut self, width: usize) -> Self {
        self.from_width = width;
        self
    }

    /// Sets the column flush right.
    pub(crate) const fn right(mut self) -> Self {
        self.right = true;
        self
    }
}

/// Renders rows under their headings. `width` is `None` when nothing is to be dropped or cut. `indent` spaces
/// stand before every line. Cells must be escaped already; `colour` paints a padded cell.
pub(crate) fn render(
    columns: &[Column],
    rows: &[Vec<String>],
    width: Option<usize>,
    indent: usize,
    paint: Paint,
    colour: &dyn Fn(&str, &str, String) -> String,
) -> String {
    let shown: Vec<usize> =
        (0..columns.len()).filter(|&i| width.is_none_or(|w| columns[i].from_width <= w)).collect();
    let wide = |i: usize| {
        let cells = rows.iter().map(|row| sanitize::columns(&row[i])).max().unwrap_or(0);
        cells.max(sanitize::columns(columns[i].title))
    };
    let widths: Vec<usize> = shown.iter().map(|&i| wide(i)).collect();
    let line = |cells: &dyn Fn(usize) -> String, head: bool| {
        let mut text = " ".repeat(indent);
        let mut used = indent;
        for (at, &i) in shown.iter().enumerate() {
            let last = at + 1 == shown.len();
            let mut cell = cells(i);
            if let (true, Some(w)) = (last, width) {
                cell = sanitize::cut(&cell, w.saturating_sub(used).max(8));
            }
            let pad = " ".repeat(widths[at].saturating_sub(sanitize::columns(&cell)));
            let painted = if head { paint.dim(&cell) } else { colour(columns[i].title, &cell, cell.clone()) };
            if columns[i].right {
                text.push_str(&pad);
                text.push_str(&painted);
            } else {
                text.push_str(&painted);
                if !last {
                    text.push_str(&pad);
                }
            }
            if !last {
                text.push_str("  ");
            }
            used += widths[at] + 2;
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
        text
    };
    let mut out = line(&|i| columns[i].title.to_owned(), true);
    for row in rows {
        out.push_str(&line(&|i| row[i].clone(), false));
    }
    out
}

/// Renders rows for programs: one line each, cells separated by tabs, no headings left out.
pub(crate) fn tabs(columns: &[&str], rows: &[Vec<String>]) -> String {
    let mut out = columns.join("\t");
    out.push('\n');
    for row in rows {
        out.push_str(&row.join("\t"));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::color::ColorChoice;

    const COLUMNS: [Column; 4] =
        [column("AGENT"), column("ROLE").from(60), column("N").right(), column("WHY")];

    fn rows() -> Vec<Vec<String>> {
        let row =
            |a: &str, r: &str, n: &str, w: &str| vec![a.to_owned(), r.to_owned(), n.to_owned(), w.to_owned()];
        vec![row("fix-1a2b", "worker", "7", "done"), row("x", "tester", "120", "a longer reason for it")]
    }

    #[test]
    fn columns_align_and_narrow_terminals_drop_and_cut() {
        let same = |_: &str, _: &str, painted: String| painted;
        let wide =
            render(&COLUMNS, &rows(), None, 2, Paint::choose(ColorChoice::Never, false, &|_| None), &same);
        assert_eq!(
            wide,
            "  AGENT     ROLE      N  WHY\n  fix-1a2b  worker    7  done\n  x         tester  120  a longer reason for it\n"
        );
        let narrow = render(
            &COLUMNS,
            &rows(),
            Some(30),
            0,
            Paint::choose(ColorChoice::Never, false, &|_| None),
            &same,
        );
        assert_eq!(narrow, "AGENT       N  WHY\nfix-1a2b    7  done\nx         120  a longer reaso…\n");
    }
}
