//! The pool: masks as the driver got them, budgets, and what is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use eclip_hsa::{CuMask, CuTopology, Error, KernelGroup, MaskRules, Pool, Queue};
use eclip_tests::{PATIENCE, gpu};
use kfd_sim::control::{Failure, When};

/// KFD's ioctl numbers (`linux/kfd_ioctl.h`).
const CREATE_QUEUE: u32 = 0x02;
const SET_CU_MASK: u32 = 0x1a;

#[test]
fn masks_reach_the_driver_once_and_as_asked() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let topology = gpu.agent.topology().unwrap();
    let before = sim.recorder().masks().len();
    let masks: Vec<CuMask> = [&[0][..], &[0, 2], &[0, 1, 2]]
        .map(|engines| CuMask::shader_engines(topology, engines).unwrap())
        .into();
    let mut builder = Pool::builder(&gpu.agent);
    for (index, mask) in masks.iter().enumerate() {
        builder = builder.masked(format!("q{index}"), mask.clone());
    }
    let pool = builder.unmasked("default").build().unwrap();
    let set: Vec<Vec<u32>> =
        sim.recorder().masks()[before..].iter().map(|record| record.mask.clone()).collect();
    let asked: Vec<Vec<u32>> = masks.iter().map(|mask| mask.words().to_vec()).collect();
    assert_eq!(set, asked, "one ioctl for each masked queue, none for the default");
    for queue in pool.queues() {
        queue.barrier_and(&[], PATIENCE).unwrap();
    }
    drop(pool);
    assert_eq!(sim.recorder().masks().len(), before + 3, "nothing changes a mask later");
}

#[test]
fn the_audit_names_everything() {
    let gpu = gpu();
    let topology = gpu.agent.topology().unwrap();
    let mask = CuMask::shader_engines(topology, &[0]).unwrap();
    let text = mask.to_string();
    let pool = Pool::builder(&gpu.agent).masked("w1", mask).unmasked("default").build().unwrap();
    let audit = pool.audit();
    assert_eq!(audit.warnings(), Vec::<String>::new());
    let report = audit.to_string();
    for part in ["2 asked for", &text, "default: all CUs", "scratch:"] {
        assert!(report.contains(part), "{part:?} is missing from:\n{report}");
    }
}

#[test]
fn more_queues_than_the_hardware_has_are_refused_unless_asked_for() {
    let gpu = gpu();
    let Some(hardware) = gpu.agent.hardware_queues() else {
        return eprintln!("skipped: the driver does not say how many queues there are");
    };
    let ask = |builder: eclip_hsa::PoolBuilder| {
        (0..=hardware).fold(builder, |builder, index| builder.unmasked(format!("q{index}")))
    };
    let error = ask(Pool::builder(&gpu.agent)).build().unwrap_err();
    assert!(matches!(error, Error::QueueBudget { .. }), "{error}");
    assert!(error.to_string().contains("allow_oversubscription"), "{error}");
    let pool = ask(Pool::builder(&gpu.agent)).allow_oversubscription().build().unwrap();
    assert_eq!(pool.queues().len() as u32, hardware + 1);
    assert!(pool.audit().warnings().iter().any(|warning| warning.contains("time-slices")));
    let one_more = Queue::builder(&gpu.agent).create().unwrap_err();
    assert!(matches!(one_more, Error::QueueBudget { .. }), "{one_more}");
}

#[test]
fn a_mask_of_another_gpu_is_refused() {
    let gpu = gpu();
    let other = Arc::new(CuTopology::uniform(2, 1, 3).unwrap());
    let error = Queue::builder(&gpu.agent).mask(CuMask::all(&other)).create().unwrap_err();
    assert!(matches!(error, Error::WrongAgent { .. }), "{error}");
    let error = CuMask::from_words(gpu.agent.topology().unwrap(), &[0; 8], MaskRules::STRICT).unwrap_err();
    assert!(error.to_string().contains("enables no CU"), "{error}");
}

#[test]
fn pools_without_queues_or_with_twins_are_refused() {
    let gpu = gpu();
    assert!(matches!(Pool::builder(&gpu.agent).build(), Err(Error::Invalid(_))));
    let twins = Pool::builder(&gpu.agent).unmasked("a").unmasked("a").build();
    assert!(matches!(twins, Err(Error::Invalid(_))));
}

#[test]
fn impossible_sizes_are_refused() {
    let gpu = gpu();
    for size in [0, 1, 100, 1 << 31] {
        let error = Queue::builder(&gpu.agent).size(size).create().unwrap_err();
        assert!(error.to_string().contains("powers of two"), "{error}");
    }
    assert!(Queue::builder(&gpu.agent).kernarg_bytes(usize::MAX).create().is_err());
}

