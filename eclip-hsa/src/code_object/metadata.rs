//! The metadata note: a MessagePack map of kernels and their arguments. Unknown keys are passed over.

use super::CodeObjectError;
use super::elf::MAX_NAME;
use super::kernel::{Access, AddressSpace, ArgKind, ArgMeta, KernelMeta};
use super::msgpack::{Malformed, Reader};

/// Reads the note's content, which begins at byte `base` of the file: the target, if given, and the kernels.
pub(super) fn parse(data: &[u8], base: u64) -> Result<(Option<&str>, Vec<KernelMeta>), CodeObjectError> {
    let mut reader = Reader::new(data);
    root(&mut reader).map_err(|e| e.in_file(base))
}

fn root<'a>(reader: &mut Reader<'a>) -> Result<(Option<&'a str>, Vec<KernelMeta>), Malformed> {
    let (mut version, mut target, mut kernels) = (None, None, None);
    for _ in 0..reader.map()? {
        let key = reader.str()?;
        match key {
            "amdhsa.version" => once(reader, key, &mut version, numbers::<2>),
            "amdhsa.target" => once(reader, key, &mut target, Reader::str),
            "amdhsa.kernels" => once(reader, key, &mut kernels, |r| list(r, kernel)),
            _ => reader.skip().map_err(|e| e.within(key_for_errors(key))),
        }?;
    }
    if reader.left() != 0 {
        return Err(reader.malformed(format!("{} bytes after the end", reader.left())));
    }
    match required(reader, version, "amdhsa.version")? {
        // 1.0 to 1.2: versions 3 to 5. Minor versions are compatible.
        [1, _] => Ok((target, kernels.unwrap_or_default())),
        [major, minor] => Err(reader
            .malformed(format!("{major}.{minor} is not supported, 1.x is"))
            .within("amdhsa.version")),
    }
}

fn kernel(reader: &mut Reader<'_>) -> Result<KernelMeta, Malformed> {
    let (mut name, mut symbol, mut args) = (None, None, None);
    let (mut kernarg_size, mut kernarg_align, mut group, mut private) = (None, None, None, None);
    let (mut wave, mut sgprs, mut vgprs, mut max_flat) = (None, None, None, None);
    let (mut reqd, mut dynamic_stack) = (None, None);
    for _ in 0..reader.map()? {
        let key = reader.str()?;
        match key {
            ".name" => once(reader, key, &mut name, text),
            ".symbol" => once(reader, key, &mut symbol, text),
            ".args" => once(reader, key, &mut args, |r| list(r, argument)),
            ".kernarg_segment_size" => once(reader, key, &mut kernarg_size, Reader::u32),
            ".kernarg_segment_align" => once(reader, key, &mut kernarg_align, Reader::u32),
            ".group_segment_fixed_size" => once(reader, key, &mut group, Reader::u32),
            ".private_segment_fixed_size" => once(reader, key, &mut private, Reader::u32),
            ".wavefront_size" => once(reader, key, &mut wave, Reader::u32),
            ".sgpr_count" => once(reader, key, &mut sgprs, Reader::u32),
            ".vgpr_count" => once(reader, key, &mut vgprs, Reader::u32),
            ".max_flat_workgroup_size" => once(reader, key, &mut max_flat, Reader::u32),
            ".reqd_workgroup_size" => once(reader, key, &mut reqd, numbers::<3>),
            ".uses_dynamic_stack" => once(reader, key, &mut dynamic_stack, Reader::bool),
            _ => reader.skip().map_err(|e| e.within(key_for_errors(key))),
        }?;
    }
    Ok(KernelMeta {
        name: required(reader, name, ".name")?,
        symbol: required(reader, symbol, ".symbol")?,
        kernarg_segment_size: required(reader, kernarg_size, ".kernarg_segment_size")?,
        kernarg_segment_align: required(reader, kernarg_align, ".kernarg_segment_align")?,
        group_segment_fixed_size: required(reader, group, ".group_segment_fixed_size")?,
        private_segment_fixed_size: required(reader, private, ".private_segment_fixed_size")?,
        wavefront_size: required(reader, wave, ".wavefront_size")?,
        sgpr_count: required(reader, sgprs, ".sgpr_count")?,
        vgpr_count: required(reader, vgprs, ".vgpr_count")?,
        max_flat_workgroup_size: required(reader, max_flat, ".max_flat_workgroup_size")?,
        reqd_workgroup_size: reqd,
        uses_dynamic_stack: dynamic_stack.unwrap_or(false),
        args: args.unwrap_or_default(),
    })
}

