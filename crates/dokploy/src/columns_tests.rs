//! Every field both ways: what is written reads back as the same value, and what others wrote reads as what it means.

use super::*;

fn row(changes: &[(&str, Json)]) -> Columns {
    let mut row = json!({
        "name": "n", "sourceType": "docker", "dockerImage": null, "username": null, "password": null,
        "registryUrl": null, "env": null, "command": null, "args": null, "replicas": 1, "memoryLimit": null,
        "memoryReservation": null, "cpuLimit": null, "cpuReservation": null, "labelsSwarm": null,
        "healthCheckSwarm": null, "updateConfigSwarm": null, "stopGracePeriodSwarm": null, "autoDeploy": true,
    });
    for (column, value) in changes {
        row[*column] = value.clone();
    }
    serde_json::from_value(row).unwrap()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn what_is_written_reads_back() {
    let env: BTreeMap<String, Secret> = [("A", "1"), ("B", "it's \"so\" #1"), ("C", "line\nline")]
        .map(|(k, v)| (k.to_owned(), Secret::new(v)))
        .into();
    let update = |start_first, rollback| {
        Value::Update(UpdatePolicy { start_first, parallel: 2, monitor: s(10), rollback })
    };
    let table = vec![
        (Field::Name, Value::Text("web".into())),
        (Field::Source, Value::Text("docker".into())),
        (Field::Image, Value::Text("nginx:1".into())),
        (Field::Image, Value::Null),
        (Field::RegistryUser, Value::Text("u".into())),
        (Field::RegistryPassword, Value::Secret(Secret::new("p"))),
        (Field::RegistryPassword, Value::Null),
        (Field::RegistryUrl, Value::Text("ghcr.io".into())),
        (Field::Env, Value::Env(env)),
        (Field::Env, Value::Null),
        (Field::Command, Value::List(strings(&["sh", "-c"]))),
        (Field::Command, Value::Null),
        (Field::Args, Value::List(strings(&["a b", ""]))),
        (Field::Args, Value::Null),
        (Field::Replicas, Value::Int(0)),
        (Field::Replicas, Value::Int(3)),
        (Field::Memory, Value::Int(512 << 20)),
        (Field::Memory, Value::Null),
        (Field::MemoryReserve, Value::Int(1)),
        (Field::Cpu, Value::Int(500_000_000)),
        (Field::CpuReserve, Value::Int(1)),
        (Field::Labels, Value::Map([("berth.dev/hash".to_owned(), "x".to_owned())].into())),
        (Field::Labels, Value::Null),
        (
            Field::HealthCmd,
            Value::Health(HealthCmd {
                test: strings(&["CMD-SHELL", "true"]),
                interval: s(10),
                timeout: s(3),
                retries: 5,
                start_period: s(0),
            }),
        ),
        (Field::HealthCmd, Value::Null),
        (Field::Update, update(true, true)),
        (Field::Update, update(false, false)),
        (Field::Update, Value::Null),
        (Field::StopGrace, Value::Int(30_000_000_000)),
        (Field::StopGrace, Value::Null),
        (Field::AutoDeploy, Value::Bool(false)),
        (Field::AutoDeploy, Value::Null),
    ];
    for field in Field::ALL {
        assert!(table.iter().any(|(f, _)| *f == field), "{field:?} is not in the table");
    }
    for (field, value) in table {
        let json = write(field, &value, None).unwrap();
        assert_eq!(row(&[(column(field), json)]).field(field), value, "{field:?}");
    }
}

#[test]
fn others_values_read_as_what_they_mean() {
    let foreign = || Value::Foreign(String::new());
    let table = vec![
        (Field::Image, json!(""), Value::Null),
        (Field::Command, json!(""), Value::Null),
        (Field::Command, json!("a  b"), Value::List(strings(&["a", "", "b"]))),
        (Field::Args, json!([]), Value::Null),
        (Field::Env, json!(""), Value::Null),
        (Field::Env, json!("# only a comment"), Value::Null),
        (Field::Env, json!("enc:v1:abc"), foreign()),
        (Field::Memory, json!(""), Value::Null),
        (Field::Memory, json!("0"), Value::Null),
        (Field::Memory, json!("512m"), foreign()),
        (Field::Memory, json!(1024), Value::Int(1024)),
        (Field::Replicas, json!(-1), foreign()),
        (Field::Replicas, json!(null), Value::Null),
        (Field::Labels, json!({}), Value::Null),
        (Field::Labels, json!([1]), foreign()),
        (Field::HealthCmd, json!({}), Value::Null),
        (Field::HealthCmd, json!({"Test": []}), foreign()),
        (Field::HealthCmd, json!({"Test": ["NONE"], "StartInterval": 1}), foreign()),
        (
            Field::HealthCmd,
            json!({"Test": ["CMD", "x"]}),
            Value::Health(HealthCmd {
                test: strings(&["CMD", "x"]),
                interval: s(30),
                timeout: s(30),
                retries: 3,
                start_period: s(0),
            }),
        ),
        (
            Field::Update,
            json!({"Parallelism": 1, "Order": "start-first"}),
            Value::Update(UpdatePolicy { start_first: true, parallel: 1, monitor: s(5), rollback: false }),
        ),
        (Field::Update, json!({"Parallelism": 1, "Order": "start-first", "Delay": 9}), foreign()),
        (Field::Update, json!({"Parallelism": 1, "Order": "x"}), foreign()),
        (
            Field::Update,
            json!({"Parallelism": 1, "Order": "stop-first", "FailureAction": "continue"}),
            foreign(),
        ),
        (Field::StopGrace, json!("30"), Value::Int(30)),
        (Field::StopGrace, json!(-1), foreign()),
    ];
    for (field, json, expected) in table {
        let got = row(&[(column(field), json.clone())]).field(field);
        match expected {
            Value::Foreign(_) => assert!(matches!(got, Value::Foreign(_)), "{field:?} {json}: {got:?}"),
            expected => assert_eq!(got, expected, "{field:?} {json}"),
        }
    }
}

#[test]
fn what_has_no_form_is_refused() {
    let table = vec![
        (Field::Command, Value::List(strings(&["sh", "-c", "echo hi"]))),
        (Field::Name, Value::Null),
        (Field::Memory, Value::Foreign("x".into())),
        (Field::Replicas, Value::Int(1 << 40)),
        (Field::Image, Value::Int(1)),
    ];
    for (field, value) in table {
        assert!(matches!(write(field, &value, None), Err(PortError::Refused { .. })), "{field:?} {value:?}");
    }
    // A null would be stored as zero replicas.
    assert_eq!(write(Field::Replicas, &Value::Null, None), Ok(json!(1)));
}

#[test]
fn a_missing_column_is_an_error_and_not_empty() {
    for field in Field::ALL {
        let mut row = serde_json::to_value(json!({
            "name": "n", "sourceType": "docker", "dockerImage": null, "username": null, "password": null,
            "registryUrl": null, "env": null, "command": null, "args": null, "replicas": 1, "memoryLimit": null,
            "memoryReservation": null, "cpuLimit": null, "cpuReservation": null, "labelsSwarm": null,
            "healthCheckSwarm": null, "updateConfigSwarm": null, "stopGracePeriodSwarm": null, "autoDeploy": true,
        }))
        .unwrap();
        row.as_object_mut().unwrap().shift_remove(column(field));
        assert!(serde_json::from_value::<Columns>(row).is_err(), "{field:?}");
    }
}
