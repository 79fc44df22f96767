//! Work that depends on nothing has a way of its own into the queue. It must leave the same packets there as the general way.

use eclip_hsa::{KernelGroup, Queue, Visibility};
use eclip_tests::{PATIENCE, gpu, newest_queue};

/// The packets at these indices of the queue's ring, without their completion signals' handles.
fn packets(queue: &Queue, range: std::ops::Range<usize>) -> Vec<[u32; 16]> {
    range
        .map(|index| {
            // SAFETY: the queue is alive and stands still, and the index is below its size.
            let mut packet =
                unsafe { (*queue.as_raw()).base_address.cast::<[u32; 16]>().add(index).read_volatile() };
            let signals = packet[14] != 0 || packet[15] != 0;
            packet[14..].fill(u32::from(signals));
            packet
        })
        .collect()
}

#[test]
fn plain_and_general_submissions_write_the_same_packets() {
    let gpu = gpu();
    let Some(sim) = gpu.sim() else { return };
    let queue = Queue::builder(&gpu.agent).size(256).create().unwrap();
    let id = newest_queue(&sim);
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let out = gpu.agent.alloc::<u32>(64).unwrap();
    let work = |value: u32| fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&out).arg(value).arg(64u32);
    let one = KernelGroup::of(work(1)).unwrap();
    let mut builder = KernelGroup::builder(&gpu.agent);
    builder.dispatch(work(2)).unwrap().dispatch(work(3)).unwrap().dispatch(work(4).barrier()).unwrap();
    let in_order = builder.build().unwrap();
    let concurrent = builder.concurrent().build().unwrap();
    builder.dispatch(work(5)).unwrap();
    let mixed = builder.build().unwrap();
    // Complete, so that depending on it takes the general way and changes nothing.
    let done = [one.on(&queue).submit(PATIENCE).unwrap()];
    done[0].wait_timeout(PATIENCE).unwrap();

    sim.processor().stall_queue(id).unwrap();
    let mut next = 1;
    let mut tokens = Vec::new();
    for group in [&one, &in_order, &concurrent, &mixed] {
        for visibility in [Visibility::Agent, Visibility::System] {
            let mut ways = Vec::new();
            for after in [&[][..], &done[..]] {
                let before = queue.packet_counts();
                let submission = group.on(&queue).after(after).visibility(visibility);
                tokens.push(submission.submit(PATIENCE).unwrap());
                let mut counts = queue.packet_counts() - before;
                assert_eq!(std::mem::take(&mut counts.elided_complete), after.len() as u64);
                ways.push((counts, packets(&queue, next..next + group.len())));
                next += group.len();
            }
            assert_eq!(ways[0], ways[1], "{group:?} {visibility:?}");
        }
    }
    sim.processor().resume_queue(id).unwrap();
    queue.drain(PATIENCE).unwrap();
    assert!(tokens.iter().all(|token| matches!(token.result(), Some(Ok(())))));
}
