//! ISA names (target ids): which code runs on which agent.
//!
//! Processor numbers, flags and the rules for XNACK and SRAMECC are those of LLVM's "User Guide for AMDGPU Backend":
//! sections "Processors", "Target ID" and "ELF header e_flags".

use std::fmt;
use std::str::FromStr;

/// A setting that code may depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Feature {
    /// The processor does not have it.
    Unsupported,
    /// Code that runs with either setting.
    Any,
    /// Code for the setting off; an agent with it off.
    Off,
    /// Code for the setting on; an agent with it on.
    On,
}

/// Processor and features: of code, what it needs; of an agent, what it is.
///
/// Shown and parsed as a target id, `gfx906:sramecc+:xnack-`; parsing also takes HSA's form,
/// `amdgcn-amd-amdhsa--gfx906:sramecc+:xnack-`. A feature that is not named is [`Any`](Feature::Any), or
/// [`Unsupported`](Feature::Unsupported) if the processor is known not to have it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IsaName {
    /// `gfx906` and the like.
    pub processor: String,
    /// SRAM error correction.
    pub sramecc: Feature,
    /// Retry after page faults.
    pub xnack: Feature,
}

/// Why code does not run on an agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another processor.
    #[error("the code is for {code}, the GPU is a {agent}: compile with -mcpu={}", agent.processor)]
    Processor {
        /// What the code needs.
        code: Box<IsaName>,
        /// What the agent is.
        agent: Box<IsaName>,
    },
    /// The same processor with another setting.
    #[error("the code is for {code}, the GPU runs as {agent}: {feature} differs; compile for {} without :{feature}+ or :{feature}-, or change the GPU's setting", code.processor)]
    Feature {
        /// `sramecc` or `xnack`.
        feature: &'static str,
        /// What the code needs.
        code: Box<IsaName>,
        /// What the agent is.
        agent: Box<IsaName>,
    },
}

/// A text that is no ISA name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no ISA name such as gfx906:sramecc+:xnack- ({problem})", super::error::Short(text))]
pub struct ParseIsaNameError {
    text: String,
    problem: &'static str,
}

/// Number in `e_flags`, name, has SRAMECC, has XNACK.
const PROCESSORS: &[(u8, &str, bool, bool)] = &[
    (0x20, "gfx600", false, false),
    (0x21, "gfx601", false, false),
    (0x22, "gfx700", false, false),
    (0x23, "gfx701", false, false),
    (0x24, "gfx702", false, false),
    (0x25, "gfx703", false, false),
    (0x26, "gfx704", false, false),
    (0x28, "gfx801", false, true),
    (0x29, "gfx802", false, false),
    (0x2a, "gfx803", false, false),
    (0x2b, "gfx810", false, true),
    (0x2c, "gfx900", false, true),
    (0x2d, "gfx902", false, true),
    (0x2e, "gfx904", false, true),
    (0x2f, "gfx906", true, true),
    (0x30, "gfx908", true, true),
    (0x31, "gfx909", false, true),
    (0x32, "gfx90c", false, true),
    (0x33, "gfx1010", false, true),
    (0x34, "gfx1011", false, true),
    (0x35, "gfx1012", false, true),
    (0x36, "gfx1030", false, false),
    (0x37, "gfx1031", false, false),
    (0x38, "gfx1032", false, false),
    (0x39, "gfx1033", false, false),
    (0x3a, "gfx602", false, false),
    (0x3b, "gfx705", false, false),
    (0x3c, "gfx805", false, false),
    (0x3d, "gfx1035", false, false),
    (0x3e, "gfx1034", false, false),
    (0x3f, "gfx90a", true, true),
    (0x40, "gfx940", true, true),
    (0x41, "gfx1100", false, false),
    (0x42, "gfx1013", false, true),
    (0x43, "gfx1150", false, false),
    (0x44, "gfx1103", false, false),
    (0x45, "gfx1036", false, false),
    (0x46, "gfx1101", false, false),
    (0x47, "gfx1102", false, false),
    (0x48, "gfx1200", false, false),
    (0x4a, "gfx1151", false, false),
    (0x4b, "gfx941", true, true),
    (0x4c, "gfx942", true, true),
    (0x4e, "gfx1201", false, false),
    (0x4f, "gfx950", true, true),
    (0x55, "gfx1152", false, false),
    (0x58, "gfx1153", false, false),
];

