//! FLAT, GLOBAL, SCRATCH and MUBUF: vector loads, stores and atomics.
//!
//! Flat addresses inside the LDS and scratch apertures (4 GiB each) go there. Scratch is swizzled as the hardware does it:
//! dword `n` of lane `l` of a wave is at byte `n * 256 + l * 4` of the wave's share.

use super::lds::lanes_of;
use super::memory::Rmw;
use super::wave::Wave;
use super::{Cache, Done, Env, Stop};
use crate::isa::decode::flat::{Flat, SADDR_OFF};
use crate::isa::decode::mubuf::Mubuf;
use crate::isa::inst::{Inst, Segment, reg};

/// What a load or store moves.
#[derive(Clone, Copy, Debug)]
enum Unit {
    /// Whole dwords.
    Dwords(u16),
    /// 1 or 2 bytes: length, sign extension, half of the register (D16 forms).
    Small(u32, bool, Option<bool>),
}

impl Unit {
    fn bytes(self) -> u64 {
        match self {
            Unit::Dwords(count) => 4 * u64::from(count),
            Unit::Small(len, ..) => u64::from(len),
        }
    }
}

/// Extends `len` bytes to 32 bits.
pub fn extend(value: u32, len: u32, signed: bool) -> u32 {
    match (len, signed) {
        (1, true) => value as i8 as u32,
        (2, true) => value as i16 as u32,
        _ => value,
    }
}

/// Puts a value into a register, or into its low (false) or high (true) half.
pub fn merge_half(old: u32, value: u32, half: Option<bool>) -> u32 {
    match half {
        None => value,
        Some(false) => old & 0xffff_0000 | value & 0xffff,
        Some(true) => old & 0xffff | value << 16,
    }
}

/// Where one lane's access goes.
#[derive(Clone, Copy, Debug)]
enum Place {
    Global(u64),
    Lds(u32),
    /// Byte offset in the lane's private segment.
    Scratch(u64),
}

fn flat_place(env: &Env, va: u64) -> Place {
    if va >> 32 == env.apertures.lds >> 32 && env.apertures.lds != 0 {
        Place::Lds(va as u32)
    } else if va >> 32 == env.apertures.scratch >> 32 && env.apertures.scratch != 0 {
        Place::Scratch(va & 0xffff_ffff)
    } else {
        Place::Global(va)
    }
}

/// Global address of a byte of a lane's private segment.
fn scratch_va(w: &Wave, env: &Env, offset: u64, len: u32, lane: usize) -> Result<u64, Stop> {
    if offset + u64::from(len) > u64::from(env.apertures.private_bytes) {
        return Err(Stop::Scratch(offset, len));
    }
    let swizzled = (offset & !3) * 64 + lane as u64 * 4 + (offset & 3);
    Ok(w.pair(reg::FLAT_SCRATCH).wrapping_add(swizzled))
}

fn load(w: &Wave, env: &mut Env, place: Place, lane: usize, len: u32) -> Result<u32, Stop> {
    let va = match place {
        Place::Global(va) => va,
        Place::Lds(offset) => return env.lds.load(offset, len).map(|value| value as u32),
        // A misaligned value spans two swizzled dwords: byte by byte.
        Place::Scratch(offset) if offset % u64::from(len) != 0 => {
            let mut value = 0;
            for n in 0..len {
                let va = scratch_va(w, env, offset + u64::from(n), 1, lane)?;
                value |= u32::from(env.port.load8(va)?) << (8 * n);
            }
            return Ok(value);
        }
        Place::Scratch(offset) => scratch_va(w, env, offset, len, lane)?,
    };
    Ok(match len {
        1 => u32::from(env.port.load8(va)?),
        2 => u32::from(env.port.load16(va)?),
        _ => env.port.load32(va)?,
    })
}

