//! Pictures of what was measured: `draw sweep OUT.svg SWEEP.json...`, `draw peers OUT.svg PEERS.json` and
//! `draw surprise OUT.svg TEXT.json...`.
//!
//! A sweep is what `foveate bench --sweep --json` prints, the comparison with peers what `benches/peers.mjs --json` writes,
//! a text what `foveate generate --logprobs 0 --json` prints; its line is called as the file is.

use plotters::coord::Shift;
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use serde_json::Value;
use std::error::Error;
use std::path::Path;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(60, 60, 67);
const GRID: RGBColor = RGBColor(225, 225, 230);
/// Told apart also without their hue.
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 96, 168),
    RGBColor(214, 106, 20),
    RGBColor(38, 140, 90),
    RGBColor(150, 60, 150),
    RGBColor(120, 120, 120),
];

fn number(value: &Value, path: &str) -> Result<f64> {
    value.pointer(path).and_then(Value::as_f64).ok_or_else(|| format!("{path} is no number").into())
}

fn array<'a>(value: &'a Value, path: &str) -> Result<&'a [Value]> {
    let rows = value.pointer(path).and_then(Value::as_array).filter(|rows| !rows.is_empty());
    rows.map(Vec::as_slice).ok_or_else(|| format!("{path} is no list with something in it").into())
}

fn text<'a>(value: &'a Value, path: &str) -> Result<&'a str> {
    value.pointer(path).and_then(Value::as_str).ok_or_else(|| format!("{path} is no text").into())
}

/// Seconds as a person says them.
fn seconds(value: f64) -> String {
    match value {
        v if v >= 1.0 => format!("{v:.0} s"),
        v if v >= 1e-3 => format!("{:.0} ms", v * 1e3),
        v if v >= 1e-6 => format!("{:.0} us", v * 1e6),
        v => format!("{:.0} ns", v * 1e9),
    }
}

/// One sweep: lengths with quartiles of seconds, and the line through the medians.
struct Series {
    label: String,
    variable: String,
    points: Vec<(f64, [f64; 3])>,
    factor: f64,
    exponent: f64,
}

impl Series {
    fn read(file: &Value) -> Result<Self> {
        let sweep = &file["sweep"];
        let point = |p: &Value| {
            let of = |key: &str| number(p, &format!("/seconds/{key}"));
            Ok((number(p, "/value")?, [of("q1")?, of("median")?, of("q3")?]))
        };
        let points = array(sweep, "/points")?.iter().map(point).collect::<Result<_>>()?;
        let (exponent, variable) = (number(sweep, "/time/exponent")?, text(sweep, "/name")?.to_owned());
        let (op, device) = (text(sweep, "/points/0/op")?, text(file, "/device")?);
        // The driver's version is of no interest here.
        let device = device.split(" (").next().unwrap_or(device);
        let label = format!("{op}, {device}: {variable}^{exponent:.2}");
        Ok(Self { label, variable, points, factor: number(sweep, "/time/factor")?, exponent })
    }
}

/// Time against length, both logarithmic.
fn sweeps(root: &Area<'_>, files: &[Value]) -> Result<()> {
    let all: Vec<Series> = files.iter().map(Series::read).collect::<Result<_>>()?;
    let lengths = || all.iter().flat_map(|s| s.points.iter().map(|p| p.0));
    let times = || all.iter().flat_map(|s| s.points.iter().flat_map(|p| p.1));
    let range = |values: &dyn Fn() -> Vec<f64>, room: f64| {
        let (low, high) = values().iter().fold((f64::MAX, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
        low / room..high * room
    };
    let (x, y) = (range(&|| lengths().collect(), 1.15), range(&|| times().collect(), 1.6));
    let mut chart = ChartBuilder::on(root)
        .margin(18)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x.log_scale().base(2.0), y.log_scale())?;
    axes(&mut chart, [&all[0].variable, "median time, with quartiles"], seconds)?;
    for (series, colour) in all.iter().zip(COLOURS.iter().cycle()) {
        let line = series.points.iter().map(|(x, _)| (*x, series.factor * x.powf(series.exponent)));
        let drawn = chart.draw_series(LineSeries::new(line, colour.mix(0.5).stroke_width(2)))?;
        let key = |(x, y): (i32, i32)| Circle::new((x + 9, y), 4, colour.filled());
        drawn.label(series.label.as_str()).legend(key);
        let bars = series
            .points
            .iter()
            .map(|(x, [q1, _, q3])| PathElement::new([(*x, *q1), (*x, *q3)], colour.stroke_width(2)));
        chart.draw_series(bars)?;
        chart.draw_series(
            series.points.iter().map(|(x, [_, median, _])| Circle::new((*x, *median), 4, colour.filled())),
        )?;
    }
    key(&mut chart)
}

/// Both axes with their descriptions, and the labels of the second one.
fn axes<'a, X, Y>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
    [x, y]: [&str; 2],
    label: fn(f64) -> String,
) -> Result<()>
where
    X: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, 14, &INK))
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| label(*y))
        .draw()?;
    Ok(())
}

