//! Children both ways, and the rows that others make.

use super::*;

fn domain(https: Https) -> (ChildKey, Child) {
    (
        ChildKey::Domain(HostKey { host: "a.example".into(), path: "/api".into() }),
        Child::Domain(Host { port: 8080, https, internal_path: "/v1".into(), strip_path: true }),
    )
}

fn all() -> Vec<(ChildKey, Child)> {
    let mount = |m| (ChildKey::Mount("/data".into()), Child::Mount(m));
    let port = |udp, host_mode| {
        (ChildKey::Port(PortKey { published: 5000, udp }), Child::Port(Port { target: 80, host_mode }))
    };
    vec![
        mount(Mount::Volume { name: "v".into() }),
        mount(Mount::Bind { host_path: "/srv".into() }),
        mount(Mount::File { file_path: "a/b".into(), content: Secret::new("hunter2") }),
        port(false, false),
        port(true, true),
        domain(Https::None),
        domain(Https::LetsEncrypt),
        domain(Https::Resolver("corp".into())),
    ]
}

/// As the server would answer it.
fn stored(key: &ChildKey, body: &Json) -> Option<SeenChild> {
    let mut row = body.clone();
    match key {
        ChildKey::Mount(_) => {
            row["mountId"] = json!("id");
            serde_json::from_value::<MountRow>(row).unwrap().seen()
        }
        ChildKey::Port(_) => {
            row["portId"] = json!("id");
            serde_json::from_value::<PortRow>(row).unwrap().seen()
        }
        ChildKey::Domain(_) => {
            row["domainId"] = json!("id");
            row["uniqueConfigKey"] = json!(7);
            serde_json::from_value::<DomainRow>(row).unwrap().seen()
        }
    }
}

#[test]
fn what_is_written_reads_back() {
    for (key, child) in all() {
        for (_, body) in
            [create(&"app".into(), &key, &child).unwrap(), update(&"id".into(), &key, &child).unwrap()]
        {
            let seen = stored(&key, &body).unwrap();
            assert_eq!((&seen.key, &seen.child, seen.id.as_str()), (&key, &child, "id"));
        }
    }
}

#[test]
fn creates_name_their_parent() {
    for (key, child) in all() {
        let (procedure, body) = create(&"app".into(), &key, &child).unwrap();
        match key {
            ChildKey::Mount(_) => {
                assert_eq!(
                    (&body["serviceId"], &body["serviceType"]),
                    (&json!("app"), &json!("application"))
                );
                assert_eq!(procedure, "mounts.create");
            }
            ChildKey::Port(_) => {
                assert_eq!((procedure, &body["applicationId"]), ("port.create", &json!("app")))
            }
            ChildKey::Domain(_) => {
                assert_eq!((procedure, &body["applicationId"]), ("domain.create", &json!("app")));
                assert_eq!(body["domainType"], json!("application"));
            }
        }
    }
    let (key, _) = &all()[0];
    let (_, other) = &all()[3];
    assert!(create(&"app".into(), key, other).is_none());
}

#[test]
fn others_rows() {
    let domain = |changes: Json| {
        let mut row = json!({
            "domainId": "d", "host": "Up.Example.", "https": false, "port": null, "path": null, "internalPath": null,
            "stripPath": false, "certificateType": "none", "customCertResolver": null, "uniqueConfigKey": 3,
        });
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value::<DomainRow>(row).unwrap().seen()
    };
    let seen = domain(json!({})).unwrap();
    assert_eq!(seen.key, ChildKey::Domain(HostKey { host: "up.example".into(), path: "/".into() }));
    assert_eq!(seen.router, Some(3));
    assert!(matches!(seen.child, Child::Domain(Host { port: 80, https: Https::None, .. })));
    let seen = domain(json!({ "https": true })).unwrap();
    assert!(matches!(seen.child, Child::Domain(Host { https: Https::Resolver(r), .. }) if r == NO_RESOLVER));
    assert!(domain(json!({ "port": 99999 })).is_none());

    let port = json!({ "portId": "p", "publishedPort": 99999, "targetPort": 80, "protocol": "tcp" });
    assert!(serde_json::from_value::<PortRow>(port).unwrap().seen().is_none());
    let mount = json!({ "mountId": "m", "type": "volume", "mountPath": "/d", "serviceType": "postgres" });
    assert!(serde_json::from_value::<MountRow>(mount).unwrap().seen().is_none());
}
