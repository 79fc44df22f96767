//! Whole kernels, compiled from OpenCL C at -O2, against the same computation on the host.

mod isa_support;

use isa_support::{Dispatch, Gpu, compile};

/// Deterministic numbers.
fn noise(count: usize) -> Vec<u32> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as u32
        })
        .collect()
}

fn floats(count: usize) -> Vec<f32> {
    noise(count).into_iter().map(|bits| (bits as i32 as f32) / 1e7).collect()
}

#[test]
fn vector_add_with_a_partial_workgroup() {
    let source = "kernel void add(global const float *a, global const float *b, global float *c, uint n) {
        uint i = GID; if (i < n) c[i] = a[i] + b[i]; }";
    let Some(code) = compile(source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let (a, b) = (floats(1000), floats(2000)[1000..].to_vec());
    let (va, vb, vc) = (gpu.upload(&a), gpu.upload(&b), gpu.alloc(4096));
    let dispatch = Dispatch::new(&code, base, "add", 1000, 256).arg(va).arg(vb).arg(vc).arg(990u32);
    let stats = dispatch.run(&mut gpu).unwrap();
    let c: Vec<f32> = gpu.read(vc, 1000);
    for n in 0..1000 {
        assert_eq!(c[n], if n < 990 { a[n] + b[n] } else { 0.0 }, "{n}");
    }
    assert_eq!(stats.vmem_write_bytes, 990 * 4);
    assert_eq!(stats.vmem_read_bytes, 990 * 8);
}

#[test]
fn lds_tiled_matrix_product() {
    let source = "kernel void matmul(global const float *a, global const float *b, global float *c, uint n) {
        local float ta[16][16]; local float tb[16][16];
        uint x = LX, y = LY, col = GX * 16 + x, row = GY * 16 + y;
        float sum = 0;
        for (uint t = 0; t < n / 16; t++) {
            ta[y][x] = a[row * n + t * 16 + x]; tb[y][x] = b[(t * 16 + y) * n + col];
            BARRIER;
            for (uint k = 0; k < 16; k++) sum = __builtin_fmaf(ta[y][k], tb[k][x], sum);
            BARRIER;
        }
        c[row * n + col] = sum; }";
    let Some(code) = compile(source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let n = 64usize;
    let (a, b) = (floats(n * n), floats(2 * n * n)[n * n..].to_vec());
    let (va, vb, vc) = (gpu.upload(&a), gpu.upload(&b), gpu.alloc(n * n * 4));
    let mut dispatch =
        Dispatch::new(&code, base, "matmul", n as u32, 16).arg(va).arg(vb).arg(vc).arg(n as u32);
    dispatch.grid = [n as u32, n as u32, 1];
    dispatch.workgroup = [16, 16, 1];
    dispatch.run(&mut gpu).unwrap();
    let c: Vec<f32> = gpu.read(vc, n * n);
    for row in 0..n {
        for col in 0..n {
            let want = (0..n).fold(0f32, |sum, k| a[row * n + k].mul_add(b[k * n + col], sum));
            assert_eq!(c[row * n + col], want, "{row},{col}");
        }
    }
}

#[test]
fn reduction_with_barriers_and_atomics() {
    let source = "kernel void sum(global const uint *a, global uint *total, global ulong *wide, global int *low) {
        local uint part[256];
        uint l = LX; part[l] = a[GID];
        BARRIER;
        for (uint s = 128; s > 0; s >>= 1) { if (l < s) part[l] += part[l + s]; BARRIER; }
        if (l == 0) { __opencl_atomic_fetch_add((global atomic_uint *)total, part[0], memory_order_relaxed, memory_scope_device);
            __opencl_atomic_fetch_add((global atomic_ulong *)wide, (ulong)part[0], memory_order_relaxed, memory_scope_device); }
        __opencl_atomic_fetch_min((global atomic_int *)low, (int)a[GID], memory_order_relaxed, memory_scope_device); }";
    let Some(code) = isa_support::compile_with(source, &["-Xclang", "-cl-ext=+cl_khr_int64_base_atomics"])
    else {
        return;
    };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let a = noise(1024);
    let va = gpu.upload(&a);
    let (total, wide, low) = (gpu.alloc(4), gpu.alloc(8), gpu.alloc(4));
    Dispatch::new(&code, base, "sum", 1024, 256).arg(va).arg(total).arg(wide).arg(low).run(&mut gpu).unwrap();
    let want = a.iter().fold(0u32, |sum, x| sum.wrapping_add(*x));
    assert_eq!(gpu.read::<u32>(total, 1)[0], want);
    let parts = a.chunks(256).map(|c| u64::from(c.iter().fold(0u32, |sum, x| sum.wrapping_add(*x))));
    assert_eq!(gpu.read::<u64>(wide, 1)[0], parts.sum::<u64>());
    assert_eq!(gpu.read::<i32>(low, 1)[0], a.iter().map(|x| *x as i32).min().unwrap().min(0));
}

