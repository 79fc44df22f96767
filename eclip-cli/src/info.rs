//! `eclip info`: what the library knows of this machine.

use std::io::Write;

use anyhow::{Context, Result};
use eclip_hsa::budget::QueueBudget;
use eclip_hsa::{Agent, CuMask, Runtime};

use crate::device::Device;

/// Prints it.
pub fn run(out: &mut impl Write) -> Result<()> {
    let device = Device::choose()?;
    let runtime = Runtime::new().with_context(|| format!("no {}", device.why()))?;
    let (major, minor) = runtime.hsa_version()?;
    let file = runtime.hsa().path().map_or("linked in".into(), |path| path.display().to_string());
    line(out, "device", device.why())?;
    line(out, "ROCr", format!("{file}, HSA {major}.{minor}"))?;
    if let Some(value) = std::env::var_os("HSA_CU_MASK") {
        line(out, "warning", format!("HSA_CU_MASK={} is ANDed into every mask by ROCr", value.display()))?;
    }
    for cpu in runtime.cpus() {
        line(out, "CPU", format!("{cpu}: {}", cpu.product()))?;
    }
    for (index, gpu) in runtime.gpus().iter().enumerate() {
        writeln!(out)?;
        line(out, &format!("GPU {index}"), format!("{gpu}: {}", device.name(gpu)))?;
        about(gpu, out)?;
    }
    if runtime.gpus().is_empty() {
        line(out, "GPU", "none (see rocminfo; ROCR_VISIBLE_DEVICES may hide some)")?;
    }
    Ok(())
}

fn about(gpu: &Agent, out: &mut impl Write) -> Result<()> {
    if let Some(isa) = gpu.isa() {
        let kernels = if eclip_kernels::code_object(&isa.to_string(), "mlp").is_some() { "" } else { "out" };
        line(out, "  ISA", format!("{isa}, with{kernels} code objects for `eclip demo`"))?;
    }
    match gpu.topology() {
        Ok(topology) => {
            let source = if gpu.topology_is_exact() { "from the driver" } else { "assumed alike in all engines" };
            line(out, "  CUs", format!("{topology}, {source}"))?;
            line(out, "  mask", format!("{} enables all of them", CuMask::all(topology)))?;
        }
        Err(problem) => line(out, "  CUs", format!("unknown: {problem}"))?,
    }
    let budget = QueueBudget::of(gpu);
    let hardware = budget.hardware.map_or("unknown".into(), |n| n.to_string());
    let QueueBudget { runtime, others, .. } = budget;
    let free = budget.budget().map_or("unknown".into(), |n| n.to_string());
    line(
        out,
        "  queues",
        format!("{hardware} in hardware - {runtime} of ROCr - {others} of other programs = {free} to use"),
    )?;
    let (least, most) = gpu.queue_sizes();
    line(out, "  ring", format!("{least} to {most} packets"))?;
    line(out, "  memory", format!("{} MiB", gpu.memory_bytes() >> 20))?;
    line(out, "  LDS", format!("{} KiB a workgroup at most", gpu.lds_bytes() >> 10))?;
    let scratch = gpu.scratch_bytes_per_lane_byte().map_or("unknown".into(), |bytes| {
        format!("{} MiB a queue for each KiB of private memory of a work-item", (bytes << 10) >> 20)
    });
    line(out, "  scratch", scratch)?;
    let [x, y, z] = gpu.max_workgroup_dims();
    line(
        out,
        "  workgroup",
        format!("{} work-items at most ({x} x {y} x {z})", gpu.max_workgroup_size()),
    )?;
    line(out, "  wavefront", format!("{} lanes", gpu.wave_size()))
}

fn line(out: &mut impl Write, key: &str, value: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(out, "{key:<12} {value}")?)
}
