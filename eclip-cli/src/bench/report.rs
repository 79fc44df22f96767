//! What `eclip bench submit` prints: a table for people, or one JSON object a line.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::results::{Results, Target, VARIANTS, Variant};
use crate::table::{self, align_right};

/// Where it was measured.
pub struct Place {
    /// The GPU's name; says "simulated" if it is.
    pub device: String,
    /// Whether it is the simulated one.
    pub simulated: bool,
}

/// One line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    benchmark: &'a str,
    variant: &'a str,
    device: &'a str,
    simulated: bool,
    value: f64,
    unit: &'a str,
    ratio_to: &'a str,
    ratio: f64,
}

/// One JSON object a line: each variant once for each peer that was measured. Values are medians of host time, ratios
/// those of medians. `ratio_to` is `c` or `hip`; the scheduler's ratio over plain submission is that of the values of `scheduler` and
/// `plain`.
pub fn json(place: &Place, results: &Results, out: &mut impl Write) -> Result<()> {
    for variant in &VARIANTS {
        let Some(value) = results.median(variant.name) else { continue };
        for (ratio_to, peer) in [("c", variant.c), ("hip", variant.hip)] {
            let Some(ratio) = results.ratio(variant.name, peer) else { continue };
            let line = Line {
                benchmark: "submit",
                variant: variant.key,
                device: &place.device,
                simulated: place.simulated,
                value: rounded(value),
                unit: variant.unit,
                ratio_to,
                ratio: rounded(ratio),
            };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
    }
    Ok(())
}

/// Four significant digits are more than the measurement has.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// Tables: host times of all, then each variant beside its peers and its target.
pub fn text(place: &Place, results: &Results, held: bool, out: &mut impl Write) -> Result<()> {
    writeln!(out, "Host time to submit, on {}", place.device)?;
    if place.simulated {
        writeln!(out, "  simulated device; host cost is real")?;
    }
    let device = if held {
        "held while the host is timed (it keeps up for HIP's switch)"
    } else {
        "keeping up while the host is timed"
    };
    writeln!(out, "  one kernel of one wavefront for all; device {device}; draining is not timed\n")?;

    let mut table = table::table();
    table.set_header(["host ns a packet or switch", "median", "quartiles", "least", "rounds"]);
    for measured in &results.measured {
        let samples = &measured.samples;
        let quartiles = format!("{} to {}", ns(samples.quantile(0.25)), ns(samples.quantile(0.75)));
        table.add_row([
            measured.name.to_owned(),
            ns(samples.median()),
            quartiles,
            ns(samples.quantile(0.0)),
            samples.count().to_string(),
        ]);
    }
    align_right(&mut table, 1);
    writeln!(out, "{table}\n")?;

    let mut table = table::table();
    table.set_header(["variant", "C loop", "HIP", "target", "is", ""]);
    for variant in &VARIANTS {
        if let Some(target) = variant.target.filter(|_| results.median(variant.name).is_some()) {
            table.add_row(row(variant, target, results));
        }
    }
    align_right(&mut table, 1);
    writeln!(out, "{table}\nRatios of medians; smaller is better.")?;
    for (name, why) in &results.missing {
        writeln!(out, "Not measured: {name}: {why}")?;
    }
    Ok(())
}

fn row(variant: &Variant, target: Target, results: &Results) -> [String; 6] {
    let times = |ratio: Option<f64>| ratio.map_or("-".to_owned(), digits);
    let is = results.ratio(variant.name, target.over);
    let verdict = match is {
        Some(is) if is <= target.ratio => "reached",
        Some(_) => "missed",
        None => "",
    };
    [
        variant.name.to_owned(),
        times(results.ratio(variant.name, variant.c)),
        times(results.ratio(variant.name, variant.hip)),
        format!("{} of {}", target.ratio, target.over),
        times(is),
        verdict.to_owned(),
    ]
}

/// A ratio with three significant digits.
fn digits(ratio: f64) -> String {
    let decimals = (2 - ratio.log10().floor() as i32).clamp(0, 6) as usize;
    format!("{ratio:.decimals$}")
}

fn ns(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::super::results::{Measured, name};
    use super::super::samples::Samples;
    use super::*;

    fn results(values: &[(&'static str, f64)]) -> Results {
        let measured = values.iter().map(|&(name, value)| {
            let mut samples = Samples::default();
            samples.add(value);
            Measured { name, samples }
        });
        Results { measured: measured.collect(), missing: vec![(name::REPLAY, "not there yet".into())] }
    }

    fn place() -> Place {
        Place { device: "MI50 (simulated)".into(), simulated: true }
    }

    #[test]
    fn a_line_for_each_peer_that_was_measured() {
        let results =
            results(&[(name::C, 50.0), (name::HIP, 500.0), (name::BATCH, 10.0), (name::SINGLE, 60.0)]);
        let mut out = Vec::new();
        json(&place(), &results, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            r#"{"benchmark":"submit","variant":"batch","device":"MI50 (simulated)","simulated":true,"value":10.0,"unit":"ns/packet","ratio_to":"c","ratio":0.2}"#
        );
        assert!(lines[1].contains(r#""ratio_to":"hip","ratio":0.02"#), "{text}");
        // Without the C loop with signals, a single kernel is compared with HIP only.
        assert_eq!(lines.len(), 3, "{text}");
    }

    #[test]
    fn the_scheduler_can_be_compared_with_plain_submission() {
        let results = results(&[(name::C_SIGNALS, 50.0), (name::PLAIN, 200.0), (name::SCHEDULER, 250.0)]);
        let mut out = Vec::new();
        json(&place(), &results, &mut out).unwrap();
        let lines: Vec<serde_json::Value> =
            out.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let field = |line: usize, key: &str| lines[line][key].clone();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert_eq!((field(0, "variant"), field(0, "ratio")), ("scheduler".into(), 5.0.into()));
        assert_eq!((field(1, "variant"), field(1, "ratio")), ("plain".into(), 4.0.into()));
        assert_eq!(field(0, "value").as_f64().unwrap() / field(1, "value").as_f64().unwrap(), 1.25);
    }

    #[test]
    fn targets_are_said_to_be_reached_or_missed() {
        let results = results(&[(name::C, 50.0), (name::BATCH, 10.0), (name::SWITCH, 151.0)]);
        let mut out = Vec::new();
        text(&place(), &results, true, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let line = |word: &str| text.lines().rfind(|line| line.contains(word)).unwrap();
        assert!(line("batch").contains("reached") && line("batch").contains("0.200"), "{text}");
        assert!(line("switch").contains("missed") && line("switch").contains("3.02"), "{text}");
        assert!(text.contains("simulated device; host cost is real"), "{text}");
        assert!(text.contains("Not measured: replay: not there yet"), "{text}");
    }
}
