//! What is benchmarked without a device: packets, and a ring over plain memory.
//!
//! `cargo bench -p eclip-benches` measures time. The program `ring_instructions` does the same work a given number of times, so that
//! its instructions can be counted; `tests/instructions.rs` does that.

use eclip_hsa::bench_support::{PlainRing, Recorded};
use eclip_hsa::packet::{FenceScope, Header, KernelDispatch, Packet, PacketKind};

/// Packets of a batch, in a ring of twice that.
pub const BATCH: usize = 1024;

/// A kernel dispatch, encoded, as one of many.
pub fn packet(number: usize) -> Packet {
    let header = Header {
        barrier: true,
        acquire: FenceScope::Agent,
        release: FenceScope::Agent,
        ..Header::new(PacketKind::KernelDispatch)
    };
    let fields = KernelDispatch {
        workgroup_size: [64, 1, 1],
        grid_size: [64 * (number as u32 + 1), 1, 1],
        private_segment_size: 0,
        group_segment_size: 0,
        kernel_object: 0x7f00_0000_1000,
        kernarg_address: 0x7f00_0010_0000 + 64 * number as u64,
        completion_signal: 0,
    };
    Packet::kernel_dispatch(header, &fields)
}

/// What the instruction counts are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// Encodes a dispatch packet.
    Encode,
    /// A batch of [`BATCH`] packets into the ring.
    Batch,
    /// One packet into the ring.
    Single,
}

impl Case {
    /// Every case.
    pub const ALL: [Case; 3] = [Case::Encode, Case::Batch, Case::Single];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Case::Encode => "encode",
            Case::Batch => "batch",
            Case::Single => "single",
        }
    }

    /// Packets of one turn.
    pub fn packets(self) -> usize {
        if self == Case::Batch { BATCH } else { 1 }
    }
}

/// A ring, and packets to put into it.
pub struct Bench {
    ring: PlainRing,
    batch: Recorded,
    single: Recorded,
}

impl Default for Bench {
    fn default() -> Self {
        let packets: Vec<Packet> = (0..BATCH).map(packet).collect();
        Self {
            ring: PlainRing::new(2 * BATCH as u32),
            batch: Recorded::new(&packets),
            single: Recorded::new(&packets[..1]),
        }
    }
}

impl Bench {
    /// One turn of a case. The ring has room: the packet processor has looked at everything before.
    pub fn turn(&self, case: Case) {
        match case {
            Case::Encode => {
                std::hint::black_box(packet(std::hint::black_box(7)));
            }
            Case::Batch => self.push(&self.batch),
            Case::Single => self.push(&self.single),
        }
    }

    fn push(&self, packets: &Recorded) {
        assert!(self.ring.push(std::hint::black_box(packets)), "there is room");
        std::hint::black_box(self.ring.consume_all());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_arrives_whole_also_around_the_end_of_the_ring() {
        let bench = Bench::default();
        bench.turn(Case::Single);
        for round in 0..4 {
            bench.turn(Case::Batch);
            for number in [0, 1, BATCH / 2, BATCH - 1] {
                let index = 1 + round * BATCH as u64 + number as u64;
                assert_eq!(bench.ring.packet(index), packet(number), "packet {index}");
            }
        }
    }
}
