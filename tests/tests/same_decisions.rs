//! The safe API and the packet router decide alike: both are given the same streams of kernels, and their counters, their queues and
//! their barriers are compared kernel by kernel.

use std::collections::HashSet;
use std::sync::Arc;

use eclip_hsa::packet::{Header, KernelDispatch, Packet, PacketKind};
use eclip_hsa::plan::PlanDocument;
use eclip_hsa::route::{Boundaries, CallerSignals, KernelName, Routed, Router, Signals, Table};
use eclip_hsa::{KernelGroup, Plan, Policy, Prepared, Scheduler, Visibility, Worker};
use eclip_tests::{Gpu, PATIENCE, gpu};
use fastrand::Rng;
use kfd_sim::control::Device;

/// Two workers with two queues each and one that both use.
const PLAN: &str = r#"
version = 1
switch_max = 3
[device]
isa = "gfx906"
shader_engines = 4
cus_per_sh = [15, 15, 15, 15]
[[queue]]
label = "W1 15"
mask = "0x111111111111111"
[[queue]]
label = "W1 30"
mask = "0x555555555555555"
[[queue]]
label = "W2 15"
mask = "0x888888888888888"
[[queue]]
label = "W1 all"
[[queue]]
label = "W2 all"
[[queue]]
label = "both"
[[worker]]
name = "W1"
default = "W1 all"
model_wise = "W1 30"
kernels = [{ index = 0, queue = "W1 15" }]
[[worker]]
name = "W2"
default = "W2 all"
model_wise = "both"
kernels = [{ index = 0, queue = "both", right_size = "W2 15" }]
"#;

/// Kernels of a plan.
const NAMES: [&str; 3] = ["a", "b", "c"];

/// A plan whose first worker has random kernels, by index or by name.
fn plan(rng: &mut Rng) -> Plan {
    let mut document: PlanDocument = Plan::parse("same decisions", PLAN).unwrap().document().clone();
    let queues = ["W1 15", "W1 15", "W1 30", "W1 all", "both", "both"];
    let by_name = rng.bool();
    document.switch_max = rng.bool().then(|| rng.u32(0..4));
    let worker = &mut document.workers[0];
    let one = worker.kernels[0].clone();
    let mut seen = [0; NAMES.len()];
    worker.kernels = (0..rng.u32(1..8))
        .map(|index| {
            let name = rng.usize(..NAMES.len());
            seen[name] += 1;
            let mut kernel = one.clone();
            kernel.index = (!by_name).then_some(index);
            kernel.kernel = Some(NAMES[name].into());
            kernel.occurrence = Some(seen[name] - 1);
            kernel.queue = rng.choice(queues).unwrap().into();
            kernel.right_size = rng.choice(queues).map(Into::into);
            kernel
        })
        .collect();
    if rng.bool() {
        worker.default = "both".into();
    }
    Plan::new("same decisions", document).unwrap()
}

/// Signals whose packets are complete when the worker's are.
#[derive(Default)]
struct Hand {
    next: u64,
    complete: HashSet<u64>,
}

impl Signals for Hand {
    fn is_complete(&mut self, handle: u64) -> bool {
        self.complete.contains(&handle)
    }
    fn fresh(&mut self) -> Option<u64> {
        self.next += 1;
        Some(self.next)
    }
    fn recycle(&mut self, _handle: u64) {}
}

/// Both, side by side.
struct Pair<'a> {
    worker: Worker,
    kernels: Vec<(Prepared, KernelName)>,
    group: KernelGroup,
    router: Router,
    signals: Hand,
    scheduler: &'a Scheduler,
    plan: &'a Plan,
}

impl Pair<'_> {
    /// Barrier-AND packets that all queues were given.
    fn barriers(&self) -> u64 {
        self.scheduler.queues().queues().iter().map(|queue| queue.packet_counts().barriers).sum()
    }

    /// Submits the kernel of this number to both and compares what they did. The last number is a kernel without a name.
    fn submit(&mut self, kernel: usize) {
        let before = self.barriers();
        let (token, name) = match self.kernels.get(kernel) {
            Some((prepared, name)) => (self.worker.submit(prepared).unwrap().clone(), *name),
            None => (self.worker.submit_group(&self.group).unwrap().clone(), KernelName::ANY),
        };
        let routed = self.route(name, token.visibility() == Visibility::System);
        let labels = &self.plan.document().queues;
        let (queue, packet) = routed.packets().last().unwrap();
        assert_eq!(labels[*queue].label, token.queue_label());
        assert_eq!(packet.completion_signal() != 0, token.visibility() != Visibility::Queue);
        assert_eq!(routed.packets().len() as u64 - 1, self.barriers() - before, "{routed:?}");
        assert_eq!(self.router.total(), self.worker.total());
        assert_eq!(self.router.last_request(), self.worker.last_request());
    }

    /// The router's side. A packet that the host can wait for has a signal of its own, as the worker's has.
    fn route(&mut self, name: KernelName, own: bool) -> Routed {
        let mut fields = KernelDispatch::default();
        if own {
            fields.completion_signal = self.signals.fresh().unwrap();
        }
        let packet = Packet::kernel_dispatch(Header::new(PacketKind::KernelDispatch), &fields);
        self.router.route(packet, name, &mut self.signals).unwrap()
    }
}

