//! The pool against reality: where each queue's workgroups really ran.

use std::io::Write;

use anyhow::{Context, Result, bail};
use eclip_hsa::observe::{Observed, observe};
use eclip_hsa::{CuMask, Kernel, Pool, Queue};

use super::worker::PATIENCE;
use crate::table;

/// Workgroups of one wavefront for each CU of the GPU, and rounds of about 64 clocks that each stays: enough to reach
/// every CU of a mask.
const WORKGROUPS_PER_CU: u32 = 8;
const SPIN: u32 = 100;
/// Which CU gets a workgroup is the hardware's choice: if not every one was seen, more workgroups are tried.
const TRIES: u32 = 3;

/// Probes each queue and prints a table. A queue that ran anywhere but on the CUs of its mask is an error.
pub fn verify(pool: &Pool, probe: &Kernel, out: &mut impl Write) -> Result<()> {
    let engines = pool.agent().topology()?.shader_engines();
    let mut table = table::table();
    table.set_header([
        "queue",
        "CU mask",
        "CUs per SE asked",
        "ME.pipe.queue",
        "CUs per SE observed",
        "workgroups",
    ]);
    let mut wrong = Vec::new();
    for queue in pool.queues() {
        let asked = asked(queue)?;
        let seen = look(queue, probe, &asked).with_context(|| format!("probing queue {}", queue.label()))?;
        let hardware: Vec<String> = seen.hardware_queues.iter().map(ToString::to_string).collect();
        let observed: Vec<String> = seen.cus_by_engine(engines).iter().map(u32::to_string).collect();
        if !seen.agrees_with(&asked) {
            wrong.push(format!(
                "{} was to use {} CUs per shader engine and used {}",
                queue.label(),
                asked.per_engine_text(),
                observed.join("+")
            ));
        }
        table.add_row([
            queue.label().to_owned(),
            queue.mask().map_or("none set".into(), |mask| mask.to_string()),
            asked.per_engine_text(),
            if hardware.is_empty() { "not shown".into() } else { hardware.join(", ") },
            observed.join("+"),
            seen.workgroups.to_string(),
        ]);
    }
    table::align_right(&mut table, 5);
    writeln!(out, "{table}")?;
    if !wrong.is_empty() {
        bail!("CU masks are not in force: {}", wrong.join("; "));
    }
    Ok(())
}

/// The queue's mask; that of all CUs if none was set.
fn asked(queue: &Queue) -> Result<CuMask> {
    match queue.mask() {
        Some(mask) => Ok(mask),
        None => Ok(CuMask::all(queue.agent().topology()?)),
    }
}

fn look(queue: &Queue, probe: &Kernel, asked: &CuMask) -> Result<Observed> {
    let mut workgroups = asked.topology().cu_count() * WORKGROUPS_PER_CU;
    let mut seen = observe(queue, probe, workgroups, SPIN, PATIENCE)?;
    for _ in 1..TRIES {
        if seen.agrees_with(asked) {
            break;
        }
        workgroups *= 2;
        seen = observe(queue, probe, workgroups, SPIN, PATIENCE)?;
    }
    Ok(seen)
}
