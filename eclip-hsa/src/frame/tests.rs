//! The packets of every shape of submission, byte by byte, on a ring without a device.

use std::cell::RefCell;

use proptest::prelude::*;

use super::*;
use crate::depend::{Dep, NO_LANE, Stamp};
use crate::packet::{KernelDispatch, PACKET_DWORDS};

/// Ring memory that is looked at when all is written.
pub(crate) struct Wire {
    slots: RefCell<Vec<[u32; PACKET_DWORDS]>>,
}

impl Wire {
    pub(crate) fn new(slots: usize) -> Self {
        Self { slots: RefCell::new(vec![INVALID; slots]) }
    }

    /// The packets in slots `start..start + count`, round the end, and what is left in the others.
    pub(crate) fn packets(&self, start: u64, count: u64) -> Vec<Packet> {
        let slots = self.slots.borrow();
        let at = |index: u64| Packet::from_dwords(slots[index as usize % slots.len()]);
        let untouched =
            (start + count..start + slots.len() as u64).all(|index| at(index).dwords() == &INVALID);
        assert!(untouched, "written outside of the reserved slots");
        (start..start + count).map(at).collect()
    }
}

const INVALID: [u32; PACKET_DWORDS] = {
    let mut invalid = [0; PACKET_DWORDS];
    invalid[0] = PacketKind::Invalid as u32;
    invalid
};

impl Port for Wire {
    fn size(&self) -> u32 {
        self.slots.borrow().len() as u32
    }
    fn read_index(&self) -> u64 {
        0
    }
    fn write_body(&self, slot: u32, dwords: &[u32; PACKET_DWORDS]) {
        let place = &mut self.slots.borrow_mut()[slot as usize];
        assert_eq!(place[0], PacketKind::Invalid as u32, "a body is written over a valid packet");
        place[1..].copy_from_slice(&dwords[1..]);
    }
    fn write_first(&self, slot: u32, dword: u32) {
        self.slots.borrow_mut()[slot as usize][0] = dword;
    }
    fn write_index(&self) -> u64 {
        unreachable!("a frame publishes nothing");
    }
    fn move_write_index(&self, _from: u64, _to: u64) -> Result<(), u64> {
        unreachable!("a frame publishes nothing");
    }
    fn ring_doorbell(&self, _last: u64) {
        unreachable!("a frame publishes nothing");
    }
}

/// Recorded kernels: as a program records them.
pub(crate) struct Recorded {
    bodies: Vec<Packet>,
    firsts: Vec<u32>,
}

impl Recorded {
    /// One kernel for each element, which says whether it has the barrier bit.
    pub(crate) fn new(barriers: &[bool]) -> Self {
        let (mut bodies, mut firsts) = (Vec::new(), Vec::new());
        for (index, &barrier) in barriers.iter().enumerate() {
            let kind = PacketKind::KernelDispatch;
            let header = Header { kind, barrier, acquire: FenceScope::Agent, release: FenceScope::Agent };
            let mut packet = Packet::kernel_dispatch(header, &kernel(index, 0, 0));
            firsts.push(packet.dwords()[0]);
            packet.invalidate();
            bodies.push(packet);
        }
        Self { bodies, firsts }
    }

    pub(crate) fn kernels(&self) -> Kernels<'_> {
        let bit = |first: &u32| first >> 8 & 1 == 1;
        Kernels {
            bodies: &self.bodies,
            firsts: &self.firsts,
            barrier_bits: self.firsts.iter().filter(|first| bit(first)).count() as u64,
            last_barrier: self.firsts.iter().rposition(bit),
        }
    }
}

/// The fields of a recorded kernel.
fn kernel(index: usize, shift: u64, completion_signal: u64) -> KernelDispatch {
    KernelDispatch {
        workgroup_size: [64, 1, 1],
        grid_size: [64 * (index as u32 + 1), 1, 1],
        kernel_object: 0xdead_0000 + index as u64,
        kernarg_address: 64 * index as u64 + shift,
        completion_signal,
        ..Default::default()
    }
}

