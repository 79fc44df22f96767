//! A memory fault takes the GPU from the process, and everybody hears of it. Alone in its executable for that reason.

use eclip_hsa::{Error, Failure};
use eclip_tests::{PATIENCE, gpu};

#[test]
fn a_memory_fault_reaches_every_token_of_the_gpu() {
    let gpu = gpu();
    let [bad, other] = [gpu.queue(), gpu.queue()];
    let store = gpu.module("fault").kernel("store_to").unwrap();
    // An address that no allocation has.
    let dispatch = store.dispatch([64, 1, 1], [64, 1, 1]).arg(0x1000u64).arg(1u32);
    let token = bad.dispatch(dispatch, PATIENCE).unwrap();
    let error = token.wait_timeout(PATIENCE).unwrap_err();
    let Error::Failed(failure) = &error else { panic!("{error}") };
    assert!(matches!(**failure, Failure::MemoryFault { address: 0x1000, .. }), "{error}");
    assert!(error.to_string().contains("page not present"), "{error}");
    // The driver evicts every queue of the process, so nothing more is accepted, and nothing hangs.
    assert!(matches!(other.barrier_and(&[], PATIENCE), Err(Error::Failed(_))));
    assert!(gpu.agent.alloc::<u32>(1).is_err());
    assert!(eclip_hsa::Queue::builder(&gpu.agent).create().is_err());
}
