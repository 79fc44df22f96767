//! Lists what ROCr shows: CPUs, GPUs, and where each GPU's compute units sit.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/01_list_agents`.

use eclip_hsa::budget::QueueBudget;
use eclip_hsa::{Error, Result, Runtime};

fn main() -> Result<()> {
    let runtime = Runtime::new()?;
    for cpu in runtime.cpus() {
        println!("CPU {cpu}: {}", cpu.product());
    }
    for gpu in runtime.gpus() {
        let topology = gpu.topology()?;
        println!("GPU {gpu}: {}", gpu.product());
        println!("    {topology}, {} lanes a wavefront", gpu.wave_size());
        let queues = QueueBudget::of(&gpu).budget().map_or("an unknown number of".into(), |n| n.to_string());
        println!("    {} MiB, {queues} hardware queues to use", gpu.memory_bytes() >> 20);
        // The library's map of mask bits to compute units names each unit exactly once.
        let mut units = topology.mask_bits();
        units.sort_unstable();
        units.dedup();
        if units.len() != topology.cu_count() as usize {
            return Err(Error::Invalid(format!(
                "{} of {} CUs have a mask bit",
                units.len(),
                topology.cu_count()
            )));
        }
    }
    // An error, with what to look at, if there is none.
    runtime.gpu(0).map(drop)
}
