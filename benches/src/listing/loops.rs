//! Loops in a disassembly, and what is issued in them.
//!
//! The text is a line for each instruction behind a label `BB<n>:` for each block; a loop is what lies between a label and
//! the last branch back to it. A loop whose number of turns stands in its instructions counts as that many copies of its
//! body inside of the loop around it, so that a product whose chunks are unrolled and one whose chunks are a loop are
//! told by the same measure: all that is issued for one tile.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Instructions issued in a stretch of code.
#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
pub struct Counts {
    pub instructions: u64,
    /// Floating-point multiply-adds, a packed or dual one counted once.
    pub multiply_adds: u64,
    /// Words that a lane reads from workgroup memory.
    pub shared_words: u64,
    /// Loads from memory of 16, 8, 4 and fewer bytes a lane.
    pub loads: [u64; 4],
    pub barriers: u64,
}

impl Counts {
    /// Multiply-adds among all instructions.
    pub fn share(&self) -> f64 {
        self.multiply_adds as f64 / self.instructions.max(1) as f64
    }

    fn add(&mut self, other: &Counts, times: u64) {
        self.instructions += times * other.instructions;
        self.multiply_adds += times * other.multiply_adds;
        self.shared_words += times * other.shared_words;
        for (a, b) in self.loads.iter_mut().zip(other.loads) {
            *a += times * b;
        }
        self.barriers += times * other.barriers;
    }

    fn instruction(&mut self, name: &str) {
        self.instructions += 1;
        // v_mad_u32_u24 and its like compute addresses.
        let float = ["_f32", "_f16", "_bf16", "_f64"].iter().any(|t| name.contains(t));
        let product = ["v_fma", "v_mad", "v_mac", "v_pk_fma", "v_dual_fma"].iter().any(|p| name.starts_with(p));
        self.multiply_adds += u64::from((product && float) || name.starts_with("v_dot"));
        self.barriers += u64::from(name == "s_barrier");
        if name.starts_with("ds_read") || name.starts_with("ds_load") {
            let pair = if name.contains("read2") || name.contains("load_2addr") { 2 } else { 1 };
            self.shared_words += pair * words(name);
        } else if ["buffer_load", "global_load", "flat_load"].iter().any(|p| name.starts_with(p)) {
            let bytes = if name.contains("byte") || name.contains("short") || name.contains("16") { 2 } else { 4 };
            let place = match bytes * words(name) {
                16.. => 0,
                8.. => 1,
                4.. => 2,
                _ => 3,
            };
            self.loads[place] += 1;
        }
    }
}

/// Words that the suffix of a load speaks of.
fn words(name: &str) -> u64 {
    let widths = [("x4", 4), ("x3", 3), ("x2", 2), ("b128", 4), ("b96", 3), ("b64", 2)];
    widths.iter().find(|(suffix, _)| name.contains(suffix)).map_or(1, |(_, words)| *words)
}

/// A loop, and all that is issued in one turn of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Loop {
    /// Its first label.
    pub label: String,
    /// Instructions of the text before it and up to its end.
    span: (usize, usize),
    pub turns: Option<u64>,
    /// Whether a loop inside of it turns a number of times that is not known; that one is not counted.
    pub open: bool,
    pub counts: Counts,
}

struct Code<'a> {
    /// Mnemonic and operands.
    instructions: Vec<(&'a str, Vec<&'a str>)>,
    labels: HashMap<&'a str, usize>,
}

fn read(text: &str) -> Code<'_> {
    let mut code = Code { instructions: Vec::new(), labels: HashMap::new() };
    for line in text.lines() {
        // Behind a semicolon stands the encoding.
        let line = line.split(';').next().unwrap_or_default().trim();
        if let Some(label) = line.strip_suffix(':') {
            code.labels.insert(label, code.instructions.len());
        } else if !line.is_empty() {
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            code.instructions.push((name, rest.split(',').map(str::trim).collect()));
        }
    }
    code
}

