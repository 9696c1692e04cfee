//! Certificates, handshakes, revocation: who is let in, who is not, and under which word it is written down.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, NameConstraints};
use rustls::HandshakeKind;

use crate::client::{Client, PATIENCE, one_answer, rest};
use crate::pki::{Authority, Leaf, ago, der, hence, raw_names, replace, uri, uri_constraint};
use crate::world::{DOMAIN, Sidecar, World, spiffe, until};

/// A client that must be turned away, and the word for it (several where libraries may see one of two faults first).
struct Stranger {
    what: &'static str,
    client: Client,
    words: &'static [&'static str],
}

fn stranger(what: &'static str, leaf: &Leaf, words: &'static [&'static str]) -> Stranger {
    Stranger { what, client: Client::with(leaf), words }
}

/// Turns each of them away, under its word in metrics and log, and lets a lawful caller in after each.
fn all_are_turned_away(world: &World, sidecar: Sidecar, strangers: &[Stranger]) {
    let lawful = world.client("invoices");
    let mut words: Vec<&str> = Vec::new();
    let counted = |word: &&&str| sidecar.metric("portreeve_handshake_failures_total", &format!("reason=\"{word}\""));
    for Stranger { what, client, words: expected } in strangers {
        let before: Vec<f64> = expected.iter().map(|word| counted(&word)).collect();
        assert!(client.turned_away(sidecar.inbound).is_some(), "{what} was let in");
        let mut grown = None;
        until(&format!("{what} is counted as one of {expected:?}"), || {
            grown = expected.iter().zip(&before).find(|(word, before)| counted(word) > **before).map(|(word, _)| *word);
            grown.is_some()
        });
        words.extend(grown);
    }
    assert_eq!(lawful.get(sidecar.inbound, "/v1/items/lawful", ""), 200);
    sidecar.log_until("every refusal is in the log", |log| log.refused().len() == words.len());
    let log = sidecar.stop();
    let mut refused = log.refused();
    refused.sort_unstable();
    words.sort_unstable();
    assert_eq!(refused, words);
    assert_eq!(world.upstream.targets(), ["/v1/items/lawful"], "only the lawful caller reached the service");
    assert_eq!(log.decided().len(), 1);
}

#[test]
fn a12_a15_a51_a55_names_that_are_no_identity() {
    let world = World::new();
    let sidecar = world.start();
    let root = &world.root;
    let good = spiffe("invoices");
    let san = |entries: &[(u8, &[u8])]| root.odd_leaf(&[], |p| p.custom_extensions.push(raw_names(entries)));
    let long = format!("spiffe://{DOMAIN}/{}", "a".repeat(2049));
    let domain = format!("spiffe://{}.example/a", "d".repeat(256));
    let mut strangers = vec![
        stranger("A51: the good one first", &root.leaf(&[&good, &spiffe("users")]), &["uri-san-count"]),
        stranger("A51: the good one last", &root.leaf(&["https://elsewhere.example/", &good]), &["uri-san-count"]),
        stranger("A51: the same twice", &root.leaf(&[&good, &good]), &["uri-san-count"]),
        stranger("A51: no name at all", &root.leaf(&[]), &["uri-san-count"]),
        stranger(
            "A11: a DNS name, with a wildcard",
            &root.odd_leaf(&[], |p| p.subject_alt_names.push(rcgen::SanType::DnsName("*.market.example".try_into().unwrap()))),
            &["uri-san-count"],
        ),
        stranger("A15: the id as a DNS name", &san(&[(0x82, good.as_bytes())]), &["uri-san-count", "invalid-spiffe-id"]),
        stranger("A15: the id as a mail address", &san(&[(0x81, good.as_bytes())]), &["uri-san-count", "invalid-spiffe-id"]),
        stranger("A12: NUL", &san(&[(0x86, b"spiffe://market.example/ns/shop/sa/invoices\0.evil")]), &["invalid-spiffe-id"]),
        stranger(
            "A12: NUL and a second one",
            &san(&[(0x86, b"spiffe://market.example/a\0"), (0x86, good.as_bytes())]),
            &["invalid-spiffe-id", "uri-san-count"],
        ),
        stranger("A12: not ASCII", &san(&[(0x86, "spiffe://market.example/ns/shop/sa/invoic\u{e9}s".as_bytes())]), &["invalid-spiffe-id"]),
        stranger("A12: not UTF-8", &san(&[(0x86, b"spiffe://market.example/\xff\xfe")]), &["invalid-spiffe-id"]),
        stranger(
            "A12: not UTF-8 beside the good one",
            &san(&[(0x86, b"\xff"), (0x86, good.as_bytes())]),
            &["invalid-spiffe-id", "uri-san-count"],
        ),
        stranger(
            "A12: not UTF-8 after the good one",
            &san(&[(0x86, good.as_bytes()), (0x86, b"\xff")]),
            &["invalid-spiffe-id", "uri-san-count"],
        ),
        stranger("A55: too long an id", &root.leaf(&[&long]), &["invalid-spiffe-id"]),
        stranger("A55: too long a trust domain", &root.leaf(&[&domain]), &["invalid-spiffe-id"]),
    ];
    for odd in [
        "spiffe://Market.example/a",
        "SPIFFE://market.example/a",
        "spiffe://user@market.example/a",
        "spiffe://market.example:8443/a",
        "spiffe://market.example/a%20b",
        "spiffe://market.example/a//b",
        "spiffe://market.example/a/./b",
        "spiffe://market.example/a/../b",
        "spiffe://market.example/a/",
        "spiffe://market.example",
        "spiffe://market.example/",
        "spiffe:///a",
        "spiffe:/market.example/a",
        "spiffe://market.example/a?x",
        "spiffe://market.example/a#x",
        "https://market.example/a",
        "spiffe://market.example/a b",
    ] {
        strangers.push(stranger("A55: a malformed id", &root.leaf(&[odd]), &["invalid-spiffe-id"]));
    }
    all_are_turned_away(&world, sidecar, &strangers);
}

#[test]
fn a52_a53_a54_strangers_and_federated_strangers() {
    let world = World::new();
    let partner = Authority::root("partner.example");
    replace(&world.path("partner.pem"), partner.pem.as_bytes());
    let sidecar = world.start_with(&world.config().replace("roots.pem}", "roots.pem, partner.example: partner.pem}"));
    let evil = Authority::root(DOMAIN);
    // The partner's authority with our root's own certificate sent along, and an intermediate of the partner that names us.
    let crossed = {
        let leaf = partner.leaf(&[&spiffe("invoices")]);
        Client::chain(vec![leaf.chain[0].clone(), world.root.der.clone()], &leaf)
    };
    let below = partner.intermediate("market.example", |_| ());
    let strangers = [
        Stranger { what: "A52: no certificate", client: Client::nobody(), words: &["no-certificate"] },
        stranger("A52: an unknown authority", &evil.leaf(&[&spiffe("invoices")]), &["unknown-issuer", "bad-signature"]),
        stranger("A53: the partner names one of ours", &partner.leaf(&[&spiffe("invoices")]), &["unknown-issuer"]),
        stranger("A53: an intermediate of the partner", &below.leaf(&[&spiffe("invoices")]), &["unknown-issuer"]),
        Stranger { what: "A53: our root sent along", client: crossed, words: &["unknown-issuer"] },
        stranger("A53: we name one of the partner's", &world.root.leaf(&["spiffe://partner.example/a"]), &["unknown-issuer"]),
        stranger("A54: a longer domain", &world.root.leaf(&["spiffe://market.example.evil/a"]), &["unknown-trust-domain"]),
        stranger("A54: a shorter domain", &world.root.leaf(&["spiffe://example/a"]), &["unknown-trust-domain"]),
        {
            let (one, other) = (world.leaf("invoices"), world.leaf("users"));
            Stranger {
                what: "somebody else's certificate, our own key",
                client: Client::chain(one.chain, &other),
                words: &["bad-signature"],
            }
        },
    ];
    // A partner's own workload gets in, and gets nothing: no policy names it.
    let welcome = Client::with(&partner.leaf(&["spiffe://partner.example/ns/shop/sa/invoices"]));
    assert_eq!(welcome.turned_away(sidecar.inbound), None);
    let mut log = sidecar.log();
    until("the partner's denial is recorded", || {
        log = sidecar.log();
        log.decided().len() == 1
    });
    assert_eq!(log.reasons(), [portreeve_engine::Reason::UnknownPrincipal]);
    sidecar.kill();
    let sidecar = world.start_with(&world.config().replace("roots.pem}", "roots.pem, partner.example: partner.pem}"));
    all_are_turned_away(&world, sidecar, &strangers);
    for (roots, config) in
        [("", world.config()), ("garbage", world.config()), ("", world.config().replace("trust: {market.example: roots.pem}", "trust: {}"))]
    {
        replace(&world.path("roots.pem"), roots.as_bytes());
        let (code, said) = world.start_fails(&config);
        assert_eq!(code, Some(2), "A52, without roots it does not come up: {said}");
    }
}

#[test]
fn a54_a_pattern_covers_whole_segments() {
    let policy = crate::world::SHOP
        .replace("identities: [spiffe://market.example/ns/shop/sa/invoices]", "identities: [\"spiffe://market.example/ns/obs/sa/*\"]");
    let world = World::with(&[("shop.yaml", &policy)]);
    let sidecar = world.start();
    for (id, status) in [
        ("spiffe://market.example/ns/obs/sa/y", 200),
        ("spiffe://market.example/ns/obs-x/sa/y", 403),
        ("spiffe://market.example/ns/obs/sa/y/z", 403),
        ("spiffe://market.example/ns/obs/sax/y", 403),
        ("spiffe://market.example/ns/OBS/sa/y", 403),
        ("spiffe://market.example/x/ns/obs/sa/y", 403),
    ] {
        assert_eq!(Client::with(&world.root.leaf(&[id])).get(sidecar.inbound, "/v1/items/1", ""), status, "{id}");
    }
    sidecar.stop();
}

#[test]
fn a15_a56_certificates_that_may_not_do_this() {
    let world = World::new();
    let sidecar = world.start();
    let root = &world.root;
    let id = spiffe("invoices");
    let odd = |change: fn(&mut rcgen::CertificateParams)| root.odd_leaf(&[&id], change);
    // An authority that signs leaves with a leaf: without the right to sign, and with the extension but not the usage.
    let no_ca = root.intermediate("not an authority", |p| p.is_ca = IsCa::ExplicitNoCa);
    let no_sign = root.intermediate("may not sign", |p| p.key_usages = vec![KeyUsagePurpose::CrlSign]);
    // The signing certificate of an authority that carries a workload's name.
    let signing = root.odd_leaf(&[&id], |p| {
        p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    });
    let strangers = [
        stranger("A15: for servers only", &odd(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), &["invalid-usage"]),
        stranger("A15: for signing code", &odd(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]), &["invalid-usage"]),
        stranger("A56: cA", &odd(|p| p.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained)), &["invalid-usage"]),
        stranger("A56: keyCertSign", &odd(|p| p.key_usages.push(KeyUsagePurpose::KeyCertSign)), &["invalid-usage"]),
        stranger("A56: cRLSign", &odd(|p| p.key_usages.push(KeyUsagePurpose::CrlSign)), &["invalid-usage"]),
        stranger("A56: without digitalSignature", &odd(|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]), &["invalid-usage"]),
        stranger("A56: without any usage", &odd(|p| p.key_usages.clear()), &["invalid-usage"]),
        stranger("A56: a signing certificate", &signing, &["invalid-usage"]),
        stranger("an issuer that is none", &no_ca.leaf(&[&id]), &["invalid-usage"]),
        stranger("an issuer that may not sign", &no_sign.leaf(&[&id]), &["invalid-usage"]),
        stranger("expired", &odd(|p| p.not_after = ago(Duration::from_secs(5))), &["certificate-expired"]),
        stranger("not yet", &odd(|p| p.not_before = hence(Duration::from_secs(600))), &["certificate-not-yet-valid"]),
        stranger(
            "an issuer that expired",
            &root.intermediate("old", |p| p.not_after = ago(Duration::from_secs(5))).leaf(&[&id]),
            &["certificate-expired"],
        ),
    ];
    all_are_turned_away(&world, sidecar, &strangers);
}

