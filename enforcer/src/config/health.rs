//! How the endpoints of a way out are checked.

use http::uri::PathAndQuery;
use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::limits::{TIMEOUT_MIN, UPSTREAM_CONNECT_TIMEOUT_MAX};
use crate::outbound::{HealthCheck, limits};

impl<'a> Reader<'a> {
    pub(super) fn health_check(&mut self, node: &'a Node) -> Option<HealthCheck> {
        let default = HealthCheck::default();
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let path = match f.text("path", &mut self.out) {
            None => Some(None),
            Some(text) => {
                let found = Some(text.text).filter(|t| t.starts_with('/')).and_then(|t| t.parse::<PathAndQuery>().ok());
                if found.is_none() {
                    let message = format!("`{}` is not a path", text.text);
                    self.fault(
                        text.node,
                        "invalid-value",
                        &message,
                        "write it as `/healthz`, or leave it out to check the handshake alone",
                    );
                }
                found.map(Some)
            }
        };
        let mut time = |name, default, max| self.duration_within(&mut f, name, default, (TIMEOUT_MIN, max));
        let interval = time("interval", default.interval, limits::HEALTH_INTERVAL_MAX);
        let timeout = time("timeout", default.timeout, UPSTREAM_CONNECT_TIMEOUT_MAX);
        let mut count = |name, default: u32| {
            let found = self.count(&mut f, name, 1, limits::HEALTH_CHECKS_MAX);
            found.map_or(Some(default), |found| u32::try_from(found?).ok())
        };
        let down_after = count("down_after", default.down_after);
        let up_after = count("up_after", default.up_after);
        f.finish(&mut self.out);
        Some(HealthCheck { path: path?, interval: interval?, timeout: timeout?, down_after: down_after?, up_after: up_after? })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::Config;
    use crate::outbound::HealthCheck;

    fn read(health: &str) -> Result<Option<HealthCheck>, String> {
        let text = format!(
            "service: items\nbundle: {{path: p}}\nidentity: {{cert: c, key: k, trust: {{market.example: ca.pem}}}}\nlog: {{path: l}}\n\
             outbound: [{{listen: \"127.0.0.1:1\", service: users, connect: [\"127.0.0.1:2\", \"127.0.0.1:3\"]{health}}}]\n"
        );
        let config = Config::parse("e.yaml", &text, Path::new(""));
        config.map(|c| c.outbound[0].way.settings.health.clone()).map_err(|found| found.iter().map(|d| d.render()).collect())
    }

    #[test]
    fn checks_are_made_only_where_they_are_asked_for() {
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read(", health: {}").unwrap(), Some(HealthCheck::default()));
        let all =
            read(", health: {path: \"/healthz?deep=1\", interval: 1s, timeout: 500ms, down_after: 1, up_after: 10}").unwrap().unwrap();
        assert_eq!((all.interval, all.timeout, all.down_after, all.up_after), (Duration::from_secs(1), Duration::from_millis(500), 1, 10));
        assert_eq!(all.path.unwrap(), "/healthz?deep=1");
    }

    #[test]
    fn faults_are_told_with_their_places() {
        for (health, says) in [
            ("{path: healthz}", "`healthz` is not a path"),
            ("{path: \"http://x/\"}", "is not a path"),
            ("{interval: 50ms}", "between 100ms and 3600s"),
            ("{timeout: 2m}", "between 100ms and 60s"),
            ("{down_after: 0}", "from 1 to 10"),
            ("{up_after: 11}", "from 1 to 10"),
            ("{every: 1s}", "every"),
        ] {
            let said = read(&format!(", health: {health}")).expect_err(health);
            assert!(said.contains(says) && said.contains("e.yaml:5:"), "{health}: {said}");
        }
    }
}