#[test]
fn divergent_loops() {
    let source = "kernel void collatz(global const uint *a, global uint *out) {
        uint v = a[GID] % 10000 + 1, steps = 0;
        while (v != 1) { if (v & 1) v = 3 * v + 1; else v >>= 1; if (++steps > 300) break; }
        out[GID] = steps; }";
    let Some(code) = compile(source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let a = noise(512);
    let (va, out) = (gpu.upload(&a), gpu.alloc(2048));
    Dispatch::new(&code, base, "collatz", 512, 128).arg(va).arg(out).run(&mut gpu).unwrap();
    for (n, got) in gpu.read::<u32>(out, 512).into_iter().enumerate() {
        let (mut v, mut steps) = (a[n] % 10000 + 1, 0);
        while v != 1 {
            v = if v & 1 != 0 { 3 * v + 1 } else { v >> 1 };
            steps += 1;
            if steps > 300 {
                break;
            }
        }
        assert_eq!(got, steps, "{n}");
    }
}

#[test]
fn float_division_is_correctly_rounded() {
    let source =
        "kernel void div(global const float *a, global const float *b, global float *c, global double *d) {
        c[GID] = a[GID] / b[GID]; d[GID] = (double)a[GID] / (double)b[GID]; }";
    let exact = "-cl-fp32-correctly-rounded-divide-sqrt";
    for flags in [&[exact][..], &[exact, "-cl-denorms-are-zero"]] {
        let Some(code) = isa_support::compile_with(source, flags) else { return };
        let mut gpu = Gpu::new();
        let base = gpu.load(&code);
        let mut a: Vec<f32> = noise(4096).into_iter().map(f32::from_bits).collect();
        let mut b: Vec<f32> = noise(8192)[4096..].iter().copied().map(f32::from_bits).collect();
        let edges =
            [0.0, -0.0, 1.0, -1.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, f32::MIN_POSITIVE];
        for (n, x) in edges.iter().enumerate() {
            for (m, y) in edges.iter().enumerate() {
                (a[n * 9 + m], b[n * 9 + m]) = (*x, *y);
            }
        }
        let (va, vb, vc, vd) = (gpu.upload(&a), gpu.upload(&b), gpu.alloc(16384), gpu.alloc(32768));
        Dispatch::new(&code, base, "div", 4096, 256).arg(va).arg(vb).arg(vc).arg(vd).run(&mut gpu).unwrap();
        let (c, d) = (gpu.read::<f32>(vc, 4096), gpu.read::<f64>(vd, 4096));
        let flush = |x: f32| if x.is_subnormal() && flags.len() == 2 { 0.0f32.copysign(x) } else { x };
        for n in 0..4096 {
            let (x, y) = (flush(a[n]), flush(b[n]));
            let want = flush(x / y);
            assert!(
                c[n].to_bits() == want.to_bits() || c[n].is_nan() && want.is_nan(),
                "{x:e}/{y:e}: {:e} {want:e}",
                c[n]
            );
            let want = f64::from(x) / f64::from(y);
            assert!(
                d[n].to_bits() == want.to_bits() || d[n].is_nan() && want.is_nan(),
                "{x:e}/{y:e}: {:e} {want:e}",
                d[n]
            );
        }
    }
}

