//! The packet router on a device: packets that somebody else wrote for one queue run on four, in the order of their stream.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eclip_hsa::packet::{PACKET_DWORDS, Packet, PacketKind};
use eclip_hsa::policy::Policy;
use eclip_hsa::route::{Boundaries, CallerSignals, KernelName, Router, Signals, Table};
use eclip_hsa::{Agent, Buffer, CuMask, Kernel, KernelGroup, Patch, Plan, Queue, Visibility};
use eclip_tests::{PATIENCE, gpu, newest_queue};
use hsa_sys::{HSA_QUEUE_TYPE_SINGLE, HSA_STATUS_SUCCESS, Hsa, hsa_queue_t, hsa_signal_t};

const PLAN: &str = r#"
version = 1
[device]
isa = "gfx906"
shader_engines = 4
cus_per_sh = [15, 15, 15, 15]
[[queue]]
label = "15"
mask = "0x111111111111111"
[[queue]]
label = "30"
mask = "0x555555555555555"
[[queue]]
label = "45"
mask = "0x777777777777777"
[[queue]]
label = "all"
[[worker]]
name = "W"
default = "all"
kernels_per_request = 6
kernels = [
  { index = 0, queue = "30" },
  { index = 1, queue = "45" },
  { index = 2, queue = "45" },
  { index = 3, queue = "15" },
  { index = 4, queue = "all" },
  { index = 5, queue = "15" },
]
"#;

const N: u32 = 128;
const KERNELS: usize = 6;
const REQUESTS: u32 = 40;

/// An HSA queue as a program without this library would use it.
struct Raw<'a> {
    hsa: &'a Hsa,
    queue: *mut hsa_queue_t,
}

impl<'a> Raw<'a> {
    fn new(agent: &'a Agent, mask: Option<&CuMask>) -> Self {
        let hsa = agent.runtime().hsa();
        let mut queue = std::ptr::null_mut();
        let none = std::ptr::null_mut();
        // SAFETY: `queue` is written on success; no callback is given.
        let status = unsafe {
            (hsa.hsa_queue_create)(
                agent.handle(),
                1024,
                HSA_QUEUE_TYPE_SINGLE,
                None,
                none,
                u32::MAX,
                u32::MAX,
                &raw mut queue,
            )
        };
        assert_eq!(status, HSA_STATUS_SUCCESS);
        if let Some(mask) = mask {
            // SAFETY: the queue is alive, and there are as many words as the bit count says.
            let status = unsafe { (hsa.hsa_amd_queue_cu_set_mask)(queue, 64, mask.words().as_ptr()) };
            assert_eq!(status, HSA_STATUS_SUCCESS);
        }
        Self { hsa, queue }
    }

    fn write(&self, packet: &Packet) {
        // SAFETY: the queue is alive and this thread is its only producer, which stays within its size.
        unsafe {
            let index = (self.hsa.hsa_queue_add_write_index_screlease)(self.queue, 1);
            let begin = Instant::now();
            while index - (self.hsa.hsa_queue_load_read_index_scacquire)(self.queue)
                >= u64::from((*self.queue).size)
            {
                assert!(begin.elapsed() < PATIENCE, "the queue stays full");
                std::thread::sleep(Duration::from_micros(50));
            }
            let slots = (*self.queue).base_address.cast::<[u32; PACKET_DWORDS]>();
            let slot = slots.add(index as usize & ((*self.queue).size as usize - 1)).cast::<u32>();
            for (at, dword) in packet.dwords().iter().enumerate().skip(1) {
                slot.add(at).write(*dword);
            }
            // Release: the packet processor reads the body after the header.
            AtomicU32::from_ptr(slot).store(packet.dwords()[0], Ordering::Release);
            (self.hsa.hsa_signal_store_screlease)((*self.queue).doorbell_signal, index as i64);
        }
    }
}

impl Drop for Raw<'_> {
    fn drop(&mut self) {
        // SAFETY: made above, and nobody else has it.
        unsafe { (self.hsa.hsa_queue_destroy)(self.queue) };
    }
}

/// A few HSA signals.
struct Few<'a> {
    hsa: &'a Hsa,
    all: Vec<hsa_signal_t>,
    free: Vec<u64>,
}

impl<'a> Few<'a> {
    fn new(hsa: &'a Hsa, count: usize) -> Self {
        let one = |_| {
            let mut signal = hsa_signal_t { handle: 0 };
            // SAFETY: no consumers are listed; `signal` is written on success.
            let status = unsafe { (hsa.hsa_signal_create)(0, 0, std::ptr::null(), &raw mut signal) };
            assert_eq!(status, HSA_STATUS_SUCCESS);
            signal
        };
        let all: Vec<hsa_signal_t> = (0..count).map(one).collect();
        let free = all.iter().map(|signal| signal.handle).collect();
        Self { hsa, all, free }
    }
}

impl Signals for Few<'_> {
    fn is_complete(&mut self, handle: u64) -> bool {
        // SAFETY: one of ours, alive: the router is told to leave the callers' alone.
        unsafe { (self.hsa.hsa_signal_load_scacquire)(hsa_signal_t { handle }) == 0 }
    }
    fn fresh(&mut self) -> Option<u64> {
        let handle = self.free.pop()?;
        // SAFETY: ours, alive, and nothing uses it.
        unsafe { (self.hsa.hsa_signal_store_screlease)(hsa_signal_t { handle }, 1) };
        Some(handle)
    }
    fn recycle(&mut self, handle: u64) {
        self.free.push(handle);
    }
}

