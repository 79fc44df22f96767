//! LDS: the workgroup's memory, its instructions, and the lane permutes that use its crossbar.
//!
//! Any alignment is allowed for loads and stores (the unaligned mode that HSA sets), natural alignment for atomics. An
//! access beyond the allocation is an error here; hardware would drop it.

use super::lanes::store;
use super::memory::Rmw;
use super::wave::Wave;
use super::{Cache, Done, Env, Lanes, Stop, minmax};
use crate::isa::decode::ds::Ds;
use crate::isa::inst::{Inst, Ty, reg};

/// The LDS of one workgroup.
#[derive(Debug, Default)]
pub struct Lds {
    bytes: Vec<u8>,
}

impl Lds {
    /// Zeroed LDS.
    pub fn new(bytes: u32) -> Self {
        Lds { bytes: vec![0; bytes as usize] }
    }

    /// Bytes allocated.
    pub fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn at(&mut self, offset: u32, len: u32) -> Result<&mut [u8], Stop> {
        let (start, end) = (offset as usize, offset as usize + len as usize);
        self.bytes.get_mut(start..end).ok_or(Stop::Lds(offset, len))
    }

    /// Loads 1, 2, 4 or 8 bytes.
    #[inline]
    pub fn load(&mut self, offset: u32, len: u32) -> Result<u64, Stop> {
        let mut value = [0; 8];
        value[..len as usize].copy_from_slice(self.at(offset, len)?);
        Ok(u64::from_le_bytes(value))
    }

    /// Stores 1, 2, 4 or 8 bytes.
    #[inline]
    pub fn store(&mut self, offset: u32, len: u32, value: u64) -> Done {
        self.at(offset, len)?.copy_from_slice(&value.to_le_bytes()[..len as usize]);
        Ok(())
    }

    /// Read-modify-write; returns the old value.
    pub fn update(&mut self, offset: u32, bits: u32, f: impl Fn(u64) -> u64) -> Result<u64, Stop> {
        if !offset.is_multiple_of(bits / 8) {
            return Err(Stop::Unaligned(u64::from(offset), bits / 8));
        }
        let old = self.load(offset, bits / 8)?;
        self.store(offset, bits / 8, f(old))?;
        Ok(old)
    }
}

/// Numbers of the set bits.
pub fn lanes_of(mut mask: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lane = (mask != 0).then(|| mask.trailing_zeros() as usize);
        mask &= mask.wrapping_sub(1);
        lane
    })
}

fn vgpr(w: &Wave, code: u16, n: u16) -> &Lanes {
    &w.vgpr[usize::from(code - reg::VGPR + n)]
}

fn data64(w: &Wave, code: u16, lane: usize, ty: Ty) -> u64 {
    let low = u64::from(vgpr(w, code, 0)[lane]);
    if ty.dwords() == 2 { low | u64::from(vgpr(w, code, 1)[lane]) << 32 } else { low }
}

/// Loads of consecutive dwords.
fn load(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
    let exec = w.exec();
    for lane in lanes_of(exec) {
        let at = vgpr(w, i.src[0], 0)[lane].wrapping_add(i.imm as u32);
        for n in 0..i.info.dst.dwords() {
            let value = env.lds.load(at.wrapping_add(4 * u32::from(n)), 4)?;
            w.vgpr[usize::from(i.dst - reg::VGPR + n)][lane] = value as u32;
        }
    }
    Ok(())
}

/// Loads of a byte or short: `len` bytes, sign-extended from `sign` bits if any; into a half when `half` says which.
fn load_small(w: &mut Wave, i: &Inst, env: &mut Env, len: u32, signed: bool, half: Option<bool>) -> Done {
    for lane in lanes_of(w.exec()) {
        let at = vgpr(w, i.src[0], 0)[lane].wrapping_add(i.imm as u32);
        let value = super::vector_memory::extend(env.lds.load(at, len)? as u32, len, signed);
        let dst = &mut w.vgpr[usize::from(i.dst - reg::VGPR)][lane];
        *dst = super::vector_memory::merge_half(*dst, value, half);
    }
    Ok(())
}

fn store_bytes(w: &mut Wave, i: &Inst, env: &mut Env, len: u32, shift: u32) -> Done {
    for lane in lanes_of(w.exec()) {
        let at = vgpr(w, i.src[0], 0)[lane].wrapping_add(i.imm as u32);
        for n in 0..i.info.src[1].dwords() {
            let value = vgpr(w, i.src[1], n)[lane] >> shift;
            env.lds.store(at.wrapping_add(4 * u32::from(n)), len, u64::from(value))?;
        }
    }
    Ok(())
}

