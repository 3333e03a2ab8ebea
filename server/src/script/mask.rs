//! Secrets in the lines that errors show: each letter becomes a star, so that columns stay.

use connectors::options::secrets;
use sql::statement::settings;

/// The text without its secrets, line by line and column by column the same.
pub(crate) fn masked(text: &str) -> String {
    let mut lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    for (key, span) in settings(text) {
        let index = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let (first, last) = (index(span.start.line), index(span.end.line));
        // The places of the value's letters, and the value as the text has it.
        let mut places = vec![];
        for line in first..=last.min(lines.len()) {
            let Some(letters) = line.checked_sub(1).and_then(|line| lines.get(line)) else {
                continue;
            };
            let from = if line == first {
                index(span.start.column).saturating_sub(1)
            } else {
                0
            };
            let to = if line == last {
                index(span.end.column).saturating_sub(1).min(letters.len())
            } else {
                letters.len()
            };
            places.extend((from..to).map(|column| (line - 1, column)));
        }
        let value: Vec<char> = places.iter().map(|(row, at)| lines[*row][*at]).collect();
        let quoted = value.len() >= 2 && value[0] == '\'' && value[value.len() - 1] == '\'';
        let (skip, end) = (usize::from(quoted), value.len() - usize::from(quoted));
        let value: String = value[skip..end].iter().collect();
        let hidden = secrets(&key, &value);
        for ((byte, _), (row, at)) in value.char_indices().zip(&places[skip..end]) {
            if hidden.iter().any(|hidden| hidden.contains(&byte)) {
                lines[*row][*at] = '*';
            }
        }
    }
    let lines = lines.iter().map(|line| line.iter().collect::<String>());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn secrets_become_stars_in_place() {
        let text = "CREATE TABLE t (a INT) WITH ('url' = 'http://me:HUNTER2@h/x?token=HUNTER2&n=1',\n\
                    'headers.X' = 'HUNTER2', properties.sasl.password = 'HUN\nTER2', 'rate' = '5');\n\
                    SELECT 'http://h/x' FROM t";
        let shown = masked(text);
        assert!(!shown.contains("HUN") && !shown.contains("TER2"), "{shown}");
        let first =
            "CREATE TABLE t (a INT) WITH ('url' = 'http://**********@h/x?token=*******&n=*',";
        assert_eq!(shown.lines().next(), Some(first));
        assert!(shown.contains("'rate' = '5'"), "{shown}");
        assert!(shown.contains("SELECT 'http://h/x' FROM t"), "{shown}");
        let lengths = |text: &str| text.lines().map(str::len).collect::<Vec<_>>();
        assert_eq!(lengths(&shown), lengths(text));
    }

    #[test]
    fn a_secret_without_its_end_is_hidden() {
        let shown = masked("CREATE TABLE t (a INT) WITH ('password' = 'HUNTER2)");
        assert!(!shown.contains("HUNTER2"), "{shown}");
    }
}
