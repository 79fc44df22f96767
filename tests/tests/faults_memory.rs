//! A memory fault while four threads submit: the driver takes every queue of the process from the GPU, so every unfinished token of
//! every queue ends with that error, in bounded time. Alone in its executable for that reason.

use eclip_hsa::{Error, Failure, Queue};
use eclip_tests::storm::{BOUND, Storm};
use eclip_tests::{PATIENCE, gpu};

#[test]
fn a_memory_fault_while_four_threads_submit() {
    let gpu = gpu();
    let queues: Vec<Queue> = (0..6).map(|_| gpu.queue()).collect();
    let storm = Storm::new(&gpu, &[&[0, 1, 2], &[3, 4, 5]]);
    let store = gpu.module("fault").kernel("store_to").unwrap();
    // Nobody submits after the fault, so the threads may only stop: their submissions are refused.
    let error = storm.rage_to_the_end(&queues, || {
        let token = queues[0]
            .dispatch(store.dispatch([1, 1, 1], [1, 1, 1]).arg(0x1000u64).arg(1u32), PATIENCE)
            .unwrap();
        storm.add(0, &token);
        token.wait_timeout(BOUND).unwrap_err()
    });
    let Error::Failed(failure) = &error else { panic!("{error}") };
    assert!(matches!(**failure, Failure::MemoryFault { address: 0x1000, .. }), "{error}");
    let ends = storm.reckon(&[0, 1, 2, 3, 4, 5], "0x1000");
    assert!(ends[0].1 > 0 && ends.iter().any(|(well, _)| *well > 0), "{ends:?}");
    assert!(storm.refused() > 0);
    for queue in &queues {
        assert!(matches!(queue.barrier_and(&[], PATIENCE), Err(Error::Failed(_))), "{}", queue.label());
    }
}
