//! Which headers the bindings are made from, and whether those found are the pinned ones.
//!
//! The pin is Debian 12's `libhsa-runtime-dev` 5.2.3. Its headers carry no version macro, so they are recognised by a
//! digest of their bytes: other headers give other bindings, and a difference would then say nothing.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// What the pinned headers are called in messages.
pub const PINNED_VERSION: &str = "Debian 12's libhsa-runtime-dev 5.2.3";

/// The folder that distributions put the headers in.
pub const DEFAULT_DIR: &str = "/usr/include/hsa";

/// Headers that are read, directly or included, in the order of the digest.
const FILES: &[&str] = &[
    "hsa.h",
    "hsa_ext_image.h",
    "hsa_ext_amd.h",
    "hsa_ven_amd_loader.h",
    "amd_hsa_common.h",
    "amd_hsa_queue.h",
    "amd_hsa_signal.h",
];

/// Headers named by the generator's own input; the rest of [`FILES`] comes with them.
pub const INCLUDED: &[&str] =
    &["hsa.h", "hsa_ext_amd.h", "hsa_ven_amd_loader.h", "amd_hsa_queue.h", "amd_hsa_signal.h"];

/// Digest of the pinned headers: 64-bit FNV-1a over the bytes of [`FILES`].
const PINNED_DIGEST: u64 = 0x3757_4a2c_7654_dcc2;

/// What a folder holds.
pub enum Found {
    /// The pinned headers.
    Pinned,
    /// A complete set of other headers.
    Other {
        /// Their digest, to compare with the pinned one.
        digest: u64,
    },
    /// Not all the headers; the text names the first that is missing.
    Missing(String),
}

/// Looks at the headers in `dir`. An error names the file that could not be read.
pub fn look(dir: &Path) -> Result<Found, String> {
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for name in FILES {
        let path = dir.join(name);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Ok(Found::Missing(format!("{} does not exist", path.display())));
            }
            Err(e) => return Err(format!("cannot read {}: {e}", path.display())),
        };
        digest = bytes.iter().fold(digest, |d, &b| (d ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    }
    Ok(if digest == PINNED_DIGEST { Found::Pinned } else { Found::Other { digest } })
}
