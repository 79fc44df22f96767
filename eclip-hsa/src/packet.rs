//! AQL packets as plain data (HSA System Architecture 1.2, section 2.9; HSA Runtime 1.2, `hsa.h`).
//!
//! A packet is 64 bytes: a 16-bit header, 16 bits that depend on the type, and a body. Nothing here touches a queue.
//! The first dword (header and the following 16 bits) is what makes a packet valid, so it is kept apart from the body:
//! a ring writes the body first and stores the first dword with release order last.

use std::fmt;

/// Bytes of an AQL packet.
pub const PACKET_BYTES: usize = 64;
/// 32-bit words of an AQL packet.
pub const PACKET_DWORDS: usize = PACKET_BYTES / 4;
/// Dependencies that one barrier-AND or barrier-OR packet can hold.
pub const BARRIER_DEPENDENCIES: usize = 5;

/// Packet types of HSA. The values are those of the header's low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// Defined by the vendor; AMD's are PM4 indirect buffers and barrier-value.
    VendorSpecific = 0,
    /// Owned by the producer: the packet processor waits here.
    Invalid = 1,
    /// Launches a kernel.
    KernelDispatch = 2,
    /// Completes when all its dependencies are zero.
    BarrierAnd = 3,
    /// For a host or other agent's service queue.
    AgentDispatch = 4,
    /// Completes when one of its dependencies is zero.
    BarrierOr = 5,
}

/// How far a fence reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum FenceScope {
    /// No fence.
    #[default]
    None = 0,
    /// The packets of the same agent.
    Agent = 1,
    /// Every agent and the host.
    System = 2,
}

/// The 16-bit header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Packet type.
    pub kind: PacketKind,
    /// Waits for every earlier packet of the queue to complete. Implies no fence.
    pub barrier: bool,
    /// Applied before the packet is processed.
    pub acquire: FenceScope,
    /// Applied after the packet has completed, before its signal.
    pub release: FenceScope,
}

impl Header {
    /// No barrier bit and no fences.
    pub const fn new(kind: PacketKind) -> Self {
        Self { kind, barrier: false, acquire: FenceScope::None, release: FenceScope::None }
    }

    /// The header's bits: type 0-7, barrier 8, acquire 9-10, release 11-12.
    pub const fn bits(self) -> u16 {
        self.kind as u16
            | (self.barrier as u16) << 8
            | (self.acquire as u16) << 9
            | (self.release as u16) << 11
    }

    /// Reads a header; `None` for a type or scope that HSA does not define.
    pub fn from_bits(bits: u16) -> Option<Self> {
        let scope = |shift: u16| match bits >> shift & 3 {
            0 => Some(FenceScope::None),
            1 => Some(FenceScope::Agent),
            2 => Some(FenceScope::System),
            _ => None,
        };
        let kind = match bits & 0xff {
            0 => PacketKind::VendorSpecific,
            1 => PacketKind::Invalid,
            2 => PacketKind::KernelDispatch,
            3 => PacketKind::BarrierAnd,
            4 => PacketKind::AgentDispatch,
            5 => PacketKind::BarrierOr,
            _ => return None,
        };
        Some(Self { kind, barrier: bits >> 8 & 1 == 1, acquire: scope(9)?, release: scope(11)? })
    }
}

/// A kernel dispatch packet's fields. Addresses and handles are raw: nothing is checked here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelDispatch {
    /// Work-items of a workgroup in x, y, z.
    pub workgroup_size: [u16; 3],
    /// Work-items of the grid in x, y, z.
    pub grid_size: [u32; 3],
    /// Scratch bytes a work-item.
    pub private_segment_size: u32,
    /// LDS bytes a workgroup.
    pub group_segment_size: u32,
    /// Handle of the kernel's descriptor.
    pub kernel_object: u64,
    /// Address of the kernel's arguments.
    pub kernarg_address: u64,
    /// Signal decremented on completion; 0 for none.
    pub completion_signal: u64,
}

/// A barrier-AND (or barrier-OR) packet's fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Barrier {
    /// Signals waited for; 0 for none.
    pub dependencies: [u64; BARRIER_DEPENDENCIES],
    /// Signal decremented on completion; 0 for none.
    pub completion_signal: u64,
}

/// An encoded AQL packet. Reserved fields are zero.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Packet {
    dwords: [u32; PACKET_DWORDS],
}

const _: () = assert!(size_of::<Packet>() == PACKET_BYTES);

impl Packet {
    /// A kernel dispatch. The number of dimensions follows from the grid: trailing ones are dropped.
    pub fn kernel_dispatch(header: Header, fields: &KernelDispatch) -> Self {
        debug_assert_eq!(header.kind, PacketKind::KernelDispatch);
        let [wx, wy, wz] = fields.workgroup_size.map(u32::from);
        let grid = fields.grid_size;
        let dimensions = if grid[2] > 1 {
            3
        } else if grid[1] > 1 {
            2
        } else {
            1
        };
        let mut packet = Self { dwords: [0; PACKET_DWORDS] };
        packet.dwords[0] = u32::from(header.bits()) | dimensions << 16;
        packet.dwords[1] = wx | wy << 16;
        packet.dwords[2] = wz;
        packet.dwords[3..6].copy_from_slice(&grid);
        packet.dwords[6] = fields.private_segment_size;
        packet.dwords[7] = fields.group_segment_size;
        packet.set_u64(8, fields.kernel_object);
        packet.set_u64(10, fields.kernarg_address);
        packet.set_u64(14, fields.completion_signal);
        packet
    }

