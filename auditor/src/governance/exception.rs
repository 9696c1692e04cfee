//! Exceptions: findings that somebody approved for a reason and until a day. They hide nothing; they lift the verdict.
//!
//! INVARIANT: an exception whose day is past, or is no day, waives nothing.

use portreeve_engine::model::Excepted;
use portreeve_engine::time::Date;
use portreeve_engine::{Authorizer, Location};

use crate::assessment::{Finding, Waiver};
use crate::governance::scope::names_control;

/// What is excepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waives {
    /// One finding, by its id.
    Finding(String),
    /// What a check finds, of one subject or of any.
    Check {
        /// The check.
        check: String,
        /// The subject of its finding; `None`: any.
        subject: Option<String>,
    },
    /// Whatever refutes this control.
    Control(String),
}

/// The last day of an exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// A day, still inside.
    Day(Date),
    /// What is no day, as written; such an exception has expired.
    Malformed(String),
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Its name.
    pub name: String,
    /// What is excepted.
    pub waives: Waives,
    /// Why.
    pub reason: String,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// Where it was discussed.
    pub ticket: Option<String>,
    /// Until when.
    pub until: Until,
    /// Where it is declared.
    pub at: Location,
}

impl Exception {
    /// Whether it still holds on this day; without a day to compare with, none does.
    #[must_use]
    pub fn holds(&self, today: Option<Date>) -> bool {
        match (&self.until, today) {
            (Until::Day(until), Some(today)) => today <= *until,
            _ => false,
        }
    }

    /// Whether it is about this finding, for any control.
    #[must_use]
    pub fn covers(&self, finding: &Finding) -> bool {
        match &self.waives {
            Waives::Finding(id) => finding.id == *id,
            Waives::Check { check, subject } => finding.check == *check && subject.as_ref().is_none_or(|s| finding.subject == *s),
            Waives::Control(_) => false,
        }
    }

    /// Whether it is about this control.
    #[must_use]
    pub fn covers_control(&self, catalog: &str, id: &str) -> bool {
        matches!(&self.waives, Waives::Control(name) if names_control(name, catalog, id))
    }

    /// As a finding shows it; `None` where it has no day.
    #[must_use]
    pub fn waiver(&self) -> Option<Waiver> {
        let Until::Day(until) = self.until else { return None };
        Some(Waiver { exception: self.name.clone(), reason: self.reason.clone(), approved_by: self.approved_by.clone(), until })
    }

    /// What it is about, in words.
    #[must_use]
    pub fn subject(&self) -> String {
        match &self.waives {
            Waives::Finding(id) => format!("finding {id}"),
            Waives::Check { check, subject: None } => format!("check {check}"),
            Waives::Check { check, subject: Some(subject) } => format!("check {check} of {subject}"),
            Waives::Control(control) => format!("control {control}"),
        }
    }

    /// The day as written.
    #[must_use]
    pub fn until_text(&self) -> String {
        match &self.until {
            Until::Day(day) => day.to_string(),
            Until::Malformed(text) => text.clone(),
        }
    }

    /// The exceptions from controls that the bundle itself declares. One that is about a single policy or service covers no control.
    pub(crate) fn of_bundle(authorizer: &Authorizer) -> Vec<Self> {
        let controls = authorizer.exceptions().iter().filter_map(|e| match &e.excepts {
            Excepted::Control { control, of: None } => Some((e, control)),
            _ => None,
        });
        controls
            .map(|(e, control)| Self {
                name: e.name.to_string(),
                waives: Waives::Control(control.to_string()),
                reason: e.reason.clone(),
                approved_by: e.approved_by.clone(),
                ticket: e.ticket.clone(),
                until: Until::Day(e.expires),
                at: e.at.clone(),
            })
            .collect()
    }
}
