//! HIP and eclip-hsa in one process, on one GPU: each with its own queues, on the same memory, shut down in either order.
//!
//! Order between the two is made on the host: HIP's stream is synchronised before our kernel is submitted, our token is waited
//! for before HIP's is launched. Without libamdhip64 the tests skip with a reason.

use std::sync::Arc;

use eclip_hsa::{Agent, Arg, CuMask, Dispatch, Kernel, Pool, Queue, Runtime};
use eclip_peers::hip::{Function, Hip, Memory, Module, Stream};
use eclip_tests::{PATIENCE, gpu, turn};

const N: u32 = 1000;
const GROUP: u32 = 64;

/// HIP, and the kernel that both sides launch: adds 1 to each counter.
struct Other {
    hip: Hip,
    increment: Function,
}

/// HIP's side; prints why there is none.
fn other(agent: &Agent) -> Option<Other> {
    let hip = match Hip::load() {
        Ok(hip) => hip,
        Err(why) => {
            eprintln!("skipped: {why}");
            return None;
        }
    };
    let isa = agent.isa().expect("a GPU has an ISA").to_string();
    let code = eclip_kernels::code_object(&isa, "vector").expect("kernels for this GPU");
    // SAFETY: a whole code object.
    let module = Arc::new(unsafe { Module::load(&hip, code) }.unwrap());
    Some(Other { increment: module.function("increment").unwrap(), hip })
}

impl Other {
    /// N counters in HIP's memory.
    fn counters(&self, items: &[u32]) -> Memory {
        let memory = self.hip.malloc(4 * N as usize).unwrap();
        memory.write(items).unwrap();
        memory
    }

    /// HIP adds 1 to each counter at `address`.
    fn launch(&self, stream: &Stream, address: u64) {
        let arguments = [(&raw const address).cast(), std::ptr::from_ref(&N).cast()];
        // SAFETY: two arguments of the kernel's types; every caller passes N counters that outlive the work.
        unsafe { self.increment.launch(stream, [N.div_ceil(GROUP), 1, 1], [GROUP, 1, 1], &arguments) }
            .unwrap();
    }
}

/// We add 1 to each counter at `address`.
fn dispatch(kernel: &Kernel, address: u64) -> Dispatch {
    // SAFETY: every caller passes N counters that outlive the work, and waits before anything else uses them.
    let memory = unsafe { Arg::foreign(address) };
    kernel.dispatch([N.next_multiple_of(GROUP), 1, 1], [GROUP, 1, 1]).arg(memory).arg(N)
}

