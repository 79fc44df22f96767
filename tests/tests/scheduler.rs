//! Workers under a plan: results, counters against the device's own log, every policy, and what is refused.

use std::time::{Duration, Instant};

use eclip_hsa::plan::PlanProblem;
use eclip_hsa::{CuMask, Error, Kernel, Patch, Plan, Policy, Pool, Scheduler, Visibility};
use eclip_tests::workers::{Chain, KERNELS, N, changed, measuring, observed, plan, run, scheduler, sharing};
use eclip_tests::{PATIENCE, gpu};
use kfd_sim::control::Device;
use kfd_sim::cp::{DispatchRecord, PacketType};

/// What the device did on the scheduler's queues.
struct Log {
    /// Kernels by the label of their queue, in the order in which they began.
    kernels: Vec<(String, DispatchRecord)>,
    barriers_with_dependencies: u64,
}

impl Log {
    fn read(sim: &Device, scheduler: &Scheduler, ids: &[u32]) -> Self {
        let label = |record: &DispatchRecord| {
            let queue = ids.iter().position(|id| *id == record.queue)?;
            Some(scheduler.queues()[queue].label().to_owned())
        };
        let mut log = Self { kernels: Vec::new(), barriers_with_dependencies: 0 };
        for record in sim.processor().dispatch_log() {
            let Some(label) = label(&record) else { continue };
            match record.kind {
                PacketType::KernelDispatch => log.kernels.push((label, record)),
                _ if record.dependencies.is_empty() => {}
                _ => log.barriers_with_dependencies += 1,
            }
        }
        log.kernels.sort_by_key(|(_, record)| record.start_ns);
        log
    }
}

/// Switches of one request in steady state (the way back to the first queue included), and those of `requests` in all.
fn switches(route: &[&str], requests: u64) -> u64 {
    let around =
        (0..route.len()).filter(|&index| route[index] != route[(index + 1) % route.len()]).count() as u64;
    around * requests - u64::from(route[0] != route[route.len() - 1])
}

fn queues_of(plan: &Plan, worker: usize) -> Vec<&str> {
    plan.document().workers[worker].kernels.iter().map(|kernel| &*kernel.queue).collect()
}

#[test]
fn two_workers_follow_their_plan_and_count_what_the_device_saw() {
    const REQUESTS: u32 = 30;
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let plan = plan();
    let (scheduler, ids) = observed(&gpu, &sim, &plan, Policy::Eclip);
    sim.processor().clear_dispatch_log();
    let workers = run(&gpu, &scheduler, REQUESTS);
    for (index, worker) in workers.iter().enumerate() {
        let total = worker.total();
        let requests = u64::from(REQUESTS);
        assert_eq!((total.requests, total.kernels), (requests, requests * KERNELS as u64));
        assert_eq!((total.unknown, total.by_name, total.remasks, total.untimed), (0, 0, 0, 0));
        assert_eq!(total.switches, switches(&queues_of(&plan, index), requests));
        assert_eq!(total.barriers + total.elisions, total.switches);
        assert_eq!(total.markers, 0, "every request ended where the plan says");
        // W2 switches at every kernel, which is more than 6; its first request has no way from an earlier one.
        let over = if index == 0 { (0, 0) } else { (2 * requests - 1, requests) };
        assert_eq!((total.over_budget, total.requests_over_budget), over);
        let last = worker.last_request();
        for (queue, &ns) in last.queue_ns.iter().enumerate() {
            let label = &plan.document().queues[queue].label;
            let used = queues_of(&plan, index).contains(&label.as_str());
            assert_eq!(ns > 0, used, "{label}: {ns} ns");
            assert!(total.queue_ns[queue] >= ns);
        }
    }
    // By the queues' own counters.
    let barriers: u64 = workers.iter().map(|worker| worker.total().barriers).sum();
    let counts = scheduler.queues().queues().iter().map(|queue| (queue.label(), queue.packet_counts()));
    for (label, counts) in counts.clone() {
        let planned =
            (0..2).flat_map(|worker| queues_of(&plan, worker)).filter(|queue| *queue == label).count();
        assert_eq!(counts.kernels, planned as u64 * u64::from(REQUESTS), "{label}");
    }
    assert_eq!(counts.map(|(_, counts)| counts.barriers).sum::<u64>(), barriers);
    // By the device's log: each worker's kernels begin one after the other, on the queue and CUs that the plan says.
    let log = Log::read(&sim, &scheduler, &ids);
    assert_eq!(log.barriers_with_dependencies, barriers);
    for worker in 0..2 {
        let route = queues_of(&plan, worker);
        let mine: Vec<_> =
            log.kernels.iter().filter(|(label, _)| label.starts_with(["W1", "W2"][worker])).collect();
        assert_eq!(mine.len(), KERNELS * REQUESTS as usize);
        let mut end = 0;
        for (index, (label, record)) in mine.into_iter().enumerate() {
            assert_eq!(label, route[index % KERNELS], "kernel {index} of W{}", worker + 1);
            assert!(
                record.start_ns >= end,
                "kernel {index} of W{} began before its predecessor ended",
                worker + 1
            );
            end = record.end_ns;
            let mask = plan.mask(plan.queue(label).unwrap());
            let used: u32 = record.cus_per_se().iter().sum();
            assert!(mask.is_none_or(|mask| used <= mask.cu_count()));
        }
    }
}

