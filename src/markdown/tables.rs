//! Tables: a grid of cells, written when the table ends.
//!
//! `rowspan` repeats a value in the rows below, `colspan` leaves the rest of the span empty (design, section 6).
//! Spans are believed only as far as the table's own size makes them plausible, so that output stays linear.

/// What spans may add: this many cells for each real one.
const SPANNED_PER_CELL: usize = 16;

/// What spans may add beyond what their own table makes plausible: some cells and some repeated text for all the small
/// tables of a page together.
#[derive(Debug)]
pub(super) struct Allowance {
    cells: usize,
    bytes: usize,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { cells: 4096, bytes: 64 << 10 }
    }
}

/// HTML's own limit of `colspan`.
const WIDEST_SPAN: usize = 1000;

#[derive(Debug)]
struct Cell {
    text: String,
    header: bool,
    columns: usize,
    rows: usize,
}

/// Which part of a table a row stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Head,
    Body,
    Foot,
}

/// A table under way.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
    /// Rows of `tfoot`: at the bottom, wherever they are written.
    foot: Vec<Vec<Cell>>,
    in_foot: bool,
    /// Whether the first row that has a cell stands in a `thead`.
    has_head: bool,
}

/// A table as Markdown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) lines: String,
    /// Cells of spans that were left out.
    pub(super) cut: usize,
}

impl Table {
    pub(super) fn begin_row(&mut self, section: Section) {
        self.in_foot = section == Section::Foot;
        if self.in_foot {
            self.foot.push(Vec::new());
            return;
        }
        if self.rows.iter().all(Vec::is_empty) {
            self.rows.clear();
            self.has_head = section == Section::Head;
        }
        self.rows.push(Vec::new());
    }

    pub(super) fn push_cell(
        &mut self,
        text: String,
        header: bool,
        columns: Option<&str>,
        rows: Option<&str>,
    ) {
        let span = |value: Option<&str>| value.and_then(|value| value.trim().parse::<usize>().ok());
        let cell = Cell {
            text,
            header,
            columns: span(columns).unwrap_or(1).clamp(1, WIDEST_SPAN),
            // Zero means the rest of the section in HTML; a value that does not fit is as large as it gets.
            rows: match (span(rows), rows) {
                (Some(0), _) => usize::MAX,
                (Some(rows), _) => rows,
                (None, Some(text)) if text.trim().len() > 10 => usize::MAX,
                (None, _) => 1,
            },
        };
        let rows = if self.in_foot { &mut self.foot } else { &mut self.rows };
        match rows.last_mut() {
            Some(row) => row.push(cell),
            None => rows.push(vec![cell]),
        }
    }

    /// The table as lines of one row each, cells separated by spaces: how a table inside of a cell is shown.
    pub(super) fn flatten(&self) -> Vec<String> {
        let row = |row: &Vec<Cell>| {
            let texts: Vec<&str> =
                row.iter().map(|cell| cell.text.as_str()).filter(|text| !text.is_empty()).collect();
            texts.join(" ")
        };
        self.rows.iter().chain(&self.foot).map(row).filter(|line| !line.is_empty()).collect()
    }

    /// The table in GitHub's notation; empty if it has no cell.
    pub(super) fn write(mut self, allowance: &mut Allowance) -> Written {
        self.rows.append(&mut self.foot);
        let cells: usize = self.rows.iter().map(Vec::len).sum();
        let bytes: usize = self.rows.iter().flatten().map(|cell| cell.text.len()).sum();
        if cells == 0 {
            return Written { lines: String::new(), cut: 0 };
        }
        let mut spanned = cells.saturating_mul(SPANNED_PER_CELL).saturating_add(allowance.cells);
        let mut repeated = bytes.saturating_add(allowance.bytes);
        let mut cut = 0;
        // Cells of the rows above that reach into this one: rows left, the cell, and whether this column repeats it.
        let mut above: Vec<Option<Reach<'_>>> = Vec::new();
        let mut grid: Vec<Vec<&str>> = Vec::with_capacity(self.rows.len());
        let header = self.has_head
            || self.rows.first().is_some_and(|row| !row.is_empty() && row.iter().all(|cell| cell.header));
        for row in &self.rows {
            let mut line: Vec<&str> = Vec::with_capacity(row.len());
            let mut cells = row.iter();
            loop {
                let column = line.len();
                if let Some(reach) =
                    above.get_mut(column).and_then(Option::as_mut).filter(|reach| reach.rows > 0)
                {
                    if spanned == 0 || repeated < reach.text.len() {
                        // Beyond what is plausible the span ends here, or a few rows could stand for millions of cells.
                        reach.rows = 0;
                        cut += 1;
                    } else {
                        reach.rows -= 1;
                        spanned -= 1;
                        repeated -= reach.text.len();
                        line.push(reach.text);
                    }
                    continue;
                }
                let Some(cell) = cells.next() else {
                    // Cells from above may still wait further to the right.
                    let Some(gap) = above
                        .iter()
                        .skip(column)
                        .position(|reach| reach.as_ref().is_some_and(|r| r.rows > 0))
                    else {
                        break;
                    };
                    if gap > spanned {
                        cut += above.drain(column..).flatten().filter(|reach| reach.rows > 0).count();
                        break;
                    }
                    spanned -= gap;
                    line.extend(std::iter::repeat_n("", gap));
                    continue;
                };
                let columns = cell.columns.min(spanned.saturating_add(1));
                cut += cell.columns - columns;
                spanned -= columns - 1;
                for offset in 0..columns {
                    let text = if offset == 0 { cell.text.as_str() } else { "" };
                    line.push(text);
                    if cell.rows > 1 {
                        let at = column + offset;
                        if above.len() <= at {
                            above.resize_with(at + 1, || None);
                        }
                        if let Some(slot) = above.get_mut(at) {
                            *slot = Some(Reach { rows: cell.rows - 1, text });
                        }
                    }
                }
            }
            // What reaches no further must not be looked at again, row by row.
            while above.pop_if(|reach| reach.as_ref().is_none_or(|reach| reach.rows == 0)).is_some() {}
            if !line.is_empty() {
                grid.push(line);
            }
        }
        // A table takes from the page's allowance only what it could not pay itself.
        allowance.cells = allowance.cells.min(spanned);
        allowance.bytes = allowance.bytes.min(repeated);
        let width = grid.iter().map(Vec::len).max().unwrap_or(0);
        let mut lines = String::with_capacity(bytes + cells * 3 + width * 10);
        let (head, body) = match grid.split_first() {
            Some((first, rest)) if header => (first.as_slice(), rest),
            _ => (&[] as &[&str], grid.as_slice()),
        };
        push_row(&mut lines, head, width);
        lines.push('|');
        for _ in 0..width {
            lines.push_str(" --- |");
        }
        lines.push('\n');
        for row in body {
            // GitHub fills rows that are short.
            push_row(&mut lines, row, row.len());
        }
        Written { lines, cut }
    }
}

#[derive(Debug)]
struct Reach<'a> {
    rows: usize,
    text: &'a str,
}

fn push_row(lines: &mut String, row: &[&str], width: usize) {
    lines.push('|');
    for column in 0..width {
        lines.push(' ');
        if let Some(text) = row.get(column).filter(|text| !text.is_empty()) {
            lines.push_str(text);
            lines.push(' ');
        }
        lines.push('|');
    }
    lines.push('\n');
}
