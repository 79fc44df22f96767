//! Which opcodes decode but are refused when executed: an exact list, so that nothing joins or leaves it unnoticed.

use super::*;

/// Opcodes of each encoding that end the wave with an illegal-instruction error.
const REFUSED: [(&str, &str); 14] = [
    ("SOP1", "s_rfe_b64 s_cbranch_join"),
    ("SOP2", "s_cbranch_g_fork s_rfe_restore_b64"),
    ("SOPC", "s_setvskip"),
    ("SOPK", "s_cbranch_i_fork"),
    ("SOPP", "s_setkill s_sendmsg s_sendmsghalt s_endpgm_ordered_ps_done"),
    (
        "SMEM",
        "s_scratch_load_dword s_scratch_load_dwordx2 s_scratch_load_dwordx4 s_scratch_store_dword \
         s_scratch_store_dwordx2 s_scratch_store_dwordx4 s_buffer_store_dword s_buffer_store_dwordx2 \
         s_buffer_store_dwordx4 s_dcache_discard s_dcache_discard_x2 s_buffer_atomic_swap \
         s_buffer_atomic_cmpswap s_buffer_atomic_add s_buffer_atomic_sub s_buffer_atomic_smin \
         s_buffer_atomic_umin s_buffer_atomic_smax s_buffer_atomic_umax s_buffer_atomic_and \
         s_buffer_atomic_or s_buffer_atomic_xor s_buffer_atomic_inc s_buffer_atomic_dec \
         s_buffer_atomic_swap_x2 s_buffer_atomic_cmpswap_x2 s_buffer_atomic_add_x2 \
         s_buffer_atomic_sub_x2 s_buffer_atomic_smin_x2 s_buffer_atomic_umin_x2 s_buffer_atomic_smax_x2 \
         s_buffer_atomic_umax_x2 s_buffer_atomic_and_x2 s_buffer_atomic_or_x2 s_buffer_atomic_xor_x2 \
         s_buffer_atomic_inc_x2 s_buffer_atomic_dec_x2 s_atomic_swap s_atomic_cmpswap s_atomic_add \
         s_atomic_sub s_atomic_smin s_atomic_umin s_atomic_smax s_atomic_umax s_atomic_and s_atomic_or \
         s_atomic_xor s_atomic_inc s_atomic_dec s_atomic_swap_x2 s_atomic_cmpswap_x2 s_atomic_add_x2 \
         s_atomic_sub_x2 s_atomic_smin_x2 s_atomic_umin_x2 s_atomic_smax_x2 s_atomic_umax_x2 \
         s_atomic_and_x2 s_atomic_or_x2 s_atomic_xor_x2 s_atomic_inc_x2 s_atomic_dec_x2",
    ),
    ("VOP1", "v_screen_partition_4se_b32"),
    ("VOP2", ""),
    ("VOPC", ""),
    (
        "VOP3",
        "v_cubeid_f32 v_cubesc_f32 v_cubetc_f32 v_cubema_f32 v_cvt_pk_u8_f32 v_qsad_pk_u16_u8 \
         v_mqsad_pk_u16_u8 v_mqsad_u32_u8 v_cvt_pkaccum_u8_f32 v_trig_preop_f64",
    ),
    ("VOP3P", ""),
    (
        "DS",
        "ds_write_addtid_b32 ds_condxchg32_rtn_b64 ds_add_src2_u32 ds_sub_src2_u32 ds_rsub_src2_u32 \
         ds_inc_src2_u32 ds_dec_src2_u32 ds_min_src2_i32 ds_max_src2_i32 ds_min_src2_u32 ds_max_src2_u32 \
         ds_and_src2_b32 ds_or_src2_b32 ds_xor_src2_b32 ds_write_src2_b32 ds_min_src2_f32 \
         ds_max_src2_f32 ds_add_src2_f32 ds_read_addtid_b32 ds_consume ds_append ds_add_src2_u64 \
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
         store_format_d16_xyzw load_format_d16_hi_x store_format_d16_hi_x",
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
    table!("SOPP", decode::sopp::Sopp::TABLE, |c: u32, _: &Info| [0xbf80_0000 | c << 16, 0]);
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
        let addressless = decode::ds::Ds::find(c).unwrap().1.addressless();
        let shift = if addressless { 8 } else { 0 };
        let sources = (0..info.src.len() as u32).fold(0, |word, n| word | (2 + 2 * n) << (shift + 8 * n));
        [0xd800_0000 | c << 17, sources | if info.dst == Ty::No { 0 } else { 8 << 24 }]
    });
    table!("FLAT", decode::flat::Flat::TABLE, |c: u32, info: &Info| {
        let data = if info.src.is_empty() { 8 << 24 } else { 4 << 8 };
        [0xdc00_0000 | c << 18, 2 | data]
    });
    table!("MUBUF", decode::mubuf::Mubuf::TABLE, |c: u32, info: &Info| {
        [0xe000_0000 | c << 18, if info.src.is_empty() { 0 } else { 8 << 8 | 1 << 16 | 128 << 24 }]
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
