//! The ring, its publication and kernarg space.
//!
//! Ring memory is loom's `UnsafeCell`, so a body that is read
//! without being ordered after its writing fails the model, whatever its value.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;

use super::model;
use crate::kernarg_ring::{KernargRing, UNIT};
use crate::packet::{Barrier, Header, PACKET_DWORDS, Packet, PacketKind};
use crate::prefix::Prefix;
use crate::ring::{Port, Refused, Ring};

const INVALID: u32 = PacketKind::Invalid as u32;

/// A device whose processor may look at any slot below the write index at any time.
struct Device {
    first: Vec<AtomicU32>,
    body: Vec<UnsafeCell<[u32; PACKET_DWORDS]>>,
    read: AtomicU64,
    write: AtomicU64,
    /// One more than the highest index that the doorbell was rung for.
    rung: AtomicU64,
}

// SAFETY: the bodies are loom's cells, which report every access that is not ordered.
unsafe impl Sync for Device {}
// SAFETY: as for Sync.
unsafe impl Send for Device {}

impl Device {
    fn new(size: usize) -> Self {
        Self {
            first: (0..size).map(|_| AtomicU32::new(INVALID)).collect(),
            body: (0..size).map(|_| UnsafeCell::new([0; PACKET_DWORDS])).collect(),
            read: AtomicU64::new(0),
            write: AtomicU64::new(0),
            rung: AtomicU64::new(0),
        }
    }

    /// The value in the packet at `index`, which must be published.
    fn value(&self, index: u64) -> u32 {
        let slot = index as usize % self.first.len();
        // Relaxed on purpose: the write index alone must have ordered everything below it.
        let first = self.first[slot].load(Ordering::Relaxed);
        assert_eq!(first & 0xff, PacketKind::BarrierAnd as u32, "slot {index} is published and not valid");
        // SAFETY: the packet is published, so its producer is done with it.
        self.body[slot].with(|body| unsafe { (*body)[14] })
    }

    /// Looks at everything that is published and not consumed; returns how many packets that are.
    fn look(&self) -> u64 {
        let read = self.read.load(Ordering::Relaxed);
        let write = self.write.load(Ordering::Acquire);
        for index in read..write {
            self.value(index);
        }
        write.saturating_sub(read)
    }

    /// Takes the oldest packet, if there is one.
    fn consume(&self) -> Option<u32> {
        let read = self.read.load(Ordering::Relaxed);
        if self.write.load(Ordering::Acquire) <= read {
            return None;
        }
        let value = self.value(read);
        self.first[read as usize % self.first.len()].store(INVALID, Ordering::Relaxed);
        self.read.store(read + 1, Ordering::Release);
        Some(value)
    }
}

impl Port for Device {
    fn size(&self) -> u32 {
        self.first.len() as u32
    }

    fn read_index(&self) -> u64 {
        self.read.load(Ordering::Acquire)
    }

    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
        let first = self.first[slot as usize].load(Ordering::Relaxed);
        assert_eq!(first & 0xff, INVALID, "a slot that is still in use was handed out");
        // SAFETY: the slot belongs to the caller; loom checks that.
        self.body[slot as usize].with_mut(|body| unsafe { *body = *dwords });
    }

    fn write_first(&self, slot: u32, dword: u32) {
        self.first[slot as usize].store(dword, Ordering::Release);
    }

    fn raise_write_index(&self, _from: u64, index: u64) {
        self.write.fetch_max(index, Ordering::Release);
    }

    fn ring_doorbell(&self, last: u64) {
        self.rung.fetch_max(last + 1, Ordering::Relaxed);
    }
}

fn packet(value: u32) -> Packet {
    let fields = Barrier { completion_signal: u64::from(value), ..Default::default() };
    Packet::barrier(Header::new(PacketKind::BarrierAnd), &fields)
}

fn push(ring: &Ring<Device>, values: &[u32]) -> Result<u64, Refused> {
    let packets: Vec<Packet> = values.iter().map(|&value| packet(value)).collect();
    ring.try_push(&packets)
}

