//! The project's own code objects, and the instruction mix of a runtime's built-in copy and fill kernels.

mod isa_support;

use isa_support::{Dispatch, Gpu};
use kfd_sim::isa::Placement;
use kfd_sim::isa::decode::decode;
use object::{Object, ObjectSection};

#[test]
fn every_instruction_of_the_projects_kernels_decodes() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/bin/gfx906");
    let Ok(files) = std::fs::read_dir(&dir) else {
        println!("skipped: no {}", dir.display());
        return;
    };
    let mut count = 0;
    for file in
        files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "co"))
    {
        let code = isa_support::open(&file);
        let elf = object::File::parse(&*code.bytes).unwrap();
        let text = elf.section_by_name(".text").expect(".text");
        let words: Vec<u32> =
            text.data().unwrap().chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        let mut at = 0;
        while at < words.len() {
            // One kernel holds an instruction that does not exist, to be refused.
            if file.ends_with("fault.co") && words[at] == 0xbfff_0000 {
                assert!(decode(&words[at..]).is_err());
                at += 1;
                continue;
            }
            let inst = decode(&words[at..]).unwrap_or_else(|error| {
                panic!("{}: .text+{:#x}: {:08x}: {error}", file.display(), at * 4, words[at])
            });
            at += usize::from(inst.size) / 4;
            count += 1;
        }
    }
    println!("{count} instructions");
}

/// Uploads a program behind an `amd_kernel_code_t` with kernarg pointer and workgroup id X.
fn program(gpu: &mut Gpu, code: &[u32]) -> Dispatch {
    let mut words = vec![0u32; 64];
    words[4] = 256;
    (words[12], words[13], words[14]) = (2 | 3 << 6 | 3 << 18 | 1 << 23, 2 << 1 | 1 << 7, 8);
    words.extend_from_slice(code);
    Dispatch {
        kernel_object: gpu.upload(&words),
        grid: [128, 1, 1],
        workgroup: [64, 1, 1],
        lds: 0,
        private: 0,
        kernarg: Vec::new(),
        place: Placement::default(),
    }
}

#[test]
fn a_copy_loop_as_blit_kernels_write_it() {
    let mut gpu = Gpu::new();
    // Bytes from s[4:5] up to s[8:9] go to s[6:7] onwards; the stride is s12.
    let program_words = [
        0xc00a_0100u32 | 1 << 17,
        0x00, // s_load_dwordx4 s[4:7], s[0:1], 0x0
        0xc006_0200 | 1 << 17,
        0x10, // s_load_dwordx2 s[8:9], s[0:1], 0x10
        0xc002_0300 | 1 << 17,
        0x18,        // s_load_dword s12, s[0:1], 0x18
        0xbf8c_0070, // s_waitcnt
        0x8e02_8602, // s_lshl_b32 s2, s2, 6
        0x3200_0002, // v_add_co_u32_e32 v0, vcc, s2, v0
        0x7e06_0205, // v_mov_b32_e32 v3, s5
        0xd119_6a02,
        0x0000_0900, // v_add_co_u32_e64 v2, vcc, v0, s4
        0xd11c_6a03,
        0x01a9_0103, // v_addc_co_u32_e64 v3, vcc, v3, 0, vcc
        0x7e0a_0207, // v_mov_b32_e32 v5, s7
        0xd119_6a04,
        0x0000_0d00, // v_add_co_u32_e64 v4, vcc, v0, s6
        0xd11c_6a05,
        0x01a9_0105, // v_addc_co_u32_e64 v5, vcc, v5, 0, vcc
        0xd0e9_006a,
        0x0000_1102, // v_cmp_lt_u64_e64 vcc, v[2:3], s[8:9]
        0xbf86_000e, // s_cbranch_vccz end
        0x86fe_6a7e, // s_and_b64 exec, exec, vcc
        0xdc40_0000,
        0x0100_0002, // flat_load_ubyte v1, v[2:3]
        0xd119_6a02,
        0x0000_1902, // v_add_co_u32_e64 v2, vcc, v2, s12
        0xd11c_6a03,
        0x01a9_0103, // v_addc_co_u32_e64 v3, vcc, v3, 0, vcc
        0xdc60_0000,
        0x0000_0104, // flat_store_byte v[4:5], v1
        0xd119_6a04,
        0x0000_1904, // v_add_co_u32_e64 v4, vcc, v4, s12
        0xd11c_6a05,
        0x01a9_0105, // v_addc_co_u32_e64 v5, vcc, v5, 0, vcc
        0xbf82_ffef, // s_branch to the compare
        0xbf81_0000, // s_endpgm
    ];
    for (from, text) in [(10, "v_add_co_u32_e64 v2, vcc"), (12, "v_addc_co_u32_e64 v3, vcc")] {
        assert!(decode(&program_words[from..]).unwrap().to_string().starts_with(text));
    }
    let data: Vec<u8> = (0..1001u32).map(|n| (n * 37) as u8).collect();
    let (src, dst) = (gpu.upload(&data), gpu.alloc(1001));
    let dispatch = program(&mut gpu, &program_words).arg(src).arg(dst).arg(src + 1001).arg(128u32);
    let stats = dispatch.run(&mut gpu).unwrap();
    assert_eq!(gpu.read::<u8>(dst, 1001), data);
    assert_eq!((stats.vmem_read_bytes, stats.vmem_write_bytes), (1001, 1001));
}
