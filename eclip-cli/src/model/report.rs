//! `eclip model report`: one page that holds the model against the measurements that come with it.

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use gpu_model::Device;
use gpu_model_validation::stats::{mean_abs, percentile_abs, worst};
use gpu_model_validation::{Pair, colocation, data, interference, kernels, masks, power};

use super::plots::{Frame, Series, plot};

/// Arguments of `eclip model report`.
#[derive(clap::Args)]
pub struct Options {
    /// Where to write the page
    #[arg(long, default_value = "model.html", value_name = "FILE")]
    out: PathBuf,
    /// Without the mixes of models, which take longest
    #[arg(long)]
    quick: bool,
}

/// Writes the page.
pub fn run(options: &Options, out: &mut impl Write) -> Result<()> {
    let (mi50, h200) = (Device::mi50(), Device::h200());
    let mut page = Page::default();
    page.masks(&mi50)?;
    page.kernels(&h200)?;
    page.interference(&h200)?;
    if !options.quick {
        page.colocation(&h200)?;
    }
    page.power(&h200)?;
    page.constants(&[&mi50, &h200]);
    let file = &options.out;
    std::fs::write(file, page.html()).with_context(|| format!("cannot write {}", file.display()))?;
    for (what, is, target, met) in &page.targets {
        writeln!(out, "{} {what}: {is} (target {target})", if *met { "met   " } else { "MISSED" })?;
    }
    writeln!(out, "wrote {}", file.display())?;
    Ok(())
}

#[derive(Default)]
struct Page {
    body: String,
    /// What, value, target, met.
    targets: Vec<(String, String, String, bool)>,
}

