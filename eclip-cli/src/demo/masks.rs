//! The demo's masks: whole shader engines for two workers, as in the ECLIP paper (ISLPED 2025), and one that takes some CUs
//! of every engine. Pure.

use std::sync::Arc;

use eclip_hsa::cu_mask::MaskError;
use eclip_hsa::{CuId, CuMask, CuTopology, MaskRules};

/// Queues of one worker: about a quarter, a half and three quarters of the GPU.
pub const SIZES: usize = 3;

/// Labelled masks: three for each worker, smallest first, and a shared one.
pub struct Masks {
    /// By worker.
    pub workers: [[(String, CuMask); SIZES]; 2],
    /// About half of the CUs of every shader engine.
    pub even: (String, CuMask),
}

/// Chooses the masks. On a GPU of four shader engines they are the paper's, whose engines count from 1: worker 1 has {1},
/// {1,3}, {1,2,3}, worker 2 has {4}, {2,4}, {2,3,4}. With more engines the workers grow from both ends. With fewer, they
/// share every engine: worker 1 takes its first CUs, worker 2 its last.
pub fn choose(topology: &Arc<CuTopology>) -> Result<Masks, MaskError> {
    let engines = topology.shader_engines();
    let masks = |worker: usize| -> Result<[CuMask; SIZES], MaskError> {
        let sets: [Vec<u32>; SIZES] = match (engines, worker) {
            (4, 0) => [vec![0], vec![0, 2], vec![0, 1, 2]],
            (4, _) => [vec![3], vec![1, 3], vec![1, 2, 3]],
            (5.., 0) => quarters(engines).map(|n| (0..n).collect()),
            (5.., _) => quarters(engines).map(|n| (engines - n..engines).collect()),
            _ => return slices(topology, worker == 1),
        };
        let [a, b, c] = sets.map(|set| CuMask::shader_engines(topology, &set));
        Ok([a?, b?, c?])
    };
    let named = |worker: usize| -> Result<[(String, CuMask); SIZES], MaskError> {
        let mut taken: Vec<String> = Vec::new();
        Ok(masks(worker)?.map(|mask| {
            let mut label = format!("W{} {}", worker + 1, mask.cu_count());
            // On a GPU of very few CUs two sizes may be the same.
            while taken.contains(&label) {
                label.push('\'');
            }
            taken.push(label.clone());
            (label, mask)
        }))
    };
    let half = even_down(topology, smallest_engine(topology).div_ceil(2)).max(step(topology));
    let even = CuMask::per_shader_engine(topology, &vec![half; engines as usize])?;
    Ok(Masks { workers: [named(0)?, named(1)?], even: (format!("even {}", even.cu_count()), even) })
}

/// One, two and three quarters of `n`, rounded, at least 1.
fn quarters(n: u32) -> [u32; SIZES] {
    [1, 2, 3].map(|quarter| ((n * quarter + 2) / 4).max(1))
}

/// The first or last CUs of every shader engine, in quarters.
fn slices(topology: &Arc<CuTopology>, from_the_end: bool) -> Result<[CuMask; SIZES], MaskError> {
    let [a, b, c] = quarters(smallest_engine(topology)).map(|count| {
        let count = even_down(topology, count).max(step(topology)) as usize;
        let mut cus = Vec::new();
        for xcc in 0..topology.xccs() {
            for se in 0..topology.shader_engines() {
                let here: Vec<CuId> =
                    topology.mask_bits().into_iter().filter(|id| (id.xcc, id.se) == (xcc, se)).collect();
                let count = count.min(here.len());
                cus.extend(if from_the_end { &here[here.len() - count..] } else { &here[..count] });
            }
        }
        CuMask::from_cus(topology, &cus, MaskRules::STRICT)
    });
    Ok([a?, b?, c?])
}

/// CUs come one by one, or in pairs.
fn step(topology: &CuTopology) -> u32 {
    if topology.wgp_pairs() { 2 } else { 1 }
}

fn even_down(topology: &CuTopology, count: u32) -> u32 {
    count - count % step(topology)
}

fn smallest_engine(topology: &CuTopology) -> u32 {
    let sizes = (0..topology.shader_engines()).map(|se| topology.cus_in_se(se));
    sizes.filter(|&cus| cus > 0).min().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(topology: CuTopology) -> Vec<String> {
        let masks = choose(&Arc::new(topology)).unwrap();
        let all = masks.workers.iter().flatten().chain([&masks.even]);
        all.map(|(label, mask)| format!("{label}: {}", mask.per_engine_text())).collect()
    }

    #[test]
    fn four_engines_have_the_paper_s_masks() {
        assert_eq!(
            texts(CuTopology::uniform(4, 1, 15).unwrap()),
            [
                "W1 15: 15+0+0+0",
                "W1 30: 15+0+15+0",
                "W1 45: 15+15+15+0",
                "W2 15: 0+0+0+15",
                "W2 30: 0+15+0+15",
                "W2 45: 0+15+15+15",
                "even 32: 8+8+8+8",
            ]
        );
    }

    #[test]
    fn more_engines_grow_from_both_ends() {
        let texts = texts(CuTopology::uniform(8, 1, 14).unwrap());
        assert_eq!(texts[1], "W1 56: 14+14+14+14+0+0+0+0");
        assert_eq!(texts[3], "W2 28: 0+0+0+0+0+0+14+14");
    }

    #[test]
    fn few_engines_are_shared() {
        let texts = texts(CuTopology::new(1, 2, 2, vec![10; 4], true).unwrap());
        assert_eq!(texts, ["W1 8: 4+4", "W1 20: 10+10", "W1 28: 14+14", "W2 8: 4+4", "W2 20: 10+10", "W2 28: 14+14", "even 20: 10+10"]);
    }

    #[test]
    fn any_shape_has_balanced_masks_of_different_labels() {
        for (xccs, engines, arrays, cus, pairs) in
            [(1, 1, 1, 2, false), (1, 1, 1, 8, false), (1, 2, 1, 6, true), (1, 3, 2, 5, false), (4, 4, 1, 10, false)]
        {
            let active = vec![cus; (engines * arrays) as usize];
            let topology = Arc::new(CuTopology::new(xccs, engines, arrays, active, pairs).unwrap());
            let masks = choose(&topology).unwrap();
            let mut labels = Vec::new();
            for (label, mask) in masks.workers.iter().flatten().chain([&masks.even]) {
                assert!(mask.cu_count() > 0 && mask.imbalance() == 1.0, "{mask:?}");
                assert!(!labels.contains(&label), "{labels:?}");
                labels.push(label);
            }
        }
    }

    #[test]
    fn a_harvested_gpu_gives_whole_engines() {
        let texts = texts(CuTopology::new(1, 4, 1, vec![14, 15, 15, 16], false).unwrap());
        assert_eq!(texts[0], "W1 14: 14+0+0+0");
        assert_eq!(texts[3], "W2 16: 0+0+0+16");
        assert_eq!(texts[6], "even 28: 7+7+7+7");
    }
}
