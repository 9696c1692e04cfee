//! The scribe: an assessment as HTML, Markdown and JSON. It renders and computes nothing.