#[test]
fn a35_a37_a69_chains_that_break_path_builders() {
    let world = World::new();
    let sidecar = world.start();
    let root = &world.root;
    let id = spiffe("invoices");
    // A35a: every certificate could be the issuer of every other one, and none leads to a root.
    let evil = Authority::root("X");
    let mut bomb = evil.leaf(&[&id]);
    let tangle: Vec<_> = (0..14).map(|_| Authority::root("X").intermediate("root of X", |_| ()).der).collect();
    bomb.chain = vec![bomb.chain[0].clone()];
    bomb.chain.extend(tangle.clone());
    let mut long = world.leaf("invoices");
    long.chain.extend(tangle.iter().cycle().take(40).cloned());
    let mut deep = root.intermediate("1", |_| ());
    for n in 2..12 {
        deep = deep.intermediate(&n.to_string(), |_| ());
    }
    let dns = |names: Vec<&str>, wild: &str| {
        let trees = names.iter().map(|n| rcgen::GeneralSubtree::DnsName((*n).to_owned())).collect();
        let below = root.intermediate("constrained", |p| {
            p.name_constraints = Some(NameConstraints { permitted_subtrees: trees, excluded_subtrees: Vec::new() })
        });
        below.odd_leaf(&[&id], |p| p.subject_alt_names.push(rcgen::SanType::DnsName(wild.try_into().unwrap())))
    };
    let any = |host: &str| root.intermediate("uri", |p| p.custom_extensions.push(uri_constraint(host))).leaf(&[&id]);
    let strangers = [
        stranger("A35a: a tangle of issuers", &bomb, &["unknown-issuer", "chain-too-long", "bad-signature"]),
        stranger("A35a: a long chain", &long, &["chain-too-long"]),
        stranger("A35a: a deep chain", &deep.leaf(&[&id]), &["chain-too-long"]),
        stranger("A35c, A69: a URI constraint that fits", &any("market.example"), &["name-constraint", "malformed-certificate"]),
        stranger("A35c, A69: a URI constraint that does not", &any("evil.example"), &["name-constraint", "malformed-certificate"]),
        stranger(
            "A35d: a wildcard above what is permitted",
            &dns(vec!["foo.example"], "*.example"),
            &["name-constraint", "malformed-certificate"],
        ),
        stranger("A35d: a wildcard elsewhere", &dns(vec!["foo.example"], "*.bar.example"), &["name-constraint", "malformed-certificate"]),
    ];
    let before = sidecar.ticks();
    for _ in 0..20 {
        assert!(strangers[0].client.turned_away(sidecar.inbound).is_some());
    }
    let tangles = sidecar.ticks() - before;
    let before = sidecar.ticks();
    for _ in 0..20 {
        assert!(strangers[2].client.turned_away(sidecar.inbound).is_some());
    }
    let chains = sidecar.ticks() - before;
    assert!(tangles < 4 * chains + 20, "a tangle costs {tangles} ticks, a chain of the same length {chains}");
    sidecar.kill();
    // A37: a common name is no name, whatever stands in it.
    let sidecar = world.start();
    let common = root.odd_leaf(&[&spiffe("users")], |p| {
        let mut name = rcgen::DistinguishedName::new();
        name.push(rcgen::DnType::CommonName, spiffe("invoices"));
        name.push(rcgen::DnType::OrganizationName, "*.m\u{e4}rket.example");
        p.distinguished_name = name;
    });
    assert_eq!(Client::with(&common).get(sidecar.inbound, "/v1/items/1", ""), 403);
    let log = sidecar.log_until("the denial is recorded", |log| !log.decided().is_empty());
    assert_eq!(log.decided()[0].source.id.as_str(), spiffe("users"));
    sidecar.kill();
    all_are_turned_away(&world, world.start(), &strangers);
}

