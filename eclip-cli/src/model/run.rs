//! `eclip model run`: a scenario, once or for each value of some constants.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use gpu_model::run::Outcome;
use gpu_model::{Device, Scenario};
use serde_json::json;

use crate::table::{align_right, table};

/// Arguments of `eclip model run`.
#[derive(clap::Args)]
pub struct Options {
    /// The scenario; gpu-model/README.md tells its fields
    scenario: PathBuf,
    /// mi50, h200 or a file, instead of the scenario's
    #[arg(long, value_name = "NAME|FILE")]
    device: Option<String>,
    /// Changes a constant of the device; several values make a sweep, several constants all their combinations
    #[arg(long, value_name = "CONSTANT=VALUE[,VALUE..]", value_parser = Sweep::parse)]
    set: Vec<Sweep>,
    /// Also lists every kernel of every worker
    #[arg(long)]
    kernels: bool,
    /// For programs
    #[arg(long)]
    json: bool,
}

/// A constant and the values to give it.
#[derive(Clone, Debug)]
struct Sweep {
    constant: String,
    values: Vec<f64>,
}

/// More runs than this are a mistake.
const MOST_RUNS: usize = 1000;

impl Sweep {
    fn parse(text: &str) -> Result<Self, String> {
        let (constant, values) = text.split_once('=').ok_or("write CONSTANT=VALUE")?;
        let number = |text: &str| text.trim().parse().map_err(|_| format!("{text:?} is no number"));
        Ok(Self {
            constant: constant.to_owned(),
            values: values.split(',').map(number).collect::<Result<_, _>>()?,
        })
    }
}

/// Runs it and prints what came out.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let path = &options.scenario;
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).map_err(|error| error.to_string());
    let scenario = Scenario::parse(&path.display().to_string(), &text, read)?;
    let base = match &options.device {
        Some(name) => scenario.adjust(super::load_device(name)?)?,
        None => scenario.device()?,
    };
    let mut runs = Vec::new();
    for settings in combinations(&options.set)? {
        let mut device = base.clone();
        for (constant, value) in &settings {
            device.set(constant, *value)?;
        }
        runs.push((settings, gpu_model::run::run(&scenario, &device)?));
    }
    if options.json {
        let json = runs.iter().map(|(settings, outcome)| {
            let set: serde_json::Map<_, _> =
                settings.iter().map(|(constant, value)| (constant.clone(), json!(value))).collect();
            json!({ "simulated": true, "set": set, "outcome": outcome })
        });
        serde_json::to_writer_pretty(&mut *out, &json.collect::<Vec<_>>())?;
        writeln!(out)?;
        return Ok(());
    }
    if !scenario.about.is_empty() {
        writeln!(out, "{}", scenario.about)?;
    }
    for (settings, outcome) in &runs {
        show(&base, settings, outcome, options.kernels, out)?;
    }
    Ok(())
}

type Settings = Vec<(String, f64)>;

fn combinations(sweeps: &[Sweep]) -> Result<Vec<Settings>> {
    let mut all: Vec<Settings> = vec![Vec::new()];
    for sweep in sweeps {
        let with = |settings: &Settings| {
            let one = |value: &f64| [settings.clone(), vec![(sweep.constant.clone(), *value)]].concat();
            sweep.values.iter().map(one).collect::<Vec<_>>()
        };
        all = all.iter().flat_map(with).collect();
        ensure!(
            all.len() <= MOST_RUNS,
            anyhow!("more than {MOST_RUNS} combinations of --set: give fewer values")
        );
    }
    Ok(all)
}

fn show(
    device: &Device,
    settings: &Settings,
    outcome: &Outcome,
    kernels: bool,
    out: &mut impl Write,
) -> Result<()> {
    let settings: String =
        settings.iter().map(|(constant, value)| format!(", {constant} = {value}")).collect();
    writeln!(out, "simulated {}{settings}", device.name)?;
    let mut workers = table();
    workers.set_header([
        "worker",
        "requests",
        "1/s",
        "1/s alone",
        "slow-down",
        "1/s whole GPU",
        "mean us",
        "p95 us",
    ]);
    for worker in &outcome.workers {
        workers.add_row([
            worker.name.clone(),
            worker.requests.to_string(),
            format!("{:.1}", worker.rate),
            format!("{:.1}", worker.rate_alone),
            format!("{:.3}", worker.slowdown),
            format!("{:.1}", worker.rate_whole_gpu),
            format!("{:.1}", worker.mean_us),
            format!("{:.1}", worker.p95_us),
        ]);
    }
    align_right(&mut workers, 1);
    writeln!(out, "{workers}")?;
    if kernels {
        let mut table = table();
        table.set_header([
            "worker",
            "kernel",
            "times",
            "first start us",
            "last end us",
            "mean us",
            "alone us",
            "slow-down",
        ]);
        for worker in &outcome.workers {
            for kernel in &worker.kernels {
                table.add_row([
                    worker.name.clone(),
                    kernel.kernel.clone(),
                    kernel.count.to_string(),
                    format!("{:.2}", kernel.first_start_ns / 1e3),
                    format!("{:.2}", kernel.last_end_ns / 1e3),
                    format!("{:.2}", kernel.mean_us),
                    format!("{:.2}", kernel.alone_us),
                    format!("{:.3}", kernel.slowdown),
                ]);
            }
        }
        align_right(&mut table, 2);
        writeln!(out, "{table}")?;
    }
    let (energy, ms) = (&outcome.energy, (outcome.end_ns - outcome.counted_from_ns) / 1e6);
    writeln!(
        out,
        "STP {:.3} (sum of rate / rate on the whole GPU); {:.3} J in {ms:.3} ms = {:.1} W (idle {:.3} J, issue {:.3} J, memory {:.3} J, CUs {:.3} J)",
        outcome.stp, outcome.joules, outcome.watts, energy.idle, energy.issue, energy.memory, energy.cus
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweeps_combine() {
        let sweeps = [Sweep::parse("a.b=1,2").unwrap(), Sweep::parse("c.d=3, 4,5").unwrap()];
        let all = combinations(&sweeps).unwrap();
        assert_eq!(all.len(), 6);
        assert_eq!(all[5], [("a.b".to_owned(), 2.0), ("c.d".to_owned(), 5.0)]);
        assert!(Sweep::parse("a.b").is_err() && Sweep::parse("a.b=x").is_err());
        let many: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let many = Sweep::parse(&format!("a.b={}", many.join(","))).unwrap();
        assert!(combinations(&[many.clone(), many]).is_err());
    }
}