/// Stops the scheduler's queues on the device, so that nothing is complete before they go on.
struct Stall<'a> {
    sim: &'a Device,
    ids: Vec<u32>,
}

impl<'a> Stall<'a> {
    fn of(sim: &'a Device, make: impl FnOnce() -> Scheduler) -> (Scheduler, Self) {
        let there = || (0..4096).filter(|&id| sim.processor().hardware_queue(id).is_some());
        let before: HashSet<u32> = there().collect();
        let scheduler = make();
        let ids: Vec<u32> = there().filter(|id| !before.contains(id)).collect();
        assert_eq!(ids.len(), scheduler.queues().queues().len());
        (scheduler, Self { sim, ids })
    }

    fn begin(&self) {
        self.ids.iter().for_each(|&id| self.sim.processor().stall_queue(id).unwrap());
    }

    fn end(&self) {
        self.ids.iter().for_each(|&id| self.sim.processor().resume_queue(id).unwrap());
    }
}

fn compare(gpu: &Gpu, sim: &Device, policy: Policy, seed: u64) -> u64 {
    let mut rng = Rng::with_seed(seed);
    let plan = plan(&mut rng);
    let (scheduler, stall) = Stall::of(sim, || {
        let pool = Scheduler::pool(&gpu.agent, &plan, policy).unwrap().build().unwrap();
        Scheduler::new(pool, &plan, policy).unwrap()
    });
    let tables: Vec<Table> =
        ["W1", "W2"].iter().map(|worker| Table::new(&plan, worker, policy).unwrap()).collect();
    let mut worker = scheduler.worker("W1").unwrap();
    let boundaries = if rng.bool() { Boundaries::ByCount } else { Boundaries::Explicit };
    if boundaries == Boundaries::ByCount {
        worker.count_requests();
    }
    let shared = |queue| tables.iter().all(|table| table.uses(queue));
    let table = Arc::new(tables[0].clone());
    let empty = gpu.module("misc").kernel("empty").unwrap().dispatch([64, 1, 1], [64, 1, 1]);
    let kernels = NAMES.iter().chain(&["unknown"]);
    let kernels =
        kernels.map(|name| (worker.prepare_as(name, empty.clone()).unwrap(), table.name(name))).collect();
    let mut pair = Pair {
        kernels,
        group: KernelGroup::of(empty).unwrap(),
        router: Router::new(table, shared, CallerSignals::OnePerPacket, boundaries),
        signals: Hand::default(),
        worker,
        scheduler: &scheduler,
        plan: &plan,
    };
    // Under kw-ioctl queues are drained before each kernel, so nothing may be held up.
    let hold = || {
        if policy != Policy::KwIoctl {
            stall.begin()
        }
    };
    hold();
    let follow = pair.plan.document().workers[0].kernels.clone();
    let mut at = 0;
    for _ in 0..120 {
        match rng.u32(..16) {
            0 => {
                pair.worker.begin_request();
                pair.router.begin_request();
                at = 0;
            }
            1..4 => {
                stall.end();
                scheduler.queues().queues().iter().for_each(|queue| queue.drain(PATIENCE).unwrap());
                pair.signals.complete = (1..=pair.signals.next).collect();
                hold();
            }
            4 => pair.submit(rng.usize(..=pair.kernels.len())),
            _ => {
                let name = follow[at % follow.len()].kernel.as_deref();
                pair.submit(NAMES.iter().position(|other| Some(*other) == name).unwrap());
                at += 1;
            }
        }
    }
    stall.end();
    pair.worker.wait(PATIENCE).unwrap();
    pair.router.total().barriers
}

#[test]
fn worker_and_router_decide_alike() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    // ROCr makes queues of its own with the first one, and for the first copy.
    gpu.agent.upload(&[0u32]).unwrap();
    drop(gpu.queue());
    let mut barriers = 0;
    for policy in Policy::ALL {
        let rounds = if matches!(policy, Policy::Eclip | Policy::KwStream) { 40 } else { 4 };
        for seed in 0..rounds {
            eprintln!("policy {policy}, seed {seed}");
            barriers += compare(&gpu, &sim, policy, seed);
        }
    }
    assert!(barriers > 100, "{barriers} barriers: the streams say little");
}
