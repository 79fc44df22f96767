//! Which compute units a queue may use, as the driver maps a CU mask onto shader engines.

use crate::device::Shape;

/// Enabled CUs of each shader array, by shader engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CuMask {
    sh_per_se: u32,
    /// One word for each SH, SE-major; bit = CU position.
    arrays: Vec<u32>,
}

impl CuMask {
    /// Every active CU.
    pub fn full(shape: &Shape) -> Self {
        let arrays = vec![low_bits(shape.cus_per_sh); (shape.shader_engines * shape.sh_per_se) as usize];
        Self { sh_per_se: shape.sh_per_se, arrays }
    }

    /// A mask as SET_CU_MASK carries it. The kernel deals its bits out CU-last: the first bits go to CU 0 of SH 0 of each
    /// SE in turn, then to SH 1 of each SE, then to CU 1 (`mqd_symmetrically_map_cu_mask` in amdkfd). Bits past the active
    /// CUs are dropped; CUs past the mask's last bit are off.
    pub fn from_bits(shape: &Shape, words: &[u32]) -> Self {
        let counts = vec![shape.cus_per_sh; (shape.shader_engines * shape.sh_per_se) as usize];
        Self::from_bits_uneven(shape.sh_per_se, &counts, words)
    }

    /// As [`CuMask::from_bits`], with a CU count for each SH (SE-major): harvested arrays are skipped once they are full.
    pub fn from_bits_uneven(sh_per_se: u32, counts: &[u32], words: &[u32]) -> Self {
        let mut arrays = vec![0; counts.len()];
        let mut bits = words.iter().flat_map(|word| (0..32).map(move |bit| word >> bit & 1 != 0));
        let engines = counts.len() as u32 / sh_per_se;
        'all: for cu in 0..counts.iter().copied().max().unwrap_or(0) {
            for sh in 0..sh_per_se {
                for se in 0..engines {
                    let array = (se * sh_per_se + sh) as usize;
                    if counts[array] <= cu {
                        continue;
                    }
                    match bits.next() {
                        Some(true) => arrays[array] |= 1 << cu,
                        Some(false) => {}
                        None => break 'all,
                    }
                }
            }
        }
        Self { sh_per_se, arrays }
    }

    /// Whether no CU is enabled: the driver accepts that, and the queue never starts anything.
    pub fn is_empty(&self) -> bool {
        self.arrays.iter().all(|&a| a == 0)
    }

    /// Enabled CUs in each shader engine.
    pub fn cus_per_se(&self) -> Vec<u32> {
        self.arrays
            .chunks(self.sh_per_se as usize)
            .map(|se| se.iter().map(|a| a.count_ones()).sum())
            .collect()
    }

    /// Enabled CUs of a shader engine as (SH, CU) pairs, CU-first as the mask deals them out.
    pub(crate) fn cus_of(&self, se: u32) -> Vec<(u32, u32)> {
        let arrays = &self.arrays[(se * self.sh_per_se) as usize..][..self.sh_per_se as usize];
        (0..32)
            .flat_map(|cu| (0..self.sh_per_se).map(move |sh| (sh, cu)))
            .filter(|&(sh, cu)| arrays[sh as usize] >> cu & 1 != 0)
            .collect()
    }
}

fn low_bits(n: u32) -> u32 {
    if n >= 32 { u32::MAX } else { (1 << n) - 1 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;

    #[test]
    fn bits_are_dealt_to_shader_engines_first() {
        let shape = DeviceSpec::mi50().shape;
        assert_eq!(CuMask::from_bits(&shape, &[0b1]).cus_per_se(), [1, 0, 0, 0]);
        assert_eq!(CuMask::from_bits(&shape, &[0b1_0000]).arrays, [0b10, 0, 0, 0]);
        assert_eq!(CuMask::from_bits(&shape, &[0xff]).arrays, [0b11, 0b11, 0b11, 0b11]);
        assert_eq!(CuMask::from_bits(&shape, &[0x1111_1111, 0x0111_1111]).cus_per_se(), [15, 0, 0, 0]);
    }

    #[test]
    fn bits_past_the_active_cus_are_dropped() {
        let shape = DeviceSpec::mi50().shape;
        assert_eq!(CuMask::from_bits(&shape, &[u32::MAX; 4]), CuMask::full(&shape));
        assert!(CuMask::from_bits(&shape, &[0, 0xf000_0000]).is_empty());
        assert_eq!(CuMask::from_bits(&shape, &[u32::MAX]).cus_per_se(), [8, 8, 8, 8]);
    }

    #[test]
    fn harvested_arrays_are_skipped_once_full() {
        // 2 SEs of 1 SH: 1 and 3 CUs. Bits: SE0.0, SE1.0, SE1.1, SE1.2.
        let mask = CuMask::from_bits_uneven(1, &[1, 3], &[0b1101]);
        assert_eq!(mask.arrays, [0b1, 0b110]);
        // 2 SEs of 2 SHs: CU, then SH, then SE.
        let mask = CuMask::from_bits_uneven(2, &[2, 2, 2, 2], &[0b1_0110]);
        assert_eq!(mask.arrays, [0b10, 0b01, 0b01, 0b00]);
    }
}
