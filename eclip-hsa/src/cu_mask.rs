//! CU masks: which compute units a queue may use, checked against the GPU that they are for.
//!
//! Pure: a [`CuMask`] is made from a [`CuTopology`] and holds the words that `hsa_amd_queue_cu_set_mask` takes. Every
//! constructor rejects what the driver would accept and the user would regret: an empty mask hangs the queue, bits past the
//! active CUs are dropped without a word, and an unbalanced mask makes kernels *slower* than fewer CUs would. The
//! hardware hands workgroups to the enabled shader engines in strict turn, whatever their size, so the engine with the
//! fewest enabled CUs sets the pace (Otterness & Anderson, RTNS 2021).

use std::fmt;
use std::sync::Arc;

use crate::topology::{CuId, CuTopology};

/// What a mask may leave out. The default allows nothing unusual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskRules {
    unbalanced: bool,
    empty_engines: bool,
}

impl MaskRules {
    /// Every shader engine of every XCC takes part, evenly.
    pub const STRICT: Self = Self { unbalanced: false, empty_engines: false };

    /// Allows enabled shader engines to differ in their number of CUs.
    #[must_use]
    pub const fn allow_unbalanced(self) -> Self {
        Self { unbalanced: true, ..self }
    }

    /// Allows shader engines, and whole XCCs, without an enabled CU.
    #[must_use]
    pub const fn allow_empty_engines(self) -> Self {
        Self { empty_engines: true, ..self }
    }
}

/// Why a mask was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaskError {
    /// No CU is enabled.
    #[error(
        "the CU mask enables no CU: KFD accepts it and the queue then hangs for ever; enable at least one"
    )]
    Empty,
    /// Bits beyond the GPU's active CUs.
    #[error(
        "the CU mask sets bit {bit}, but the GPU has {cus} active CUs (bits 0 to {last}); KFD would drop it silently",
        last = cus - 1
    )]
    PastEnd {
        /// The lowest bit out of range.
        bit: usize,
        /// Active CUs of the GPU.
        cus: u32,
    },
    /// A CU, shader engine, array or XCC that the GPU does not have.
    #[error("there is no {what} on this GPU ({topology})")]
    NoSuch {
        /// What was named.
        what: String,
        /// The GPU.
        topology: String,
    },
    /// Some shader engines of an XCC, or a whole XCC, have no CU enabled.
    #[error(
        "the CU mask leaves {what} without a CU; name whole shader engines, or allow it with \
         MaskRules::allow_empty_engines"
    )]
    EmptyEngine {
        /// The first one left out.
        what: String,
    },
    /// The enabled shader engines differ in their number of CUs.
    #[error(
        "unbalanced CU mask ({per_se}): workgroups go to the enabled shader engines in strict turn, so a kernel that fills \
         them takes {slowdown:.1} times as long as on the same {cus} CUs spread evenly; even it out, or allow it with \
         MaskRules::allow_unbalanced",
        slowdown = f64::from(*slowdown_percent) / 100.0
    )]
    Unbalanced {
        /// CUs per shader engine, as text.
        per_se: String,
        /// Enabled CUs.
        cus: u32,
        /// Expected time relative to the same number of CUs spread evenly, in percent.
        slowdown_percent: u32,
    },
    /// Half of a workgroup processor's pair of CUs (gfx10 and later).
    #[error("the CU mask enables only one CU of the pair at bits {bit} and {}: gfx10 and later take pairs (WGPs)", bit + 1)]
    SplitPair {
        /// The even bit of the pair.
        bit: usize,
    },
}

/// A CU mask for one GPU. Prints as hexadecimal; `{:#}` adds the CUs per shader engine.
#[derive(Clone, PartialEq, Eq)]
pub struct CuMask {
    topology: Arc<CuTopology>,
    words: Vec<u32>,
}

