//! One op over a range of lengths: how time and memory grow.

use super::ceiling::Ceiling;
use super::loaded::Loaded;
use super::memory::working;
use super::ops::{Row, row};
use super::statistics::{Effort, Fit};
use crate::error::{Error, Result};
use foveate_core::kernels::ops::Op;
use foveate_core::{Any, Backend};
use serde::Serialize;
use std::str::FromStr;

/// Lengths of a sweep, at most.
const MOST: usize = 64;

/// `T=256..32768`, or with the factor between two lengths `T=256..32768:4`; without it, 2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// The setting that varies.
    pub name: String,
    /// The values of the setting, in rising order.
    pub values: Vec<u32>,
}

impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::Usage {
            reason: format!("a sweep must be NAME=FROM..TO or NAME=FROM..TO:FACTOR, {what}; got {text}"),
        };
        let number = |digits: &str| digits.parse::<u32>().map_err(|_| wrong("of whole numbers below 2^32"));
        let (name, range) = text.split_once('=').ok_or_else(|| wrong("with a setting's name"))?;
        let (range, factor) = range.split_once(':').map_or((range, Ok(2)), |(range, f)| (range, number(f)));
        let (from, to) = range.split_once("..").ok_or_else(|| wrong("with two dots"))?;
        let (from, to, factor) = (number(from)?, number(to)?, factor?);
        if from == 0 || factor < 2 {
            return Err(wrong("from 1 on and by a factor of at least 2"));
        }
        let next = |value: &u32| value.checked_mul(factor).filter(|next| *next <= to);
        let values: Vec<u32> = std::iter::successors((from <= to).then_some(from), next).take(MOST).collect();
        match values.len() {
            0 | 1 => Err(wrong("with at least two lengths in it")),
            _ => Ok(Self { name: name.into(), values }),
        }
    }
}

/// One length.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// The value of the setting.
    pub value: u32,
    /// The most that the executor held: operands, and scratch on a GPU.
    pub device_bytes: u64,
    /// The most that the op's host form allocated besides; absent on a GPU.
    pub working_bytes: Option<u64>,
    /// The measurements at this value.
    #[serde(flatten)]
    pub row: Row,
}

impl Point {
    /// All of it.
    pub fn memory(&self) -> u64 {
        self.device_bytes + self.working_bytes.unwrap_or(0)
    }
}

/// Points in the order of their lengths, and how they grow.
#[derive(Clone, Debug, Serialize)]
pub struct Sweep {
    /// The name of the ops.
    pub name: String,
    /// The points, in the order of their lengths.
    pub points: Vec<Point>,
    /// Median seconds against length.
    pub time: Option<Fit>,
    /// Bytes against length.
    pub memory: Option<Fit>,
}

/// Measures `ops`, one for each value of the range, telling `done` of every point.
///
/// Each has a device of its own from `open`, so that its memory is its own.
///
/// # Errors
/// As [`row`], and those of `open` and `done`.
pub fn sweep(
    open: &(dyn Fn() -> Result<Any> + Sync),
    ceiling: &Ceiling,
    range: &Range,
    ops: &[Op],
    effort: Effort,
    done: &mut dyn FnMut(&Point) -> Result<()>,
) -> Result<Sweep> {
    let mut points = Vec::new();
    for (&value, op) in range.values.iter().zip(ops) {
        // Memory that a thread keeps for its next product counts, so every length has new threads.
        let measured = std::thread::scope(|scope| {
            let thread = scope.spawn(|| point(open, ceiling, &range.name, value, op, effort));
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        let point = measured?;
        done(&point)?;
        points.push(point);
    }
    let fit = |y: fn(&Point) -> f64| Fit::of(&points.iter().map(|p| (f64::from(p.value), y(p))).collect::<Vec<_>>());
    let (time, memory) = (fit(|p| p.row.seconds.median), fit(|p| p.memory() as f64));
    Ok(Sweep { name: range.name.clone(), points, time, memory })
}

fn point(
    open: &(dyn Fn() -> Result<Any> + Sync),
    ceiling: &Ceiling,
    name: &str,
    value: u32,
    op: &Op,
    effort: Effort,
) -> Result<Point> {
    let device = open()?;
    let (device_bytes, working_bytes) = {
        let loaded = Loaded::new(&device, op.clone())?;
        let (ran, working) = working(|| loaded.run(1));
        ran?;
        (device.stats().peak_bytes, working.filter(|_| matches!(device, Any::Host(_))))
    };
    let row = row(&device, ceiling, &format!("{} {name}={value}", op.name()), op, effort)?;
    Ok(Point { value, device_bytes, working_bytes, row })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_counts_by_its_factor() {
        let values = |text: &str| text.parse::<Range>().map(|range| range.values);
        assert_eq!(values("T=256..2048").expect("a range"), [256, 512, 1024, 2048]);
        assert_eq!(values("T=3..100:4").expect("a range"), [3, 12, 48]);
        assert_eq!(values("T=1..4294967295").expect("a range").len(), 32);
        for wrong in ["T", "T=1", "T=1..", "T=..4", "T=4..2", "T=4..7", "T=0..8", "T=1..8:1", "T=1..8:x", "T=-1..8"] {
            let error = wrong.parse::<Range>().expect_err(wrong).to_string();
            assert!(error.contains("NAME=FROM..TO") && error.ends_with(wrong), "{error}");
        }
    }
}
