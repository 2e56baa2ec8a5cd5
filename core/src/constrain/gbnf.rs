//! GBNF, llama.cpp's form of grammars, as Lark.
//!
//! A rule that leads to no recursion becomes a terminal, which is one regular expression: there, every way to cut a text is
//! tried. Rules that are recursive become rules of a parser, whose terminals are the longest that match. Source: the
//! documentation `grammars/README.md` of llama.cpp.

use super::MOST_LEVELS;
use super::lark::quoted;
use std::collections::HashMap;
use std::fmt::Write;

/// A repetition at most.
const MOST_REPEATS: u32 = 10_000;

/// True if a grammar has `::=` in front of any text.
pub(super) fn is_gbnf(grammar: &str) -> bool {
    grammar.lines().any(|line| line.split(['"', '#', '[', '/']).next().is_some_and(|front| front.contains("::=")))
}

/// # Errors
/// The line, the column and what is wrong there.
pub(super) fn to_lark(grammar: &str) -> Result<String, String> {
    let mut parser = Parser { text: grammar, at: 0, names: HashMap::new(), rules: Vec::new() };
    parser.grammar().map_err(|reason| {
        let before = &grammar[..grammar.floor_char_boundary(parser.at)];
        let (line, column) =
            (before.matches('\n').count() + 1, before.chars().rev().take_while(|c| *c != '\n').count() + 1);
        format!("line {line}, column {column} of the GBNF grammar: {reason}")
    })?;
    let root = *parser.names.get("root").ok_or("a GBNF grammar needs a rule root")?;
    let mut names = parser.names.iter();
    if let Some((name, _)) = names.find(|(_, at)| parser.rules[**at].is_none()) {
        return Err(format!("the GBNF grammar uses rule {name} and does not define it"));
    }
    let rules: Vec<Choice> = parser.rules.into_iter().flatten().collect();
    let recursive = recursive(&rules);
    let name = |rule: usize| format!("{}{rule}", if recursive[rule] { "r" } else { "T" });
    let mut lark = format!("start: {}\n", name(root));
    for (at, rule) in rules.iter().enumerate() {
        let _ = write!(lark, "{}: ", name(at));
        write_choice(&mut lark, rule, &name);
        lark.push('\n');
    }
    Ok(lark)
}

/// Sequences, one of which is taken.
type Choice = Vec<Vec<Item>>;

enum Item {
    Text(String),
    /// The inside of a class of characters, as the crate `regex` writes it.
    Class(String),
    Rule(usize),
    Group(Choice),
    Repeat(Box<Item>, u32, Option<u32>),
}

/// Rules that lead to themselves, or to rules that do.
fn recursive(rules: &[Choice]) -> Vec<bool> {
    fn references(choice: &Choice, into: &mut Vec<usize>) {
        for item in choice.iter().flatten() {
            let mut item = item;
            while let Item::Repeat(inner, ..) = item {
                item = inner;
            }
            match item {
                Item::Rule(rule) => into.push(*rule),
                Item::Group(group) => references(group, into),
                _ => {}
            }
        }
    }
    let all = |rule: &Choice| {
        let mut all = Vec::new();
        references(rule, &mut all);
        all
    };
    let references: Vec<Vec<usize>> = rules.iter().map(all).collect();
    // A rule is not recursive once all that it refers to are known not to be.
    let mut recursive = vec![true; rules.len()];
    let mut waiting: Vec<usize> = references.iter().map(Vec::len).collect();
    let mut users = vec![Vec::new(); rules.len()];
    references.iter().enumerate().for_each(|(at, all)| all.iter().for_each(|&used| users[used].push(at)));
    let mut ready: Vec<usize> = (0..rules.len()).filter(|&at| waiting[at] == 0).collect();
    while let Some(at) = ready.pop() {
        recursive[at] = false;
        for &user in &users[at] {
            waiting[user] -= 1;
            ready.extend((waiting[user] == 0).then_some(user));
        }
    }
    recursive
}

fn write_choice(lark: &mut String, choice: &Choice, name: &impl Fn(usize) -> String) {
    for (at, sequence) in choice.iter().enumerate() {
        lark.push_str(if at > 0 { " | " } else { "" });
        if sequence.is_empty() {
            lark.push_str("\"\"");
        }
        for (at, item) in sequence.iter().enumerate() {
            lark.push_str(if at > 0 { " " } else { "" });
            write_item(lark, item, name);
        }
    }
}

