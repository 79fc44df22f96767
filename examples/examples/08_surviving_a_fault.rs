//! Surviving a fault: a kernel runs into an illegal instruction. Its queue dies, everybody who waits for it is told, the other queues
//! go on, and the pool puts a new queue in the dead one's place.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/08_surviving_a_fault`.

use std::error::Error;
use std::time::Duration;

use eclip_hsa::{KernelGroup, Module, Pool, Runtime};

const N: u32 = 1024;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = |name| eclip_kernels::code_object(&isa, name).ok_or(format!("no kernels for {isa}"));
    // SAFETY: `increment` checks its index against n, which is the buffer's length.
    let increment = unsafe { Module::from_bytes(&gpu, "vector", code("vector")?)? }.kernel("increment")?;
    // SAFETY: `illegal` writes at most the two items of its buffer.
    let illegal = unsafe { Module::from_bytes(&gpu, "fault", code("fault")?)? }.kernel("illegal")?;
    let mut pool = Pool::builder(&gpu).unmasked("risky").unmasked("waits").unmasked("bystander").build()?;

    let (counts, out) = (gpu.alloc::<u32>(N as usize)?, gpu.alloc::<u32>(2)?);
    let work = KernelGroup::of(increment.dispatch([N, 1, 1], [64, 1, 1]).arg(&counts).arg(N))?;
    let bad = KernelGroup::of(illegal.dispatch([1, 1, 1], [1, 1, 1]).arg(&out))?;

    let faulty = bad.on(&pool[0]).submit(SECOND)?;
    // Submitted before or after the fault is known: either way it is told.
    let told = match work.on(&pool[1]).after(std::slice::from_ref(&faulty)).submit(SECOND) {
        Ok(token) => token.wait_timeout(SECOND),
        Err(error) => Err(error),
    };
    println!("the kernel:        {}", faulty.wait_timeout(SECOND).err().ok_or("an illegal instruction ran")?);
    println!("who waits for it:  {}", told.err().ok_or("work ran that comes after lost work")?);
    work.on(&pool[2]).submit(SECOND)?.wait_timeout(SECOND)?;
    println!("the bystander:     goes on");

    let dead: Vec<usize> = (0..3).filter(|&index| pool[index].failure().is_some()).collect();
    for &index in &dead {
        pool.replace(index)?;
    }
    for queue in pool.queues() {
        work.on(queue).submit(SECOND)?.wait_timeout(SECOND)?;
    }
    let right = counts.to_vec()?.iter().filter(|&&count| count == 4).count();
    println!("{}: {} queues replaced, {right} of {N} counters at 4", gpu.product(), dead.len());
    if right == N as usize { Ok(()) } else { Err("work was lost that should not have been".into()) }
}