impl CuMask {
    /// Every active CU.
    pub fn all(topology: &Arc<CuTopology>) -> Self {
        let bits = 0..topology.cu_count() as usize;
        Self { topology: topology.clone(), words: words_of(topology, bits) }
    }

    /// All CUs of the given shader engines (of every XCC); the others stay empty, as asked.
    pub fn shader_engines(topology: &Arc<CuTopology>, engines: &[u32]) -> Result<Self, MaskError> {
        for &se in engines {
            if topology.cus_in_se(se) == 0 {
                return Err(no_such(format!("shader engine {se}"), topology));
            }
        }
        let cus = topology.mask_bits();
        let bits = (0..cus.len()).filter(|&bit| engines.contains(&cus[bit].se));
        Self::checked(topology, words_of(topology, bits), MaskRules::STRICT.allow_empty_engines())
    }

    /// The first `counts[se]` CUs of each shader engine (of every XCC), spread over its shader arrays. An entry of 0 leaves
    /// that engine out, as asked; the others must agree, or an engine must be enabled whole.
    pub fn per_shader_engine(topology: &Arc<CuTopology>, counts: &[u32]) -> Result<Self, MaskError> {
        Self::per_shader_engine_with(topology, counts, MaskRules::STRICT)
    }

    /// As [`CuMask::per_shader_engine`], under other rules.
    pub fn per_shader_engine_with(
        topology: &Arc<CuTopology>,
        counts: &[u32],
        rules: MaskRules,
    ) -> Result<Self, MaskError> {
        if counts.len() != topology.shader_engines() as usize {
            return Err(no_such(format!("list of {} shader engines", counts.len()), topology));
        }
        for (se, &count) in (0..).zip(counts) {
            if count > topology.cus_in_se(se) {
                return Err(no_such(format!("shader engine {se} with {count} CUs"), topology));
            }
        }
        let mut left: Vec<Vec<u32>> = vec![counts.to_vec(); topology.xccs() as usize];
        let mut bits = Vec::new();
        for (bit, id) in topology.mask_bits().iter().enumerate() {
            let left = &mut left[id.xcc as usize][id.se as usize];
            if *left > 0 {
                *left -= 1;
                bits.push(bit);
            }
        }
        Self::checked(topology, words_of(topology, bits), rules.allow_empty_engines())
    }

    /// Exactly these CUs.
    pub fn from_cus(topology: &Arc<CuTopology>, cus: &[CuId], rules: MaskRules) -> Result<Self, MaskError> {
        let order = topology.mask_bits();
        let mut bits = Vec::with_capacity(cus.len());
        for id in cus {
            let bit = order.iter().position(|other| other == id);
            bits.push(bit.ok_or_else(|| no_such(format!("{id:?}"), topology))?);
        }
        Self::checked(topology, words_of(topology, bits), rules)
    }

    /// The mask that `words` spell, bit 0 first, in KFD's bit order. Missing words count as zero.
    pub fn from_words(
        topology: &Arc<CuTopology>,
        words: &[u32],
        rules: MaskRules,
    ) -> Result<Self, MaskError> {
        let cus = topology.cu_count();
        for (index, word) in words.iter().enumerate() {
            let valid = (cus as usize).saturating_sub(index * 32).min(32);
            let excess = if valid == 32 { 0 } else { word >> valid << valid };
            if excess != 0 {
                return Err(MaskError::PastEnd { bit: index * 32 + excess.trailing_zeros() as usize, cus });
            }
        }
        let mut words = words.to_vec();
        words.resize((cus as usize).div_ceil(32), 0);
        Self::checked(topology, words, rules)
    }

    fn checked(topology: &Arc<CuTopology>, words: Vec<u32>, rules: MaskRules) -> Result<Self, MaskError> {
        let mask = Self { topology: topology.clone(), words };
        if mask.cu_count() == 0 {
            return Err(MaskError::Empty);
        }
        if topology.wgp_pairs() {
            for bit in (0..topology.cu_count() as usize).step_by(2) {
                if mask.bit(bit) != mask.bit(bit + 1) {
                    return Err(MaskError::SplitPair { bit });
                }
            }
        }
        if !rules.empty_engines {
            mask.check_no_engine_is_empty()?;
        }
        if !rules.unbalanced {
            mask.check_balance()?;
        }
        Ok(mask)
    }

