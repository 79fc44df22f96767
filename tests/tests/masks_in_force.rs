//! Masks as kernels see them: the CUs that a probe kernel finds itself on are those that were asked for.

use eclip_hsa::observe::observe;
use eclip_hsa::{CuMask, MaskRules, Pool};
use eclip_tests::{PATIENCE, gpu};

/// Workgroups for each CU: enough that every CU gets some.
const ROUNDS: u32 = 8;

#[test]
fn kernels_run_on_exactly_the_cus_of_their_queues_mask() {
    let gpu = gpu();
    let topology = gpu.agent.topology().unwrap();
    let engines = topology.shader_engines();
    let mut masks: Vec<CuMask> =
        (0..engines).map(|se| CuMask::shader_engines(topology, &[se]).unwrap()).collect();
    masks.push(CuMask::all(topology));
    let few = vec![3.min(topology.cus_in_se(0)); engines as usize];
    masks.push(CuMask::per_shader_engine(topology, &few).unwrap());
    let lopsided: Vec<u32> = (0..engines).map(|se| if se == 0 { topology.cus_in_se(0) } else { 1 }).collect();
    let rules = MaskRules::STRICT.allow_unbalanced();
    masks.push(CuMask::per_shader_engine_with(topology, &lopsided, rules).unwrap());

    let mut builder = Pool::builder(&gpu.agent);
    for (index, mask) in masks.iter().enumerate() {
        builder = builder.masked(format!("q{index}"), mask.clone());
    }
    let pool = builder.unmasked("default").build().unwrap();
    let probe = gpu.module("probe").kernel("probe_hw_id").unwrap();
    let mut hardware = std::collections::BTreeSet::new();
    for queue in pool.queues() {
        let asked = &queue.mask().unwrap_or_else(|| CuMask::all(topology));
        let seen = observe(queue, &probe, ROUNDS * topology.cu_count(), 200, PATIENCE).unwrap();
        assert!(seen.agrees_with(asked), "{}: asked for {asked:#}, seen {:?}", queue.label(), seen.cus);
        if gpu.sim().is_some() {
            let exact: std::collections::BTreeSet<_> =
                asked.cus().iter().map(|cu| (cu.se, cu.sh, cu.cu)).collect();
            assert_eq!(seen.cus, exact, "the simulated GPU is not harvested, so the numbers agree as well");
            hardware.extend(seen.hardware_queues.iter().copied());
        }
    }
    if gpu.sim().is_some() {
        assert_eq!(hardware.len(), pool.queues().len(), "each queue has a hardware queue of its own");
    }
}

#[test]
fn an_observation_that_misses_a_cu_does_not_agree() {
    let gpu = gpu();
    let topology = gpu.agent.topology().unwrap();
    let mask = CuMask::shader_engines(topology, &[0]).unwrap();
    let queue = eclip_hsa::Queue::builder(&gpu.agent).mask(mask.clone()).create().unwrap();
    let probe = gpu.module("probe").kernel("probe_hw_id").unwrap();
    let mut seen = observe(&queue, &probe, ROUNDS * topology.cu_count(), 200, PATIENCE).unwrap();
    assert!(seen.agrees_with(&mask));
    assert!(!seen.agrees_with(&CuMask::all(topology)), "another mask");
    seen.cus.pop_first();
    assert!(!seen.agrees_with(&mask), "one CU fewer");
}
