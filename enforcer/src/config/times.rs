//! How long callers, services and places outside are waited for: `timeouts` of a listener, of a way out and of egress.

use std::time::Duration;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::limits::{
    FIRST_BYTE_TIMEOUT_MAX, H2_PING_INTERVAL_MAX, H2_PING_TIMEOUT_MAX, HANDSHAKE_TIMEOUT_MAX, HEAD_TIMEOUT_MAX, IDLE_TIMEOUT_MAX,
    POOL_IDLE_TIMEOUT_MAX, REQUEST_LIFETIME_MAX, ROTATION_DRAIN_MAX, STREAM_IDLE_TIMEOUT_MAX, TIMEOUT_MIN, UPSTREAM_CONNECT_TIMEOUT_MAX,
    UPSTREAM_RESPONSE_TIMEOUT_MAX, WIND_DOWN_TIMEOUT_MAX,
};
use crate::outbound::{EgressTimes, Settings, limits};
use crate::times::Times;

impl<'a> Reader<'a> {
    /// The times of an inbound listener. One that passes bytes on has a handshake and a service to connect to, and nothing of HTTP.
    pub(super) fn times(&mut self, node: Option<&'a Node>, is_tcp: bool) -> Option<Times> {
        let default = Times::default();
        let Some(node) = node else { return Some(default) };
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let mut time = |name, default: Duration, max| self.time(&mut f, name, default, max);
        let handshake = time("handshake", default.handshake, HANDSHAKE_TIMEOUT_MAX);
        let connect = time("connect", default.connect, UPSTREAM_CONNECT_TIMEOUT_MAX);
        if is_tcp {
            f.finish(&mut self.out);
            return Some(Times { handshake: handshake?, connect: connect?, ..default });
        }
        let first_request = time("first_request", default.first_request, FIRST_BYTE_TIMEOUT_MAX);
        let head = time("head", default.head, HEAD_TIMEOUT_MAX);
        let idle = time("idle", default.idle, IDLE_TIMEOUT_MAX);
        let response = time("response", default.response, UPSTREAM_RESPONSE_TIMEOUT_MAX);
        let stream = time("stream", default.stream, STREAM_IDLE_TIMEOUT_MAX);
        let request = time("request", default.request, REQUEST_LIFETIME_MAX);
        let upstream_idle = time("upstream_idle", default.upstream_idle, POOL_IDLE_TIMEOUT_MAX);
        let (ping, pong) = (time("ping", default.ping, H2_PING_INTERVAL_MAX), time("pong", default.pong, H2_PING_TIMEOUT_MAX));
        let rotation = time("rotation", default.rotation, ROTATION_DRAIN_MAX);
        let wind_down = time("wind_down", default.wind_down, WIND_DOWN_TIMEOUT_MAX);
        f.finish(&mut self.out);
        Some(Times {
            handshake: handshake?,
            first_request: first_request?,
            head: head?,
            idle: idle?,
            connect: connect?,
            response: response?,
            stream: stream?,
            request: request?,
            upstream_idle: upstream_idle?,
            ping: ping?,
            pong: pong?,
            rotation: rotation?,
            wind_down: wind_down?,
        })
    }

    /// The times of a way to a service of the mesh.
    pub(super) fn timeouts(&mut self, node: &'a Node, settings: &mut Settings) -> Option<()> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let mut time = |name, default: Duration, max| self.duration(&mut f, name, default, max);
        let connect = time("connect", settings.connect, limits::TIMEOUT_MAX);
        let request = time("request", settings.request, limits::TIMEOUT_MAX);
        let idle = time("idle", settings.idle, limits::TIMEOUT_MAX);
        let pending = time("pending", settings.pending_wait, limits::PENDING_WAIT_MAX);
        let stream = time("stream", settings.stream, STREAM_IDLE_TIMEOUT_MAX);
        let whole = time("whole", settings.whole, REQUEST_LIFETIME_MAX);
        let tunnel = time("tunnel", settings.tunnel, limits::TUNNEL_IDLE_MAX);
        let (ping, pong) = (time("ping", settings.ping, H2_PING_INTERVAL_MAX), time("pong", settings.pong, H2_PING_TIMEOUT_MAX));
        // Three times what the connection may take, unless said otherwise.
        let handshake = time("handshake", limits::handshake_within(connect.unwrap_or(settings.connect)), HANDSHAKE_TIMEOUT_MAX);
        f.finish(&mut self.out);
        (settings.connect, settings.request, settings.idle) = (connect?, request?, idle?);
        (settings.pending_wait, settings.stream, settings.whole) = (pending?, stream?, whole?);
        (settings.tunnel, settings.handshake, settings.ping, settings.pong) = (tunnel?, handshake?, ping?, pong?);
        Some(())
    }

