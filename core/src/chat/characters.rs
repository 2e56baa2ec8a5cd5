//! Python's character classes and case conversions.

/// The test behind a method such as `isdigit`.
pub(super) fn test(method: &str) -> Option<fn(&str) -> bool> {
    fn all(text: &str, test: impl Fn(char) -> bool) -> bool {
        !text.is_empty() && text.chars().all(test)
    }
    Some(match method {
        "isalnum" => |text| all(text, |c| c.is_alphanumeric()),
        "isalpha" => |text| all(text, char::is_alphabetic),
        "isascii" => |text| text.is_ascii(),
        "isdecimal" => |text| all(text, is_decimal),
        "isdigit" => |text| all(text, |c| is_decimal(c) || is_raised_digit(c)),
        "isnumeric" => |text| all(text, char::is_numeric),
        "isspace" => |text| all(text, is_space),
        "isprintable" => |text| text.chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace())),
        "islower" => |text| text.chars().any(char::is_lowercase) && !text.chars().any(char::is_uppercase),
        "isupper" => |text| text.chars().any(char::is_uppercase) && !text.chars().any(char::is_lowercase),
        "isidentifier" => |text| {
            let first = text.chars().next().is_some_and(|c| c == '_' || c.is_alphabetic());
            first && text.chars().all(|c| c == '_' || c.is_alphanumeric())
        },
        "istitle" => |text| {
            let (mut cased, mut any) = (false, false);
            for c in text.chars() {
                if c.is_uppercase() == cased && is_cased(c) {
                    return false;
                }
                cased = is_cased(c);
                any |= cased;
            }
            any
        },
        _ => return None,
    })
}

/// Python counts the separators of files and records as spaces, too.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn is_cased(c: char) -> bool {
    c.is_lowercase() || c.is_uppercase()
}

/// The zeros of Unicode's decimal digits below U+10000: nine more follow each.
const ZEROS: [u32; 37] = [
    0x30, 0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0,
    0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620,
    0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
];

fn is_decimal(c: char) -> bool {
    ZEROS.iter().any(|zero| (*zero..zero + 10).contains(&c.into()))
}

fn is_raised_digit(c: char) -> bool {
    matches!(c, '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{2070}' | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}')
}

/// Lower case, and what Unicode folds besides in Latin and Greek.
pub(super) fn casefold(text: &str) -> String {
    let folded = text.chars().flat_map(char::to_lowercase).collect::<String>();
    folded.replace('\u{df}', "ss").replace('\u{3c2}', "\u{3c3}").replace('\u{17f}', "s")
}

/// A letter as a word begins with it.
fn initial(c: char) -> String {
    if c == '\u{df}' { "Ss".into() } else { c.to_uppercase().collect() }
}

pub(super) fn capitalize(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(initial).unwrap_or_default();
    first + &chars.as_str().to_lowercase()
}

pub(super) fn title(text: &str) -> String {
    let (mut out, mut cased) = (String::with_capacity(text.len()), false);
    for c in text.chars() {
        match cased {
            true => out.extend(c.to_lowercase()),
            false => out.push_str(&initial(c)),
        }
        cased = is_cased(c);
    }
    out
}

pub(super) fn swapcase(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_uppercase() {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
    }
    out
}
