//! Real code objects through ROCr and the command processor: masks, scratch, order, time, faults.
//!
//! One process, one runtime: a single test runs the parts in order. The code objects are those of `kernels/`.

mod support;

use std::cell::Cell;
use std::ffi::{CString, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use kfd_sim::cp::PacketType;
use support::{Handle, Queue, Rocr, Status, device};

const FINE: u32 = 2;
const COARSE: u32 = 4;
const KERNARG: u32 = 1;
const ERROR_EXCEPTION: Status = 0x1016;
const ERROR_ILLEGAL_INSTRUCTION: Status = 42;

static QUEUE_ERRORS: Mutex<Vec<Status>> = Mutex::new(Vec::new());
static FAULTS: Mutex<Vec<u64>> = Mutex::new(Vec::new());

unsafe extern "C" fn queue_error(status: Status, _: *mut Queue, _: *mut c_void) {
    QUEUE_ERRORS.lock().unwrap().push(status);
}

unsafe extern "C" fn system_event(event: *const u64, _: *mut c_void) -> Status {
    // SAFETY: hsa_amd_event_t: type, then for a memory fault the agent and the address.
    FAULTS.lock().unwrap().push(unsafe { *event.add(2) });
    0
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

struct Module<'a> {
    rocr: &'a Rocr,
    executable: Handle,
    reader: Handle,
    _code: Vec<u8>,
}

impl<'a> Module<'a> {
    fn load(rocr: &'a Rocr, name: &str) -> Self {
        let path = format!("{}/../kernels/bin/gfx906/{name}.co", env!("CARGO_MANIFEST_DIR"));
        let code = std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        let (mut reader, mut executable, none) = (0, 0, std::ptr::null());
        let bytes = code.as_ptr().cast();
        assert_eq!(rocr.hsa_code_object_reader_create_from_memory(bytes, code.len(), &raw mut reader), 0);
        assert_eq!(rocr.hsa_executable_create_alt(0, 0, none, &raw mut executable), 0);
        let nowhere = std::ptr::null_mut();
        let load = rocr.hsa_executable_load_agent_code_object(executable, rocr.gpu(), reader, none, nowhere);
        assert_eq!(load, 0);
        assert_eq!(rocr.hsa_executable_freeze(executable, none), 0);
        Self { rocr, executable, reader, _code: code }
    }

    /// Kernel object and private segment size.
    fn kernel(&self, name: &str) -> (u64, u32) {
        let name = CString::new(format!("{name}.kd")).unwrap();
        let (gpu, mut symbol) = (self.rocr.gpu(), 0);
        let rocr = self.rocr;
        let found =
            rocr.hsa_executable_get_symbol_by_name(self.executable, name.as_ptr(), &gpu, &raw mut symbol);
        assert_eq!(found, 0, "{name:?}");
        let (mut object, mut private) = (0u64, 0u32);
        assert_eq!(rocr.hsa_executable_symbol_get_info(symbol, 22, (&raw mut object).cast()), 0);
        assert_eq!(rocr.hsa_executable_symbol_get_info(symbol, 14, (&raw mut private).cast()), 0);
        (object, private)
    }
}

impl Drop for Module<'_> {
    fn drop(&mut self) {
        assert_eq!(self.rocr.hsa_executable_destroy(self.executable), 0);
        assert_eq!(self.rocr.hsa_code_object_reader_destroy(self.reader), 0);
    }
}

struct Stream<'a> {
    rocr: &'a Rocr,
    queue: *mut Queue,
    args: *mut u8,
    dispatches: Cell<usize>,
}

const BARRIER: u16 = 1 << 8;
const SYSTEM_FENCES: u16 = 2 << 9 | 2 << 11;

impl<'a> Stream<'a> {
    fn new(rocr: &'a Rocr) -> Self {
        let mut queue = std::ptr::null_mut();
        let none = std::ptr::null_mut();
        let (gpu, most) = (rocr.gpu(), u32::MAX);
        assert_eq!(rocr.hsa_queue_create(gpu, 64, 0, Some(queue_error), none, most, most, &raw mut queue), 0);
        let args = rocr.allocate(rocr.pool(rocr.cpu(), KERNARG), 4096).cast();
        Self { rocr, queue, args, dispatches: Cell::new(0) }
    }

