//! AQL packets and the structures they name, as bytes in GPU memory. Pure.
//!
//! Sources: HSA System Architecture 1.2, section 2.9 (packets); `amd_hsa_queue.h` and `amd_hsa_signal.h` of ROCr.

/// Bytes of a packet.
pub const PACKET_BYTES: u64 = 64;

/// Field offsets in `amd_queue_t`.
pub(crate) mod queue {
    /// Low 32 bits zero, high 32 bits here: LDS aperture.
    pub const GROUP_APERTURE_HI: u64 = 0x40;
    /// As above, scratch aperture.
    pub const PRIVATE_APERTURE_HI: u64 = 0x44;
    /// The read index, whose address CREATE_QUEUE gives.
    pub const READ_DISPATCH_ID: u64 = 0x80;
    /// WAVES in bits 0-11, WAVESIZE (KiB) in bits 12-24.
    pub const COMPUTE_TMPRING_SIZE: u64 = 0x8c;
    /// Four words.
    pub const SCRATCH_RESOURCE: u64 = 0x90;
    /// Address of the scratch memory.
    pub const SCRATCH_LOCATION: u64 = 0xa0;
    /// Its bytes.
    pub const SCRATCH_BYTES: u64 = 0xa8;
    /// Bit 3: profiling; bit 4: scratch for one use.
    pub const PROPERTIES: u64 = 0xb4;
    /// Signal handle.
    pub const INACTIVE_SIGNAL: u64 = 0xc0;
    /// Whole structure.
    pub const BYTES: u64 = 0x100;

    /// Bit of PROPERTIES: write start and end ticks into completion signals.
    pub const ENABLE_PROFILING: u32 = 1 << 3;
    /// Bit of PROPERTIES: give the scratch memory back after the next dispatch that uses it.
    pub const USE_SCRATCH_ONCE: u32 = 1 << 4;
}

/// Field offsets in `amd_signal_t`.
pub(crate) mod signal {
    /// 64-bit value.
    pub const VALUE: u64 = 8;
    /// Address of the mailbox, or 0.
    pub const MAILBOX: u64 = 16;
    /// What to write there.
    pub const EVENT_ID: u64 = 24;
    /// Start tick.
    pub const START_TS: u64 = 32;
    /// End tick.
    pub const END_TS: u64 = 40;
}

/// Header value of a free slot.
pub const INVALID_HEADER: u16 = 1;

/// What a packet is, by the type byte of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketType {
    /// 0 with format 1: jump to a PM4 indirect buffer.
    Pm4Ib,
    /// 0 with any other format.
    UnknownVendor(u8),
    /// 2.
    KernelDispatch,
    /// 3.
    BarrierAnd,
    /// 4.
    AgentDispatch,
    /// 5.
    BarrierOr,
    /// Not a packet type.
    Unknown(u8),
}

/// One packet, copied out of its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet(pub [u8; PACKET_BYTES as usize]);

impl Packet {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("field inside the packet")
    }
    fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }
    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.bytes(at))
    }

    /// The 16-bit header.
    pub fn header(&self) -> u16 {
        self.u16(0)
    }

    /// Scopes of the acquire fence (header bits 9-10) and the release fence (bits 11-12).
    pub fn fences(&self) -> (u8, u8) {
        ((self.header() >> 9 & 3) as u8, (self.header() >> 11 & 3) as u8)
    }

    /// Header bit 8: wait for every earlier packet of the queue.
    pub fn barrier_bit(&self) -> bool {
        self.header() >> 8 & 1 != 0
    }

    /// Packet type.
    pub fn kind(&self) -> PacketType {
        match self.header() as u8 {
            0 => match self.u16(2) as u8 {
                1 => PacketType::Pm4Ib,
                other => PacketType::UnknownVendor(other),
            },
            2 => PacketType::KernelDispatch,
            3 => PacketType::BarrierAnd,
            4 => PacketType::AgentDispatch,
            5 => PacketType::BarrierOr,
            other => PacketType::Unknown(other),
        }
    }

    /// Completion signal handle, or 0. At the same place in every packet type.
    pub fn completion_signal(&self) -> u64 {
        self.u64(56)
    }

    /// The five dependencies of a barrier-AND or barrier-OR packet; 0 where there is none.
    pub fn dependencies(&self) -> [u64; 5] {
        std::array::from_fn(|i| self.u64(8 + 8 * i))
    }

    /// Kernel dispatch: work-items of a workgroup.
    pub fn workgroup(&self) -> [u16; 3] {
        [4, 6, 8].map(|at| self.u16(at))
    }

    /// Kernel dispatch: work-items of the grid.
    pub fn grid(&self) -> [u32; 3] {
        [12, 16, 20].map(|at| self.u32(at))
    }

    /// Kernel dispatch: private segment bytes of one work-item.
    pub fn private_bytes(&self) -> u32 {
        self.u32(24)
    }

    /// Kernel dispatch: address of the kernel descriptor.
    pub fn kernel_object(&self) -> u64 {
        self.u64(32)
    }
}