#[test]
fn every_policy_serves_by_its_name() {
    const REQUESTS: u32 = 12;
    let gpu = gpu();
    let plan = plan();
    for policy in Policy::ALL {
        let policy: Policy = policy.name().parse().unwrap();
        let scheduler = scheduler(&gpu, &plan, policy);
        let workers = run(&gpu, &scheduler, REQUESTS);
        for (index, worker) in workers.iter().enumerate() {
            let (total, requests) = (worker.total(), u64::from(REQUESTS));
            let kernels = requests * KERNELS as u64;
            assert_eq!((total.kernels, total.unknown), (kernels, 0), "{policy}");
            let expected = match policy {
                Policy::Baseline | Policy::ModelWise => (0, 0),
                Policy::KwIoctl => (0, kernels),
                Policy::KwStream => (kernels - 1, 0),
                Policy::Eclip => (switches(&queues_of(&plan, index), requests), 0),
            };
            assert_eq!((total.switches, total.remasks), expected, "{policy}");
            assert_eq!(total.barriers + total.elisions, total.switches, "{policy}");
        }
        let used =
            scheduler.queues().queues().iter().filter(|queue| queue.packet_counts().kernels > 0).count();
        let pool = scheduler.queues().queues().len();
        assert_eq!(used, pool, "{policy}: the pool has only the queues that the policy uses");
        assert_eq!(pool, if matches!(policy, Policy::Eclip | Policy::KwStream) { 8 } else { 2 }, "{policy}");
    }
}

#[test]
fn each_kernel_of_kw_ioctl_runs_under_its_own_mask() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let plan = plan();
    let (scheduler, ids) = observed(&gpu, &sim, &plan, Policy::KwIoctl);
    sim.recorder().clear_logs();
    run(&gpu, &scheduler, 1);
    for (worker, &id) in ids.iter().enumerate() {
        let label = scheduler.queues()[worker].label();
        let set: Vec<Vec<u32>> = sim
            .recorder()
            .masks()
            .into_iter()
            .filter(|record| record.queue_id == id)
            .map(|record| record.mask)
            .collect();
        let all = CuMask::all(plan.topology());
        let kernels = plan.document().workers[worker].kernels.iter();
        let expected: Vec<Vec<u32>> = kernels
            .map(|kernel| plan.queue(kernel.right_size.as_ref().unwrap()).unwrap())
            .map(|queue| plan.mask(queue).unwrap_or(&all).words().to_vec())
            .collect();
        assert_eq!(set, expected, "{label}");
    }
}

