//! Submission slots: what happens when all of a queue's are taken.

use std::time::Duration;

use eclip_hsa::{Error, KernelGroup, Queue, Visibility};
use eclip_tests::{PATIENCE, gpu, newest_queue};

/// Slots that others wait for are taken although their work is complete; work without a signal asks for one more to be swept.
#[test]
fn a_queue_out_of_slots_refuses_and_does_not_wait_for_itself() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let first = Queue::builder(&gpu.agent).label("first").size(64).create().unwrap();
    let stalled = Queue::builder(&gpu.agent).label("stalled").size(256).create().unwrap();
    let id = newest_queue(&sim);
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let out = gpu.agent.alloc::<u32>(64).unwrap();
    let kernel = fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&out).arg(7u32).arg(64u32);
    let kernel = KernelGroup::of(kernel).unwrap();
    sim.processor().stall_queue(id).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..60 {
        let token = kernel.on(&first).visibility(Visibility::Agent).submit(PATIENCE).unwrap();
        waiting.push(kernel.on(&stalled).after(&[token]).submit(PATIENCE).unwrap());
    }
    let refused = loop {
        match kernel.on(&first).visibility(Visibility::Queue).submit(Duration::from_millis(20)) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::WouldBlock { .. }), "{refused}");
    sim.processor().resume_queue(id).unwrap();
    for token in waiting {
        token.wait_timeout(PATIENCE).unwrap();
    }
    kernel.on(&first).submit(PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
    first.drain(PATIENCE).unwrap();
    assert_eq!(out.to_vec().unwrap(), [7; 64]);
}
