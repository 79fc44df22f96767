//! Fault plans, stepping, traces, races, and memory that its owner takes away.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::rig::*;
use crate::caches::RaceKind;
use crate::cp::{CpError, MemoryModel};
use crate::journal::Event;
use crate::memory::{MemoryKind, Span};
use crate::plan::{Fault, FaultPlan, Followed, Rule};

fn follow(rig: &Rig, rules: Vec<Rule>) {
    let plan = FaultPlan { seed: 7, rules };
    plan.check().unwrap();
    *rig.interrupts.plan.lock().unwrap() = Followed::new(plan);
}

fn strike(fault: Fault, nth: u64) -> Rule {
    Rule { dispatch: Some("any".into()), fault: Some(fault), nth: Some(nth), ..Rule::default() }
}

#[test]
fn a_plan_decides_which_dispatch_fails_and_how() {
    for (fault, code) in
        [(Fault::IllegalInstruction, 0x4000_0000), (Fault::Trap, 0x8000_0000), (Fault::Aperture, 0x2000_0000)]
    {
        let rig = Rig::new();
        let queue = rig.queue(64);
        follow(&rig, vec![strike(fault, 2)]);
        let signals = [rig.signal(1), rig.signal(1)];
        for signal in signals {
            queue.dispatch(Kernel::Ns(10), BARRIER, signal);
        }
        rig.until(|| rig.value(queue.inactive) != 0, || "no error".into());
        assert_eq!((rig.value(queue.inactive), rig.value(signals[0]), rig.value(signals[1])), (code, 0, 1));
        let notes = rig.interrupts.notes.lock().unwrap().clone();
        assert!(notes.contains(&Event::Injected { queue: queue.id, index: 1, fault }), "{notes:?}");
    }
}

#[test]
fn a_planned_memory_fault_a_hang_a_delay_and_a_lost_interrupt() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    follow(&rig, vec![strike(Fault::LostInterrupt, 1), strike(Fault::Delay, 2), strike(Fault::Hang, 3)]);
    let (signal, _) = rig.interrupt_signal(1, 44);
    queue.dispatch(Kernel::Ns(10), 0, signal);
    rig.wait(signal, 0);
    assert!(rig.interrupts.events.lock().unwrap().is_empty());
    let signals = [rig.signal(1), rig.signal(1)];
    queue.dispatch(Kernel::Ns(10), 0, signals[0]);
    rig.wait(signals[0], 0);
    let slow = rig.cp.dispatch_log()[1].clone();
    assert!(slow.end_ns - slow.start_ns >= 10_000_000, "{slow:?}");
    queue.dispatch(Kernel::Ns(10), 0, signals[1]);
    rig.settle();
    assert_eq!(rig.value(signals[1]), 1);
    drop(queue);
    let queue = rig.queue(64);
    follow(&rig, vec![strike(Fault::MemoryFault, 1)]);
    queue.dispatch(Kernel::Ns(10), 0, signals[1]);
    rig.until(|| !rig.interrupts.faults.lock().unwrap().is_empty(), || "no fault".into());
}

#[test]
fn packets_are_stepped_one_at_a_time() {
    let rig = Rig::new();
    let queue = rig.queue(64);
    let patience = Duration::from_secs(10);
    assert_eq!(rig.cp.step(queue.id, patience), Err(CpError::NotStepping(queue.id)));
    rig.cp.set_stepping(true).unwrap();
    let signal = rig.signal(3);
    for _ in 0..3 {
        queue.dispatch(Kernel::Ns(1000), 0, signal);
    }
    rig.settle();
    assert_eq!(rig.value(signal), 3);
    for left in [2, 1] {
        let record = rig.cp.step(queue.id, patience).unwrap().expect("a packet");
        assert_eq!((record.index as i64, rig.value(signal)), (2 - left, left));
        rig.settle();
        assert_eq!(rig.value(signal), left, "one packet and no more");
    }
    let gate = rig.signal(1);
    let new = rig.queue(64);
    new.submit(barrier(3, 0, &[gate], 0));
    assert_eq!(rig.cp.step(new.id, Duration::from_millis(10)), Ok(None), "its dependency is not met");
    rig.cp.set_stepping(false).unwrap();
    rig.wait(signal, 0);
}

#[test]
fn traces_say_where_each_workgroup_ran() {
    let rig = Rig::new();
    rig.cp.set_tracing(true).unwrap();
    let queue = rig.queue(64);
    let signal = rig.signal(1);
    queue.submit(dispatch(rig.kernel(Kernel::Ns(5000)), 0, [70, 1, 1], signal));
    rig.wait(signal, 0);
    let (workgroups, _) = rig.cp.traced();
    assert_eq!(workgroups.len(), 70);
    let packet = rig.cp.dispatch_log()[0].clone();
    for group in &workgroups {
        assert!(group.start_ns >= packet.start_ns && group.end_ns <= packet.end_ns, "{group:?} {packet:?}");
        assert!(packet.cus_used[group.se as usize] >> (group.sh * 16 + group.cu) & 1 == 1);
    }
    let trace = rig.cp.trace();
    let slices = trace["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X").count();
    assert_eq!(slices, 71);
}