#[test]
fn unknown_kernels_take_the_default_queue_and_are_counted() {
    let gpu = gpu();
    let plan = plan();
    let scheduler = scheduler(&gpu, &plan, Policy::Eclip);
    let mut worker = scheduler.worker("W1").unwrap();
    let chain = Chain::new(&gpu, &worker, 2);
    chain.submit(&mut worker, 0);
    // Two kernels more than the plan has, one of them of a name that it does not have.
    let counters = gpu.agent.alloc::<u32>(N as usize).unwrap();
    let increment = gpu.module("vector").kernel("increment").unwrap();
    let more = increment.dispatch([N, 1, 1], [64, 1, 1]).arg(&counters).arg(N);
    let token = worker.dispatch(&more).unwrap();
    assert_eq!(token.queue_label(), "W1 all");
    worker.dispatch(&more).unwrap();
    let token = worker.end_request().unwrap().unwrap();
    token.wait_timeout(PATIENCE).unwrap();
    assert_eq!(counters.to_vec().unwrap(), vec![2; N as usize]);
    let request = worker.last_request();
    assert_eq!((request.kernels, request.unknown, request.markers), (KERNELS as u64 + 2, 2, 1));
    // A name in the wrong place: the first copy_u32 (index 1) is found by its name, the first kernel is not there.
    let named = worker.prepare_as("nothing", more.clone()).unwrap();
    assert_eq!(worker.submit(&named).unwrap().queue_label(), "W1 all");
    assert_eq!(worker.submit(&chain.kernels[0]).unwrap().queue_label(), "W1 30");
    assert_eq!((worker.total().unknown, worker.total().by_name), (3, 1));
    worker.wait(PATIENCE).unwrap();
}

#[test]
fn a_kernel_that_leaves_the_plan_still_waits_for_the_one_before() {
    let gpu = gpu();
    let scheduler = scheduler(&gpu, &plan(), Policy::Eclip);
    let mut worker = scheduler.worker("W1").unwrap();
    let module = gpu.module("vector");
    let [fill, copy] = ["fill_u32", "copy_u32"].map(|name| module.kernel(name).unwrap());
    let hand = gpu.agent.alloc::<u32>(N as usize).unwrap();
    let arrived = gpu.agent.alloc::<u32>(N as usize).unwrap();
    let on = |kernel: &Kernel| kernel.dispatch([N, 1, 1], [64, 1, 1]);
    let fill = worker.prepare(on(&fill).arg(&hand).arg(0u32).arg(N)).unwrap();
    let copy = worker.prepare_as("another", on(&copy).arg(&hand).arg(&arrived).arg(N)).unwrap();
    for number in 1..=20 {
        worker.begin_request();
        let first = worker.submit_patched(&fill, &[Patch::new(0, 1, number)]).unwrap();
        assert_eq!(first.visibility(), Visibility::Queue, "its successor is planned for the same queue");
        assert_eq!(worker.submit(&copy).unwrap().queue_label(), "W1 all");
        worker.end_request().unwrap().unwrap().wait_timeout(PATIENCE).unwrap();
        assert_eq!(arrived.to_vec().unwrap(), vec![number; N as usize]);
        let request = worker.last_request();
        assert_eq!((request.kernels, request.unknown), (2, 1));
        assert_eq!(request.markers, 2, "one for the kernel that left, one for the host");
    }
}

#[test]
fn requests_end_by_count_or_where_they_are_said_to() {
    let gpu = gpu();
    let plan = plan();
    let scheduler = measuring(&gpu, &plan, Policy::Eclip);
    let mut worker = scheduler.worker("W2").unwrap();
    assert!(worker.end_request().unwrap().is_none(), "nothing was submitted");
    let chain = Chain::new(&gpu, &worker, 4);
    worker.count_requests();
    for request in 0..4 {
        chain.submit(&mut worker, request);
    }
    worker.wait(PATIENCE).unwrap();
    chain.check();
    let total = worker.total();
    assert_eq!((total.requests, total.unknown, total.markers), (4, 0, 0), "one without kernels is none");
    assert!(worker.end_request().unwrap().is_some());
    assert_eq!((worker.total().requests, worker.last_request().kernels), (4, KERNELS as u64));
    assert_eq!(total.queue_ns.iter().filter(|ns| **ns > 0).count(), 4);
}