    /// A barrier-AND or barrier-OR packet, as the header says.
    pub fn barrier(header: Header, fields: &Barrier) -> Self {
        debug_assert!(matches!(header.kind, PacketKind::BarrierAnd | PacketKind::BarrierOr));
        let mut packet = Self { dwords: [0; PACKET_DWORDS] };
        packet.dwords[0] = u32::from(header.bits());
        for (index, &dependency) in fields.dependencies.iter().enumerate() {
            packet.set_u64(2 + 2 * index, dependency);
        }
        packet.set_u64(14, fields.completion_signal);
        packet
    }

    /// A packet from its 16 dwords, as found in a ring.
    pub const fn from_dwords(dwords: [u32; PACKET_DWORDS]) -> Self {
        Self { dwords }
    }

    /// All dwords. `dwords()[0]` is the one that makes the packet valid.
    pub const fn dwords(&self) -> &[u32; PACKET_DWORDS] {
        &self.dwords
    }

    /// The header, if it is one that HSA defines.
    pub fn header(&self) -> Option<Header> {
        Header::from_bits(self.dwords[0] as u16)
    }

    /// Replaces the header and keeps the rest.
    pub fn set_header(&mut self, header: Header) {
        self.dwords[0] = self.dwords[0] & 0xffff_0000 | u32::from(header.bits());
    }

    /// A barrier packet with an INVALID header, without dependencies and signal.
    pub(crate) const EMPTY_BARRIER: Self = {
        let mut dwords = [0; PACKET_DWORDS];
        dwords[0] = PacketKind::Invalid as u32;
        Self { dwords }
    };
    /// Dword of the kernarg address in a kernel dispatch.
    pub(crate) const KERNARGS: usize = 10;
    /// Dword of the completion signal.
    pub(crate) const SIGNAL: usize = 14;
    /// Dword of the first dependency of a barrier packet; each takes two.
    pub(crate) const DEPENDENCIES: usize = 2;

    /// The kernarg address of a kernel dispatch. The header is not looked at.
    pub(crate) fn kernargs(&self) -> u64 {
        self.u64_at(Self::KERNARGS)
    }

    /// Gives the packet an INVALID header: a recorded packet has it until its body is in a ring.
    pub fn invalidate(&mut self) {
        self.dwords[0] = PacketKind::Invalid as u32;
    }

    /// Replaces the first dword: header and setup.
    pub fn set_first(&mut self, dword: u32) {
        self.dwords[0] = dword;
    }

    /// Adds `by` to a kernel dispatch's kernarg address. The header is not looked at.
    pub fn shift_kernargs(&mut self, by: u64) {
        self.set_u64(10, self.u64_at(10).wrapping_add(by));
    }

    /// Sets dependency `index` of a barrier packet. The header is not looked at.
    pub fn set_dependency(&mut self, index: usize, signal: u64) {
        assert!(index < BARRIER_DEPENDENCIES, "a barrier packet has {BARRIER_DEPENDENCIES} dependencies");
        self.set_u64(2 + 2 * index, signal);
    }

    /// The completion signal's handle, the same field in every packet type.
    pub fn completion_signal(&self) -> u64 {
        self.u64_at(14)
    }

    /// Replaces the completion signal's handle.
    pub fn set_completion_signal(&mut self, handle: u64) {
        self.set_u64(14, handle);
    }

    /// The fields of a kernel dispatch; `None` for another type.
    pub fn as_kernel_dispatch(&self) -> Option<KernelDispatch> {
        if self.header()?.kind != PacketKind::KernelDispatch {
            return None;
        }
        let [w1, w2] = [self.dwords[1], self.dwords[2]];
        Some(KernelDispatch {
            workgroup_size: [w1 as u16, (w1 >> 16) as u16, w2 as u16],
            grid_size: [self.dwords[3], self.dwords[4], self.dwords[5]],
            private_segment_size: self.dwords[6],
            group_segment_size: self.dwords[7],
            kernel_object: self.u64_at(8),
            kernarg_address: self.u64_at(10),
            completion_signal: self.u64_at(14),
        })
    }

    /// The fields of a barrier packet; `None` for another type.
    pub fn as_barrier(&self) -> Option<Barrier> {
        if !matches!(self.header()?.kind, PacketKind::BarrierAnd | PacketKind::BarrierOr) {
            return None;
        }
        Some(Barrier {
            dependencies: std::array::from_fn(|index| self.u64_at(2 + 2 * index)),
            completion_signal: self.u64_at(14),
        })
    }

    fn set_u64(&mut self, dword: usize, value: u64) {
        self.dwords[dword] = value as u32;
        self.dwords[dword + 1] = (value >> 32) as u32;
    }

