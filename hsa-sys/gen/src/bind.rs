//! The call of bindgen: headers in, one Rust file of types, constants and an `extern` block out.

use std::path::Path;

use crate::headers::INCLUDED;

/// Declarations of functions newer than the headers.
const NEWER: &str = include_str!("../newer.h");

/// Binds the headers in `dir`. An error is bindgen's, or says that libclang is missing.
pub fn bind(dir: &Path) -> Result<syn::File, String> {
    // bindgen panics where libclang cannot be opened, so that is tried first.
    if let Err(reason) = open_libclang() {
        return Err(format!(
            "cannot open libclang, which reads the headers: {reason}\n\
             install it (Debian 12: apt-get install libclang1-14 clang) or set LIBCLANG_PATH to its folder"
        ));
    }
    let mut input: String = INCLUDED.iter().map(|name| format!("#include <{name}>\n")).collect();
    input.push_str(NEWER);
    let bindings = bindgen::Builder::default()
        .header_contents("hsa_sys_gen.h", &input)
        .clang_arg(format!("-I{}", dir.display()))
        // One layout and one spelling whatever machine the generator runs on: ROCr exists for 64-bit Linux only.
        .clang_arg("--target=x86_64-unknown-linux-gnu")
        .allowlist_type("hsa_.*|amd_.*")
        .allowlist_var("HSA_.*|AMD_.*")
        .allowlist_function("hsa_.*")
        // Extensions whose functions come in a table from the runtime, not as exported symbols.
        .blocklist_function("hsa_(ext|ven)_.*")
        .blocklist_type("hsa_ext_images?_.*pfn_.*")
        // Tables of functions: comparing function pointers means nothing.
        .no_partialeq("hsa_ven_.*_pfn_s")
        .no_hash("hsa_ven_.*_pfn_s")
        .use_core()
        .default_enum_style(bindgen::EnumVariation::Consts)
        .translate_enum_integer_types(true)
        .prepend_enum_name(false)
        .derive_copy(true)
        .derive_debug(true)
        .derive_default(true)
        .derive_eq(true)
        .derive_hash(true)
        .generate_comments(false)
        .generate_cstr(true)
        .layout_tests(false)
        .disable_header_comment()
        .formatter(bindgen::Formatter::None)
        .rust_target(bindgen::RustTarget::stable(88, 0).map_err(|e| e.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .generate()
        .map_err(|e| format!("bindgen on the headers in {}: {e}", dir.display()))?;
    syn::parse_file(&bindings.to_string()).map_err(|e| format!("bindgen's output does not parse: {e}"))
}

/// Opens libclang on a thread of its own, which turns bindgen's panic into an error.
fn open_libclang() -> Result<(), String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(|| drop(bindgen::clang_version()));
    std::panic::set_hook(hook);
    opened.map_err(|panic| {
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "no reason given".to_owned())
    })
}
