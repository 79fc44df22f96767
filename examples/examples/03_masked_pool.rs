//! A pool of CU-masked queues: a probe kernel shows that each queue uses exactly the compute units that it was given.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/03_masked_pool`.

use std::error::Error;
use std::time::Duration;

use eclip_hsa::observe::observe;
use eclip_hsa::{CuMask, Module, Pool, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let topology = gpu.topology()?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "probe").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the probe writes one word for each workgroup; `observe` gives it a buffer of that size.
    let probe = unsafe { Module::from_bytes(&gpu, "probe", code)? }.kernel("probe_hw_id")?;

    // Masks are made for one GPU's topology and checked against it: empty or unbalanced ones are refused.
    let last = topology.shader_engines() - 1;
    let two_each = vec![2; topology.shader_engines() as usize];
    let pool = Pool::builder(&gpu)
        .masked("first engine", CuMask::shader_engines(topology, &[0])?)
        .masked("last engine", CuMask::shader_engines(topology, &[last])?)
        .masked("two of each", CuMask::per_shader_engine(topology, &two_each)?)
        .unmasked("all")
        .build()?;
    println!("{}", pool.audit());

    for queue in pool.queues() {
        let asked = queue.mask().unwrap_or_else(|| CuMask::all(topology));
        let seen = observe(queue, &probe, topology.cu_count() * 8, 100, Duration::from_secs(10))?;
        println!("{}: asked for {asked:#}, saw {} CUs", queue.label(), seen.cus.len());
        if !seen.agrees_with(&asked) {
            return Err(format!("{} ran elsewhere: {:?}", queue.label(), seen.cus).into());
        }
    }
    Ok(())
}