    fn submit(&self, first: u32, body: &[u8; 60]) {
        let index = self.rocr.hsa_queue_add_write_index_screlease(self.queue, 1);
        // SAFETY: the ring has 64 packets and these tests never fill it.
        unsafe {
            let slot = (*self.queue).base.add((index % 64 * 64) as usize);
            std::ptr::copy_nonoverlapping(body.as_ptr(), slot.add(4), 60);
            // Release: pairs with the packet processor's acquire load of the header.
            AtomicU32::from_ptr(slot.cast()).store(first, std::sync::atomic::Ordering::Release);
            self.rocr.hsa_signal_store_screlease((*self.queue).doorbell, index as i64);
        }
    }

    /// Dispatches `groups` workgroups of 64.
    fn dispatch(&self, kernel: (u64, u32), groups: u32, args: &[u64], header: u16, signal: Handle) {
        // 64 bytes of arguments for each of the 64 packets that can be in flight.
        let slot = self.dispatches.replace(self.dispatches.get() + 1) % 64;
        // SAFETY: the argument buffer has 4 KiB.
        let place = unsafe { self.args.add(slot * 64) };
        for (i, arg) in args.iter().enumerate() {
            // SAFETY: at most 8 arguments of 8 bytes, in a slot of 64.
            unsafe { place.cast::<u64>().add(i).write(*arg) };
        }
        let mut body = [0; 60];
        let mut put = |at: usize, bytes: &[u8]| body[at - 4..at - 4 + bytes.len()].copy_from_slice(bytes);
        put(4, &64u16.to_le_bytes());
        put(6, &1u16.to_le_bytes());
        put(8, &1u16.to_le_bytes());
        put(12, &(groups * 64).to_le_bytes());
        put(16, &1u32.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(24, &kernel.1.to_le_bytes());
        put(32, &kernel.0.to_le_bytes());
        put(40, &(place as u64).to_le_bytes());
        put(56, &signal.to_le_bytes());
        self.submit(u32::from(2 | header | SYSTEM_FENCES) | 1 << 16, &body);
    }

    fn barrier_and(&self, dependency: Handle, signal: Handle) {
        let mut body = [0; 60];
        body[4..12].copy_from_slice(&dependency.to_le_bytes());
        body[52..].copy_from_slice(&signal.to_le_bytes());
        self.submit(u32::from(3 | SYSTEM_FENCES), &body);
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        assert_eq!(self.rocr.hsa_queue_destroy(self.queue), 0);
        assert_eq!(self.rocr.hsa_amd_memory_pool_free(self.args.cast()), 0);
    }
}

/// Zeroed host memory that the GPU sees.
fn words(rocr: &Rocr, count: usize) -> &'static [AtomicU32] {
    let memory = rocr.allocate(rocr.pool(rocr.cpu(), FINE), count * 4);
    // SAFETY: fresh memory of that size, never freed before the runtime shuts down.
    unsafe {
        std::ptr::write_bytes(memory.cast::<u8>(), 0, count * 4);
        std::slice::from_raw_parts(memory.cast(), count)
    }
}

#[test]
fn kernels_on_the_simulated_gpu() {
    let Some(rocr) = Rocr::load() else { return };
    assert_eq!(rocr.hsa_init(), 0);
    assert_eq!(rocr.hsa_amd_register_system_event_handler(system_event, std::ptr::null_mut()), 0);
    masked_queues_run_where_their_masks_say(&rocr);
    scratch_memory_is_provided_on_demand(&rocr);
    a_barrier_packet_waits_for_another_queue(&rocr);
    work_hops_between_eight_queues(&rocr);
    times_make_sense(&rocr);
    large_copies_go_by_sdma(&rocr);
    // Last: after a memory fault nothing runs any more.
    errors_end_their_queue_and_memory_faults_all_queues(&rocr);
    assert_eq!(rocr.hsa_shut_down(), 0);
}

