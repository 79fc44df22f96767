//! The ELF side of a code object: header, metadata note, kernel descriptors.

use std::collections::HashMap;

use object::LittleEndian;
use object::elf::{self, FileHeader64, ProgramHeader64};
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader, Sym};

use super::{CodeObjectError, IsaName, KernelMeta};

type Header = FileHeader64<LittleEndian>;
const LE: LittleEndian = LittleEndian;

/// `NT_AMDGPU_METADATA`.
const METADATA_NOTE: u32 = 32;
/// More loadable segments than any linker makes; bounds the time to find an address.
const MAX_SEGMENTS: usize = 64;
/// Longer symbol names are not looked at; bounds the time to read a symbol table.
pub(super) const MAX_NAME: usize = 16 * 1024;
/// Bytes of a kernel descriptor.
const DESCRIPTOR: usize = 64;

/// What is needed of the file.
pub(super) struct File<'a> {
    data: &'a [u8],
    pub isa: IsaName,
    pub version: u8,
    /// The metadata note's content, MessagePack.
    pub metadata: &'a [u8],
    /// Where in the file that is.
    pub metadata_offset: u64,
    loads: Vec<&'a ProgramHeader64<LittleEndian>>,
    /// Addresses of the 64-byte data symbols, where kernel descriptors are, by name.
    descriptors: HashMap<&'a [u8], u64>,
}

fn damaged(what: &'static str, offset: u64, problem: impl ToString) -> CodeObjectError {
    CodeObjectError::Damaged { what, offset, problem: problem.to_string() }
}

impl<'a> File<'a> {
    pub fn parse(data: &'a [u8]) -> Result<File<'a>, CodeObjectError> {
        let (header, version) = header(data)?;
        let flags = header.e_flags(LE).0;
        let isa = IsaName::from_flags(flags, version).ok_or(CodeObjectError::UnknownProcessor { flags })?;

        let segments = header
            .program_headers(LE, data)
            .map_err(|e| damaged("program headers", header.e_phoff(LE), e))?;
        for segment in segments {
            in_file(data, "a segment", segment.p_offset(LE), segment.p_filesz(LE))?;
        }
        let loads: Vec<_> = segments.iter().filter(|s| s.p_type(LE) == elf::PT_LOAD).collect();
        if loads.len() > MAX_SEGMENTS {
            let problem = format!("{} loadable segments, {MAX_SEGMENTS} at most", loads.len());
            return Err(damaged("program headers", header.e_phoff(LE), problem));
        }
        let metadata = metadata(data, segments)?;
        // `desc` is a part of `data`.
        let metadata_offset = (metadata.as_ptr() as usize - data.as_ptr() as usize) as u64;
        let descriptors = descriptors(data, header)?;
        Ok(File { data, isa, version, metadata, metadata_offset, loads, descriptors })
    }

    /// Compares a kernel's metadata with the descriptor that the hardware reads.
    pub fn check_descriptor(&self, kernel: &KernelMeta) -> Result<(), CodeObjectError> {
        let error = |problem| Err(CodeObjectError::Kernel { kernel: kernel.name.clone(), problem });
        let Some(&address) = self.descriptors.get(kernel.symbol.as_bytes()) else {
            return error(format!(
                "its descriptor, a {DESCRIPTOR}-byte symbol {}, is not in the dynamic symbol table",
                super::error::Short(&kernel.symbol)
            ));
        };
        let bytes = self.loads.iter().find_map(|s| {
            let at = address.checked_sub(s.p_vaddr(LE))?;
            let end = at.checked_add(DESCRIPTOR as u64).filter(|e| *e <= s.p_filesz(LE))?;
            // Both in the file: every segment has been checked.
            self.data.get((s.p_offset(LE) + at) as usize..(s.p_offset(LE) + end) as usize)
        });
        let Some(bytes) = bytes else {
            return error(format!("its descriptor at address {address:#x} is in no loaded segment"));
        };
        // Layout: LLVM, "Kernel Descriptor".
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let wave = if word(56) & 1 << 10 != 0 { 32 } else { 64 };
        let same = [
            ("group_segment_fixed_size", kernel.group_segment_fixed_size, word(0)),
            ("private_segment_fixed_size", kernel.private_segment_fixed_size, word(4)),
            // Older compilers leave 0 in the descriptor.
            ("kernarg_segment_size", kernel.kernarg_segment_size, word(8)),
            ("wavefront_size", kernel.wavefront_size, wave),
        ];
        for (field, metadata, descriptor) in same {
            if metadata != descriptor && !(field == "kernarg_segment_size" && descriptor == 0) {
                return error(format!(
                    "{field} is {metadata} in the metadata, {descriptor} in its descriptor"
                ));
            }
        }
        Ok(())
    }
}

/// Checks the ELF header and returns it with the code object version.
fn header(data: &[u8]) -> Result<(&Header, u8), CodeObjectError> {
    if !data.starts_with(&elf::ELFMAG) {
        let start = data[..data.len().min(4)].to_vec();
        return Err(CodeObjectError::NotElf { len: data.len(), start });
    }
    if data.len() < size_of::<Header>() {
        return Err(damaged("ELF header", 0, format!("{} bytes of {}", data.len(), size_of::<Header>())));
    }
    let foreign = |offset, problem| Err(CodeObjectError::NotForAmdGpu { offset, problem });
    if data[4] != elf::ELFCLASS64.0 {
        return foreign(4, format!("class {} is not 64-bit (2)", data[4]));
    }
    if data[5] != elf::ELFDATA2LSB.0 {
        return foreign(5, format!("encoding {} is not little-endian (1)", data[5]));
    }
    let header = Header::parse(data).map_err(|e| damaged("ELF header", 0, e))?;
    if header.e_machine(LE) != elf::EM_AMDGPU {
        return foreign(18, format!("machine {} is not AMDGPU (224)", header.e_machine(LE).0));
    }
    if data[7] != 64 {
        return foreign(7, format!("OS ABI {} is not AMDGPU_HSA (64)", data[7]));
    }
    if header.e_type(LE) != elf::ET_DYN {
        return foreign(16, format!("type {} is not a shared object (3): link it", header.e_type(LE).0));
    }
    match data[8] {
        abi @ 1..=3 => Ok((header, abi + 2)),
        abi_version => Err(CodeObjectError::Version { abi_version, version: u16::from(abi_version) + 2 }),
    }
}

/// Fails unless `size` bytes at `offset` are in the file.
fn in_file(data: &[u8], what: &'static str, offset: u64, size: u64) -> Result<(), CodeObjectError> {
    match offset.checked_add(size) {
        Some(end) if end <= data.len() as u64 => Ok(()),
        _ => Err(damaged(what, offset, format!("{size} bytes do not fit: the file has {}", data.len()))),
    }
}

/// Finds the metadata note.
fn metadata<'a>(
    data: &'a [u8],
    segments: &'a [ProgramHeader64<LittleEndian>],
) -> Result<&'a [u8], CodeObjectError> {
    // Segments may overlap: without a limit, the same bytes could be searched again and again.
    let mut budget = data.len() as u64;
    for segment in segments.iter().filter(|s| s.p_type(LE) == elf::PT_NOTE) {
        let offset = segment.p_offset(LE);
        budget = budget
            .checked_sub(segment.p_filesz(LE))
            .ok_or_else(|| damaged("a note segment", offset, "overlaps others"))?;
        let bytes =
            segment.data(LE, data).map_err(|()| damaged("a note segment", offset, "not in the file"))?;
        let mut notes = NoteIterator::<Header>::new(LE, segment.p_align(LE), bytes)
            .map_err(|e| damaged("a note segment", offset, e))?;
        while let Some(note) = notes.next().map_err(|e| damaged("a note segment", offset, e))? {
            if note.name() == b"AMDGPU" && note.n_type(LE).0 == METADATA_NOTE {
                return Ok(note.desc());
            }
        }
    }
    Err(CodeObjectError::NoMetadata)
}

