//! Replay: a whole request over three queues, recorded once and submitted many times with new arguments.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/07_replay`.

use std::error::Error;
use std::time::Duration;

use eclip_hsa::{KernelGroup, Module, Patch, Pool, Recording, Runtime, Token};

const N: usize = 1024;
const REQUESTS: usize = 50;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which is at most the length of every buffer here.
    let module = unsafe { Module::from_bytes(&gpu, "vector", code)? };
    let launch =
        |name| Ok::<_, eclip_hsa::Error>(module.kernel(name)?.dispatch([N as u32, 1, 1], [64, 1, 1]));
    let pool = Pool::builder(&gpu).unmasked("first").unmasked("second").unmasked("third").build()?;

    let (x, y, z) = (gpu.alloc::<u32>(N)?, gpu.alloc::<u32>(N)?, gpu.alloc::<u32>(N)?);
    let out = gpu.alloc::<u32>(2 * N * REQUESTS)?;
    let fill = KernelGroup::of(launch("fill_u32")?.arg(&x).arg(0u32).arg(N as u32))?;
    let copy = |from, to| KernelGroup::of(launch("copy_u32")?.arg(from).arg(to).arg(N as u32));
    let increment = |what| KernelGroup::of(launch("increment")?.arg(what).arg(N as u32));

    // Queues are numbers here, and a step names the steps that it comes after: x = request, then y = x + 1 beside z = x, then both out.
    let mut recorder = Recording::builder(&gpu);
    let filled = recorder.add(&fill, 0, &[])?;
    let copied = recorder.add(&copy(&x, &y)?, 1, &[filled])?;
    let mut ready = recorder.add(&increment(&y)?, 1, &[copied])?;
    let second = recorder.add(&copy(&x, &z)?, 2, &[filled])?;
    for from in [&y, &z] {
        ready = recorder.add(&copy(from, &out)?, 0, &[ready, second])?;
    }
    let recording = recorder.build()?;

    let mut last: Option<Token> = None;
    for request in 0..REQUESTS {
        // Kernels count in the order in which they were recorded: another number for the first, other places for the last two.
        let number = Patch::new(0, 1, request as u32);
        let places = [2 * request, 2 * request + 1].map(|place| out.at(place * N));
        let [first, second] = places;
        let patches = [number, Patch::new(4, 1, first?), Patch::new(5, 1, second?)];
        // The requests share x, y and z, so each comes after the one before; on the GPU, without the host.
        last = Some(recording.on(pool.queues()).after(last.as_slice()).patch(&patches).submit(SECOND)?);
    }
    last.ok_or("no request")?.wait_timeout(10 * SECOND)?;

    let expected = |index: usize| (index / N / 2 + 1 - index / N % 2) as u32;
    let wrong = (0..).zip(out.to_vec()?).filter(|&(index, number)| number != expected(index)).count();
    let (kernels, packets, segments) = (recording.len(), recording.packets(), recording.segments());
    println!("{}: {kernels} kernels recorded as {packets} packets in {segments} segments", gpu.product());
    println!("    {REQUESTS} replays, {wrong} of {} numbers wrong", 2 * N * REQUESTS);
    if wrong > 0 { Err("an order or an argument was not kept".into()) } else { Ok(()) }
}
