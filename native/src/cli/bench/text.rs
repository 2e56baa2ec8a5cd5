//! The results of `foveate bench`, as tables.

use foveate::bench::{Ceiling, Clock, Fit, ModelReport, OpTime, Point, Row, Spread, Sweep};

pub(super) const HEAD: &str = "\n\
    shape                              median       q1 .. q3            runs  GFLOP/s     GB/s  share | passes barriers plan bytes\n";
pub(super) const SWEEP_HEAD: &str = "\n\
         value      median       q1 .. q3            GFLOP/s     GB/s  share     memory\n";
pub(super) const LEGEND: &str = "\n\
    share: of the nearer ceiling. passes, barriers (of a workgroup, as written), bytes bound: of the GPU plan, on the \
    processor that for WebGPU's defaults\n";

/// Three digits and a unit.
fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let (factor, unit) =
        units.iter().find(|(factor, _)| value >= *factor).or(units.last()).copied().unwrap_or((1.0, ""));
    let value = value / factor;
    let digits = if value >= 100.0 {
        0
    } else if value >= 10.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$} {unit}")
}

fn seconds(value: f64) -> String {
    scaled(value, &[(1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")])
}

fn bytes(value: f64) -> String {
    scaled(value, &[(1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")])
}

fn quartiles(spread: &Spread) -> String {
    format!("{} .. {}", seconds(spread.q1), seconds(spread.q3))
}

fn percent(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

fn rates(row: &Row) -> String {
    format!("{:8.1} {:8.2} {:>6}", row.flop_s / 1e9, row.bytes_s / 1e9, percent(row.share))
}

pub(super) fn ceiling(ceiling: &Ceiling, clock: Clock) -> String {
    let (flop, moved) = (ceiling.flop_s / 1e9, ceiling.bytes_s / 1e9);
    format!("ceilings: {flop:.1} GFLOP/s of multiply-adds, {moved:.1} GB/s of a copy; times by {}\n", clock.describe())
}

pub(super) fn row(row: &Row) -> String {
    let plan = match &row.plan {
        Some(p) => format!("{:6} {:8} {:>10}", p.dispatches, p.workgroup_barriers, bytes(p.bytes as f64)),
        None => "none".into(),
    };
    let (median, quartiles) = (seconds(row.seconds.median), quartiles(&row.seconds));
    format!("{:32} {median:>8}  {quartiles:>20} {:6} {} | {plan}\n", row.name, row.seconds.runs, rates(row))
}

pub(super) fn point(point: &Point) -> String {
    let (median, quartiles) = (seconds(point.row.seconds.median), quartiles(&point.row.seconds));
    let memory = bytes(point.memory() as f64);
    format!("{:10}    {median:>8}  {quartiles:>20} {} {memory:>10}\n", point.value, rates(&point.row))
}

pub(super) fn fits(sweep: &Sweep) -> String {
    let fit = |what: &str, fit: &Option<Fit>| match fit {
        Some(fit) => format!("{what} grows as {}^{:.2} (r2 {:.4})\n", sweep.name, fit.exponent, fit.r2),
        None => format!("{what} has no exponent\n"),
    };
    let counted = match sweep.points.iter().any(|p| p.working_bytes.is_some()) {
        true => "operands, and what the op allocates while it runs",
        false => "what the executor allocates: operands and scratch",
    };
    format!("\n{}{}memory: {counted}\n", fit("time", &sweep.time), fit("memory", &sweep.memory))
}

pub(super) fn model(report: &ModelReport) -> String {
    let mut text = String::from("\n   context   prefill tok/s   q1 .. q3            decode tok/s   q1 .. q3\n");
    for at in &report.speeds {
        let quartiles = |spread: &Spread| format!("{:.1} .. {:.1}", spread.q1, spread.q3);
        let (read, made) = (quartiles(&at.prefill), quartiles(&at.decode));
        let (context, prefill, decode) = (at.context, at.prefill.median, at.decode.median);
        text.push_str(&format!("{context:10} {prefill:15.1}   {read:18} {decode:13.1}   {made}\n"));
    }
    let (context, by) = (report.context, report.clock.describe());
    for (phase, ops) in [("reading", &report.prefill), ("after", &report.decode)] {
        text.push_str(&format!("\nops {phase} {context} tokens, for each token, by {by}\n{}", table(ops)));
    }
    text.push_str(&format!("\nmost memory on the device: {}\n", bytes(report.peak_device_bytes as f64)));
    text
}

fn table(ops: &[OpTime]) -> String {
    let mut text =
        String::from("  op                              time   share     runs   passes      bytes  GFLOP/s     GB/s\n");
    let rate = |work: f64, seconds: f64| if seconds > 0.0 { work / seconds / 1e9 } else { 0.0 };
    let mut line = |o: &OpTime| {
        text.push_str(&format!(
            "  {:26} {:>9} {:>7} {:8.3} {:8.3} {:>10} {:8.1} {:8.2}\n",
            o.op,
            seconds(o.seconds),
            percent(o.share),
            o.runs,
            o.dispatches,
            bytes(o.bytes),
            rate(o.flop, o.seconds),
            rate(o.bytes, o.seconds),
        ));
    };
    ops.iter().for_each(&mut line);
    let sum = |of: fn(&OpTime) -> f64| ops.iter().map(of).sum();
    line(&OpTime {
        op: "all".into(),
        seconds: sum(|o| o.seconds),
        share: sum(|o| o.share),
        runs: sum(|o| o.runs),
        dispatches: sum(|o| o.dispatches),
        bytes: sum(|o| o.bytes),
        flop: sum(|o| o.flop),
    });
    text
}
