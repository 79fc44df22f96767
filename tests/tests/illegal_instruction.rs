//! An illegal instruction ends its queue with an error, and only that one.

use eclip_hsa::Error;
use eclip_tests::{PATIENCE, gpu};

#[test]
fn an_illegal_instruction_ends_its_queue_and_no_other() {
    let gpu = gpu();
    let [bad, good] = [gpu.queue(), gpu.queue()];
    let illegal = gpu.module("fault").kernel("illegal").unwrap();
    let out = gpu.agent.alloc_host::<u32>(64).unwrap();
    let token = bad.dispatch(illegal.dispatch([64, 1, 1], [64, 1, 1]).arg(&out), PATIENCE).unwrap();
    let error = token.wait_timeout(PATIENCE).unwrap_err();
    assert!(matches!(error, Error::Failed(_)), "{error}");
    assert!(error.to_string().to_lowercase().contains("illegal"), "{error}");
    // Sticky: every later call says the same, and nothing waits.
    assert_eq!(bad.barrier_and(&[], PATIENCE).unwrap_err().to_string(), error.to_string());
    assert_eq!(token.wait().unwrap_err().to_string(), error.to_string());
    assert!(good.barrier_and(&[token], PATIENCE).is_err());
    let fill = gpu.module("vector").kernel("fill_u32").unwrap();
    let x = gpu.agent.alloc_host::<u32>(64).unwrap();
    let fine =
        good.dispatch(fill.dispatch([64, 1, 1], [64, 1, 1]).arg(&x).arg(3u32).arg(64u32), PATIENCE).unwrap();
    fine.wait_timeout(PATIENCE).unwrap();
    assert_eq!(*x.map().unwrap(), [3; 64]);
}
