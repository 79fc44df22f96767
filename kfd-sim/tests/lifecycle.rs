//! Programs that end, fork, exec and begin again, with work pending; many queues, many waiters, kernels that never end, memory that goes away.
//!
//! Each scenario is a process of its own: this program again, with `KFD_SIM_SCENARIO` set. The parent waits, with a limit.

mod support;

use kfd_sim::caches::RaceKind;
use std::ffi::c_void;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use support::{Handle, Queue, Rocr, Status, device};

const FINE: u32 = 2;
const KERNARG: u32 = 1;
/// Turns of a spinning kernel: more than anybody waits for.
const FOR_EVER: u32 = u32::MAX;
/// How long a scenario may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Runs a scenario; returns whether it succeeded, and what it wrote to standard error.
fn run(scenario: &str, environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "scenario", "--nocapture"]).env("KFD_SIM_SCENARIO", scenario);
    command.envs(environment.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child: Child = command.spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        // What a killed child had begun to write need not be text.
        let _ = errors.read_to_string(&mut text);
        text
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{scenario} hangs: {}", reader.join().unwrap());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (status.success(), reader.join().unwrap())
}

fn succeed(scenario: &str, environment: &[(&str, &str)]) {
    let (success, errors) = run(scenario, environment);
    assert!(success, "{scenario}: {errors}");
}

/// Not a test of its own: what [`run`] runs.
#[test]
fn scenario() {
    let Ok(name) = std::env::var("KFD_SIM_SCENARIO") else { return };
    let Some(rocr) = Rocr::load() else { return };
    match &*name {
        "smoke" => smoke(&rocr),
        "masks" => masks(&rocr),
        "again" => again(&rocr),
        "queues" => two_hundred_queues(&rocr),
        "waiters" => many_waiters(&rocr),
        "kill" => kill(&rocr),
        "fork" => fork(&rocr),
        "exit" => exit(&rocr),
        "exec" => exec(&rocr),
        "gone" => gone(&rocr),
        "race" => race(&rocr),
        other => panic!("no scenario {other}"),
    }
}

/// Initialised, with a queue and what kernels need.
struct Set<'a> {
    rocr: &'a Rocr,
    queue: *mut Queue,
    flag: &'static AtomicU32,
    kernarg: *mut u8,
}

impl<'a> Set<'a> {
    fn new(rocr: &'a Rocr) -> Self {
        assert_eq!(rocr.hsa_init(), 0);
        let queue = rocr.queue(64).unwrap();
        let flag = rocr.allocate(rocr.pool(rocr.cpu(), FINE), 4096).cast::<u32>();
        let kernarg = rocr.allocate(rocr.pool(rocr.cpu(), KERNARG), 4096).cast();
        // SAFETY: a page of our own, which lives until the runtime is shut down; atomic on both sides.
        let flag = unsafe { AtomicU32::from_ptr(flag) };
        flag.store(0, Ordering::SeqCst);
        Self { rocr, queue, flag, kernarg }
    }

    /// A kernel that looks at `flag` until it is set, for ever or `turns` times.
    fn spin(&self, queue: *mut Queue, flag: *const u32, turns: u32) -> Handle {
        let done = self.rocr.signal(1);
        let kernel = self.rocr.kernel("misc.co", "spin");
        // SAFETY: the kernel's arguments (pointer, count) in memory of our own that no kernel reads any more, but one with the same.
        unsafe {
            self.kernarg.cast::<u64>().write(flag as u64);
            self.kernarg.add(8).cast::<u32>().write(turns);
            self.rocr.dispatch(queue, kernel, self.kernarg.cast(), done);
        }
        done
    }

    fn pending(&self) -> Handle {
        let done = self.spin(self.queue, self.flag.as_ptr(), FOR_EVER);
        until("the kernel starts", || device().processor().stats().instructions > 0);
        done
    }
}

