//! Settings of an enforcer under which it does not protect: denials forwarded, administration open, old TLS, no log.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "unsafe_setting", title: "settings that do not protect", severity: Weight::High, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let all = examined.configs.iter().flat_map(|c| c.unsafe_settings.iter().map(move |s| (c, s)));
    all.map(|(config, (name, why, at))| Draft {
        subject: format!("{} {name}", config.path),
        summary: format!("`{name}` in `{}`: {why}", config.path),
        remedy: "mend the setting, and let the enforcer take the file up".to_owned(),
        at: at.clone(),
        by_policy: true,
        ..Draft::default()
    })
    .collect()
}