/// The names of the lines.
fn key<'a, X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> Result<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font((FONT, 15, &INK))
        .margin(12)
        .draw()?;
    Ok(())
}

/// Tokens whose mean surprise is one point of a line.
const SPAN: usize = 200;
/// Tokens from one point to the next.
const STEP: usize = 10;

/// Surprise in bits of each token, as means of the last [`SPAN`] tokens.
fn surprise(root: &Area<'_>, files: &[(String, Value)]) -> Result<()> {
    let mut lines = Vec::new();
    for (label, file) in files {
        let bits = |token: &Value| Ok(-number(token, "/logprob")? / std::f64::consts::LN_2);
        let bits: Vec<f64> = array(file, "/logprobs")?.iter().map(bits).collect::<Result<_>>()?;
        let means = bits.windows(SPAN).map(|span| span.iter().sum::<f64>() / SPAN as f64);
        let points: Vec<(f64, f64)> = (SPAN..).map(|at| at as f64).zip(means).step_by(STEP).collect();
        lines.push((label, points));
    }
    let points = || lines.iter().flat_map(|(_, points)| points);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(root)
        .margin(18)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(SPAN as f64..most(|p| p.0), 0.0..most(|p| p.1) * 1.4)?;
    let described = format!("surprise in bits, mean of {SPAN} tokens");
    axes(&mut chart, ["tokens", &described], |bits| format!("{bits:.1}"))?;
    for ((label, points), colour) in lines.into_iter().zip(COLOURS.iter().cycle()) {
        let drawn = chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
        let key = |(x, y): (i32, i32)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
        drawn.label(label).legend(key);
    }
    key(&mut chart)
}

const ROW: u32 = 44;

/// A bar for each comparison, from 1 to the ratio, on a logarithmic axis.
fn peers(root: &Area<'_>, file: &Value) -> Result<()> {
    let rows = array(file, "/rows")?;
    let ratios: Vec<f64> = rows.iter().map(|row| number(row, "/ratio")).collect::<Result<_>>()?;
    let (low, high) = ratios.iter().fold((0.5f64, 2.0f64), |(l, h), r| (l.min(*r), h.max(*r)));
    let count = rows.len() as f64;
    let mut chart = ChartBuilder::on(root)
        .margin(18)
        .margin_left(330)
        .margin_right(64)
        .x_label_area_size(44)
        .build_cartesian_2d((low / 1.3..high * 1.3).log_scale().base(2.0), 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style((FONT, 14, &INK))
        .x_desc("times as fast as the peer")
        .x_label_formatter(&|x| format!("{x}"))
        .y_labels(0)
        .draw()?;
    for (i, (row, ratio)) in rows.iter().zip(&ratios).enumerate() {
        let (top, bottom) = (count - i as f64 - 0.2, count - i as f64 - 0.8);
        let colour = if *ratio >= 1.0 { COLOURS[0] } else { COLOURS[1] };
        chart.draw_series([Rectangle::new([(ratio.min(1.0), bottom), (ratio.max(1.0), top)], colour.filled())])?;
        let (end, middle) = chart.backend_coord(&(ratio.max(1.0), (top + bottom) / 2.0));
        let figure = format!("{ratio:.2}x");
        root.draw(&Text::new(figure, (end + 8, middle - 8), (FONT, 15).into_font().color(&INK)))?;
        let (name, peer) = (text(row, "/name")?, text(row, "/peer")?);
        root.draw(&Text::new(name, (14, middle - 17), (FONT, 15).into_font().color(&INK)))?;
        root.draw(&Text::new(peer, (14, middle + 2), (FONT, 12).into_font().color(&INK.mix(0.7))))?;
    }
    chart.draw_series([PathElement::new([(1.0, 0.0), (1.0, count)], INK.stroke_width(1))])?;
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage =
        "usage: draw sweep OUT.svg SWEEP.json... | draw peers OUT.svg PEERS.json | draw surprise OUT.svg TEXT.json...";
    let [kind, out, paths @ ..] = arguments.as_slice() else { return Err(usage.into()) };
    let read = |path: &String| -> Result<Value> {
        let file = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
        Ok(serde_json::from_str(&file).map_err(|e| format!("{path}: {e}"))?)
    };
    let files: Vec<Value> = paths.iter().map(read).collect::<Result<_>>()?;
    let name = |path: &String| Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let height = match (kind.as_str(), files.as_slice()) {
        ("sweep" | "surprise", [_, ..]) => 540,
        ("peers", [file]) => ROW * array(file, "/rows")?.len() as u32 + 90,
        _ => return Err(usage.into()),
    };
    let root = SVGBackend::new(out, (900, height)).into_drawing_area();
    root.fill(&WHITE)?;
    match kind.as_str() {
        "sweep" => sweeps(&root, &files)?,
        "surprise" => surprise(&root, &paths.iter().map(name).zip(files).collect::<Vec<_>>())?,
        _ => peers(&root, &files[0])?,
    }
    root.present()?;
    Ok(())
}
