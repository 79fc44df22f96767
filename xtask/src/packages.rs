//! What the commands need from the distribution, what it is for, and which package has it where. Pure data.

use std::fmt::Write;

/// One thing that a command needs on the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Rocr,
    HsaHeaders,
    Clang,
    Lld,
    Llvm,
    Libclang,
    Rocminfo,
    Hip,
    HipHeaders,
    Rocrand,
    Valgrind,
    Clang14,
    Clang19,
    Lld19,
    HashcatKernels,
}

impl Need {
    /// What it is, and what for.
    pub fn why(self) -> &'static str {
        match self {
            Need::Rocr => "ROCr, AMD's HSA runtime (libhsa-runtime64.so.1): everything here runs on it",
            Need::HsaHeaders => "the HSA headers: hsa-sys's bindings are compared with them",
            Need::Clang => "clang with the AMDGPU target: the GPU kernels are compiled from their sources",
            Need::Lld => "ld.lld: links the GPU kernels",
            Need::Llvm => {
                "llvm-mc and llvm-objcopy: assembler that the instruction decoder is tested against"
            }
            Need::Libclang => "libclang: bindgen reads the HSA headers with it",
            Need::Rocminfo => "rocminfo: an unmodified program that must see the simulated GPU",
            Need::Hip => "the HIP runtime (libamdhip64.so.5): an unmodified HIP program is one of the tests",
            Need::HipHeaders => "the HIP headers: HIP programs in C are compiled and run",
            Need::Rocrand => {
                "rocRAND (librocrand.so.1): a library of AMD's kernels that must give its known results"
            }
            Need::Valgrind => "valgrind: callgrind counts the instructions that submitting a packet takes",
            Need::Clang14 => "clang 14: one of the compilers whose code the interpreter is tested with",
            Need::Clang19 => "clang 19: the other one",
            Need::Lld19 => "the linker of clang 19",
            Need::HashcatKernels => {
                "hashcat's OpenCL kernels: programs that others wrote, run on the interpreter against known digests"
            }
        }
    }

    /// The package that has it.
    fn package(self, distribution: Supported) -> &'static str {
        match self {
            Need::Rocr => "libhsa-runtime64-1",
            Need::HsaHeaders => "libhsa-runtime-dev",
            Need::Clang => "clang",
            Need::Lld => "lld",
            Need::Llvm => "llvm",
            Need::Libclang => match distribution {
                Supported::Debian12 => "libclang1-14",
                Supported::Ubuntu2404 => "libclang1-18",
            },
            Need::Rocminfo => "rocminfo",
            Need::Hip => "libamdhip64-5",
            Need::HipHeaders => "libamdhip64-dev",
            Need::Rocrand => "librocrand1",
            Need::Valgrind => "valgrind",
            Need::Clang14 => "clang-14",
            Need::Clang19 => "clang-19",
            Need::Lld19 => "lld-19",
            Need::HashcatKernels => "hashcat-data",
        }
    }
}

/// A distribution whose package names are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Supported {
    Debian12,
    Ubuntu2404,
}

/// The distribution that the machine runs, from `/etc/os-release`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// Its name for people.
    pub name: String,
    /// Which one it is, if its package names are known.
    pub supported: Option<Supported>,
}

impl Distribution {
    /// Reads the text of `os-release`.
    pub fn parse(os_release: &str) -> Distribution {
        let field = |key: &str| {
            os_release
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(|value| value.trim().trim_matches(['"', '\'']))
                .filter(|value| !value.is_empty())
        };
        let supported = match (field("ID"), field("VERSION_ID")) {
            (Some("debian"), Some("12")) => Some(Supported::Debian12),
            (Some("ubuntu"), Some("24.04")) => Some(Supported::Ubuntu2404),
            _ => None,
        };
        let name = field("PRETTY_NAME").or(field("NAME")).unwrap_or("an unknown distribution").to_owned();
        Distribution { name, supported }
    }
}

/// What to do about the things that are missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Packages to install, in the order of the needs; empty on a distribution that is not known.
    pub packages: Vec<&'static str>,
    /// The text for people: each thing missing, and what it is for.
    pub explanation: String,
}

/// Chooses the packages for `missing`, which is not empty, on `distribution`.
pub fn plan(missing: &[Need], distribution: &Distribution) -> Plan {
    let mut explanation = String::new();
    let mut packages = Vec::new();
    for need in missing {
        let package = match distribution.supported {
            Some(supported) => {
                packages.push(need.package(supported));
                need.package(supported)
            }
            None => "-",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(explanation, "  {package:<20} {}", need.why());
    }
    if distribution.supported.is_none() {
        let debian: Vec<_> = missing.iter().map(|n| n.package(Supported::Debian12)).collect();
        let _ = write!(
            explanation,
            "Package names are known for Debian 12 and Ubuntu 24.04 only, and this is {}.\n\
             Install what corresponds to Debian 12's: {}",
            distribution.name,
            debian.join(" ")
        );
    }
    Plan { packages, explanation: explanation.trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\n\
                          VERSION_ID=\"12\"\nVERSION=\"12 (bookworm)\"\nID=debian\n";
    const UBUNTU: &str = "PRETTY_NAME=\"Ubuntu 24.04.1 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\n\
                          ID=ubuntu\nID_LIKE=debian\n";

    #[test]
    fn distributions() {
        let debian = Distribution::parse(DEBIAN);
        assert_eq!(debian.supported, Some(Supported::Debian12));
        assert_eq!(debian.name, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(Distribution::parse(UBUNTU).supported, Some(Supported::Ubuntu2404));
        for other in
            ["ID=debian\nVERSION_ID=\"13\"", "ID=fedora\nVERSION_ID=41\nID_LIKE=debian", "", "VERSION_ID=12"]
        {
            assert_eq!(Distribution::parse(other).supported, None, "{other}");
        }
        assert_eq!(Distribution::parse("").name, "an unknown distribution");
    }

    #[test]
    fn packages_differ_where_the_distributions_do() {
        let missing = [Need::Rocr, Need::Libclang];
        let debian = plan(&missing, &Distribution::parse(DEBIAN));
        assert_eq!(debian.packages, ["libhsa-runtime64-1", "libclang1-14"]);
        let ubuntu = plan(&missing, &Distribution::parse(UBUNTU));
        assert_eq!(ubuntu.packages, ["libhsa-runtime64-1", "libclang1-18"]);
    }

    #[test]
    fn each_missing_thing_is_explained() {
        let missing = [Need::Clang, Need::Hip];
        let plan = plan(&missing, &Distribution::parse(DEBIAN));
        for need in missing {
            assert!(plan.explanation.contains(need.why()), "{}", plan.explanation);
        }
        assert_eq!(plan.explanation.lines().count(), 2);
    }

    #[test]
    fn unknown_distribution_gets_names_but_no_packages() {
        let plan = plan(&[Need::Rocr], &Distribution::parse("ID=arch\nNAME=\"Arch Linux\"\n"));
        assert!(plan.packages.is_empty());
        assert!(plan.explanation.contains("Arch Linux") && plan.explanation.contains("libhsa-runtime64-1"));
    }
}
