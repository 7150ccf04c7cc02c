//! Every write's exact body: what is not meant must not be in it.

use super::*;
use berth_model::stack::{Host, HostKey, Https};

fn sent(write: &Write) -> (&'static str, Json, bool) {
    let ready = prepare(write).unwrap().unwrap();
    (ready.procedure, ready.body, ready.again == Again::Yes)
}

#[test]
fn bodies() {
    let host = ChildKey::Domain(HostKey { host: "a.example".into(), path: "/".into() });
    let domain =
        Child::Domain(Host { port: 80, https: Https::None, internal_path: "/".into(), strip_path: false });
    let columns = json!({
        "host": "a.example", "path": "/", "port": 80, "https": false, "certificateType": "none",
        "domainType": "application", "internalPath": "/", "stripPath": false, "customCertResolver": null,
    });
    let with = |changes: Json| {
        let mut all = columns.clone();
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        all
    };
    let table = vec![
        (
            Write::CreateProject { name: "n".into(), description: "d".into() },
            ("project.create", json!({"name": "n", "description": "d"}), false),
        ),
        (
            Write::UpdateProject { id: "p".into(), description: None, env: Some(Secret::new("A=1")) },
            ("project.update", json!({"env": "A=1", "projectId": "p"}), true),
        ),
        (Write::RemoveProject { id: "p".into() }, ("project.remove", json!({"projectId": "p"}), true)),
        (
            Write::RemoveEnvironment { project: "p".into(), id: "e".into() },
            ("environment.remove", json!({"environmentId": "e"}), true),
        ),
        (
            Write::CreateEnvironment { project: "p".into(), name: "n".into(), description: "d".into() },
            ("environment.create", json!({"projectId": "p", "name": "n", "description": "d"}), false),
        ),
        (
            Write::UpdateEnvironment { id: "e".into(), env: Secret::new("") },
            ("environment.update", json!({"environmentId": "e", "env": ""}), true),
        ),
        (
            Write::CreateApp {
                environment: "e".into(),
                name: "n".into(),
                service_base: "b".into(),
                description: "d".into(),
            },
            (
                "application.create",
                json!({"environmentId": "e", "name": "n", "appName": "b", "description": "d"}),
                false,
            ),
        ),
        (
            Write::MoveApp { id: "a".into(), environment: "e".into() },
            ("application.move", json!({"applicationId": "a", "targetEnvironmentId": "e"}), true),
        ),
        (
            Write::UpdateApp {
                id: "a".into(),
                fields: [
                    (Field::Image, Value::Text("x".into())),
                    (Field::Memory, Value::Null),
                    (Field::Env, Value::Env([("A".to_owned(), Secret::new("1"))].into())),
                ]
                .into(),
                env_text: Some(Secret::new("# mine\nA='1'")),
                description: Some("m".into()),
            },
            (
                "application.update",
                json!({
                    "dockerImage": "x", "env": "# mine\nA='1'", "memoryLimit": null, "description": "m",
                    "applicationId": "a",
                }),
                true,
            ),
        ),
        (
            Write::CreateChild { app: "a".into(), key: host.clone(), child: domain.clone() },
            ("domain.create", with(json!({"applicationId": "a"})), false),
        ),
        (
            Write::UpdateChild { app: "a".into(), id: "d".into(), key: host.clone(), child: domain },
            ("domain.update", with(json!({"domainId": "d", "enabled": true})), true),
        ),
        (
            Write::RemoveChild { app: "a".into(), id: "d".into(), key: host },
            ("domain.delete", json!({"domainId": "d"}), true),
        ),
        (
            Write::Deploy { app: "a".into(), token: "t".into() },
            (
                "application.deploy",
                json!({"applicationId": "a", "title": "t", "description": "Berth"}),
                false,
            ),
        ),
        (
            Write::Restart { app: "a".into(), service: "web-1".into() },
            ("application.reload", json!({"applicationId": "a", "appName": "web-1"}), false),
        ),
        (Write::DeleteApp { id: "a".into() }, ("application.delete", json!({"applicationId": "a"}), true)),
    ];
    for (write, expected) in table {
        assert_eq!(sent(&write), expected);
        // What may be said again is never what makes one more; a restart makes nothing and is not said again either.
        let once = write.creates() || matches!(write, Write::Restart { .. });
        assert_eq!(once, !expected.2, "{}", write.verb());
    }
}

#[test]
fn nothing_to_say_is_not_said() {
    let empty = Write::UpdateApp { id: "a".into(), fields: Fields::new(), env_text: None, description: None };
    assert!(prepare(&empty).unwrap().is_none());
    let empty = Write::UpdateProject { id: "p".into(), description: None, env: None };
    assert!(prepare(&empty).unwrap().is_none());
}

#[test]
fn an_answer_to_a_create_that_cannot_be_read_is_unknown() {
    let write = Write::CreateApp {
        environment: "e".into(),
        name: "n".into(),
        service_base: "b".into(),
        description: String::new(),
    };
    for bad in ["", "null", "{}", "[]", "<html>"] {
        assert!(matches!(written(&write, "p", bad.as_bytes()), Err(PortError::Unknown { .. })), "{bad}");
    }
    let good = br#"{"applicationId":"x","appName":"b-123456","env":null}"#;
    assert_eq!(written(&write, "p", good), Ok(Written::App { id: "x".into(), service: "b-123456".into() }));
    let deploy = Write::Deploy { app: "a".into(), token: String::new() };
    assert_eq!(written(&deploy, "p", b""), Ok(Written::Done));
}

#[test]
fn errors_lose_what_was_sent() {
    let write = Write::UpdateApp {
        id: "a".into(),
        fields: [(Field::RegistryPassword, Value::Secret(Secret::new("hunter2")))].into(),
        env_text: Some(Secret::new("A='canary-value'")),
        description: None,
    };
    let error = PortError::Refused { why: "bad password hunter2 and canary-value".into() };
    assert_eq!(
        scrubbed(error, &secrets(&write)),
        PortError::Refused { why: "bad password *** and ***".into() }
    );
}
