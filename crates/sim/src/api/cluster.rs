//! What the API shows of Docker: services, nodes, inspections.
//! An error of the Docker command must never become an API error here: the server swallows them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ctx, text};
use crate::error::{Answer, ApiError, say};
use crate::rng::digest;
use crate::schema::Input;
use crate::spec::{Mode, NETWORK};
use crate::swarm::{Service, Task, TaskState};
use crate::world::World;

fn local(input: &Input) -> Result<(), ApiError> {
    if text(input, "serverId").is_empty() { Ok(()) } else { Err(ApiError::missing("Server")) }
}

pub(super) fn node_apps(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    local(input)?;
    let row = |s: &Service| {
        let mode = match s.spec.mode {
            Mode::Replicated(_) => "replicated",
            Mode::Global => "global",
            Mode::Job(_) => "replicated job",
        };
        let ports: Vec<String> = s
            .spec
            .ports
            .iter()
            .filter(|p| p["PublishMode"] == "ingress")
            .map(|p| {
                let protocol = p["Protocol"].as_str().unwrap_or("tcp");
                format!("*:{}->{}/{protocol}", p["PublishedPort"], p["TargetPort"])
            })
            .collect();
        json!({"ID": &s.id[..12], "Image": s.spec.image, "Mode": mode, "Name": s.name, "Ports": ports.join(", "),
               "Replicas": format!("{}/{}", s.running(), s.spec.desired())})
    };
    let hidden = |s: &&Service| !s.name.starts_with("dokploy-");
    say(&world.swarm.services.values().filter(hidden).map(row).collect::<Vec<_>>())
}

const ENGINE: &str = "20.10.24+dfsg1";
const NODE: &str = "98yhbmtsnjfpy6s9o90cd2nlk";

pub(super) fn swarm_nodes(_: &mut World, _: &Ctx, input: &Input) -> Answer {
    local(input)?;
    say(&json!([{"Availability": "Active", "EngineVersion": ENGINE, "Hostname": "vm", "ID": NODE,
                 "ManagerStatus": "Leader", "Self": true, "Status": "Ready", "TLSStatus": "Ready"}]))
}

pub(super) fn cluster_nodes(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    local(input)?;
    let born = nanos(world, Duration::ZERO);
    say(&json!([{"ID": NODE, "Version": {"Index": 18}, "CreatedAt": born, "UpdatedAt": born,
        "Spec": {"Labels": {}, "Role": "manager", "Availability": "active"},
        "Description": {"Hostname": "vm", "Platform": {"Architecture": "x86_64", "OS": "linux"},
            "Resources": {"NanoCPUs": 2_000_000_000_u64, "MemoryBytes": 25_274_793_984_u64},
            "Engine": {"EngineVersion": ENGINE, "Plugins": [{"Type": "Network", "Name": "overlay"}]},
            "TLSInfo": {"TrustRoot": "", "CertIssuerSubject": "", "CertIssuerPublicKey": ""}},
        "Status": {"State": "ready", "Addr": "10.0.0.2"},
        "ManagerStatus": {"Leader": true, "Reachability": "reachable", "Addr": "10.0.0.2:2377"}}]))
}

/// A moment as Docker writes it: with nanoseconds.
fn nanos(world: &World, at: Duration) -> String {
    world.timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// The third number of the shared network's subnet in the default address pool.
const SUBNET: &str = "10.0.0.0";

pub(super) fn config(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let name = text(input, "containerId");
    if name == NETWORK {
        let prefix = world.options.capacity_prefix;
        return say(
            &json!({"Name": NETWORK, "Id": &digest(NETWORK)[7..32], "Created": nanos(world, Duration::ZERO),
            "Scope": "swarm", "Driver": "overlay", "EnableIPv6": false,
            "IPAM": {"Driver": "default", "Options": null,
                     "Config": [{"Subnet": format!("{SUBNET}/{prefix}"), "Gateway": "10.0.0.1"}]},
            "Internal": false, "Attachable": true, "Ingress": false, "ConfigFrom": {"Network": ""},
            "ConfigOnly": false, "Containers": {}, "Options": {"com.docker.network.driver.overlay.vxlanid_list": "4097"},
            "Labels": {}}),
        );
    }
    let found =
        world.swarm.services.get(name).or_else(|| world.swarm.services.values().find(|s| s.id == name));
    // An unknown name is an error of the command, which answers nothing.
    let Some(service) = found else { return Ok(None) };
    say(&inspect(world, service))
}

fn inspect(world: &World, service: &Service) -> Value {
    let mut out = json!({"ID": service.id, "Version": {"Index": 100 + service.version},
        "CreatedAt": nanos(world, service.created), "UpdatedAt": nanos(world, service.updated),
        "Spec": service.spec.inspect(&service.name)});
    if let Some(previous) = &service.previous {
        out["PreviousSpec"] = previous.inspect(&service.name);
    }
    let mut endpoint = json!({"Spec": {"Mode": service.spec.endpoint}});
    if service.vip {
        endpoint["VirtualIPs"] = json!([{"NetworkID": &digest(NETWORK)[7..32], "Addr": "10.0.0.2/24"}]);
    }
    out["Endpoint"] = endpoint;
    if let Some(update) = &service.update {
        let mut status = json!({"State": update.state, "StartedAt": nanos(world, update.started)});
        if let Some(at) = update.completed {
            status["CompletedAt"] = Value::from(nanos(world, at));
        }
        status["Message"] = Value::from(update.message.as_str());
        out["UpdateStatus"] = status;
    }
    out
}

pub(super) fn containers(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    local(input)?;
    let Some(service) = world.swarm.services.get(text(input, "appName")) else {
        return say(&json!([]));
    };
    let now = world.now();
    let row = |task: &Task| {
        let state = match task.state {
            TaskState::New => "New",
            TaskState::Starting => "Starting",
            TaskState::Running => "Running",
            TaskState::Failed => "Failed",
            TaskState::Shutdown => "Shutdown",
        };
        let desired = if matches!(task.state, TaskState::Failed | TaskState::Shutdown) {
            "shutdown"
        } else {
            "running"
        };
        let seconds = now.saturating_sub(task.since).as_secs();
        let ago =
            if seconds < 1 { "less than a second ago".to_owned() } else { format!("{seconds} seconds ago") };
        // The template of the real command leaves the bare word when there is no error.
        let error = task.error.as_deref().map_or_else(|| "Error:".to_owned(), |e| format!("Error: {e}"));
        json!({"containerId": task.id, "name": format!("{}.{}", service.name, task.slot), "state": desired,
               "currentState": format!("{state} {ago}"), "node": "vm", "error": error})
    };
    say(&service.tasks.iter().rev().chain(service.history.iter().rev()).map(row).collect::<Vec<_>>())
}
