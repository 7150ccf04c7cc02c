//! `berth.yaml`: what is read, what is refused and in which words.

use berth_manifest::{Lookup, load_config, read_config, render};
use berth_model::config::{Address, Config, Dns, DnsProvider};
use berth_model::dns::{Policy, TsigAlgo, Ttl, VerifyMode};
use std::path::Path;

struct Given;

impl Lookup for Given {
    fn env(&self, name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("hunter2".to_owned()),
            "EMPTY" => Some("  ".to_owned()),
            "UNRESOLVED" => Some("${{project.SHARED_PROJECT_ID}}".to_owned()),
            "SHARED_PROJECT_ID" => Some("p-1".to_owned()),
            _ => None,
        }
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        if path == Path::new("/keys") { Ok("hunter2\n".to_owned()) } else { Err("no such file".to_owned()) }
    }
}

const GOOD: &str = "owner: prod-eu\nbackends:\n  main: {dokploy: \"http://h:3000\", key: {env: TOKEN}}\nsource: {directory: /d}\nstate: {sqlite: /s}\nvault: {keys: {file: /keys}}\n";

#[track_caller]
fn check(name: &str, text: &str) {
    let errors = load_config("berth.yaml", text.as_bytes(), &Given).unwrap_err();
    let shown = render(&errors, &("berth.yaml", text.as_bytes()), false);
    // The source lines are the file's own; what was read through references is nowhere.
    assert!(!shown.contains("hunter2") || text.contains("hunter2"), "{shown}");
    for e in &errors {
        assert!(!e.to_string().contains("hunter2"), "{e}");
    }
    insta::assert_snapshot!(name, shown);
}

