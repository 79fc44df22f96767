//! Parsing the code objects of `kernels/`, and everything that can be done to damage them.

use super::*;
use proptest::prelude::*;
use rmpv::Value;

fn all() -> impl Iterator<Item = (&'static str, &'static str, &'static [u8])> {
    eclip_kernels::isas().flat_map(|isa| {
        eclip_kernels::names()
            .iter()
            .map(move |name| (isa, *name, eclip_kernels::code_object(isa, name).unwrap()))
    })
}

fn gfx906(name: &str) -> &'static [u8] {
    eclip_kernels::code_object("gfx906", name).unwrap()
}

#[test]
fn every_code_object_of_ours() {
    for (isa, name, data) in all() {
        let object = CodeObject::parse(data).unwrap_or_else(|e| panic!("{isa} {name}: {e}"));
        assert_eq!(object.isa(), &isa.parse().unwrap(), "{name}");
        assert_eq!(object.version(), 4);
        assert!(!object.kernels().is_empty());
        for kernel in object.kernels() {
            assert_eq!(kernel.symbol, format!("{}.kd", kernel.name));
            assert_eq!(kernel.wavefront_size, if isa.starts_with("gfx10") { 32 } else { 64 });
            assert!(kernel.explicit_args().all(|a| !a.name.is_empty() && !a.type_name.is_empty()));
        }
    }
}

#[test]
fn kernels_and_arguments_in_detail() {
    let object = CodeObject::parse(gfx906("mlp")).unwrap();
    let names: Vec<&str> = object.kernels().iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["matmul_tiled", "bias", "bias_relu", "softmax", "argmax"]);
    let matmul = object.kernel("matmul_tiled").unwrap();
    assert_eq!(matmul.reqd_workgroup_size, Some([16, 16, 1]));
    assert_eq!((matmul.group_segment_fixed_size, matmul.private_segment_fixed_size), (2048, 0));
    assert_eq!((matmul.kernarg_segment_size, matmul.kernarg_segment_align), (36, 8));
    let args: Vec<_> = matmul.args.iter().map(|a| (a.name.as_str(), a.offset, a.size, a.kind)).collect();
    use ArgKind::*;
    assert_eq!(
        args,
        [
            ("a", 0, 8, GlobalBuffer),
            ("b", 8, 8, GlobalBuffer),
            ("c", 16, 8, GlobalBuffer),
            ("m", 24, 4, ByValue),
            ("n", 28, 4, ByValue),
            ("k", 32, 4, ByValue)
        ]
    );
    assert!(matmul.args[0].is_const && !matmul.args[2].is_const);
    assert_eq!(matmul.args[0].address_space, Some(AddressSpace::Global));

    let misc = CodeObject::parse(gfx906("misc")).unwrap();
    let hidden = misc.kernel("hidden_arguments").unwrap();
    assert_eq!(hidden.explicit_args().count(), 2);
    assert_eq!(hidden.args[2].kind, Hidden(super::Hidden::GlobalOffset(Axis::X)));
    let lds = misc.kernel("arguments").unwrap().args.iter().find(|a| a.name == "lds").unwrap();
    assert_eq!((lds.kind, lds.address_space), (DynamicSharedPointer, Some(AddressSpace::Local)));

    let error = misc.kernel("nothing").unwrap_err().to_string();
    assert!(error.contains("\"nothing\"") && error.contains("\"spin\""), "{error}");
    let scratch = CodeObject::parse(gfx906("scratch")).unwrap();
    assert!(scratch.kernel("scratch_user").unwrap().private_segment_fixed_size >= 256);
}

#[test]
fn versions_3_and_5_from_the_abi_byte() {
    // The flags 0x52f, read as version 3: xnack+ (bit 8), sramecc- (bit 9 clear).
    let mut v3 = gfx906("vector").to_vec();
    v3[8] = 1;
    let object = CodeObject::parse(&v3).unwrap();
    assert_eq!((object.version(), object.isa().to_string().as_str()), (3, "gfx906:sramecc-:xnack+"));
    let mut v5 = gfx906("vector").to_vec();
    v5[8] = 3;
    assert_eq!(CodeObject::parse(&v5).unwrap().version(), 5);
}

#[test]
fn cut_off_at_every_byte() {
    for name in eclip_kernels::names() {
        let data = gfx906(name);
        for len in 0..data.len() {
            assert!(CodeObject::parse(&data[..len]).is_err(), "{name}: {len} bytes of {}", data.len());
        }
    }
}

