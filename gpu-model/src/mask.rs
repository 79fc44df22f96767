//! Which CUs a queue may use. Pure data; CUs are numbered shader engine by shader engine.

use std::sync::Arc;

use crate::device::Device;
use crate::error::ModelError;

/// CUs of one device, per shader engine. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// For each shader engine with any: its enabled CUs, in order.
    engines: Arc<[Vec<u16>]>,
    cus: Arc<[u16]>,
    /// One bit a CU.
    bits: Arc<[u64]>,
}

impl Mask {
    /// All CUs.
    pub fn full(device: &Device) -> Self {
        Self::from_cus(device, 0..device.cus()).expect("a device has CUs")
    }

    /// CUs by number: `shader engine x CUs per engine + CU`.
    pub fn from_cus(device: &Device, cus: impl IntoIterator<Item = usize>) -> Result<Self, ModelError> {
        let per_se = device.shape.cus_per_se.value as usize;
        let mut bits = vec![0u64; device.cus().div_ceil(64)];
        for cu in cus {
            if cu >= device.cus() {
                let what = format!("{} has CUs 0 to {}", device.name, device.cus() - 1);
                return Err(ModelError::Mask { mask: format!("CU {cu}"), what });
            }
            bits[cu / 64] |= 1 << (cu % 64);
        }
        let enabled: Vec<u16> =
            (0..device.cus()).filter(|&cu| bits[cu / 64] >> (cu % 64) & 1 == 1).map(|cu| cu as u16).collect();
        if enabled.is_empty() {
            let what = "enables no CU: the queue would hang".to_owned();
            return Err(ModelError::Mask { mask: "0".to_owned(), what });
        }
        let engines: Vec<Vec<u16>> = enabled
            .chunk_by(|a, b| *a as usize / per_se == *b as usize / per_se)
            .map(<[u16]>::to_vec)
            .collect();
        Ok(Self { engines: engines.into(), cus: enabled.into(), bits: bits.into() })
    }

    /// Mask bits in KFD's order, as words of 32 bits: bit i is CU i / SEs of shader engine i % SEs
    /// (`mqd_symmetrically_map_cu_mask` in the amdkfd driver; one array per engine, none harvested).
    pub fn from_kfd_bits(device: &Device, words: &[u32]) -> Result<Self, ModelError> {
        let (ses, per_se) =
            (device.shape.shader_engines.value as usize, device.shape.cus_per_se.value as usize);
        let bits = (0..words.len() * 32).filter(|i| words[i / 32] >> (i % 32) & 1 == 1);
        // The driver drops bits past the active CUs.
        let cus = bits.filter(|i| i / ses < per_se).map(|i| i % ses * per_se + i / ses);
        Self::from_cus(device, cus)
    }

    /// `0x...` in KFD's bit order; `se0,se2` for whole shader engines; `0-39,64` for CU numbers; `all`.
    pub fn parse(device: &Device, text: &str) -> Result<Self, ModelError> {
        let wrong = |what: &str| ModelError::Mask { mask: text.to_owned(), what: what.to_owned() };
        let per_se = device.shape.cus_per_se.value as usize;
        if text == "all" {
            return Ok(Self::full(device));
        }
        if let Some(hex) = text.strip_prefix("0x") {
            let mut words = Vec::new();
            for chunk in hex.as_bytes().rchunks(8) {
                let chunk = str::from_utf8(chunk).map_err(|_| wrong("not hexadecimal"))?;
                words.push(u32::from_str_radix(chunk, 16).map_err(|_| wrong("not hexadecimal"))?);
            }
            return Self::from_kfd_bits(device, &words);
        }
        let form = "write all, 0x... (KFD's bit order), se0,se2 or CU numbers such as 0-39,64";
        let mut cus = Vec::new();
        for part in text.split(',').map(str::trim) {
            if let Some(se) = part.strip_prefix("se") {
                let se: usize = se.parse().map_err(|_| wrong(form))?;
                if se >= device.shape.shader_engines.value as usize {
                    return Err(wrong("no such shader engine"));
                }
                cus.extend(se * per_se..(se + 1) * per_se);
                continue;
            }
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: usize = first.trim().parse().map_err(|_| wrong(form))?;
            let last: usize = last.trim().parse().map_err(|_| wrong(form))?;
            if first > last || last >= device.cus() {
                return Err(wrong("no such CUs on this device"));
            }
            cus.extend(first..=last);
        }
        Self::from_cus(device, cus)
    }

    /// Enabled CUs.
    pub fn cus(&self) -> &[u16] {
        &self.cus
    }

    /// Enabled CUs of each shader engine that has any.
    pub fn engines(&self) -> &[Vec<u16>] {
        &self.engines
    }

    /// Whether the two have a CU in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.bits.iter().zip(other.bits.iter()).any(|(a, b)| a & b != 0)
    }

    /// Whether `cu` is enabled.
    pub fn contains(&self, cu: usize) -> bool {
        self.bits.get(cu / 64).is_some_and(|word| word >> (cu % 64) & 1 == 1)
    }

    /// Whether all enabled engines have equally many CUs enabled.
    pub fn is_balanced(&self) -> bool {
        self.engines.iter().all(|engine| engine.len() == self.engines[0].len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kfd_bits_go_over_the_engines_first() {
        let device = Device::mi50();
        assert_eq!(Mask::parse(&device, "0x1f").unwrap().cus(), [0, 1, 15, 30, 45]);
        assert_eq!(Mask::parse(&device, "0x111111111111111").unwrap(), Mask::parse(&device, "se0").unwrap());
        assert_eq!(Mask::parse(&device, "0xfffffffffffffff").unwrap(), Mask::full(&device));
    }

    #[test]
    fn forms_agree_and_wrong_ones_are_refused() {
        let device = Device::mi50();
        assert_eq!(Mask::parse(&device, "0-14, 30-44").unwrap(), Mask::parse(&device, "se0,se2").unwrap());
        for wrong in ["", "0x", "0xg", "se4", "60", "5-3", "0x0", "se"] {
            assert!(Mask::parse(&device, wrong).is_err(), "{wrong:?}");
        }
        assert!(Mask::parse(&device, "se0,se2").unwrap().is_balanced());
        assert!(!Mask::parse(&device, "se0,15").unwrap().is_balanced());
    }
}
