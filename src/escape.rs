//! Text as the formats of others want it: workflow commands here, XML and URI references with the reports.

pub(crate) use portreeve_reports::escape::{uri, xml};

/// The message of a workflow command (`::error::message`).
pub(crate) fn workflow_message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command (`file=…`).
pub(crate) fn workflow_property(text: &str) -> String {
    workflow_message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text() {
        assert_eq!(workflow_message("50%\n::error::x"), "50%25%0A::error::x");
        assert_eq!(workflow_property("a:b,c"), "a%3Ab%2Cc");
    }
}
