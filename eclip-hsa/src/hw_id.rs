//! The hardware id register: where a wavefront runs.
//!
//! `HW_ID` (hardware register 4) on gfx9, `HW_ID1` (23) on gfx10 and later; layouts from AMD's ISA documents ("Vega", "RDNA 2").
//! CU numbers may be physical ones on harvested parts: on hardware compare counts per shader engine, not numbers.

/// One wavefront's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HwId {
    /// Shader engine.
    pub se: u32,
    /// Shader array within the shader engine.
    pub sh: u32,
    /// Compute unit within the shader array; on gfx10 and later the workgroup processor.
    pub cu: u32,
    /// SIMD within the compute unit.
    pub simd: u32,
    /// Slot within the SIMD.
    pub wave: u32,
    /// Hardware queue, where the register tells (gfx9): micro engine, pipe, queue.
    pub queue: Option<HardwareQueue>,
}

/// A hardware queue's place in the command processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareQueue {
    /// Micro engine.
    pub me: u32,
    /// Pipe of the micro engine.
    pub pipe: u32,
    /// Queue of the pipe.
    pub queue: u32,
}

impl std::fmt::Display for HardwareQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.me, self.pipe, self.queue)
    }
}

impl HwId {
    /// Decodes the register of a GPU whose ISA is of generation `gfx_major` (9 for gfx906).
    pub fn decode(gfx_major: u32, word: u32) -> Self {
        let bits = |low: u32, count: u32| word >> low & ((1 << count) - 1);
        if gfx_major >= 10 {
            // HW_ID1: wave 0-4, simd 8-9, wgp 10-13, sa 16, se 18-19 (18-20 on gfx11).
            let se = if gfx_major >= 11 { bits(18, 3) } else { bits(18, 2) };
            return Self {
                se,
                sh: bits(16, 1),
                cu: bits(10, 4),
                simd: bits(8, 2),
                wave: bits(0, 5),
                queue: None,
            };
        }
        // HW_ID: wave 0-3, simd 4-5, pipe 6-7, cu 8-11, sh 12, se 13-14, tg 16-19, vm 20-23, queue 24-26, state 27-29, me 30-31.
        Self {
            se: bits(13, 2),
            sh: bits(12, 1),
            cu: bits(8, 4),
            simd: bits(4, 2),
            wave: bits(0, 4),
            queue: Some(HardwareQueue { me: bits(30, 2), pipe: bits(6, 2), queue: bits(24, 3) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gfx9_fields() {
        let word = 3 | 2 << 4 | 1 << 6 | 14 << 8 | 1 << 12 | 3 << 13 | 5 << 24 | 1 << 30;
        let id = HwId::decode(9, word);
        assert_eq!((id.wave, id.simd, id.cu, id.sh, id.se), (3, 2, 14, 1, 3));
        assert_eq!(id.queue.unwrap().to_string(), "1.1.5");
    }

    #[test]
    fn gfx10_fields() {
        let id = HwId::decode(10, 7 | 1 << 8 | 9 << 10 | 1 << 16 | 2 << 18);
        assert_eq!((id.wave, id.simd, id.cu, id.sh, id.se, id.queue), (7, 1, 9, 1, 2, None));
    }
}
