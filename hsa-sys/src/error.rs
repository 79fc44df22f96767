//! Why ROCr could not be loaded: every place tried, with what was wrong there.

use std::fmt;
use std::path::{Path, PathBuf};

/// ROCr could not be loaded. Its text names each place tried, what was wrong there, and what to install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    attempts: Vec<Attempt>,
}

/// One place that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was asked of the dynamic loader: a path, or a bare file name that the loader searches for.
    pub library: PathBuf,
    /// Where `library` came from, for people: an environment variable, the loader's own search, a fixed folder.
    pub source: &'static str,
    /// What was wrong with it.
    pub problem: Problem,
}

/// What was wrong with one place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The dynamic loader did not open it; its own words.
    NotOpened(String),
    /// It was opened, but is no ROCr that this crate can use.
    MissingSymbols {
        /// The file that the loader found.
        file: PathBuf,
        /// Every required function that the file lacks.
        symbols: Vec<&'static str>,
    },
}

impl LoadError {
    pub(crate) fn new(attempts: Vec<Attempt>) -> Self {
        LoadError { attempts }
    }

    /// The places tried, in the order of the search.
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// Whether some place held a library, but one that lacks required functions.
    pub fn found_unusable_library(&self) -> bool {
        self.attempts.iter().any(|a| matches!(a.problem, Problem::MissingSymbols { .. }))
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no usable HSA runtime (ROCr, libhsa-runtime64.so.1); tried:")?;
        for Attempt { library, source, problem } in &self.attempts {
            write!(f, "\n  {} ({source}): ", Path::display(library))?;
            match problem {
                Problem::NotOpened(reason) => f.write_str(reason)?,
                Problem::MissingSymbols { file, symbols } => {
                    write!(f, "{} lacks {}", file.display(), symbols.join(", "))?;
                }
            }
        }
        f.write_str(if self.found_unusable_library() {
            "\nROCr 5.2 or later is needed: Debian 12 and Ubuntu 24.04 have it as the package libhsa-runtime64-1, \
             ROCm under /opt/rocm"
        } else {
            "\ninstall it (Debian 12, Ubuntu 24.04: apt-get install libhsa-runtime64-1; or ROCm under /opt/rocm), \
             or set ECLIP_HSA_LIBRARY to the file"
        })
    }
}

impl std::error::Error for LoadError {}
