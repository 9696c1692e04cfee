//! The contestants: each a proxy in front of the same service, with the same certificates, one worker, a line a request in a file.
//!
//! What each checks: the client's certificate, its name (SPIFFE ID, or common name where the proxy can compare no URI), the method
//! and the form of the path. Session tickets and caches are off everywhere.

use std::fmt::Write as _;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::pki::{Pki, id};
use crate::process::Process;

/// The processor of contestants; generator and service have the other one.
pub(crate) const CPU: usize = 0;
/// The processor of everything else.
pub(crate) const OTHER_CPU: usize = 1;

/// A contestant that runs.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) process: Process,
}

/// What all contestants share.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) pki: Pki,
    pub(crate) backend: SocketAddr,
}

/// How Envoy is told whom to let in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Rbac {
    /// The caller's policy only.
    One,
    /// A list of policies, the caller's at this place.
    List {
        /// How many.
        policies: usize,
        /// Where among them the caller's stands.
        at: usize,
    },
    /// A matcher tree with an exact map of principals.
    Tree {
        /// How many principals.
        principals: usize,
    },
}

impl Place {
    fn start(&self, name: &str, address: SocketAddr, command: &[String]) -> Peer {
        let mut process = Process::start(name, CPU, command, &self.dir.join(format!("{name}.out")));
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(address).is_err() {
            let said = || fs::read_to_string(self.dir.join(format!("{name}.err"))).unwrap_or_default();
            assert!(process.is_running(), "{name} ended: {}", said());
            assert!(Instant::now() < deadline, "{name} does not listen: {}", said());
            std::thread::sleep(Duration::from_millis(50));
        }
        Peer { name: name.to_owned(), address, process }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.dir.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// This enforcer, under the bundle in `bundle`; `log` is what stands behind `log:`.
    pub(crate) fn portreeve(&self, name: &str, binary: &Path, bundle: &Path, log: &str) -> Peer {
        let (address, pki) = (free(), &self.pki);
        let text = format!(
            "service: items\nbundle: {{path: {}}}\nidentity: {{cert: {}, key: {}, trust: {{mesh.example: {}}}}}\n\
             inbound: [{{listen: \"{address}\", upstream: \"{}\"}}]\nlog: {{path: {}/{name}.ndjson{log}}}\n",
            bundle.display(),
            pki.cert("items").display(),
            pki.key("items").display(),
            pki.ca().display(),
            self.backend,
            self.dir.display(),
        );
        let config = self.write(&format!("{name}.yaml"), &text);
        self.start(name, address, &[binary.display().to_string(), "--config".to_owned(), config])
    }

    pub(crate) fn nginx(&self, binary: &Path) -> Peer {
        let address = free();
        let (dir, pki, backend) = (self.dir.display(), &self.pki, self.backend);
        let (cert, key, ca) = (pki.cert("items"), pki.key("items"), pki.ca());
        let (cert, key, ca) = (cert.display(), key.display(), ca.display());
        let text = format!(
            r#"user root;
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/nginx-errors.log error;
events {{ worker_connections 16384; }}
http {{
    log_format line '$remote_addr "$ssl_client_s_dn" $ssl_client_serial [$time_iso8601] "$request" $status $body_bytes_sent $request_time "$http_user_agent" $ssl_protocol $ssl_cipher';
    access_log {dir}/nginx.log line buffer=64k flush=1s;
    client_body_temp_path {dir}/nginx-body; proxy_temp_path {dir}/nginx-proxy; fastcgi_temp_path {dir}/nginx-f; uwsgi_temp_path {dir}/nginx-u; scgi_temp_path {dir}/nginx-s;
    map $ssl_client_s_dn $granted {{ default 0; "~(^|,)CN=caller(,|$)" 1; }}
    upstream service {{ server {backend}; keepalive 256; keepalive_requests 1000000000; }}
    server {{
        listen {address} ssl http2 backlog=4096;
        ssl_certificate {cert}; ssl_certificate_key {key}; ssl_client_certificate {ca}; ssl_verify_client on;
        ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
        ssl_session_tickets off; ssl_session_cache off;
        keepalive_requests 1000000000; http2_max_concurrent_streams 128;
        location ~ ^/v1/items/[^/]+$ {{
            if ($granted = 0) {{ return 403; }}
            proxy_pass http://service; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
        location / {{ return 403; }}
    }}
}}
"#
        );
        let config = self.write("nginx.conf", &text);
        self.start("nginx", address, &[binary.display().to_string(), "-c".to_owned(), config])
    }

    pub(crate) fn haproxy(&self, binary: &Path) -> Peer {
        let address = free();
        let (pki, backend) = (&self.pki, self.backend);
        let (both, ca) = (pki.both("items"), pki.ca());
        let text = format!(
            r#"global
    nbthread 1
    maxconn 16384
    log stdout format raw local0 info
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-options ssl-min-ver TLSv1.3 no-tls-tickets
    tune.ssl.cachesize 0
defaults
    mode http
    log global
    option httplog
    http-reuse always
    timeout connect 5s
    timeout client 75s
    timeout server 60s
frontend in
    bind {address} ssl crt {} ca-file {} verify required alpn h2,http/1.1 backlog 4096
    acl granted ssl_c_s_dn(CN) -m str caller
    acl declared path_reg ^/v1/items/[^/]+$
    http-request deny deny_status 403 unless METH_GET granted declared
    default_backend service
backend service
    server one {backend}
"#,
            both.display(),
            ca.display()
        );
        let config = self.write("haproxy.cfg", &text);
        self.start("haproxy", address, &[binary.display().to_string(), "-db".to_owned(), "-f".to_owned(), config])
    }

    pub(crate) fn envoy(&self, name: &str, binary: &Path, rbac: Rbac) -> Peer {
        let address = free();
        let (pki, dir) = (&self.pki, self.dir.display());
        let (cert, key, ca) = (pki.cert("items"), pki.key("items"), pki.ca());
        let (port, to) = (address.port(), self.backend.port());
        let (cert, key, ca) = (cert.display(), key.display(), ca.display());
        let text = format!(
            r#"static_resources:
  listeners:
  - name: in
    address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          disable_stateless_session_resumption: true
          disable_stateful_session_resumption: true
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_params: {{tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates: [{{certificate_chain: {{filename: {cert}}}, private_key: {{filename: {key}}}}}]
            validation_context: {{trusted_ca: {{filename: {ca}}}}}
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          codec_type: AUTO
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {dir}/{name}.log
              log_format: {{text_format_source: {{inline_string: "[%START_TIME%] %DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_PEER_SERIAL% %REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %BYTES_SENT% %DURATION% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_TLS_CIPHER%\n"}}}}
          http_filters:
          - name: rbac
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
{}          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: service}}}}]}}
  clusters:
  - name: service
    type: STATIC
    load_assignment:
      cluster_name: service
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {to}}}}}}}}}]}}]
"#,
            rbac.yaml()
        );
        let config = self.write(&format!("{name}.yaml"), &text);
        let command = [&binary.display().to_string(), "-c", &config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];
        self.start(name, address, &command.map(str::to_owned))
    }
}