    fn u64_at(&self, dword: usize) -> u64 {
        u64::from(self.dwords[dword]) | u64::from(self.dwords[dword + 1]) << 32
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Packet");
        out.field("header", &self.header());
        if let Some(dispatch) = self.as_kernel_dispatch() {
            out.field("kernel_dispatch", &dispatch);
        } else if let Some(barrier) = self.as_barrier() {
            out.field("barrier", &barrier);
        } else {
            out.field("dwords", &self.dwords);
        }
        out.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hsa_sys::*;
    use proptest::prelude::*;

    /// Reads an encoded packet through the C type of `hsa.h`: an independent view of the layout.
    fn as_c<T: Copy>(packet: &Packet) -> T {
        assert_eq!(size_of::<T>(), PACKET_BYTES);
        // SAFETY: T is one of hsa.h's 64-byte packet structs, made of integers only, and Packet is 64 aligned bytes.
        unsafe { *std::ptr::from_ref(packet).cast::<T>() }
    }

    fn any_scope() -> impl Strategy<Value = FenceScope> {
        prop_oneof![Just(FenceScope::None), Just(FenceScope::Agent), Just(FenceScope::System)]
    }

    fn any_header(kind: PacketKind) -> impl Strategy<Value = Header> {
        (any::<bool>(), any_scope(), any_scope()).prop_map(move |(barrier, acquire, release)| Header {
            kind,
            barrier,
            acquire,
            release,
        })
    }

    proptest! {
        #[test]
        fn kernel_dispatch_matches_hsa_h(
            header in any_header(PacketKind::KernelDispatch),
            workgroup_size: [u16; 3], grid_size: [u32; 3],
            sizes: [u32; 2], handles: [u64; 3],
        ) {
            let fields = KernelDispatch {
                workgroup_size, grid_size, private_segment_size: sizes[0], group_segment_size: sizes[1],
                kernel_object: handles[0], kernarg_address: handles[1], completion_signal: handles[2],
            };
            let packet = Packet::kernel_dispatch(header, &fields);
            let c: hsa_kernel_dispatch_packet_t = as_c(&packet);
            prop_assert_eq!(c.header, header.bits());
            prop_assert_eq!([c.workgroup_size_x, c.workgroup_size_y, c.workgroup_size_z], workgroup_size);
            prop_assert_eq!([c.grid_size_x, c.grid_size_y, c.grid_size_z], grid_size);
            prop_assert_eq!((c.private_segment_size, c.group_segment_size), (sizes[0], sizes[1]));
            prop_assert_eq!((c.kernel_object, c.kernarg_address as u64, c.completion_signal.handle), handles.into());
            prop_assert_eq!((c.reserved0, c.reserved2), (0, 0));
            prop_assert!((1..=3).contains(&c.setup));
            prop_assert_eq!(packet.as_kernel_dispatch(), Some(fields));
            prop_assert_eq!(packet.header(), Some(header));
            prop_assert_eq!(packet.as_barrier(), None);
        }

        #[test]
        fn barrier_and_matches_hsa_h(
            header in any_header(PacketKind::BarrierAnd), dependencies: [u64; 5], completion_signal: u64,
        ) {
            let fields = Barrier { dependencies, completion_signal };
            let packet = Packet::barrier(header, &fields);
            let c: hsa_barrier_and_packet_t = as_c(&packet);
            prop_assert_eq!(c.header, header.bits());
            prop_assert_eq!(c.dep_signal.map(|signal| signal.handle), dependencies);
            prop_assert_eq!(c.completion_signal.handle, completion_signal);
            prop_assert_eq!((c.reserved0, c.reserved1, c.reserved2), (0, 0, 0));
            prop_assert_eq!(packet.as_barrier(), Some(fields));
        }

        #[test]
        fn header_bits_are_those_of_hsa_h(header in any_header(PacketKind::KernelDispatch)) {
            let bits = u32::from(header.bits());
            prop_assert_eq!(bits >> HSA_PACKET_HEADER_TYPE & 0xff, HSA_PACKET_TYPE_KERNEL_DISPATCH);
            prop_assert_eq!(bits >> HSA_PACKET_HEADER_BARRIER & 1, u32::from(header.barrier));
            prop_assert_eq!(bits >> HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE & 3, header.acquire as u32);
            prop_assert_eq!(bits >> HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE & 3, header.release as u32);
        }

        #[test]
        fn any_16_bits_decode_or_are_refused(bits: u16) {
            if let Some(header) = Header::from_bits(bits) {
                prop_assert_eq!(header.bits(), bits & 0x1fff);
            }
        }
    }

    #[test]
    fn dimensions_follow_the_grid() {
        let setup = |grid_size| {
            let fields = KernelDispatch { workgroup_size: [64, 1, 1], grid_size, ..Default::default() };
            let packet = Packet::kernel_dispatch(Header::new(PacketKind::KernelDispatch), &fields);
            packet.dwords()[0] >> 16
        };
        assert_eq!((setup([64, 1, 1]), setup([64, 2, 1]), setup([64, 1, 2])), (1, 2, 3));
    }
}
