//! Workers that share a queue: each waits for its own kernels only, and for nothing that cannot come.

use eclip_hsa::{Error, Kernel, KernelGroup, Policy, Scheduler};
use eclip_tests::workers::{KERNELS, observed, run, scheduler, sharing};
use eclip_tests::{PATIENCE, gpu};

#[test]
fn workers_may_share_their_default_queue() {
    let gpu = gpu();
    let plan = sharing();
    let scheduler = scheduler(&gpu, &plan, Policy::Eclip);
    for worker in run(&gpu, &scheduler, 50) {
        let total = worker.total();
        assert_eq!((total.kernels, total.unknown), (50 * KERNELS as u64, 0));
        // On the shared queue one kernel may wait for the one before, too.
        let stays = total.kernels - 1 - total.switches;
        let waits = total.barriers + total.elisions;
        assert!((total.switches..=total.switches + stays).contains(&waits), "{total:?}");
        assert!(total.elisions <= total.switches, "{total:?}");
    }
    let error = Scheduler::pool(&gpu.agent, &plan, Policy::KwIoctl).unwrap_err().to_string();
    assert!(error.contains("policy kw-ioctl changes the mask of each worker's default queue"), "{error}");
}

#[test]
fn on_a_shared_queue_a_worker_waits_for_its_own_kernels_only() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let plan = sharing();
    let (scheduler, ids) = observed(&gpu, &sim, &plan, Policy::Eclip);
    let shared = scheduler.queues().queues().iter().position(|queue| queue.label() == "W1 all").unwrap();
    let [mut worker, mut other] = ["W1", "W2"].map(|name| scheduler.worker(name).unwrap());
    let [misc, vector] = ["misc", "vector"].map(|name| gpu.module(name));
    let [spin, empty] = ["spin", "empty"].map(|name| misc.kernel(name).unwrap());
    let flag = gpu.agent.alloc::<u32>(1).unwrap();
    let one = |kernel: &Kernel| kernel.dispatch([1, 1, 1], [1, 1, 1]);
    // All three on the shared queue, before any of them runs.
    sim.processor().stall_queue(ids[shared]).unwrap();
    // Runs until somebody sets the flag,
    other.dispatch(&one(&spin).arg(&flag).arg(u32::MAX)).unwrap();
    // which is what the second of these does.
    worker.dispatch(&one(&empty)).unwrap();
    let increment = vector.kernel("increment").unwrap();
    let token = worker.dispatch(&one(&increment).arg(&flag).arg(1u32)).unwrap().clone();
    assert_eq!(token.queue_label(), "W1 all");
    assert_eq!((worker.total().barriers, worker.total().switches), (1, 0));
    sim.processor().resume_queue(ids[shared]).unwrap();
    worker.wait(PATIENCE).expect("a barrier bit would wait for the other worker's kernel");
    other.wait(PATIENCE).unwrap();
}

#[test]
fn the_host_waits_for_one_worker_while_the_other_is_busy_on_the_same_queue() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let plan = sharing();
    let (scheduler, ids) = observed(&gpu, &sim, &plan, Policy::Eclip);
    let shared = scheduler.queues().queues().iter().position(|queue| queue.label() == "W1 all").unwrap();
    let [mut worker, mut other] = ["W1", "W2"].map(|name| scheduler.worker(name).unwrap());
    let [misc, vector] = ["misc", "vector"].map(|name| gpu.module(name));
    let [spin, empty] = ["spin", "empty"].map(|name| misc.kernel(name).unwrap());
    let flag = gpu.agent.alloc::<u32>(1).unwrap();
    let one = |kernel: &Kernel| kernel.dispatch([1, 1, 1], [1, 1, 1]);
    sim.processor().stall_queue(ids[shared]).unwrap();
    // Runs until somebody sets the flag, in front of the worker's kernel, which nobody planned: a packet must tell the host.
    other.dispatch(&one(&spin).arg(&flag).arg(u32::MAX)).unwrap();
    worker.dispatch(&one(&empty)).unwrap();
    let waiting = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.wait(PATIENCE));
        while scheduler.queues()[shared].packet_counts().barriers == 0 && !waiting.is_finished() {
            std::thread::yield_now();
        }
        sim.processor().resume_queue(ids[shared]).unwrap();
        waiting.join().unwrap()
    });
    // However that ended.
    let increment = vector.kernel("increment").unwrap();
    let set = KernelGroup::of(one(&increment).arg(&flag).arg(1u32)).unwrap();
    set.on(&gpu.queue()).try_submit().unwrap().wait_timeout(PATIENCE).unwrap();
    waiting.expect("a barrier bit would wait for the other worker's kernel");
    other.wait(PATIENCE).unwrap();
}

#[test]
fn a_dead_shared_queue_is_an_error_for_both_workers() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let plan = sharing();
    let (scheduler, ids) = observed(&gpu, &sim, &plan, Policy::Eclip);
    let shared = scheduler.queues().queues().iter().position(|queue| queue.label() == "W1 all").unwrap();
    let [mut worker, mut other] = ["W1", "W2"].map(|name| scheduler.worker(name).unwrap());
    let illegal = gpu.module("fault").kernel("illegal").unwrap();
    let empty = gpu.module("misc").kernel("empty").unwrap().dispatch([1, 1, 1], [1, 1, 1]);
    let out = gpu.agent.alloc::<u32>(2).unwrap();
    sim.processor().stall_queue(ids[shared]).unwrap();
    // Each waits for the one before by its signal, on the same queue.
    for _ in 0..20 {
        worker.dispatch(&empty).unwrap();
    }
    worker.dispatch(&illegal.dispatch([1, 1, 1], [1, 1, 1]).arg(&out)).unwrap();
    for _ in 0..20 {
        worker.dispatch(&empty).unwrap();
    }
    other.dispatch(&empty).unwrap();
    sim.processor().resume_queue(ids[shared]).unwrap();
    for worker in [&mut worker, &mut other] {
        let error = worker.wait(PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Failed(_)), "{}: {error}", worker.name());
    }
    drop((worker, other));
    let mut pool = scheduler.into_pool().unwrap();
    pool.replace(shared).unwrap();
    run(&gpu, &Scheduler::new(pool, &plan, Policy::Eclip).unwrap(), 5);
}
