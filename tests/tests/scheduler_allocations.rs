//! A worker allocates nothing for a prepared kernel after warm-up, whatever queue it goes to.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use eclip_hsa::{Patch, Plan, Policy, Scheduler};
use eclip_tests::{PATIENCE, gpu};

/// Counts what each thread allocates: the simulated GPU's threads allocate as they like.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: all requests go to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(block, layout) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const PLAN: &str = r#"
version = 1
switch_max = 1
[device]
isa = "gfx906"
shader_engines = 4
cus_per_sh = [15, 15, 15, 15]
[[queue]]
label = "half"
mask = "0x333333333333333"
[[queue]]
label = "all"
[[worker]]
name = "W"
default = "all"
kernels = [
  { index = 0, kernel = "fill_u32", queue = "half" },
  { index = 1, kernel = "fill_u32", queue = "half" },
  { index = 2, kernel = "fill_u32", queue = "all" },
  { index = 3, kernel = "fill_u32", queue = "half" },
]
"#;

#[test]
fn nothing_is_allocated_for_a_kernel() {
    let gpu = gpu();
    if gpu.sim().is_none() {
        return;
    }
    let plan = Plan::parse("plan", PLAN).unwrap();
    let pool = Scheduler::pool(&gpu.agent, &plan, Policy::Eclip).unwrap().each(|queue| queue.size(64));
    let pool = pool.build().unwrap();
    pool.queues().iter().for_each(|queue| queue.warm_up(64).unwrap());
    let scheduler = Scheduler::new(pool, &plan, Policy::Eclip).unwrap();
    let mut worker = scheduler.worker("W").unwrap();
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let out = gpu.agent.alloc::<u32>(64).unwrap();
    let kernel = fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&out).arg(0u32).arg(64u32);
    let kernel = worker.prepare(kernel).unwrap();
    let request = |worker: &mut eclip_hsa::Worker, number: u32| {
        worker.begin_request();
        for index in 0..4 {
            worker.submit_patched(&kernel, &[Patch::new(0, 1, number * 4 + index)]).unwrap();
        }
        worker.end_request().unwrap();
    };
    // The first use of a place in a queue may allocate.
    let mut allocated = 0;
    for number in 0..1000 {
        if number == 800 {
            allocated = 0;
        }
        let before = ALLOCATIONS.get();
        request(&mut worker, number);
        allocated += ALLOCATIONS.get() - before;
        // Never full: the error that says so has a text.
        if number % 8 == 7 {
            worker.wait(PATIENCE).unwrap();
        }
    }
    assert_eq!(allocated, 0);
    worker.wait(PATIENCE).unwrap();
    assert_eq!(out.to_vec().unwrap(), [3999; 64]);
    assert_eq!(worker.total().kernels, 4000);
}