#[test]
fn float_functions() {
    let source = "kernel void f(global const float *a, global float *o, uint n) {
        float x = a[GID];
        o[GID] = __builtin_fmaxf(x, 0.5f); o[GID + n] = __builtin_fminf(x, -x);
        o[GID + 2*n] = __builtin_floorf(x); o[GID + 3*n] = __builtin_ceilf(x); o[GID + 4*n] = __builtin_truncf(x);
        o[GID + 5*n] = __builtin_rintf(x); o[GID + 6*n] = __builtin_fabsf(x) - x; o[GID + 7*n] = __builtin_sqrtf(__builtin_fabsf(x));
        o[GID + 8*n] = __builtin_amdgcn_exp2f_or(x); }"
        .replace("__builtin_amdgcn_exp2f_or(x)", "__builtin_exp2f(x * 0.01f)");
    let Some(code) = compile(&source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let a = floats(1024);
    let (va, out) = (gpu.upload(&a), gpu.alloc(4096 * 9));
    Dispatch::new(&code, base, "f", 1024, 64).arg(va).arg(out).arg(1024u32).run(&mut gpu).unwrap();
    let o = gpu.read::<f32>(out, 9 * 1024);
    for n in 0..1024 {
        let x = a[n];
        let want = [
            x.max(0.5),
            x.min(-x),
            x.floor(),
            x.ceil(),
            x.trunc(),
            x.round_ties_even(),
            x.abs() - x,
            x.abs().sqrt(),
        ];
        for (k, want) in want.into_iter().enumerate() {
            assert_eq!(o[n + k * 1024], want, "{k} of {x}");
        }
        let want = f64::from(x * 0.01).exp2();
        assert!((f64::from(o[n + 8 * 1024]) / want - 1.0).abs() < 1e-6, "{x}");
    }
}

#[test]
fn wide_integers_and_conversions() {
    let source = "kernel void w(global const ulong *a, global ulong *o, uint n) {
        ulong x = a[2 * GID], y = a[2 * GID + 1] | 1; long sx = x, sy = y;
        o[GID] = x * y; o[GID+n] = x / y; o[GID+2*n] = sx % sy; o[GID+3*n] = x >> (y & 63); o[GID+4*n] = sx >> (y & 63);
        o[GID+5*n] = x << (y & 63); o[GID+6*n] = sx < sy ? x - y : x + y; o[GID+7*n] = (uint)x / (uint)y;
        o[GID+8*n] = (int)x % (int)y; o[GID+9*n] = (ulong)(double)(sx >> 12); o[GID+10*n] = (ulong)(float)(x >> 41);
        o[GID+11*n] = __builtin_popcountl(x) + __builtin_clzl(y); o[GID+12*n]= (ulong)(long)(int)(float)(int)x;
        o[GID+13*n] = as_ulong((double)x); o[GID+14*n] = as_uint((float)sx); }"
        .replace("__builtin_popcountl(x) + __builtin_clzl(y)", "(ulong)(__builtin_popcountl(x) + __builtin_clzl(y))")
        .replace("as_ulong((double)x)", "__builtin_astype((double)x, ulong)")
        .replace("as_uint((float)sx)", "__builtin_astype((float)sx, uint)");
    let Some(code) = compile(&source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let n = 256usize;
    let a: Vec<u64> = noise(4 * n)
        .chunks(2)
        .enumerate()
        .map(|(k, c)| (u64::from(c[0]) << 32 | u64::from(c[1])) >> (k % 50))
        .collect();
    let (va, out) = (gpu.upload(&a), gpu.alloc(8 * n * 15));
    Dispatch::new(&code, base, "w", n as u32, 64).arg(va).arg(out).arg(n as u32).run(&mut gpu).unwrap();
    let o = gpu.read::<u64>(out, 15 * n);
    for k in 0..n {
        let (x, y) = (a[2 * k], a[2 * k + 1] | 1);
        let (sx, sy) = (x as i64, y as i64);
        let want = [
            x.wrapping_mul(y),
            x / y,
            sx.wrapping_rem(sy) as u64,
            x >> (y & 63),
            (sx >> (y & 63)) as u64,
            x << (y & 63),
            if sx < sy { x.wrapping_sub(y) } else { x.wrapping_add(y) },
            u64::from(x as u32 / y as u32),
            i64::from((x as i32).wrapping_rem(y as i32)) as u64,
            (sx >> 12) as f64 as u64,
            (x >> 41) as f32 as u64,
            u64::from(x.count_ones() + y.leading_zeros()),
            i64::from(x as i32 as f32 as i32) as u64,
            (x as f64).to_bits(),
            u64::from((sx as f32).to_bits()),
        ];
        for (m, want) in want.into_iter().enumerate() {
            if m == 9 && sx < 0 {
                continue; // a negative value as unsigned is undefined in C
            }
            assert_eq!(o[k + m * n], want, "column {m}: {x:#x} {y:#x}");
        }
    }
}