impl Rbac {
    fn yaml(self) -> String {
        let mut out = String::new();
        match self {
            Self::One => policies(&mut out, 1, 0),
            Self::List { policies: n, at } => policies(&mut out, n, at),
            Self::Tree { principals } => {
                out.push_str(
                    r#"              matcher:
                matcher_tree:
                  input:
                    name: uri
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput}
                  exact_match_map:
                    map:
"#,
                );
                for n in 0..principals {
                    let who = if n == principals / 2 { id("caller") } else { id(&format!("service-{n}")) };
                    writeln!(out, "                      \"{who}\": {{action: {{name: action, typed_config: {{\"@type\": type.googleapis.com/envoy.config.rbac.v3.Action, name: p-{n}, action: ALLOW}}}}}}").unwrap();
                }
                out.push_str("                on_no_match: {action: {name: action, typed_config: {\"@type\": type.googleapis.com/envoy.config.rbac.v3.Action, name: none, action: DENY}}}\n");
            }
        }
        out
    }
}

/// A list of policies as other meshes generate it: an exact principal, a method and a path prefix each. Envoy sorts them by name.
fn policies(out: &mut String, n: usize, caller_at: usize) {
    out.push_str("              rules:\n                action: ALLOW\n                policies:\n");
    for at in 0..n {
        let (who, prefix) = if at == caller_at {
            (id("caller"), "/v1/items/".to_owned())
        } else {
            (id(&format!("service-{at}")), format!("/v1/things-{at}/"))
        };
        writeln!(
            out,
            "                  p-{at:05}: {{principals: [{{authenticated: {{principal_name: {{exact: \"{who}\"}}}}}}], permissions: [{{and_rules: {{rules: [{{header: {{name: \":method\", string_match: {{exact: GET}}}}}}, {{url_path: {{path: {{prefix: \"{prefix}\"}}}}}}]}}}}]}}"
        )
        .unwrap();
    }
}

/// A port of loopback that nobody listens on now.
fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Where a program lies, if it is installed: a path as it is, a name by `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).is_file().then(|| PathBuf::from(program));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|dir| dir.join(program)).find(|p| p.is_file())
}
