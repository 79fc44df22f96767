//! Which memory model the device has.

use std::str::FromStr;

/// How the GPU's caches behave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemoryModel {
    /// There are none: every write is seen at once, and a missing fence never shows.
    #[default]
    Coherent,
    /// They hide writes until a release, and what a kernel has read may be served again until an acquire. What runs on AMD's
    /// hardware runs on this.
    Caches,
    /// As [`MemoryModel::Caches`]; and VRAM that a DMA engine writes counts as read before, so that it is old until a system
    /// acquire, as the HSA memory model has it. HIP 5 leaves that acquire out before memory that was not used since an earlier
    /// one.
    Strict,
}

/// A name that is not one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a memory model: expected \"coherent\", \"caches\" or \"strict\"")]
pub struct UnknownModel(String);

impl FromStr for MemoryModel {
    type Err = UnknownModel;

    fn from_str(name: &str) -> Result<Self, UnknownModel> {
        match name {
            "coherent" => Ok(Self::Coherent),
            "caches" => Ok(Self::Caches),
            "strict" => Ok(Self::Strict),
            _ => Err(UnknownModel(name.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_names() {
        assert_eq!("strict".parse(), Ok(MemoryModel::Strict));
        assert_eq!("caches".parse(), Ok(MemoryModel::Caches));
        assert_eq!("coherent".parse(), Ok(MemoryModel::Coherent));
        let error = "Strict".parse::<MemoryModel>().unwrap_err().to_string();
        assert!(error.contains("\"Strict\" is not a memory model"), "{error}");
    }
}
