//! `HSA_CU_MASK` in the environment. Alone in its executable, because it changes the environment.

use eclip_hsa::cu_mask::MaskError;
use eclip_hsa::{Agent, CuId, CuMask, Error, MaskRules, Pool};
use eclip_tests::{PATIENCE, gpu};

const ANY: MaskRules = MaskRules::STRICT.allow_empty_engines().allow_unbalanced();

/// A CU that `HSA_CU_MASK=0:0-7` takes away.
fn far(agent: &Agent) -> Vec<CuId> {
    agent.topology().unwrap().mask_bits()[20..21].to_vec()
}

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
    let unmasked = Pool::builder(&gpu.agent).unmasked("all").build().unwrap_err();
    assert!(matches!(unmasked, Error::HsaCuMaskSet { .. }), "ROCr masks these, too: {unmasked}");
    let pool = builder().allow_hsa_cu_mask().build().unwrap();
    let warnings = pool.audit().warnings().join("\n");
    assert!(warnings.contains("HSA_CU_MASK=0:0-7"), "{warnings}");
    let nothing_left = CuMask::from_cus(gpu.agent.topology().unwrap(), &far(&gpu.agent), ANY).unwrap();
    let error =
        Pool::builder(&gpu.agent).masked("nothing", nothing_left).allow_hsa_cu_mask().build().unwrap_err();
    assert!(matches!(error, Error::Mask(MaskError::Empty)), "{error}");
    pool[0].barrier_and(&[], PATIENCE).unwrap().wait_timeout(PATIENCE).unwrap();
}
