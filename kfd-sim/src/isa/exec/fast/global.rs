//! Loads and stores of global memory: one check for all lanes, which are mostly neighbours.
//!
//! Everything else (lanes in several mappings, misaligned, in the LDS or scratch aperture, loads that bypass a cache,
//! faults) takes the general form.

use super::super::lds::lanes_of;
use super::super::memory::Block;
use super::super::wave::Wave;
use super::super::{Done, Env, Lanes};
use super::{Body, Level, Run, compiled, spread};
use crate::isa::decode::flat::{Flat, SADDR_OFF};
use crate::isa::inst::{Inst, Segment, reg};
use crate::memory::Access;

type Addresses = [u64; 64];

/// Addresses of all lanes.
#[inline(always)]
fn addresses(w: &Wave, i: &Inst) -> Addresses {
    let at = usize::from(i.src[0] - reg::VGPR);
    let imm = i64::from(i.imm) as u64;
    let low = &w.vgpr[at];
    let mut vas = [0; 64];
    if i.segment == Segment::Global && i.src[2] != SADDR_OFF {
        let base = w.pair(i.src[2]).wrapping_add(imm);
        for lane in 0..64 {
            vas[lane] = base.wrapping_add(u64::from(low[lane]));
        }
    } else {
        let high = &w.vgpr[at + 1];
        for lane in 0..64 {
            vas[lane] = (u64::from(low[lane]) | u64::from(high[lane]) << 32).wrapping_add(imm);
        }
    }
    vas
}

/// Whether all lanes' accesses of `size` bytes follow each other without a gap.
#[inline(always)]
fn consecutive(vas: &Addresses, size: u64) -> bool {
    let mut differing = 0;
    for lane in 0..64 {
        differing |= vas[lane] ^ vas[0].wrapping_add(size * lane as u64);
    }
    differing == 0
}

/// Lowest address, bytes from there to the end of the highest access, and bits set in any address, of the active lanes.
#[inline(always)]
fn extent(vas: &Addresses, exec: u64, size: u64, consecutive: bool) -> (u64, u64, u64) {
    if consecutive {
        return (vas[0], 64 * size, vas[0] | size);
    }
    let (mut low, mut high, mut bits) = (u64::MAX, 0, 0);
    let active = spread(exec);
    for lane in 0..64 {
        let inactive = !(active[lane] as i32 as u64);
        low = low.min(vas[lane] | inactive);
        high = high.max(vas[lane] & !inactive);
        bits |= vas[lane] & !inactive;
    }
    (low, high.wrapping_sub(low).saturating_add(size), bits)
}

/// Where all lanes' accesses lie.
struct Accesses {
    block: Block,
    /// They follow each other without a gap, and all lanes are active.
    row: bool,
    /// All active lanes access this address.
    same: Option<u64>,
    /// Dwords may be accessed in pairs: those of one lane, or of two lanes of a row.
    pairs: bool,
}

/// The accesses as one block; none if the general form has to do it.
#[inline(always)]
fn accesses(
    w: &Wave,
    i: &Inst,
    env: &mut Env,
    vas: &Addresses,
    size: u64,
    access: Access,
) -> Option<Accesses> {
    let exec = w.exec();
    if exec == 0 || (i.mem.glc && env.port.cached()) {
        return None;
    }
    let row = exec == u64::MAX && consecutive(vas, size);
    let (low, len, bits) = extent(vas, exec, size, row);
    // Each dword is accessed at once, pairs of dwords as well where the addresses allow it.
    if bits & (size.min(4) - 1) != 0 || len > u64::from(u32::MAX) {
        return None;
    }
    if i.segment == Segment::Flat {
        let apertures = [env.apertures.lds, env.apertures.scratch];
        if apertures
            .into_iter()
            .any(|base| base != 0 && low >> 32 <= base >> 32 && low.saturating_add(len) >> 32 >= base >> 32)
        {
            return None;
        }
    }
    let pairs = bits & 7 == 0 || row && low & 7 == 0 && size == 4;
    let same = (len == size).then_some(low);
    Some(Accesses { block: env.port.block(low, len, access)?, row, same, pairs })
}