impl IsaName {
    /// The generation: 9 for `gfx906` and `gfx90a`, 10 for `gfx1030`; 0 if the processor is not called so.
    pub fn gfx_major(&self) -> u32 {
        // The last two characters are minor version and stepping, in hexadecimal.
        let digits =
            self.processor.strip_prefix("gfx").and_then(|rest| rest.get(..rest.len().checked_sub(2)?));
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
    }

    /// The ISA that `e_flags` of a code object of this version (3 and newer) stand for; `None` if it is not known.
    pub(super) fn from_flags(flags: u32, version: u8) -> Option<IsaName> {
        let (_, name, has_sramecc, has_xnack) = PROCESSORS.iter().find(|p| u32::from(p.0) == flags & 0xff)?;
        // Version 3 has one bit for each feature, newer ones have two.
        let feature = |on: bool, has: bool, bits: u32| match (version, bits) {
            (3, _) if on => Feature::On,
            (3, _) if has => Feature::Off,
            (3, _) | (_, 0) => Feature::Unsupported,
            (_, 1) => Feature::Any,
            (_, 2) => Feature::Off,
            _ => Feature::On,
        };
        Some(IsaName {
            processor: (*name).to_owned(),
            sramecc: feature(flags & 0x200 != 0, *has_sramecc, flags >> 10 & 3),
            xnack: feature(flags & 0x100 != 0, *has_xnack, flags >> 8 & 3),
        })
    }

    /// Whether code for this ISA runs on an agent of that one.
    ///
    /// The processor must be the same; a feature that the code wants on or off must be so on the agent.
    ///
    /// # Errors
    /// [`Mismatch`] says what differs and what to do.
    pub fn runs_on(&self, agent: &IsaName) -> Result<(), Mismatch> {
        let both = || (Box::new(self.clone()), Box::new(agent.clone()));
        if self.processor != agent.processor {
            let (code, agent) = both();
            return Err(Mismatch::Processor { code, agent });
        }
        for (feature, wanted, is) in
            [("sramecc", self.sramecc, agent.sramecc), ("xnack", self.xnack, agent.xnack)]
        {
            if matches!(wanted, Feature::On | Feature::Off) && wanted != is {
                let (code, agent) = both();
                return Err(Mismatch::Feature { feature, code, agent });
            }
        }
        Ok(())
    }
}

impl FromStr for IsaName {
    type Err = ParseIsaNameError;

    fn from_str(text: &str) -> Result<IsaName, ParseIsaNameError> {
        let error = |problem| ParseIsaNameError { text: text.to_owned(), problem };
        // "amdgcn-amd-amdhsa-<environment, mostly empty>-<target id>"
        let target = match text.strip_prefix("amdgcn-amd-amdhsa-") {
            Some(rest) => rest.split_once('-').ok_or(error("no processor after the triple"))?.1,
            None => text,
        };
        let mut parts = target.split(':');
        let processor = parts.next().unwrap_or_default();
        let digits = processor.strip_prefix("gfx").ok_or(error("the processor does not begin with gfx"))?;
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(error("the processor is not gfx and letters or digits"));
        }
        let known = PROCESSORS.iter().find(|p| p.1 == processor);
        let unnamed = |has: bool| if has { Feature::Any } else { Feature::Unsupported };
        let mut isa = IsaName {
            processor: processor.to_owned(),
            sramecc: unnamed(known.is_none_or(|p| p.2)),
            xnack: unnamed(known.is_none_or(|p| p.3)),
        };
        for part in parts {
            let value = match part.as_bytes().last() {
                Some(b'+') => Feature::On,
                Some(b'-') => Feature::Off,
                _ => return Err(error("a feature ends in neither + nor -")),
            };
            let field = match &part[..part.len() - 1] {
                "sramecc" => &mut isa.sramecc,
                "xnack" => &mut isa.xnack,
                _ => return Err(error("a feature is neither sramecc nor xnack")),
            };
            match *field {
                Feature::Any => *field = value,
                Feature::Unsupported => return Err(error("the processor does not have a feature named")),
                Feature::On | Feature::Off => return Err(error("a feature is named twice")),
            }
        }
        Ok(isa)
    }
}

