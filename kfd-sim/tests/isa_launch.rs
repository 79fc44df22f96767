//! Launching: descriptors, packets, initial registers, budgets, faults. Kernels are written word by word.

mod isa_support;

use isa_support::{Dispatch, Gpu, LDS_APERTURE, SCRATCH_APERTURE};
use kfd_sim::isa::{CodeCache, ExecFault, Launch, LaunchError, Placement, Progress, Workgroup};
use kfd_sim::memory::{Access, MemoryKind, Span};

const ENDPGM: u32 = 0xbf81_0000;

/// Uploads code behind a header of `header` bytes (64: descriptor; 256: `amd_kernel_code_t`).
fn kernel(gpu: &mut Gpu, header: usize, rsrc: [u32; 2], properties: u32, code: &[u32]) -> Dispatch {
    let mut words = vec![0u32; header / 4];
    words[4] = header as u32;
    (words[12], words[13], words[14]) = (rsrc[0], rsrc[1], properties);
    words.extend_from_slice(code);
    Dispatch {
        kernel_object: gpu.upload(&words),
        grid: [64, 1, 1],
        workgroup: [64, 1, 1],
        lds: 0,
        private: 0,
        kernarg: Vec::new(),
        place: Placement::default(),
    }
}

/// 16 VGPRs, 32 SGPRs, IEEE, DX10 clamp, no flushing.
const RSRC1: u32 = 3 | 3 << 6 | 0xf << 16 | 1 << 21 | 1 << 23;

/// Stores `v[value]` at `s[0:1] + 4 * v0`: v_lshlrev_b32 v15, 2, v0; global_store_dword v15, v[value], s[0:1].
fn store(value: u32) -> [u32; 3] {
    [0x2400_0082 | 15 << 17, 0xdc70_8000, 15 | value << 8]
}

#[test]
fn registers_arrive_in_the_order_of_the_abi() {
    let mut gpu = Gpu::new();
    // Every user SGPR, then workgroup ids, info, wave offset: copied to memory by s_store_dword from the kernarg pointer.
    let mut code = Vec::new();
    for n in 0..24u32 {
        // s_store_dword s[n], s[8:9], n * 4
        code.extend([0xc042_0000 | n << 6 | 4, 0x100 + n * 4]);
    }
    code.push(ENDPGM);
    let rsrc2 = 1 | 16 << 1 | 0xf << 7;
    let mut dispatch = kernel(&mut gpu, 64, [RSRC1, rsrc2], 0x7f, &code);
    dispatch.private = 16;
    dispatch.grid = [256, 3, 1];
    dispatch.workgroup = [128, 1, 1];
    dispatch.place.scratch_slot = 4;
    // Room behind the arguments.
    dispatch.kernarg = vec![0; 512];
    let launch = dispatch.launch(&mut gpu).unwrap();
    assert_eq!((launch.workgroups(), launch.waves_per_workgroup()), ([2, 3, 1], 2));
    assert_eq!((launch.vgprs(), launch.sgprs(), launch.private_bytes_per_lane()), (16, 32, 16));
    let mut group = Workgroup::new(&launch, [1, 2, 0], dispatch.place);
    // Only the first wave: each has one turn of the budget.
    let progress = group.run(&launch, &gpu.space, &mut CodeCache::default(), &|| 0, 25);
    assert_eq!(progress, Progress::Yielded);
    let kernarg = launch.kernarg();
    let sgprs: Vec<u32> = gpu.read(kernarg + 0x100, 24);
    assert_eq!(sgprs[0..4].len(), 4);
    assert_eq!(sgprs[3] & (1 << 23), 1 << 23, "scratch resource");
    let pair = |n: usize| u64::from(sgprs[n]) | u64::from(sgprs[n + 1]) << 32;
    assert_eq!(gpu.read::<u16>(pair(4), 3)[2], 128, "dispatch packet");
    assert!(gpu.space.translate(pair(6), 64, Access::Read).is_ok(), "queue");
    assert_eq!(pair(8), kernarg);
    assert_eq!(pair(10), 0, "dispatch id");
    assert_eq!(pair(12), u64::from(sgprs[0]) | u64::from(sgprs[1] & 0xffff) << 32, "flat scratch init");
    assert_eq!(sgprs[14], 16, "private segment size");
    assert_eq!(sgprs[15], 0, "padding up to the user SGPR count");
    assert_eq!(sgprs[16..20], [1, 2, 0, 1 << 31 | 2], "workgroup ids and info");
    assert_eq!(sgprs[20], 4 * 16 * 64, "wave offset");
}