    fn check_no_engine_is_empty(&self) -> Result<(), MaskError> {
        for (xcc, engines) in (0..).zip(self.cus_by_engine()) {
            for (se, &enabled) in (0..).zip(&engines) {
                if enabled == 0 && self.topology.cus_in_se(se) > 0 {
                    let whole = engines.iter().all(|&cus| cus == 0);
                    let what = match (self.topology.xccs(), whole) {
                        (1, _) => format!("shader engine {se}"),
                        (_, true) => format!("XCC {xcc}"),
                        (_, false) => format!("shader engine {se} of XCC {xcc}"),
                    };
                    return Err(MaskError::EmptyEngine { what });
                }
            }
        }
        Ok(())
    }

    /// Balanced: every enabled shader engine has as many CUs as the fullest one, or all that it has.
    fn check_balance(&self) -> Result<(), MaskError> {
        let engines = self.cus_by_engine();
        let most = engines.iter().flatten().copied().max().unwrap_or(0);
        let even = engines.iter().all(|xcc| {
            (0..).zip(xcc).all(|(se, &cus)| cus == 0 || cus == most || cus == self.topology.cus_in_se(se))
        });
        if even {
            return Ok(());
        }
        let slowdown_percent = (self.imbalance() * 100.0).round() as u32;
        Err(MaskError::Unbalanced { per_se: self.per_engine_text(), cus: self.cu_count(), slowdown_percent })
    }

    /// Expected time of a kernel that fills the mask, relative to the same number of CUs spread evenly: 1 is balanced.
    /// With workgroups dealt to n engines in strict turn, the engine of fewest CUs takes 1/n of them.
    pub fn imbalance(&self) -> f64 {
        let enabled: Vec<u32> = self.cus_by_engine().into_iter().flatten().filter(|&cus| cus > 0).collect();
        let fewest = enabled.iter().copied().min().unwrap_or(1);
        f64::from(self.cu_count()) / (enabled.len().max(1) as f64 * f64::from(fewest))
    }

    /// The mask in KFD's bit order, 32 bits a word, as many words as the GPU's active CUs need.
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// The GPU that the mask is for.
    pub fn topology(&self) -> &Arc<CuTopology> {
        &self.topology
    }

    /// Whether mask bit `bit` is set.
    pub fn bit(&self, bit: usize) -> bool {
        self.words.get(bit / 32).is_some_and(|word| word >> (bit % 32) & 1 == 1)
    }

    /// Enabled CUs.
    pub fn cu_count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether every active CU is enabled.
    pub fn is_full(&self) -> bool {
        self.cu_count() == self.topology.cu_count()
    }

    /// The enabled CUs, in bit order.
    pub fn cus(&self) -> Vec<CuId> {
        let all = self.topology.mask_bits();
        (0..all.len()).filter(|&bit| self.bit(bit)).map(|bit| all[bit]).collect()
    }

    /// Enabled CUs of each shader engine, by `[xcc][se]`.
    pub fn cus_by_engine(&self) -> Vec<Vec<u32>> {
        let mut counts =
            vec![vec![0; self.topology.shader_engines() as usize]; self.topology.xccs() as usize];
        for id in self.cus() {
            counts[id.xcc as usize][id.se as usize] += 1;
        }
        counts
    }

    /// CUs that both masks enable.
    pub fn overlap(&self, other: &Self) -> u32 {
        self.words.iter().zip(&other.words).map(|(a, b)| (a & b).count_ones()).sum()
    }

