//! Work that hops between queues: each step runs on another queue and waits, on the GPU, for the step before it.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/04_cross_queue_dependency`.

use std::error::Error;
use std::time::Duration;

use eclip_hsa::{CuMask, KernelGroup, Module, Pool, Runtime, Token, Visibility};

const N: u32 = 4096;
const STEPS: usize = 20;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which below is the length of every buffer.
    let saxpy = unsafe { Module::from_bytes(&gpu, "vector", code)? }.kernel("saxpy")?;

    let first_engine = CuMask::shader_engines(gpu.topology()?, &[0])?;
    let pool = Pool::builder(&gpu).masked("one engine", first_engine).unmasked("all").build()?;

    // Fibonacci numbers: y += x on one queue, then x += y on the other. Each step reads what the other queue has just written.
    let (x, y) = (gpu.upload(&vec![1f32; N as usize])?, gpu.upload(&vec![1f32; N as usize])?);
    let add =
        |from, to| KernelGroup::of(saxpy.dispatch([N, 1, 1], [64, 1, 1]).arg(1f32).arg(from).arg(to).arg(N));
    let turns = [(add(&x, &y)?, &pool[0]), (add(&y, &x)?, &pool[1])];
    let mut last: Option<Token> = None;
    for step in 1..=STEPS {
        let (group, queue) = &turns[(step - 1) % 2];
        // Only the host waits for the last step; queues wait for the others, which costs less.
        let visible = if step == STEPS { Visibility::System } else { Visibility::Agent };
        // A token exists only for submitted work, so waiting in a circle cannot be written down.
        last = Some(group.on(queue).after(last.as_slice()).visibility(visible).submit(SECOND)?);
    }
    last.ok_or("no step")?.wait_timeout(10 * SECOND)?;

    let expected = (0..STEPS).fold((1f32, 1f32), |(a, b), _| (b, a + b)).1;
    let wrong = x.to_vec()?.iter().filter(|&&value| value != expected).count();
    println!("{}: Fibonacci number {} is {expected}; {wrong} lanes disagree", gpu.product(), STEPS + 2);
    if wrong > 0 { Err("a dependency was not honoured".into()) } else { Ok(()) }
}