/// Reads the dynamic symbol table: data symbols of the size of a kernel descriptor.
fn descriptors<'a>(data: &'a [u8], header: &Header) -> Result<HashMap<&'a [u8], u64>, CodeObjectError> {
    let at = header.e_shoff(LE);
    let sections = header.sections(LE, data).map_err(|e| damaged("section headers", at, e))?;
    for section in sections.iter().filter(|s| s.sh_type(LE) != elf::SHT_NOBITS) {
        in_file(data, "a section", section.sh_offset(LE), section.sh_size(LE))?;
    }
    let symbols =
        sections.symbols(LE, data, elf::SHT_DYNSYM).map_err(|e| damaged("dynamic symbol table", at, e))?;
    if symbols.is_empty() {
        return Ok(HashMap::new());
    }
    let strings = sections
        .section(symbols.string_section())
        .and_then(|section| section.data(LE, data))
        .map_err(|e| damaged("symbol names", at, e))?;
    // Names may overlap: without a limit, the same long text could be read for every symbol.
    let mut budget = 8 * data.len();
    let mut found = HashMap::new();
    for symbol in symbols.iter() {
        if symbol.st_type() != elf::STT_OBJECT || symbol.st_size(LE) != DESCRIPTOR as u64 {
            continue;
        }
        let name = strings.get(symbol.st_name(LE) as usize..).unwrap_or_default();
        let name = &name[..name.len().min(MAX_NAME)];
        let end = name.iter().position(|b| *b == 0);
        budget = budget
            .checked_sub(end.unwrap_or(name.len()))
            .ok_or_else(|| damaged("symbol names", at, "they overlap too much"))?;
        if let Some(end) = end {
            found.insert(&name[..end], symbol.st_value(LE));
        }
    }
    Ok(found)
}
