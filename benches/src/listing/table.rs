//! Rows as text for a terminal, and as a table for a page.

use super::Row;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const HEAD: [&str; 11] =
    ["family", "VGPRs", "waves", "LDS", "instr.", "latency", "inv. tp", "m-adds", "LDS words", "loads", "barriers"];

/// Share of multiply-adds, words from workgroup memory for each, loads by width, barriers: of the hottest loop.
fn hot(row: &Row) -> [String; 4] {
    let hot = &row.hot;
    if hot.multiply_adds == 0 {
        return ["", "", "", ""].map(String::from);
    }
    let widths = ["16", "8", "4", "2"].iter().zip(hot.loads).filter(|(_, n)| *n > 0);
    let loads: Vec<String> = widths.map(|(bytes, n)| format!("{n} x {bytes} B")).collect();
    let words = hot.shared_words as f64 / hot.multiply_adds as f64;
    [format!("{:.0}%", 100.0 * hot.share()), format!("{words:.2}"), loads.join(", "), hot.barriers.to_string()]
}

fn cells(row: &Row) -> [String; 11] {
    let number = |n: u64| n.to_string();
    let [share, words, loads, barriers] = hot(row);
    let (latency, inverse) = (number(row.latency), number(row.inverse_throughput));
    [
        row.family.clone(),
        number(row.vgprs),
        number(row.waves),
        number(row.lds),
        number(row.instructions),
        latency,
        inverse,
        share,
        words,
        loads,
        barriers,
    ]
}

/// A line for each row, faults behind it.
pub fn text(rows: &[Row]) -> String {
    let widths = [7, 5, 5, 6, 6, 7, 7, 6, 9, 18, 8];
    let name = rows.iter().map(|r| r.name.len()).max().unwrap_or(0);
    let line = |first: &str, cells: [&str; 11]| {
        let cells: String = cells.iter().zip(widths).map(|(cell, width)| format!(" {cell:>width$}")).collect();
        format!("{first:<name$}{cells}")
    };
    let mut text = line("variant", HEAD) + "\n";
    for row in rows {
        let cells = cells(row);
        let cells = line(&row.name, std::array::from_fn(|i| cells[i].as_str()));
        let spilled = match row.spills + row.scratch {
            0 => String::new(),
            _ => format!("  spills {}, scratch {} B", row.spills, row.scratch),
        };
        writeln!(text, "{cells}{spilled}").expect("a String takes every write");
    }
    text
}

/// The tables of docs/benchmarks.md: the timed variants of products and attention one by one, the others by kernel. Where
/// families differ, all their values stand in a cell.
pub fn markdown(rows: &[Row]) -> String {
    let mut listed: Vec<(&str, Vec<[String; 11]>)> = Vec::new();
    let mut others: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let kernel = row.name.split(' ').next().unwrap_or_default();
        if !row.timed || !(kernel.starts_with("linear") || kernel.starts_with("attention")) {
            others.entry(kernel).or_default().push(row);
        } else if let Some((_, families)) = listed.iter_mut().find(|(name, _)| *name == row.name) {
            families.push(cells(row));
        } else {
            listed.push((&row.name, vec![cells(row)]));
        }
    }
    let mut text = format!("| variant | {} |\n|---|{}\n", HEAD[1..].join(" | "), "---|".repeat(HEAD.len() - 1));
    for (name, families) in listed {
        let cell = |i: usize| {
            let mut values: Vec<&str> = families.iter().map(|cells| cells[i].as_str()).collect();
            values.dedup();
            values.join(" / ")
        };
        let cells: Vec<String> = (1..HEAD.len()).map(cell).collect();
        writeln!(text, "| {name} | {} |", cells.join(" | ")).expect("a String takes every write");
    }
    text.push_str(
        "\n| all others | variants | VGPRs at most | waves at least | LDS at most |\n|---|---|---|---|---|\n",
    );
    for (kernel, rows) in others {
        let most = |f: fn(&Row) -> u64| rows.iter().map(|r| f(r)).max().unwrap_or(0);
        let waves = rows.iter().map(|r| r.waves).min().unwrap_or(0);
        let names: BTreeSet<&str> = rows.iter().map(|r| r.name.as_str()).collect();
        let (vgprs, lds, n) = (most(|r| r.vgprs), most(|r| r.lds), names.len());
        writeln!(text, "| {kernel} | {n} | {vgprs} | {waves} | {lds} |").expect("a String takes every write");
    }
    text
}

/// `page` with `table` between its markers; `None` if it has none.
pub fn insert(page: &str, table: &str) -> Option<String> {
    let (open, close) = ("<!-- listing -->\n", "<!-- end of listing -->");
    let begin = page.find(open)? + open.len();
    let end = begin + page[begin..].find(close)?;
    Some(format!("{}{table}{}", &page[..begin], &page[end..]))
}