fn masked_queues_run_where_their_masks_say(rocr: &Rocr) {
    let module = Module::load(rocr, "probe");
    let kernel = module.kernel("probe_hw_id");
    device().processor().clear_dispatch_log();
    let mut hardware = std::collections::HashSet::new();
    let streams: Vec<_> = (0..8).map(|_| Stream::new(rocr)).collect();
    for (i, stream) in streams.iter().enumerate() {
        // Two CUs in every SE for each of seven queues; the last one has them all.
        let mask = 0xffu64 << (8 * i);
        let halves = [mask as u32, (mask >> 32) as u32];
        let asked: Vec<u32> = if i < 7 {
            assert_eq!(rocr.hsa_amd_queue_cu_set_mask(stream.queue, 64, halves.as_ptr()), 0);
            (0..60).filter(|bit| mask >> bit & 1 != 0).collect()
        } else {
            (0..60).collect()
        };
        let (out, done) = (words(rocr, 240), rocr.signal(1));
        stream.dispatch(kernel, 240, &[out.as_ptr() as u64, 20], 0, done);
        assert_eq!(rocr.wait_below(done, 1), 0);
        let ids: Vec<u32> = out.iter().map(|w| w.load(SeqCst)).collect();
        let mut seen: Vec<u32> = ids.iter().map(|id| (id >> 13 & 3) + 4 * (id >> 8 & 0xf)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, asked, "queue {i}");
        let places: std::collections::HashSet<u32> =
            ids.iter().map(|id| id >> 6 & 3 | id >> 22 & 0x1fc).collect();
        assert_eq!(places.len(), 1, "one hardware queue");
        hardware.extend(places);
        assert_eq!(rocr.hsa_signal_destroy(done), 0);
    }
    assert_eq!(hardware.len(), 8, "each queue has a hardware queue of its own");
    let log = device().processor().dispatch_log();
    let probes: Vec<_> = log.iter().filter(|e| e.kernel_name.as_deref() == Some("probe_hw_id")).collect();
    assert_eq!(probes.len(), 8);
    assert_eq!(probes[0].cus_per_se(), [2, 2, 2, 2]);
    assert_eq!(probes[7].cus_per_se(), [15, 15, 15, 15]);
}

fn scratch_memory_is_provided_on_demand(rocr: &Rocr) {
    let module = Module::load(rocr, "scratch");
    let kernel = module.kernel("scratch_user");
    assert!(kernel.1 > 0, "it uses private memory");
    let stream = Stream::new(rocr);
    let n = 64 * 100;
    let (input, output, done) = (words(rocr, n), words(rocr, n), rocr.signal(1));
    input.iter().enumerate().for_each(|(i, w)| w.store(i as u32 * 11, SeqCst));
    let args = [input.as_ptr() as u64, output.as_ptr() as u64, n as u64];
    stream.dispatch(kernel, 100, &args, 0, done);
    assert_eq!(rocr.wait_below(done, 1), 0);
    for (i, out) in output.iter().enumerate() {
        let mut table = [0u32; 64];
        (0..64).for_each(|j| table[((j * 5 + i as u32 * 11) % 64) as usize] = j);
        let sum = (0..64).map(|j| table[j as usize] * j).sum::<u32>();
        assert_eq!(out.load(SeqCst), sum, "{i}");
    }
    assert_eq!(rocr.hsa_signal_destroy(done), 0);
    let asked = device().processor().stats().queues.values().map(|q| q.scratch_requests).sum::<u64>();
    assert!(asked >= 1);
}

