//! A plan as text: TOML with one line for each queue's and kernel's row, so that people can read and compare plans.

use std::fmt::Write;

use super::document::{PlanDocument, PlanKernel};
use toml::Value;

/// The file's text.
pub(super) fn text(plan: &PlanDocument) -> String {
    let mut out = String::from("# An ECLIP plan: which queue each kernel of each worker takes.\n");
    // Writing to a String cannot fail.
    let _ = write(plan, &mut out);
    out
}

fn write(plan: &PlanDocument, out: &mut String) -> std::fmt::Result {
    writeln!(out, "version = {}", plan.version)?;
    if let Some(most) = plan.switch_max {
        writeln!(out, "switch_max = {most}")?;
    }
    let device = &plan.device;
    writeln!(out, "\n[device]")?;
    if let Some(product) = &device.product {
        writeln!(out, "product = {}", string(product))?;
    }
    writeln!(out, "isa = {}", string(&device.isa))?;
    writeln!(out, "xccs = {}", device.xccs)?;
    writeln!(out, "shader_engines = {}", device.shader_engines)?;
    writeln!(out, "sh_per_se = {}", device.sh_per_se)?;
    writeln!(out, "cus_per_sh = {:?}", device.cus_per_sh)?;
    writeln!(out, "wgp_pairs = {}", device.wgp_pairs)?;
    for queue in &plan.queues {
        writeln!(out, "\n[[queue]]\nlabel = {}", string(&queue.label))?;
        if let Some(mask) = &queue.mask {
            writeln!(out, "mask = {}", string(mask))?;
        }
        if queue.unbalanced {
            writeln!(out, "unbalanced = true")?;
        }
    }
    for worker in &plan.workers {
        writeln!(out, "\n[[worker]]\nname = {}", string(&worker.name))?;
        writeln!(out, "default = {}", string(&worker.default))?;
        if let Some(queue) = &worker.model_wise {
            writeln!(out, "model_wise = {}", string(queue))?;
        }
        if let Some(count) = worker.kernels_per_request {
            writeln!(out, "kernels_per_request = {count}")?;
        }
        writeln!(out, "kernels = [")?;
        for kernel in &worker.kernels {
            writeln!(out, "  {{ {} }},", row(kernel))?;
        }
        writeln!(out, "]")?;
    }
    Ok(())
}

fn row(kernel: &PlanKernel) -> String {
    let fields = [
        kernel.index.map(|index| format!("index = {index}")),
        kernel.kernel.as_ref().map(|name| format!("kernel = {}", string(name))),
        kernel.occurrence.map(|occurrence| format!("occurrence = {occurrence}")),
        Some(format!("queue = {}", string(&kernel.queue))),
        kernel.right_size.as_ref().map(|queue| format!("right_size = {}", string(queue))),
        kernel.solo_us.map(|time| format!("solo_us = {}", Value::Float(time))),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A TOML string on one line, with what must be escaped.
fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
