//! Code objects: whatever the bytes are, parsing gives an error or a consistent value, and arguments fit where it says.
//!
//! An input is a whole file, or, beginning with a byte that no ELF file begins with, changes to a good one: so that changes get
//! past the ELF header, to the metadata.

use eclip_hsa::code_object::{ArgKind, CodeObject, KernelMeta};
use eclip_hsa::kernarg::{Arg, Geometry, KernargLayout};

/// First byte of an input that is a list of changes.
const CHANGES: u8 = 0xff;

/// Parses the input and packs arguments for every kernel in it.
pub fn code_object(data: &[u8]) {
    let changed;
    let file = match data {
        [CHANGES, which, changes @ ..] => {
            changed = apply(*which, changes);
            &changed[..]
        }
        _ => data,
    };
    match CodeObject::parse(file) {
        Ok(object) => object.kernels().iter().for_each(|kernel| check(&object, kernel)),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && text.len() < 4096, "an error of {} bytes", text.len());
        }
    }
}

/// A good file with changes: 3 bytes each, a 16-bit place counted from its metadata, and the new byte.
fn apply(which: u8, changes: &[u8]) -> Vec<u8> {
    let good = ["fault", "misc", "mlp", "scratch"].map(|name| eclip_kernels::code_object("gfx906", name));
    let newer: &[u8] = include_bytes!("../../../eclip-hsa/testdata/hidden_v5.co");
    let file = match usize::from(which) % (good.len() + 1) {
        0 => newer,
        n => good[n - 1].expect("gfx906 has these"),
    };
    let mut file = file.to_vec();
    let start = file.windows(7).position(|bytes| bytes == b"amdhsa.").unwrap_or(0);
    for change in changes.chunks_exact(3) {
        let at = start + usize::from(u16::from_le_bytes([change[0], change[1]]));
        let at = at % file.len();
        file[at] = change[2];
    }
    file
}

fn check(object: &CodeObject, kernel: &KernelMeta) {
    assert_eq!(object.kernel(&kernel.name).map(|found| &found.symbol), Ok(&kernel.symbol));
    assert!(kernel.kernarg_segment_align.is_power_of_two());
    assert!((1..=1024).contains(&kernel.max_flat_workgroup_size));
    assert!(matches!(kernel.wavefront_size, 32 | 64));
    let mut ends: Vec<(u64, u64)> = Vec::new();
    for arg in &kernel.args {
        let (start, end) = (u64::from(arg.offset), u64::from(arg.offset) + u64::from(arg.size));
        assert!(arg.size > 0 && end <= u64::from(kernel.kernarg_segment_size), "{arg:?} lies outside");
        ends.push((start, end));
    }
    ends.sort_unstable();
    assert!(ends.windows(2).all(|pair| pair[0].1 <= pair[1].0), "arguments overlap: {ends:?}");
    pack(kernel);
}

/// Puts arguments of the right kinds in place, then wrong ones.
fn pack(kernel: &KernelMeta) {
    let layout = KernargLayout::new(kernel);
    assert_eq!(layout.size(), kernel.kernarg_segment_size as usize);
    assert!(layout.align().is_power_of_two() && layout.align() >= 16);
    let values: Vec<Vec<u8>> =
        layout.args().iter().enumerate().map(|(n, arg)| vec![n as u8 | 0x80; arg.size as usize]).collect();
    let args: Vec<Arg<'_>> = layout
        .args()
        .iter()
        .zip(&values)
        .map(|(arg, value)| match arg.kind {
            ArgKind::ByValue => Arg::Value(value),
            ArgKind::DynamicSharedPointer => Arg::Lds(64),
            _ => Arg::Buffer(0x1122_3344_5566_7788),
        })
        .collect();
    let geometry = Geometry { grid: [100, 2, 1], workgroup: [64, 1, 1], dynamic_lds: 16 };
    const UNTOUCHED: u8 = 0xa5;
    let mut out = vec![UNTOUCHED; layout.size() + 16];
    // The only thing that can be wrong is too much LDS.
    if let Ok(lds) = layout.pack(&args, &geometry, &mut out) {
        assert!(lds >= kernel.group_segment_fixed_size);
        for (meta, value) in layout.args().iter().zip(&values) {
            let place = &out[meta.offset as usize..][..meta.size as usize];
            match meta.kind {
                ArgKind::ByValue => assert_eq!(place, value, "{meta:?}"),
                ArgKind::DynamicSharedPointer => {
                    assert!(u32::from_le_bytes(place[..4].try_into().expect("4 bytes")) <= lds)
                }
                _ => assert_eq!(place, 0x1122_3344_5566_7788u64.to_le_bytes(), "{meta:?}"),
            }
        }
        assert_eq!(out[layout.size()..], [UNTOUCHED; 16]);
    } else {
        assert!(out.iter().all(|&byte| byte == UNTOUCHED), "an error, but something was written");
    }
    let refused = |args: &[Arg<'_>], geometry: &Geometry| {
        let mut out = vec![UNTOUCHED; layout.size()];
        assert!(layout.pack(args, geometry, &mut out).is_err());
        assert!(out.iter().all(|&byte| byte == UNTOUCHED), "an error, but something was written");
    };
    refused(&args, &Geometry { grid: [0, 1, 1], ..geometry });
    refused(&[&args[..], &[Arg::Lds(4)]].concat(), &geometry);
    if let Some((last, rest)) = args.split_last() {
        refused(rest, &geometry);
        let wrong = match last {
            Arg::Value(_) => Arg::Buffer(1),
            Arg::Buffer(_) | Arg::Lds(_) => Arg::Value(&[0; 8]),
        };
        refused(&[rest, &[wrong]].concat(), &geometry);
    }
    if layout.size() > 0 {
        assert!(layout.pack(&args, &geometry, &mut vec![0; layout.size() - 1]).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_begin_with_files_that_parse() {
        for which in 0..5 {
            let object = CodeObject::parse(&apply(which, &[])).unwrap();
            assert!(object.kernels().iter().any(|kernel| !kernel.args.is_empty()));
            // The byte before "amdhsa." is the length of the key in MessagePack.
            assert!(CodeObject::parse(&apply(which, &[0, 0, 0xc1])).is_err());
        }
    }
}