    /// The times of the way to places outside the mesh.
    pub(super) fn egress_times(&mut self, node: Option<&'a Node>) -> Option<EgressTimes> {
        let default = EgressTimes::default();
        let Some(node) = node else { return Some(default) };
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let mut time = |name, default: Duration, max| self.time(&mut f, name, default, max);
        let resolve = time("resolve", default.resolve, UPSTREAM_CONNECT_TIMEOUT_MAX);
        let connect = time("connect", default.connect, UPSTREAM_CONNECT_TIMEOUT_MAX);
        let request = time("request", default.request, UPSTREAM_RESPONSE_TIMEOUT_MAX);
        let stream = time("stream", default.stream, STREAM_IDLE_TIMEOUT_MAX);
        let whole = time("whole", default.whole, REQUEST_LIFETIME_MAX);
        let tunnel = time("tunnel", default.tunnel, limits::TUNNEL_IDLE_MAX);
        f.finish(&mut self.out);
        Some(EgressTimes { resolve: resolve?, connect: connect?, request: request?, stream: stream?, whole: whole?, tunnel: tunnel? })
    }

    fn time(&mut self, f: &mut Fields<'a>, name: &'static str, default: Duration, max: Duration) -> Option<Duration> {
        self.duration_within(f, name, default, (TIMEOUT_MIN, max))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use crate::config::Config;
    use crate::outbound::{EgressTimes, Settings};
    use crate::times::Times;

    const PLAIN: &str = r#"service: items
bundle: {path: ./policies}
identity: {cert: items.pem, key: items.key, trust: {market.example: ca.pem}}
log: {path: decisions.ndjson}
"#;

    fn read(rest: &str) -> Result<Config, String> {
        let text = format!("{PLAIN}{rest}\n");
        Config::parse("e.yaml", &text, Path::new("")).map_err(|found| found.iter().map(|d| d.render()).collect())
    }

    #[test]
    fn what_is_not_said_is_the_documented_default_and_what_is_said_holds() {
        let inbound = |more: &str| read(&format!("inbound: [{{listen: \"127.0.0.1:1\", upstream: \"127.0.0.1:2\"{more}}}]"));
        assert_eq!(inbound("").unwrap().inbound[0].times, Times::default());
        let all = "handshake: 1s, first_request: 2s, head: 3s, idle: 4s, connect: 5s, response: 6s, stream: 7s, request: 8s, \
                   upstream_idle: 9s, ping: 10s, pong: 11s, rotation: 12s, wind_down: 13s";
        let times = inbound(&format!(", timeouts: {{{all}}}")).unwrap().inbound[0].times;
        let s = Duration::from_secs;
        let said = Times {
            handshake: s(1),
            first_request: s(2),
            head: s(3),
            idle: s(4),
            connect: s(5),
            response: s(6),
            stream: s(7),
            request: s(8),
            upstream_idle: s(9),
            ping: s(10),
            pong: s(11),
            rotation: s(12),
            wind_down: s(13),
        };
        assert_eq!(times, said);
        let tcp = inbound(", protocol: tcp, port: 5432, timeouts: {handshake: 1s, connect: 3s}").unwrap().inbound[0].times;
        assert_eq!(tcp, Times { handshake: s(1), connect: s(3), ..Times::default() });

        let way = |more: &str| {
            read(&format!("outbound: [{{listen: \"127.0.0.1:1\", service: users, connect: \"127.0.0.1:2\"{more}}}]"))
                .map(|c| c.outbound[0].way.settings.clone())
        };
        assert_eq!(way("").unwrap(), Settings::default());
        // A handshake may take three times what the connection may, five seconds at most.
        assert_eq!(way(", timeouts: {connect: 1s}").unwrap().handshake, s(3));
        assert_eq!(way(", timeouts: {connect: 4s}").unwrap().handshake, s(5));
        let said =
            way(", timeouts: {connect: 4s, handshake: 12s, pending: 2s, stream: 1h, whole: 2h, tunnel: 3h, ping: 5s, pong: 6s}").unwrap();
        assert_eq!((said.handshake, said.pending_wait, said.stream, said.whole, said.tunnel), (s(12), s(2), s(3600), s(7200), s(10_800)));
        assert_eq!((said.ping, said.pong), (s(5), s(6)));

        let egress = |more: &str| read(&format!("proxy: {{listen: \"127.0.0.1:1\", egress: {{{more}}}}}")).map(|c| c.proxy.unwrap().egress);
        assert_eq!(egress("private: []").unwrap().times, EgressTimes::default());
        let said = egress("timeouts: {resolve: 1s, connect: 2s, request: 3s, stream: 4s, whole: 5s, tunnel: 6s}").unwrap().times;
        assert_eq!(said, EgressTimes { resolve: s(1), connect: s(2), request: s(3), stream: s(4), whole: s(5), tunnel: s(6) });
    }

    #[test]
    fn what_lies_outside_its_bounds_is_refused_with_its_place_and_a_way_out() {
        let inbound = |times: &str| format!("inbound: [{{listen: \"127.0.0.1:1\", upstream: \"127.0.0.1:2\", timeouts: {{{times}}}}}]");
        let tcp = |times: &str| inbound(times).replace("timeouts", "protocol: tcp, port: 1, timeouts");
        let way =
            |times: &str| format!("outbound: [{{listen: \"127.0.0.1:1\", service: u, connect: \"127.0.0.1:2\", timeouts: {{{times}}}}}]");
        let egress = |times: &str| format!("proxy: {{listen: \"127.0.0.1:1\", egress: {{timeouts: {{{times}}}}}}}");
        for (rest, says) in [
            (inbound("handshake: 61s"), "`61s` is not a time between 100ms and 60s"),
            (inbound("head: 2m"), "between 100ms and 60s"),
            (inbound("idle: 10ms"), "between 100ms and 3600s"),
            (inbound("first_request: 11m"), "between 100ms and 600s"),
            (inbound("connect: 0s"), "between 100ms and 60s"),
            (inbound("response: 2h"), "between 100ms and 3600s"),
            (inbound("stream: 25h"), "between 100ms and 24h"),
            (inbound("request: 169h"), "between 100ms and 7d"),
            (inbound("upstream_idle: 61m"), "between 100ms and 3600s"),
            (inbound("ping: 61m"), "between 100ms and 3600s"),
            (inbound("pong: 61s"), "between 100ms and 60s"),
            (inbound("rotation: 61m"), "between 100ms and 3600s"),
            (inbound("wind_down: 11m"), "between 100ms and 600s"),
            (tcp("ping: 10s"), "ping"),
            (inbound("response: never"), "the default is 60s"),
            (inbound("respons: 5s"), "did you mean `response`"),
            (tcp("idle: 5s"), "`idle`"),
            (way("handshake: 2m"), "between 10ms and 60s"),
            (way("pending: 2m"), "between 10ms and 60s"),
            (way("tunnel: 25h"), "between 10ms and 24h"),
            (way("ping: 61m"), "between 10ms and 3600s"),
            (way("pong: 61s"), "between 10ms and 60s"),
            (egress("tunnel: 25h"), "between 100ms and 24h"),
            (egress("stream: 1ms"), "between 100ms and 24h"),
        ] {
            let said = read(&rest).expect_err(&rest);
            assert!(said.contains(says) && said.contains("e.yaml:5:"), "{rest}: {said}");
        }
    }
}
