//! A synthetic mesh of any size, the same on every machine.
//!
//! Services call each other's operations on permissions that each name one caller and one operation, as generated and
//! hand-written policies mostly do; a few go to groups. Conditions are those that D3 speaks of: a scope and a time window.

use std::fmt::Write as _;

use portreeve_engine::{Bundle, SourceFile};

/// How large a mesh is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Permissions.
    pub(crate) permissions: usize,
    /// Services, which call and are called.
    pub(crate) services: usize,
    /// Operations of each service.
    pub(crate) operations: usize,
}

impl Size {
    /// Ten permissions among five services.
    pub(crate) const SMALL: Self = Self { permissions: 10, services: 5, operations: 10 };
    /// A thousand permissions.
    pub(crate) const MEDIUM: Self = Self { permissions: 1_000, services: 100, operations: 10 };
    /// A hundred thousand permissions over 2,000 services and 20,000 operations.
    pub(crate) const LARGE: Self = Self { permissions: 100_000, services: 2_000, operations: 10 };
}

/// What makes permissions conditional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conditions {
    /// Nothing.
    None,
    /// A scope of the user token and a window of the day.
    ScopeAndTime,
}

/// A small deterministic generator (`SplitMix64`).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// The next number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % n as u64).unwrap()
    }
}

/// One grant of the mesh: who, whom, which operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant {
    /// The caller's number.
    pub(crate) from: usize,
    /// The called service's number.
    pub(crate) to: usize,
    /// The operation's number.
    pub(crate) operation: usize,
}

/// The grants of a mesh, in order.
pub(crate) fn grants(size: Size) -> Vec<Grant> {
    let mut dice = Dice(1);
    (0..size.permissions)
        .map(|_| Grant { from: dice.below(size.services), to: dice.below(size.services), operation: dice.below(size.operations) })
        .collect()
}

/// The SPIFFE ID of a service's workload.
pub(crate) fn identity(service: usize) -> String {
    format!("spiffe://mesh.example/ns/prod-{}/sa/service-{service}", service % 20)
}

/// The inventory: one file for a hundred services.
pub(crate) fn inventory(size: Size) -> Vec<SourceFile> {
    let mut files = Vec::new();
    for first in (0..size.services).step_by(100) {
        let mut text = String::new();
        for service in first..(first + 100).min(size.services) {
            let _ = write!(
                text,
                "kind: Service\nname: service-{service}\nidentities: [\"{}\"]\nowner: team-{}\nzone: zone-{}\noperations:\n",
                identity(service),
                service % 50,
                service % 7
            );
            for operation in 0..size.operations {
                let _ = writeln!(text, "  - {{id: op-{operation}, method: GET, path: \"/api/v1/resource-{operation}/{{id}}/details\"}}");
            }
            text.push_str("---\n");
        }
        files.push(SourceFile { path: format!("inventory/{first:05}.yaml"), bytes: text.into_bytes() });
    }
    files
}

/// The whole bundle.
pub(crate) fn bundle(size: Size, conditions: Conditions) -> Bundle {
    let mut files = inventory(size);
    let when = match conditions {
        Conditions::None => "",
        Conditions::ScopeAndTime => "when: {jwt: {scopes: [items:read]}, time: {from: \"06:00\", to: \"22:00\"}}\n",
    };
    for (chunk, grants) in grants(size).chunks(1_000).enumerate() {
        let mut text = String::new();
        for (n, Grant { from, to, operation }) in grants.iter().enumerate() {
            let _ = write!(
                text,
                "kind: Permission\nname: grant-{}\nallow: {{from: [service-{from}], to: service-{to}, operations: [op-{operation}]}}\n{when}\
                 justification: service-{from} needs it\nowner: team-{}\nreview_by: 2027-05-01\n---\n",
                chunk * 1_000 + n,
                from % 50
            );
        }
        files.push(SourceFile { path: format!("permissions/{chunk:05}.yaml"), bytes: text.into_bytes() });
    }
    Bundle::from_files("synthetic", files).unwrap()
}
