//! The completion thread, its futures and its callbacks.

use std::future::Future;
use std::pin::pin;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use eclip_hsa::{Completions, Error, Queue, Result, Visibility};
use eclip_tests::{PATIENCE, gpu, newest_queue};

/// Runs one future on this thread, sleeping until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    #[derive(Default)]
    struct Bell(Mutex<bool>, Condvar);
    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() = true;
            self.1.notify_one();
        }
    }
    let bell = Arc::new(Bell::default());
    let waker = bell.clone().into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let rung = bell.0.lock().unwrap();
        let (mut rung, timeout) = bell.1.wait_timeout_while(rung, PATIENCE, |rung| !*rung).unwrap();
        assert!(!timeout.timed_out(), "nobody woke the future");
        *rung = false;
    }
}

#[test]
fn futures_end_with_their_work() {
    let gpu = gpu();
    let completions = Completions::start(&gpu.agent).unwrap();
    let queue = gpu.queue();
    let empty = gpu.module("misc").kernel("empty").unwrap();
    for _ in 0..50 {
        let token = queue.dispatch(empty.dispatch([64, 1, 1], [64, 1, 1]), PATIENCE).unwrap();
        block_on(completions.watch(&token).unwrap()).unwrap();
        assert!(token.is_done().unwrap());
    }
    assert_eq!(completions.watched(), 0);
}

#[test]
fn a_sleeping_thread_notices_new_work_and_its_end() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let completions = Completions::start(&gpu.agent).unwrap();
    let slow = gpu.queue();
    let id = newest_queue(&sim);
    let fast = gpu.queue();
    sim.processor().stall_queue(id).unwrap();
    let late = completions.watch(&slow.barrier_and(&[], PATIENCE).unwrap()).unwrap();
    std::thread::sleep(Duration::from_millis(30));
    block_on(completions.watch(&fast.barrier_and(&[], PATIENCE).unwrap()).unwrap()).unwrap();
    assert_eq!(completions.watched(), 1);
    sim.processor().resume_queue(id).unwrap();
    block_on(late).unwrap();
}

#[test]
fn callbacks_are_called_once_each() {
    let gpu = gpu();
    let completions = Completions::start(&gpu.agent).unwrap();
    let queue = Queue::builder(&gpu.agent).size(1024).create().unwrap();
    let (sender, receiver) = mpsc::channel::<(u32, Result<()>)>();
    completions
        .then(&queue.barrier_and(&[], PATIENCE).unwrap(), |_| panic!("a callback's own panic"))
        .unwrap();
    for number in 0..300 {
        let sender = sender.clone();
        let token = queue.barrier_and(&[], PATIENCE).unwrap();
        completions.then(&token, move |result| sender.send((number, result)).unwrap()).unwrap();
    }
    let mut seen: Vec<u32> = (0..300)
        .map(|_| receiver.recv_timeout(PATIENCE).unwrap())
        .map(|(number, result)| result.map(|()| number).unwrap())
        .collect();
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(0..300));
}

#[test]
fn lost_work_and_a_stopped_thread_end_futures_with_an_error() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let completions = Completions::start(&gpu.agent).unwrap();
    let stuck = |label| {
        let queue = Queue::builder(&gpu.agent).label(label).drain_timeout(Duration::ZERO).create().unwrap();
        sim.processor().stall_queue(newest_queue(&sim)).unwrap();
        queue
    };
    let lost = stuck("lost");
    let future = completions.watch(&lost.barrier_and(&[], PATIENCE).unwrap()).unwrap();
    drop(lost);
    assert!(block_on(future).unwrap_err().to_string().contains("lost was destroyed"));
    let stopped = stuck("stopped");
    let future = completions.watch(&stopped.barrier_and(&[], PATIENCE).unwrap()).unwrap();
    drop(completions);
    assert!(block_on(future).unwrap_err().to_string().contains("thread was stopped"));
}

#[test]
fn only_what_the_host_may_wait_for_is_watched() {
    let gpu = gpu();
    let completions = Completions::start(&gpu.agent).unwrap();
    let queue = gpu.queue();
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = eclip_hsa::KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    let token = group.on(&queue).visibility(Visibility::Agent).submit(PATIENCE).unwrap();
    assert!(matches!(completions.watch(&token), Err(Error::NotVisible { .. })));
}

#[test]
fn a_wakers_panic_ends_nobody_elses_completion() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("a waker's own panic");
        }
    }
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let completions = Completions::start(&gpu.agent).unwrap();
    let queue = gpu.queue();
    let id = newest_queue(&sim);
    sim.processor().stall_queue(id).unwrap();
    let token = queue.barrier_and(&[], PATIENCE).unwrap();
    let mut bad = pin!(completions.watch(&token).unwrap());
    assert!(bad.as_mut().poll(&mut Context::from_waker(&Arc::new(Bad).into())).is_pending());
    sim.processor().resume_queue(id).unwrap();
    while completions.watched() > 0 {
        std::thread::yield_now();
    }
    block_on(completions.watch(&token).unwrap()).unwrap();
    block_on(bad).unwrap();
}
