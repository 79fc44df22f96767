//! Workers under a plan: results, counters against the device's own log, every policy, and what is refused.

use std::collections::BTreeMap;
use std::thread;

use eclip_hsa::plan::{PlanDocument, PlanProblem};
use eclip_hsa::{Buffer, CuMask, Error, Kernel, Patch, Plan, Policy, Pool, Prepared, Scheduler, Worker};
use eclip_tests::{Gpu, PATIENCE, gpu};
use kfd_sim::control::Device;

const N: u32 = 256;
const KERNELS: usize = 8;

/// Two workers, six masked queues and a default for each. W1 switches four times in a request (the way back to the first kernel's
/// queue included), W2 at each of its eight kernels.
fn plan() -> Plan {
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

fn changed(change: impl FnOnce(&mut PlanDocument)) -> Plan {
    let mut document = plan().document().clone();
    change(&mut document);
    Plan::new("two workers", document).unwrap()
}

fn scheduler(gpu: &Gpu, plan: &Plan, policy: Policy) -> Scheduler {
    let pool = Scheduler::pool(&gpu.agent, plan, policy).unwrap().each(|queue| queue.profiling());
    Scheduler::new(pool.build().unwrap(), plan, policy).unwrap()
}

/// A number that is handed from buffer to buffer: a kernel that begins too early hands on an older one.
struct Chain {
    kernels: Vec<Prepared>,
    arrived: Buffer<u32>,
}

impl Chain {
    fn new(gpu: &Gpu, worker: &Worker, requests: u32) -> Self {
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
    fn submit(&self, worker: &mut Worker, request: u32) {
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

    fn check(&self) {
        let arrived = self.arrived.to_vec().unwrap();
        for (index, number) in arrived.iter().enumerate() {
            assert_eq!(*number, index as u32 / N, "element {index}");
        }
    }
}

/// Runs both workers, each on its own thread, and checks what arrived.
fn run(gpu: &Gpu, scheduler: &Scheduler, requests: u32) -> [Worker; 2] {
    let mut workers = ["W1", "W2"].map(|name| scheduler.worker(name).unwrap());
    thread::scope(|scope| {
        for worker in &mut workers {
            scope.spawn(|| {
                let chain = Chain::new(gpu, worker, requests);
                for request in 0..requests {
                    worker.begin_request().unwrap();
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

/// What the device did since `before` log entries: kernels, barrier packets, barrier bits of each of the pool's queues, by label.
fn log(sim: &Device, scheduler: &Scheduler) -> BTreeMap<String, (u64, u64)> {
    let stats = sim.processor().stats();
    let mut found = BTreeMap::new();
    for queue in scheduler.queues().queues() {
        let id = u32::try_from(queue.id()).unwrap();
        let packets = stats.queues.get(&id).map(|queue| queue.packets.clone()).unwrap_or_default();
        let count = |kind| packets.get(&kind).copied().unwrap_or_default();
        found.insert(queue.label().to_owned(), (count(kfd_sim::cp::PacketType::KernelDispatch), count(kfd_sim::cp::PacketType::BarrierAnd)));
    }
    found
}