/// A world whose leaves come from two authorities below the root, each with its revocation list.
struct Revoking {
    world: World,
    ours: Authority,
    theirs: Authority,
}

impl Revoking {
    fn new() -> Self {
        let world = World::new();
        let (ours, theirs) = (world.root.intermediate("ours", |_| ()), world.root.intermediate("theirs", |_| ()));
        ours.leaf(&[&spiffe("items")]).write(world.dir.path(), "items");
        Self { world, ours, theirs }
    }

    fn lists(&self, theirs: &str) {
        let day = hence(Duration::from_secs(86_400));
        let text = format!("{}{}{theirs}", self.world.root.crl(&[], day, |_| ()), self.ours.crl(&[], day, |_| ()));
        replace(&self.world.path("lists.pem"), text.as_bytes());
    }

    fn start(&self) -> Sidecar {
        self.world.start_with(&self.world.config().replace("  trust:", "  crl: [lists.pem]\n  trust:"))
    }
}

#[test]
fn a35b_a41_a70_revocation_lists_and_their_parts() {
    let r = Revoking::new();
    let day = hence(Duration::from_secs(86_400));
    let points = |p: &mut rcgen::CertificateParams| {
        p.crl_distribution_points =
            ["http://one.example/crl", "http://two.example/crl"].map(|u| rcgen::CrlDistributionPoint { uris: vec![u.to_owned()] }).into();
    };
    let revoked = r.theirs.odd_leaf(&[&spiffe("invoices")], points);
    let alive = r.theirs.odd_leaf(&[&spiffe("invoices")], points);
    let elsewhere = r.theirs.odd_leaf(&[&spiffe("invoices")], |p| {
        p.crl_distribution_points = vec![rcgen::CrlDistributionPoint { uris: vec!["http://three.example/crl".to_owned()] }];
    });
    let partial = |revoked: &[&[u8]]| {
        r.theirs.crl(revoked, day, |p| {
            let distribution_point = rcgen::CrlDistributionPoint { uris: vec!["http://two.example/crl".to_owned()] };
            p.issuing_distribution_point = Some(rcgen::CrlIssuingDistributionPoint { distribution_point, scope: None });
        })
    };
    r.lists(&partial(&[&revoked.serial]));
    let sidecar = r.start();
    assert_eq!(Client::with(&alive).get(sidecar.inbound, "/v1/items/1", ""), 200, "the list covers it by its second point");
    sidecar.kill();
    let sidecar = r.start();
    let plain = r.ours.leaf(&[&spiffe("invoices")]);
    // A lawful caller of `all_are_turned_away` comes from the root itself, which the root's own list covers.
    let strangers = [
        stranger("A35b: named by the list of a later point", &revoked, &["revoked"]),
        stranger("A35b, A70: another point than the list's", &elsewhere, &["revocation-unknown"]),
        stranger(
            "A70: an authority without a list",
            &r.world.root.intermediate("silent", |_| ()).leaf(&[&spiffe("invoices")]),
            &["revocation-unknown"],
        ),
    ];
    assert_eq!(Client::with(&plain).turned_away(sidecar.inbound), None);
    sidecar.kill();
    let fresh = Revoking { world: World { upstream: crate::upstream::Upstream::start(), ..r.world }, ours: r.ours, theirs: r.theirs };
    all_are_turned_away(&fresh.world, fresh.start(), &strangers);
}