/// Submits, and waits for the end.
fn run(queue: &Queue, work: Dispatch) {
    queue.dispatch(work, PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

fn values(memory: &Memory) -> Vec<u32> {
    let mut items = vec![0; N as usize];
    memory.read(&mut items).unwrap();
    items
}

#[test]
fn kernels_of_both_take_turns_on_memory_of_hip() {
    let gpu = gpu();
    let Some(other) = other(&gpu.agent) else { return };
    let increment = gpu.module("vector").kernel("increment").unwrap();
    let queue = gpu.queue();
    let stream = other.hip.stream().unwrap();
    let start: Vec<u32> = (0..N).collect();
    let memory = other.counters(&start);
    for _ in 0..5 {
        other.launch(&stream, memory.address());
        stream.synchronize().unwrap();
        run(&queue, dispatch(&increment, memory.address()));
    }
    let wrong = values(&memory).iter().zip(&start).filter(|&(&is, &was)| is != was + 10).count();
    assert_eq!(wrong, 0, "of {N} counters");
}

#[test]
fn hip_works_on_a_buffer_of_ours() {
    let gpu = gpu();
    let Some(other) = other(&gpu.agent) else { return };
    let increment = gpu.module("vector").kernel("increment").unwrap();
    let queue = gpu.queue();
    let stream = other.hip.stream().unwrap();
    let buffer = gpu.agent.upload(&vec![7u32; N as usize]).unwrap();
    let ours = increment.dispatch([N.next_multiple_of(GROUP), 1, 1], [GROUP, 1, 1]).arg(&buffer).arg(N);
    for _ in 0..3 {
        run(&queue, ours.clone());
        other.launch(&stream, buffer.address());
        stream.synchronize().unwrap();
    }
    assert_eq!(buffer.to_vec().unwrap(), vec![13; N as usize]);
}

/// Launches from two threads at once, HIP's on two masked streams, ours on two masked queues. Atomic increments of one memory lose
/// nothing whatever overlaps.
#[test]
fn both_submit_at_once_to_their_own_masked_queues() {
    const EACH: u32 = 150;
    let gpu = gpu();
    let Some(other) = other(&gpu.agent) else { return };
    let increment = gpu.module("vector").kernel("increment").unwrap();
    let topology = gpu.agent.topology().unwrap();
    let masks = [[0, 1], [2, 3]].map(|engines| CuMask::shader_engines(topology, &engines).unwrap());
    let pool = Pool::builder(&gpu.agent)
        .masked("half", masks[0].clone())
        .masked("other half", masks[1].clone())
        .build()
        .unwrap();
    let streams = masks.each_ref().map(|mask| other.hip.masked_stream(mask.words()).unwrap());
    let memory = other.counters(&vec![0; N as usize]);
    let address = memory.address();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..EACH as usize {
                other.launch(&streams[turn % 2], address);
            }
            streams.iter().for_each(|stream| stream.synchronize().unwrap());
        });
        scope.spawn(|| {
            for turn in 0..EACH as usize {
                pool[turn % 2].dispatch(dispatch(&increment, address), PATIENCE).unwrap();
            }
            (0..2).for_each(|index| pool[index].drain(PATIENCE).unwrap());
        });
    });
    assert_eq!(values(&memory), vec![2 * EACH; N as usize]);
}

#[test]
fn hip_goes_on_after_our_shut_down_and_we_can_come_back() {
    // Held throughout: the runtime goes and comes back meanwhile.
    let _turn = turn();
    let agent = || Runtime::new().unwrap().gpu(0).unwrap();
    let first = agent();
    let Some(other) = other(&first) else { return };
    let stream = other.hip.stream().unwrap();
    let memory = other.counters(&vec![0; N as usize]);
    let once = |agent: &Agent| {
        let code = eclip_kernels::code_object(&agent.isa().unwrap().to_string(), "vector").unwrap();
        // SAFETY: the kernel keeps to its counters.
        let vector = unsafe { eclip_hsa::Module::from_bytes(agent, "vector", code) }.unwrap();
        let increment = vector.kernel("increment").unwrap();
        let queue = Queue::builder(agent).create().unwrap();
        run(&queue, dispatch(&increment, memory.address()));
    };
    once(&first);
    // The last handle of the runtime: hsa_shut_down, which leaves HIP its own hsa_init.
    drop(first);
    other.launch(&stream, memory.address());
    stream.synchronize().unwrap();
    once(&agent());
    assert_eq!(values(&memory), vec![3; N as usize]);
}

#[test]
fn we_go_on_after_hip_is_reset() {
    let gpu = gpu();
    let Some(other) = other(&gpu.agent) else { return };
    let increment = gpu.module("vector").kernel("increment").unwrap();
    let queue = gpu.queue();
    let buffer = gpu.agent.upload(&vec![0u32; N as usize]).unwrap();
    let ours = increment.dispatch([N.next_multiple_of(GROUP), 1, 1], [GROUP, 1, 1]).arg(&buffer).arg(N);
    {
        let stream = other.hip.stream().unwrap();
        other.launch(&stream, buffer.address());
        stream.synchronize().unwrap();
    }
    let Other { hip, increment: function } = other;
    drop(function);
    // SAFETY: stream, module and memory are gone.
    unsafe { hip.reset() }.unwrap();
    run(&queue, ours);
    assert_eq!(buffer.to_vec().unwrap(), vec![2; N as usize]);
}
