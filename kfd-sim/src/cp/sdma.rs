//! One system DMA queue: packets of variable length, executed in order.
//!
//! Read and write index are byte counts that never wrap; the place in the ring is the index modulo its size. Layouts are
//! those of SDMA 4 (Vega): the Linux driver's `vega10_sdma_pkt_open.h`. A copy's bytes move when its packet starts; the
//! read index and everything behind wait until its time is over.

use super::common::{Common, Device, Stop, What};
use super::gpu_memory::GpuMemory;
use super::log::CopyRecord;
use super::races::QueueOrder;
use crate::memory::AddressSpace;

/// Words of the longest packet whose contents matter.
const LONGEST: usize = 13;

const NOP: u8 = 0;
const COPY: u8 = 1;
const FENCE: u8 = 5;
const TRAP: u8 = 6;
const POLL_REGMEM: u8 = 8;
const ATOMIC: u8 = 10;
const CONST_FILL: u8 = 11;
const TIMESTAMP: u8 = 13;

const COPY_LINEAR: u8 = 0;
const COPY_LINEAR_RECT: u8 = 4;
const TIMESTAMP_GET_GLOBAL: u8 = 2;
/// Atomic operations of the memory controller (TC_OP): 32- and 64-bit add.
const ATOMIC_ADD_32: u32 = 15;
const ATOMIC_ADD_64: u32 = 47;

/// A decoded packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Nop,
    Copy {
        src: u64,
        dst: u64,
        bytes: u64,
    },
    CopyRect {
        src: Plane,
        dst: Plane,
        row_bytes: u64,
        rows: u64,
        slices: u64,
    },
    Fill {
        dst: u64,
        bytes: u64,
        pattern: u32,
        log2: u32,
    },
    Fence {
        va: u64,
        value: u32,
    },
    Trap {
        event: u32,
    },
    Poll {
        va: u64,
        function: u32,
        reference: u32,
        mask: u32,
    },
    /// Flush of the host data path: nothing to do, the memory is coherent.
    HdpFlush,
    Add32 {
        va: u64,
        value: u32,
    },
    Add64 {
        va: u64,
        value: u64,
    },
    Timestamp {
        va: u64,
    },
}

/// One side of a rectangular copy: first byte, and bytes from row to row and from slice to slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plane {
    start: u64,
    pitch: u64,
    slice: u64,
}

/// Words of the packet with this header, or `None` if the operation is unknown.
fn length(header: u32) -> Option<u64> {
    Some(match (header as u8, (header >> 8) as u8) {
        (NOP, _) => 1 + u64::from(header >> 16 & 0x3fff),
        (COPY, COPY_LINEAR) => 7,
        (COPY, COPY_LINEAR_RECT) => 13,
        (FENCE, _) => 4,
        (TRAP, _) => 2,
        (POLL_REGMEM, 0) => 6,
        (ATOMIC, _) => 8,
        (CONST_FILL, _) => 5,
        (TIMESTAMP, TIMESTAMP_GET_GLOBAL) => 3,
        _ => return None,
    })
}

