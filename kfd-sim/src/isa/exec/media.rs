//! Rare VOP3 opcodes: cube maps, bytes from floats, sums of differences of four windows, bits of 2/pi.

use super::lanes::{active, f32s, f64s, put, put_f32, put_f64, put64, raw, raw64, store};
use super::wave::Wave;
use super::{Done, Stop, float};
use crate::isa::decode::vop3::Vop3;
use crate::isa::inst::{Inst, reg};

/// Face, coordinates and major axis of a cube map.
fn cube(op: Vop3, x: f32, y: f32, z: f32) -> f32 {
    let (ax, ay, az) = (x.abs(), y.abs(), z.abs());
    let pick = |negative: bool, yes: f32, no: f32| if negative { yes } else { no };
    if az >= ax && az >= ay {
        match op {
            Vop3::CubeidF32 => pick(z < 0.0, 5.0, 4.0),
            Vop3::CubescF32 => pick(z < 0.0, -x, x),
            Vop3::CubetcF32 => -y,
            _ => 2.0 * z,
        }
    } else if ay >= ax {
        match op {
            Vop3::CubeidF32 => pick(y < 0.0, 3.0, 2.0),
            Vop3::CubescF32 => x,
            Vop3::CubetcF32 => pick(y < 0.0, -z, z),
            _ => 2.0 * y,
        }
    } else {
        match op {
            Vop3::CubeidF32 => pick(x < 0.0, 1.0, 0.0),
            Vop3::CubescF32 => pick(x < 0.0, z, -z),
            Vop3::CubetcF32 => -y,
            _ => 2.0 * x,
        }
    }
}

/// Sum of absolute differences of four bytes; `masked`: without those where `reference` is 0.
fn sad(value: u32, reference: u32, masked: bool) -> u32 {
    let (a, b) = (value.to_le_bytes(), reference.to_le_bytes());
    (0..4).filter(|&n| !masked || b[n] != 0).map(|n| u32::from(a[n].abs_diff(b[n]))).sum()
}

/// A byte of a dword becomes a float: truncated, limited to 0..=255, NaN is 0. The ISA document leaves the rounding open.
fn byte(value: f32, at: u32, rest: u32) -> u32 {
    let shift = 8 * (at & 3);
    rest & !(255 << shift) | u32::from(value as u8) << shift
}

/// 2/pi without its leading zero: the first 1216 binary places, highest first.
const TWO_OVER_PI: [u64; 19] = [
    0xa2f9_836e_4e44_1529,
    0xfc27_57d1_f534_ddc0,
    0xdb62_9599_3c43_9041,
    0xfe51_63ab_debb_c561,
    0xb724_6e3a_424d_d2e0,
    0x0649_2eea_09d1_921c,
    0xfe1d_eb1c_b129_a73e,
    0xe882_35f5_2ebb_4484,
    0xe99c_7026_b45f_7e41,
    0x3991_d639_8353_39f4,
    0x9c84_5f8b_bdf9_283b,
    0x1ff8_97ff_de05_980f,
    0xef2f_118b_5a0a_6d1f,
    0x6d36_7ecf_27cb_09b7,
    0x4f46_3f66_9e5f_ea2d,
    0x7527_bac7_ebe5_f17b,
    0x3d07_39f7_8a52_92ea,
    0x6bfb_5fb1_1f8d_5d08,
    0x5603_3046_fc7b_6bab,
];

/// The table's length in the hardware: places beyond are 0.
const PLACES: u32 = 1201;

/// 53 binary places of 2/pi, from the first that matters for a value of this size on.
fn trig_preop(value: f64, segment: u32) -> f64 {
    let exponent = (value.to_bits() >> 52 & 0x7ff) as u32;
    let shift = (segment & 31) * 53 + exponent.saturating_sub(1077);
    let place = |n: u32| n < PLACES && TWO_OVER_PI[n as usize / 64] >> (63 - n % 64) & 1 != 0;
    let places = (0..53).fold(0u64, |bits, n| bits << 1 | u64::from(place(shift + n)));
    let scale = -53 - shift as i32 + if exponent >= 1968 { 128 } else { 0 };
    float::ldexp64(places as f64, scale)
}

/// Executes one of them.
pub fn execute(w: &mut Wave, i: &Inst, op: Vop3) -> Done {
    use Vop3::*;
    match op {
        CubeidF32 | CubescF32 | CubetcF32 | CubemaF32 => {
            let (x, y, z) = (f32s(w, i, 0), f32s(w, i, 1), f32s(w, i, 2));
            put_f32(w, i, std::array::from_fn(|n| cube(op, x[n], y[n], z[n])))
        }
        CvtPkU8F32 | CvtPkaccumU8F32 => {
            if i.mods.clamp {
                return Err(Stop::Unsupported("clamp of a conversion to bytes"));
            }
            let (value, at) = (f32s(w, i, 0), raw(w, i, 1));
            let rest = if op == CvtPkU8F32 { raw(w, i, 2) } else { w.vgpr[usize::from(i.dst - reg::VGPR)] };
            put(w, i, &std::array::from_fn(|n| byte(value[n], at[n], rest[n])))
        }
        QsadPkU16U8 | MqsadPkU16U8 => {
            let (a, b, c) = (raw64(w, i, 0), raw(w, i, 1), raw64(w, i, 2));
            let clamp = i.mods.clamp;
            let window = |n: usize, part: u32| {
                let sum = sad((a[n] >> (8 * part)) as u32, b[n], op == MqsadPkU16U8)
                    + (c[n] >> (16 * part) & 0xffff) as u32;
                u64::from(if clamp { sum.min(0xffff) } else { sum & 0xffff }) << (16 * part)
            };
            put64(w, i, &std::array::from_fn(|n| (0..4).map(|part| window(n, part)).sum()))
        }
        MqsadU32U8 => {
            let (a, b) = (raw64(w, i, 0), raw(w, i, 1));
            let addend = |w: &Wave, part: u16| {
                let code = i.src[2];
                if code >= reg::VGPR {
                    w.vgpr[usize::from(code - reg::VGPR + part)]
                } else {
                    [w.sgpr[usize::from(code + part) & 127]; 64]
                }
            };
            let clamp = i.mods.clamp;
            // Everything is read before anything is written.
            let out: [[u32; 64]; 4] = std::array::from_fn(|part| {
                let c = addend(w, part as u16);
                std::array::from_fn(|n| {
                    let sum = sad((a[n] >> (8 * part)) as u32, b[n], true);
                    if clamp { sum.saturating_add(c[n]) } else { sum.wrapping_add(c[n]) }
                })
            });
            let mask = active(w, i);
            for (part, lanes) in out.iter().enumerate() {
                store(w, i.dst + part as u16, lanes, mask);
            }
            Ok(())
        }
        _ => {
            let (value, segment) = (f64s(w, i, 0), raw(w, i, 1));
            put_f64(w, i, std::array::from_fn(|n| trig_preop(value[n], segment[n])))
        }
    }
}
