//! Where a GPU's compute units sit: XCCs, shader engines (SE), shader arrays (SH), compute units (CU).
//!
//! Plain data. `agent` fills it from ROCr, sysfs and the DRM device info; masks are built from it and mean nothing
//! without it.

use std::fmt;

/// One compute unit, by position. `cu` counts the *active* CUs of its shader array: on a harvested part the hardware
/// leaves out disabled ones by itself, so a mask never names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CuId {
    /// Accelerator complex die (0 on parts with one).
    pub xcc: u32,
    /// Shader engine within the XCC.
    pub se: u32,
    /// Shader array within the shader engine.
    pub sh: u32,
    /// Active compute unit within the shader array.
    pub cu: u32,
}

/// The largest values that KFD's mask mapping handles: 16 CUs and 2 SHs fit one 32-bit word per shader engine.
const MAX_CUS_PER_SH: u32 = 16;
const MAX_SH_PER_SE: u32 = 2;
/// KFD_MAX_NUM_SE.
const MAX_SHADER_ENGINES: u32 = 8;

/// The compute units of one GPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CuTopology {
    xccs: u32,
    shader_engines: u32,
    sh_per_se: u32,
    /// Active CUs by `[se][sh]`, row-major; every XCC has the same.
    active: Vec<u32>,
    wgp_pairs: bool,
}

/// Why a set of counts is not a GPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A count is zero or larger than KFD's mapping can express.
    #[error("{what} is {value}; expected 1 to {max}")]
    OutOfRange {
        /// Which count.
        what: &'static str,
        /// Its value.
        value: u32,
        /// The largest allowed.
        max: u32,
    },
    /// The list of active CUs does not have one entry per shader array.
    #[error("{got} counts of active CUs for {expected} shader arrays")]
    WrongLength {
        /// Entries given.
        got: usize,
        /// Shader arrays.
        expected: usize,
    },
}

impl CuTopology {
    /// A GPU whose shader arrays all have `cus_per_sh` active CUs, with one XCC.
    pub fn uniform(shader_engines: u32, sh_per_se: u32, cus_per_sh: u32) -> Result<Self, TopologyError> {
        let arrays = shader_engines.saturating_mul(sh_per_se).min(MAX_SHADER_ENGINES * MAX_SH_PER_SE);
        Self::new(1, shader_engines, sh_per_se, vec![cus_per_sh; arrays as usize], false)
    }

    /// A GPU from its counts. `active[se * sh_per_se + sh]` is the number of active CUs of a shader array, the same in
    /// every XCC; `wgp_pairs` says that CUs are scheduled in pairs (gfx10 and later).
    pub fn new(
        xccs: u32,
        shader_engines: u32,
        sh_per_se: u32,
        active: Vec<u32>,
        wgp_pairs: bool,
    ) -> Result<Self, TopologyError> {
        let check = |what, value, max| {
            if (1..=max).contains(&value) {
                Ok(())
            } else {
                Err(TopologyError::OutOfRange { what, value, max })
            }
        };
        check("number of XCCs", xccs, 32)?;
        check("number of shader engines", shader_engines, MAX_SHADER_ENGINES)?;
        check("number of shader arrays in a shader engine", sh_per_se, MAX_SH_PER_SE)?;
        let expected = (shader_engines * sh_per_se) as usize;
        if active.len() != expected {
            return Err(TopologyError::WrongLength { got: active.len(), expected });
        }
        for &count in &active {
            if count > MAX_CUS_PER_SH {
                let what = "number of active CUs in a shader array";
                return Err(TopologyError::OutOfRange { what, value: count, max: MAX_CUS_PER_SH });
            }
        }
        check(
            "number of active CUs",
            active.iter().sum(),
            MAX_SHADER_ENGINES * MAX_SH_PER_SE * MAX_CUS_PER_SH,
        )?;
        Ok(Self { xccs, shader_engines, sh_per_se, active, wgp_pairs })
    }

    /// Accelerator complex dies.
    pub fn xccs(&self) -> u32 {
        self.xccs
    }

    /// Shader engines in each XCC.
    pub fn shader_engines(&self) -> u32 {
        self.shader_engines
    }

    /// Shader arrays in each shader engine.
    pub fn sh_per_se(&self) -> u32 {
        self.sh_per_se
    }

    /// Active CUs of a shader array; 0 if there is no such array.
    pub fn cus_in_sh(&self, se: u32, sh: u32) -> u32 {
        if se >= self.shader_engines || sh >= self.sh_per_se {
            return 0;
        }
        self.active[(se * self.sh_per_se + sh) as usize]
    }

    /// Active CUs of a shader engine of one XCC; 0 if there is no such engine.
    pub fn cus_in_se(&self, se: u32) -> u32 {
        (0..self.sh_per_se).map(|sh| self.cus_in_sh(se, sh)).sum()
    }

    /// Active CUs of the GPU, over all XCCs.
    pub fn cu_count(&self) -> u32 {
        self.xccs * self.active.iter().sum::<u32>()
    }

