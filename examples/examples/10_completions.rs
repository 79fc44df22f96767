//! Completion without waiting: tasks of one thread await what they submitted, and a callback is called when work is complete. It takes
//! a thread, which nobody has who does not start `Completions`. Any executor will do: this one is of the crate `futures`.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/10_completions`.

use std::error::Error;
use std::sync::mpsc;
use std::time::Duration;

use eclip_hsa::{Buffer, Completions, KernelGroup, Module, Pool, Queue, Result, Runtime};
use futures::executor::block_on;
use futures::future::join_all;

const SECOND: Duration = Duration::from_secs(1);

/// Doubles a number on the GPU until it is large. The host looks at each result and decides.
async fn grow(done: &Completions, queue: &Queue, double: &KernelGroup, x: &Buffer<f32>) -> Result<u32> {
    let mut steps = 0;
    while x.to_vec()?[0] < 1000.0 {
        let token = double.on(queue).submit(SECOND)?;
        // The other tasks go on meanwhile. If the queue dies, this is an error.
        done.watch(&token)?.await?;
        steps += 1;
    }
    Ok(steps)
}

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which below is the length of every buffer.
    let saxpy = unsafe { Module::from_bytes(&gpu, "vector", code)? }.kernel("saxpy")?;
    let pool = Pool::builder(&gpu).unmasked("1").unmasked("3").unmasked("100").build()?;
    let completions = Completions::start(&gpu)?;

    let numbers = [1f32, 3.0, 100.0].into_iter().map(|start| gpu.upload(&[start]));
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    // x += 1 * x
    let double = |x| KernelGroup::of(saxpy.dispatch([1, 1, 1], [1, 1, 1]).arg(1f32).arg(x).arg(x).arg(1u32));
    let groups = numbers.iter().map(double).collect::<Result<Vec<_>, _>>()?;
    let tasks = (0..3).map(|task| grow(&completions, &pool[task], &groups[task], &numbers[task]));
    let steps = block_on(join_all(tasks)).into_iter().collect::<Result<Vec<_>, _>>()?;
    println!("{}: three tasks took {steps:?} steps", gpu.product());

    // As a callback, on the thread of `completions`: it should be short.
    let (sender, told) = mpsc::channel();
    for (number, group) in groups.iter().enumerate() {
        let (token, sender) = (group.on(&pool[number]).submit(SECOND)?, sender.clone());
        // Nobody listens any more if main has ended early: nothing to be done.
        completions.then(&token, move |ended| drop(sender.send(ended)))?;
    }
    (0..3).try_for_each(|_| told.recv_timeout(10 * SECOND)?.map_err(Box::<dyn Error>::from))?;
    let last: Vec<f32> = numbers.iter().map(|x| Ok(x.to_vec()?[0])).collect::<Result<_>>()?;
    println!("three callbacks were called; the numbers are {last:?}");
    if steps == [10, 9, 4] && last == [2048.0, 3072.0, 3200.0] { Ok(()) } else { Err("wrong numbers".into()) }
}