#[test]
fn bytes_shorts_and_packed_halves() {
    let source = "kernel void b(global const uchar *a, global const short *s, global uchar *o, global short *t, global int *i) {
        uint g = GID; uchar x = a[g]; char y = (char)a[g + 1]; short u = s[g], v = s[g + 1];
        o[g] = (uchar)(x * 3 + y); t[g] = (short)(u * v + x); i[g] = (int)y * u - (ushort)v;
        o[g + 1024] = (uchar)(x > (uchar)y ? x : (uchar)y); t[g + 1024] = u < v ? u : v; t[g + 2048] = (short)((ushort)u >> 3); }";
    let Some(code) = compile(source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let a: Vec<u8> = noise(1025).into_iter().map(|x| x as u8).collect();
    let s: Vec<i16> = noise(1025).into_iter().map(|x| (x >> 9) as i16).collect();
    let (va, vs) = (gpu.upload(&a), gpu.upload(&s));
    let (o, t, i) = (gpu.alloc(2048), gpu.alloc(3 * 2048), gpu.alloc(4096));
    Dispatch::new(&code, base, "b", 1024, 256).arg(va).arg(vs).arg(o).arg(t).arg(i).run(&mut gpu).unwrap();
    let (o, t, i) = (gpu.read::<u8>(o, 2048), gpu.read::<i16>(t, 3072), gpu.read::<i32>(i, 1024));
    for g in 0..1024 {
        let (x, y, u, v) = (a[g], a[g + 1] as i8, s[g], s[g + 1]);
        assert_eq!(o[g], (i32::from(x) * 3 + i32::from(y)) as u8);
        assert_eq!(t[g], (i32::from(u) * i32::from(v) + i32::from(x)) as i16);
        assert_eq!(i[g], i32::from(y) * i32::from(u) - i32::from(v as u16));
        assert_eq!(o[g + 1024], x.max(y as u8));
        assert_eq!(t[g + 1024], u.min(v));
        assert_eq!(t[g + 2048], (u as u16 >> 3) as i16);
    }
}

#[test]
fn private_arrays_live_in_scratch() {
    let source = "kernel void p(global const uint *a, global uint *o) {
        uint stack[40]; uint x = a[GID];
        for (uint n = 0; n < 40; n++) stack[n] = x * n + n;
        volatile uint *p = stack; uint sum = 0;
        for (uint n = 0; n < 40; n++) { sum += p[(x + n * 7) % 40]; p[(x + n) % 40] = sum; }
        uchar *bytes = (uchar *)stack; bytes[x % 160] = 7; 
        o[GID] = sum + stack[x % 40]; }";
    let Some(code) = compile(source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let a = noise(256);
    let (va, out) = (gpu.upload(&a), gpu.alloc(1024));
    let dispatch = Dispatch::new(&code, base, "p", 256, 128).arg(va).arg(out);
    assert!(dispatch.private >= 160);
    dispatch.run(&mut gpu).unwrap();
    for (k, got) in gpu.read::<u32>(out, 256).into_iter().enumerate() {
        let x = a[k];
        let mut stack: Vec<u32> = (0..40).map(|n| x.wrapping_mul(n).wrapping_add(n)).collect();
        let mut sum = 0u32;
        for n in 0..40u32 {
            sum = sum.wrapping_add(stack[(x.wrapping_add(n * 7) % 40) as usize]);
            stack[(x.wrapping_add(n) % 40) as usize] = sum;
        }
        let (word, byte) = ((x % 160 / 4) as usize, x % 4);
        stack[word] = stack[word] & !(255 << (8 * byte)) | 7 << (8 * byte);
        assert_eq!(got, sum.wrapping_add(stack[(x % 40) as usize]), "{k}");
    }
}

