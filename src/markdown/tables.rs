//! Tables: a grid of cells, written when the table ends.
//!
//! `rowspan` repeats a value in the rows below, `colspan` leaves the rest of the span empty (design, section 6).
//! Spans are believed only as far as the table's own size makes them plausible, so that output stays linear.

/// What spans may add: this many cells for each real one, and some for small tables.
const SPANNED_PER_CELL: usize = 16;
const SPANNED_AT_LEAST: usize = 4096;

/// What repeated values may add to a table: as much as it holds itself, and some for small tables.
const REPEATED_AT_LEAST: usize = 64 << 10;

/// HTML's own limit of `colspan`.
const WIDEST_SPAN: usize = 1000;

#[derive(Debug)]
struct Cell {
    text: String,
    header: bool,
    columns: usize,
    rows: usize,
}

/// A table under way.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<Cell>>,
}

/// A table as Markdown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) lines: String,
    /// Cells of spans that were left out.
    pub(super) cut: usize,
}

impl Table {
    pub(super) fn begin_row(&mut self) {
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
        if self.rows.is_empty() {
            self.begin_row();
        }
        if let Some(row) = self.rows.last_mut() {
            row.push(cell);
        }
    }

    /// The table as lines of one row each, cells separated by spaces: how a table inside of a cell is shown.
    pub(super) fn flatten(&self) -> Vec<String> {
        let row = |row: &Vec<Cell>| {
            let texts: Vec<&str> =
                row.iter().map(|cell| cell.text.as_str()).filter(|text| !text.is_empty()).collect();
            texts.join(" ")
        };
        self.rows.iter().map(row).filter(|line| !line.is_empty()).collect()
    }

    /// The table in GitHub's notation; empty if it has no cell.
    pub(super) fn write(self) -> Written {
        let cells: usize = self.rows.iter().map(Vec::len).sum();
        let bytes: usize = self.rows.iter().flatten().map(|cell| cell.text.len()).sum();
        if cells == 0 {
            return Written { lines: String::new(), cut: 0 };
        }
        let mut spanned = cells.saturating_mul(SPANNED_PER_CELL).saturating_add(SPANNED_AT_LEAST);
        let mut repeated = bytes.saturating_add(REPEATED_AT_LEAST);
        let mut cut = 0;
        // Cells of the rows above that reach into this one: rows left, the cell, and whether this column repeats it.
        let mut above: Vec<Option<Reach<'_>>> = Vec::new();
        let mut grid: Vec<Vec<&str>> = Vec::with_capacity(self.rows.len());
        let header =
            self.rows.first().is_some_and(|row| !row.is_empty() && row.iter().all(|cell| cell.header));
        for row in self.rows.iter().filter(|row| !row.is_empty()) {
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
                    match above
                        .iter()
                        .skip(column)
                        .position(|reach| reach.as_ref().is_some_and(|r| r.rows > 0))
                    {
                        Some(gap) => line.extend(std::iter::repeat_n("", gap)),
                        None => break,
                    }
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
            grid.push(line);
        }
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