/// Decodes one packet of the right length.
fn decode(words: &[u32]) -> Result<Command, String> {
    let header = words[0];
    let address = |low: usize| u64::from(words[low]) | u64::from(words[low + 1]) << 32;
    Ok(match header as u8 {
        NOP => Command::Nop,
        COPY if (header >> 8) as u8 == COPY_LINEAR_RECT => {
            let element = header >> 29;
            if element > 4 {
                return Err(format!("COPY_LINEAR_RECT with the reserved element size {element}"));
            }
            // Five words for each side: address, offsets, pitches less one; all counts in elements.
            let plane = |at: usize| {
                let [x, y] = [0, 16].map(|shift| u64::from(words[at + 2] >> shift & 0x3fff));
                let z = u64::from(words[at + 3] & 0x7ff);
                let pitch = (u64::from(words[at + 3] >> 13) + 1) << element;
                let slice = (u64::from(words[at + 4] & 0x0fff_ffff) + 1) << element;
                let start = address(at).wrapping_add((x << element) + y * pitch + z * slice);
                Plane { start, pitch, slice }
            };
            let size = |word: u32, mask| u64::from(word & mask) + 1;
            Command::CopyRect {
                src: plane(1),
                dst: plane(6),
                row_bytes: size(words[11], 0x3fff) << element,
                rows: size(words[11] >> 16, 0x3fff),
                slices: size(words[12], 0x7ff),
            }
        }
        COPY => {
            Command::Copy { src: address(3), dst: address(5), bytes: u64::from(words[1] & 0x3f_ffff) + 1 }
        }
        FENCE => Command::Fence { va: address(1), value: words[3] },
        TRAP => Command::Trap { event: words[1] & 0x0fff_ffff },
        POLL_REGMEM if header >> 31 != 0 => {
            let function = header >> 28 & 7;
            if function == 7 {
                return Err("POLL_REGMEM with the reserved function 7".into());
            }
            Command::Poll { va: address(1), function, reference: words[3], mask: words[4] }
        }
        // A register poll that always passes, the form in which ROCr asks for a flush.
        POLL_REGMEM if header >> 28 & 7 == 0 => Command::HdpFlush,
        POLL_REGMEM => return Err("POLL_REGMEM of a register is not simulated".into()),
        ATOMIC => match header >> 25 {
            ATOMIC_ADD_32 => Command::Add32 { va: address(1), value: words[3] },
            ATOMIC_ADD_64 => Command::Add64 { va: address(1), value: address(3) },
            other => return Err(format!("ATOMIC operation {other} is not simulated")),
        },
        CONST_FILL => {
            let log2 = header >> 30;
            if log2 > 2 {
                return Err("CONST_FILL with the reserved size 3".into());
            }
            // The count is of bytes, less one element.
            let element = 1u64 << log2;
            let count = u64::from(words[4] & 0x3f_ffff);
            let bytes = (count & !(element - 1)) + element;
            Command::Fill { dst: address(1), bytes, pattern: words[3], log2 }
        }
        TIMESTAMP => Command::Timestamp { va: address(1) },
        other => return Err(format!("operation {other} is not simulated")),
    })
}

/// See the module's description.
pub(crate) struct SdmaQueue {
    /// Byte index of the next packet.
    next: u64,
    /// What the host last saw as read index.
    shown: u64,
    /// Race detection.
    order: QueueOrder,
}

impl SdmaQueue {
    pub fn new(read: u64) -> Self {
        Self { next: read, shown: read, order: QueueOrder::default() }
    }

    pub fn wants_attention(&self, common: &Common) -> bool {
        common.wptr > self.next || self.shown != self.next
    }

    pub fn step(&mut self, common: &mut Common, device: &mut Device, now: u64) -> Result<bool, Stop> {
        let mut moved = false;
        if let Some(races) = device.races.as_ref().filter(|_| common.wptr > self.next) {
            self.order.host(races);
        }
        while now >= common.ready_at {
            if self.shown != self.next {
                device.mem.store64(common.desc.read_ptr_va, self.next)?;
                self.shown = self.next;
            }
            if self.next >= common.wptr || common.permits == Some(0) || !self.execute(common, device, now)? {
                break;
            }
            moved = true;
        }
        Ok(moved)
    }

    fn word(&self, common: &Common, mem: &AddressSpace, at: u64) -> Result<u32, Stop> {
        let offset = self.next.wrapping_add(4 * at) % common.desc.ring_bytes;
        Ok(mem.load32(common.desc.ring_va + offset)?)
    }

