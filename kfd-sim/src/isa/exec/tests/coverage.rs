//! Which opcodes decode but are refused when executed: an exact list, so that nothing joins or leaves it unnoticed. That every
//! other one is compared with an independent computation. The page of both, `docs/instructions.md`, is what the tables say.

use super::*;

/// Opcodes of each encoding that end the wave with an illegal-instruction error.
const REFUSED: [(&str, &str); 14] = [
    ("SOP1", "s_rfe_b64 s_cbranch_join"),
    ("SOP2", "s_cbranch_g_fork s_rfe_restore_b64"),
    ("SOPC", "s_setvskip"),
    ("SOPK", "s_cbranch_i_fork"),
    ("SOPP", "s_setkill s_sendmsghalt s_endpgm_ordered_ps_done"),
    (
        "SMEM",
        "s_scratch_load_dword s_scratch_load_dwordx2 s_scratch_load_dwordx4 s_scratch_store_dword \
         s_scratch_store_dwordx2 s_scratch_store_dwordx4 s_dcache_discard s_dcache_discard_x2",
    ),
    ("VOP1", "v_screen_partition_4se_b32"),
    ("VOP2", ""),
    ("VOPC", ""),
    ("VOP3", ""),
    ("VOP3P", ""),
    (
        "DS",
        "ds_add_src2_u32 ds_sub_src2_u32 ds_rsub_src2_u32 \
         ds_inc_src2_u32 ds_dec_src2_u32 ds_min_src2_i32 ds_max_src2_i32 ds_min_src2_u32 ds_max_src2_u32 \
         ds_and_src2_b32 ds_or_src2_b32 ds_xor_src2_b32 ds_write_src2_b32 ds_min_src2_f32 \
         ds_max_src2_f32 ds_add_src2_f32 ds_gws_sema_release_all ds_gws_init ds_gws_sema_v ds_gws_sema_br \
         ds_gws_sema_p ds_gws_barrier ds_ordered_count ds_add_src2_u64 \
         ds_sub_src2_u64 ds_rsub_src2_u64 ds_inc_src2_u64 ds_dec_src2_u64 ds_min_src2_i64 \
         ds_max_src2_i64 ds_min_src2_u64 ds_max_src2_u64 ds_and_src2_b64 ds_or_src2_b64 ds_xor_src2_b64 \
         ds_write_src2_b64 ds_min_src2_f64 ds_max_src2_f64",
    ),
    ("FLAT", ""),
    (
        "MUBUF",
        "load_format_x load_format_xy load_format_xyz load_format_xyzw store_format_x store_format_xy \
         store_format_xyz store_format_xyzw load_format_d16_x load_format_d16_xy load_format_d16_xyz \
         load_format_d16_xyzw store_format_d16_x store_format_d16_xy store_format_d16_xyz \
         store_format_d16_xyzw load_format_d16_hi_x store_format_d16_hi_x store_lds_dword",
    ),
];

/// First word, second word and name of each row, with operands that exist.
fn rows() -> Vec<(&'static str, &'static str, [u32; 2])> {
    let mut rows = Vec::new();
    macro_rules! table {
        ($encoding:literal, $table:path, $words:expr) => {
            rows.extend($table.iter().map(|row| ($encoding, row.2.name, $words(u32::from(row.0), &row.2))));
        };
    }
    type Info = crate::isa::inst::Info;
    table!("SOP1", decode::sop1::Sop1::TABLE, |c: u32, _: &Info| [0xbe80_0004 | 8 << 16 | c << 8, 0]);
    table!("SOP2", decode::sop2::Sop2::TABLE, |c: u32, _: &Info| [0x8000_0604 | 8 << 16 | c << 23, 0]);
    table!("SOPC", decode::sopc::Sopc::TABLE, |c: u32, _: &Info| [0xbf00_0604 | c << 16, 0]);
    table!("SOPK", decode::sopk::Sopk::TABLE, |c: u32, _: &Info| [0xb000_0003 | 8 << 16 | c << 23, 0]);
    // Messages: the one that is executed.
    table!("SOPP", decode::sopp::Sopp::TABLE, |c: u32, info: &Info| {
        [0xbf80_0000 | c << 16 | u32::from(info.name.starts_with("s_sendmsg")), 0]
    });
    table!("SMEM", decode::smem::Smem::TABLE, |c: u32, info: &Info| {
        let data = if info.dst == Ty::No { 0 } else { 16 << 6 };
        [0xc000_0000 | data | c << 18 | if info.src.is_empty() { 0 } else { 1 << 17 | 2 }, 0]
    });
    table!("VOP1", decode::vop1::Vop1::TABLE, |c: u32, info: &Info| {
        [0x7e00_0000 | c << 9 | if info.src.is_empty() { 0 } else { 258 | 8 << 17 }, 0]
    });
    table!("VOP2", decode::vop2::Vop2::TABLE, |c: u32, _: &Info| [258 | 4 << 9 | 8 << 17 | c << 25, 0]);
    table!("VOPC", decode::vopc::Vopc::TABLE, |c: u32, _: &Info| [0x7c00_0000 | 258 | 4 << 9 | c << 17, 0]);
    table!("VOP3", decode::vop3::Vop3::TABLE, |_: u32, info: &Info| {
        // The lane number of v_readlane and v_writelane is scalar, and so is what v_writelane writes.
        let mut words = vop3_words(info.name);
        if info.name.contains("lane") {
            words[1] = words[1] & !(511 << 9) | 129 << 9;
        }
        if info.name.contains("writelane") {
            words[1] = words[1] & !511 | 129;
        }
        words
    });
    table!("VOP3P", decode::vop3p::Vop3p::TABLE, |c: u32, info: &Info| {
        let third = if info.src.len() == 3 { 262 << 18 } else { 0 };
        [0xd380_0008 | c << 16, 258 | 260 << 9 | third]
    });
    table!("DS", decode::ds::Ds::TABLE, |c: u32, info: &Info| {
        let op = decode::ds::Ds::find(c).unwrap().1;
        let gds = if op.only_gds() == Some(true) { 1 << 16 } else { 0 };
        let addressless = op.addressless();
        let shift = if addressless { 8 } else { 0 };
        let sources = (0..info.src.len() as u32).fold(0, |word, n| word | (2 + 2 * n) << (shift + 8 * n));
        [0xd800_0000 | c << 17 | gds, sources | if info.dst == Ty::No { 0 } else { 8 << 24 }]
    });
    table!("FLAT", decode::flat::Flat::TABLE, |c: u32, info: &Info| {
        let data = if info.src.is_empty() { 8 << 24 } else { 4 << 8 };
        [0xdc00_0000 | c << 18, 2 | data]
    });
    table!("MUBUF", decode::mubuf::Mubuf::TABLE, |c: u32, info: &Info| {
        let lds = if info.name == "store_lds_dword" { 1 << 16 } else { 0 };
        [0xe000_0000 | c << 18 | lds, if info.src.is_empty() { 0 } else { 8 << 8 | 1 << 16 | 128 << 24 }]
    });
    rows
}

