//! Plain tables for the terminal.

/// Rows of cells, set in columns as wide as their widest cell; the first row is the header.
pub(crate) fn render<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|cell| cell.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut lines = vec![line(&header.map(str::to_owned), &widths)];
    lines.push(widths.map(|width| "-".repeat(width)).join("  "));
    lines.extend(rows.iter().map(|row| line(row, &widths)));
    lines.join("\n")
}

fn line<const N: usize>(cells: &[String; N], widths: &[usize; N]) -> String {
    let padded: Vec<_> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    padded.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = render(
            ["a", "long"],
            &[
                ["wide".to_owned(), "x".to_owned()],
                ["é".to_owned(), String::new()],
            ],
        );
        assert_eq!(table, "a     long\n----  ----\nwide  x\né");
    }
}