fn argument(reader: &mut Reader<'_>) -> Result<ArgMeta, Malformed> {
    let (mut name, mut type_name, mut offset, mut size, mut kind) = (None, None, None, None, None);
    let (mut pointee_align, mut address_space, mut access, mut is_const) = (None, None, None, None);
    for _ in 0..reader.map()? {
        let key = reader.str()?;
        match key {
            ".name" => once(reader, key, &mut name, text),
            ".type_name" => once(reader, key, &mut type_name, text),
            ".offset" => once(reader, key, &mut offset, Reader::u32),
            ".size" => once(reader, key, &mut size, Reader::u32),
            ".value_kind" => once(reader, key, &mut kind, |r| word(r, ArgKind::from_metadata)),
            ".pointee_align" => once(reader, key, &mut pointee_align, Reader::u32),
            ".address_space" => once(reader, key, &mut address_space, |r| word(r, to_address_space)),
            ".access" => once(reader, key, &mut access, |r| word(r, to_access)),
            ".is_const" => once(reader, key, &mut is_const, Reader::bool),
            _ => reader.skip().map_err(|e| e.within(key_for_errors(key))),
        }?;
    }
    Ok(ArgMeta {
        name: name.unwrap_or_default(),
        type_name: type_name.unwrap_or_default(),
        offset: required(reader, offset, ".offset")?,
        size: required(reader, size, ".size")?,
        kind: required(reader, kind, ".value_kind")?,
        pointee_align,
        address_space,
        access,
        is_const: is_const.unwrap_or(false),
    })
}

fn to_address_space(word: &str) -> Option<AddressSpace> {
    Some(match word {
        "private" => AddressSpace::Private,
        "global" => AddressSpace::Global,
        "constant" => AddressSpace::Constant,
        "local" => AddressSpace::Local,
        "generic" => AddressSpace::Generic,
        "region" => AddressSpace::Region,
        _ => return None,
    })
}

fn to_access(word: &str) -> Option<Access> {
    Some(match word {
        "read_only" => Access::ReadOnly,
        "write_only" => Access::WriteOnly,
        "read_write" => Access::ReadWrite,
        _ => return None,
    })
}

/// Reads the value of `key` into `slot`, once.
fn once<'a, T>(
    reader: &mut Reader<'a>,
    key: &str,
    slot: &mut Option<T>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<(), Malformed> {
    if slot.is_some() {
        return Err(reader.malformed("is given twice").within(key));
    }
    *slot = Some(read(reader).map_err(|e| e.within(key))?);
    Ok(())
}

fn required<T>(reader: &Reader<'_>, value: Option<T>, key: &str) -> Result<T, Malformed> {
    value.ok_or_else(|| reader.malformed("is missing from the map that ends here").within(key))
}

/// An array of any length. Every element takes bytes, so memory follows the input, not the announced length.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    read: fn(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let mut values = Vec::new();
    for i in 0..reader.array()? {
        values.push(read(reader).map_err(|e| e.within(&format!("[{i}]")))?);
    }
    Ok(values)
}

/// An array of exactly N numbers.
fn numbers<const N: usize>(reader: &mut Reader<'_>) -> Result<[u32; N], Malformed> {
    let len = reader.array()?;
    if len as usize != N {
        return Err(reader.malformed(format!("has {len} numbers instead of {N}")));
    }
    let mut values = [0; N];
    for value in &mut values {
        *value = reader.u32()?;
    }
    Ok(values)
}

/// A name, not too long.
fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let text = reader.str()?;
    if text.len() >= MAX_NAME {
        return Err(reader.malformed(format!("{} bytes of text, fewer than {MAX_NAME} allowed", text.len())));
    }
    Ok(text.to_owned())
}

/// One of some words.
fn word<T>(reader: &mut Reader<'_>, known: fn(&str) -> Option<T>) -> Result<T, Malformed> {
    let word = reader.str()?;
    known(word).ok_or_else(|| reader.malformed(format!("{} is not known", super::error::Short(word))))
}

/// An unknown key, if short enough to be shown.
fn key_for_errors(key: &str) -> &str {
    if key.len() <= 40 && !key.contains(char::is_control) { key } else { "(an unknown key)" }
}