fn store(w: &Wave, env: &mut Env, place: Place, lane: usize, len: u32, value: u32) -> Done {
    let va = match place {
        Place::Global(va) => va,
        Place::Lds(offset) => return env.lds.store(offset, len, u64::from(value)),
        Place::Scratch(offset) if offset % u64::from(len) != 0 => {
            for n in 0..len {
                let va = scratch_va(w, env, offset + u64::from(n), 1, lane)?;
                env.port.store8(va, (value >> (8 * n)) as u8)?;
            }
            return Ok(());
        }
        Place::Scratch(offset) => scratch_va(w, env, offset, len, lane)?,
    };
    match len {
        1 => env.port.store8(va, value as u8)?,
        2 => env.port.store16(va, value as u16)?,
        _ => env.port.store32(va, value)?,
    }
    Ok(())
}

fn advance(place: Place, bytes: u32) -> Place {
    match place {
        Place::Global(va) => Place::Global(va.wrapping_add(u64::from(bytes))),
        Place::Lds(offset) => Place::Lds(offset.wrapping_add(bytes)),
        Place::Scratch(offset) => Place::Scratch(offset + u64::from(bytes)),
    }
}

/// One lane's load into `dst` onwards.
#[inline]
fn load_lane(w: &mut Wave, env: &mut Env, dst: u16, unit: Unit, lane: usize, place: Place) -> Done {
    let dst = usize::from(dst - reg::VGPR);
    match unit {
        Unit::Small(len, signed, half) => {
            let value = extend(load(w, env, place, lane, len)?, len, signed);
            let old = &mut w.vgpr[dst][lane];
            *old = merge_half(*old, value, half);
            env.port.read += u64::from(len);
        }
        Unit::Dwords(count) => {
            env.port.read += 4 * u64::from(count);
            if let Place::Global(va) = place
                && count % 2 == 0
                && va % 8 == 0
            {
                for n in (0..usize::from(count)).step_by(2) {
                    let value = env.port.load64(va + 4 * n as u64)?;
                    w.vgpr[dst + n][lane] = value as u32;
                    w.vgpr[dst + n + 1][lane] = (value >> 32) as u32;
                }
                return Ok(());
            }
            for n in 0..usize::from(count) {
                w.vgpr[dst + n][lane] = load(w, env, advance(place, 4 * n as u32), lane, 4)?;
            }
        }
    }
    Ok(())
}

/// One lane's store from `src` onwards.
#[inline]
fn store_lane(w: &Wave, env: &mut Env, src: u16, unit: Unit, lane: usize, place: Place) -> Done {
    let src = usize::from(src - reg::VGPR);
    match unit {
        Unit::Small(len, _, half) => {
            let value = w.vgpr[src][lane] >> if half == Some(true) { 16 } else { 0 };
            env.port.written += u64::from(len);
            store(w, env, place, lane, len, value)
        }
        Unit::Dwords(count) => {
            env.port.written += 4 * u64::from(count);
            if let Place::Global(va) = place
                && count % 2 == 0
                && va % 8 == 0
            {
                for n in (0..usize::from(count)).step_by(2) {
                    let value = u64::from(w.vgpr[src + n][lane]) | u64::from(w.vgpr[src + n + 1][lane]) << 32;
                    env.port.store64(va + 4 * n as u64, value)?;
                }
                return Ok(());
            }
            for n in 0..usize::from(count) {
                store(w, env, advance(place, 4 * n as u32), lane, 4, w.vgpr[src + n][lane])?;
            }
            Ok(())
        }
    }
}

