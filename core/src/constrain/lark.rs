//! Texts in grammars of Lark.

/// A text as a literal of Lark: a string of JSON, with an escape for DEL, which its lexer does not take.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// How deep brackets nest in a grammar, outside of its texts, expressions and comments.
#[cfg(feature = "constrain")]
pub(super) fn levels(grammar: &str) -> usize {
    let (mut level, mut most, mut until, mut escaped) = (0usize, 0, None, false);
    let mut characters = grammar.chars().peekable();
    while let Some(c) = characters.next() {
        match until {
            Some(_) if escaped => escaped = false,
            Some(end) if end != '\n' && c == '\\' => escaped = true,
            Some(end) if c == end || c == '\n' => until = None,
            Some(_) => {}
            None => match c {
                '"' => until = Some('"'),
                '#' => until = Some('\n'),
                // One slash begins an expression, two begin a comment.
                '/' => until = Some(if characters.peek() == Some(&'/') { '\n' } else { '/' }),
                '(' | '[' | '{' => level += 1,
                ')' | ']' | '}' => level = level.saturating_sub(1),
                _ => {}
            },
        }
        most = most.max(level);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_those_of_brackets_outside_of_texts() {
        assert_eq!(levels("start: (\"(((\" | [a] // ((((\n b) # ((((("), 2);
        assert_eq!(levels(&"(".repeat(500)), 500);
        assert_eq!(quoted("a\"\u{7f}\n"), r#""a\"\u007f\n""#);
    }
}