#[test]
fn halves_vectors_and_calls() {
    let source = "#pragma OPENCL EXTENSION cl_khr_fp16 : enable
    typedef half half2_t __attribute__((ext_vector_type(2))); typedef short short2_t __attribute__((ext_vector_type(2)));
    __attribute__((noinline)) static uint mix(uint x, uint y, private uint *z) { *z += x ^ y; return x * 31 + y; }
    kernel void h(global const ushort *a, global ushort *o, global uint *p, uint n) {
        uint g = GID; half x = __builtin_astype(a[g], half), y = __builtin_astype(a[g + 1], half);
        o[g] = __builtin_astype((half)(x + y), ushort); o[g + n] = __builtin_astype((half)(x * y), ushort);
        o[g + 2*n] = __builtin_astype((half)((float)x), ushort);
        half2_t u = {x, y}, v = {y, x}; half2_t s = u * v + u;
        o[g + 3*n] = __builtin_astype(s.x, ushort);
        short2_t i = {(short)a[g], (short)a[g+1]}, j = i * i + (short2_t){3, 4}; o[g + 4*n] = j.x ^ j.y;
        o[g + 5*n] = x < y; float f = x; o[g + 6*n] = (ushort)(int)(f * 8.0f);
        uint z = g; uint m = mix(a[g], g, &z); m = mix(m, z, &z); p[g] = m; p[g + n] = z; }";
    let Some(code) = isa_support::compile_with(source, &["-ffp-contract=off"]) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let n = 512usize;
    // Finite halves of moderate size, so that no result overflows.
    let a: Vec<u16> = noise(n + 1)
        .into_iter()
        .map(|x| (x as u16 & 0x83ff) | (0x3000 + (x >> 16 & 7) as u16 * 0x400))
        .collect();
    let (va, o, p) = (gpu.upload(&a), gpu.alloc(7 * 2 * n), gpu.alloc(8 * n));
    Dispatch::new(&code, base, "h", n as u32, 256).arg(va).arg(o).arg(p).arg(n as u32).run(&mut gpu).unwrap();
    let (o, p) = (gpu.read::<u16>(o, 7 * n), gpu.read::<u32>(p, 2 * n));
    for g in 0..n {
        let (x, y) = (half_to_f64(a[g]), half_to_f64(a[g + 1]));
        assert_eq!(half_to_f64(o[g]), round_half(x + y), "{x} + {y}");
        assert_eq!(half_to_f64(o[g + n]), round_half(x * y), "{x} * {y}");
        assert_eq!(o[g + 2 * n], a[g]);
        assert_eq!(half_to_f64(o[g + 3 * n]), round_half(round_half(x * y) + x), "{x} * {y} + {x}");
        let (i, j) =
            (a[g].wrapping_mul(a[g]).wrapping_add(3), a[g + 1].wrapping_mul(a[g + 1]).wrapping_add(4));
        assert_eq!(o[g + 4 * n], i ^ j);
        assert_eq!(o[g + 5 * n], u16::from(x < y));
        assert_eq!(o[g + 6 * n], (x * 8.0) as i32 as u16);
        let mut z = g as u32;
        let mut mix = |x: u32, y: u32| {
            z = z.wrapping_add(x ^ y);
            x.wrapping_mul(31).wrapping_add(y)
        };
        let m = mix(u32::from(a[g]), g as u32);
        let y = (g as u32).wrapping_add(u32::from(a[g]) ^ g as u32);
        let m = mix(m, y);
        assert_eq!((p[g], p[g + n]), (m, z), "{g}");
    }
}

fn half_to_f64(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 => f64::INFINITY,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    };
    if bits >> 15 != 0 { -magnitude } else { magnitude }
}

/// Nearest half, ties to even, by scaling to a whole number of units in the last place.
fn round_half(value: f64) -> f64 {
    if value == 0.0 {
        return value;
    }
    let exponent = (value.abs().log2().floor() as i32).max(-14);
    let unit = 2f64.powi(exponent - 10);
    let rounded = (value / unit).round_ties_even() * unit;
    if rounded.abs() >= 65520.0 { f64::INFINITY.copysign(value) } else { rounded }
}

#[test]
fn arrays_in_registers_are_indexed() {
    let source = "typedef uint uint16 __attribute__((ext_vector_type(16)));
    kernel void v(global const uint *a, global uint *o, uint k) {
        uint16 t = (uint16)(GID); for (uint n = 0; n < 16; n++) t[n] += n * n;
        uint x = a[GID]; t[k & 15] = 1000; t[x & 15] += 7; o[GID] = t[(x >> 4) & 15] + t[(k + 1) & 15]; }";
    let Some(code) = compile(source) else { return };
    let mut gpu = Gpu::new();
    let base = gpu.load(&code);
    let a = noise(256);
    let (va, out) = (gpu.upload(&a), gpu.alloc(1024));
    for k in [0u32, 5, 15] {
        Dispatch::new(&code, base, "v", 256, 64).arg(va).arg(out).arg(k).run(&mut gpu).unwrap();
        for (g, got) in gpu.read::<u32>(out, 256).into_iter().enumerate() {
            let mut t: Vec<u32> = (0..16).map(|n| g as u32 + n * n).collect();
            t[k as usize] = 1000;
            t[a[g] as usize & 15] += 7;
            assert_eq!(got, t[a[g] as usize >> 4 & 15] + t[(k as usize + 1) & 15], "{g} {k}");
        }
    }
}