/// The forms with two element offsets.
fn two(w: &mut Wave, i: &Inst, env: &mut Env, bytes: u32, stride64: bool, writes: bool, reads: bool) -> Done {
    let scale = bytes * if stride64 { 64 } else { 1 };
    let offsets = [(i.imm as u32 & 255) * scale, (i.imm as u32 >> 8) * scale];
    let dwords = (bytes / 4) as u16;
    for lane in lanes_of(w.exec()) {
        let base = vgpr(w, i.src[0], 0)[lane];
        let mut old = [0; 2];
        for n in 0..2 {
            let at = base.wrapping_add(offsets[n]);
            if reads {
                old[n] = env.lds.load(at, bytes)?;
            }
            if writes {
                env.lds.store(at, bytes, data64(w, i.src[n + 1], lane, i.info.src[n + 1]))?;
            }
        }
        if reads {
            for (n, value) in old.into_iter().enumerate() {
                for part in 0..dwords {
                    let dst = i.dst - reg::VGPR + n as u16 * dwords + part;
                    w.vgpr[usize::from(dst)][lane] = (value >> (32 * part)) as u32;
                }
            }
        }
    }
    Ok(())
}

/// Read-modify-write with up to two data operands.
fn modify(w: &mut Wave, i: &Inst, env: &mut Env, bits: u32, f: impl Fn(u64, u64, u64) -> u64) -> Done {
    for lane in lanes_of(w.exec()) {
        let at = vgpr(w, i.src[0], 0)[lane].wrapping_add(i.imm as u32);
        let a = data64(w, i.src[1], lane, i.info.src[1]);
        let b = i.info.src.get(2).map_or(0, |ty| data64(w, i.src[2], lane, *ty));
        let mask = if bits == 32 { 0xffff_ffff } else { u64::MAX };
        let old = env.lds.update(at, bits, |old| f(old, a, b) & mask)?;
        for n in 0..i.info.dst.dwords() {
            w.vgpr[usize::from(i.dst - reg::VGPR + n)][lane] = (old >> (32 * n)) as u32;
        }
    }
    Ok(())
}

/// Source lane of `ds_swizzle_b32`.
fn swizzle(imm: u32, lane: usize) -> usize {
    if imm >> 15 != 0 {
        return (lane & !3) + (imm >> (2 * (lane & 3)) & 3) as usize;
    }
    let (and, or, xor) = ((imm & 31) as usize, (imm >> 5 & 31) as usize, (imm >> 10 & 31) as usize);
    (lane & 32) + (((lane & 31) & and | or) ^ xor)
}

/// Reads another lane's data: 0 where that lane is inactive.
fn gather(w: &mut Wave, i: &Inst, data: u16, from: impl Fn(usize) -> usize) -> Done {
    let exec = w.exec();
    let values = *vgpr(w, data, 0);
    let out = std::array::from_fn(|lane| {
        let source = from(lane) & 63;
        if exec >> source & 1 != 0 { values[source] } else { 0 }
    });
    store(w, i.dst, &out, exec);
    Ok(())
}

/// Float minimum and maximum on bits.
fn float_minmax(old: u64, data: u64, wide: bool, largest: bool) -> u64 {
    if wide {
        let (a, b) = (f64::from_bits(old), f64::from_bits(data));
        if largest { minmax::max(a, b) } else { minmax::min(a, b) }.to_bits()
    } else {
        let (a, b) = (f32::from_bits(old as u32), f32::from_bits(data as u32));
        u64::from(if largest { minmax::max(a, b) } else { minmax::min(a, b) }.to_bits())
    }
}

