//! Faults while four threads submit across queues: whatever was lost says so in bounded time ([`BOUND`]), and so does whatever waits
//! for it; other queues go on, and a dead queue of a pool is replaced. Memory faults are in `faults_memory.rs`: they take the whole GPU.

use std::time::{Duration, Instant};

use eclip_hsa::{CuMask, Error, Failure, Pool, Queue, Token};
use eclip_tests::storm::{BOUND, Storm};
use eclip_tests::{Gpu, PATIENCE, gpu, newest_queue};
use kfd_sim::control;

const CREATE_QUEUE: u32 = 0x02;
const CREATE_EVENT: u32 = 0x08;
const WAIT_EVENTS: u32 = 0x0c;
const ALLOC_MEMORY: u32 = 0x16;
const SET_CU_MASK: u32 = 0x1a;

/// Two families of three queues each.
const FAMILIES: [&[usize]; 2] = [&[0, 1, 2], &[3, 4, 5]];

fn pool(gpu: &Gpu) -> Pool {
    let halves = [[0, 2], [1, 3]]
        .map(|engines| CuMask::shader_engines(gpu.agent.topology().unwrap(), &engines).unwrap());
    let [one, other] = halves;
    Pool::builder(&gpu.agent)
        .each(|queue| queue.size(256).drain_timeout(Duration::from_millis(100)))
        .unmasked("a0")
        .masked("a1", one.clone())
        .unmasked("a2")
        .unmasked("b0")
        .masked("b1", other)
        .masked("b2", one)
        .build()
        .unwrap()
}

/// Kills a queue with a kernel that runs into an undefined opcode, and says how that is called.
fn kill(gpu: &Gpu, queue: &Queue) -> (Token, String) {
    let out = gpu.agent.alloc_host::<u32>(2).unwrap();
    let illegal = gpu.module("fault").kernel("illegal").unwrap();
    let token = queue.dispatch(illegal.dispatch([1, 1, 1], [1, 1, 1]).arg(&out), PATIENCE).unwrap();
    let words = words_of(&token);
    (token, words)
}

/// How the failure of a queue is called by the token that met it.
fn words_of(token: &Token) -> String {
    let error = token.wait_timeout(BOUND).expect_err("the kernel faults");
    let Error::Failed(failure) = error else { panic!("{error}") };
    let Failure::Queue { text, .. } = &*failure else { panic!("{failure}") };
    text.clone()
}

fn replace_the_dead(pool: &mut Pool) -> usize {
    let dead: Vec<usize> =
        (0..pool.queues().len()).filter(|&n| pool.queues()[n].failure().is_some()).collect();
    for &index in &dead {
        let (label, mask) = (pool.queues()[index].label().to_owned(), pool.queues()[index].mask());
        pool.replace(index).unwrap();
        assert_eq!((pool.queues()[index].label(), pool.queues()[index].mask()), (&*label, mask));
    }
    dead.len()
}

/// A kernel of `fault` strikes while four threads submit; afterwards the pool is as good as new.
fn a_kernel_faults(name: &str, takes_buffer: bool) {
    let gpu = gpu();
    let mut pool = pool(&gpu);
    let storm = Storm::new(&gpu, &FAMILIES);
    let kernel = gpu.module("fault").kernel(name).unwrap();
    let out = gpu.agent.alloc_host::<u32>(2).unwrap();
    let mut work = kernel.dispatch([1, 1, 1], [1, 1, 1]);
    if takes_buffer {
        work = work.arg(&out);
    }
    let words = storm.rage(pool.queues(), |storm| {
        let token = pool.queues()[0].dispatch(work, PATIENCE).unwrap();
        storm.add(0, &token);
        words_of(&token)
    });
    let ends = storm.reckon(&[0], &words);
    assert!(ends[0].1 > 0, "{ends:?}");
    for queue in FAMILIES[1] {
        let (well, lost) = ends[*queue];
        assert!(lost == 0 && well > 0, "{ends:?}");
        assert_eq!(storm.counted(*queue) as usize, well);
    }
    assert!(replace_the_dead(&mut pool) > 0);
    let again = Storm::new(&gpu, &FAMILIES);
    again.rage(pool.queues(), |storm| storm.await_submissions(300));
    let ends = again.reckon(&[], "");
    for (queue, &(well, lost)) in ends.iter().enumerate() {
        assert!(lost == 0 && well > 0, "{ends:?}");
        assert_eq!(again.counted(queue) as usize, well);
    }
}