/// One lane's atomic: data from `src`, the old value to `dst` if it returns.
fn atomic_lane(
    w: &mut Wave,
    env: &mut Env,
    (rmw, bits): (Rmw, u32),
    (src, dst): (u16, Option<u16>),
    lane: usize,
    place: Place,
) -> Done {
    let src = usize::from(src - reg::VGPR);
    let word = |n: usize| u64::from(w.vgpr[src + n][lane]);
    let wide = bits == 64;
    let data = if wide { word(0) | word(1) << 32 } else { word(0) };
    let compare = match (rmw, wide) {
        (Rmw::CmpSwap, true) => word(2) | word(3) << 32,
        (Rmw::CmpSwap, false) => word(1),
        _ => 0,
    };
    let old = match place {
        Place::Lds(offset) => env.lds.update(offset, bits, |old| rmw.apply(old, data, compare, bits))?,
        Place::Global(va) => env.port.atomic(va, bits, rmw, data, compare)?,
        // Private to the lane, and possibly split by the swizzle: nobody can come between the parts.
        Place::Scratch(offset) => {
            if !offset.is_multiple_of(u64::from(bits / 8)) {
                return Err(Stop::Unaligned(offset, bits / 8));
            }
            let mut old = 0;
            for n in 0..bits / 32 {
                old |= u64::from(load(w, env, advance(place, 4 * n), lane, 4)?) << (32 * n);
            }
            let new = rmw.apply(old, data, compare, bits);
            for n in 0..bits / 32 {
                store(w, env, advance(place, 4 * n), lane, 4, (new >> (32 * n)) as u32)?;
            }
            old
        }
    };
    env.port.read += u64::from(bits / 8);
    env.port.written += u64::from(bits / 8);
    if let Some(dst) = dst {
        let dst = usize::from(dst - reg::VGPR);
        w.vgpr[dst][lane] = old as u32;
        if wide {
            w.vgpr[dst + 1][lane] = (old >> 32) as u32;
        }
    }
    Ok(())
}

enum Kind {
    Load(Unit),
    Store(Unit),
    Atomic(Rmw, u32),
}

/// The opcodes that FLAT and MUBUF share, by the name without prefix (both tables use the same numbers).
macro_rules! kinds {
    ($name:ident, $op:ident) => {
        fn $name(op: $op) -> Option<Kind> {
            use Kind::{Atomic, Load, Store};
            use Unit::{Dwords, Small};
            use $op::*;
            Some(match op {
                LoadUbyte => Load(Small(1, false, None)),
                LoadSbyte => Load(Small(1, true, None)),
                LoadUshort => Load(Small(2, false, None)),
                LoadSshort => Load(Small(2, true, None)),
                LoadDword => Load(Dwords(1)),
                LoadDwordx2 => Load(Dwords(2)),
                LoadDwordx3 => Load(Dwords(3)),
                LoadDwordx4 => Load(Dwords(4)),
                StoreByte => Store(Small(1, false, None)),
                StoreByteD16Hi => Store(Small(1, false, Some(true))),
                StoreShort => Store(Small(2, false, None)),
                StoreShortD16Hi => Store(Small(2, false, Some(true))),
                StoreDword => Store(Dwords(1)),
                StoreDwordx2 => Store(Dwords(2)),
                StoreDwordx3 => Store(Dwords(3)),
                StoreDwordx4 => Store(Dwords(4)),
                LoadUbyteD16 => Load(Small(1, false, Some(false))),
                LoadUbyteD16Hi => Load(Small(1, false, Some(true))),
                LoadSbyteD16 => Load(Small(1, true, Some(false))),
                LoadSbyteD16Hi => Load(Small(1, true, Some(true))),
                LoadShortD16 => Load(Small(2, false, Some(false))),
                LoadShortD16Hi => Load(Small(2, false, Some(true))),
                AtomicSwap => Atomic(Rmw::Swap, 32),
                AtomicCmpswap => Atomic(Rmw::CmpSwap, 32),
                AtomicAdd => Atomic(Rmw::Add, 32),
                AtomicSub => Atomic(Rmw::Sub, 32),
                AtomicSmin => Atomic(Rmw::Smin, 32),
                AtomicUmin => Atomic(Rmw::Umin, 32),
                AtomicSmax => Atomic(Rmw::Smax, 32),
                AtomicUmax => Atomic(Rmw::Umax, 32),
                AtomicAnd => Atomic(Rmw::And, 32),
                AtomicOr => Atomic(Rmw::Or, 32),
                AtomicXor => Atomic(Rmw::Xor, 32),
                AtomicInc => Atomic(Rmw::Inc, 32),
                AtomicDec => Atomic(Rmw::Dec, 32),
                AtomicSwapX2 => Atomic(Rmw::Swap, 64),
                AtomicCmpswapX2 => Atomic(Rmw::CmpSwap, 64),
                AtomicAddX2 => Atomic(Rmw::Add, 64),
                AtomicSubX2 => Atomic(Rmw::Sub, 64),
                AtomicSminX2 => Atomic(Rmw::Smin, 64),
                AtomicUminX2 => Atomic(Rmw::Umin, 64),
                AtomicSmaxX2 => Atomic(Rmw::Smax, 64),
                AtomicUmaxX2 => Atomic(Rmw::Umax, 64),
                AtomicAndX2 => Atomic(Rmw::And, 64),
                AtomicOrX2 => Atomic(Rmw::Or, 64),
                AtomicXorX2 => Atomic(Rmw::Xor, 64),
                AtomicIncX2 => Atomic(Rmw::Inc, 64),
                AtomicDecX2 => Atomic(Rmw::Dec, 64),
                #[allow(unreachable_patterns)] // FLAT has nothing else
                _ => return None,
            })
        }
    };
}

