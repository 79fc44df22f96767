//! Two workers under a plan, and a chain of kernels whose result shows whether their order was kept.

use std::thread;

use eclip_hsa::plan::PlanDocument;
use eclip_hsa::{Buffer, Kernel, Patch, Plan, Policy, Prepared, Scheduler, Worker};
use kfd_sim::control::Device;

use crate::{Gpu, PATIENCE};

/// Lanes of each kernel.
pub const N: u32 = 256;
/// Kernels of a request of [`plan`]'s workers.
pub const KERNELS: usize = 8;

/// Two workers, six masked queues and a default for each. W1 switches four times in a request (the way back to the first kernel's
/// queue included), W2 at each of its eight kernels.
pub fn plan() -> Plan {
    let mut text = String::from(
        "version = 1\nswitch_max = 6\n[device]\nisa = \"gfx906\"\nshader_engines = 4\ncus_per_sh = [15, 15, 15, 15]\n",
    );
    let masks = [
        ("W1 15", "0x111111111111111"),
        ("W1 30", "0x555555555555555"),
        ("W1 45", "0x777777777777777"),
        ("W2 15", "0x888888888888888"),
        ("W2 30", "0xaaaaaaaaaaaaaaa"),
        ("W2 45", "0xeeeeeeeeeeeeeee"),
    ];
    for (label, mask) in masks {
        text += &format!("[[queue]]\nlabel = \"{label}\"\nmask = \"{mask}\"\n");
    }
    text += "[[queue]]\nlabel = \"W1 all\"\n[[queue]]\nlabel = \"W2 all\"\n";
    let routes = [("W1", [30, 30, 45, 45, 45, 15, 15, 0]), ("W2", [15, 30, 15, 45, 15, 0, 30, 45])];
    for (worker, route) in routes {
        text += &format!(
            "[[worker]]\nname = \"{worker}\"\ndefault = \"{worker} all\"\nmodel_wise = \"{worker} 30\"\nkernels_per_request = {KERNELS}\nkernels = [\n"
        );
        for (index, cus) in route.iter().enumerate() {
            let queue = if *cus == 0 { format!("{worker} all") } else { format!("{worker} {cus}") };
            let right = ["15", "45", "30", "all"][index % 4];
            let name = if index == 0 { "fill_u32" } else { "copy_u32" };
            text += &format!(
                "{{ index = {index}, kernel = \"{name}\", queue = \"{queue}\", right_size = \"{worker} {right}\" }},\n"
            );
        }
        text += "]\n";
    }
    Plan::parse("two workers", &text).unwrap()
}

/// [`plan`], changed.
pub fn changed(change: impl FnOnce(&mut PlanDocument)) -> Plan {
    let mut document = plan().document().clone();
    change(&mut document);
    Plan::new("two workers", document).unwrap()
}

/// A scheduler with a pool of its own.
pub fn scheduler(gpu: &Gpu, plan: &Plan, policy: Policy) -> Scheduler {
    let pool = Scheduler::pool(&gpu.agent, plan, policy).unwrap();
    Scheduler::new(pool.build().unwrap(), plan, policy).unwrap()
}

/// As `scheduler`, with queues that measure.
pub fn measuring(gpu: &Gpu, plan: &Plan, policy: Policy) -> Scheduler {
    let pool = Scheduler::pool(&gpu.agent, plan, policy).unwrap().each(|queue| queue.profiling());
    Scheduler::new(pool.build().unwrap(), plan, policy).unwrap()
}

/// A scheduler, and the simulator's numbers of its pool's queues.
pub fn observed(gpu: &Gpu, sim: &Device, plan: &Plan, policy: Policy) -> (Scheduler, Vec<u32>) {
    let there = || (0..4096).filter(|&id| sim.processor().hardware_queue(id).is_some()).collect::<Vec<u32>>();
    // ROCr makes queues of its own with the first one, and for the first copy.
    gpu.agent.upload(&[0u32]).unwrap();
    let _first = gpu.queue();
    let before = there();
    let scheduler = measuring(gpu, plan, policy);
    let ids: Vec<u32> = there().into_iter().filter(|id| !before.contains(id)).collect();
    assert_eq!(ids.len(), scheduler.queues().queues().len());
    (scheduler, ids)
}

/// A number that is handed from buffer to buffer: a kernel that begins too early hands on an older one.
pub struct Chain {
    /// The request.
    pub kernels: Vec<Prepared>,
    arrived: Buffer<u32>,
}

impl Chain {
    /// The kernels, and room for the results of so many requests.
    pub fn new(gpu: &Gpu, worker: &Worker, requests: u32) -> Self {
        let module = gpu.module("vector");
        let [fill, copy] = ["fill_u32", "copy_u32"].map(|name| module.kernel(name).unwrap());
        let hands: Vec<Buffer<u32>> = (1..KERNELS).map(|_| gpu.agent.alloc(N as usize).unwrap()).collect();
        let arrived: Buffer<u32> = gpu.agent.alloc((N * requests) as usize).unwrap();
        let on = |kernel: &Kernel| kernel.dispatch([N, 1, 1], [64, 1, 1]);
        let mut kernels = vec![worker.prepare(on(&fill).arg(&hands[0]).arg(0u32).arg(N)).unwrap()];
        for hand in hands.windows(2) {
            kernels.push(worker.prepare(on(&copy).arg(&hand[0]).arg(&hand[1]).arg(N)).unwrap());
        }
        kernels.push(worker.prepare(on(&copy).arg(&hands[KERNELS - 2]).arg(&arrived).arg(N)).unwrap());
        Self { kernels, arrived }
    }

    /// Submits one request.
    pub fn submit(&self, worker: &mut Worker, request: u32) {
        for (index, kernel) in self.kernels.iter().enumerate() {
            let patch = match index {
                0 => Some(Patch::new(0, 1, request)),
                last if last == KERNELS - 1 => {
                    Some(Patch::new(0, 1, self.arrived.at((request * N) as usize).unwrap()))
                }
                _ => None,
            };
            worker.submit_patched(kernel, patch.as_slice()).unwrap();
        }
    }

    /// Whether every request's number arrived.
    pub fn check(&self) {
        let arrived = self.arrived.to_vec().unwrap();
        for (index, number) in arrived.iter().enumerate() {
            assert_eq!(*number, index as u32 / N, "element {index}");
        }
    }
}

/// Runs both workers, each on its own thread, and checks what arrived.
pub fn run(gpu: &Gpu, scheduler: &Scheduler, requests: u32) -> [Worker; 2] {
    let mut workers = ["W1", "W2"].map(|name| scheduler.worker(name).unwrap());
    thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| {
                let chain = Chain::new(gpu, worker, requests);
                for request in 0..requests {
                    worker.begin_request();
                    chain.submit(worker, request);
                    worker.end_request().unwrap();
                }
                worker.wait(PATIENCE).unwrap();
                chain.check();
            });
        }
    });
    workers
}

/// The plan with one default queue for both workers, and half of their kernels on it.
pub fn sharing() -> Plan {
    changed(|plan| {
        for worker in &mut plan.workers {
            worker.default = "W1 all".into();
            worker.kernels.iter_mut().step_by(2).for_each(|kernel| kernel.queue = "W1 all".into());
        }
    })
}