#[test]
fn what_does_not_fit_is_refused() {
    let gpu = gpu();
    let plan = plan();
    let text = |plan: &Plan, policy, pool: Pool| Scheduler::new(pool, plan, policy).unwrap_err().to_string();
    let pool = || Scheduler::pool(&gpu.agent, &plan, Policy::Eclip).unwrap().build().unwrap();

    let other = changed(|plan| {
        plan.queues[1].mask = Some("0x333333333333333".into());
        plan.queues[6].label = "W1 full".into();
        plan.workers[0].default = "W1 full".into();
        plan.workers[0].kernels[7].queue = "W1 full".into();
        plan.workers[0].kernels.iter_mut().for_each(|kernel| kernel.right_size = None);
    });
    let error = text(&other, Policy::Eclip, pool());
    for part in [
        "two workers: the plan was made for another pool: ",
        "queue W1 30: plan says 0x333333333333333 (30 CUs: 15+15+0+0), pool has 0x555555555555555 (30 CUs: 15+0+15+0); ",
        "the pool has no queue \"W1 full\" (all CUs); it has W1 15, W1 30, W1 45, W2 15, W2 30, W2 45, W1 all, W2 all",
    ] {
        assert!(error.contains(part), "{error}\n  lacks: {part}");
    }
    let elsewhere = changed(|plan| {
        plan.device.isa = "gfx90a".into();
        plan.device.product = Some("AMD Instinct MI210".into());
    });
    let error = Scheduler::new(pool(), &elsewhere, Policy::Eclip).unwrap_err();
    let Error::Plan(ref wrong) = error else { panic!("{error}") };
    assert!(matches!(&wrong.problem, PlanProblem::Pool(differences) if differences.len() == 2), "{error}");
    // Not even a pool is made of it.
    let error = Scheduler::pool(&gpu.agent, &elsewhere, Policy::Eclip).unwrap_err().to_string();
    assert!(error.contains("the plan is for gfx90a, the pool's GPU is gfx906"), "{error}");
    let error = text(&other, Policy::KwStream, pool());
    assert!(error.contains("worker[0].kernels[0].right_size: policy kw-stream needs"), "{error}");

    let scheduler = Scheduler::new(pool(), &plan, Policy::Eclip).unwrap();
    let unknown = scheduler.worker("W3").unwrap_err().to_string();
    assert!(unknown.contains("no worker \"W3\"; its workers are \"W1\", \"W2\""), "{unknown}");
    let mut first = scheduler.worker("W1").unwrap();
    let twice = scheduler.worker("W1").unwrap_err().to_string();
    assert!(twice.contains("is in use"), "{twice}");
    let second = scheduler.worker("W2").unwrap();
    let chain = Chain::new(&gpu, &second, 1);
    let wrong = first.submit(&chain.kernels[0]).unwrap_err().to_string();
    assert!(wrong.contains("worker \"W1\" was given a kernel that another worker"), "{wrong}");
    drop(first);
    scheduler.worker("W1").unwrap();
}

#[test]
fn a_dead_queue_is_a_clear_error_and_the_other_worker_goes_on() {
    let gpu = gpu();
    let Some(_) = gpu.sim() else { return };
    let plan = plan();
    let scheduler = scheduler(&gpu, &plan, Policy::Eclip);
    let mut worker = scheduler.worker("W1").unwrap();
    let mut other = scheduler.worker("W2").unwrap();
    let illegal = gpu.module("fault").kernel("illegal").unwrap();
    let out = gpu.agent.alloc::<u32>(64).unwrap();
    worker.dispatch(&illegal.dispatch([64, 1, 1], [64, 1, 1]).arg(&out)).unwrap();
    let error = worker.wait(PATIENCE).unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    let chain = Chain::new(&gpu, &worker, 1);
    let error = worker.submit(&chain.kernels[0]).unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(error.to_string().contains("W1 all failed"), "{error}");
    let chain = Chain::new(&gpu, &other, 1);
    chain.submit(&mut other, 0);
    other.wait(PATIENCE).unwrap();
    chain.check();
    // A new worker begins anew, up to the kernel that goes to the dead queue.
    drop(worker);
    let mut worker = scheduler.worker("W1").unwrap();
    let chain = Chain::new(&gpu, &worker, 1);
    for kernel in &chain.kernels[..KERNELS - 1] {
        worker.submit(kernel).unwrap();
    }
    assert!(matches!(worker.submit(&chain.kernels[KERNELS - 1]), Err(Error::Failed(_))));
    worker.wait(PATIENCE).unwrap();
    // With the queue replaced all is well.
    drop((worker, other));
    let mut pool = scheduler.into_pool().unwrap();
    let dead = pool.queues().iter().position(|queue| queue.failure().is_some()).unwrap();
    pool.replace(dead).unwrap();
    let scheduler = Scheduler::new(pool, &plan, Policy::Eclip).unwrap();
    run(&gpu, &scheduler, 5);
}