#[test]
fn an_illegal_instruction_while_four_threads_submit() {
    a_kernel_faults("illegal", true);
}

#[test]
fn a_trap_while_four_threads_submit() {
    a_kernel_faults("trap_now", false);
}

/// Work on `queue` and, waiting for it directly and indirectly, on two others: tokens of all of it.
fn chain(queue: &Queue, others: &[Queue; 2]) -> Vec<Token> {
    let mut tokens: Vec<Token> = (0..4).map(|_| queue.barrier_and(&[], PATIENCE).unwrap()).collect();
    for round in 0..4 {
        let direct = others[0].barrier_and(&[tokens[round].clone()], PATIENCE).unwrap();
        let indirect = others[1].barrier_and(std::slice::from_ref(&direct), PATIENCE).unwrap();
        tokens.extend([direct, indirect]);
    }
    tokens
}

/// Four threads wait, without a limit, for all of these; `strike` breaks something. Returns what each wait ended with, and the time
/// from the strike to the last end.
fn waits_during(tokens: &[Token], strike: impl FnOnce()) -> (Vec<String>, Duration) {
    std::thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|thread| {
                scope.spawn(move || {
                    let mine = tokens.iter().skip(thread).step_by(4);
                    mine.map(|token| token.wait().expect_err("lost").to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        let begin = Instant::now();
        strike();
        let errors = waiting.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (errors, begin.elapsed())
    })
}

#[test]
fn waiting_threads_hear_of_a_fault_in_time() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let faulty = gpu.queue();
    let stalled = newest_queue(&sim);
    let [others, bystander] = [[gpu.queue(), gpu.queue()], [gpu.queue(), gpu.queue()]];
    sim.processor().stall_queue(stalled).unwrap();
    let out = gpu.agent.alloc_host::<u32>(2).unwrap();
    let illegal = gpu.module("fault").kernel("illegal").unwrap();
    let mut tokens =
        vec![faulty.dispatch(illegal.dispatch([1, 1, 1], [1, 1, 1]).arg(&out), PATIENCE).unwrap()];
    // Behind the kernel: it comes after it only if told so.
    tokens.push(faulty.barrier_and(&[tokens[0].clone()], PATIENCE).unwrap());
    let direct = others[0].barrier_and(&[tokens[1].clone()], PATIENCE).unwrap();
    tokens.push(others[1].barrier_and(std::slice::from_ref(&direct), PATIENCE).unwrap());
    tokens.push(direct);
    let (errors, took) = waits_during(&tokens, || sim.processor().resume_queue(stalled).unwrap());
    assert!(errors.len() == 4 && errors.iter().all(|e| e.to_lowercase().contains("illegal")), "{errors:?}");
    assert!(took < BOUND, "{took:?}");
    bystander[0].barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    println!("the last of four threads heard of the fault after {took:?}");
}

#[test]
fn dropping_a_queue_ends_every_wait_for_it() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let drain = Duration::from_millis(50);
    let lost = Queue::builder(&gpu.agent).label("lost").drain_timeout(drain).create().unwrap();
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let [others, bystander] = [[gpu.queue(), gpu.queue()], [gpu.queue(), gpu.queue()]];
    let tokens = chain(&lost, &others);
    let (errors, took) = waits_during(&tokens, || drop(lost));
    assert!(errors.len() == 12 && errors.iter().all(|e| e.contains("lost was destroyed")), "{errors:?}");
    assert!(took < drain + BOUND, "{took:?}");
    assert!(bystander[0].barrier_and(&tokens[..1], PATIENCE).is_err());
    bystander[1].barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}

#[test]
fn queues_dropped_with_what_waits_for_each_other_end_in_time() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let drain = Duration::from_millis(50);
    let make = |label: &str| Queue::builder(&gpu.agent).label(label).drain_timeout(drain).create().unwrap();
    let lost = make("lost");
    sim.processor().stall_queue(newest_queue(&sim)).unwrap();
    let others = [make("x"), make("y")];
    let tokens = chain(&lost, &others);
    // Those that wait first: nothing of them can finish while `lost` is held up.
    let (errors, took) = waits_during(&tokens, || drop((others, lost)));
    assert_eq!(errors.len(), 12);
    assert!(errors.iter().all(|error| error.contains("was destroyed")), "{errors:?}");
    assert!(took < 3 * drain + BOUND, "{took:?}");
}