impl fmt::Display for IsaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.processor)?;
        for (name, feature) in [("sramecc", self.sramecc), ("xnack", self.xnack)] {
            match feature {
                Feature::On => write!(f, ":{name}+")?,
                Feature::Off => write!(f, ":{name}-")?,
                Feature::Any | Feature::Unsupported => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn isa(text: &str) -> IsaName {
        text.parse().unwrap()
    }

    #[test]
    fn parse_and_show() {
        for text in
            ["gfx906", "gfx906:sramecc+", "gfx906:sramecc+:xnack-", "gfx1010:xnack+", "gfx1030", "gfx12ff"]
        {
            assert_eq!(isa(text).to_string(), text);
            assert_eq!(isa(&format!("amdgcn-amd-amdhsa--{text}")), isa(text));
            assert_eq!(isa(&format!("amdgcn-amd-amdhsa-unknown-{text}")), isa(text));
        }
        assert_eq!(isa("gfx906").xnack, Feature::Any);
        assert_eq!(isa("gfx900").sramecc, Feature::Unsupported);
        assert_eq!(isa("gfx906:xnack-:sramecc+"), isa("gfx906:sramecc+:xnack-"));
    }

    #[test]
    fn texts_that_are_no_names() {
        for (text, problem) in [
            ("", "gfx"),
            ("gfx", "digits"),
            ("gfx 906", "digits"),
            ("amdgcn-amd-amdhsa-gfx906", "triple"),
            ("gfx906:", "neither"),
            ("gfx906:xnack", "neither"),
            ("gfx906:tso+", "neither"),
            ("gfx906:xnack+:xnack+", "twice"),
            ("gfx1030:xnack+", "does not have"),
            ("gfx906:xnäck+", "neither"),
            ("gfx906:ä", "neither"),
        ] {
            let error = text.parse::<IsaName>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn flags_of_version_3() {
        for (flags, name) in [
            (0x2f, "gfx906:sramecc-:xnack-"),
            (0x12f, "gfx906:sramecc-:xnack+"),
            (0x22f, "gfx906:sramecc+:xnack-"),
            (0x32f, "gfx906:sramecc+:xnack+"),
            (0x2c, "gfx900:xnack-"),
            (0x36, "gfx1030"),
        ] {
            assert_eq!(IsaName::from_flags(flags, 3), Some(isa(name)), "{flags:#x}");
        }
    }

    #[test]
    fn flags_of_versions_4_and_5() {
        for version in [4, 5] {
            for (flags, name) in [
                (0x52f, "gfx906"),
                (0x92f, "gfx906:sramecc-"),
                (0xe2f, "gfx906:sramecc+:xnack-"),
                (0x73f, "gfx90a:xnack+"),
                (0x12c, "gfx900"),
                (0x36, "gfx1030"),
            ] {
                assert_eq!(IsaName::from_flags(flags, version), Some(isa(name)), "{flags:#x}");
            }
        }
        assert_eq!(IsaName::from_flags(0, 4), None);
        assert_eq!(IsaName::from_flags(0xff, 4), None);
    }

    #[test]
    fn what_runs_where() {
        let agent = isa("gfx906:sramecc+:xnack-");
        for code in ["gfx906", "gfx906:sramecc+", "gfx906:xnack-", "gfx906:sramecc+:xnack-"] {
            assert_eq!(isa(code).runs_on(&agent), Ok(()), "{code}");
        }
        for (code, word) in [
            ("gfx908", "-mcpu=gfx906"),
            ("gfx906:sramecc-", "sramecc differs"),
            ("gfx906:xnack+", "xnack differs"),
            ("gfx906:sramecc+:xnack+", "xnack differs"),
        ] {
            let error = isa(code).runs_on(&agent).unwrap_err().to_string();
            assert!(error.contains(word), "{code}: {error}");
        }
        assert_eq!(isa("gfx1030").runs_on(&isa("gfx1030")), Ok(()));
        // An agent that does not say: code that insists does not run there.
        assert!(isa("gfx906:xnack+").runs_on(&isa("gfx906")).is_err());
    }

    #[test]
    fn table_has_no_duplicates() {
        for (i, a) in PROCESSORS.iter().enumerate() {
            assert!(PROCESSORS[i + 1..].iter().all(|b| a.0 != b.0 && a.1 != b.1), "{}", a.1);
        }
    }
}
