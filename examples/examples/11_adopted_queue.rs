//! Inside another runtime: its queue and signals are adopted; both sides write to the one queue and wait for each other on the GPU.
//! What was adopted stays its owner's and is left as it was. `eclip_peers::neighbour` (this repository's) is the other runtime: a queue,
//! signals and packets as HSA programs make them.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/11_adopted_queue`.

use std::error::Error;
use std::time::Duration;

use eclip_hsa::{ForeignSignal, KernelGroup, Module, Queue, Runtime, Visibility};
use eclip_peers::neighbour;

const N: u32 = 1024;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: `increment` checks its index against n, which is the buffer's length.
    let increment = unsafe { Module::from_bytes(&gpu, "vector", code)? }.kernel("increment")?;
    let counts = gpu.alloc::<u32>(N as usize)?;
    let group = KernelGroup::of(increment.dispatch([N, 1, 1], [64, 1, 1]).arg(&counts).arg(N))?;

    // What the other side has: a queue, and signals of 1 that its packets, or ours, make 0.
    let hsa = gpu.runtime().hsa();
    let theirs = neighbour::Queue::new(hsa, gpu.handle(), 64)?;
    let signal = || neighbour::Signal::new(hsa, 1);
    let (start, first, ours_done, last) = (signal()?, signal()?, signal()?, signal()?);
    // SAFETY: live signals of this runtime, which outlive all work that names them; each becomes 0 once and is not set again.
    let [after, told] = [&first, &ours_done].map(|signal| unsafe { ForeignSignal::new(&gpu, signal.raw()) });
    // SAFETY: a live multi-producer queue of this GPU, whose other producers use the index functions. It outlives `shared`.
    let shared = unsafe { Queue::builder(&gpu).label("theirs, adopted").adopt(theirs.raw())? };
    let own = Queue::builder(&gpu).label("ours").create()?;

    // Their packet waits for their host; our kernel on our queue for their packet; our kernel on their queue for that.
    theirs.barrier(Some(&start), &first);
    let begun = [group.on(&own).after_signals(&[after]).visibility(Visibility::Agent).submit(SECOND)?];
    let token = group.on(&shared).after(&begun).notify(told).submit(SECOND)?;
    // And a packet of theirs on another queue could wait for `ours_done`: here their host does.
    let early = token.is_done()?;
    start.set(0);
    let in_time = ours_done.becomes(0, SECOND);
    token.wait_timeout(SECOND)?;
    let right = counts.to_vec()?.iter().filter(|&&count| count == 2).count();
    println!("{}: {right} of {N} counters at 2; {}", gpu.product(), shared.packet_counts());

    // Our part of it goes; the queue does not.
    drop(shared);
    theirs.barrier(None, &last);
    let alive = last.becomes(0, SECOND);
    println!("their signal was told: {in_time}; their queue goes on: {alive}");
    if early || !in_time || !alive || right < N as usize {
        Err("an order was not kept".into())
    } else {
        Ok(())
    }
}