#[test]
fn full_rings_hold_a_worker_up_and_nothing_else() {
    let gpu = gpu();
    for (plan, queues) in [(plan(), 8), (sharing(), 7)] {
        let pool = Scheduler::pool(&gpu.agent, &plan, Policy::Eclip).unwrap().each(|queue| queue.size(64));
        let scheduler = Scheduler::new(pool.build().unwrap(), &plan, Policy::Eclip).unwrap();
        let workers = run(&gpu, &scheduler, 400);
        assert!(workers.iter().all(|worker| worker.total().kernels == 400 * KERNELS as u64));
        drop(workers);
        assert_eq!(scheduler.into_pool().unwrap().queues().len(), queues);
    }
}

#[test]
fn a_pool_whose_masks_were_set_by_kw_ioctl_can_be_used_again() {
    let gpu = gpu();
    let plan = plan();
    let scheduler = scheduler(&gpu, &plan, Policy::KwIoctl);
    drop(run(&gpu, &scheduler, 2));
    let mut pool = scheduler.into_pool().unwrap();
    assert!(pool.queues().iter().all(|queue| queue.mask().is_some()), "they keep the mask that was set last");
    pool.replace(1).unwrap();
    let scheduler = Scheduler::new(pool, &plan, Policy::KwIoctl).unwrap();
    drop(run(&gpu, &scheduler, 2));
    // Another policy relies on the masks of the plan.
    let pool = scheduler.into_pool().unwrap();
    let mask = CuMask::shader_engines(gpu.agent.topology().unwrap(), &[0]).unwrap();
    pool[0].remask(&mask, PATIENCE).unwrap();
    let error = Scheduler::new(pool, &plan, Policy::Baseline).unwrap_err().to_string();
    assert!(error.contains("queue W1 all: plan says all CUs, pool has 0x111111111111111"), "{error}");
}

#[test]
fn waiting_ends_in_time_although_a_queue_is_full() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let plan = plan();
    let pool = Scheduler::pool(&gpu.agent, &plan, Policy::Baseline).unwrap().each(|queue| queue.size(64));
    let there = || (0..4096).filter(|&id| sim.processor().hardware_queue(id).is_some()).collect::<Vec<u32>>();
    gpu.agent.upload(&[0u32]).unwrap();
    let _first = gpu.queue();
    let before = there();
    let scheduler = Scheduler::new(pool.build().unwrap(), &plan, Policy::Baseline).unwrap();
    let stalled: Vec<u32> = there().into_iter().filter(|id| !before.contains(id)).collect();
    stalled.iter().for_each(|&id| sim.processor().stall_queue(id).unwrap());
    let mut worker = scheduler.worker("W1").unwrap();
    let empty = gpu.module("misc").kernel("empty").unwrap().dispatch([1, 1, 1], [1, 1, 1]);
    let empty = worker.prepare(empty).unwrap();
    worker.set_patience(Duration::ZERO);
    let full = loop {
        if let Err(error) = worker.submit(&empty) {
            break error;
        }
    };
    assert!(matches!(full, Error::WouldBlock { .. }), "{full}");
    // Longer than the wait: only that counts.
    worker.set_patience(PATIENCE);
    let begin = Instant::now();
    let error = worker.wait(Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(begin.elapsed() < PATIENCE / 2);
    stalled.iter().for_each(|&id| sim.processor().resume_queue(id).unwrap());
    worker.wait(PATIENCE).unwrap();
}