fn write_item(lark: &mut String, item: &Item, name: &impl Fn(usize) -> String) {
    match item {
        Item::Text(text) => lark.push_str(&quoted(text)),
        Item::Class(class) => {
            let _ = write!(lark, "/[{class}]/");
        }
        Item::Rule(rule) => lark.push_str(&name(*rule)),
        Item::Group(choice) => {
            lark.push('(');
            write_choice(lark, choice, name);
            lark.push(')');
        }
        Item::Repeat(inner, from, to) => {
            let nested = matches!(**inner, Item::Repeat(..));
            lark.push_str(if nested { "(" } else { "" });
            write_item(lark, inner, name);
            lark.push_str(if nested { ")" } else { "" });
            let _ = match (from, to) {
                (0, None) => write!(lark, "*"),
                (1, None) => write!(lark, "+"),
                (0, Some(1)) => write!(lark, "?"),
                (from, None) => write!(lark, "{{{from},}}"),
                (from, Some(to)) => write!(lark, "{{{from},{to}}}"),
            };
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    names: HashMap<String, usize>,
    rules: Vec<Option<Choice>>,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.text[self.at..].starts_with(text);
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Skips blanks and comments, and line breaks where they end nothing.
    fn blanks(&mut self, lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => self.at += 1,
                '\r' | '\n' if lines => self.at += 1,
                '#' => self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at),
                _ => break,
            }
        }
    }

    fn name(&mut self) -> Option<&str> {
        let rest = &self.text[self.at..];
        let len = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
        self.at += len;
        Some(&rest[..len]).filter(|name| !name.is_empty())
    }

    fn rule_of(&mut self, name: String) -> usize {
        let new = self.names.len();
        let at = *self.names.entry(name).or_insert(new);
        if at == self.rules.len() {
            self.rules.push(None);
        }
        at
    }

    fn grammar(&mut self) -> Result<(), String> {
        self.blanks(true);
        while self.at < self.text.len() {
            let name = self.name().map(str::to_owned).ok_or("expected the name of a rule")?;
            self.blanks(false);
            if !self.eat("::=") {
                return Err(format!("expected ::= behind {name}"));
            }
            let rule = self.rule_of(name.clone());
            if self.rules[rule].is_some() {
                return Err(format!("rule {name} is defined twice"));
            }
            let choice = self.choice(0)?;
            self.rules[rule] = Some(choice);
            self.blanks(false);
            if !matches!(self.peek(), None | Some('\r' | '\n')) {
                return Err("expected the end of the rule".into());
            }
            self.blanks(true);
        }
        Ok(())
    }

    fn choice(&mut self, level: usize) -> Result<Choice, String> {
        if level > MOST_LEVELS {
            return Err(format!("brackets nest more than {MOST_LEVELS} deep"));
        }
        let mut choice = Vec::new();
        loop {
            choice.push(self.sequence(level)?);
            // An alternative may stand on the next line.
            let before = self.at;
            self.blanks(true);
            if !self.eat("|") {
                self.at = before;
                return Ok(choice);
            }
        }
    }

    fn sequence(&mut self, level: usize) -> Result<Vec<Item>, String> {
        let mut items = Vec::new();
        // Behind `::=`, `|` and `(` a sequence may begin on the next line.
        let before = self.at;
        self.blanks(true);
        if matches!(self.peek(), None | Some('|' | ')')) {
            return Ok(items);
        }
        let defines = |parser: &Self| {
            let mut ahead = Parser { text: parser.text, at: parser.at, names: HashMap::new(), rules: Vec::new() };
            ahead.name().is_some() && {
                ahead.blanks(false);
                ahead.eat("::=")
            }
        };
        if level == 0 && defines(self) {
            self.at = before;
            return Ok(items);
        }
        while let Some(item) = self.item(level)? {
            items.push(item);
            self.blanks(level > 0);
        }
        Ok(items)
    }

    fn item(&mut self, level: usize) -> Result<Option<Item>, String> {
        let item = match self.peek() {
            Some('"') => self.literal()?,
            Some('[') => self.class()?,
            Some('.') => {
                self.at += 1;
                Item::Class(r"\x{0}-\x{10FFFF}".into())
            }
            Some('(') => {
                self.at += 1;
                let choice = self.choice(level + 1)?;
                self.blanks(true);
                if !self.eat(")") {
                    return Err("expected )".into());
                }
                Item::Group(choice)
            }
            Some(c) if c.is_ascii_alphanumeric() => {
                let name = self.name().map(str::to_owned).unwrap_or_default();
                Item::Rule(self.rule_of(name))
            }
            Some(c) if c == '<' || c == '!' => {
                return Err("tokens in GBNF are not supported: use a Lark grammar".into());
            }
            _ => return Ok(None),
        };
        self.repeated(item).map(Some)
    }

    fn repeated(&mut self, mut item: Item) -> Result<Item, String> {
        for _ in 0..MOST_LEVELS {
            self.blanks(false);
            let (from, to) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => self.bounds()?,
                _ => return Ok(item),
            };
            self.at += 1;
            item = Item::Repeat(item.into(), from, to);
        }
        Err("too many repetitions of repetitions".into())
    }

    /// `{2}`, `{2,}`, `{,3}` or `{2,3}`, up to its last bracket.
    fn bounds(&mut self) -> Result<(u32, Option<u32>), String> {
        let rest = &self.text[self.at + 1..];
        let inside = rest.split_once('}').ok_or("expected }")?.0;
        self.at += 1 + inside.len();
        let number = |text: &str| {
            let most = |n: &u32| *n <= MOST_REPEATS;
            let wrong = || format!("a repetition must be 0 to {MOST_REPEATS} times, got {{{}}}", inside.trim());
            text.trim().parse().ok().filter(most).ok_or_else(wrong)
        };
        let optional = |text: &str| if text.trim().is_empty() { Ok(None) } else { number(text).map(Some) };
        let (from, to) = match inside.split_once(',') {
            Some((from, to)) => (optional(from)?.unwrap_or(0), optional(to)?),
            None => (number(inside)?, Some(number(inside)?)),
        };
        match to {
            Some(to) if to < from => Err(format!("a repetition of {from} to {to} times is none")),
            to => Ok((from, to)),
        }
    }

    fn literal(&mut self) -> Result<Item, String> {
        self.at += 1;
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(Item::Text(text)),
                Some('\\') => text.push(self.escape()?),
                Some('\n') | None => return Err("a text does not end".into()),
                Some(c) => text.push(c),
            }
        }
    }

    fn class(&mut self) -> Result<Item, String> {
        self.at += 1;
        let mut class = String::from(if self.eat("^") { "^" } else { "" });
        loop {
            match self.next() {
                Some(']') if class.len() > 1 || class.is_empty() => break,
                Some('-') if !class.is_empty() && !class.ends_with('^') && self.peek() != Some(']') => class.push('-'),
                Some('\\') => {
                    let c = self.escape()?;
                    let _ = write!(class, r"\x{{{:X}}}", u32::from(c));
                }
                Some('\n') | None => return Err("a class of characters does not end".into()),
                Some(c) => {
                    let _ = write!(class, r"\x{{{:X}}}", u32::from(c));
                }
            }
        }
        match class.as_str() {
            "" => Err("a class of characters is empty".into()),
            _ => Ok(Item::Class(class)),
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let digits = match self.next() {
            Some('n') => return Ok('\n'),
            Some('t') => return Ok('\t'),
            Some('r') => return Ok('\r'),
            Some('x') => 2,
            Some('u') => 4,
            Some('U') => 8,
            Some(c) if c.is_ascii_punctuation() => return Ok(c),
            c => return Err(format!("unknown escape \\{}", c.unwrap_or(' '))),
        };
        let code = self.text.get(self.at..self.at + digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        self.at += digits;
        code.and_then(char::from_u32).ok_or_else(|| "an escape is no character".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gbnf_becomes_lark() {
        let grammar = "# two rules\nroot ::= (\"a\\\"\" | [^x-z\\n])+ item{2,3}\n  | \"\"\nitem ::= [0-9] item? .*\n";
        assert!(is_gbnf(grammar) && !is_gbnf("start: \"::=\""));
        let lark = "start: r0\nr0: (\"a\\\"\" | /[^\\x{78}-\\x{7A}\\x{A}]/)+ r1{2,3} | \"\"\nr1: /[\\x{30}-\\x{39}]/ r1? \
                    /[\\x{0}-\\x{10FFFF}]/*\n";
        assert_eq!(to_lark(grammar).as_deref(), Ok(lark));
        // Without recursion it is one expression.
        assert_eq!(to_lark("root ::= b\nb ::= \"x\"").as_deref(), Ok("start: T0\nT0: T1\nT1: \"x\"\n"));
    }

    #[test]
    fn gbnf_that_is_wrong_names_the_line() {
        let deep = format!("root ::= {}", "(".repeat(200));
        for (grammar, reason) in [
            ("root ::= x\n", "uses rule x"),
            ("x ::= \"a\"\n", "needs a rule root"),
            ("root ::= \"a\"\nroot ::= \"b\"", "line 2, column "),
            ("root ::= [a", "does not end"),
            ("root ::= \"a\"{3,2}", "is none"),
            ("root ::= \"a\"{999999999999}", "0 to 10000"),
            ("root ::= <think>", "tokens in GBNF"),
            ("root ::= \"\\u12", "no character"),
            ("root ::= \"a\" )", "end of the rule"),
            (&deep, "nest more"),
        ] {
            let error = to_lark(grammar).expect_err(grammar);
            assert!(error.contains(reason), "{grammar:?}: {error}");
        }
    }
}
