//! Rows as text for a terminal, and as a table for a page.

use super::Row;
use std::collections::BTreeMap;
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

/// The table of docs/benchmarks.md: the timed variants of products and attention one by one, the others by kernel.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = format!("| variant | {} |\n|---|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    let mut others: BTreeMap<(&str, &str), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let kernel = row.name.split(' ').next().unwrap_or_default();
        if row.timed && (kernel.starts_with("linear") || kernel.starts_with("attention")) {
            writeln!(text, "| {} | {} |", row.name, cells(row).join(" | ")).expect("a String takes every write");
        } else {
            others.entry((kernel, &row.family)).or_default().push(row);
        }
    }
    text.push_str(
        "\n| others | family | variants | VGPRs at most | waves at least | LDS at most |\n|---|---|---|---|---|---|\n",
    );
    for ((kernel, family), rows) in others {
        let most = |f: fn(&Row) -> u64| rows.iter().map(|r| f(r)).max().unwrap_or(0);
        let waves = rows.iter().map(|r| r.waves).min().unwrap_or(0);
        let (vgprs, lds, n) = (most(|r| r.vgprs), most(|r| r.lds), rows.len());
        writeln!(text, "| {kernel} | {family} | {n} | {vgprs} | {waves} | {lds} |")
            .expect("a String takes every write");
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