/// Something that names these signals.
pub(crate) fn waits(signals: impl IntoIterator<Item = u64>) -> Vec<Wait> {
    let wait = |signal| {
        let stamp = Stamp { queue: 9, lane: NO_LANE, end: signal, proves: 0 };
        Wait { pin: None, signal, dep: Dep { stamp, pending: true, elsewhere: false } }
    };
    signals.into_iter().map(wait).collect()
}

fn written(frame: &Frame<'_>, waits: &[Wait], start: u64) -> Vec<Packet> {
    let wire = Wire::new(64);
    frame.write(&Slots::of(&wire, start), waits);
    wire.packets(start, frame.count())
}

fn extent(
    last: u64,
    last_barrier: Option<u64>,
    newest_barrier: Option<u64>,
    ends_in_barrier: bool,
) -> Extent {
    Extent { last, last_barrier, newest_barrier, ends_in_barrier }
}

fn header(packet: &Packet) -> (PacketKind, bool, FenceScope, FenceScope) {
    let header = packet.header().expect("every packet is valid");
    (header.kind, header.barrier, header.acquire, header.release)
}

use FenceScope::{Agent, None as Nothing, System};
use PacketKind::{BarrierAnd, KernelDispatch as Kernel};

#[test]
fn barriers_name_five_each_and_hold_up_the_first_kernel() {
    let one = Recorded::new(&[false]);
    for (named, packets) in [(0usize, 0usize), (1, 1), (5, 1), (6, 2), (25, 5)] {
        let mut frame = Frame::new(one.kernels(), named, 0, None);
        frame.signal = 77;
        frame.release = System;
        let waits = waits(100..100 + named as u64);
        let all = written(&frame, &waits, 62);
        assert_eq!(all.len(), packets + 1);
        let mut seen = Vec::new();
        for packet in &all[..packets] {
            assert_eq!(header(packet), (BarrierAnd, false, Nothing, Nothing));
            let fields = packet.as_barrier().unwrap();
            assert_eq!(fields.completion_signal, 0);
            seen.extend(fields.dependencies.into_iter().filter(|&signal| signal != 0));
        }
        assert_eq!(seen, (100..100 + named as u64).collect::<Vec<_>>());
        assert_eq!(header(&all[packets]), (Kernel, false, Agent, System));
        assert_eq!(all[packets].as_kernel_dispatch(), Some(kernel(0, 0, 77)));
        let counts = frame.counts();
        assert_eq!((counts.kernels, counts.barriers, counts.barrier_bits), (1, packets as u64, 0));
        let none = extent(packets as u64, None, None, false);
        assert_eq!(frame.extent(), none);
    }
}

#[test]
fn kernels_in_order_signal_once_and_release_at_the_end() {
    let three = Recorded::new(&[false, true, true]);
    let mut frame = Frame::new(three.kernels(), 1, 0x1000, None);
    (frame.signal, frame.acquire, frame.release) = (77, System, System);
    let all = written(&frame, &waits([5]), 0);
    assert_eq!(header(&all[1]), (Kernel, false, System, Agent));
    assert_eq!(header(&all[2]), (Kernel, true, Agent, Agent));
    assert_eq!(header(&all[3]), (Kernel, true, Agent, System));
    let fields: Vec<_> = all[1..].iter().map(|packet| packet.as_kernel_dispatch().unwrap()).collect();
    assert_eq!(fields, [kernel(0, 0x1000, 0), kernel(1, 0x1000, 0), kernel(2, 0x1000, 77)]);
    assert_eq!((frame.signalling(), frame.has_separate_first()), (1, true));
    assert_eq!(frame.extent(), extent(3, Some(3), Some(3), false));
}