/// What one lane has loaded, for all active lanes.
#[inline(always)]
fn broadcast(dst: &mut Lanes, exec: u64, value: u32) {
    let active = spread(exec);
    for lane in 0..64 {
        dst[lane] = dst[lane] & !active[lane] | value & active[lane];
    }
}

/// One register's lanes from consecutive dwords at `va`, which is aligned to 8.
#[inline(always)]
fn load_row(block: &Block, va: u64, dst: &mut Lanes) {
    for (n, pair) in dst.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let value = block.load64(va + 8 * n as u64);
        *pair = [value as u32, (value >> 32) as u32];
    }
}

/// As [`load_row`], the other way.
#[inline(always)]
fn store_row(block: &Block, va: u64, src: &Lanes) {
    for (n, pair) in src.as_chunks::<2>().0.iter().enumerate() {
        block.store64(va + 8 * n as u64, u64::from(pair[0]) | u64::from(pair[1]) << 32);
    }
}

struct Load<const DWORDS: usize>;

impl<const DWORDS: usize> Body for Load<DWORDS> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let (vas, exec) = (addresses(w, i), w.exec());
        let Some(Accesses { block, row, same, pairs }) =
            accesses(w, i, env, &vas, 4 * DWORDS as u64, Access::Read)
        else {
            return super::super::dispatch(w, i, env);
        };
        env.stats.vmem += 1;
        env.port.read += 4 * DWORDS as u64 * u64::from(exec.count_ones());
        let at = usize::from(i.dst - reg::VGPR);
        let dst: &mut [Lanes; DWORDS] = (&mut w.vgpr[at..at + DWORDS]).try_into().expect("as many");
        if let Some(va) = same {
            // One access, as the compiler takes it to be: it branches on one lane's value, even where another agent may store
            // meanwhile (a polled flag).
            if DWORDS.is_multiple_of(2) && pairs {
                for n in (0..DWORDS).step_by(2) {
                    let value = block.load64(va + 4 * n as u64);
                    broadcast(&mut dst[n], exec, value as u32);
                    broadcast(&mut dst[n + 1], exec, (value >> 32) as u32);
                }
            } else {
                for (n, dst) in dst.iter_mut().enumerate() {
                    broadcast(dst, exec, block.load32(va + 4 * n as u64));
                }
            }
            return Ok(());
        }
        if DWORDS == 1 {
            if row && pairs {
                load_row(&block, vas[0], &mut dst[0]);
            } else if exec == u64::MAX {
                for lane in 0..64 {
                    dst[0][lane] = block.load32(vas[lane]);
                }
            } else {
                for lane in lanes_of(exec) {
                    dst[0][lane] = block.load32(vas[lane]);
                }
            }
            return Ok(());
        }
        for lane in lanes_of(exec) {
            if DWORDS.is_multiple_of(2) && pairs {
                for n in (0..DWORDS).step_by(2) {
                    let value = block.load64(vas[lane] + 4 * n as u64);
                    dst[n][lane] = value as u32;
                    dst[n + 1][lane] = (value >> 32) as u32;
                }
            } else {
                for (n, dst) in dst.iter_mut().enumerate() {
                    dst[lane] = block.load32(vas[lane] + 4 * n as u64);
                }
            }
        }
        Ok(())
    }
}

/// After the stores: the wave may wait for them, and with GLC they go out at once.
#[inline(always)]
fn stored(w: &mut Wave, env: &mut Env, exec: u64, size: u64) {
    env.stats.vmem += 1;
    env.port.written += size * u64::from(exec.count_ones());
    w.stored = true;
}

struct Store<const DWORDS: usize>;

