//! The instruction decoder of the simulated GPU: no bytes make it or the printer panic, and what it says of words depends on no
//! others.

use kfd_sim::isa::decode;

/// Reads the input as code, one instruction after the other, and at every word.
pub fn decode(data: &[u8]) {
    let words: Vec<u32> = data
        .chunks(4)
        .map(|bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            u32::from_le_bytes(word)
        })
        .collect();
    for at in 0..words.len() {
        let rest = &words[at..];
        let inst = match decode::decode(rest) {
            Ok(inst) => inst,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let count = usize::from(inst.size) / 4;
        assert!(matches!(inst.size, 4 | 8) && count <= rest.len(), "{inst:?}");
        assert_eq!(inst.words[..count], rest[..count]);
        assert!(inst.vgprs <= 256, "{inst:?}");
        let text = inst.to_string();
        assert!(text.len() > 3 && text.is_ascii(), "{text}");
        assert_eq!(decode::decode(&rest[..count]).as_ref(), Ok(&inst), "{text} reads what lies behind it");
        if count == 2 {
            assert!(decode::decode(&rest[..1]).is_err(), "{text} does not need its second word");
        }
    }
}