#[test]
fn a35e_a41_a71_a_broken_list_is_not_taken_up_and_a_new_one_is() {
    let r = Revoking::new();
    let day = hence(Duration::from_secs(86_400));
    let (one, other) = (r.theirs.leaf(&[&spiffe("invoices")]), r.theirs.leaf(&[&spiffe("invoices")]));
    r.lists(&r.theirs.crl(&[&one.serial], day, |_| ()));
    let sidecar = r.start();
    let (revoked, alive) = (Client::with(&one), Client::with(&other));
    let holds = |what: &str| {
        assert!(revoked.turned_away(sidecar.inbound).is_some(), "{what}");
        assert_eq!(alive.get(sidecar.inbound, "/v1/items/1", ""), 200, "{what}");
    };
    holds("at first");
    let good = std::fs::read_to_string(r.world.path("lists.pem")).unwrap();
    let failed = |sidecar: &Sidecar| sidecar.metric("portreeve_reloads_total", "what=\"identity\",result=\"failed\"");
    let mut told = failed(&sidecar);
    for (what, broken) in [
        ("A35e: empty onlySomeReasons", pem_crl(&crl_with_empty_reasons())),
        ("A35e: before good ones", format!("{}{good}", pem_crl(&crl_with_empty_reasons()))),
        ("A71: half a file", good[..good.len() - 40].to_owned()),
        ("no PEM", "garbage".to_owned()),
    ] {
        replace(&r.world.path("lists.pem"), broken.as_bytes());
        sidecar.signal("HUP");
        until(what, || failed(&sidecar) > told);
        holds(what);
        assert_eq!(sidecar.metric("portreeve_identity_alarm", ""), 1.0, "{what}");
        told = failed(&sidecar);
    }
    // The next good list names the other one too.
    r.lists(&r.theirs.crl(&[&one.serial, &other.serial], day, |_| ()));
    sidecar.signal("HUP");
    until("the new list is in force", || alive.turned_away(sidecar.inbound).is_some());
    until("the alarm is over", || sidecar.metric("portreeve_identity_alarm", "") == 0.0);
    sidecar.stop();
}

