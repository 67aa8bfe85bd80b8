//! A unified diff of two texts, each line made safe for a terminal.

use model::quote;

/// Lines around a difference.
const AROUND: usize = 3;
/// Cells of the table that finds common lines. Larger texts are shown as replaced as a whole.
const CELLS_MAX: usize = 4_000_000;
/// The longest line that is shown, in bytes.
const LINE_BYTES_MAX: usize = 1000;
/// So many lines of one file are shown.
const LINES_MAX: usize = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Same(usize, usize),
    Old(usize),
    New(usize),
}

/// The hunks that lead from `old` to `new`.
pub(super) fn unified(old: &[u8], new: &[u8]) -> String {
    let (old, new) = (lines(old), lines(new));
    let all = compare(&old, &new);
    let near = |at: usize| {
        let from = at.saturating_sub(AROUND);
        all[from..all.len().min(at + AROUND + 1)].iter().any(|line| !matches!(line, Line::Same(..)))
    };
    let mut text = String::new();
    let (mut at, mut shown) = (0, 0);
    while at < all.len() {
        if !near(at) {
            at += 1;
            continue;
        }
        let end = (at..all.len()).find(|at| !near(*at)).unwrap_or(all.len());
        text.push_str(&header(&all[at..end]));
        for line in &all[at..end] {
            if shown == LINES_MAX {
                text.push_str("(more is not shown)\n");
                return text;
            }
            shown += 1;
            let (mark, bytes) = match line {
                Line::Same(at, _) => (' ', old[*at]),
                Line::Old(at) => ('-', old[*at]),
                Line::New(at) => ('+', new[*at]),
            };
            text.push(mark);
            text.push_str(&safe(bytes));
            text.push('\n');
        }
        at = end;
    }
    text
}

fn header(hunk: &[Line]) -> String {
    let first = |side: fn(&Line) -> Option<usize>| {
        let mut numbers = hunk.iter().filter_map(side);
        let first = numbers.next();
        first.map_or((0, 0), |first| (first + 1, 1 + numbers.count()))
    };
    let old = first(|line| match line {
        Line::Same(at, _) | Line::Old(at) => Some(*at),
        Line::New(_) => None,
    });
    let new = first(|line| match line {
        Line::Same(_, at) | Line::New(at) => Some(*at),
        Line::Old(_) => None,
    });
    format!("@@ -{},{} +{},{} @@\n", old.0, old.1, new.0, new.1)
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
    // A text ends with a line break; one that does not ends with a line all the same.
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

/// The longest common subsequence between what is the same at both ends.
fn compare(old: &[&[u8]], new: &[&[u8]]) -> Vec<Line> {
    let head = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let most = old.len().min(new.len()) - head;
    let tail = old.iter().rev().zip(new.iter().rev()).take(most).take_while(|(old, new)| old == new).count();
    let mut all: Vec<Line> = (0..head).map(|at| Line::Same(at, at)).collect();
    let (rows, columns) = (old.len() - head - tail, new.len() - head - tail);
    if rows.saturating_mul(columns) > CELLS_MAX {
        all.extend((head..head + rows).map(Line::Old));
        all.extend((head..head + columns).map(Line::New));
    } else {
        let width = columns + 1;
        let mut length = vec![0_u32; (rows + 1) * width];
        for row in (0..rows).rev() {
            for column in (0..columns).rev() {
                length[row * width + column] = match old[head + row] == new[head + column] {
                    true => length[(row + 1) * width + column + 1] + 1,
                    false => length[(row + 1) * width + column].max(length[row * width + column + 1]),
                };
            }
        }
        let (mut row, mut column) = (0, 0);
        while row < rows || column < columns {
            if row < rows && column < columns && old[head + row] == new[head + column] {
                all.push(Line::Same(head + row, head + column));
                row += 1;
                column += 1;
            } else if column == columns
                || (row < rows && length[(row + 1) * width + column] >= length[row * width + column + 1])
            {
                all.push(Line::Old(head + row));
                row += 1;
            } else {
                all.push(Line::New(head + column));
                column += 1;
            }
        }
    }
    all.extend((0..tail).map(|at| Line::Same(old.len() - tail + at, new.len() - tail + at)));
    all
}

/// A line that cannot drive a terminal. Tabs stay, a backslash is one.
fn safe(line: &[u8]) -> String {
    let cut = &line[..line.len().min(LINE_BYTES_MAX)];
    let words: Vec<String> =
        cut.split(|byte| *byte == b'\t').map(|part| quote(part).replace(r"\\", r"\")).collect();
    let more = if cut.len() < line.len() { "…" } else { "" };
    format!("{}{more}", words.join("\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_line_is_shown_with_what_is_around_it() {
        let old = b"a\nb\nc\nd\ne\nf\ng\nh\n";
        let new = b"a\nb\nc\nd\nE\nf\ng\nh\ni\n";
        assert_eq!(unified(old, new), "@@ -2,7 +2,8 @@\n b\n c\n d\n-e\n+E\n f\n g\n h\n+i\n");
        assert_eq!(unified(b"", b"x"), "@@ -0,0 +1,1 @@\n+x\n");
        assert_eq!(unified(b"x\n", b""), "@@ -1,1 +0,0 @@\n-x\n");
        assert_eq!(unified(old, old), "");
    }

    #[test]
    fn text_cannot_drive_the_terminal() {
        assert_eq!(unified(b"", b"\x1b[2J\r\t\\x"), "@@ -0,0 +1,1 @@\n+\\x1b[2J\\x0d\t\\x\n");
    }

    #[test]
    fn large_texts_are_replaced_as_a_whole() {
        let text = |offset: usize| -> Vec<u8> {
            (0..3000).flat_map(|n| format!("{}\n", n * 2 + offset).into_bytes()).collect()
        };
        let shown = unified(&text(0), &text(1));
        assert!(shown.ends_with("(more is not shown)\n"));
        assert_eq!(shown.lines().count(), LINES_MAX + 2);
    }
}