fn a_barrier_packet_waits_for_another_queue(rocr: &Rocr) {
    let module = Module::load(rocr, "misc");
    let (spin, empty) = (module.kernel("spin"), module.kernel("empty"));
    let (a, b, c) = (Stream::new(rocr), Stream::new(rocr), Stream::new(rocr));
    let flag = words(rocr, 1);
    let [spun, gate, after, free] = [0; 4].map(|_| rocr.signal(1));
    device().processor().clear_dispatch_log();
    a.dispatch(spin, 1, &[flag.as_ptr() as u64, u64::from(u32::MAX)], 0, spun);
    b.barrier_and(spun, gate);
    b.dispatch(empty, 1, &[], BARRIER, after);
    c.dispatch(empty, 1, &[], 0, free);
    assert_eq!(rocr.wait_below(free, 1), 0, "a third queue goes on");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(rocr.hsa_signal_wait_scacquire(after, 2, 1, 0, 1), 1, "the spinning kernel is waited for");
    flag[0].store(1, SeqCst);
    for signal in [spun, gate, after] {
        assert_eq!(rocr.wait_below(signal, 1), 0);
    }
    let log = device().processor().dispatch_log();
    let barrier = log.iter().find(|e| e.kind == PacketType::BarrierAnd).unwrap();
    let spinner = log.iter().find(|e| e.kernel_name.as_deref() == Some("spin")).unwrap();
    assert_eq!(barrier.dependencies, [spun]);
    assert_eq!(barrier.start_ns, spinner.end_ns, "exact in GPU time");
    // A queue can be destroyed while its kernel spins for ever.
    flag[0].store(0, SeqCst);
    a.dispatch(spin, 4, &[flag.as_ptr() as u64, u64::from(u32::MAX)], 0, 0);
    std::thread::sleep(Duration::from_millis(5));
    drop(a);
    for signal in [spun, gate, after, free] {
        assert_eq!(rocr.hsa_signal_destroy(signal), 0);
    }
}

/// Each stage reads what the one before it wrote, on another queue; only barrier-AND packets order them.
fn work_hops_between_eight_queues(rocr: &Rocr) {
    const STAGES: usize = 96;
    const N: usize = 5000;
    let module = Module::load(rocr, "vector");
    let saxpy = module.kernel("saxpy");
    let streams: Vec<_> = (0..8).map(|_| Stream::new(rocr)).collect();
    let signals: Vec<_> = (0..STAGES).map(|_| rocr.signal(1)).collect();
    let buffers = [0, 1].map(|_| words(rocr, N));
    let mut expected = [[0f32; N]; 2];
    for (which, buffer) in buffers.iter().enumerate() {
        for (i, word) in buffer.iter().enumerate() {
            expected[which][i] = (i % 97) as f32 - 40.0 * which as f32;
            word.store(expected[which][i].to_bits(), SeqCst);
        }
    }
    device().processor().clear_dispatch_log();
    for stage in 0..STAGES {
        let stream = &streams[stage * 5 % 8];
        if stage > 0 {
            stream.barrier_and(signals[stage - 1], 0);
        }
        // Adding and subtracting in turn is a rotation: values stay small, whole and exact, and order matters.
        let alpha = if stage % 2 == 0 { 1f32 } else { -1f32 };
        let [from, to] = [(stage + 1) % 2, stage % 2];
        let args = [
            u64::from(alpha.to_bits()),
            buffers[from].as_ptr() as u64,
            buffers[to].as_ptr() as u64,
            N as u64,
        ];
        stream.dispatch(saxpy, N.div_ceil(64) as u32, &args, 0, signals[stage]);
        let source = expected[from];
        expected[to].iter_mut().zip(source).for_each(|(y, x)| *y += alpha * x);
    }
    assert_eq!(rocr.wait_below(signals[STAGES - 1], 1), 0);
    for (which, buffer) in buffers.iter().enumerate() {
        assert!(
            buffer.iter().zip(&expected[which]).all(|(w, e)| f32::from_bits(w.load(SeqCst)) == *e),
            "{which}"
        );
    }
    let log = device().processor().dispatch_log();
    let mut runs: Vec<_> = log.iter().filter(|e| e.kind == PacketType::KernelDispatch).collect();
    assert_eq!(runs.len(), STAGES);
    runs.sort_by_key(|e| e.start_ns);
    assert!(runs.windows(2).all(|w| w[0].end_ns <= w[1].start_ns && w[0].queue != w[1].queue));
    for signal in signals {
        assert_eq!(rocr.hsa_signal_destroy(signal), 0);
    }
}