/// A list whose issuing distribution point has `onlySomeReasons` of no bytes at all. Its signature is never reached.
fn crl_with_empty_reasons() -> Vec<u8> {
    let algorithm = der(0x30, &der(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
    let common = der(0x30, &[der(0x06, &[0x55, 4, 3]), der(0x0c, b"theirs")].concat());
    let issuer = der(0x30, &der(0x31, &common));
    let extension = |oid: &[u8], critical: bool, value: &[u8]| {
        let flag = if critical { der(0x01, &[0xff]) } else { Vec::new() };
        der(0x30, &[der(0x06, oid), flag, der(0x04, value)].concat())
    };
    let number = extension(&[0x55, 0x1d, 0x14], false, &der(0x02, &[1]));
    let point = extension(&[0x55, 0x1d, 0x1c], true, &der(0x30, &der(0x83, &[])));
    let extensions = der(0xa0, &der(0x30, &[number, point].concat()));
    let times = [der(0x17, b"250101000000Z"), der(0x17, b"490101000000Z")].concat();
    let list = der(0x30, &[der(0x02, &[1]), algorithm.clone(), issuer, times, extensions].concat());
    der(0x30, &[list, algorithm, der(0x03, &[0, 0x30, 0])].concat())
}

fn pem_crl(der: &[u8]) -> String {
    use base64::Engine as _;
    format!("-----BEGIN X509 CRL-----\n{}\n-----END X509 CRL-----\n", base64::engine::general_purpose::STANDARD.encode(der))
}

#[test]
fn a13_a14_a32_sessions_are_never_resumed() {
    let world = World::new();
    let sidecar = world.start();
    let kind = |client: &Client| {
        let mut conn = client.open(sidecar.inbound);
        conn.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n").unwrap();
        let bytes = rest(&mut conn);
        (conn.conn.handshake_kind(), bytes)
    };
    // A13: this client keeps every ticket it is given, and offers it.
    let client = world.client("invoices");
    for _ in 0..3 {
        let (kind, bytes) = kind(&client);
        assert_eq!(kind, Some(HandshakeKind::Full));
        assert!(bytes.starts_with(b"HTTP/1.1 200"));
    }
    // A14: a ticket from a listener that asks for no certificate, and has the gate's own key.
    let own = world.leaf("items");
    let server = no_client_auth(&own);
    let nobody = Client::nobody();
    let mut conn = nobody.open(server);
    conn.write_all(b"x").unwrap();
    let _ = conn.read(&mut [0; 1]);
    drop(conn);
    let mut again = nobody.open(server);
    again.write_all(b"x").unwrap();
    let _ = again.read(&mut [0; 1]);
    assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Resumed), "the ticket is one that can be used");
    assert!(nobody.turned_away(sidecar.inbound).is_some());
    let log = sidecar.log_until("the refusal is in the log", |log| !log.refused().is_empty());
    assert_eq!(log.refused(), ["no-certificate"]);
    sidecar.stop();
}