#[test]
fn good() {
    let config = load_config("berth.yaml", GOOD.as_bytes(), &Given).unwrap();
    let backend = config.backends.values().next().unwrap();
    assert_eq!(backend.key.value.expose(), "hunter2");
    assert_eq!(config.vault.value.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:9477");
    assert_eq!(config.reserved_names.len(), 9);
    assert_eq!(config.itself, None);
    let config = load_config("berth.yaml", format!("{GOOD}self: ops/berth\n").as_bytes(), &Given).unwrap();
    let (stack, app) = config.itself.unwrap();
    assert_eq!((stack.as_str(), app.as_str()), ("ops", "berth"));
}

#[test]
fn refused() {
    check("nothing", "");
    check("missing", "owner: prod-eu\nbackends: {main: {}}\n");
    check("unknown", &format!("{GOOD}ownr: x\nintervals: {{resink: 1s, audit: 0s}}\nlisten: here\n"));
    check(
        "secrets_in_the_file",
        &GOOD.replace("{env: TOKEN}", "hunter2").replace("{file: /keys}", "hunter2"),
    );
    check(
        "references",
        &GOOD
            .replace("prod-eu", "{env: EMPTY}")
            .replace("{env: TOKEN}", "{env: UNRESOLVED}")
            .replace("/keys", "/nowhere")
            .replace("/d}", "{env: NOT_SET}}"),
    );
    check(
        "two_that_go_together",
        &format!(
            "{GOOD}defaults: {{target: {{project: {{env: SHARED_PROJECT_ID}}, environment: {{env: SHARED_ENVIRONMENT_ID}}}}}}\n"
        ),
    );
    check(
        "places",
        &GOOD
            .replace("{directory: /d}", "{postgres: {env: TOKEN}}")
            .replace("{sqlite: /s}", "{sqlite: /s, postgres: {env: TOKEN}}"),
    );
    check("backends", &GOOD.replace("  main: {dokploy: \"http://h:3000\"", "  Bad: {dokploy: h, key: {env: TOKEN}}\n  b: {dokploy: \"http://u:p@h\", key: {env: TOKEN}, inFlight: 0, timeout: 1ms, probe: x, https: \"a b\"}\n  main: {dokploy: \"http://h/x\""));
    check("defaults", &format!("{GOOD}defaults: {{target: {{dokploy: mian}}, hostSuffix: \"a b\"}}\n"));
    check("itself", &format!("{GOOD}self: daemon\n"));
    check("two_documents", &format!("{GOOD}---\n{GOOD}"));
}

/// Settings with this `dns:`, in flow style.
fn with_dns(dns: &str) -> String {
    format!("{GOOD}dns:\n{dns}")
}

/// Settings whose account has this address.
fn with_address(address: &str) -> String {
    GOOD.replace("key: {env: TOKEN}}", &format!("key: {{env: TOKEN}}, address: {address}}}"))
}

#[track_caller]
fn read(text: &str) -> Config {
    load_config("berth.yaml", text.as_bytes(), &Given).unwrap_or_else(|errors| {
        panic!("{}", render(&errors, &("berth.yaml", text.as_bytes()), false));
    })
}

const DNS: &str = "  credentials:
    hz: {hetzner: {key: {env: TOKEN}}}
    cf: {cloudflare: {key: {file: /keys}, url: \"https://api.example.test/\"}, zones: [Example.COM., bücher.example]}
    hs: {hostinger: {key: {env: TOKEN}}, servers: [\"192.0.2.1:53\", \"[2001:db8::1]:53\"]}
    pd: {powerdns: {url: \"http://127.0.0.1:8081\", key: {env: TOKEN}}}
    pe: {powerdns: {url: \"http://127.0.0.1:8082\", key: {env: TOKEN}, server: two, companions: true}}
    ns: {rfc2136: {server: \"192.0.2.53:53\", tsig: {name: Berth., algorithm: HMAC-SHA512, secret: {env: TOKEN}}}, zones: [example.net]}
    nt: {rfc2136: {server: \"[2001:db8::53]:5353\", transfers: false}, zones: [example.org]}
  zones:
    example.com: {policy: sync, adopt: true, verify: provider, ttl: 5m, proxied: true}
    Example.NET: {policy: create-only, verify: authoritative, ttl: auto, proxied: false}
    example.org: {policy: upsert-only}
  resolvers: [\"192.0.2.1:53\"]
  recursors: [\"1.1.1.1:53\", \"[2606:4700:4700::1111]:53\"]
";

#[test]
fn dns() {
    assert!(read(GOOD).dns.credentials.is_empty());
    let config = read(&with_dns(DNS));
    assert!(!format!("{config:?}").contains("hunter2"));
    let Dns { credentials, zones, resolvers, recursors } = config.dns;
    assert_eq!((credentials.len(), zones.len(), resolvers.len(), recursors.len()), (7, 3, 1, 2));
    assert!(credentials.values().all(|c| c.provider.secret().is_none_or(|s| s.value.expose() == "hunter2")));
    let zones_of = |name: &str| {
        let zones = credentials[name].zones.as_ref()?;
        Some(zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(zones_of("hz"), None);
    assert_eq!(zones_of("cf").unwrap(), "example.com xn--bcher-kva.example");
    let servers: Vec<_> = credentials["hs"].servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["192.0.2.1:53", "[2001:db8::1]:53"]);
    let DnsProvider::Cloudflare { url, .. } = &credentials["cf"].provider else { panic!() };
    assert_eq!(url.as_deref(), Some("https://api.example.test"));
    let powerdns = |name: &str| match &credentials[name].provider {
        DnsProvider::PowerDns { url, server, companions, .. } => format!("{url} {server} {companions}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(powerdns("pd"), "http://127.0.0.1:8081 localhost false");
    assert_eq!(powerdns("pe"), "http://127.0.0.1:8082 two true");
    let DnsProvider::Rfc2136 { server, key: Some(key), transfers: true } = &credentials["ns"].provider else {
        panic!()
    };
    assert_eq!(
        (server.to_string().as_str(), key.name.as_str(), key.algorithm),
        ("192.0.2.53:53", "berth", TsigAlgo::Sha512)
    );
    assert!(matches!(&credentials["nt"].provider, DnsProvider::Rfc2136 { key: None, transfers: false, .. }));
    let zone: Vec<_> = zones.values().collect();
    assert_eq!(
        (zone[0].rules.policy, zone[0].rules.adopt, zone[0].verify),
        (Policy::Sync, true, VerifyMode::Provider)
    );
    assert_eq!((zone[0].ttl, zone[0].proxied), (Ttl::Seconds(300), Some(true)));
    assert_eq!(
        (zone[1].rules.policy, zone[1].ttl, zone[1].proxied),
        (Policy::CreateOnly, Ttl::Auto, Some(false))
    );
    assert_eq!(
        (zone[2].rules.policy, zone[2].verify, zone[2].proxied),
        (Policy::UpsertOnly, VerifyMode::Authoritative, None)
    );
    // The least and the most.
    for (text, ttl) in [("1s", 1), ("24855d", 2_147_472_000), ("2147483647s", 2_147_483_647)] {
        let config = read(&with_dns(&format!(
            "  credentials: {{hz: {{hetzner: {{key: {{env: TOKEN}}}}}}}}\n  zones: {{a.test: {{ttl: {text}}}}}\n"
        )));
        assert_eq!(config.dns.zones.values().next().unwrap().ttl, Ttl::Seconds(ttl), "{text}");
    }
}

#[test]
fn dns_refused() {
    check(
        "dns_credentials",
        &with_dns(
            "  credentials:
    Bad: {hetzner: {key: {env: TOKEN}}}
    a: {route53: {key: {env: TOKEN}}}
    b: {hetznr: {key: {env: TOKEN}}}
    c: {hetzner: {key: {env: TOKEN}}, cloudflare: {key: {env: TOKEN}}}
    d: {zones: [example.com]}
    e: {hetzner: }
    f: {hetzner: {key: hunter2}}
    g: {cloudflare: {}}
    h: {hostinger: {key: {env: TOKEN}, url: ftp://x}, zones: []}
    i: {powerdns: {}}
    j: {powerdns: {url: \"http://h/api/v1\", key: {env: NOT_SET}, server: \"\"}}
    k: {hetzner: token}
    l: {}
    m: {hetzner: {key: {env: TOKEN}}, zones: [\"a b\", \"*.example.com\", \"\"], servers: [192.0.2.1, \"ns1.example.com:53\", \"192.0.2.1:0\", \"2001:db8::1\"]}
",
        ),
    );
    check(
        "dns_updates",
        &with_dns(
            "  credentials:
    a: {rfc2136: {server: \"192.0.2.1:53\"}}
    b: {rfc2136: {}, zones: [b.test]}
    c: {rfc2136: {server: ns1, tsig: {}}, zones: [c.test]}
    d: {rfc2136: {server: \"192.0.2.1:53\", tsig: {name: \"a b\", algorithm: hmac-md5, secret: hunter2}}, zones: [d.test]}
    e: {rfc2136: {server: \"192.0.2.1:53\", tsig: {name: key, algorithm: hmac-sha1, secret: {env: TOKEN}}}, zones: [e.test]}
    f: {hetzner: {key: {env: TOKEN}}, zones: [f.test]}
    g: {hostinger: {key: {env: TOKEN}}, zones: [g.test, F.test.]}
",
        ),
    );
    check("dns_no_credential", &with_dns("  zones: {example.com: {policy: sync}}\n"));
    check("dns_no_credentials", &with_dns("  credentials: {}\n  zones: {example.com: {policy: sync}}\n"));
    check(
        "dns_zones",
        &with_dns(
            "  credentials: {hz: {hetzner: {key: {env: TOKEN}}}}
  zones:
    \"*.example.com\": {}
    a..b: {}
    a.test: {policy: upsert, verify: yes, ttl: 5, proxied: maybe, adopt: yes, owner: x}
    b.test: {policy: delete, verify: authorative, ttl: 0s}
    c.test: {ttl: 1500ms}
    d.test: {ttl: 24856d}
    e.test: {ttl: soon}
    E.test: {}
  resolvers: [system]
  recursors: 1.1.1.1:53
  recursor: [\"1.1.1.1:53\"]
",
        ),
    );
}

#[test]
fn addresses() {
    let of =
        |address: &str| read(&with_address(address)).backends.into_values().next().unwrap().address.unwrap();
    let ip = |v4: Option<&str>, v6: Option<&str>| Address::Ip {
        v4: v4.map(|a| a.parse().unwrap()),
        v6: v6.map(|a| a.parse().unwrap()),
    };
    assert_eq!(of("{ipv4: 203.0.113.7}"), ip(Some("203.0.113.7"), None));
    assert_eq!(of("{ipv6: \"2001:db8::7\"}"), ip(None, Some("2001:db8::7")));
    assert_eq!(
        of("{ipv4: 203.0.113.7, ipv6: \"2001:db8::7\"}"),
        ip(Some("203.0.113.7"), Some("2001:db8::7"))
    );
    assert_eq!(
        of("{cname: Edge.Example.com.}"),
        Address::Name(berth_model::dns::Fqdn::new("edge.example.com").unwrap())
    );
    for (n, bad) in [
        "{}",
        "{ipv4: \"2001:db8::7\", ipv6: 203.0.113.7}",
        "{ipv4: 203.0.113.7, cname: edge.example.com}",
        "{cname: 203.0.113.7}",
        "{cname: \"*.example.com\"}",
        "{cname: \"a b\"}",
        "203.0.113.7",
        "{ipv4: here}",
    ]
    .iter()
    .enumerate()
    {
        check(&format!("address_{n}"), &with_address(bad));
    }
}

/// A zone that no credential is for is told where each of them says its zones: else one may reach it.
#[test]
fn zones_that_nobody_reaches() {
    let all = "  credentials:
    a: {hetzner: {key: {env: TOKEN}}, zones: [a.test]}
    b: {hetzner: {key: {env: TOKEN}}, zones: [b.test]}
  zones: {a.test: {}, exmaple.com: {policy: sync}}
";
    let text = with_dns(all);
    let (_, told) = read_config("berth.yaml", text.as_bytes(), &Given).unwrap();
    insta::assert_snapshot!("dns_zone_of_nobody", render(&told, &("berth.yaml", text.as_bytes()), false));
    let open = with_dns(&all.replace(", zones: [b.test]", ""));
    assert!(read_config("berth.yaml", open.as_bytes(), &Given).unwrap().1.is_empty());
}

/// An address that only a network of one's own reaches is taken as it is written, and said.
#[test]
fn private_addresses() {
    let text = with_address("{ipv4: 10.0.0.7, ipv6: \"fd00::7\"}");
    let (config, told) = read_config("berth.yaml", text.as_bytes(), &Given).unwrap();
    assert!(config.backends.values().all(|b| b.address.is_some()));
    insta::assert_snapshot!("private_addresses", render(&told, &("berth.yaml", text.as_bytes()), false));
    assert!(load_config("berth.yaml", text.as_bytes(), &Given).is_ok());
    assert!(
        read_config("berth.yaml", with_address("{ipv4: 203.0.113.7}").as_bytes(), &Given)
            .unwrap()
            .1
            .is_empty()
    );
}