/// The loops of a disassembly, inner ones before the loops around them.
pub fn loops(text: &str) -> Vec<Loop> {
    let code = read(text);
    let mut ends: HashMap<&str, usize> = HashMap::new();
    for (at, (name, operands)) in code.instructions.iter().enumerate() {
        let target = operands.first().copied().unwrap_or_default();
        if (name.starts_with("s_branch") || name.starts_with("s_cbranch"))
            && code.labels.get(target).is_some_and(|begin| *begin <= at)
        {
            let end = ends.entry(target).or_default();
            *end = (*end).max(at + 1);
        }
    }
    let mut spans: Vec<(&str, (usize, usize))> = ends.iter().map(|(l, end)| (*l, (code.labels[l], *end))).collect();
    spans.sort_by_key(|(_, (begin, end))| (end - begin, *begin));
    let mut all: Vec<Loop> = Vec::new();
    for (label, span) in spans {
        let mut found = Loop { label: label.into(), span, turns: None, open: false, counts: Counts::default() };
        let mut own = Vec::new();
        let mut at = span.0;
        while at < span.1 {
            // The largest loop that begins here stands for its instructions.
            match all.iter().rev().find(|inner| inner.span.0 == at && inner.span.1 <= span.1) {
                Some(inner) => {
                    found.open |= inner.open || inner.turns.is_none();
                    found.counts.add(&inner.counts, inner.turns.unwrap_or(0));
                    at = inner.span.1;
                }
                None => {
                    found.counts.instruction(code.instructions[at].0);
                    own.push(at);
                    at += 1;
                }
            }
        }
        found.turns = turns(&code, span.0, &own);
        all.push(found);
    }
    all
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// How often a loop turns that counts a scalar register from 0 by a fixed step up to a fixed end.
fn turns(code: &Code<'_>, begin: usize, own: &[usize]) -> Option<u64> {
    let instructions = || own.iter().map(|at| &code.instructions[*at]);
    instructions().filter(|(name, _)| name.starts_with("s_cmp")).find_map(|(_, operands)| {
        let [counter, end] = operands[..] else { return None };
        let step = instructions().find_map(|(name, o)| match o[..] {
            [to, from, by] if name.starts_with("s_add") && to == counter && from == counter => number(by),
            [to, by] if name.starts_with("s_addk") && to == counter => number(by),
            _ => None,
        })?;
        let before = code.instructions[..begin].iter().rev().find(|(_, o)| o.first() == Some(&counter))?;
        let from_zero = before.0.starts_with("s_mov") && before.1.get(1) == Some(&"0");
        number(end).filter(|_| from_zero && step > 0).map(|end| end.div_ceil(step))
    })
}

/// The loop in which most multiply-adds are issued in a turn; a loop with an unknown number of turns inside is not it.
/// `None` for code without loops.
pub fn hottest(loops: &[Loop]) -> Option<&Loop> {
    loops.iter().filter(|l| !l.open).max_by_key(|l| (l.counts.multiply_adds, l.counts.instructions))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tile of two loops: one of four turns, and an unrolled rest; behind it a loop without products.
    const TEXT: &str = "\
BB0:
\ts_mov_b32 s9, 0                ; be930380
BB1:
\ts_cmp_ge_u32 s9, s2
\ts_cbranch_scc1 BB5
BB2:
\ts_mov_b32 s4, 0
BB3:
\ts_cmp_ge_u32 s4, 16
\ts_cbranch_scc1 BB4
\tds_read_b128 v[0:3], v9
\tds_read2_b32 v[4:5], v9 offset0:1 offset1:2
\tv_fmac_f32_e32 v6, v0, v4
\tv_fma_f32 v6, v0, v4, v6
\tv_mad_u32_u24 v67, 5, v1, s19
\ts_add_u32 s4, s4, 4
\ts_branch BB3
BB4:
\tbuffer_load_dwordx4 v[0:3], v9, s[0:3], 0 offen
\tbuffer_load_ushort v0, v9, s[0:3], 0 offen
\ts_barrier
\tv_pk_fma_f16 v0, v1, v2, v0
\ts_add_u32 s9, s9, 32
\ts_branch BB1
BB5:
\tv_mov_b32_e32 v0, 0
\ts_cbranch_vccnz BB5
\ts_endpgm
";

    #[test]
    fn loops_inside_a_loop_count_as_often_as_they_turn() {
        let all = loops(TEXT);
        let [tail, inner, outer] = &all[..] else { panic!("{all:?}") };
        assert_eq!((tail.label.as_str(), tail.counts.instructions), ("BB5", 2));
        assert_eq!((inner.label.as_str(), inner.turns), ("BB3", Some(4)));
        assert_eq!((inner.counts.instructions, inner.counts.multiply_adds, inner.counts.shared_words), (9, 2, 6));
        assert_eq!((outer.turns, outer.open), (None, false));
        let counts = Counts {
            instructions: 4 * 9 + 9,
            multiply_adds: 4 * 2 + 1,
            shared_words: 24,
            loads: [1, 0, 0, 1],
            barriers: 1,
        };
        assert_eq!(outer.counts, counts);
        assert_eq!(hottest(&all), Some(outer));
    }

    #[test]
    fn a_loop_with_an_unknown_loop_inside_is_not_the_hottest() {
        let all = loops(&TEXT.replace("s_cmp_ge_u32 s4, 16", "s_cmp_ge_u32 s4, s7"));
        assert!(all[2].open);
        assert_eq!(hottest(&all).map(|l| l.label.as_str()), Some("BB3"));
    }
}