kinds!(flat_kind, Flat);
kinds!(buffer_kind, Mubuf);

/// A load of one global address by all lanes: one access, as the compiler takes it to be. It treats such a load as uniform,
/// and branches on one lane's value, even where another agent may store meanwhile (a polled flag). False: nothing was done.
fn load_uniform(w: &mut Wave, i: &Inst, kind: &Kind, vas: &[u64; 64], env: &mut Env) -> Result<bool, Stop> {
    let Kind::Load(unit @ (Unit::Dwords(_) | Unit::Small(_, _, None))) = kind else { return Ok(false) };
    let exec = w.exec();
    let Some(first) = lanes_of(exec).next() else { return Ok(false) };
    if !lanes_of(exec).all(|lane| vas[lane] == vas[first]) {
        return Ok(false);
    }
    load_lane(w, env, i.dst, *unit, first, Place::Global(vas[first]))?;
    env.port.read += unit.bytes() * u64::from(exec.count_ones() - 1);
    let dst = usize::from(i.dst - reg::VGPR);
    for register in &mut w.vgpr[dst..dst + unit.bytes().div_ceil(4) as usize] {
        let value = register[first];
        lanes_of(exec).for_each(|lane| register[lane] = value);
    }
    Ok(true)
}

/// A load with GLC reads what is behind the L1.
fn reload(i: &Inst, kind: &Kind, vas: &[u64; 64], exec: u64, env: &mut Env) {
    if let Kind::Load(unit) = kind
        && i.mem.glc
        && env.port.cached()
    {
        let mut last = None;
        for lane in lanes_of(exec) {
            // Flags are often polled by all lanes.
            if last.replace(vas[lane]) != Some(vas[lane]) {
                env.port.reload(vas[lane], unit.bytes());
            }
        }
    }
}

/// After a store: the wave may wait for it; with GLC it goes out at once.
fn stored(w: &mut Wave, i: &Inst, kind: &Kind, env: &mut Env) -> Done {
    if matches!(kind, Kind::Store(_)) {
        w.stored = true;
        if i.mem.glc {
            env.port.drain();
        }
    }
    Ok(())
}