#[test]
fn concurrent_kernels_all_signal_and_release() {
    let three = Recorded::new(&[false; 3]);
    let mut frame = Frame::new(three.kernels(), 0, 0, None);
    (frame.signal, frame.release, frame.barrier_bit) = (77, System, true);
    let all = written(&frame, &[], 63);
    // Only the first waits: the others are launched after it.
    let headers: Vec<_> = all.iter().map(header).collect();
    let expected = [true, false, false].map(|bit| (Kernel, bit, Agent, System));
    assert_eq!(headers, expected);
    assert!(all.iter().all(|packet| packet.completion_signal() == 77));
    assert_eq!((frame.signalling(), frame.has_separate_first()), (3, false));
    assert_eq!(frame.extent(), extent(2, Some(0), Some(0), false));
    assert_eq!(frame.counts().barrier_bits, 1);
}

#[test]
fn only_what_comes_after_the_last_barrier_bit_signals() {
    let three = Recorded::new(&[true, true, false]);
    let mut frame = Frame::new(three.kernels(), 0, 0, None);
    (frame.signal, frame.release, frame.barrier_bit) = (77, System, true);
    frame.first_signal = 78;
    let all = written(&frame, &[], 3);
    let seen: Vec<_> = all.iter().map(|packet| (packet.completion_signal(), header(packet).3)).collect();
    assert_eq!(seen, [(78, Agent), (77, System), (77, System)]);
    assert_eq!((frame.signalling(), frame.has_separate_first()), (2, true));
    assert_eq!(frame.counts().barrier_bits, 2, "the first kernel has the bit already");
    // The same with arguments elsewhere, where each body is written by itself.
    frame.shift = 64;
    let again: Vec<_> = written(&frame, &[], 3).iter().map(Packet::completion_signal).collect();
    assert_eq!(again, [78, 77, 77]);
}

#[test]
fn a_marker_signals_for_the_kernels_and_a_notification_comes_last() {
    let two = Recorded::new(&[false, false]);
    let mut frame = Frame::new(two.kernels(), 0, 0, Some(99));
    (frame.signal, frame.marker, frame.release) = (77, true, Agent);
    let all = written(&frame, &[], 10);
    let signals: Vec<u64> = all.iter().map(Packet::completion_signal).collect();
    assert_eq!(signals, [0, 0, 77, 99]);
    assert_eq!(header(&all[2]), (BarrierAnd, true, Agent, Agent));
    assert_eq!(header(&all[3]), (BarrierAnd, true, Agent, System), "somebody unknown reads behind it");
    assert_eq!(frame.signalling(), 1);
    assert_eq!(frame.extent(), extent(2, Some(2), Some(3), true));
    assert_eq!((frame.counts().barriers, frame.counts().barrier_bits), (2, 2));
    frame.marker = false;
    assert_eq!(written(&frame, &[], 10).last().map(Packet::completion_signal), Some(99));
    assert_eq!(frame.extent(), extent(1, None, Some(2), true));
}

#[test]
fn no_kernels_are_a_barrier() {
    let none = Recorded::new(&[]);
    for (named, packets) in [(0usize, 1usize), (5, 1), (6, 2)] {
        let mut frame = Frame::new(none.kernels(), named, 0, None);
        (frame.signal, frame.acquire, frame.release, frame.barrier_bit) = (77, System, System, true);
        let all = written(&frame, &waits(1..=named as u64), 0);
        assert_eq!(all.len(), packets);
        let (last, before) = all.split_last().unwrap();
        assert!(before.iter().all(|packet| header(packet) == (BarrierAnd, false, Nothing, Nothing)));
        assert!(before.iter().all(|packet| packet.completion_signal() == 0));
        assert_eq!((header(last), last.completion_signal()), ((BarrierAnd, true, System, System), 77));
        assert_eq!(frame.signalling(), 1);
        let last = packets as u64 - 1;
        assert_eq!(frame.extent(), extent(last, Some(last), Some(last), true));
    }
    // Without a signal, and with one behind.
    let mut frame = Frame::new(none.kernels(), 1, 0, None);
    frame.marker = true;
    frame.signal = 77;
    let signals: Vec<u64> = written(&frame, &waits([4]), 0).iter().map(Packet::completion_signal).collect();
    assert_eq!(signals, [0, 77]);
}

