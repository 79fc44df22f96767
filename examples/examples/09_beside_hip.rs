//! HIP and eclip-hsa in one process: HIP's memory, a kernel of HIP's, a kernel of ours on a masked queue, in turn.
//!
//! Needs AMD's HIP runtime (libamdhip64.so.5 or .6; Debian 12 and Ubuntu 24.04: package libamdhip64-5), found when the program
//! runs; without it the program says so and ends well. Order between the two is made on the host: synchronise HIP's stream
//! before submitting here, wait for the token before launching there. `eclip_peers` is this repository's crate for that.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/09_beside_hip`.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use eclip_hsa::{Arg, CuMask, Module, Queue, Runtime};
use eclip_peers::hip::{self, Hip};

const N: u32 = 1024;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let other = match Hip::load() {
        Ok(hip) => hip,
        Err(why) => {
            println!("{}: beside HIP: not shown: {why}", gpu.product());
            return Ok(());
        }
    };
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which below is the length of every buffer.
    let increment = unsafe { Module::from_bytes(&gpu, "vector", code)? }.kernel("increment")?;
    let engine = CuMask::shader_engines(gpu.topology()?, &[0])?;
    let queue = Queue::builder(&gpu).label("one engine").mask(engine).create()?;

    // SAFETY: a whole code object, the same one.
    let hip_increment = Arc::new(unsafe { hip::Module::load(&other, code)? }).function("increment")?;
    let (stream, memory) = (other.stream()?, other.malloc(4 * N as usize)?);
    memory.write(&[0; N as usize])?;
    let address = memory.address();
    for _ in 0..10 {
        let arguments = [(&raw const address).cast(), std::ptr::from_ref(&N).cast()];
        // SAFETY: the kernel's two arguments: N counters, which outlive the work, and N.
        unsafe { hip_increment.launch(&stream, [N / 256, 1, 1], [256, 1, 1], &arguments)? };
        stream.synchronize()?;
        // SAFETY: N counters, which outlive the work; nothing else uses them until the token has been waited for.
        let counters = unsafe { Arg::foreign(address) };
        let work = increment.dispatch([N, 1, 1], [256, 1, 1]).arg(counters).arg(N);
        queue.dispatch(work, SECOND)?.wait_timeout(10 * SECOND)?;
    }
    let mut counted = vec![0; N as usize];
    memory.read(&mut counted)?;
    let wrong = counted.iter().filter(|&&count| count != 20).count();
    println!("{}: beside HIP: 10 kernels of each on {N} counters, {wrong} wrong", gpu.product());
    if wrong > 0 { Err("some counters are wrong".into()) } else { Ok(()) }
}