/// A TLS server that asks nobody for a certificate and gives tickets.
fn no_client_auth(leaf: &Leaf) -> std::net::SocketAddr {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_no_client_auth().with_single_cert(leaf.chain.clone(), leaf.key.clone_key()).unwrap();
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(Arc::clone(&config)).unwrap(), socket);
            let _ = stream.read(&mut [0; 1]);
            let _ = stream.write_all(b"y");
            let _ = stream.flush();
        }
    });
    address
}

#[test]
fn a17_a36_bytes_before_and_instead_of_a_handshake() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let hello = || {
        let mut tls = client.tls();
        let mut bytes = Vec::new();
        while tls.wants_write() {
            tls.write_tls(&mut bytes).unwrap();
        }
        (tls, bytes)
    };
    let say = |bytes: &[u8]| {
        let mut socket = TcpStream::connect(sidecar.inbound).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = socket.write_all(bytes);
        rest(&mut socket);
    };
    // A17: whoever forges a PROXY header is not even heard.
    let v1 = b"PROXY TCP4 10.0.0.7 10.0.0.8 1234 443\r\n".as_slice();
    let v2 = [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\0\0\x07\x0a\0\0\x08\x04\xd2\x01\xbb".as_slice(), &hello().1].concat();
    let long = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff".as_slice();
    let words = [
        [v1, &hello().1].concat(),
        v2,
        long.to_vec(),
        b"PROXY \xff\xfe\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: items\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"SSH-2.0-x\r\n".to_vec(),
    ];
    for bytes in &words {
        say(bytes);
    }
    let log = sidecar.log_until("each is refused", |log| log.refused().len() == words.len());
    assert_eq!(log.refused(), vec!["not-tls"; words.len()]);
    // A36a: `close_notify` in the middle of the handshake.
    let before = sidecar.ticks();
    say(&[hello().1.as_slice(), &[21, 3, 3, 0, 2, 1, 0]].concat());
    say(&[21, 3, 1, 0, 2, 1, 0]);
    say(&[21, 3, 1, 0, 2, 2, 40]);
    sidecar.log_until("the alerts are refused", |log| log.refused().len() == words.len() + 3);
    // A36b: the ClientHello byte by byte, each in a record of its own, is one all the same.
    let (tls, bytes) = hello();
    assert_eq!(bytes[0], 22);
    let mut socket = TcpStream::connect(sidecar.inbound).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let fragments: Vec<u8> = bytes[5..].iter().flat_map(|b| [22, 3, 1, 0, 1, *b]).collect();
    socket.write_all(&fragments).unwrap();
    let mut stream = rustls::StreamOwned::new(tls, socket);
    let _ = stream.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n");
    let mut first = [0; 1];
    // Served or refused; what must not happen is a panic or a spin.
    if stream.read(&mut first).is_ok_and(|n| n == 1) {
        assert_eq!(&first, b"H");
    }
    drop(stream);
    // Records without content, and one that never ends.
    say(&[hello().1.as_slice(), &[22, 3, 3, 0, 0].repeat(200), &[20, 3, 3, 0, 1, 1].repeat(200)].concat());
    say(&[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0]);
    assert!(sidecar.ticks() - before < 300, "the gate spins: {} ticks", sidecar.ticks() - before);
    assert_eq!(client.get(sidecar.inbound, "/v1/items/after", ""), 200);
    sidecar.stop();
}

