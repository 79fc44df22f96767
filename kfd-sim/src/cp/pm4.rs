//! The PM4 commands that reach an AQL queue: a vendor packet that jumps to an indirect buffer.
//!
//! ROCr 5.2.3 sends exactly one kind, after it has loaded code: an ACQUIRE_MEM that writes back and invalidates the caches. It makes no PM4 queues on gfx9. Packet formats: the Linux driver's `soc15d.h`.

use super::gpu_memory::GpuMemory;
use crate::memory::{AddressSpace, MemoryFault};

const NOP: u32 = 0x10;
const INDIRECT_BUFFER: u32 = 0x3f;
const ACQUIRE_MEM: u32 = 0x58;
/// ACQUIRE_MEM, COHER_CNTL: invalidate the instruction cache.
const SH_ICACHE_ACTION: u32 = 1 << 29;
/// Invalidate the scalar cache.
const SH_KCACHE_ACTION: u32 = 1 << 27;
/// Invalidate the L2.
const TC_ACTION: u32 = 1 << 23;
/// Invalidate the vector L1.
const TCL1_ACTION: u32 = 1 << 22;
/// Write the L2 back.
const TC_WB_ACTION: u32 = 1 << 18;

/// Why an indirect buffer cannot be executed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Pm4Error {
    #[error("the PM4 packet is not a jump to an indirect buffer: {0:#010x}")]
    NotAJump(u32),
    #[error("PM4 opcode {opcode:#x} at {va:#x} is not simulated")]
    Opcode { opcode: u32, va: u64 },
    #[error("PM4 header {header:#010x} at {va:#x} is not of type 3, or runs past its buffer")]
    Malformed { header: u32, va: u64 },
    #[error(transparent)]
    Memory(#[from] MemoryFault),
}

/// What the commands asked of the caches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheActions {
    /// Decoded instructions are stale.
    pub invalidate_code: bool,
    /// As a fence scope: 1 for L1 or scalar cache, 2 for the L2.
    pub acquire: u8,
    /// As a fence scope: 2 to write the L2 back.
    pub release: u8,
}

fn opcode(header: u32) -> Option<u32> {
    (header >> 30 == 3).then_some(header >> 8 & 0xff)
}

/// Executes the jump (four words of the AQL packet) and the buffer that it names.
pub(crate) fn execute(jump: [u32; 4], mem: &AddressSpace) -> Result<CacheActions, Pm4Error> {
    if opcode(jump[0]) != Some(INDIRECT_BUFFER) {
        return Err(Pm4Error::NotAJump(jump[0]));
    }
    let base = u64::from(jump[1] & !3) | u64::from(jump[2] & 0xffff) << 32;
    let words = u64::from(jump[3] & 0xf_ffff);
    let mut actions = CacheActions::default();
    let mut at = 0;
    while at < words {
        let va = base + 4 * at;
        let header = mem.load32(va)?;
        let len = u64::from(header >> 16 & 0x3fff) + 2;
        let opcode = opcode(header).ok_or(Pm4Error::Malformed { header, va })?;
        // A NOP with the largest count is one word long.
        let len = if opcode == NOP && len == 0x4001 { 1 } else { len };
        if at + len > words {
            return Err(Pm4Error::Malformed { header, va });
        }
        match opcode {
            NOP => {}
            ACQUIRE_MEM => {
                let coherence = mem.load32(va + 4)?;
                let acquire = match coherence {
                    bits if bits & TC_ACTION != 0 => 2,
                    bits if bits & (SH_KCACHE_ACTION | TCL1_ACTION) != 0 => 1,
                    _ => 0,
                };
                actions.acquire = actions.acquire.max(acquire);
                if coherence & TC_WB_ACTION != 0 {
                    actions.release = 2;
                }
                actions.invalidate_code |= coherence & SH_ICACHE_ACTION != 0;
            }
            _ => return Err(Pm4Error::Opcode { opcode, va }),
        }
        at += len;
    }
    Ok(actions)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryKind, Span};

    fn run(ib: &[u32]) -> Result<CacheActions, Pm4Error> {
        let mut buffer = ib.to_vec();
        let space = AddressSpace::new();
        let host = buffer.as_mut_ptr().cast();
        let span = Span {
            va: 0x1000,
            len: 4 * ib.len() as u64,
            host,
            memory: MemoryKind::Host,
            writable: true,
            executable: true,
        };
        // SAFETY: `buffer` outlives `space`.
        unsafe { space.map(span) };
        execute([0xc002_3f00, 0x1000, 0, ib.len() as u32 | 1 << 23], &space)
    }

    #[test]
    fn the_cache_flush_of_rocr_invalidates_code() {
        let flush = [0xc005_5800, 1 << 29 | 1 << 27 | 1 << 23 | 1 << 18, !0, 0xff, 0, 0, 0];
        assert_eq!(run(&flush), Ok(CacheActions { invalidate_code: true, acquire: 2, release: 2 }));
        let scalar = [0xc005_5800, 1 << 27, !0, 0xff, 0, 0, 0];
        assert_eq!(run(&scalar), Ok(CacheActions { acquire: 1, ..CacheActions::default() }));
        assert_eq!(run(&[0xc000_1000, 0]), Ok(CacheActions::default()));
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        assert_eq!(run(&[0xc000_3700, 0]), Err(Pm4Error::Opcode { opcode: 0x37, va: 0x1000 }));
        assert!(matches!(run(&[0xc005_5800, 0]), Err(Pm4Error::Malformed { .. })));
        assert!(matches!(run(&[0, 0]), Err(Pm4Error::Malformed { .. })));
        assert_eq!(execute([0, 0, 0, 0], &AddressSpace::new()), Err(Pm4Error::NotAJump(0)));
    }
}
