//! The tags of a template and the tokens within them, as Jinja2's lexer finds them.

/// Operators of several characters.
const LONG: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Name,
    Number,
    Text,
    Operator,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Bytes from the beginning of the source.
    pub(super) at: usize,
}

/// The next `{{`, `{%` or `{#`.
pub(super) fn next_tag(source: &str, from: usize) -> Option<(usize, &str)> {
    let mut at = from;
    loop {
        at += source.get(at..)?.find('{')?;
        match source.get(at..at + 2) {
            Some(tag @ ("{{" | "{%" | "{#")) => return Some((at, tag)),
            _ => at += 1,
        }
    }
}

/// The tokens of a tag up to `close`, and where the text behind it begins; `None` if the tag does not close.
pub(super) fn tokens<'a>(source: &'a str, from: usize, close: &str) -> Option<(Vec<Token<'a>>, usize)> {
    let (mut tokens, mut at, mut depth) = (Vec::new(), from, 0i64);
    // The marker of whitespace control belongs to the tag.
    if source[at..].starts_with(['-', '+']) {
        at += 1;
    }
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let ends = rest.starts_with(close) || (rest.starts_with(['-', '+']) && rest[1..].starts_with(close));
        if depth == 0 && ends {
            return Some((tokens, at + close.len() + usize::from(!rest.starts_with(close))));
        }
        let (kind, len) = match c {
            c if c.is_whitespace() => {
                at += c.len_utf8();
                continue;
            }
            '"' | '\'' => (Kind::Text, quoted(rest, c)),
            c if c.is_ascii_digit() => {
                let part = |c: char| !(c.is_alphanumeric() || c == '_');
                let len = rest.find(part).unwrap_or(rest.len());
                // A fraction, but not an attribute, and the sign of an exponent.
                let fraction =
                    rest[len..].starts_with('.') && rest[len + 1..].starts_with(|c: char| c.is_ascii_digit());
                let len =
                    if fraction { len + 1 + rest[len + 1..].find(part).unwrap_or(rest.len() - len - 1) } else { len };
                let signed = rest[..len].ends_with(['e', 'E']) && rest[len..].starts_with(['-', '+']);
                let hex = rest.starts_with("0x") || rest.starts_with("0X");
                let len = match signed && !hex {
                    true => len + 1 + rest[len + 1..].find(part).unwrap_or(rest.len() - len - 1),
                    false => len,
                };
                (Kind::Number, len)
            }
            c if c.is_alphabetic() || c == '_' => {
                (Kind::Name, rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()))
            }
            c => {
                let long = LONG.iter().find(|operator| rest.starts_with(**operator));
                depth += match c {
                    '(' | '[' | '{' => 1,
                    ')' | ']' | '}' => -1,
                    _ => 0,
                };
                (Kind::Operator, long.map_or(c.len_utf8(), |operator| operator.len()))
            }
        };
        tokens.push(Token { kind, text: &rest[..len], at });
        at += len;
    }
    None
}

/// Bytes of a string with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}