fn until(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn empty(rocr: &Rocr, queue: *mut Queue) {
    let done = rocr.signal(1);
    let (kernel, executable, reader) = rocr.load_kernel("misc.co", "empty");
    // SAFETY: a queue of our own with room; the kernel has no arguments.
    unsafe { rocr.dispatch(queue, kernel, std::ptr::null(), done) };
    assert_eq!(rocr.wait_below(done, 1), 0, "an empty kernel does not end");
    assert_eq!(rocr.hsa_executable_destroy(executable), 0);
    assert_eq!(rocr.hsa_code_object_reader_destroy(reader), 0);
    assert_eq!(rocr.hsa_signal_destroy(done), 0);
}

/// A bit of everything, twice.
fn smoke(rocr: &Rocr) {
    for _ in 0..2 {
        let set = Set::new(rocr);
        empty(rocr, set.queue);
        let pool = rocr.pool(rocr.cpu(), FINE);
        let (from, to) = (rocr.allocate(pool, 5000), rocr.allocate(pool, 5000));
        assert_eq!(rocr.hsa_amd_memory_fill(from, 0x5a5a_5a5a, 1250), 0);
        rocr.copy(to, from, 5000);
        // SAFETY: 5000 bytes of our own.
        let words = unsafe { std::slice::from_raw_parts(to.cast::<u32>(), 1250) };
        assert!(words.iter().all(|word| *word == 0x5a5a_5a5a));
        assert_eq!(rocr.hsa_queue_destroy(set.queue), 0);
        assert_eq!(rocr.hsa_shut_down(), 0);
    }
}

#[test]
fn the_runtime_runs_at_every_version_of_the_driver_interface() {
    for version in ["auto", "1.4", "1.11", "1.13", "1.14", "1.18"] {
        succeed("smoke", &[("KFD_SIM_KFD_VERSION", version)]);
    }
}

fn masks(rocr: &Rocr) {
    let set = Set::new(rocr);
    let mask = [0xffu32, 0];
    let answers = [(); 4].map(|()| rocr.hsa_amd_queue_cu_set_mask(set.queue, 64, mask.as_ptr()));
    assert_eq!(answers.iter().filter(|status| **status != 0).count(), 1, "{answers:?}");
    empty(rocr, set.queue);
    assert_eq!(rocr.hsa_shut_down(), 0);
}

#[test]
fn settings_come_through_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (events, trace, plan) = (path("events"), path("trace-%p"), path("plan"));
    // The first ones may be the runtime's own, when it makes queues.
    fs::write(&plan, "seed = 1\n[[rule]]\nioctl = \"SET_CU_MASK\"\nerrno = \"EINVAL\"\nnth = 3\n").unwrap();
    let environment = [
        ("KFD_SIM_EVENTS", &*events),
        ("KFD_SIM_TRACE", &trace),
        ("KFD_SIM_PLAN", &plan),
        ("KFD_SIM_RACES", "1"),
    ];
    let skipped = run("smoke", &[]).1.contains("skipped:");
    if skipped {
        return;
    }
    let (success, errors) = run("masks", &environment);
    assert!(success, "{errors}");
    let text = fs::read_to_string(&events).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let count = |event: &str| lines.iter().filter(|l| l["event"] == event).count();
    assert!(count("queue_created") >= 1 && count("packet") >= 1 && count("ioctl") > 20, "{text}");
    assert_eq!(count("race"), 0, "the runtime orders its own work: {text}");
    let refused = lines.iter().filter(|l| l["name"] == "SET_CU_MASK" && l["errno"] == libc::EINVAL).count();
    assert_eq!(refused, 1);
    let traces: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|e| e.path()).collect();
    let file = traces.iter().find(|p| p.to_str().unwrap().contains("trace-")).expect("written at exit");
    let trace: serde_json::Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let slices: Vec<_> = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X").collect();
    for process in [1, 2] {
        assert!(slices.iter().any(|s| s["pid"] == process && s["name"] == "empty"), "process {process}");
    }
    assert!(slices.iter().all(|s| s["dur"].as_f64().unwrap() >= 0.0 && s["ts"].as_f64().unwrap() >= 0.0));
}

/// Open descriptors and mappings of this process.
fn resources() -> (usize, usize) {
    let descriptors = fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, fs::read_to_string("/proc/self/maps").unwrap().lines().count())
}

fn again(rocr: &Rocr) {
    let (mut before, mut used) = ((0, 0), (0, 0));
    for cycle in 0..24 {
        let set = Set::new(rocr);
        empty(rocr, set.queue);
        for memory in [set.flag.as_ptr().cast(), set.kernarg.cast()] {
            assert_eq!(rocr.hsa_amd_memory_pool_free(memory), 0);
        }
        assert_eq!(rocr.hsa_queue_destroy(set.queue), 0);
        assert_eq!(rocr.hsa_shut_down(), 0, "cycle {cycle}");
        if cycle == 7 {
            (before, used) = (resources(), device().memory_used());
        }
    }
    let after = resources();
    assert_eq!(after.0, before.0, "descriptors");
    // The heap and the thread stacks that libc keeps come and go.
    assert!(after.1 <= before.1 + 12, "mappings: {before:?} {after:?}");
    // The thunk keeps the event page.
    assert_eq!(device().memory_used(), used);
}

#[test]
fn the_runtime_is_initialised_many_times_and_leaks_nothing() {
    succeed("again", &[]);
}