/// What `queue_inactive_signal` is set to when a queue stops. ROCr 5.2.3 turns these into HSA statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum QueueError {
    /// More scratch memory wanted: not an error, the runtime allocates it and stores 0.
    InsufficientScratch = 1,
    /// Dimensions of 0 (INCOMPATIBLE_ARGUMENTS).
    Dimensions = 2,
    /// Too much LDS (INVALID_ALLOCATION).
    GroupSegment = 4,
    /// No code there (INVALID_CODE_OBJECT).
    Code = 8,
    /// Unknown packet (INVALID_PACKET_FORMAT).
    PacketFormat = 32,
    /// Workgroup too large (INVALID_ARGUMENT).
    WorkgroupSize = 64,
    /// Registers of a workgroup do not fit a CU (INVALID_ISA).
    Registers = 128,
    /// Unknown vendor packet (INVALID_PACKET_FORMAT).
    VendorPacket = 256,
    /// Scratch for one use is free again: not an error, the runtime takes it and stores 0.
    ScratchReclaim = 512,
    /// Access outside an aperture (MEMORY_APERTURE_VIOLATION).
    Aperture = 0x2000_0000,
    /// ILLEGAL_INSTRUCTION.
    IllegalInstruction = 0x4000_0000,
    /// Trap (EXCEPTION).
    Trap = 0x8000_0000,
}

/// As [`QueueError::exception_bit`], for a memory fault: `EC_QUEUE_WAVE_MEMORY_VIOLATION`.
pub(crate) const MEMORY_VIOLATION: u64 = 1 << 4;

impl QueueError {
    /// The bit that newer runtimes expect in the error word named by the context-save header
    /// (`KFD_EC_MASK` of `linux/kfd_ioctl.h`), if this is an error.
    pub(crate) fn exception_bit(self) -> Option<u64> {
        let code = match self {
            Self::InsufficientScratch | Self::ScratchReclaim => return None,
            Self::Trap => 2,
            Self::IllegalInstruction => 4,
            Self::Aperture => 6,
            Self::Dimensions => 16,
            Self::GroupSegment => 17,
            Self::Code => 18,
            Self::PacketFormat => 20,
            Self::WorkgroupSize => 21,
            Self::Registers => 22,
            Self::VendorPacket => 23,
        };
        Some(1 << (code - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_follow_the_header_and_the_vendor_format() {
        let packet = |first: u32| {
            let mut bytes = [0; 64];
            bytes[..4].copy_from_slice(&first.to_le_bytes());
            Packet(bytes)
        };
        assert_eq!(packet(0x1_0000).kind(), PacketType::Pm4Ib);
        assert_eq!(packet(0x2_0000).kind(), PacketType::UnknownVendor(2));
        assert_eq!(packet(0x1502).kind(), PacketType::KernelDispatch);
        assert!(packet(0x1502).barrier_bit() && !packet(0x1402).barrier_bit());
        assert_eq!((packet(0x0c02).fences(), packet(0x1202).fences()), ((2, 1), (1, 2)));
        assert_eq!(packet(3).kind(), PacketType::BarrierAnd);
        assert_eq!(packet(5).kind(), PacketType::BarrierOr);
        assert_eq!(packet(9).kind(), PacketType::Unknown(9));
    }
}