#[test]
fn needs_no_alignment() {
    let mut shifted = vec![0];
    shifted.extend_from_slice(gfx906("mlp"));
    assert_eq!(CodeObject::parse(&shifted[1..]), CodeObject::parse(gfx906("mlp")));
}

#[test]
fn header_errors_say_what_and_where() {
    for (at, value, expected) in [
        (0, 0, "ELF magic"),
        (4, 1, "byte 4 of the ELF header: class 1"),
        (5, 2, "byte 5 of the ELF header: encoding 2"),
        (7, 0, "OS ABI 0"),
        (8, 0, "version 2 is not supported"),
        (8, 4, "version 6 is not supported"),
        (8, 255, "version 257 is not supported"),
        (16, 1, "link it"),
        (18, 62, "machine 62"),
        (48, 0, "flags 0x500"),
        (48, 0x3f, "says gfx906, but the ELF header's flags say gfx90a"),
        (49, 0x07, "say gfx906:xnack+"),
    ] {
        let mut data = gfx906("probe").to_vec();
        data[at] = value;
        let error = CodeObject::parse(&data).unwrap_err().to_string();
        assert!(error.contains(expected), "byte {at}: {error}");
    }
    let error = CodeObject::parse(b"MZ").unwrap_err().to_string();
    assert!(error.contains("2 bytes that begin with [4d, 5a]"), "{error}");
    assert!(CodeObject::parse(&[]).is_err());
}

/// A code object of ours whose metadata has been replaced. The note's room is fixed: shorter metadata is followed by
/// a note of another type.
fn with_metadata(change: impl FnOnce(&mut Value)) -> Result<CodeObject, CodeObjectError> {
    let mut data = gfx906("misc").to_vec();
    let file = elf::File::parse(gfx906("misc")).unwrap();
    let (at, room) = (file.metadata_offset as usize, file.metadata.len());
    let mut value = rmpv::decode::read_value(&mut &*file.metadata).unwrap();
    // Type names are the longest thing that is not needed.
    for kernel in items(get(&mut value, "amdhsa.kernels")) {
        for arg in items(get(kernel, ".args")) {
            remove(arg, ".type_name");
        }
    }
    change(&mut value);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &value).unwrap();
    assert!(bytes.len() <= room, "{} bytes do not fit {room}", bytes.len());
    assert_eq!(&data[at - 8..at], b"AMDGPU\0\0");
    // Before the content: the note's header (name size, content size, type) and 8 bytes of name.
    data[at - 16..at - 12].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    data[at..at + bytes.len()].copy_from_slice(&bytes);
    let next = (at + bytes.len()).next_multiple_of(4);
    let rest = at + room.next_multiple_of(4) - next;
    if rest >= 12 {
        data[next..next + 12].fill(0);
        data[next + 4..next + 8].copy_from_slice(&((rest - 12) as u32).to_le_bytes());
    }
    CodeObject::parse(&data)
}

fn get<'a>(map: &'a mut Value, key: &str) -> &'a mut Value {
    let Value::Map(pairs) = map else { panic!("no map: {map}") };
    &mut pairs.iter_mut().find(|(k, _)| k.as_str() == Some(key)).unwrap_or_else(|| panic!("no {key}")).1
}

fn items(array: &mut Value) -> &mut Vec<Value> {
    let Value::Array(items) = array else { panic!("no array: {array}") };
    items
}

fn remove(map: &mut Value, key: &str) {
    let Value::Map(pairs) = map else { panic!("no map: {map}") };
    pairs.retain(|(k, _)| k.as_str() != Some(key));
}

fn kernel(root: &mut Value, index: usize) -> &mut Value {
    &mut items(get(root, "amdhsa.kernels"))[index]
}

fn arg(root: &mut Value, of: usize, index: usize) -> &mut Value {
    &mut items(get(kernel(root, of), ".args"))[index]
}

#[test]
fn replaced_metadata_is_read() {
    let object = with_metadata(|root| {
        *get(arg(root, 1, 0), ".name") = "f".into();
        let Value::Map(pairs) = kernel(root, 1) else { panic!() };
        pairs.push((".uses_dynamic_stack".into(), true.into()));
        pairs
            .push((".future".into(), Value::Array(vec![Value::Nil, Value::Map(vec![(1.into(), 2.into())])])));
    })
    .unwrap();
    let spin = object.kernel("spin").unwrap();
    assert_eq!(spin.args[0].name, "f");
    assert!(spin.uses_dynamic_stack);
    assert!(with_metadata(|root| remove(root, "amdhsa.kernels")).unwrap().kernels().is_empty());
}

