//! Two workers, each with its own thread and its own queues, under a plan file and one of the five policies.
//!
//! A request hands a number on from buffer to buffer: a kernel that began too early would hand on an older one. The first argument
//! names the policy, such as `kw-stream`; without one it is `eclip`.

use std::{env, error::Error, thread, time::Duration};

use eclip_hsa::{Kernel, Module, Patch, Plan, Policy, Runtime, Scheduler, Worker};

const N: u32 = 1024;
const REQUESTS: u32 = 20;
const PLAN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/plans/two_workers.toml");

/// Serves all requests; gives the numbers that arrived.
fn serve(worker: &mut Worker, fill: &Kernel, copy: &Kernel) -> eclip_hsa::Result<Vec<u32>> {
    let (gpu, grid, group) = (fill.agent(), [N, 1, 1], [64, 1, 1]);
    let hands = (0..5).map(|_| gpu.alloc::<u32>(N as usize)).collect::<eclip_hsa::Result<Vec<_>>>()?;
    let arrived = gpu.alloc::<u32>((N * REQUESTS) as usize)?;
    let first = worker.prepare(fill.dispatch(grid, group).arg(&hands[0]).arg(0u32).arg(N))?;
    let mut then = Vec::new();
    for (from, to) in hands.iter().zip(hands[1..].iter().chain([&arrived])) {
        then.push(worker.prepare(copy.dispatch(grid, group).arg(from).arg(to).arg(N))?);
    }
    for request in 0..REQUESTS {
        worker.begin_request();
        worker.submit_patched(&first, &[Patch::new(0, 1, request)])?;
        then[..4].iter().try_for_each(|kernel| worker.submit(kernel).map(drop))?;
        worker.submit_patched(&then[4], &[Patch::new(0, 1, arrived.at((request * N) as usize)?)])?;
        worker.end_request()?;
    }
    worker.wait(Duration::from_secs(10))?;
    arrived.to_vec()
}

fn main() -> Result<(), Box<dyn Error>> {
    let policy = env::args().nth(1).map_or(Ok(Policy::Eclip), |name| name.parse())?;
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which is at most the length of every buffer here.
    let module = unsafe { Module::from_bytes(&gpu, "vector", code)? };
    let (fill, copy) = (module.kernel("fill_u32")?, module.kernel("copy_u32")?);

    let plan = Plan::load(PLAN)?;
    let scheduler = Scheduler::new(Scheduler::pool(&gpu, &plan, policy)?.build()?, &plan, policy)?;
    let mut workers = [scheduler.worker("W1")?, scheduler.worker("W2")?];
    println!("{}, policy {policy}", gpu.product());
    let results = thread::scope(|scope| {
        let threads = workers.each_mut().map(|worker| scope.spawn(|| serve(worker, &fill, &copy)));
        threads.map(|thread| thread.join().expect("no panic"))
    });
    let mut all_right = true;
    for (arrived, worker) in results.into_iter().zip(&workers) {
        let wrong = (0..).zip(arrived?).filter(|(i, number)| *number != i / N).count();
        println!("{}: {wrong} numbers wrong; {}", worker.name(), worker.total());
        all_right &= wrong == 0;
    }
    if all_right { Ok(()) } else { Err("an order was not kept".into()) }
}
