//! Layouts of real kernels and of made-up ones.

use super::*;
use crate::code_object::CodeObject;
use proptest::prelude::*;

const LINE: Geometry = Geometry { grid: [64, 1, 1], workgroup: [64, 1, 1], dynamic_lds: 0 };

fn layout(object: &str, kernel: &str) -> KernargLayout {
    let data = eclip_kernels::code_object("gfx906", object).unwrap();
    KernargLayout::new(CodeObject::parse(data).unwrap().kernel(kernel).unwrap())
}

#[test]
fn vector_add() {
    let layout = layout("vector", "vector_add");
    assert_eq!((layout.size(), layout.align(), layout.args().len()), (28, 16, 4));
    let mut out = [0xff; 32];
    let n = 1000u32.to_le_bytes();
    let args = [Arg::Buffer(0x1122_3344_5566_7788), Arg::Buffer(2), Arg::Buffer(3), Arg::Value(&n)];
    assert_eq!(layout.pack(&args, &LINE, &mut out), Ok(0));
    assert_eq!(out[..8], [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11]);
    assert_eq!((out[8], out[16]), (2, 3));
    assert_eq!(out[24..], [0xe8, 3, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn every_kind_of_argument() {
    let layout = layout("misc", "arguments");
    let mut pair = [0; 16];
    pair[..4].copy_from_slice(&7u32.to_le_bytes());
    pair[4] = 8;
    pair[8..].copy_from_slice(&9u64.to_le_bytes());
    let (f32, f64) = (1.5f32.to_le_bytes(), 2.5f64.to_le_bytes());
    let args = [
        Arg::Value(&[1]),
        Arg::Value(&[2, 0, 0, 0, 0, 0, 0, 0]),
        Arg::Value(&[3, 0]),
        Arg::Buffer(4),
        Arg::Value(&[5, 0, 0, 0]),
        Arg::Lds(256),
        Arg::Value(&f32),
        Arg::Value(&f64),
        Arg::Value(&pair),
    ];
    let mut out = vec![0xff; layout.size()];
    assert_eq!(layout.pack(&args, &LINE, &mut out), Ok(256));
    let mut expected = vec![0; 72];
    for (offset, bytes) in
        [(0, &[1][..]), (8, &[2]), (16, &[3]), (24, &[4]), (32, &[5]), (40, &f32), (48, &f64), (56, &pair)]
    {
        expected[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
    assert_eq!(out, expected);
}

#[test]
fn no_arguments() {
    let layout = layout("misc", "empty");
    assert_eq!(layout.size(), 0);
    assert_eq!(layout.pack(&[], &LINE, &mut []), Ok(0));
}

#[test]
fn hidden_arguments_of_version_4_are_zero() {
    let layout = layout("misc", "hidden_arguments");
    let mut out = vec![0xff; layout.size()];
    layout.pack(&[Arg::Buffer(u64::MAX), Arg::Value(&[0xff; 4])], &LINE, &mut out).unwrap();
    assert!(layout.size() >= 72 && out[..12].iter().all(|b| *b == 0xff) && out[12..].iter().all(|b| *b == 0));
}

#[test]
fn hidden_arguments_of_version_5_describe_the_dispatch() {
    let object = CodeObject::parse(include_bytes!("../../testdata/hidden_v5.co")).unwrap();
    assert_eq!(object.version(), 5);
    let kernel = object.kernel("hidden_v5").unwrap();
    assert_eq!((kernel.kernarg_segment_size, kernel.reqd_workgroup_size), (280, Some([8, 4, 2])));
    let layout = KernargLayout::new(kernel);
    let mut out = vec![0xff; layout.size()];
    let x = 1f64.to_le_bytes();
    let geometry = Geometry { grid: [70_003, 9, 5], workgroup: [8, 4, 2], dynamic_lds: 0 };
    layout.pack(&[Arg::Buffer(1), Arg::Buffer(2), Arg::Value(&x)], &geometry, &mut out).unwrap();
    let u16_at = |at: usize| u16::from_le_bytes([out[24 + at], out[25 + at]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    // Block counts, group sizes, remainders, and the number of dimensions at 64.
    assert_eq!([u32_at(0), u32_at(4), u32_at(8)], [8750, 2, 2]);
    assert_eq!([u16_at(12), u16_at(14), u16_at(16)], [8, 4, 2]);
    assert_eq!([u16_at(18), u16_at(20), u16_at(22)], [3, 1, 1]);
    assert_eq!(u16_at(64), 3);
    assert!(out[24 + 24..24 + 64].iter().chain(&out[24 + 66..]).all(|b| *b == 0));
}

#[test]
fn dimensions_in_use() {
    for (grid, dimensions) in [([5, 1, 1], 1), ([1, 1, 1], 1), ([1, 2, 1], 2), ([1, 1, 2], 3), ([2, 2, 2], 3)]
    {
        assert_eq!(Geometry { grid, ..LINE }.dimensions(), dimensions, "{grid:?}");
    }
}

#[test]
fn errors_name_kernel_and_argument() {
    let layout = layout("vector", "fill_u32");
    let mut out = [0xee; 64];
    let four = [0; 4];
    let good = [Arg::Buffer(1), Arg::Value(&four), Arg::Value(&four)];
    let mut expect = |args: &[Arg<'_>], geometry: Geometry, room: usize, message: &str| {
        let error = layout.pack(args, &geometry, &mut out[..room]).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(out, [0xee; 64], "nothing is written on an error");
    };
    expect(&good[..2], LINE, 64, "kernel \"fill_u32\" takes 3 arguments, 2 were given");
    expect(&[], LINE, 64, "0 were given");
    expect(
        &[Arg::Value(&[0; 8]), good[1], good[2]],
        LINE,
        64,
        "argument 0 \"out\": it takes a buffer (Arg::Buffer), given was a value (Arg::Value)",
    );
    expect(&[good[0], Arg::Buffer(1), good[2]], LINE, 64, "argument 1 \"value\": it takes a value");
    expect(&[good[0], good[1], Arg::Lds(4)], LINE, 64, "argument 2 \"n\": it takes a value");
    expect(
        &[good[0], good[1], Arg::Value(&[0; 8])],
        LINE,
        64,
        "argument 2 \"n\" of type \"uint\": it takes 4 bytes, given were 8",
    );
    expect(&[good[0], good[1], Arg::Value(&[])], LINE, 64, "given were 0");
    expect(&good, LINE, 15, "take 16 bytes, the memory given has 15");
    expect(&good, Geometry { grid: [0, 1, 1], ..LINE }, 64, "grid [0, 1, 1]");
    expect(&good, Geometry { workgroup: [64, 0, 1], ..LINE }, 64, "workgroups of [64, 0, 1]");
    assert!(layout.pack(&good, &LINE, &mut out).is_ok());
}

#[test]
fn local_memory_is_laid_out_in_order() {
    let mut meta = KernelMeta { group_segment_fixed_size: 20, ..sample(&[]) };
    for offset in [0, 4, 8] {
        meta.args.push(arg(offset, 4, ArgKind::DynamicSharedPointer));
    }
    meta.args[1].pointee_align = Some(64);
    meta.args.push(arg(12, 4, ArgKind::Hidden(Hidden::DynamicLdsSize)));
    meta.kernarg_segment_size = 16;
    let layout = KernargLayout::new(&meta);
    let mut out = [0; 16];
    let args = [Arg::Lds(3), Arg::Lds(8), Arg::Lds(1)];
    assert_eq!(layout.pack(&args, &Geometry { dynamic_lds: 100, ..LINE }, &mut out), Ok(181));
    let words: Vec<u8> = out.chunks(4).map(|c| c[0]).collect();
    // 3 bytes at 32, 8 at 64, 1 at 80, then 100 more: 181 less the kernel's own 20.
    assert_eq!(words, [32, 64, 80, 161]);
    for bytes in [[u32::MAX, 0, 0], [0, u32::MAX - 60, 0], [1 << 31, 1 << 31, 0]] {
        let error = layout.pack(&bytes.map(Arg::Lds), &LINE, &mut out).unwrap_err();
        assert!(matches!(error, KernargError::Lds { .. }), "{error}");
    }
    let dynamic_lds = u32::MAX - 80;
    assert!(layout.pack(&args, &Geometry { dynamic_lds, ..LINE }, &mut out).is_err());
}

fn arg(offset: u32, size: u32, kind: ArgKind) -> ArgMeta {
    ArgMeta {
        name: format!("at{offset}"),
        type_name: String::new(),
        offset,
        size,
        kind,
        pointee_align: None,
        address_space: None,
        access: None,
        is_const: false,
    }
}

/// A kernel of by-value arguments: (gap before, size).
fn sample(args: &[(u32, u32)]) -> KernelMeta {
    let mut end = 0;
    let args: Vec<ArgMeta> = args
        .iter()
        .map(|(gap, size)| {
            end += gap + size;
            arg(end - size, *size, ArgKind::ByValue)
        })
        .collect();
    KernelMeta {
        name: "sample".to_owned(),
        symbol: "sample.kd".to_owned(),
        kernarg_segment_size: end,
        kernarg_segment_align: 64,
        group_segment_fixed_size: 0,
        private_segment_fixed_size: 0,
        wavefront_size: 64,
        sgpr_count: 0,
        vgpr_count: 0,
        max_flat_workgroup_size: 256,
        reqd_workgroup_size: None,
        uses_dynamic_stack: false,
        args,
    }
}

proptest! {
    #[test]
    fn values_come_out_where_they_belong(
        shape in proptest::collection::vec((0u32..20, 1u32..40), 0..20),
        extra in 0usize..20,
        fill in 1u8..255,
    ) {
        let meta = sample(&shape);
        let layout = KernargLayout::new(&meta);
        prop_assert_eq!(layout.align(), 64);
        // Every argument is filled with its index + 1; padding must be 0, what follows untouched.
        let values: Vec<Vec<u8>> =
            shape.iter().enumerate().map(|(i, (_, size))| vec![i as u8 + 1; *size as usize]).collect();
        let args: Vec<Arg<'_>> = values.iter().map(|v| Arg::Value(v)).collect();
        let mut out = vec![fill; layout.size() + extra];
        prop_assert_eq!(layout.pack(&args, &LINE, &mut out), Ok(0));
        let mut expected = Vec::new();
        for (value, (gap, _)) in values.iter().zip(&shape) {
            expected.extend(std::iter::repeat_n(0, *gap as usize));
            expected.extend(value);
        }
        expected.extend(std::iter::repeat_n(fill, extra));
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn anything_given_is_packed_or_refused(
        object in proptest::sample::select(eclip_kernels::names()),
        kinds in proptest::collection::vec((0u8..3, 0usize..20, any::<u32>()), 0..10),
        grid in any::<[u32; 3]>(),
        workgroup in any::<[u16; 3]>(),
        dynamic_lds in any::<u32>(),
        room in 0usize..200,
    ) {
        let data = eclip_kernels::code_object("gfx906", object).unwrap();
        let zeros = [0; 20];
        let args: Vec<Arg<'_>> = kinds
            .iter()
            .map(|(kind, len, number)| match kind {
                0 => Arg::Value(&zeros[..*len]),
                1 => Arg::Buffer(u64::from(*number)),
                _ => Arg::Lds(*number),
            })
            .collect();
        for kernel in CodeObject::parse(data).unwrap().kernels() {
            let layout = KernargLayout::new(kernel);
            let mut out = vec![0xaa; room];
            let packed = layout.pack(&args, &Geometry { grid, workgroup, dynamic_lds }, &mut out);
            prop_assert!(packed.is_ok() || out.iter().all(|b| *b == 0xaa));
            prop_assert!(packed.is_err() || (args.len() == layout.args().len() && room >= layout.size()));
        }
    }

    /// A patch is packing with the new argument, or refused with nothing written.
    #[test]
    fn a_patch_is_packing_with_the_new_argument(
        kinds in proptest::collection::vec((0u8..3, 0u32..9, 1u32..40), 1..10),
        which in any::<proptest::sample::Index>(),
        (given, len, number) in (0u8..3, 1u32..40, any::<u64>()),
        grid in 1u32..100_000,
    ) {
        let mut meta = sample(&[]);
        let mut end = 0u32;
        for (kind, gap, size) in &kinds {
            let (size, kind) = match kind {
                0 => (*size, ArgKind::ByValue),
                1 => (8, ArgKind::GlobalBuffer),
                _ => (4, ArgKind::DynamicSharedPointer),
            };
            meta.args.push(arg(end + gap, size, kind));
            end += gap + size;
        }
        meta.args.push(arg(end, 4, ArgKind::Hidden(Hidden::BlockCount(Axis::X))));
        meta.kernarg_segment_size = end + 4;
        let layout = KernargLayout::new(&meta);
        let geometry = Geometry { grid: [grid, 1, 1], ..LINE };
        let values: Vec<Vec<u8>> = meta.args.iter().map(|arg| vec![0x11; arg.size as usize]).collect();
        let mut args: Vec<Arg<'_>> = kinds
            .iter()
            .zip(&values)
            .map(|((kind, ..), value)| match kind {
                0 => Arg::Value(value),
                1 => Arg::Buffer(0x2222_2222_2222_2222),
                _ => Arg::Lds(33),
            })
            .collect();
        let mut patched = vec![0xee; layout.size()];
        layout.pack(&args, &geometry, &mut patched).unwrap();
        let before = patched.clone();

        let index = which.index(kinds.len());
        // As often as not of the right size.
        let bytes = vec![number as u8; if number & 1 == 0 { meta.args[index].size } else { len } as usize];
        let new = match given {
            0 => Arg::Value(&bytes),
            1 => Arg::Buffer(number),
            _ => Arg::Lds(number as u32),
        };
        let done = layout.patch(index, new, &mut patched);
        args[index] = new;
        let mut packed = vec![0xee; layout.size()];
        let fits = layout.pack(&args, &geometry, &mut packed);
        // The size of local memory is in the packet, so it cannot be replaced.
        prop_assert_eq!(done.is_ok(), fits.is_ok() && given != 2);
        prop_assert_eq!(&patched, if done.is_ok() { &packed } else { &before });
        prop_assert!(layout.patch(kinds.len(), new, &mut patched).is_err());
        prop_assert!(layout.patch(index, new, &mut patched[..0]).is_err());
    }
}