#[test]
fn tls_1_2_is_refused_unless_configured() {
    let world = World::new();
    let sidecar = world.start();
    let mut old = world.client("invoices");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let resolver = Arc::clone(&old.config.client_auth_cert_resolver);
    let roots = rustls::RootCertStore::empty();
    old.config = builder.with_root_certificates(roots).with_client_cert_resolver(resolver);
    assert!(old.turned_away(sidecar.inbound).is_some());
    let log = sidecar.log_until("it is refused", |log| !log.refused().is_empty());
    assert_eq!(log.refused(), ["protocol-version"]);
    sidecar.stop();
}

#[test]
fn a_certificate_that_the_gate_itself_may_not_show_stops_the_start() {
    let world = World::new();
    let config = world.config();
    let mismatched = |leaf: &Leaf, key: &Leaf| {
        replace(&world.path("items.key"), key.key_pem.as_bytes());
        replace(&world.path("items.pem"), leaf.chain_pem.as_bytes());
    };
    let good = world.leaf("items");
    mismatched(&good, &world.leaf("items"));
    assert_eq!(world.start_fails(&config).0, Some(2), "A71: a key of another certificate");
    let users = world.leaf("users");
    mismatched(&users, &users);
    let (code, said) = world.start_fails(&config);
    assert!(code == Some(2) && said.contains("items"), "an identity of another service: {said}");
    let server_only = world.root.odd_leaf(&[&spiffe("items")], |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    mismatched(&server_only, &server_only);
    assert_eq!(world.start_fails(&config).0, Some(2));
    let two = world.root.odd_leaf(&[], |p| p.subject_alt_names = vec![uri(&spiffe("items")), uri(&spiffe("users"))]);
    mismatched(&two, &two);
    assert_eq!(world.start_fails(&config).0, Some(2));
    mismatched(&good, &good);
    assert_eq!(world.start_fails(&config).0, Some(0), "the good pair is good");
    let mut conn = world.client("invoices").open(world.start().inbound);
    drop(conn.write_all(b"GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n\r\n").map(|()| one_answer(&mut conn)));
}