/// After all producers have ended: everything is published and was rung for.
fn check_all_published(ring: &Ring<Device>, count: u64) {
    assert_eq!(ring.published(), count);
    assert_eq!(ring.port().write.load(Ordering::Relaxed), count);
    assert_eq!(
        ring.port().rung.load(Ordering::Relaxed),
        count,
        "the last packet was published without a doorbell"
    );
}

#[test]
fn two_producers_and_a_device_that_looks_at_any_time() {
    model(None, || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let producers = [&[1u32][..], &[2, 3]].map(|values| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, values).unwrap())
        });
        ring.port().look();
        for producer in producers {
            producer.join().unwrap();
        }
        assert_eq!(ring.port().look(), 3);
        check_all_published(&ring, 3);
    });
}

#[test]
fn three_producers() {
    model(Some(3), || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let producers = [1u32, 2].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, &[value]).unwrap())
        });
        push(&ring, &[3]).unwrap();
        ring.port().look();
        for producer in producers {
            producer.join().unwrap();
        }
        check_all_published(&ring, 3);
    });
}

#[test]
fn a_full_ring_wraps_around_while_the_device_consumes() {
    model(Some(3), || {
        let ring = Arc::new(Ring::new(Device::new(2), 0));
        push(&ring, &[1, 2]).unwrap();
        let producers = [3u32, 4].map(|value| {
            let ring = ring.clone();
            thread::spawn(move || push(&ring, &[value]).is_ok())
        });
        let mut seen: Vec<u32> = (0..2).filter_map(|_| ring.port().consume()).collect();
        let accepted =
            producers.into_iter().map(|producer| producer.join().unwrap()).filter(|&ok| ok).count();
        while let Some(value) = ring.port().consume() {
            seen.push(value);
        }
        assert_eq!(&seen[..2], [1, 2]);
        assert_eq!(seen.len(), 2 + accepted, "what was accepted arrives, once; what was refused does not");
        check_all_published(&ring, seen.len() as u64);
    });
}

#[test]
fn a_producer_that_stops_half_way_holds_up_nobody() {
    model(None, || {
        let ring = Arc::new(Ring::new(Device::new(4), 0));
        let stopped = ring.reserve(1).unwrap();
        let other = ring.clone();
        let producer = thread::spawn(move || push(&other, &[2]).unwrap());
        assert_eq!(ring.port().look(), 0, "the device is never sent past a slot that is still being written");
        assert_eq!(producer.join().unwrap(), 1, "the other producer did not wait");
        assert_eq!((ring.port().look(), ring.published()), (0, 0));
        // It goes on: both are published, with one doorbell.
        ring.fill(stopped, &[packet(1)]);
        assert_eq!(ring.port().look(), 2);
        check_all_published(&ring, 2);
    });
}

#[test]
fn finished_ranges_are_never_left_behind() {
    model(None, || {
        let prefix = Arc::new(Prefix::new(4, 0));
        let threads = [(0, 1), (1, 3)].map(|(start, end)| {
            let prefix = prefix.clone();
            thread::spawn(move || prefix.finish(start, end))
        });
        let moved: Vec<u64> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(prefix.reached(), 3);
        assert_eq!(moved.iter().max(), Some(&3), "whoever moved it last knows how far");
    });
}

#[test]
fn kernarg_space_is_never_handed_out_twice() {
    model(Some(3), || {
        let ring = Arc::new(KernargRing::new(2 * UNIT as usize));
        let block: Arc<[UnsafeCell<u32>; 2]> = Arc::new([UnsafeCell::new(0), UnsafeCell::new(0)]);
        let threads = [1u32, 2].map(|value| {
            let (ring, block) = (ring.clone(), block.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    if let Some(range) = ring.alloc(1) {
                        let cell = &block[range.offset / UNIT as usize];
                        // SAFETY: the range is this thread's until it is released; loom checks that.
                        cell.with_mut(|place| unsafe { *place = value });
                        ring.release(range);
                    }
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(ring.alloc(1).is_some());
    });
}