/// Races of two dispatches that store to the same word, the second one submitted as `submit` does while the queues stand still.
fn races(submit: impl Fn(&Rig, &TestQueue<'_>, &TestQueue<'_>, [u64; 2])) -> Vec<RaceKind> {
    let rig = Rig::new();
    rig.cp.set_race_detection(true).unwrap();
    assert_eq!(rig.cp.memory_model(), MemoryModel::Caches);
    let (a, b) = (rig.queue(64), rig.queue(64));
    let (from, to) = (rig.vram(), rig.vram());
    let object = rig.kernel(Kernel::Copy { from, to, ns: 10_000 });
    [&a, &b].iter().for_each(|queue| rig.cp.stall_queue(queue.id).unwrap());
    let signals = [rig.signal(1), rig.signal(1)];
    a.submit(dispatch(object, FENCES, [1, 1, 1], signals[0]));
    submit(&rig, &a, &b, [object, signals[1]]);
    // Both are published before either runs.
    rig.settle();
    [&a, &b].iter().for_each(|queue| rig.cp.resume_queue(queue.id).unwrap());
    rig.wait(signals[1], 0);
    rig.wait(signals[0], 0);
    let found = rig.cp.races();
    let noted = rig.interrupts.notes.lock().unwrap().iter().filter(|n| matches!(n, Event::Race(_))).count();
    assert_eq!(noted, found.len());
    for race in &found {
        assert_eq!((race.address, race.run, race.bytes), (to, 8, 8), "{race:?}");
        assert_ne!((race.first.queue, race.first.index), (race.second.queue, race.second.index));
    }
    found.into_iter().map(|race| race.kind).collect()
}

const FENCES: u16 = 2 << 9 | 2 << 11;

#[test]
fn dispatches_on_the_same_bytes_race_unless_something_orders_them() {
    let again = |header: u16| {
        move |_: &Rig, a: &TestQueue<'_>, _: &TestQueue<'_>, [object, signal]: [u64; 2]| {
            a.submit(dispatch(object, FENCES | header, [1, 1, 1], signal));
        }
    };
    assert_eq!(races(again(0)), [RaceKind::WriteWrite]);
    assert_eq!(races(again(BARRIER)), []);
    let elsewhere = |wait: bool| {
        move |rig: &Rig, a: &TestQueue<'_>, b: &TestQueue<'_>, [object, signal]: [u64; 2]| {
            let gate = rig.signal(1);
            a.submit(barrier(3, BARRIER, &[], gate));
            b.submit(barrier(3, 0, if wait { std::slice::from_ref(&gate) } else { &[] }, 0));
            b.submit(dispatch(object, FENCES, [1, 1, 1], signal));
        }
    };
    assert_eq!(races(elsewhere(false)), [RaceKind::WriteWrite]);
    assert_eq!(races(elsewhere(true)), []);
}

#[test]
fn readers_race_with_writers_and_atomics_only_with_others() {
    let rig = Rig::new();
    rig.cp.set_race_detection(true).unwrap();
    let queue = rig.queue(64);
    let (a, b, c) = (rig.vram(), rig.vram(), rig.vram());
    rig.cp.stall_queue(queue.id).unwrap();
    let signal = rig.signal(5);
    for kernel in [
        Kernel::Copy { from: a, to: b, ns: 10 },
        Kernel::Copy { from: c, to: a, ns: 20_000 },
        Kernel::Copy { from: a, to: a + 64, ns: 40_000 },
        Kernel::Increment(c),
        Kernel::Increment(c),
    ] {
        queue.submit(dispatch(rig.kernel(kernel), FENCES, [1, 1, 1], signal));
    }
    rig.cp.resume_queue(queue.id).unwrap();
    rig.wait(signal, 0);
    let mut found: Vec<_> = (rig.cp.races().into_iter())
        .map(|race| (race.first.index, race.second.index, race.kind, race.address))
        .collect();
    found.sort_unstable();
    let expected = [
        (0, 1, RaceKind::ReadWrite, a),
        (1, 2, RaceKind::WriteRead, a),
        (1, 3, RaceKind::Atomic, c),
        (1, 4, RaceKind::Atomic, c),
    ];
    assert_eq!(found, expected);
}

#[test]
fn memory_that_its_owner_takes_away_is_a_memory_fault() {
    const VA: u64 = 0x9000_0000;
    for protect in [false, true] {
        let rig = Rig::new();
        let queue = rig.queue(64);
        // SAFETY: a new mapping of our own, taken away below.
        let host = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        let kind = MemoryKind::Host;
        let span =
            Span { va: VA, len: 8192, host: host.cast(), memory: kind, writable: true, executable: false };
        // SAFETY: this breaks the contract on purpose: the device is to find out.
        unsafe {
            rig.space.map(span);
            if protect {
                libc::mprotect(host, 8192, libc::PROT_NONE);
            } else {
                libc::munmap(host, 8192);
            }
        }
        let signal = rig.signal(1);
        queue.dispatch(Kernel::Copy { from: VA + 4096 + 16, to: VA, ns: 10 }, 0, signal);
        rig.until(|| !rig.interrupts.faults.lock().unwrap().is_empty(), || "no fault".into());
        let (id, fault) = rig.interrupts.faults.lock().unwrap()[0];
        assert_eq!((id, fault.va, rig.value(signal)), (queue.id, VA + 4096 + 16, 1));
        // What the program has is as before.
        // SAFETY: asks only whether the pages are mapped.
        let there = unsafe { libc::mincore(host, 8192, [0u8; 2].as_mut_ptr()) == 0 };
        assert_eq!(there, protect);
        drop(queue);
        rig.release.store(true, SeqCst);
        let queue = rig.queue(64);
        queue.dispatch(Kernel::Ns(10), 0, signal);
        rig.wait(signal, 0);
    }
}