/// The integer operation of an LDS atomic, its width.
fn integer(op: Ds) -> Option<(Rmw, u32)> {
    use Ds::*;
    Some(match op {
        AddU32 | AddRtnU32 => (Rmw::Add, 32),
        SubU32 | SubRtnU32 => (Rmw::Sub, 32),
        RsubU32 | RsubRtnU32 => (Rmw::Rsub, 32),
        IncU32 | IncRtnU32 => (Rmw::Inc, 32),
        DecU32 | DecRtnU32 => (Rmw::Dec, 32),
        MinI32 | MinRtnI32 => (Rmw::Smin, 32),
        MaxI32 | MaxRtnI32 => (Rmw::Smax, 32),
        MinU32 | MinRtnU32 => (Rmw::Umin, 32),
        MaxU32 | MaxRtnU32 => (Rmw::Umax, 32),
        AndB32 | AndRtnB32 => (Rmw::And, 32),
        OrB32 | OrRtnB32 => (Rmw::Or, 32),
        XorB32 | XorRtnB32 => (Rmw::Xor, 32),
        WrxchgRtnB32 => (Rmw::Swap, 32),
        AddU64 | AddRtnU64 => (Rmw::Add, 64),
        SubU64 | SubRtnU64 => (Rmw::Sub, 64),
        RsubU64 | RsubRtnU64 => (Rmw::Rsub, 64),
        IncU64 | IncRtnU64 => (Rmw::Inc, 64),
        DecU64 | DecRtnU64 => (Rmw::Dec, 64),
        MinI64 | MinRtnI64 => (Rmw::Smin, 64),
        MaxI64 | MaxRtnI64 => (Rmw::Smax, 64),
        MinU64 | MinRtnU64 => (Rmw::Umin, 64),
        MaxU64 | MaxRtnU64 => (Rmw::Umax, 64),
        AndB64 | AndRtnB64 => (Rmw::And, 64),
        OrB64 | OrRtnB64 => (Rmw::Or, 64),
        XorB64 | XorRtnB64 => (Rmw::Xor, 64),
        WrxchgRtnB64 => (Rmw::Swap, 64),
        _ => return None,
    })
}