    /// CUs per shader engine, as in `15+0+15+0`; several XCCs are separated by ` | `.
    pub fn per_engine_text(&self) -> String {
        let xcc_text = |engines: Vec<u32>| engines.iter().map(u32::to_string).collect::<Vec<_>>().join("+");
        self.cus_by_engine().into_iter().map(xcc_text).collect::<Vec<_>>().join(" | ")
    }
}

fn words_of(topology: &CuTopology, bits: impl IntoIterator<Item = usize>) -> Vec<u32> {
    let mut words = vec![0; (topology.cu_count() as usize).div_ceil(32)];
    for bit in bits {
        words[bit / 32] |= 1 << (bit % 32);
    }
    words
}

fn no_such(what: String, topology: &CuTopology) -> MaskError {
    MaskError::NoSuch { what, topology: topology.to_string() }
}

impl fmt::Display for CuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole hexadecimal digits for the active CUs: 60 CUs are 15 digits.
        let digits = (self.topology.cu_count() as usize).div_ceil(4);
        let text: String = self.words.iter().rev().map(|word| format!("{word:08x}")).collect();
        write!(f, "0x{}", &text[text.len() - digits..])?;
        if f.alternate() {
            write!(f, " ({} CUs: {})", self.cu_count(), self.per_engine_text())?;
        }
        Ok(())
    }
}