#[test]
fn both_header_formats_and_work_item_ids() {
    for header in [64, 256] {
        let mut gpu = Gpu::new();
        // v1 and v2 packed into one word: v_lshl_or_b32 v3, v2, 8, v1.
        let mut code = vec![0xc006_0080, 0, 0xd200_0003, 258 | 136 << 9 | 257 << 18];
        // v4 = x + 4 * y + 20 * z, the flat number: v_mad_u32_u24 twice.
        code.extend([0xd1c3_0004, 257 | 132 << 9 | 256 << 18, 0xd1c3_0004, 258 | 148 << 9 | 260 << 18]);
        // s[0:1] holds the kernarg pointer; s_load_dwordx2 s[2:3] came first.
        code[0] = 0xc006_0080;
        code.extend([0x2400_0082 | 15 << 17 | 4 << 9, 0xdc70_8000, 15 | 3 << 8 | 2 << 16, ENDPGM]);
        let mut dispatch = kernel(&mut gpu, header, [RSRC1, 2 << 1 | 2 << 11], 8, &code);
        code.clear();
        let out = gpu.alloc(4096);
        dispatch = dispatch.arg(out);
        (dispatch.grid, dispatch.workgroup) = ([4, 5, 6], [4, 5, 6]);
        dispatch.run(&mut gpu).unwrap();
        let ids: Vec<u32> = gpu.read(out, 128);
        for (n, id) in ids.into_iter().enumerate() {
            let want = if n < 120 { (n as u32 / 4 % 5) | (n as u32 / 20) << 8 } else { 0 };
            assert_eq!(id, want, "{n}");
        }
    }
}

#[test]
fn hw_id_shows_the_placement() {
    let mut gpu = Gpu::new();
    // s_load_dwordx2 s[0:1], s[0:1], 0; s_getreg_b32 s4, hwreg(HW_REG_HW_ID); v_mov_b32 v1, s4; store.
    let mut code = vec![0xc006_0000, 0, 0xb884_f804, 0x7e02_0204];
    code.extend(store(1));
    code.push(ENDPGM);
    let out = gpu.alloc(4096);
    let mut dispatch = kernel(&mut gpu, 64, [RSRC1, 2 << 1], 8, &code).arg(out);
    dispatch.place = Placement { se: 2, sh: 0, cu: 13, pipe: 3, queue: 5, me: 1, scratch_slot: 0 };
    dispatch.run(&mut gpu).unwrap();
    let id = gpu.read::<u32>(out, 1)[0];
    assert_eq!((id >> 13 & 3, id >> 12 & 1, id >> 8 & 15), (2, 0, 13));
    assert_eq!((id >> 6 & 3, id >> 24 & 7, id >> 30), (3, 5, 1));
}

#[test]
fn illegal_instructions_name_themselves() {
    let mut gpu = Gpu::new();
    // Not an opcode; a graphics export; a message; more VGPRs than allocated.
    let cases: [(&[u32], &str); 4] = [
        (&[0x9f00_0000], "unknown opcode 0x3e of SOP2"),
        (&[0xc400_0000, 0], "EXP"),
        (&[0xbf90_0002], "messages"),
        (&[0x7e40_0300], "beyond the 16 VGPRs"),
    ];
    for (code, text) in cases {
        let dispatch = kernel(&mut gpu, 64, [RSRC1, 0], 0, &[&[0xbf80_0000][..], code, &[ENDPGM]].concat());
        let fault = dispatch.run(&mut gpu).unwrap_err();
        let ExecFault::IllegalInstruction { address, words, text: got } = &fault else { panic!("{fault}") };
        assert_eq!((*address, words[0]), (dispatch.kernel_object + 68, code[0]));
        assert!(got.contains(text), "{got}");
        assert!(fault.to_string().contains(&format!("{address:#x}")));
    }
    let dispatch = kernel(&mut gpu, 64, [RSRC1, 0], 0, &[0xbf92_0002]);
    let address = dispatch.kernel_object + 64;
    assert_eq!(dispatch.run(&mut gpu), Err(ExecFault::Trap { address, id: 2 }));
}

#[test]
fn bad_launches_are_refused() {
    let mut gpu = Gpu::new();
    let good = kernel(&mut gpu, 64, [RSRC1, 0], 0, &[ENDPGM]);
    assert!(good.launch(&mut gpu).is_ok());
    let with = |change: &dyn Fn(&mut Dispatch)| {
        let mut dispatch = Dispatch { kernarg: Vec::new(), ..good };
        change(&mut dispatch);
        dispatch
    };
    let mut refused = |change: &dyn Fn(&mut Dispatch)| with(change).launch(&mut gpu).unwrap_err();
    assert!(matches!(refused(&|d| d.workgroup[1] = 0), LaunchError::Dimensions { .. }));
    assert_eq!(refused(&|d| d.workgroup = [32, 32, 2]), LaunchError::WorkgroupTooLarge(2048));
    assert_eq!(refused(&|d| d.lds = 65537), LaunchError::LdsTooLarge(65537));
    assert!(matches!(refused(&|d| d.kernel_object = 0x1000), LaunchError::Descriptor(_)));
    assert!(matches!(refused(&|d| d.kernel_object += 4), LaunchError::MisalignedDescriptor(_)));
    let wave32 = kernel(&mut gpu, 64, [RSRC1, 0], 1 << 10, &[ENDPGM]);
    assert!(matches!(wave32.launch(&mut gpu), Err(LaunchError::Unsupported(_))));
}