fn percent(value: f64) -> String {
    format!("{:.1} %", 100.0 * value)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Page {
    fn head(&mut self, title: &str, text: &str) {
        let _ = write!(self.body, "<h2>{}</h2>\n<p>{}</p>\n", escape(title), escape(text));
    }

    fn plot(&mut self, frame: &Frame<'_>, series: &[Series]) -> Result<()> {
        let svg = plot(frame, series)?;
        let _ = writeln!(self.body, "<figure>{svg}</figure>");
        Ok(())
    }

    fn table(&mut self, header: &[&str], rows: &[Vec<String>]) {
        let cells = |tag: &str, cells: &mut dyn Iterator<Item = String>| -> String {
            cells.map(|cell| format!("<{tag}>{}</{tag}>", escape(&cell))).collect()
        };
        let _ = writeln!(
            self.body,
            "<table><tr>{}</tr>",
            cells("th", &mut header.iter().map(|h| (*h).to_owned()))
        );
        for row in rows {
            let _ = writeln!(self.body, "<tr>{}</tr>", cells("td", &mut row.iter().cloned()));
        }
        self.body.push_str("</table>\n");
    }

    fn target(&mut self, what: &str, is: f64, at_most: f64) {
        self.targets.push((what.to_owned(), percent(is), format!("<= {}", percent(at_most)), is <= at_most));
    }

    fn masks(&mut self, device: &Device) -> Result<()> {
        let (issue, rows) = masks::compare(device);
        self.head(
            "CU masks: 1024 workgroups on a Radeon VII",
            &format!(
                "Otterness and Anderson (RTNS 2021), in rtns21-cu-mask.csv. One parameter is fitted: {issue:.0} ns of issue for each wave. \
                 The steps come from the dispatcher: workgroups go to the shader engines in strict turn."
            ),
        );
        let points = |value: fn(&Pair) -> f64| {
            let of = move |(row, pair): &(data::MaskRow, Pair)| {
                (row.sweep == "sw1").then(|| (f64::from(row.enabled_cus), value(pair)))
            };
            rows.iter().filter_map(of).collect::<Vec<_>>()
        };
        let series = [
            Series::line("model (simulated)", 1, points(|pair| pair.model)),
            Series::dots("measured", 0, points(|pair| pair.measured)),
        ];
        let frame = Frame { title: "mask bits set in order", x: "CUs enabled", y: "ms", log: (false, true) };
        self.plot(&frame, &series)?;
        let errors: Vec<f64> = rows.iter().map(|(_, pair)| pair.error()).collect();
        self.target("CU masks, mean error", mean_abs(&errors), 0.05);
        self.target("CU masks, worst error", worst(&errors), 0.12);
        let text = |(row, pair): &(data::MaskRow, Pair)| {
            let (measured, model) = (format!("{:.2}", pair.measured), format!("{:.2}", pair.model));
            vec![
                format!("{} CUs, one engine after another", row.enabled_cus),
                measured,
                model,
                percent(pair.error()),
            ]
        };
        let rows: Vec<_> = rows.iter().filter(|(row, _)| row.sweep == "sw4").map(text).collect();
        self.table(&["mask", "measured ms", "model ms", "error"], &rows);
        Ok(())
    }

    fn kernels(&mut self, device: &Device) -> Result<()> {
        self.head(
            "Kernels against the number of SMs",
            "Kernels of at least 20 us of six inference models on an H200 (kernels-b*.csv.gz), each fitted to its shape and its times on 132 and \
             32 SMs, at twelve other counts. Batch 4 and 16 were used to calibrate the device; 1, 8 and 32 were not. The curve is \
             a + b/s through the same two points. What the model misses: times that do not fall with SMs because the library runs several \
             small kernels under one name (FFT convolutions), and the tail of kernels whose workgroups differ.",
        );
        let mut cumulative = Vec::new();
        for (index, batch) in [1, 8, 32, 4, 16].into_iter().enumerate() {
            let compared = kernels::compare(device, data::launches(batch));
            let model: Vec<f64> = compared.iter().flat_map(|c| c.errors().collect::<Vec<_>>()).collect();
            let curve: Vec<f64> =
                compared.iter().flat_map(|c| c.curve_errors().collect::<Vec<_>>()).collect();
            let bound = percentile_abs(&curve, 90.0);
            if index < 3 {
                let what =
                    format!("kernels at batch {batch}, 90th percentile error (curve: {})", percent(bound));
                self.target(&what, percentile_abs(&model, 90.0), bound * 2.0 / 3.0);
                let points = |errors: &[f64]| -> Vec<(f64, f64)> {
                    (1..100).map(|p| (f64::from(p), 100.0 * percentile_abs(errors, f64::from(p)))).collect()
                };
                cumulative.push(Series::line(
                    &format!("model, batch {batch}"),
                    [1, 5, 4][index],
                    points(&model),
                ));
                cumulative.push(Series::line(
                    &format!("curve, batch {batch}"),
                    [2, 3, 0][index],
                    points(&curve),
                ));
            }
        }
        let frame = Frame {
            title: "absolute error of the time at other counts",
            x: "percentile",
            y: "%",
            log: (false, true),
        };
        self.plot(&frame, &cumulative)?;
        let compared = kernels::compare(device, data::launches(8));
        for (model, place) in [("albert", 0), ("densenet201", 3), ("vgg19", 6)] {
            let Some(one) = compared.iter().filter(|c| c.launch.model == model).nth(place) else { continue };
            let all = |value: fn(&(u32, f64, f64, f64)) -> f64| -> Vec<(f64, f64)> {
                one.points.iter().map(|point| (f64::from(point.0), value(point))).collect()
            };
            let title = format!("{model}, launch {}: {} workgroups", one.launch.seq, one.launch.blocks);
            let series = [
                Series::line("model (simulated)", 1, all(|point| point.2)),
                Series::line("a + b/s", 2, all(|point| point.3)),
                Series::dots("measured", 0, all(|point| point.1)),
            ];
            self.plot(&Frame { title: &title, x: "SMs", y: "us", log: (true, true) }, &series)?;
        }
        Ok(())
    }

    fn interference(&mut self, device: &Device) -> Result<()> {
        self.head(
            "Two kernels at once",
            "An FMA-bound and a copy-bound kernel in closed loops on an H200 (interference.csv). Slow-down = rate alone / rate together. \
             The data do not tell the registers of the FMA kernel; four of its blocks to an SM are assumed, because with eight the model gives \
             1.43 and 1.02 for FMA and copy on shared SMs: that pair is no independent evidence. Missing: the alone rate of \
             copies on 64 SMs is far below that on 68 (memory partitions); and in the model two equal copy loops stay in step, so that \
             their pauses coincide.",
        );
        let mut rows = Vec::new();
        let compared = interference::compare(device);
        for one in &compared {
            for pair in &one.slowdowns {
                self.target(&format!("slow-down of {}", pair.label), pair.error().abs(), 0.15);
                let (measured, model) = (format!("{:.2}", pair.measured), format!("{:.2}", pair.model));
                rows.push(vec![pair.label.clone(), measured, model, percent(pair.error())]);
            }
        }
        let points = |partition: &str| {
            let rows = compared.iter().filter(|one| one.row.partition == partition);
            rows.flat_map(|one| &one.slowdowns).map(|pair| (pair.measured, pair.model)).collect()
        };
        let series = [
            Series::line("equal", 2, vec![(1.0, 1.0), (4.0, 4.0)]),
            Series::dots("shared", 1, points("full_shared")),
            Series::dots("disjoint", 0, points("disjoint")),
        ];
        let frame = Frame { title: "slow-downs", x: "measured", y: "model (simulated)", log: (false, false) };
        self.plot(&frame, &series)?;
        self.table(&["kernel", "measured", "model (simulated)", "error"], &rows);
        Ok(())
    }

    fn colocation(&mut self, device: &Device) -> Result<()> {
        self.head(
            "Mixes of inference models at batch 8",
            "Rates relative to running alone on an H200 (colocation-b8.csv), all SMs shared or split equally. The model knows each kernel by its \
             shape and two times alone. Mix 5 contains resnext101, whose kernels ran on several streams at once when they were measured: \
             their times overlap, and one queue cannot replay them.",
        );
        let all = colocation::compare(device);
        let mut rows = Vec::new();
        let point = |pair: &Pair| (pair.measured, pair.model);
        for mix in &all {
            self.target(&format!("STP of {}", mix.stp.label), mix.stp.error().abs(), 0.15);
            let parts = mix.workers.iter().map(|w| format!("{} {:.2}/{:.2}", w.label, w.measured, w.model));
            rows.push(vec![
                mix.stp.label.clone(),
                format!("{:.3}", mix.stp.measured),
                format!("{:.3}", mix.stp.model),
                percent(mix.stp.error()),
                parts.collect::<Vec<_>>().join(", "),
                format!("{:.0} / {:.0}", mix.watts.measured, mix.watts.model),
            ]);
        }
        for mix in all.chunks(2) {
            let [shared, split] = mix else { continue };
            let measured = split.stp.measured - shared.stp.measured;
            let model = split.stp.model - shared.stp.model;
            if measured.abs() > 0.03 * shared.stp.measured {
                let what = format!("mix {}: sign of STP split - shared", shared.mix);
                let is = format!("{model:+.3}, measured {measured:+.3}");
                self.targets.push((what, is, "the same sign".to_owned(), measured * model > 0.0));
            }
        }
        let workers = |policy: &str| {
            all.iter().filter(|m| m.policy == policy).flat_map(|m| m.workers.iter().map(point)).collect()
        };
        let series = [
            Series::line("equal", 2, vec![(0.1, 0.1), (1.0, 1.0)]),
            Series::dots("shared", 1, workers("baseline")),
            Series::dots("split", 0, workers("disjoint_equal")),
        ];
        let frame = Frame {
            title: "rate / rate alone of each worker",
            x: "measured",
            y: "model (simulated)",
            log: (false, false),
        };
        self.plot(&frame, &series)?;
        let header = [
            "mix",
            "STP measured",
            "STP model (simulated)",
            "error",
            "workers: measured/model",
            "W measured / model",
        ];
        self.table(&header, &rows);
        self.body.push_str(
            "<p>The watts of mixes are no target: the coefficients are of an FMA and a copy kernel, and matrix multiplies draw more \
             (shared memory and register traffic).</p>\n",
        );
        Ok(())
    }

    fn power(&mut self, device: &Device) -> Result<()> {
        let terms = power::fit(&data::power());
        let list: Vec<String> =
            power::TERMS.iter().zip(terms).map(|(name, value)| format!("{name} {value:.3}")).collect();
        self.head(
            "Power against active SMs",
            &format!(
                "An H200 (power.csv). Each point is predicted from a fit to the others. Fit to all: {}.",
                list.join(", ")
            ),
        );
        let points = power::leave_one_out();
        let of = |kernel: &str, value: fn(&Pair) -> f64| -> Vec<(f64, f64)> {
            let rows = points.iter().filter(|(row, _)| row.kernel == kernel);
            rows.map(|(row, pair)| (row.sms as f64, value(pair))).collect()
        };
        let series = [
            Series::line("FMA, left out", 1, of("fma", |pair| pair.model)),
            Series::dots("FMA, measured", 0, of("fma", |pair| pair.measured)),
            Series::line("copy, left out", 5, of("copy", |pair| pair.model)),
            Series::dots("copy, measured", 3, of("copy", |pair| pair.measured)),
        ];
        self.plot(&Frame { title: "board power", x: "SMs", y: "W", log: (false, false) }, &series)?;
        let errors: Vec<f64> = points.iter().map(|(_, pair)| pair.error()).collect();
        self.target("power leaving one point out, worst error", worst(&errors), 0.06);
        let rates = power::rates(device);
        let of = |kernel: &str, value: fn(&Pair) -> f64| -> Vec<(f64, f64)> {
            let rows = rates.iter().filter(|(row, _)| row.kernel == kernel);
            rows.map(|(row, pair)| (row.sms as f64, value(pair) / 1e3)).collect()
        };
        let series = [
            Series::line("FMA, model", 1, of("fma", |pair| pair.model)),
            Series::dots("FMA, measured", 0, of("fma", |pair| pair.measured)),
            Series::line("copy, model", 5, of("copy", |pair| pair.model)),
            Series::dots("copy, measured", 3, of("copy", |pair| pair.measured)),
        ];
        self.plot(
            &Frame { title: "rates alone (calibration)", x: "SMs", y: "1000 launches/s", log: (true, true) },
            &series,
        )
    }

    fn constants(&mut self, devices: &[&Device]) {
        for device in devices {
            self.head(&format!("Constants: {}", device.name), "");
            let row = |(name, constant): (String, &gpu_model::constant::Constant)| {
                vec![name, constant.value.to_string(), constant.source.clone()]
            };
            let rows: Vec<_> = device.constants().into_iter().map(row).collect();
            self.table(&["constant", "value", "source"], &rows);
        }
    }

    fn html(&self) -> String {
        let mut rows = String::new();
        for (what, is, target, met) in &self.targets {
            let class = if *met { "met" } else { "missed" };
            let _ = writeln!(
                rows,
                "<tr class=\"{class}\"><td>{}</td><td>{}</td><td>{}</td><td>{class}</td></tr>",
                escape(what),
                escape(is),
                escape(target)
            );
        }
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>gpu-model beside measurements</title>\n\
             <style>body{{font:15px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}td,th{{padding:.15em .7em;text-align:left;\
             border-bottom:1px solid #ddd}}table{{border-collapse:collapse}}figure{{margin:1em 0}}svg{{max-width:100%;height:auto}}\
             .missed td{{color:#b00}}</style></head><body>\n<h1>gpu-model beside measurements</h1>\n\
             <p>Everything called model is simulated. Written by <code>eclip model report</code>.</p>\n\
             <table><tr><th>what</th><th>model</th><th>target</th><th></th></tr>\n{rows}</table>\n{}</body></html>\n",
            self.body
        )
    }
}
