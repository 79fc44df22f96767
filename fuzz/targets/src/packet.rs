//! AQL packets: what is encoded decodes to the same, what decodes encodes to the same, and nothing else decodes.

use arbitrary::{Result, Unstructured};
use eclip_hsa::packet::{
    BARRIER_DEPENDENCIES, Barrier, FenceScope, Header, KernelDispatch, PACKET_DWORDS, Packet, PacketKind,
};

/// Reads the input as the fields of packets and as a packet of a ring.
pub fn packet(data: &[u8]) {
    let mut input = Unstructured::new(data);
    // Unstructured gives zeros when the input ends, so there is always something to check.
    let _ = from_fields(&mut input);
    let mut dwords = [0; PACKET_DWORDS];
    for (dword, bytes) in dwords.iter_mut().zip(data.chunks(4)) {
        let mut word = [0; 4];
        word[..bytes.len()].copy_from_slice(bytes);
        *dword = u32::from_le_bytes(word);
    }
    from_ring(dwords);
}

fn header(input: &mut Unstructured<'_>, kind: PacketKind) -> Result<Header> {
    let scopes = [FenceScope::None, FenceScope::Agent, FenceScope::System];
    Ok(Header {
        kind,
        barrier: input.arbitrary()?,
        acquire: *input.choose(&scopes)?,
        release: *input.choose(&scopes)?,
    })
}

fn from_fields(input: &mut Unstructured<'_>) -> Result<()> {
    let with = header(input, PacketKind::KernelDispatch)?;
    let fields = KernelDispatch {
        workgroup_size: input.arbitrary()?,
        grid_size: input.arbitrary()?,
        private_segment_size: input.arbitrary()?,
        group_segment_size: input.arbitrary()?,
        kernel_object: input.arbitrary()?,
        kernarg_address: input.arbitrary()?,
        completion_signal: input.arbitrary()?,
    };
    let packet = Packet::kernel_dispatch(with, &fields);
    assert_eq!(packet.header(), Some(with));
    assert_eq!(packet.as_kernel_dispatch(), Some(fields));
    assert_eq!(packet.as_barrier(), None);
    assert_eq!(packet.completion_signal(), fields.completion_signal);

    let kind = *input.choose(&[PacketKind::BarrierAnd, PacketKind::BarrierOr])?;
    let with = header(input, kind)?;
    let dependencies: [u64; BARRIER_DEPENDENCIES] = input.arbitrary()?;
    let fields = Barrier { dependencies, completion_signal: input.arbitrary()? };
    let packet = Packet::barrier(with, &fields);
    assert_eq!(packet.header(), Some(with));
    assert_eq!(packet.as_barrier(), Some(fields));
    assert_eq!(packet.as_kernel_dispatch(), None);
    Ok(())
}

fn from_ring(dwords: [u32; PACKET_DWORDS]) {
    let packet = Packet::from_dwords(dwords);
    assert_eq!(*packet.dwords(), dwords);
    assert!(!format!("{packet:?}").is_empty());
    let Some(header) = packet.header() else {
        assert_eq!((packet.as_kernel_dispatch(), packet.as_barrier()), (None, None));
        let bits = dwords[0] as u16;
        assert!(bits & 0xff > 5 || bits >> 9 & 3 == 3 || bits >> 11 & 3 == 3, "{bits:#x} is a header");
        return;
    };
    // The three highest bits are reserved.
    assert_eq!(header.bits(), dwords[0] as u16 & 0x1fff);
    let (kernel, barrier) = (packet.as_kernel_dispatch(), packet.as_barrier());
    assert_eq!(kernel.is_some(), header.kind == PacketKind::KernelDispatch);
    assert_eq!(barrier.is_some(), matches!(header.kind, PacketKind::BarrierAnd | PacketKind::BarrierOr));
    if let Some(fields) = kernel {
        let again = Packet::kernel_dispatch(header, &fields);
        assert_eq!(again.as_kernel_dispatch(), Some(fields));
        // All but the reserved fields: bits of dwords 0 and 2, dwords 12 and 13. The dimensions follow from the grid.
        for (at, (&new, &old)) in again.dwords().iter().zip(&dwords).enumerate() {
            match at {
                0 => assert!((1..=3).contains(&(new >> 16))),
                2 => assert_eq!(new, old & 0xffff),
                12 | 13 => assert_eq!(new, 0),
                _ => assert_eq!(new, old, "dword {at}"),
            }
        }
    }
    if let Some(fields) = barrier {
        let again = Packet::barrier(header, &fields);
        for (at, (&new, &old)) in again.dwords().iter().zip(&dwords).enumerate() {
            match at {
                0 => assert_eq!(new, old & 0x1fff),
                1 | 12 | 13 => assert_eq!(new, 0),
                _ => assert_eq!(new, old, "dword {at}"),
            }
        }
    }
    let mut changed = packet;
    changed.set_completion_signal(0x0123_4567_89ab_cdef);
    changed.set_header(Header::new(PacketKind::Invalid));
    assert_eq!(changed.completion_signal(), 0x0123_4567_89ab_cdef);
    assert_eq!(changed.dwords()[1..14], dwords[1..14]);
    assert_eq!(changed.dwords()[0], dwords[0] & 0xffff_0000 | 1);
}
