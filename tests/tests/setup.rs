//! Setting up on a machine that is not as it should be: what is missing is said, and what to do.

use eclip_hsa::{Error, Module, Queue, Runtime};
use eclip_tests::{PATIENCE, gpu, turn};
use hsa_sys::*;
use kfd_sim::control;

#[test]
fn without_rocr_every_place_that_was_tried_is_named() {
    let _turn = turn();
    // SAFETY: there is no such file, so nothing of it runs.
    let error = Error::from(unsafe { Hsa::load_from("/no/such/libhsa-runtime64.so.1") }.unwrap_err());
    let text = error.to_string();
    assert!(text.contains("/no/such/libhsa-runtime64.so.1") && text.contains("install"), "{text}");
}

#[test]
fn a_library_that_is_not_rocr_is_refused_with_the_missing_symbols() {
    let _turn = turn();
    // SAFETY: libc is loaded already, and lacks every function of ROCr, so none is called.
    let error = Error::from(unsafe { Hsa::load_from("libc.so.6") }.unwrap_err()).to_string();
    assert!(error.contains("hsa_init") && error.contains("hsa_queue_create"), "{error}");
}

#[test]
fn without_a_driver_the_error_says_so() {
    let _turn = turn();
    if !control::is_on() {
        return eprintln!("skipped: this machine has a driver");
    }
    control::switch_off();
    let error = Runtime::new().map(drop);
    control::switch_on();
    assert!(matches!(error, Err(Error::NoDriver)), "{error:?}");
    assert!(error.unwrap_err().to_string().contains("/dev/kfd"));
}

#[test]
fn a_gpu_that_is_not_there_is_an_error() {
    let gpu = gpu();
    let error = gpu.agent.runtime().gpu(7).map(drop).unwrap_err();
    assert!(matches!(error, Error::NoGpu { index: 7, .. }), "{error}");
}

#[test]
fn a_cpu_runs_no_queues_and_no_code() {
    let gpu = gpu();
    let cpu = &gpu.agent.runtime().cpus()[0];
    assert!(Queue::builder(cpu).create().is_err());
    assert!(cpu.topology().is_err());
    let code = eclip_kernels::code_object("gfx906", "misc").unwrap();
    // SAFETY: it is refused, so nothing is ever launched.
    assert!(unsafe { Module::from_bytes(cpu, "misc", code) }.is_err());
}

#[test]
fn two_runtimes_live_side_by_side() {
    let gpu = gpu();
    let second = Runtime::new().unwrap();
    let other = Queue::builder(&second.gpu(0).unwrap()).create().unwrap();
    let token = other.barrier_and(&[], PATIENCE).unwrap();
    let queue = gpu.queue();
    let error = queue.barrier_and(&[token], PATIENCE).unwrap_err();
    assert!(error.to_string().contains("another Runtime"), "{error}");
    let buffer = second.gpu(0).unwrap().alloc_host::<u32>(64).unwrap();
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let work = fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&buffer).arg(1u32).arg(64u32);
    let error = queue.dispatch(work, PATIENCE).unwrap_err();
    assert!(matches!(error, Error::WrongAgent { .. }), "{error}");
    assert!(error.to_string().contains(" of another Runtime: "), "both GPUs print alike: {error}");
    drop((other, second, buffer));
    queue.barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

#[test]
fn the_runtime_starts_again_after_a_shut_down() {
    for _ in 0..3 {
        let gpu = gpu();
        gpu.queue().barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    }
}

/// A runtime whose function `$name` fails.
macro_rules! failing {
    ($name:ident ( $($type:ty),* )) => {{
        unsafe extern "C" fn fail($(_: $type),*) -> hsa_status_t {
            HSA_STATUS_ERROR_OUT_OF_RESOURCES
        }
        let mut functions = *Hsa::load().unwrap();
        functions.$name = fail;
        // SAFETY: every function but one is ROCr's; that one touches nothing and fails.
        Runtime::with(unsafe { Hsa::from_functions(functions) })
    }};
}

