//! SDMA queues, as ROCr's SDMA blit uses them.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::rig::*;
use crate::cp::{DoorbellPtr, QueueDesc, QueueKind};

pub struct Sdma<'a> {
    rig: &'a Rig,
    id: u32,
    ring: u64,
    bytes: u64,
    indices: u64,
    doorbell: Box<AtomicU64>,
}

impl<'a> Sdma<'a> {
    pub fn new(rig: &'a Rig, bytes: u64) -> Self {
        let doorbell = Box::new(AtomicU64::new(0));
        let (ring, indices) = (rig.alloc(bytes, 4096), rig.alloc(16, 8));
        let desc = QueueDesc {
            kind: QueueKind::Sdma { engine: None },
            ring_va: ring,
            ring_bytes: bytes,
            read_ptr_va: indices,
            write_ptr_va: indices + 8,
            doorbell: DoorbellPtr(&*doorbell),
            percentage: 100,
            priority: 15,
            ctx_save_va: 0,
            ctx_save_bytes: 0,
            eop_va: 0,
        };
        let id = rig.cp.create_queue(desc).unwrap();
        Self { rig, id, ring, bytes, indices, doorbell }
    }

    fn read(&self) -> u64 {
        self.rig.word(self.indices).load(SeqCst)
    }

    pub fn submit(&self, words: &[u32]) -> u64 {
        let start = self.rig.word(self.indices + 8).load(SeqCst);
        let end = start + 4 * words.len() as u64;
        self.rig.until(|| end - self.read() < self.bytes, || "ring full".into());
        for (i, word) in words.iter().enumerate() {
            let at = (start + 4 * i as u64) % self.bytes;
            self.rig.write(self.ring + at, &word.to_le_bytes());
        }
        self.rig.word(self.indices + 8).store(end, SeqCst);
        self.doorbell.store(end, SeqCst);
        end
    }

    pub fn done(&self, end: u64) {
        self.rig.until(|| self.read() == end, || format!("read index {} of {end}", self.read()));
    }
}

impl Drop for Sdma<'_> {
    fn drop(&mut self) {
        self.rig.cp.destroy_queue(self.id).unwrap();
    }
}

fn halves(va: u64) -> [u32; 2] {
    [va as u32, (va >> 32) as u32]
}

pub fn copy(dst: u64, src: u64, bytes: u32) -> Vec<u32> {
    [&[1, bytes - 1, 0][..], &halves(src), &halves(dst)].concat()
}

fn poll_zero(va: u64) -> Vec<u32> {
    [&[8 | 3 << 28 | 1 << 31][..], &halves(va), &[0, !0, 4 | 0xfff << 16]].concat()
}

fn decrement(va: u64) -> Vec<u32> {
    [&[10 | 47 << 25][..], &halves(va), &[!0, !0, 0, 0, 0]].concat()
}

fn timestamp(va: u64) -> Vec<u32> {
    [&[13 | 2 << 8][..], &halves(va)].concat()
}

#[test]
fn the_submission_of_rocr_from_poll_to_trap() {
    let rig = Rig::new();
    let sdma = Sdma::new(&rig, 4096);
    let (src, dst, stamps) = (rig.alloc(512, 8), rig.alloc(512, 8), rig.alloc(16, 8));
    let (signal, mailbox) = rig.interrupt_signal(1, 9);
    let dependency = rig.signal(1);
    for i in 0..64 {
        rig.word(src + 8 * i).store(i * 3, SeqCst);
    }
    let packets = [
        poll_zero(dependency + 12),
        poll_zero(dependency + 8),
        timestamp(stamps),
        vec![8, 0, 0x8000_0000, 0, 0, 0],
        copy(dst, src, 505),
        timestamp(stamps + 8),
        decrement(signal + 8),
        [&[5][..], &halves(mailbox), &[9]].concat(),
        vec![6, 9],
    ]
    .concat();
    let end = sdma.submit(&packets);
    // The first poll, of the high half, passes.
    sdma.done(24);
    rig.settle();
    assert_eq!((rig.value(signal), rig.word(dst + 8).load(SeqCst)), (1, 0), "the dependency is not met");
    rig.set(dependency, 0);
    rig.wait(signal, 0);
    sdma.done(end);
    assert_eq!(*rig.interrupts.events.lock().unwrap(), [9]);
    assert_eq!(rig.read32(mailbox), 9);
    assert_eq!(rig.word(dst + 62 * 8).load(SeqCst), 62 * 3);
    assert_eq!(rig.word(dst + 63 * 8).load(SeqCst), (63 * 3) & 0xff, "505 bytes");
    let [begin, finish] = [0, 8].map(|at| rig.word(stamps + at).load(SeqCst));
    // 1505 ns at 25 MHz.
    assert!((37..=38).contains(&(finish - begin)), "{}", finish - begin);
}