impl Drop for Few<'_> {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing uses them any more.
        self.all.iter().for_each(|signal| unsafe {
            (self.hsa.hsa_signal_destroy)(*signal);
        });
    }
}

/// The packets that are in a queue.
fn packets(queue: &Queue) -> Vec<Packet> {
    // SAFETY: the queue is alive and nothing writes to it meanwhile.
    unsafe {
        let raw = queue.as_raw();
        let count = (queue.agent().runtime().hsa().hsa_queue_load_write_index_relaxed)(raw);
        let slots = (*raw).base_address.cast::<[u32; PACKET_DWORDS]>();
        (0..count as usize).map(|slot| Packet::from_dwords(*slots.add(slot))).collect()
    }
}

#[test]
fn a_stream_of_packets_runs_on_the_plans_queues_in_its_order() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let module = gpu.module("vector");
    let [fill, copy] = ["fill_u32", "copy_u32"].map(|name| module.kernel(name).unwrap());
    let hands: Vec<Buffer<u32>> = (1..KERNELS).map(|_| gpu.agent.alloc(N as usize).unwrap()).collect();
    let arrived: Buffer<u32> = gpu.agent.alloc((N * REQUESTS) as usize).unwrap();
    let on = |kernel: &Kernel| kernel.dispatch([N, 1, 1], [64, 1, 1]);
    let mut kernels = vec![KernelGroup::of(on(&fill).arg(&hands[0]).arg(0u32).arg(N)).unwrap()];
    for (from, to) in hands.iter().zip(hands[1..].iter().chain([&arrived])) {
        kernels.push(KernelGroup::of(on(&copy).arg(from).arg(to).arg(N)).unwrap());
    }

    // Through which reading the results writes the GPU's caches back.
    let _spare = gpu.queue();
    // Another program's stream: written to a queue that the device never looks at.
    let written = Queue::builder(&gpu.agent).label("stream").size(1024).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let mut last = None;
    for request in 0..REQUESTS {
        for (index, kernel) in kernels.iter().enumerate() {
            let patch = match index {
                0 => Patch::new(0, 1, request),
                5 => Patch::new(0, 1, arrived.at((request * N) as usize).unwrap()),
                _ => Patch::new(0, 2, N),
            };
            // Some have a completion signal, some do not.
            let visibility = match (request + index as u32) % 3 {
                0 => Visibility::System,
                1 => Visibility::Agent,
                _ => Visibility::Queue,
            };
            let end = request + 1 == REQUESTS && index == 5;
            let visibility = if end { Visibility::System } else { visibility };
            let submission = kernel.on(&written).visibility(visibility).after(last.as_slice());
            last = Some(submission.patch(&[patch]).submit(PATIENCE).unwrap());
        }
    }

    let plan = Plan::parse("plan", PLAN).unwrap();
    let table = Table::new(&plan, "W", Policy::Eclip).unwrap();
    let hsa = gpu.agent.runtime().hsa();
    let mut signals = Few::new(hsa, 8);
    let queues: Vec<Raw<'_>> = (0..4).map(|queue| Raw::new(&gpu.agent, plan.mask(queue))).collect();
    sim.processor().clear_dispatch_log();
    let mut router = Router::new(table.into(), |_| false, CallerSignals::Opaque, Boundaries::ByCount);
    let stream = packets(&written);
    let count = stream.len();
    for packet in &stream {
        let begin = Instant::now();
        let routed = loop {
            match router.route(*packet, KernelName::ANY, &mut signals) {
                Ok(routed) => break routed,
                Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
            }
            std::thread::sleep(Duration::from_micros(20));
        };
        for (queue, packet) in routed.packets() {
            queues[*queue].write(packet);
        }
    }
    last.unwrap().wait_timeout(PATIENCE).unwrap();

    for (index, number) in arrived.to_vec().unwrap().iter().enumerate() {
        assert_eq!(*number, index as u32 / N, "element {index}");
    }
    let total = router.total();
    assert_eq!(total.kernels, u64::from(REQUESTS) * KERNELS as u64);
    assert_eq!(total.requests, u64::from(REQUESTS));
    assert_eq!(total.passed + total.kernels, count as u64);
    // 30 | 45 45 | 15 | all | 15, and around.
    assert_eq!(total.switches, u64::from(REQUESTS) * 5 - 1);
    let kinds = |kind| {
        stream.iter().filter(|packet| packet.header().is_some_and(|header| header.kind == kind)).count()
    };
    assert_eq!(kinds(PacketKind::KernelDispatch) as u64, total.kernels);
    assert!(total.barriers > 0 && total.markers > 0, "{total:?}");
    // In the device's log the kernels begin one after the other.
    let mut log = sim.processor().dispatch_log();
    log.retain(|record| record.kind == kfd_sim::cp::PacketType::KernelDispatch);
    assert_eq!(log.len() as u64, total.kernels);
    log.sort_by_key(|record| record.start_ns);
    assert!(log.windows(2).all(|pair| pair[0].end_ns <= pair[1].start_ns));
    let dependencies = sim.processor().dispatch_log();
    let with =
        dependencies.iter().filter(|record| record.dependencies.iter().any(|signal| *signal != 0)).count();
    assert_eq!(with as u64, total.barriers);
    router.idle(&mut signals);
    assert_eq!(signals.free.len(), 8);
}