#[test]
fn any_call_may_fail() {
    let _turn = turn();
    let named = |error: Error, call: &str| {
        let text = error.to_string();
        assert!(text.contains(call) && text.contains("0x1008"), "{text}");
    };
    named(failing!(hsa_init()).map(drop).unwrap_err(), "hsa_init");
    type Agents = Option<unsafe extern "C" fn(hsa_agent_t, *mut std::ffi::c_void) -> hsa_status_t>;
    named(
        failing!(hsa_iterate_agents(Agents, *mut std::ffi::c_void)).map(drop).unwrap_err(),
        "hsa_iterate_agents",
    );
    let runtime =
        failing!(hsa_amd_signal_create(i64, u32, *const hsa_agent_t, u64, *mut hsa_signal_t)).unwrap();
    let queue = Queue::builder(&runtime.gpu(0).unwrap()).create().unwrap();
    named(queue.barrier_and(&[], PATIENCE).unwrap_err(), "hsa_amd_signal_create");
    drop((queue, runtime));
    type Address = *mut *mut std::ffi::c_void;
    let runtime = failing!(hsa_amd_memory_pool_allocate(hsa_amd_memory_pool_t, usize, u32, Address)).unwrap();
    let agent = runtime.gpu(0).unwrap();
    named(agent.alloc::<u32>(4).unwrap_err(), "hsa_amd_memory_pool_allocate");
    named(Queue::builder(&agent).create().map(drop).unwrap_err(), "hsa_amd_memory_pool_allocate");
    drop((agent, runtime));
    let runtime =
        failing!(hsa_amd_profiling_set_profiler_enabled(*mut hsa_queue_t, std::ffi::c_int)).unwrap();
    let profiled = Queue::builder(&runtime.gpu(0).unwrap()).profiling().create();
    named(profiled.map(drop).unwrap_err(), "hsa_amd_profiling_set_profiler_enabled");
    assert_eq!(
        eclip_hsa::budget::QueueBudget::of(&runtime.gpu(0).unwrap()).ours,
        0,
        "the queue was given back"
    );
}

#[test]
fn memory_of_impossible_sizes_is_refused() {
    let gpu = gpu();
    assert!(matches!(gpu.agent.alloc::<u32>(0), Err(Error::Range(_))));
    assert!(matches!(gpu.agent.alloc::<u64>(usize::MAX), Err(Error::Range(_))));
    assert!(matches!(gpu.agent.alloc::<u8>(1 << 50), Err(Error::Hsa { .. })));
    let buffer = gpu.agent.alloc_host::<u32>(4).unwrap();
    assert!(matches!(buffer.write(&[0; 5]), Err(Error::Range(_))));
    assert!(matches!(buffer.write_at(usize::MAX, &[0; 2]), Err(Error::Range(_))));
    assert!(matches!(buffer.at(4), Err(Error::Range(_))));
    assert!(matches!(gpu.agent.alloc::<u32>(4).unwrap().map().map(drop), Err(Error::Range(_))));
}

#[test]
fn memory_can_be_had_and_given_back_many_times() {
    let gpu = gpu();
    for round in 0..50u32 {
        let items: Vec<u32> = (0..10_000).map(|i| i * round).collect();
        let device = gpu.agent.upload(&items).unwrap();
        assert_eq!(device.to_vec().unwrap(), items);
        let mut part = [0; 3];
        device.read_at(100, &mut part).unwrap();
        assert_eq!(part, [100 * round, 101 * round, 102 * round]);
    }
    static TABLE: [u8; 9000] = [7; 9000];
    assert_eq!(
        gpu.agent.upload(&TABLE).unwrap().to_vec().unwrap(),
        TABLE,
        "read-only memory can be copied, too"
    );
    let large: Vec<u64> = (0..700_000).collect();
    assert_eq!(gpu.agent.upload(&large).unwrap().to_vec().unwrap(), large, "more than one staging block");
    assert_eq!(gpu.agent.alloc::<u32>(1000).unwrap().to_vec().unwrap(), [0; 1000], "fresh memory is zeroed");
}
