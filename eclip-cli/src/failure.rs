//! Errors as one text with their causes.

use std::io;

/// The error and what caused it. Causes that an error's own text tells already are not repeated.
pub fn text(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Whether the reader of our output went away.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_are_told_once() {
        let plain = anyhow!("no such file").context("cannot read a.co").context("loading kernels");
        assert_eq!(text(&plain), "loading kernels: cannot read a.co: no such file");
        let telling = anyhow!("no such file").context("cannot read a.co: no such file");
        assert_eq!(text(&telling), "cannot read a.co: no such file");
    }

    #[test]
    fn only_a_broken_pipe_is_one() {
        assert!(is_broken_pipe(&io::Error::from(io::ErrorKind::BrokenPipe).into()));
        assert!(!is_broken_pipe(&io::Error::from(io::ErrorKind::NotFound).into()));
        assert!(!is_broken_pipe(&anyhow!("broken pipe")));
    }
}
