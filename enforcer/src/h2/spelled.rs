//! The head of an answer, spelled from where it lies: no map of it is made.

use http::StatusCode;

use crate::h1::buffer;
use crate::h1::write;
use crate::h2::hpack;
use crate::head::{Field, Fields};

/// A head as it is written, without the frame that carries it.
#[derive(Debug)]
pub struct Spelled {
    /// Its status.
    pub status: StatusCode,
    fields: Vec<u8>,
}

impl Spelled {
    /// The lines that a service's answer has and its caller gets, with the date where it has none.
    #[must_use]
    pub fn of(status: StatusCode, fields: &Fields<'_>, goes_on: impl Fn(&Field<'_>) -> bool) -> Self {
        let mut spelled = Self { status, fields: buffer::spare() };
        let mut dated = false;
        for field in fields.iter().filter(|field| goes_on(field)) {
            dated |= field.is("date");
            spelled.push(field.name, field.value);
        }
        if !dated {
            write::with_date(|date| hpack::write_field(&mut spelled.fields, b"date", date, false));
        }
        spelled
    }

    /// Adds a line.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        hpack::write_field(&mut self.fields, name.as_bytes(), value, false);
    }

    /// Writes it.
    pub fn write(self, out: &mut Vec<u8>) {
        hpack::write_status(out, self.status.as_u16());
        out.extend_from_slice(&self.fields);
        buffer::hand_back(self.fields);
    }
}