#[test]
fn opcodes_that_decode_but_do_not_execute() {
    let mut differences = Vec::new();
    for (encoding, expected) in REFUSED {
        let mut executed = 0;
        let mut refused = Vec::new();
        for (_, name, words) in rows().into_iter().filter(|row| row.0 == encoding) {
            let (mut w, mut lds) = (wave(), Lds::new(4096));
            match execute(&mut w, &mut lds, &AddressSpace::new(), &words) {
                Err(Stop::Unsupported(_)) => refused.push(name),
                // Memory is not mapped here: a fault means that the instruction tried.
                _ => executed += 1,
            }
        }
        println!("{encoding}: {executed} executed, {} refused", refused.len());
        let got = refused.join(" ");
        if got != expected {
            differences.push(format!("(\"{encoding}\", \"{got}\"),"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Runs every comparison of this folder in this thread, which notes the opcodes that it makes.
fn checks() -> std::collections::BTreeSet<String> {
    vector::integer_arithmetic();
    vector::shifts_and_bits();
    vector::minima_and_maxima();
    vector::carries_and_borrows();
    vector::every_compare();
    wide::packed_integers();
    wide::dot_products_and_mixed_fma();
    scalar::two_sources();
    scalar::bit_fields();
    scalar::compares_immediates_and_branches();
    soft::sums_products_and_roundings();
    soft::multiply_add();
    soft::accumulation();
    soft::scaling();
    soft_convert::conversions();
    soft_convert::packed_and_mixed();
    soft_convert::whole_divisions();
    soft_convert::half_division_fixup();
    precise::functions_with_open_rounding();
    precise::pieces_of_two_over_pi();
    memory_ops::flat_global_and_buffer();
    memory_ops::scalar_memory_instructions();
    memory_ops::lds_instructions();
    memory_ops::lds_loads_and_stores();
    rest::scalar_one_source();
    rest::scalar_two_sources();
    rest_control::scalar_control();
    rest_control::program_flow();
    rest::indexed_registers();
    rest::lanes();
    rest::sums_of_differences_and_cubes();
    rest::classes_of_every_width();
    rest::saturation();
    rest::dot_products_of_halves();
    rest::lds_across_lanes();
    CHECKED.with_borrow(Clone::clone)
}

fn refused(encoding: &str, name: &str) -> bool {
    REFUSED.iter().any(|(of, names)| *of == encoding && names.split(' ').any(|one| one == name))
}

#[test]
fn every_executed_opcode_is_checked() {
    let checks = checks();
    let rows = rows();
    let missing: Vec<_> = rows
        .iter()
        .filter(|(encoding, name, _)| !refused(encoding, name) && !checks.contains(*name))
        .map(|(encoding, name, _)| format!("{encoding} {name}"))
        .collect();
    assert!(missing.is_empty(), "executed, but compared with nothing: {missing:?}");
    // The page says the same.
    let page = page(&rows, &checks);
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/instructions.md");
    if std::env::var_os("KFD_SIM_WRITE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == page,
        "docs/instructions.md is not what the tables say: run this test with KFD_SIM_WRITE_DOCS=1"
    );
}

/// The page of instructions.
fn page(
    rows: &[(&'static str, &'static str, [u32; 2])],
    checks: &std::collections::BTreeSet<String>,
) -> String {
    use std::fmt::Write;
    let mut text = String::from(PAGE);
    let mut total = [0; 4];
    for (encoding, _) in REFUSED {
        let of: Vec<_> = rows.iter().filter(|row| row.0 == encoding).collect();
        let executed = of.iter().filter(|row| !refused(encoding, row.1)).count();
        let checked = of.iter().filter(|row| !refused(encoding, row.1) && checks.contains(row.1)).count();
        let counts = [of.len(), executed, checked, of.len() - executed];
        (0..4).for_each(|n| total[n] += counts[n]);
        let [decoded, executed, checked, not] = counts;
        let _ = writeln!(text, "| {encoding} | {decoded} | {executed} | {checked} | {not} |");
    }
    let [decoded, executed, checked, not] = total;
    let _ = writeln!(text, "| all | {decoded} | {executed} | {checked} | {not} |");
    text += LIST;
    for (encoding, names) in REFUSED.iter().filter(|(_, names)| !names.is_empty()) {
        let names: Vec<_> = names.split(' ').map(|name| format!("`{name}`")).collect();
        let _ = writeln!(text, "- {encoding}: {}", names.join(", "));
    }
    text + REST
}

const PAGE: &str = "\
# Instructions of gfx906

A test (`isa::exec::tests::coverage`) writes this page from the decoder's tables, and fails when it differs.

Decoded: the words become this opcode and this text, as LLVM's disassembler has it. Executed: the interpreter does what the ISA
document says. Checked: compared with a computation that shares no code with it, over edge values and random ones. Not executed: ends
the wave with an illegal-instruction error that holds the address, the words, the text and the reason.

The VOP3, SDWA and DPP forms of VOP1, VOP2 and VOPC opcodes are the same opcodes. FLAT is FLAT, GLOBAL and SCRATCH.

| encoding | decoded | executed | checked | not executed |
|---|---|---|---|---|
";

const LIST: &str = "
## Not executed

None of them is among the 3.1 million instructions that clang 19 makes of AMD's math and OpenCL libraries (ROCm 5.2.3) at -O0 and -O1.
`ds_gws_*` is what grid-wide synchronisation of cooperative launches uses, which the device does not offer.

";

const REST: &str = "
Also refused by name: the encodings VINTRP, EXP, MIMG and MTBUF, and interpolation in VOP3 (graphics); the operands LDS_DIRECT and
POPS_EXITING_WAVE_ID; loads from buffers into LDS; texture fail (TFE); the global data share; negation of packed integers;
S_SENDMSG of anything but MSG_INTERRUPT; S_SETHALT 1; hardware registers other than MODE, STATUS, TRAPSTS, HW_ID, GPR_ALLOC,
LDS_ALLOC, IB_STS and SH_MEM_BASES.

## Where the ISA document leaves results open

- `v_exp`, `v_log`, `v_rcp`, `v_rsq`, `v_sqrt`, `v_sin`, `v_cos` of f32 and f16: the host's f64 function, rounded to the nearest f32 or
  f16. Tested against series in quadruple precision: within 0.500001 units in the last place. The hardware is documented to be within
  1 or more, so results may differ from it in the last bits.
- `v_rcp_f64` and `v_sqrt_f64` are correctly rounded, `v_rsq_f64` is within 1.5 units in the last place; the hardware is much coarser, and
  compilers refine its results.
- `v_exp_f32`, `v_log_f32`, `v_sin_f32`, `v_cos_f32` flush denormals whatever MODE says. Sines of more than 256 revolutions are 0, cosines
  1, as documented.
- `v_dot2_f32_f16` sums its products in f64 and rounds once.
- `v_cvt_pk_u8_f32` and `v_cvt_pkaccum_u8_f32` truncate and limit to 0..=255.
- NaN results are quiet, but neither their sign nor their payload is simulated. A signalling NaN is taken for a quiet one by minima and
  maxima; compilers make such sources quiet before.
- Integer clamp limits the exact result to what the destination can hold.

## MODE

Rounding directions of single precision and of double and half precision apply to sums, products, fused products, scaling and
conversions to floats; conversions to integers have directions of their own; the functions above round to nearest. Denormals of sources
and of results are kept or flushed as MODE says, but for `v_mad` and `v_mac` of f32, which always flush. DX10_CLAMP decides what clamp
makes of NaN. Exceptions are not raised, and TRAPSTS is only stored.

## Traps and messages

`s_trap 3` (`llvm.debugtrap`) does nothing, as with ROCr's trap handler without a debugger; other traps end the wave with an error.
`s_sendmsg sendmsg(MSG_INTERRUPT)` raises the event whose number M0 holds. `s_memtime` and `s_memrealtime` read the GPU counter
(simulated).

## Compared with LLVM

`tests/isa_decode.rs` compares the decoder with `llvm-mc` on every opcode with random operands and on random words of every encoding, a
million with `cargo xtask test --full`. Both refuse the words or both give the same text; `tests/decode_exceptions` lists where LLVM 14
is more lenient than the ISA document or knows less, each with its reason.
";