fn two_hundred_queues(rocr: &Rocr) {
    let set = Set::new(rocr);
    let kernel = rocr.kernel("misc.co", "empty");
    // One of them never ends.
    let spinning = set.pending();
    let queues: Vec<_> = (0..200).map(|_| rocr.queue(64).unwrap()).collect();
    let signals: Vec<_> = queues
        .iter()
        .map(|&queue| {
            let done = rocr.signal(3);
            for _ in 0..3 {
                // SAFETY: a queue of our own with room; the kernel has no arguments.
                unsafe { rocr.dispatch(queue, kernel, std::ptr::null(), done) };
            }
            done
        })
        .collect();
    for done in signals {
        assert_eq!(rocr.wait_below(done, 1), 0);
    }
    assert_eq!(rocr.wait_now(spinning), 1);
    set.flag.store(1, Ordering::SeqCst);
    assert_eq!(rocr.wait_below(spinning, 1), 0);
    queues.into_iter().for_each(|queue| assert_eq!(rocr.hsa_queue_destroy(queue), 0));
    assert_eq!(rocr.hsa_shut_down(), 0);
}

#[test]
fn two_hundred_queues_all_make_progress() {
    succeed("queues", &[]);
}

fn many_waiters(rocr: &Rocr) {
    let set = Set::new(rocr);
    let done = set.pending();
    let waiting = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..48)
            .map(|_| {
                scope.spawn(|| {
                    waiting.fetch_add(1, Ordering::SeqCst);
                    // Blocked: in the driver, by one event.
                    rocr.hsa_signal_wait_scacquire(done, 2, 1, u64::MAX, 0)
                })
            })
            .collect();
        until("all wait", || waiting.load(Ordering::SeqCst) == 48);
        std::thread::sleep(Duration::from_millis(20));
        set.flag.store(1, Ordering::SeqCst);
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), 0));
    });
    assert_eq!(rocr.hsa_shut_down(), 0);
}

#[test]
fn many_threads_wait_for_one_signal() {
    for version in ["1.11", "1.14"] {
        succeed("waiters", &[("KFD_SIM_KFD_VERSION", version)]);
    }
}