/// Expects an error that contains `expected` after `change` has been made.
fn expect_error(expected: &str, change: impl FnOnce(&mut Value)) {
    match with_metadata(change) {
        Ok(_) => panic!("accepted; expected: {expected}"),
        Err(error) => assert!(error.to_string().contains(expected), "expected {expected:?} in: {error}"),
    }
}

#[test]
fn metadata_errors_name_the_place() {
    expect_error("amdhsa.version", |m| remove(m, "amdhsa.version"));
    expect_error("2.0 is not supported", |m| {
        *get(m, "amdhsa.version") = Value::Array(vec![2.into(), 0.into()])
    });
    expect_error("amdhsa.version at byte", |m| *get(m, "amdhsa.version") = 1.into());
    expect_error("amdhsa.target", |m| *get(m, "amdhsa.target") = "amdgcn-amd-amdhsa--gfx908".into());
    expect_error("is no ISA name", |m| *get(m, "amdhsa.target") = "x86_64".into());
    expect_error("amdhsa.kernels at byte", |m| *get(m, "amdhsa.kernels") = 7.into());
    expect_error("amdhsa.kernels[1].symbol", |m| remove(kernel(m, 1), ".symbol"));
    expect_error("amdhsa.kernels[1].vgpr_count", |m| *get(kernel(m, 1), ".vgpr_count") = (1u64 << 32).into());
    expect_error("amdhsa.kernels[1].vgpr_count", |m| *get(kernel(m, 1), ".vgpr_count") = (-1).into());
    expect_error("amdhsa.kernels[1].args[0].value_kind at byte", |m| {
        *get(arg(m, 1, 0), ".value_kind") = "x".into()
    });
    expect_error("amdhsa.kernels[1].args[1].size", |m| remove(arg(m, 1, 1), ".size"));
    expect_error("given twice", |m| {
        let Value::Map(pairs) = kernel(m, 1) else { panic!() };
        pairs.push((".name".into(), "again".into()));
    });
}

#[test]
fn kernels_that_contradict_themselves() {
    let set = |key: &'static str, value: u32| move |m: &mut Value| *get(kernel(m, 1), key) = value.into();
    expect_error("kernarg_segment_align 12", set(".kernarg_segment_align", 12));
    expect_error("kernarg_segment_align 0", set(".kernarg_segment_align", 0));
    expect_error("kernarg_segment_size 65537", set(".kernarg_segment_size", 65537));
    expect_error("kernarg_segment_size is 16 in the metadata, 12 in", set(".kernarg_segment_size", 16));
    expect_error("wavefront_size 48", set(".wavefront_size", 48));
    expect_error("wavefront_size is 32", set(".wavefront_size", 32));
    expect_error("group_segment_fixed_size is 4", set(".group_segment_fixed_size", 4));
    expect_error("private_segment_fixed_size is 4", set(".private_segment_fixed_size", 4));
    expect_error("max_flat_workgroup_size 0", set(".max_flat_workgroup_size", 0));
    expect_error("max_flat_workgroup_size 1025", set(".max_flat_workgroup_size", 1025));
    for size in [[0, 1, 1], [257, 1, 1], [65536, 65536, 1]] {
        expect_error("reqd_workgroup_size", |m| {
            let Value::Map(pairs) = kernel(m, 1) else { panic!() };
            let size = size.iter().map(|s| Value::from(*s)).collect();
            pairs.push((".reqd_workgroup_size".into(), Value::Array(size)));
        });
    }
    expect_error("dynamic symbol table", |m| *get(kernel(m, 1), ".symbol") = "spin".into());
    expect_error("name or symbol is empty", |m| *get(kernel(m, 1), ".name") = "".into());
    expect_error("kernel \"empty\": is described twice", |m| *get(kernel(m, 1), ".name") = "empty".into());
}

#[test]
fn arguments_that_contradict_themselves() {
    // spin(flag: 8 bytes at 0, max_iterations: 4 bytes at 8), 12 bytes in all.
    let set = |index, key: &'static str, value: u32| {
        move |m: &mut Value| *get(arg(m, 1, index), key) = value.into()
    };
    expect_error(
        "kernel \"spin\", argument 1 \"max_iterations\": 8 bytes at offset 8 are not inside the 12",
        set(1, ".size", 8),
    );
    expect_error(
        "argument 1 \"max_iterations\": 4 bytes at offset 4294967292",
        set(1, ".offset", u32::MAX - 3),
    );
    expect_error("its size is 0", set(1, ".size", 0));
    expect_error(
        "argument 1 \"max_iterations\": bytes 4..8 overlap argument 0 at bytes 0..8",
        set(1, ".offset", 4),
    );
    expect_error("its size is 4, but GlobalBuffer takes 8", set(0, ".size", 4));
    expect_error("offset 4 is no multiple of 8", set(0, ".offset", 4));
    expect_error("its size is 4, but Hidden(GroupSize(X)) takes 2", |m| {
        *get(arg(m, 1, 1), ".value_kind") = "hidden_group_size_x".into()
    });
    // arguments(): the LDS pointer is argument 5.
    expect_error("pointee_align 3", |m| *get(arg(m, 2, 5), ".pointee_align") = 3.into());
}

