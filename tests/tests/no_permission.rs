//! `/dev/kfd` may not be opened. Alone in its executable: ROCr 5.7 keeps the file open from one start to the next, so that
//! only the first start in a process opens it.

use eclip_hsa::{Error, Runtime};
use eclip_tests::{sim, turn};
use kfd_sim::control::{Failure, OPEN, When};

#[test]
fn without_permission_the_error_says_whom_to_ask() {
    let _turn = turn();
    let Some(sim) = sim() else { return };
    sim.recorder().fail(Failure { nr: OPEN, errno: 13, when: When::Always });
    let error = Runtime::new().map(drop).unwrap_err();
    sim.recorder().clear_failures();
    assert!(matches!(error, Error::NoPermission { .. }), "{error}");
    assert!(error.to_string().contains("render"), "{error}");
    assert!(Runtime::new().is_ok(), "it works again with the permission");
}