/// Executes a FLAT, GLOBAL or SCRATCH opcode.
pub fn flat(w: &mut Wave, i: &Inst, op: Flat, env: &mut Env) -> Done {
    let kind = flat_kind(op).ok_or(Stop::Unsupported("flat instruction"))?;
    let scalar = i.src[2] != SADDR_OFF;
    let saddr = match i.segment {
        Segment::Global if scalar => w.pair(i.src[2]),
        Segment::Scratch if scalar => u64::from(w.sgpr[usize::from(i.src[2] & 127)]),
        _ => 0,
    };
    let at = usize::from(i.src[0] - reg::VGPR);
    if i.segment == Segment::Global {
        let imm = i64::from(i.imm);
        let low = &w.vgpr[at];
        let vas: [u64; 64] = if scalar {
            std::array::from_fn(|lane| saddr.wrapping_add(u64::from(low[lane])).wrapping_add_signed(imm))
        } else {
            let high = &w.vgpr[at + 1];
            std::array::from_fn(|lane| {
                (u64::from(low[lane]) | u64::from(high[lane]) << 32).wrapping_add_signed(imm)
            })
        };
        reload(i, &kind, &vas, w.exec(), env);
        if load_uniform(w, i, &kind, &vas, env)? {
            return Ok(());
        }
    }
    for lane in lanes_of(w.exec()) {
        let low = u64::from(w.vgpr[at][lane]);
        let place = match i.segment {
            Segment::Scratch => {
                let base = if scalar { saddr } else { low };
                Place::Scratch(base.wrapping_add_signed(i64::from(i.imm)) & 0xffff_ffff)
            }
            Segment::Global if scalar => {
                Place::Global(saddr.wrapping_add(low).wrapping_add_signed(i64::from(i.imm)))
            }
            segment => {
                let va = low | u64::from(w.vgpr[at + 1][lane]) << 32;
                let va = va.wrapping_add_signed(i64::from(i.imm));
                if segment == Segment::Flat { flat_place(env, va) } else { Place::Global(va) }
            }
        };
        if let (Kind::Load(unit), Place::Global(va), Segment::Flat) = (&kind, place, i.segment)
            && i.mem.glc
        {
            env.port.reload(va, unit.bytes());
        }
        match kind {
            Kind::Load(unit) => load_lane(w, env, i.dst, unit, lane, place)?,
            Kind::Store(unit) => store_lane(w, env, i.src[1], unit, lane, place)?,
            Kind::Atomic(rmw, bits) => {
                let dst = i.mem.glc.then_some(i.dst);
                atomic_lane(w, env, (rmw, bits), (i.src[1], dst), lane, place)?;
            }
        }
    }
    if i.segment == Segment::Scratch { Ok(()) } else { stored(w, i, &kind, env) }
}

/// A buffer resource (V#), as far as untyped accesses use it.
struct Resource {
    base: u64,
    stride: u64,
    swizzled: bool,
    records: u64,
    index_stride: u64,
    add_lane: bool,
}

impl Resource {
    fn new(words: &[u32]) -> Resource {
        let add_lane = words[3] >> 23 & 1 != 0;
        let stride = u64::from(words[1] >> 16 & 0x3fff);
        Resource {
            base: u64::from(words[0]) | u64::from(words[1] & 0xffff) << 32,
            // With lane numbers added, the data format field holds more bits of the stride.
            stride: if add_lane { stride | u64::from(words[3] >> 15 & 15) << 14 } else { stride },
            swizzled: words[1] >> 31 != 0,
            records: u64::from(words[2]),
            index_stride: 8 << (words[3] >> 21 & 3),
            add_lane,
        }
    }

    /// Address of an access, or none if it is out of range (loads give 0, stores are dropped).
    fn address(&self, index: u64, offset: u64, soffset: u64, len: u64, lane: usize) -> Option<u64> {
        let index = index + if self.add_lane { lane as u64 } else { 0 };
        let linear = index * self.stride + offset;
        let within = if self.swizzled {
            let (row, column) = (index / self.index_stride, index % self.index_stride);
            (row * self.stride + (offset & !3)) * self.index_stride + column * 4 + (offset & 3)
        } else {
            linear
        };
        let fits = if self.swizzled && self.stride != 0 {
            index < self.records
        } else if self.swizzled || self.stride == 0 {
            within + soffset + len <= self.records
        } else {
            index < self.records && offset + len <= self.stride
        };
        fits.then(|| self.base.wrapping_add(soffset).wrapping_add(within))
    }
}