proptest! {
    /// Whatever the shape, what the frame says of itself is what is in the ring.
    #[test]
    fn a_frame_is_what_it_says(
        bits in proptest::collection::vec(any::<bool>(), 0..6),
        named in 0usize..26,
        shift in prop_oneof![Just(0u64), 1u64..1 << 40],
        notify in any::<bool>(),
        (barrier_bit, marker, silent, separate) in any::<(bool, bool, bool, bool)>(),
        system in any::<(bool, bool)>(),
        start in 0u64..64,
    ) {
        let recorded = Recorded::new(&bits);
        let mut frame = Frame::new(recorded.kernels(), named, shift, notify.then_some(99));
        let scope = |system| if system { System } else { Agent };
        (frame.barrier_bit, frame.acquire, frame.release) = (barrier_bit, scope(system.0), scope(system.1));
        frame.marker = marker && !silent;
        frame.signal = if silent { 0 } else { 77 };
        if separate && frame.has_separate_first() {
            frame.first_signal = 78;
        }
        let waits = waits(100..100 + named as u64);
        let all = written(&frame, &waits, start);
        let (counts, extent) = (frame.counts(), frame.extent());

        let kernels: Vec<usize> = (0..all.len()).filter(|&at| header(&all[at]).0 == Kernel).collect();
        prop_assert_eq!(kernels.len(), bits.len());
        prop_assert_eq!(counts.kernels + counts.barriers, all.len() as u64);
        prop_assert_eq!(counts.kernels, kernels.len() as u64);
        let bit_at: Vec<u64> = (0..all.len() as u64).filter(|&at| header(&all[at as usize]).1).collect();
        prop_assert_eq!(counts.barrier_bits, bit_at.len() as u64);
        prop_assert_eq!(extent.newest_barrier, bit_at.last().copied());
        prop_assert_eq!(extent.last_barrier, bit_at.iter().rev().find(|&&at| at <= extent.last).copied());
        prop_assert_eq!(extent.last + 1 + u64::from(notify), all.len() as u64);
        prop_assert_eq!(extent.ends_in_barrier, all.last().map(|packet| header(packet).0) == Some(BarrierAnd));

        let mut names = Vec::new();
        for packet in all.iter().filter_map(Packet::as_barrier) {
            names.extend(packet.dependencies.into_iter().filter(|&signal| signal != 0));
        }
        prop_assert_eq!(names, (100..100 + named as u64).collect::<Vec<_>>());
        let count = |signal| all.iter().filter(|packet| packet.completion_signal() == signal).count();
        if !silent {
            prop_assert_eq!(count(77), frame.signalling());
        }
        prop_assert_eq!(count(99), usize::from(notify));
        prop_assert_eq!(count(78), usize::from(frame.first_signal != 0));
        // Whatever signals has nothing of the submission left behind or beside it that does not: the last barrier bit is in front of
        // or on the first that signals.
        if let Some(first) = (!silent).then(|| all.iter().position(|packet| packet.completion_signal() == 77)).flatten() {
            let others = first as u64..=extent.last;
            prop_assert!(others.clone().all(|at| all[at as usize].completion_signal() == 77));
            let in_front = (0..first).filter(|at| kernels.contains(at)).count();
            prop_assert!(in_front == 0 || header(&all[first]).1, "kernels in front that nobody waits for");
        }
        for (number, &at) in kernels.iter().enumerate() {
            let fields = all[at].as_kernel_dispatch().unwrap();
            prop_assert_eq!(fields, kernel(number, shift, fields.completion_signal));
            let (_, bit, acquire, _) = header(&all[at]);
            prop_assert_eq!(bit, bits[number] || (number == 0 && barrier_bit));
            // Data is read at least at agent scope, barrier or no barrier.
            prop_assert_eq!(acquire, if number == 0 { scope(system.0) } else { Agent });
        }
        // The last to complete releases as far as the submission is visible.
        if let Some(&last) = kernels.last() {
            let releases = if frame.marker { extent.last as usize } else { last };
            prop_assert_eq!(header(&all[releases]).3, scope(system.1));
        }
    }
}
