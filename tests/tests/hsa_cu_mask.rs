//! `HSA_CU_MASK` in the environment. Alone in its executable, because it changes the environment.

use eclip_hsa::{CuMask, Error, Pool};
use eclip_tests::{PATIENCE, gpu};

#[test]
fn hsa_cu_mask_is_refused_unless_allowed() {
    // SAFETY: the only test of this executable, and no other thread reads the environment yet.
    unsafe { std::env::set_var("HSA_CU_MASK", "0:0-7") };
    let gpu = gpu();
    let mask = CuMask::shader_engines(gpu.agent.topology().unwrap(), &[0]).unwrap();
    let builder = || Pool::builder(&gpu.agent).masked("masked", mask.clone());
    let error = builder().build().unwrap_err();
    assert!(matches!(error, Error::HsaCuMaskSet { .. }), "{error}");
    assert!(error.to_string().contains("0:0-7"), "{error}");
    let pool = builder().allow_hsa_cu_mask().build().unwrap();
    let warnings = pool.audit().warnings().join("\n");
    assert!(warnings.contains("HSA_CU_MASK=0:0-7"), "{warnings}");
    pool[0].barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}