fn times_make_sense(rocr: &Rocr) {
    let module = Module::load(rocr, "misc");
    let (stream, done) = (Stream::new(rocr), rocr.signal(1));
    assert_eq!(rocr.hsa_amd_profiling_set_profiler_enabled(stream.queue, 1), 0);
    let flag = words(rocr, 1);
    stream.dispatch(module.kernel("spin"), 1, &[flag.as_ptr() as u64, 10_000], 0, done);
    assert_eq!(rocr.wait_below(done, 1), 0);
    let mut time = [0u64; 2];
    assert_eq!(rocr.hsa_amd_profiling_get_dispatch_time(rocr.gpu(), done, &raw mut time), 0);
    let log = device().processor().dispatch_log();
    let entry = log.iter().rfind(|e| e.kernel_name.as_deref() == Some("spin")).unwrap();
    assert!(entry.instructions > 10_000);
    let (host, gpu) = (time[1] - time[0], entry.end_ns - entry.start_ns);
    assert!(host.abs_diff(gpu) <= 200, "the runtime's {host} ns are the device's {gpu} ns");
    assert_eq!(rocr.hsa_signal_destroy(done), 0);
}

fn large_copies_go_by_sdma(rocr: &Rocr) {
    // More than one packet can hold.
    let bytes = 9 << 20;
    let (on_host, on_gpu) = (rocr.pool(rocr.cpu(), FINE), rocr.pool(rocr.gpu(), COARSE));
    let [from, back] = [0; 2].map(|_| rocr.allocate(on_host, bytes));
    let there = rocr.allocate(on_gpu, bytes);
    // SAFETY: fresh memory of that size.
    let [from_words, back_words] =
        [from, back].map(|m| unsafe { std::slice::from_raw_parts_mut(m.cast::<u32>(), bytes / 4) });
    from_words.iter_mut().enumerate().for_each(|(i, w)| *w = i as u32 ^ 0x5a5a);
    rocr.copy(there, from, bytes);
    rocr.copy(back, there, bytes);
    assert!(from_words == back_words);
    let stats = device().processor().stats();
    let packets: Vec<u64> = stats.queues.values().map(|q| q.sdma_packets).filter(|&n| n > 0).collect();
    assert!(packets.iter().sum::<u64>() >= 2 * 3, "{packets:?}");
    for memory in [from, back, there] {
        assert_eq!(rocr.hsa_amd_memory_pool_free(memory), 0);
    }
}

fn errors_end_their_queue_and_memory_faults_all_queues(rocr: &Rocr) {
    let (module, misc) = (Module::load(rocr, "fault"), Module::load(rocr, "misc"));
    let fine = Stream::new(rocr);
    let still_works = || {
        let done = rocr.signal(1);
        fine.dispatch(misc.kernel("empty"), 10, &[], BARRIER, done);
        assert_eq!(rocr.wait_below(done, 1), 0);
        assert_eq!(rocr.hsa_signal_destroy(done), 0);
    };
    let errors = || QUEUE_ERRORS.lock().unwrap().clone();
    let out = words(rocr, 2);
    let (illegal, trap, memory) = (Stream::new(rocr), Stream::new(rocr), Stream::new(rocr));
    illegal.dispatch(module.kernel("illegal"), 1, &[out.as_ptr() as u64], 0, 0);
    eventually("the illegal instruction is reported", || errors() == [ERROR_ILLEGAL_INSTRUCTION]);
    assert_eq!((out[0].load(SeqCst), out[1].load(SeqCst)), (1, 0));
    still_works();
    trap.dispatch(module.kernel("trap_now"), 1, &[], 0, 0);
    eventually("the trap is reported", || errors().len() == 2);
    assert_eq!(errors()[1], ERROR_EXCEPTION);
    still_works();
    memory.dispatch(module.kernel("store_to"), 1, &[0x1234_5678, 5], 0, 0);
    eventually("the memory fault is reported", || !FAULTS.lock().unwrap().is_empty());
    assert_eq!(*FAULTS.lock().unwrap(), [0x1234_5000]);
    // Every queue of the process is off the hardware now, as with amdkfd.
    let done = rocr.signal(1);
    fine.dispatch(misc.kernel("empty"), 10, &[], BARRIER, done);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(rocr.wait_now(done), 1);
    assert_eq!(errors().len(), 2);
    let failures: Vec<_> =
        device().processor().stats().queues.into_values().filter_map(|q| q.failure).collect();
    assert!(
        failures.iter().any(|f| f.contains("illegal instruction at") && f.contains("0xbfff0000")),
        "{failures:?}"
    );
}