#[test]
fn the_descriptor_says_how_floats_are_rounded() {
    // 1 + 3/4 of the distance to the next float, to the nearest one and towards zero.
    for (direction, want) in [(0, 0x3f80_0001), (3, 0x3f80_0000)] {
        let mut gpu = Gpu::new();
        // s_load_dwordx2 s[0:1], s[0:1], 0; v_mov_b32 v1, 1.0; v_add_f32 v1, 0x33c00000, v1; store.
        let mut code = vec![0xc006_0000, 0, 0x7e02_02f2, 0x0202_02ff, 0x33c0_0000];
        code.extend(store(1));
        code.push(ENDPGM);
        let out = gpu.alloc(4096);
        kernel(&mut gpu, 64, [RSRC1 | direction << 12, 2 << 1], 8, &code).arg(out).run(&mut gpu).unwrap();
        assert_eq!(gpu.read::<u32>(out, 1)[0], want, "direction {direction}");
    }
}

#[test]
fn a_spinning_kernel_yields_and_sees_the_host() {
    let mut gpu = Gpu::new();
    // s_load_dword s2, s[0:1], 0; s_cmp_eq_u32 s2, 0; s_cbranch_scc1 back; s_endpgm
    let code = [0xc002_0080, 0, 0xbf06_8002, 0xbf85_fffc, ENDPGM];
    let dispatch = kernel(&mut gpu, 64, [RSRC1, 2 << 1], 8, &code).arg(0u32);
    let launch = dispatch.launch(&mut gpu).unwrap();
    let mut group = Workgroup::new(&launch, [0; 3], Placement::default());
    let mut cache = CodeCache::default();
    for _ in 0..10 {
        assert_eq!(group.run(&launch, &gpu.space, &mut cache, &|| 0, 1000), Progress::Yielded);
    }
    gpu.write(launch.kernarg(), &[1]);
    assert_eq!(group.run(&launch, &gpu.space, &mut cache, &|| 0, 1000), Progress::Done);
    assert!(group.stats().smem > 2000);
}

#[test]
fn overwritten_and_unmapped_code_is_noticed() {
    let mut gpu = Gpu::new();
    // v_mov_b32 v1, 1; store; the constant is then changed in place.
    let program = |constant: u32| {
        let mut code = vec![0xc006_0000, 0, 0x7e02_0280 + constant];
        code.extend(store(1));
        code.push(ENDPGM);
        code
    };
    let out = gpu.alloc(256);
    let dispatch = kernel(&mut gpu, 64, [RSRC1, 2 << 1], 8, &program(1)).arg(out);
    let launch = dispatch.launch(&mut gpu).unwrap();
    let mut cache = CodeCache::default();
    let run = |gpu: &Gpu, cache: &mut CodeCache| {
        isa_support::run_launch(&launch, &gpu.space, cache, Placement::default())
    };
    run(&gpu, &mut cache).unwrap();
    assert_eq!(gpu.read::<u32>(out, 1), [1]);
    let word = 0x7e02_0280u32 + 7;
    gpu.write(dispatch.kernel_object + 64 + 8, &word.to_le_bytes());
    run(&gpu, &mut cache).unwrap();
    assert_eq!(gpu.read::<u32>(out, 1), [7]);
    gpu.space.unmap(dispatch.kernel_object, 4096);
    let fault = run(&gpu, &mut cache).unwrap_err();
    assert!(matches!(fault, ExecFault::Memory { fault, .. } if fault.access == Access::Execute));
}

#[test]
fn code_must_be_executable_and_stores_need_writable_memory() {
    let mut gpu = Gpu::new();
    let mut code = vec![0xc006_0000, 0];
    code.extend(store(0));
    code.push(ENDPGM);
    let mut memory = vec![0u64; 64];
    let span = Span {
        va: 0x5000,
        len: 512,
        host: memory.as_mut_ptr().cast(),
        memory: MemoryKind::Host,
        writable: false,
        executable: false,
    };
    // SAFETY: the vector outlives the address space's use.
    unsafe { gpu.space.map(span) };
    let dispatch = kernel(&mut gpu, 64, [RSRC1, 2 << 1], 8, &code).arg(0x5000u64);
    let fault = dispatch.run(&mut gpu).unwrap_err();
    assert!(
        matches!(fault, ExecFault::Memory { fault, .. } if fault.access == Access::Write && fault.va == 0x5000)
    );
    let unexecutable = Dispatch { kernel_object: 0x5000, ..dispatch };
    assert!(matches!(unexecutable.launch(&mut gpu), Err(LaunchError::Descriptor(_))));
    assert_ne!(LDS_APERTURE, SCRATCH_APERTURE);
    let _: fn(&Launch) -> u32 = Launch::lds_bytes;
}
