//! An error with what caused it, as people read it.

use std::error::Error;

/// The message of `error` and of each of its sources, without those that the one before repeats.
#[must_use]
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut causes = vec![error.to_string()];
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if causes.last().is_some_and(|last| !last.ends_with(&text)) {
            causes.push(text);
        }
        source = error.source();
    }
    causes
}

/// As [`causes`], in one line: `cannot read x: permission denied`.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    causes(error).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Told {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    #[test]
    fn what_the_message_before_repeats_is_told_once() {
        let error = ["it is full", "disk: it is full", "cannot write"]
            .into_iter()
            .fold(None, |source, text| Some(Box::new(Told { text, source })))
            .unwrap();
        assert_eq!(causes(&*error), ["cannot write", "disk: it is full"]);
        assert_eq!(with_causes(&*error), "cannot write: disk: it is full");
    }
}