#[test]
fn failing_calls_of_the_driver_are_errors_and_disturb_nobody() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let pool = pool(&gpu);
    let fail = |nr, errno, when| sim.recorder().fail(control::Failure { nr, errno, when });
    let storm = Storm::new(&gpu, &FAMILIES);
    // So that the threads themselves need nothing of the driver meanwhile.
    pool.queues().iter().for_each(|queue| queue.warm_up(queue.size()).unwrap());
    let half = CuMask::shader_engines(gpu.agent.topology().unwrap(), &[0, 1]).unwrap();
    let other = Queue::builder(&gpu.agent).mask(half.clone()).create().unwrap();
    storm.rage(pool.queues(), |storm| {
        fail(CREATE_QUEUE, libc::ENOMEM, control::When::Once);
        let error = Queue::builder(&gpu.agent).create().unwrap_err();
        assert!(matches!(error, Error::Hsa { .. }), "{error}");
        Queue::builder(&gpu.agent).create().unwrap();

        fail(SET_CU_MASK, libc::EINVAL, control::When::Once);
        let error = Queue::builder(&gpu.agent).mask(half.clone()).create().unwrap_err();
        assert!(matches!(error, Error::Hsa { .. }), "{error}");
        fail(SET_CU_MASK, libc::EINVAL, control::When::Once);
        let all = CuMask::all(gpu.agent.topology().unwrap());
        let error = other.remask(&all, PATIENCE).unwrap_err();
        assert!(matches!(error, Error::Hsa { .. }), "{error}");
        assert_eq!(other.mask(), Some(half.clone()), "it keeps the mask that it had");
        other.barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
        other.remask(&all, PATIENCE).unwrap();

        fail(ALLOC_MEMORY, libc::ENOMEM, control::When::Always);
        let error = gpu.agent.alloc::<u32>(1 << 22).unwrap_err();
        assert!(matches!(error, Error::Hsa { .. }), "{error}");
        sim.recorder().clear_failures();
        gpu.agent.alloc::<u32>(1 << 22).unwrap();

        // Waiting threads cannot sleep in the driver for a while.
        fail(WAIT_EVENTS, libc::EIO, control::When::Always);
        storm.await_submissions(200);
        let token = other.barrier_and(&[], PATIENCE).unwrap();
        token.wait_timeout(PATIENCE).unwrap();
        sim.recorder().clear_failures();
    });
    let ends = storm.reckon(&[], "");
    for (queue, &(well, lost)) in ends.iter().enumerate() {
        assert!(lost == 0 && well > 0, "{ends:?}");
        assert_eq!(storm.counted(queue) as usize, well);
    }
}

#[test]
fn a_driver_without_events_is_an_error_or_costs_only_sleep() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = gpu.queue();
    let errno = libc::ENOSPC;
    sim.recorder().fail(control::Failure { nr: CREATE_EVENT, errno, when: control::When::Always });
    for _ in 0..20 {
        match queue.barrier_and(&[], PATIENCE) {
            // ROCr gave a signal without an event: it is looked at instead.
            Ok(token) => token.wait_timeout(PATIENCE).unwrap(),
            Err(error) => assert!(matches!(error, Error::Hsa { .. } | Error::Invalid(_)), "{error}"),
        }
    }
    sim.recorder().clear_failures();
    for _ in 0..20 {
        queue.barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    }
}

#[test]
fn a_replacement_that_fails_leaves_the_dead_queue_and_can_be_tried_again() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let mut pool = pool(&gpu);
    let (token, words) = kill(&gpu, &pool.queues()[1]);
    let errno = libc::ENOMEM;
    sim.recorder().fail(control::Failure { nr: CREATE_QUEUE, errno, when: control::When::Once });
    assert!(matches!(pool.replace(1), Err(Error::Hsa { .. })));
    let dead = &pool.queues()[1];
    assert_eq!(dead.label(), "a1");
    let error = dead.barrier_and(&[], PATIENCE).unwrap_err();
    assert!(matches!(error, Error::Failed(_)) && error.to_string().contains(&words), "{error}");
    pool.replace(1).unwrap();
    let alive = &pool.queues()[1];
    alive.barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    assert!(alive.mask().is_some() && alive.failure().is_none());
    // The dead queue's token still says what it said.
    assert!(token.wait().unwrap_err().to_string().contains(&words));
    assert!(alive.barrier_and(&[token], PATIENCE).is_err());
    assert!(matches!(pool.replace(6), Err(Error::Invalid(_))));
}
