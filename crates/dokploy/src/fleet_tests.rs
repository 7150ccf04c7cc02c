//! The lists that make the fleet: what they say, what they leave unknown, and that five hundred applications are
//! read quickly.

use super::*;
use serde_json::{Value as Json, json};

fn us() -> Owner {
    Owner::new("us").unwrap()
}

fn inventory(apps: usize) -> Json {
    let app = |i: usize| {
        json!({
            "applicationId": format!("app-id-{i:016}"), "appName": format!("stack-{i}-web-a1b2c3"), "name": format!("s{i}"),
            "createdAt": "2026-11-21T02:31:51.605Z", "applicationStatus": "done", "serverId": null,
            "description": format!("berth/1 us/stack-{i}/web op=o{i} id=app-id-{i:016} h=00000000000000ff c=aaaaaaaaaaaaaaaaaaaaa"),
        })
    };
    json!([{
        "projectId": "p1", "name": "one",
        "environments": [{
            "environmentId": "e1", "name": "production", "isDefault": true,
            "applications": (0..apps).map(app).collect::<Vec<_>>(),
            "compose": [{}], "postgres": [{}, {}], "mysql": [], "mariadb": [], "mongo": [], "redis": [],
        }],
    }])
}

fn read(
    inventory: &str,
    projects: &str,
    domains: Option<&str>,
    services: &str,
) -> Result<FleetView, PortError> {
    let lists = Lists {
        inventory: inventory.as_bytes(),
        projects: projects.as_bytes(),
        domains: domains.map(str::as_bytes),
        services: services.as_bytes(),
        room: Some(252),
    };
    view(&lists, &us(), Time(9))
}

const PROJECTS: &str = r#"[{"projectId":"p1","description":"words","env":"A=1"}]"#;

#[test]
fn everything_is_there() {
    let domains = json!([
        {"domainId":"d1","host":"A.Example","path":"/","port":80,"https":true,"certificateType":"letsencrypt","enabled":false,
         "serviceOwnerId":"app-id-0000000000000000","serviceOwnerType":"application"},
        {"domainId":"d2","host":"b","path":null,"port":null,"https":false,"certificateType":"none",
         "serviceOwnerId":"c","serviceOwnerType":"compose"},
        {"domainId":"d3","host":"c","path":null,"port":null,"https":false,"serviceOwnerId":null,"serviceOwnerType":null},
    ])
    .to_string();
    let services = r#"[{"ID":"1","Name":"stack-0-web-a1b2c3","Image":"nginx:1","Mode":"replicated","Replicas":"4/2","Ports":""}]"#;
    let view = read(&inventory(2).to_string(), PROJECTS, Some(&domains), services).unwrap();
    assert_eq!((view.at, view.apps.len()), (Time(9), 2));
    assert_eq!(view.of_stack("stack-1").count(), 1);
    let app = view.app(&"app-id-0000000000000000".into()).unwrap();
    assert!(matches!(app.mark, MarkSeen::Ours(_)));
    assert_eq!(app.environment.as_str(), "e1");
    let project = &view.projects[0];
    assert_eq!((project.description.as_deref(), project.env.expose()), (Some("words"), "A=1"));
    assert_eq!(project.environments[0].services, 2 + 1 + 2);
    let domains = view.domains.present().unwrap();
    assert_eq!(domains.len(), 1);
    let domain = &domains[&AppId::from("app-id-0000000000000000")][0];
    assert_eq!((domain.host.as_str(), domain.enabled), ("a.example", false));
    let service = &view.services.present().unwrap()[&ServiceName::from("stack-0-web-a1b2c3")];
    assert_eq!((service.running, service.wanted), (4, 2));
    assert_eq!(view.network, Seen::Present(Network { usable: 252, used: 3 }));
}

#[test]
fn what_is_not_said_is_unknown() {
    let view = read(&inventory(1).to_string(), "[]", None, "[]").unwrap();
    assert!(view.services.is_unknown() && view.network.is_unknown() && view.domains.is_unknown());
    assert_eq!(view.projects[0].description, None);
    for nothing in ["", "null"] {
        assert!(read("[]", "[]", Some("[]"), nothing).unwrap().services.is_unknown());
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_empty() {
    let good = inventory(1);
    for key in ["applicationId", "appName", "name", "description"] {
        let mut bad = good.clone();
        bad[0]["environments"][0]["applications"][0].as_object_mut().unwrap().shift_remove(key);
        assert!(
            matches!(read(&bad.to_string(), "[]", None, ""), Err(PortError::Unsupported { .. })),
            "{key}"
        );
    }
    for key in ["applications", "compose", "environmentId"] {
        let mut bad = good.clone();
        bad[0]["environments"][0].as_object_mut().unwrap().shift_remove(key);
        assert!(read(&bad.to_string(), "[]", None, "").is_err(), "{key}");
    }
    for bad in ["", "null", "{}", "<html>", "[{}]"] {
        assert!(read(bad, "[]", None, "").is_err(), "{bad}");
        assert!(read("[]", bad, None, "").is_err(), "{bad}");
        assert!(read("[]", "[]", Some(bad), "").is_err(), "{bad}");
    }
    assert!(read("[]", "[]", None, r#"[{"Name":"a","Image":"b","Replicas":"many"}]"#).is_err());
}

#[test]
fn other_names_of_the_same_keys() {
    let mut other = inventory(1);
    let app = other[0]["environments"][0]["applications"][0].as_object_mut().unwrap();
    let id = app.shift_remove("applicationId").unwrap();
    app.insert("id".into(), id);
    let view = read(&other.to_string(), "[]", None, "").unwrap();
    assert_eq!(view.apps[0].id.as_str(), "app-id-0000000000000000");
}

#[test]
fn rooms() {
    let network = |subnet: &str| {
        json!({ "Name": "dokploy-network", "IPAM": { "Config": [{ "Subnet": subnet }] } }).to_string()
    };
    assert_eq!(network_room(network("10.0.1.0/24").as_bytes()), Some(252));
    assert_eq!(network_room(network("10.0.0.0/16").as_bytes()), Some(65532));
    for bad in ["fd00::/64", "10.0.0.0/33", "10.0.0.0", "x/24"] {
        assert_eq!(network_room(network(bad).as_bytes()), None, "{bad}");
    }
    assert_eq!(network_room(b"null"), None);
    assert_eq!((replicas("0/1 (1/1 completed)"), replicas("x"), replicas("1/")), (Some((0, 1)), None, None));
}

#[test]
fn five_hundred_are_read_quickly() {
    let text = inventory(500).to_string();
    let began = std::time::Instant::now();
    let view = read(&text, PROJECTS, Some("[]"), "").unwrap();
    let took = began.elapsed();
    assert_eq!(view.apps.len(), 500);
    // A few milliseconds on a quiet machine; the bound only catches a change of its order.
    assert!(took < std::time::Duration::from_millis(250), "{took:?}");
    println!("500 applications in {took:?}");
}