/// A misaligned load or store of a swizzled buffer: its bytes lie apart.
fn byte_by_byte(
    w: &mut Wave,
    i: &Inst,
    kind: &Kind,
    env: &mut Env,
    address: impl Fn(u32) -> Option<u64>,
    lane: usize,
) -> Done {
    let at = usize::from(i.dst - reg::VGPR);
    match *kind {
        Kind::Load(unit) => {
            let mut bytes = [0u8; 16];
            for (n, byte) in bytes.iter_mut().enumerate().take(unit.bytes() as usize) {
                *byte = address(n as u32).map_or(Ok(0), |va| env.port.load8(va))?;
            }
            let word = |n: usize| u32::from_le_bytes(bytes[4 * n..4 * n + 4].try_into().expect("4 bytes"));
            match unit {
                Unit::Dwords(count) => {
                    (0..usize::from(count)).for_each(|n| w.vgpr[at + n][lane] = word(n));
                }
                Unit::Small(len, signed, half) => {
                    let old = &mut w.vgpr[at][lane];
                    *old = merge_half(*old, extend(word(0), len, signed), half);
                }
            }
            env.port.read += unit.bytes();
        }
        Kind::Store(unit) => {
            let shift = if let Unit::Small(_, _, Some(true)) = unit { 16 } else { 0 };
            for n in 0..unit.bytes() as u32 {
                let value = w.vgpr[at + n as usize / 4][lane] >> (shift + 8 * (n % 4));
                if let Some(va) = address(n) {
                    env.port.store8(va, value as u8)?;
                }
            }
            env.port.written += unit.bytes();
        }
        Kind::Atomic(_, bits) => return Err(Stop::Unaligned(address(0).unwrap_or(0), bits / 8)),
    }
    Ok(())
}

/// Executes a MUBUF opcode.
pub fn buffer(w: &mut Wave, i: &Inst, op: Mubuf, env: &mut Env) -> Done {
    if matches!(op, Mubuf::Wbinvl1 | Mubuf::Wbinvl1Vol) {
        env.cache_maintenance(Cache::Vector);
        return Ok(());
    }
    let kind = buffer_kind(op).ok_or(Stop::Unsupported("typed buffer instruction"))?;
    let at = usize::from(i.src[1]);
    let resource = Resource::new(&w.sgpr[at..at + 4]);
    let soffset = w.scalar(i.src[2], crate::isa::inst::Ty::I32, 0);
    let vaddr = usize::from(i.src[0] - reg::VGPR);
    for lane in lanes_of(w.exec()) {
        let index = if i.mem.idxen { u64::from(w.vgpr[vaddr][lane]) } else { 0 };
        let offset = if i.mem.offen { u64::from(w.vgpr[vaddr + usize::from(i.mem.idxen)][lane]) } else { 0 };
        let offset = offset + i.imm as u64;
        // Dwords are placed one by one: swizzling moves them apart.
        let (count, len) = match kind {
            Kind::Load(Unit::Dwords(count)) | Kind::Store(Unit::Dwords(count)) => (count, 4),
            Kind::Load(Unit::Small(len, ..)) | Kind::Store(Unit::Small(len, ..)) => (1, len),
            Kind::Atomic(_, bits) => (1, bits / 8),
        };
        if resource.swizzled && !offset.is_multiple_of(u64::from(len)) {
            byte_by_byte(
                w,
                i,
                &kind,
                env,
                |byte| resource.address(index, offset + u64::from(byte), soffset, 1, lane),
                lane,
            )?;
            continue;
        }
        for n in 0..count {
            let offset = offset + 4 * u64::from(n);
            let place = resource.address(index, offset, soffset, u64::from(len), lane).map(Place::Global);
            let part = |unit| if let Unit::Dwords(_) = unit { Unit::Dwords(1) } else { unit };
            match (&kind, place) {
                (Kind::Load(unit), Some(place)) => {
                    if let (Place::Global(va), true) = (place, i.mem.glc) {
                        env.port.reload(va, part(*unit).bytes());
                    }
                    load_lane(w, env, i.dst + n, part(*unit), lane, place)?;
                }
                (Kind::Load(unit), None) => {
                    let half = if let Unit::Small(_, _, half) = unit { *half } else { None };
                    let old = &mut w.vgpr[usize::from(i.dst - reg::VGPR + n)][lane];
                    *old = merge_half(*old, 0, half);
                }
                (Kind::Store(unit), Some(place)) => store_lane(w, env, i.dst + n, part(*unit), lane, place)?,
                (Kind::Atomic(rmw, bits), Some(place)) => {
                    let dst = i.mem.glc.then_some(i.dst);
                    atomic_lane(w, env, (*rmw, *bits), (i.dst, dst), lane, place)?;
                }
                (Kind::Store(_) | Kind::Atomic(..), None) => {}
            }
        }
    }
    // Swizzled buffers are scratch, which only its own lane reads.
    if resource.swizzled { Ok(()) } else { stored(w, i, &kind, env) }
}
