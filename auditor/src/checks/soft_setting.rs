//! Settings of an enforcer that could be stricter: TLS 1.2, records that are not waited for, no signed heads, unsigned policies,
//! a service that others may reach past the gate.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "soft_setting", title: "settings that could be stricter", severity: Weight::Low, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let all = examined.configs.iter().flat_map(|c| c.soft_settings.iter().map(move |s| (c, s)));
    all.map(|(config, (name, why, at))| Draft {
        subject: format!("{} {name}", config.path),
        summary: format!("`{name}` in `{}`: {why}", config.path),
        remedy: "make it stricter, or write down why it is so".to_owned(),
        at: at.clone(),
        by_policy: true,
        ..Draft::default()
    })
    .collect()
}