impl<const DWORDS: usize> Body for Store<DWORDS> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let (vas, exec) = (addresses(w, i), w.exec());
        let size = 4 * DWORDS as u64;
        let Some(Accesses { block, row, pairs, .. }) = accesses(w, i, env, &vas, size, Access::Write) else {
            return super::super::dispatch(w, i, env);
        };
        let at = usize::from(i.src[1] - reg::VGPR);
        let src: &[Lanes; DWORDS] = w.vgpr[at..at + DWORDS].try_into().expect("as many");
        if DWORDS == 1 && row && pairs {
            store_row(&block, vas[0], &src[0]);
        } else {
            for lane in lanes_of(exec) {
                if DWORDS.is_multiple_of(2) && pairs {
                    for n in (0..DWORDS).step_by(2) {
                        let value = u64::from(src[n][lane]) | u64::from(src[n + 1][lane]) << 32;
                        block.store64(vas[lane] + 4 * n as u64, value);
                    }
                } else {
                    for (n, src) in src.iter().enumerate() {
                        block.store32(vas[lane] + 4 * n as u64, src[lane]);
                    }
                }
            }
        }
        if row {
            block.note(vas[0], 64 * size);
        } else if block.notes() {
            lanes_of(exec).for_each(|lane| block.note(vas[lane], size));
        }
        stored(w, env, exec, size);
        Ok(())
    }
}

/// One or two bytes into a whole register.
struct LoadSmall<const BYTES: u64, const SIGNED: bool>;

impl<const BYTES: u64, const SIGNED: bool> Body for LoadSmall<BYTES, SIGNED> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let (vas, exec) = (addresses(w, i), w.exec());
        let Some(Accesses { block, same, .. }) = accesses(w, i, env, &vas, BYTES, Access::Read) else {
            return super::super::dispatch(w, i, env);
        };
        env.stats.vmem += 1;
        env.port.read += BYTES * u64::from(exec.count_ones());
        let dst = &mut w.vgpr[usize::from(i.dst - reg::VGPR)];
        let load = |va| match (BYTES, SIGNED) {
            (1, false) => u32::from(block.load8(va)),
            (1, true) => block.load8(va) as i8 as u32,
            (_, false) => u32::from(block.load16(va)),
            (_, true) => block.load16(va) as i16 as u32,
        };
        if let Some(va) = same {
            // One access, as for dwords.
            broadcast(dst, exec, load(va));
        } else {
            lanes_of(exec).for_each(|lane| dst[lane] = load(vas[lane]));
        }
        Ok(())
    }
}

/// One or two low bytes of a register.
struct StoreSmall<const BYTES: u64>;

impl<const BYTES: u64> Body for StoreSmall<BYTES> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let (vas, exec) = (addresses(w, i), w.exec());
        let Some(Accesses { block, .. }) = accesses(w, i, env, &vas, BYTES, Access::Write) else {
            return super::super::dispatch(w, i, env);
        };
        let src = &w.vgpr[usize::from(i.src[1] - reg::VGPR)];
        for lane in lanes_of(exec) {
            if BYTES == 1 {
                block.store8(vas[lane], src[lane] as u8);
            } else {
                block.store16(vas[lane], src[lane] as u16);
            }
            block.note(vas[lane], BYTES);
        }
        stored(w, env, exec, BYTES);
        Ok(())
    }
}

/// The handler, if the opcode has one here.
pub fn select(i: &Inst, op: Flat, level: Level) -> Option<Run> {
    if i.segment == Segment::Scratch || i.mem.lds {
        return None;
    }
    Some(match op {
        Flat::LoadDword => compiled::<Load<1>>(level),
        Flat::LoadDwordx2 => compiled::<Load<2>>(level),
        Flat::LoadDwordx3 => compiled::<Load<3>>(level),
        Flat::LoadDwordx4 => compiled::<Load<4>>(level),
        Flat::StoreDword => compiled::<Store<1>>(level),
        Flat::StoreDwordx2 => compiled::<Store<2>>(level),
        Flat::StoreDwordx3 => compiled::<Store<3>>(level),
        Flat::StoreDwordx4 => compiled::<Store<4>>(level),
        Flat::LoadUbyte => compiled::<LoadSmall<1, false>>(level),
        Flat::LoadSbyte => compiled::<LoadSmall<1, true>>(level),
        Flat::LoadUshort => compiled::<LoadSmall<2, false>>(level),
        Flat::LoadSshort => compiled::<LoadSmall<2, true>>(level),
        Flat::StoreByte => compiled::<StoreSmall<1>>(level),
        Flat::StoreShort => compiled::<StoreSmall<2>>(level),
        _ => return None,
    })
}