#[test]
fn fills_and_long_nops() {
    let rig = Rig::new();
    let sdma = Sdma::new(&rig, 4096);
    let dst = rig.alloc(64, 8);
    let fill = [&[11 | 2 << 30][..], &halves(dst), &[0xabcd_1234, 28]].concat();
    let nop = [vec![9 << 16], vec![0xffff_ffff; 9]].concat();
    sdma.done(sdma.submit(&[nop, fill].concat()));
    assert_eq!(rig.word(dst + 24).load(SeqCst), 0xabcd_1234_abcd_1234);
    assert_eq!(rig.word(dst + 32).load(SeqCst), 0);
}

#[test]
fn rectangles_of_any_element_size() {
    let rig = Rig::new();
    let sdma = Sdma::new(&rig, 4096);
    let (src, dst) = (rig.alloc(512, 8), rig.alloc(512, 8));
    for i in 0..512 {
        rig.write(src + i, &[i as u8]);
    }
    // 3 x 2 x 2 elements of 2 bytes, from (1, 1, 0) in rows of 8 and slices of 32 to (0, 0, 1) in rows of 4, slices of 16.
    let packet = [
        &[1 | 4 << 8 | 1 << 29][..],
        &halves(src),
        &[1 | 1 << 16, 7 << 13, 31],
        &halves(dst),
        &[0, 1 | 3 << 13, 15, 2 | 1 << 16, 1],
    ]
    .concat();
    sdma.done(sdma.submit(&packet));
    let byte = |va: u64| rig.word(va & !7).load(SeqCst) >> (va % 8 * 8) & 0xff;
    let mut expected = vec![0u64; 128];
    for (z, y, x) in (0..2).flat_map(|z| (0..2).flat_map(move |y| (0..6).map(move |x| (z, y, x)))) {
        expected[32 + z * 32 + y * 8 + x] = ((2 + 16 + z * 64 + y * 16 + x) & 0xff) as u64;
    }
    let got: Vec<u64> = (0..128).map(|i| byte(dst + i)).collect();
    assert_eq!(got, expected);
}

#[test]
fn the_ring_wraps_with_padding_as_rocr_does() {
    let rig = Rig::new();
    let sdma = Sdma::new(&rig, 256);
    let signal = rig.signal(100);
    let packet = decrement(signal + 8);
    let mut index = 0u64;
    for _ in 0..100 {
        let room = 256 - index % 256;
        if room < 36 {
            sdma.submit(&vec![0; room as usize / 4]);
        }
        // 36 bytes: the packet and a NOP, so that the ring's end is not always hit exactly.
        index = sdma.submit(&[packet.clone(), vec![0]].concat());
    }
    rig.wait(signal, 0);
    sdma.done(index);
    assert!(index > 3000);
}

#[test]
fn packets_may_even_straddle_the_rings_end() {
    let rig = Rig::new();
    let sdma = Sdma::new(&rig, 64);
    let signal = rig.signal(20);
    for _ in 0..20 {
        sdma.done(sdma.submit(&[decrement(signal + 8), vec![0]].concat()));
    }
    assert_eq!(rig.value(signal), 0);
}

#[test]
fn a_bad_packet_stops_only_its_queue() {
    let rig = Rig::new();
    let (bad, good) = (Sdma::new(&rig, 4096), Sdma::new(&rig, 4096));
    bad.submit(&[0x11, 0, 0, 0]);
    let failure = || rig.cp.stats().queues[&bad.id].failure.clone();
    rig.until(|| failure().is_some(), || "no failure".into());
    assert!(failure().unwrap().contains("0x00000011"));
    good.done(good.submit(&[0, 0]));
    let unmapped = copy(0x1000, rig.alloc(64, 8), 16);
    good.submit(&unmapped);
    rig.until(|| !rig.interrupts.faults.lock().unwrap().is_empty(), || "no fault".into());
    assert_eq!(rig.interrupts.faults.lock().unwrap()[0].0, good.id);
}