#[test]
fn a_failing_ioctl_fails_the_pool_and_leaves_nothing_behind() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let topology = gpu.agent.topology().unwrap();
    let build = || {
        let masks = [0, 1].map(|se| CuMask::shader_engines(topology, &[se]).unwrap());
        let [a, b] = masks;
        Pool::builder(&gpu.agent).masked("a", a).masked("b", b).build()
    };
    // The first queue also makes ROCr's own.
    drop(build().unwrap());
    sim.recorder().fail(Failure { nr: SET_CU_MASK, errno: 22, when: When::Nth(2) });
    let error = build().unwrap_err();
    assert!(
        error.to_string().contains("hsa_amd_queue_cu_set_mask failed") && error.to_string().contains("b on"),
        "{error}"
    );
    sim.recorder().fail(Failure { nr: CREATE_QUEUE, errno: 12, when: When::Nth(2) });
    let error = build().unwrap_err();
    assert!(error.to_string().contains("hsa_queue_create failed"), "{error}");
    sim.recorder().clear_failures();
    let pool = build().unwrap();
    for queue in pool.queues() {
        queue.barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_queue_that_could_not_be_replaced_stays_dead_and_says_so() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let mut pool = Pool::builder(&gpu.agent).unmasked("stuck").build().unwrap();
    sim.processor().stall_queue(eclip_tests::newest_queue(&sim)).unwrap();
    let token = pool[0].barrier_and(&[], PATIENCE).unwrap();
    let hardware = gpu.agent.hardware_queues().unwrap();
    let extra = || Queue::builder(&gpu.agent).size(64).allow_oversubscription().create().unwrap();
    let others: Vec<Queue> = (0..hardware).map(|_| extra()).collect();
    assert!(matches!(pool.replace(0), Err(Error::QueueBudget { .. })));
    assert!(pool[0].failure().is_some() && token.wait().is_err());
    assert!(matches!(pool[0].try_barrier_and(&[]), Err(Error::Failed(_))));
    let drained = pool[0].drain(PATIENCE);
    assert!(matches!(drained, Err(Error::Failed(_))), "work was lost, and draining says {drained:?}");
    drop(others);
    pool.replace(0).unwrap();
    pool[0].barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

#[test]
fn a_template_of_another_agent_is_refused() {
    let gpu = gpu();
    let other = eclip_hsa::Runtime::new().unwrap().gpu(0).unwrap();
    let built = Pool::builder(&gpu.agent).unmasked("one").each(|_| Queue::builder(&other)).build();
    assert!(matches!(built, Err(Error::WrongAgent { .. })), "{built:?}");
}

#[test]
fn a_replaced_queue_has_the_mask_that_the_dead_one_had_last() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let topology = gpu.agent.topology().unwrap();
    let [first, last] = [[0], [3]].map(|engines| CuMask::shader_engines(topology, &engines).unwrap());
    let mut pool = Pool::builder(&gpu.agent).masked("moved", first).unmasked("all").build().unwrap();
    pool[0].remask(&last, PATIENCE).unwrap();
    let illegal = gpu.module("fault").kernel("illegal").unwrap();
    let out = gpu.agent.alloc::<u32>(2).unwrap();
    let bad = illegal.dispatch([1, 1, 1], [1, 1, 1]).arg(&out);
    assert!(pool[0].dispatch(bad, PATIENCE).unwrap().wait_timeout(PATIENCE).is_err());
    let before = sim.recorder().masks().len();
    pool.replace(0).unwrap();
    assert_eq!(pool[0].mask(), Some(last.clone()));
    let set: Vec<_> = sim.recorder().masks()[before..].iter().map(|record| record.mask.clone()).collect();
    assert_eq!(set, [last.words()], "it is set once, with the queue");
    pool.replace(1).unwrap();
    assert_eq!((pool[1].mask(), sim.recorder().masks().len()), (None, before + 1), "no mask is still none");
    pool.queues().iter().for_each(|queue| drop(queue.barrier_and(&[], PATIENCE).unwrap()));
}

/// Calls `check` while another thread goes on submitting to the queue.
fn while_others_submit(gpu: &eclip_tests::Gpu, queue: &Queue, check: impl FnOnce(&Queue)) {
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    let (stop, submitted) = (AtomicBool::new(false), AtomicU32::new(0));
    let count = || submitted.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // Full rings are no failure here.
                match group.on(queue).try_submit() {
                    Ok(_) => drop(submitted.fetch_add(1, Ordering::Relaxed)),
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        while count() == 0 {
            std::thread::yield_now();
        }
        let before = count();
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(queue)));
        // Or the other thread would never end.
        stop.store(true, Ordering::Relaxed);
        checked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(count() > before, "nobody is held up");
    });
}

#[test]
fn draining_and_masking_end_in_time_while_others_go_on_submitting() {
    const LIMIT: Duration = Duration::from_millis(100);
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = Queue::builder(&gpu.agent).size(1 << 14).create().unwrap();
    let id = eclip_tests::newest_queue(&sim);
    let mask = CuMask::shader_engines(gpu.agent.topology().unwrap(), &[0]).unwrap();
    // Nothing is ever complete: both end with the time-out, and the mask is the old one.
    sim.processor().stall_queue(id).unwrap();
    while_others_submit(&gpu, &queue, |queue| {
        let begin = Instant::now();
        let [drained, masked] = [queue.drain(LIMIT), queue.remask(&mask, LIMIT)];
        let took = begin.elapsed();
        assert!(matches!(drained, Err(Error::Timeout { .. })), "{drained:?}");
        assert!(matches!(masked, Err(Error::Timeout { .. })), "{masked:?}");
        assert!(took >= 2 * LIMIT && took < PATIENCE / 2, "{took:?}");
        assert_eq!(queue.mask(), None);
    });
    sim.processor().resume_queue(id).unwrap();
    // There may or may not be a moment in which nothing is in flight.
    while_others_submit(&gpu, &queue, |queue| {
        for _ in 0..20 {
            let before = queue.barrier_and(&[], PATIENCE).unwrap();
            let begin = Instant::now();
            match queue.drain(LIMIT) {
                Ok(()) => assert!(before.is_done().unwrap(), "submitted before the call, and not complete"),
                Err(error) => assert!(matches!(error, Error::Timeout { .. }), "{error}"),
            }
            assert!(begin.elapsed() < PATIENCE / 2);
        }
    });
    queue.remask(&mask, PATIENCE).unwrap();
    assert_eq!((queue.mask(), queue.unfinished()), (Some(mask), 0));
}