impl fmt::Debug for CuMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CuMask({self:#})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mi50() -> Arc<CuTopology> {
        Arc::new(CuTopology::uniform(4, 1, 15).unwrap())
    }

    #[test]
    fn whole_shader_engines_take_every_fourth_bit() {
        let mask = CuMask::shader_engines(&mi50(), &[1]).unwrap();
        assert_eq!(mask.words(), [0x2222_2222, 0x0222_2222]);
        assert_eq!(mask.to_string(), "0x222222222222222");
        assert_eq!(format!("{mask:#}"), "0x222222222222222 (15 CUs: 0+15+0+0)");
    }

    #[test]
    fn all_is_sixty_bits() {
        let mask = CuMask::all(&mi50());
        assert_eq!(mask.words(), [u32::MAX, 0x0fff_ffff]);
        assert!(mask.is_full());
    }

    #[test]
    fn an_empty_mask_is_refused() {
        assert_eq!(CuMask::from_words(&mi50(), &[0, 0], MaskRules::STRICT), Err(MaskError::Empty));
        assert_eq!(CuMask::shader_engines(&mi50(), &[]), Err(MaskError::Empty));
        assert_eq!(CuMask::per_shader_engine(&mi50(), &[0; 4]), Err(MaskError::Empty));
    }

    #[test]
    fn bits_past_the_active_cus_are_refused() {
        let past = CuMask::from_words(&mi50(), &[u32::MAX, u32::MAX], MaskRules::STRICT);
        assert_eq!(past, Err(MaskError::PastEnd { bit: 60, cus: 60 }));
        let far = CuMask::from_words(&mi50(), &[u32::MAX, 0x0fff_ffff, 1], MaskRules::STRICT);
        assert_eq!(far, Err(MaskError::PastEnd { bit: 64, cus: 60 }));
    }

    #[test]
    fn one_cu_too_many_is_refused_with_its_cost() {
        // 15 CUs of SE0 and one of SE1: measured 7.75 times slower than 4+4+4+4 on a Vega 20 (RTNS 2021).
        let rules = MaskRules::STRICT.allow_empty_engines();
        let error = CuMask::per_shader_engine(&mi50(), &[15, 1, 0, 0]).unwrap_err();
        assert_eq!(
            error,
            MaskError::Unbalanced { per_se: "15+1+0+0".into(), cus: 16, slowdown_percent: 800 }
        );
        assert!(error.to_string().contains("8.0 times"), "{error}");
        let allowed =
            CuMask::per_shader_engine_with(&mi50(), &[15, 1, 0, 0], rules.allow_unbalanced()).unwrap();
        assert_eq!(allowed.imbalance(), 8.0);
    }

    #[test]
    fn an_empty_shader_engine_must_be_asked_for() {
        let words = [0x1111_1111, 0x0111_1111];
        let error = CuMask::from_words(&mi50(), &words, MaskRules::STRICT).unwrap_err();
        assert_eq!(error, MaskError::EmptyEngine { what: "shader engine 1".into() });
        let rules = MaskRules::STRICT.allow_empty_engines();
        assert_eq!(CuMask::from_words(&mi50(), &words, rules), CuMask::shader_engines(&mi50(), &[0]));
    }

    #[test]
    fn an_empty_xcc_is_named() {
        let two = Arc::new(CuTopology::new(2, 2, 1, vec![2, 2], false).unwrap());
        let error = CuMask::from_words(&two, &[0b0101_0101], MaskRules::STRICT).unwrap_err();
        assert_eq!(error, MaskError::EmptyEngine { what: "XCC 1".into() });
    }

    #[test]
    fn a_harvested_engine_enabled_whole_is_balanced() {
        let harvested = Arc::new(CuTopology::new(1, 4, 1, vec![14, 15, 15, 16], false).unwrap());
        assert!(CuMask::from_words(&harvested, CuMask::all(&harvested).words(), MaskRules::STRICT).is_ok());
        assert!(CuMask::per_shader_engine(&harvested, &[13, 15, 15, 15]).is_err());
    }

    #[test]
    fn half_a_workgroup_processor_is_refused() {
        let rdna = Arc::new(CuTopology::new(1, 2, 2, vec![4; 4], true).unwrap());
        let error = CuMask::from_words(&rdna, &[0b0111], MaskRules::default()).unwrap_err();
        assert_eq!(error, MaskError::SplitPair { bit: 2 });
    }

    #[test]
    fn names_that_the_gpu_lacks_are_refused() {
        assert!(matches!(CuMask::shader_engines(&mi50(), &[4]), Err(MaskError::NoSuch { .. })));
        assert!(matches!(CuMask::per_shader_engine(&mi50(), &[16, 0, 0, 0]), Err(MaskError::NoSuch { .. })));
        assert!(matches!(CuMask::per_shader_engine(&mi50(), &[1]), Err(MaskError::NoSuch { .. })));
        let ghost = CuId { xcc: 0, se: 0, sh: 0, cu: 15 };
        assert!(matches!(
            CuMask::from_cus(&mi50(), &[ghost], MaskRules::STRICT),
            Err(MaskError::NoSuch { .. })
        ));
    }

    fn any_topology() -> impl Strategy<Value = Arc<CuTopology>> {
        (1u32..=4, 1u32..=8, 1u32..=2).prop_flat_map(|(xccs, se, sh)| {
            let counts = proptest::collection::vec(1u32..=16, (se * sh) as usize);
            counts.prop_map(move |active| Arc::new(CuTopology::new(xccs, se, sh, active, false).unwrap()))
        })
    }

    proptest! {
        #[test]
        fn mask_to_cus_and_back((topology, seed) in (any_topology(), any::<u64>())) {
            let all = topology.mask_bits();
            let chosen: Vec<CuId> =
                all.iter().copied().enumerate().filter(|(bit, _)| seed >> (bit % 64) & 1 == 1).map(|(_, id)| id).collect();
            prop_assume!(!chosen.is_empty());
            let rules = MaskRules::STRICT.allow_empty_engines().allow_unbalanced();
            let mask = CuMask::from_cus(&topology, &chosen, rules).unwrap();
            prop_assert_eq!(mask.cus(), chosen);
            prop_assert_eq!(CuMask::from_words(&topology, mask.words(), rules).unwrap(), mask);
        }

        #[test]
        fn every_cu_has_exactly_one_bit(topology in any_topology()) {
            let bits = topology.mask_bits();
            let mut unique = bits.clone();
            unique.sort();
            unique.dedup();
            prop_assert_eq!(bits.len(), topology.cu_count() as usize);
            prop_assert_eq!(unique.len(), bits.len());
        }
    }
}