    /// Whether CUs come in workgroup-processor pairs (gfx10 and later): a mask may then not split a pair.
    pub fn wgp_pairs(&self) -> bool {
        self.wgp_pairs
    }

    /// The CU that each mask bit enables, in bit order, as KFD maps them
    /// (`mqd_symmetrically_map_cu_mask` in `drivers/gpu/drm/amd/amdkfd/kfd_mqd_manager.c`).
    ///
    /// Bits go to the shader engines in turn, then to the shader arrays, and to the next CU last: with 4 SE x 1 SH, bit 0
    /// is SE0.CU0, bit 1 SE1.CU0, bit 4 SE0.CU1. A shader array that has run out of CUs is skipped. With several XCCs,
    /// XCC x takes the bits x, x + n, x + 2n, ... On parts with WGPs two neighbouring bits are a pair of one array.
    pub fn mask_bits(&self) -> Vec<CuId> {
        let step = if self.wgp_pairs { 2 } else { 1 };
        let mut one_xcc = Vec::with_capacity((self.cu_count() / self.xccs) as usize);
        for cu in (0..MAX_CUS_PER_SH).step_by(step as usize) {
            for sh in 0..self.sh_per_se {
                for se in 0..self.shader_engines {
                    let here = self.cus_in_sh(se, sh);
                    one_xcc.extend((cu..(cu + step).min(here)).map(|cu| CuId { xcc: 0, se, sh, cu }));
                }
            }
        }
        if self.xccs == 1 {
            return one_xcc;
        }
        one_xcc.iter().flat_map(|&id| (0..self.xccs).map(move |xcc| CuId { xcc, ..id })).collect()
    }
}

impl fmt::Display for CuTopology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CUs", self.cu_count())?;
        if self.xccs > 1 {
            write!(f, " in {} XCCs of", self.xccs)?;
        } else {
            write!(f, " =")?;
        }
        let uniform = self.active.iter().all(|&c| c == self.active[0]);
        if uniform {
            write!(f, " {} SE x {} SH x {} CU", self.shader_engines, self.sh_per_se, self.active[0])
        } else {
            let per_se: Vec<String> =
                (0..self.shader_engines).map(|se| self.cus_in_se(se).to_string()).collect();
            write!(f, " {} SE of {} CU", self.shader_engines, per_se.join("+"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_walk_shader_engines_first() {
        let bits = CuTopology::uniform(4, 1, 15).unwrap().mask_bits();
        assert_eq!(bits.len(), 60);
        assert_eq!(bits[1], CuId { xcc: 0, se: 1, sh: 0, cu: 0 });
        assert_eq!(bits[4], CuId { xcc: 0, se: 0, sh: 0, cu: 1 });
        assert_eq!(bits[59], CuId { xcc: 0, se: 3, sh: 0, cu: 14 });
    }

    #[test]
    fn two_shader_arrays_alternate_before_the_next_cu() {
        let bits = CuTopology::uniform(4, 2, 8).unwrap().mask_bits();
        assert_eq!(bits[4], CuId { xcc: 0, se: 0, sh: 1, cu: 0 });
        assert_eq!(bits[8], CuId { xcc: 0, se: 0, sh: 0, cu: 1 });
    }

    #[test]
    fn a_short_shader_array_is_skipped_once_full() {
        let bits = CuTopology::new(1, 2, 1, vec![1, 3], false).unwrap().mask_bits();
        let order: Vec<(u32, u32)> = bits.iter().map(|id| (id.se, id.cu)).collect();
        assert_eq!(order, [(0, 0), (1, 0), (1, 1), (1, 2)]);
    }

    #[test]
    fn xccs_take_every_nth_bit() {
        let bits = CuTopology::new(2, 2, 1, vec![2, 2], false).unwrap().mask_bits();
        assert_eq!(bits.len(), 8);
        assert_eq!(bits[0], CuId { xcc: 0, se: 0, sh: 0, cu: 0 });
        assert_eq!(bits[1], CuId { xcc: 1, se: 0, sh: 0, cu: 0 });
        assert_eq!(bits[2], CuId { xcc: 0, se: 1, sh: 0, cu: 0 });
    }

    #[test]
    fn wgp_pairs_are_neighbouring_bits() {
        let bits = CuTopology::new(1, 2, 1, vec![4, 4], true).unwrap().mask_bits();
        let order: Vec<(u32, u32)> = bits.iter().map(|id| (id.se, id.cu)).collect();
        assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]);
    }

    #[test]
    fn impossible_counts_are_refused() {
        assert!(CuTopology::uniform(0, 1, 15).is_err());
        assert!(CuTopology::uniform(9, 1, 15).is_err());
        assert!(CuTopology::uniform(4, 3, 15).is_err());
        assert!(CuTopology::uniform(4, 1, 17).is_err());
        assert!(CuTopology::uniform(4, 1, 0).is_err());
        assert!(CuTopology::new(1, 2, 1, vec![1], false).is_err());
        assert!(CuTopology::uniform(u32::MAX, u32::MAX, 1).is_err());
    }
}