#[test]
fn errors_shorten_and_escape_names() {
    let error = CodeObjectError::NoSuchKernel {
        kernel: "\u{1b}[31m".repeat(1000),
        known: vec!["k".repeat(9999); 99],
    };
    let text = error.to_string();
    assert!(text.len() < 2000 && !text.contains('\u{1b}') && text.contains("and 87 more"), "{text}");
}

/// Hundreds of thousands of symbols whose names are one endless text, and as many note segments over the same bytes.
#[test]
fn overlaps_do_not_multiply_time() {
    let put = |data: &mut [u8], at: usize, value: u64| data[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let mut data = gfx906("misc").to_vec();
    let shoff = u64::from_le_bytes(data[40..48].try_into().unwrap()) as usize;
    const SYMBOLS: usize = 400_000;
    let symbols = data.len() as u64;
    // Name 0, type OBJECT, 64 bytes.
    let mut symbol = [0u8; 24];
    (symbol[4], symbol[16]) = (1, 64);
    data.extend(symbol.repeat(SYMBOLS));
    let strings = data.len() as u64;
    data.extend(b"a".repeat(1 << 20));
    for section in 0..10 {
        let at = shoff + section * 64;
        match data[at + 4] {
            11 => (put(&mut data, at + 24, symbols), put(&mut data, at + 32, 24 * SYMBOLS as u64)),
            // The dynamic one is loaded.
            3 if data[at + 8] & 2 != 0 => {
                (put(&mut data, at + 24, strings), put(&mut data, at + 32, 1 << 20))
            }
            _ => continue,
        };
    }
    let error = CodeObject::parse(&data).unwrap_err().to_string();
    assert!(error.contains("overlap too much"), "{error}");

    let mut data = gfx906("misc").to_vec();
    let headers = data.len() as u64;
    let notes = [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0].repeat(100_000);
    let size = notes.len() as u64;
    let mut segment = [0u8; 56];
    (segment[0], segment[48]) = (4, 4);
    put(&mut segment, 8, headers + 56 * 1000);
    put(&mut segment, 32, size);
    data.extend(segment.repeat(1000));
    data.extend(notes);
    put(&mut data, 32, headers);
    data[56..58].copy_from_slice(&1000u16.to_le_bytes());
    let error = CodeObject::parse(&data).unwrap_err().to_string();
    assert!(error.contains("overlaps others"), "{error}");
}

/// Whatever was accepted is consistent.
fn consistent(object: &CodeObject) {
    for kernel in object.kernels() {
        for arg in &kernel.args {
            assert!(
                arg.size > 0
                    && arg.offset as usize + arg.size as usize <= kernel.kernarg_segment_size as usize
            );
        }
        assert!(kernel.kernarg_segment_align.is_power_of_two());
        assert!((1..=1024).contains(&kernel.max_flat_workgroup_size));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes(data in proptest::collection::vec(any::<u8>(), 0..4096)) {
        prop_assert!(CodeObject::parse(&data).is_err());
    }

    #[test]
    fn random_bytes_after_a_good_header(tail in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let mut data = gfx906("probe")[..64].to_vec();
        data.extend(tail);
        if let Ok(object) = CodeObject::parse(&data) {
            consistent(&object);
        }
    }

    #[test]
    fn flipped_bytes(
        name in proptest::sample::select(eclip_kernels::names()),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut data = gfx906(name).to_vec();
        for (index, value) in flips {
            let at = index.index(data.len());
            data[at] = value;
        }
        if let Ok(object) = CodeObject::parse(&data) {
            consistent(&object);
        }
    }

    // Most of what is parsed is in the first 2 KiB: headers and metadata.
    #[test]
    fn flipped_bits_in_headers_and_metadata(
        name in proptest::sample::select(eclip_kernels::names()),
        flips in proptest::collection::vec((0usize..2048, 0u8..8), 1..4),
    ) {
        let mut data = gfx906(name).to_vec();
        for (at, bit) in flips {
            let at = at.min(data.len() - 1);
            data[at] ^= 1 << bit;
        }
        if let Ok(object) = CodeObject::parse(&data) {
            consistent(&object);
        }
    }
}
