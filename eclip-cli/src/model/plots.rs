//! Plots as SVG text, all of one style.

use anyhow::{Result, anyhow};
use plotters::coord::ranged1d::ValueFormatter;
use plotters::prelude::*;
use plotters::style::RGBColor;

/// Points or a line of one colour.
pub struct Series {
    /// For the legend.
    pub name: String,
    /// Drawn as.
    pub points: Vec<(f64, f64)>,
    /// Index into the colours.
    pub colour: usize,
    /// A line through the points; else a dot at each.
    pub line: bool,
}

impl Series {
    /// Dots.
    pub fn dots(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, colour, line: false }
    }

    /// A line.
    pub fn line(name: &str, colour: usize, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points, colour, line: true }
    }
}

/// What is around the points.
pub struct Frame<'a> {
    /// Above.
    pub title: &'a str,
    /// Below.
    pub x: &'a str,
    /// At the left.
    pub y: &'a str,
    /// Axes are logarithmic.
    pub log: (bool, bool),
}

const SIZE: (u32, u32) = (720, 420);

fn colour(index: usize) -> RGBColor {
    const COLOURS: [RGBColor; 6] = [
        RGBColor(31, 119, 180),
        RGBColor(214, 39, 40),
        RGBColor(127, 127, 127),
        RGBColor(44, 160, 44),
        RGBColor(148, 103, 189),
        RGBColor(255, 127, 14),
    ];
    COLOURS[index % COLOURS.len()]
}

fn range(values: impl Iterator<Item = f64>, log: bool) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        low = low.min(value);
        high = high.max(value);
    }
    if !low.is_finite() {
        return (0.1, 1.0);
    }
    if log {
        return (low.max(1e-9) / 1.2, high.max(2e-9) * 1.2);
    }
    let pad = ((high - low) * 0.05).max(1e-9);
    (if low >= 0.0 && low < 0.4 * high { 0.0 } else { low - pad }, high + pad)
}

/// A plot of `series`.
pub fn plot(frame: &Frame<'_>, series: &[Series]) -> Result<String> {
    let all = || series.iter().flat_map(|series| series.points.iter());
    let x = range(all().map(|point| point.0), frame.log.0);
    let y = range(all().map(|point| point.1), frame.log.1);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let result = match frame.log {
            (false, false) => draw(&area, frame, series, x.0..x.1, y.0..y.1),
            (true, false) => draw(&area, frame, series, (x.0..x.1).log_scale(), y.0..y.1),
            (false, true) => draw(&area, frame, series, x.0..x.1, (y.0..y.1).log_scale()),
            (true, true) => draw(&area, frame, series, (x.0..x.1).log_scale(), (y.0..y.1).log_scale()),
        };
        result.map_err(|error| anyhow!("cannot plot {}: {error}", frame.title))?;
    }
    Ok(svg)
}

type Failure = Box<dyn std::error::Error>;

fn draw<X, Y>(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    frame: &Frame<'_>,
    series: &[Series],
    x: X,
    y: Y,
) -> Result<(), Failure>
where
    X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    Y: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    area.fill(&WHITE).map_err(|error| error.to_string())?;
    let mut chart = ChartBuilder::on(area)
        .caption(frame.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(x, y)
        .map_err(|error| error.to_string())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .x_desc(frame.x)
        .y_desc(frame.y)
        .draw()
        .map_err(|error| error.to_string())?;
    for one in series {
        let colour = colour(one.colour);
        let points = one.points.iter().copied();
        let drawn = if one.line {
            chart.draw_series(LineSeries::new(points, colour.stroke_width(2)))
        } else {
            chart.draw_series(points.map(|point| Circle::new(point, 3, colour.mix(0.7).filled())))
        };
        drawn
            .map_err(|error| error.to_string())?
            .label(&one.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour.filled()));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
        .map_err(|error| error.to_string())?;
    area.present().map_err(|error| error.to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_axis_draws() {
        for log in [(false, false), (true, false), (false, true), (true, true)] {
            let series = [
                Series::dots("measured", 0, vec![(1.0, 2.0), (10.0, 30.0)]),
                Series::line("model", 1, vec![(1.0, 2.5), (10.0, 28.0)]),
            ];
            let svg = plot(&Frame { title: "a <title>", x: "x", y: "y", log }, &series).unwrap();
            assert!(svg.contains("<svg") && svg.contains("</svg>") && svg.matches("<circle").count() == 2);
        }
        assert!(plot(&Frame { title: "", x: "", y: "", log: (false, false) }, &[]).is_ok());
    }
}
