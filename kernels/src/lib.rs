//! GPU kernels as source (`cl/*.cl`), with the code objects built from them (`bin/<isa>/<name>.co`), so that using
//! them needs no GPU compiler. `cargo xtask kernels` rebuilds them.
//!
//! The code objects are of version 4, for any setting of XNACK and SRAMECC.
#![forbid(unsafe_code)]

pub mod digits;

/// Gives the bytes an alignment that lets ELF structures be read in place.
#[repr(C, align(16))]
struct Aligned<T: ?Sized>(T);

/// `&'static [u8]` of one file, aligned.
macro_rules! aligned {
    ($path:expr) => {{
        static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &FILE.0
    }};
}

/// The code objects of each ISA, in the order of [`NAMES`].
macro_rules! table {
    ($($isa:literal),*) => {
        &[$(($isa, [
            aligned!(concat!("../bin/", $isa, "/fault.co")),
            aligned!(concat!("../bin/", $isa, "/misc.co")),
            aligned!(concat!("../bin/", $isa, "/mlp.co")),
            aligned!(concat!("../bin/", $isa, "/probe.co")),
            aligned!(concat!("../bin/", $isa, "/scratch.co")),
            aligned!(concat!("../bin/", $isa, "/stress.co")),
            aligned!(concat!("../bin/", $isa, "/vector.co")),
        ])),*]
    };
}

const NAMES: [&str; 7] = ["fault", "misc", "mlp", "probe", "scratch", "stress", "vector"];

static TABLE: &[(&str, [&[u8]; NAMES.len()])] = table!(
    "gfx900", "gfx906", "gfx908", "gfx90a", "gfx90c", "gfx1010", "gfx1012", "gfx1030", "gfx1031", "gfx1032",
    "gfx1034", "gfx1035"
);

/// Processors with code objects here, such as `gfx906`.
pub fn isas() -> impl ExactSizeIterator<Item = &'static str> {
    TABLE.iter().map(|(isa, _)| *isa)
}

/// Names of the code objects that each ISA has: `fault`, `misc`, `mlp`, `probe`, `scratch`, `stress`,
/// `vector`.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// The code object `name` for a GPU, `None` if there is no such name or nothing was built for that GPU.
///
/// `isa` is a processor (`gfx906`), a target id (`gfx906:sramecc+:xnack-`) or HSA's name of an ISA
/// (`amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-`). Features do not matter: the code runs with any.
///
/// ```
/// let code = eclip_kernels::code_object("amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-", "vector").unwrap();
/// assert!(code.starts_with(b"\x7fELF"));
/// ```
pub fn code_object(isa: &str, name: &str) -> Option<&'static [u8]> {
    let target = isa.strip_prefix("amdgcn-amd-amdhsa--").unwrap_or(isa);
    let processor = target.split(':').next().unwrap_or(target);
    let column = NAMES.iter().position(|n| *n == name)?;
    TABLE.iter().find(|(isa, _)| *isa == processor).map(|(_, row)| row[column])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn table_holds_exactly_the_files_checked_in() {
        let bin = Path::new(env!("CARGO_MANIFEST_DIR")).join("bin");
        let mut files = 0;
        for folder in std::fs::read_dir(&bin).unwrap() {
            let folder = folder.unwrap().path();
            let isa = folder.file_name().unwrap().to_str().unwrap().to_owned();
            for file in std::fs::read_dir(&folder).unwrap() {
                let path = file.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert_eq!(code_object(&isa, name), Some(&*std::fs::read(&path).unwrap()), "{path:?}");
                files += 1;
            }
        }
        assert_eq!(files, isas().len() * names().len());
    }

    #[test]
    fn isa_names_in_every_form() {
        let plain = code_object("gfx90a", "mlp").unwrap();
        for isa in ["gfx90a:sramecc+", "gfx90a:sramecc+:xnack-", "amdgcn-amd-amdhsa--gfx90a:xnack+"] {
            assert!(std::ptr::eq(code_object(isa, "mlp").unwrap(), plain), "{isa}");
        }
        for (isa, name) in
            [("gfx803", "mlp"), ("gfx90", "mlp"), ("", "mlp"), ("gfx90a", "MLP"), ("gfx90a", "")]
        {
            assert!(code_object(isa, name).is_none(), "{isa} {name}");
        }
    }

    #[test]
    fn aligned_for_reading_in_place() {
        for isa in isas() {
            for name in names() {
                assert_eq!(code_object(isa, name).unwrap().as_ptr().align_offset(16), 0, "{isa} {name}");
            }
        }
    }
}
