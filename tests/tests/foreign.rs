//! Queues and signals of somebody else's: how another runtime embeds the library.

use std::ptr::null_mut;

use eclip_hsa::group::ForeignSignal;
use eclip_hsa::{CuMask, Error, KernelGroup, Queue, Recording};
use eclip_peers::neighbour::{self, Signal};
use eclip_tests::{Gpu, PATIENCE, gpu};
use hsa_sys::HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION;

/// A queue as another runtime would make it.
fn theirs(gpu: &Gpu) -> neighbour::Queue {
    neighbour::Queue::new(gpu.agent.runtime().hsa(), gpu.agent.handle(), 256).unwrap()
}

fn signal(gpu: &Gpu, value: i64) -> Signal {
    Signal::new(gpu.agent.runtime().hsa(), value).unwrap()
}

#[test]
fn two_owners_share_a_queue() {
    let gpu = gpu();
    let theirs = theirs(&gpu);
    let increment = gpu.module("vector").kernel("increment").unwrap();
    let counters = gpu.agent.alloc_host::<u32>(64).unwrap();
    let group =
        KernelGroup::of(increment.dispatch([64, 1, 1], [64, 1, 1]).arg(&counters).arg(64u32)).unwrap();
    // SAFETY: the queue is a live multi-producer queue of this GPU, whose other producer uses the index functions; it outlives `ours`.
    let ours = unsafe { Queue::builder(&gpu.agent).label("adopted").adopt(theirs.raw()) }.unwrap();
    let other = gpu.queue();
    let done = signal(&gpu, 500);
    std::thread::scope(|scope| {
        let (theirs, done) = (&theirs, &done);
        scope.spawn(move || (0..500).for_each(|_| theirs.barrier(None, done)));
        let mut last = None;
        for round in 0..300 {
            let queue = if round % 3 == 0 { &other } else { &ours };
            last = Some(group.on(queue).after(last.as_slice()).submit(PATIENCE).unwrap());
        }
        last.unwrap().wait_timeout(PATIENCE).unwrap();
    });
    assert_eq!(*counters.map().unwrap(), [300; 64]);
    drop(ours);
    theirs.barrier(None, &done);
    assert!(done.becomes(-1, PATIENCE), "their packets ran, and the queue is alive without us");
}

#[test]
fn foreign_signals_hold_work_up_and_are_told_of_its_end() {
    let gpu = gpu();
    let queue = gpu.queue();
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let out = gpu.agent.alloc::<u32>(64).unwrap();
    let group =
        KernelGroup::of(fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&out).arg(5u32).arg(64u32)).unwrap();
    let (gate, told) = (signal(&gpu, 1), signal(&gpu, 1));
    // SAFETY: both signals live longer than the work; the gate is opened once.
    let [gate_of, told_of] =
        [&gate, &told].map(|signal| unsafe { ForeignSignal::new(&gpu.agent, signal.raw()) });
    let token = group.on(&queue).after_signals(&[gate_of, gate_of]).notify(told_of).submit(PATIENCE).unwrap();
    assert!(token.wait_timeout(std::time::Duration::from_millis(30)).is_err());
    assert_eq!((told.value(), queue.packet_counts().barriers), (1, 2));
    gate.set(0);
    token.wait_timeout(PATIENCE).unwrap();
    queue.drain(PATIENCE).unwrap();
    assert!(told.becomes(0, PATIENCE));
    assert_eq!(out.to_vec().unwrap(), vec![5; 64]);
}

#[test]
fn what_cannot_be_adopted_is_refused() {
    let gpu = gpu();
    // SAFETY: refused before it is used.
    assert!(unsafe { Queue::builder(&gpu.agent).adopt(null_mut()) }.is_err());
    let multi = theirs(&gpu);
    let mask = CuMask::shader_engines(gpu.agent.topology().unwrap(), &[0]).unwrap();
    // SAFETY: as above.
    assert!(unsafe { Queue::builder(&gpu.agent).mask(mask.clone()).adopt(multi.raw()) }.is_err());
    // SAFETY: a live queue of this GPU that nobody else writes to; it outlives `ours`.
    let ours = unsafe { Queue::builder(&gpu.agent).adopt(multi.raw()) }.unwrap();
    ours.remask(&mask, PATIENCE).unwrap();
    assert_eq!(ours.mask(), Some(mask));
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let mut recorder = Recording::builder(&gpu.agent);
    recorder.add(&KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap(), 0, &[]).unwrap();
    let queues = [ours];
    let error = recorder.build().unwrap().on(&queues).try_submit().unwrap_err();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

#[test]
fn a_reported_error_ends_an_adopted_queues_work() {
    let gpu = gpu();
    let theirs = theirs(&gpu);
    // SAFETY: a live queue of this GPU that nobody else writes to; it outlives `ours`.
    let ours = unsafe { Queue::builder(&gpu.agent).label("adopted").adopt(theirs.raw()) }.unwrap();
    let gate = signal(&gpu, 1);
    // SAFETY: the signal lives longer than the work.
    let gate_of = unsafe { ForeignSignal::new(&gpu.agent, gate.raw()) };
    let empty = gpu.module("misc").kernel("empty").unwrap();
    let group = KernelGroup::of(empty.dispatch([64, 1, 1], [64, 1, 1])).unwrap();
    let token = group.on(&ours).after_signals(&[gate_of]).submit(PATIENCE).unwrap();
    ours.report_error(HSA_STATUS_ERROR_ILLEGAL_INSTRUCTION);
    assert!(matches!(token.wait(), Err(Error::Failed(_))));
    assert!(matches!(group.on(&ours).try_submit(), Err(Error::Failed(_))));
    gate.set(0);
}

#[test]
fn the_host_reads_what_work_wrote_on_an_adopted_queue_that_was_given_up() {
    let gpu = gpu();
    let theirs = theirs(&gpu);
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let out = gpu.agent.alloc::<u32>(256).unwrap();
    let group =
        KernelGroup::of(fill.dispatch([256, 1, 1], [64, 1, 1]).arg(&out).arg(7u32).arg(256u32)).unwrap();
    // SAFETY: the queue is alive until the end, and everybody uses the index functions.
    let ours = unsafe { Queue::builder(&gpu.agent).adopt(theirs.raw()) }.unwrap();
    group.on(&ours).visibility(eclip_hsa::Visibility::Agent).submit(PATIENCE).unwrap();
    drop(ours);
    assert_eq!(out.to_vec().unwrap(), [7; 256]);
}