fn kill(rocr: &Rocr) {
    let set = Set::new(rocr);
    for how in 0..3 {
        let queue = rocr.queue(64).unwrap();
        let done = set.spin(queue, set.flag.as_ptr(), FOR_EVER);
        std::thread::sleep(Duration::from_millis(5));
        let begun = Instant::now();
        if how == 1 {
            assert_eq!(rocr.hsa_queue_inactivate(queue), 0);
        }
        if how < 2 {
            assert_eq!(rocr.hsa_queue_destroy(queue), 0);
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        assert_eq!(rocr.wait_now(done), 1, "a killed kernel does not complete");
        empty(rocr, set.queue);
    }
    // The last one is killed with the runtime.
    let begun = Instant::now();
    assert_eq!(rocr.hsa_shut_down(), 0);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn a_kernel_that_never_ends_is_killed_with_its_queue() {
    succeed("kill", &[]);
}

fn wait_for(child: i32) -> i32 {
    let mut status = 0;
    // SAFETY: our own child.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    status
}

fn fork(rocr: &Rocr) {
    let set = Set::new(rocr);
    let done = set.pending();
    let kfd = fs::File::open("/dev/kfd").unwrap();
    for what in 0..5 {
        // SAFETY: the child calls only what may be called between fork and exec, and our own hooks, which may.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: a child of a process with threads: it hangs in nothing that they may hold.
            unsafe {
                libc::alarm(20);
                match what {
                    0 => libc::_exit(0),
                    1 => {
                        let arguments = [c"true".as_ptr(), std::ptr::null()];
                        libc::execvp(arguments[0], arguments.as_ptr());
                        libc::_exit(1);
                    }
                    // The handlers of the runtime and of the simulator run.
                    2 => libc::exit(0),
                    // The runtime's descriptors are the parent's.
                    3 => libc::_exit(i32::from(rocr.queue(64).is_ok())),
                    _ => {
                        let mut version = [0u32; 2];
                        let answer = libc::ioctl(
                            std::os::fd::AsRawFd::as_raw_fd(&kfd),
                            kfd_sim::kernel::uapi::Request::word(b'K', 1, 8),
                            version.as_mut_ptr(),
                        );
                        let told = answer == -1 && *libc::__errno_location() == libc::EBADF;
                        libc::_exit(i32::from(!told));
                    }
                }
            }
        }
        assert_eq!(wait_for(child), 0, "child {what}");
    }
    assert_eq!(rocr.wait_now(done), 1);
    empty(rocr, rocr.queue(64).unwrap());
    set.flag.store(1, Ordering::SeqCst);
    assert_eq!(rocr.wait_below(done, 1), 0);
    assert_eq!(rocr.hsa_shut_down(), 0);
}

#[test]
fn forked_children_do_no_harm_and_come_to_none() {
    succeed("fork", &[]);
}

fn exit(rocr: &Rocr) {
    let set = Set::new(rocr);
    set.pending();
    let gate = rocr.queue(64).unwrap();
    // SAFETY: a barrier packet that waits for a signal that nobody sets; a queue of our own.
    unsafe {
        let never = rocr.signal(1);
        let slot = (*gate).base.cast::<u64>();
        slot.add(1).write(never);
        let index = rocr.hsa_queue_add_write_index_screlease(gate, 1);
        // Release: the packet processor's acquire load of the header sees the rest of the packet.
        AtomicU32::from_ptr(slot.cast()).store(3, Ordering::Release);
        rocr.hsa_signal_store_screlease((*gate).doorbell, index as i64);
    }
    std::process::exit(0);
}

fn exec(rocr: &Rocr) {
    let set = Set::new(rocr);
    set.pending();
    // Only what was opened for it stays open: the device's files are closed.
    let script = "for fd in /proc/self/fd/*; do readlink $fd; done | grep -c memfd:kfd-sim";
    let error = std::os::unix::process::CommandExt::exec(
        Command::new("sh").arg("-c").arg(format!("test $({script}) = 0")),
    );
    panic!("{error}");
}

#[test]
fn a_program_ends_with_work_pending() {
    succeed("exit", &[]);
    succeed("exec", &[]);
}

fn race(rocr: &Rocr) {
    let set = Set::new(rocr);
    let processor = device().processor().clone();
    let kernel = rocr.kernel("fault.co", "store_to");
    empty(rocr, set.queue);
    let queue = processor.dispatch_log().last().expect("the empty kernel").queue;
    // SAFETY: the kernel's arguments (address, value) in memory of our own.
    unsafe { set.kernarg.cast::<[u64; 2]>().write([set.flag.as_ptr() as u64, 7]) };
    for (barrier, expected) in [(0, 1), (1 << 8, 0)] {
        processor.clear_races();
        processor.stall_queue(queue).unwrap();
        let done = rocr.signal(2);
        for _ in 0..2 {
            // SAFETY: a queue of our own with room.
            unsafe { rocr.dispatch_with(set.queue, barrier, kernel, set.kernarg.cast(), done) };
        }
        std::thread::sleep(Duration::from_millis(10));
        processor.resume_queue(queue).unwrap();
        assert_eq!(rocr.wait_below(done, 1), 0);
        let races = processor.races();
        assert_eq!(races.len(), expected, "{races:?}");
        for race in races {
            assert_eq!(
                (race.address, race.run, race.kind),
                (set.flag.as_ptr() as u64, 4, RaceKind::WriteWrite)
            );
            assert_eq!((race.first.queue, race.first.index + 1), (queue, race.second.index));
            assert_eq!(race.first.kernel.as_deref(), Some("store_to"));
        }
    }
    assert_eq!(rocr.hsa_shut_down(), 0);
}

#[test]
fn a_missing_barrier_bit_is_a_race() {
    succeed("race", &[("KFD_SIM_RACES", "1")]);
}

static FAULT: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" fn on_fault(event: *const u64, _: *mut c_void) -> Status {
    // SAFETY: hsa_amd_event_t: type, then for a memory fault the agent and the address.
    FAULT.store(unsafe { *event.add(2) }, Ordering::SeqCst);
    0
}

fn gone(rocr: &Rocr) {
    let set = Set::new(rocr);
    assert_eq!(rocr.hsa_amd_register_system_event_handler(on_fault, std::ptr::null_mut()), 0);
    let (bytes, gpu) = (1usize << 16, rocr.gpu());
    // SAFETY: a new mapping of our own, which is taken away below while the GPU uses it.
    let memory = unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
    };
    let mut on_gpu = std::ptr::null_mut();
    assert_eq!(rocr.hsa_amd_memory_lock(memory, bytes, &gpu, 1, &raw mut on_gpu), 0);
    let flag = on_gpu.wrapping_byte_add(8192);
    let done = set.spin(set.queue, flag.cast(), FOR_EVER);
    until("the kernel starts", || device().processor().stats().instructions > 1000);
    // SAFETY: our own mapping.
    assert_eq!(unsafe { libc::munmap(memory, bytes) }, 0);
    until("the fault is told", || FAULT.load(Ordering::SeqCst) != 0);
    assert_eq!(FAULT.load(Ordering::SeqCst), flag as u64 & !0xfff);
    assert_eq!(rocr.wait_now(done), 1);
    assert_eq!(rocr.hsa_shut_down(), 0);
}

#[test]
fn memory_that_a_program_frees_while_the_gpu_uses_it_is_a_memory_fault() {
    succeed("gone", &[]);
    succeed("gone", &[("KFD_SIM_MEMORY", "coherent")]);
}