    /// Executes the packet at `next`; false if it must wait.
    fn execute(&mut self, common: &mut Common, device: &mut Device, now: u64) -> Result<bool, Stop> {
        let (mem, l2) = (&*device.mem, &mut device.l2);
        // Strict memory: kernels go on seeing VRAM as it was until a system acquire.
        let mut keep_old = |dst, bytes| l2.iter_mut().for_each(|l2| l2.keep_old(mem, dst, bytes));
        let bad = |at: u64, what: String| {
            Stop::Error(super::aql::QueueError::PacketFormat, format!("SDMA packet at byte {at}: {what}"))
        };
        let header = self.word(common, mem, 0)?;
        let words = length(header)
            .ok_or_else(|| bad(self.next, format!("operation of header {header:#010x} is not simulated")))?;
        if common.wptr - self.next < 4 * words {
            return Err(bad(self.next, format!("{words} words reach past the write index")));
        }
        let mut packet = [0; LONGEST];
        // NOPs may be longer than any other packet; their bodies mean nothing.
        let used = words.min(LONGEST as u64) as usize;
        for (i, word) in packet[..used].iter_mut().enumerate() {
            *word = self.word(common, mem, i as u64)?;
        }
        let command = decode(&packet[..used]).map_err(|what| bad(self.next, what))?;
        let mut cost = 0;
        let mut changed = None;
        let mut copied = None;
        match command {
            Command::Nop | Command::HdpFlush => {}
            Command::Copy { src, dst, bytes } => {
                keep_old(dst, bytes);
                mem.copy(dst, src, bytes)?;
                cost = device.model.copy_ns(bytes);
                copied = Some((false, bytes));
            }
            Command::CopyRect { src, dst, row_bytes, rows, slices } => {
                for (slice, row) in (0..slices).flat_map(|slice| (0..rows).map(move |row| (slice, row))) {
                    let at = |p: Plane| p.start.wrapping_add(slice * p.slice + row * p.pitch);
                    keep_old(at(dst), row_bytes);
                    mem.copy(at(dst), at(src), row_bytes)?;
                }
                cost = device.model.copy_ns(row_bytes * rows * slices);
                copied = Some((false, row_bytes * rows * slices));
            }
            Command::Fill { dst, bytes, pattern, log2 } => {
                keep_old(dst, bytes);
                mem.fill(dst, bytes, pattern, log2)?;
                cost = device.model.copy_ns(bytes);
                copied = Some((true, bytes));
            }
            Command::Fence { va, value } => {
                mem.store32(va, value)?;
                changed = Some((va, value.into()));
            }
            Command::Trap { event } => device.interrupts.event(event),
            Command::Poll { va, function, reference, mask } => {
                let value = mem.load32(va)?;
                if !holds(function, value & mask, reference) {
                    return Ok(false);
                }
                if let Some(races) = &device.races {
                    self.order.wait(races, va & !7, value.into());
                }
            }
            Command::Add32 { va, value } => {
                changed = Some((va, mem.add32(va, value)?.wrapping_add(value).into()));
            }
            Command::Add64 { va, value } => {
                changed = Some((va, mem.add64(va, value)?.wrapping_add(value)));
            }
            Command::Timestamp { va } => mem.store64(va, device.clock.counter_at(now))?,
        }
        self.next += 4 * words;
        common.use_permit();
        if let (Some(races), Some((va, value))) = (&mut device.races, changed) {
            self.order.signal(races, va & !7, value);
        }
        if let Some((fill, bytes)) = copied.filter(|_| device.tracing) {
            let (queue, start_ns, end_ns) = (common.id, now, now + cost);
            device.with_record(|r| r.copied(CopyRecord { queue, fill, bytes, start_ns, end_ns }));
        }
        if command != Command::Nop {
            device.with_record(|r| r.queue(common.id).sdma_packets += 1);
        }
        if cost > 0 {
            common.ready_at = now + cost;
            device.schedule(common.ready_at, common.id, What::Wake);
        }
        Ok(true)
    }
}

/// POLL_REGMEM's comparison functions.
fn holds(function: u32, value: u32, reference: u32) -> bool {
    match function {
        0 => true,
        1 => value < reference,
        2 => value <= reference,
        3 => value == reference,
        4 => value != reference,
        5 => value >= reference,
        6 => value > reference,
        _ => unreachable!("refused by decode"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_less_one() {
        let copy = [1, 15, 0, 0x10, 0x1, 0x20, 0x2];
        let expected = Command::Copy { src: 0x1_0000_0010, dst: 0x2_0000_0020, bytes: 16 };
        assert_eq!(decode(&copy), Ok(expected));
        let fill = [11 | 2 << 30, 0x10, 0, 7, 12];
        assert_eq!(decode(&fill), Ok(Command::Fill { dst: 0x10, bytes: 16, pattern: 7, log2: 2 }));
    }

    #[test]
    fn the_flush_of_rocr_is_a_poll_that_passes() {
        assert_eq!(decode(&[8, 0, 0x8000_0000, 0, 0, 0]), Ok(Command::HdpFlush));
        let poll = [8 | 3 << 28 | 1 << 31, 0x10, 0, 5, !0, 0];
        assert_eq!(decode(&poll), Ok(Command::Poll { va: 0x10, function: 3, reference: 5, mask: !0 }));
    }

    #[test]
    fn comparisons() {
        let results: Vec<_> = (0..7).map(|f| (holds(f, 1, 2), holds(f, 2, 2), holds(f, 3, 2))).collect();
        let t = true;
        let f = false;
        assert_eq!(results, [(t, t, t), (t, f, f), (t, t, f), (f, t, f), (t, f, t), (f, t, t), (f, f, t)]);
    }

    #[test]
    fn unknown_operations_have_no_length_or_say_why() {
        assert_eq!(length(0x11), None);
        assert_eq!(length(0x0500 | u32::from(COPY)), None);
        assert!(decode(&[10 | 3 << 25, 0, 0, 0, 0, 0, 0, 0]).is_err());
    }
}