/// Executes a DS opcode.
pub fn execute(w: &mut Wave, i: &Inst, op: Ds, env: &mut Env) -> Done {
    use Ds::*;
    if let Some((rmw, bits)) = integer(op) {
        return modify(w, i, env, bits, |old, data, _| rmw.apply(old, data, 0, bits));
    }
    match op {
        Nop => env.cache_maintenance(Cache::Vector),
        ReadB32 | ReadB64 | ReadB96 | ReadB128 => return load(w, i, env),
        ReadI8 => return load_small(w, i, env, 1, true, None),
        ReadU8 => return load_small(w, i, env, 1, false, None),
        ReadI16 => return load_small(w, i, env, 2, true, None),
        ReadU16 => return load_small(w, i, env, 2, false, None),
        ReadU8D16 => return load_small(w, i, env, 1, false, Some(false)),
        ReadU8D16Hi => return load_small(w, i, env, 1, false, Some(true)),
        ReadI8D16 => return load_small(w, i, env, 1, true, Some(false)),
        ReadI8D16Hi => return load_small(w, i, env, 1, true, Some(true)),
        ReadU16D16 => return load_small(w, i, env, 2, false, Some(false)),
        ReadU16D16Hi => return load_small(w, i, env, 2, false, Some(true)),
        WriteB8 => return store_bytes(w, i, env, 1, 0),
        WriteB16 => return store_bytes(w, i, env, 2, 0),
        WriteB8D16Hi => return store_bytes(w, i, env, 1, 16),
        WriteB16D16Hi => return store_bytes(w, i, env, 2, 16),
        WriteB32 | WriteB64 | WriteB96 | WriteB128 => return store_bytes(w, i, env, 4, 0),
        Write2B32 => return two(w, i, env, 4, false, true, false),
        Write2st64B32 => return two(w, i, env, 4, true, true, false),
        Write2B64 => return two(w, i, env, 8, false, true, false),
        Write2st64B64 => return two(w, i, env, 8, true, true, false),
        Read2B32 => return two(w, i, env, 4, false, false, true),
        Read2st64B32 => return two(w, i, env, 4, true, false, true),
        Read2B64 => return two(w, i, env, 8, false, false, true),
        Read2st64B64 => return two(w, i, env, 8, true, false, true),
        Wrxchg2RtnB32 => return two(w, i, env, 4, false, true, true),
        Wrxchg2st64RtnB32 => return two(w, i, env, 4, true, true, true),
        Wrxchg2RtnB64 => return two(w, i, env, 8, false, true, true),
        Wrxchg2st64RtnB64 => return two(w, i, env, 8, true, true, true),
        // Data 0 is compared, data 1 stored.
        CmpstB32 | CmpstRtnB32 => {
            return modify(w, i, env, 32, |old, compare, new| if old == compare { new } else { old });
        }
        CmpstB64 | CmpstRtnB64 => {
            return modify(w, i, env, 64, |old, compare, new| if old == compare { new } else { old });
        }
        CmpstF32 | CmpstRtnF32 => {
            let equal = |a: u64, b: u64| f32::from_bits(a as u32) == f32::from_bits(b as u32);
            return modify(w, i, env, 32, |old, compare, new| if equal(old, compare) { new } else { old });
        }
        CmpstF64 | CmpstRtnF64 => {
            let equal = |a: u64, b: u64| f64::from_bits(a) == f64::from_bits(b);
            return modify(w, i, env, 64, |old, compare, new| if equal(old, compare) { new } else { old });
        }
        MskorB32 | MskorRtnB32 => return modify(w, i, env, 32, |old, clear, set| old & !clear | set),
        MskorB64 | MskorRtnB64 => return modify(w, i, env, 64, |old, clear, set| old & !clear | set),
        WrapRtnB32 => {
            return modify(w, i, env, 32, |old, limit, step| {
                if old >= limit { old.wrapping_sub(limit) } else { old.wrapping_add(step) }
            });
        }
        MinF32 | MinRtnF32 => {
            return modify(w, i, env, 32, |old, data, _| float_minmax(old, data, false, false));
        }
        MaxF32 | MaxRtnF32 => {
            return modify(w, i, env, 32, |old, data, _| float_minmax(old, data, false, true));
        }
        MinF64 | MinRtnF64 => {
            return modify(w, i, env, 64, |old, data, _| float_minmax(old, data, true, false));
        }
        MaxF64 | MaxRtnF64 => {
            return modify(w, i, env, 64, |old, data, _| float_minmax(old, data, true, true));
        }
        AddF32 | AddRtnF32 => {
            return modify(w, i, env, 32, |old, data, _| {
                u64::from((f32::from_bits(old as u32) + f32::from_bits(data as u32)).to_bits())
            });
        }
        SwizzleB32 => {
            let imm = i.imm as u32;
            return gather(w, i, i.src[0], |lane| swizzle(imm, lane));
        }
        BpermuteB32 => {
            let address = *vgpr(w, i.src[0], 0);
            return gather(w, i, i.src[1], |lane| address[lane].wrapping_add(i.imm as u32) as usize / 4);
        }
        PermuteB32 => {
            let (address, data, exec) = (*vgpr(w, i.src[0], 0), *vgpr(w, i.src[1], 0), w.exec());
            let mut out = [0; 64];
            for lane in lanes_of(exec) {
                out[(address[lane].wrapping_add(i.imm as u32) as usize / 4) & 63] = data[lane];
            }
            store(w, i.dst, &out, exec);
        }
        // The address is in M0, the same for all lanes; the wave takes or gives as many as it has active lanes.
        Append | Consume => {
            let at = (w.sgpr[usize::from(reg::M0)] & 0xffff).wrapping_add(i.imm as u32);
            let lanes = u64::from(w.exec().count_ones());
            let old = env.lds.update(at, 32, |old| {
                let new = if op == Append { old.wrapping_add(lanes) } else { old.wrapping_sub(lanes) };
                new & 0xffff_ffff
            })?;
            store(w, i.dst, &[old as u32; 64], w.exec());
        }
        // Dword `n` behind the address in M0 is that of lane `n`.
        ReadAddtidB32 | WriteAddtidB32 => {
            let base = (w.sgpr[usize::from(reg::M0)] & 0xffff).wrapping_add(i.imm as u32);
            for lane in lanes_of(w.exec()) {
                let at = base.wrapping_add(4 * lane as u32);
                if op == ReadAddtidB32 {
                    w.vgpr[usize::from(i.dst - reg::VGPR)][lane] = env.lds.load(at, 4)? as u32;
                } else {
                    env.lds.store(at, 4, u64::from(vgpr(w, i.src[0], 0)[lane]))?;
                }
            }
        }
        // Each half of 64 bits is replaced if its top bit, which is not stored, is set.
        Condxchg32RtnB64 => {
            return modify(w, i, env, 64, |old, data, _| {
                let half = |old: u64, data: u64| if data >> 31 & 1 != 0 { data & 0x7fff_ffff } else { old };
                half(old & 0xffff_ffff, data & 0xffff_ffff) | half(old >> 32, data >> 32) << 32
            });
        }
        _ => {
            return Err(Stop::Unsupported("LDS instruction with two addresses, or of the global data share"));
        }
    }
    Ok(())
}
