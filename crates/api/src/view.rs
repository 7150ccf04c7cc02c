//! How a stack is shown: what is asked for and what is known of it, as one object. Never a variable, never a command;
//! what is asked for in full goes only to those who may change it.

use berth_model::Time;
use berth_model::condition::{ConditionType, Status};
use berth_model::ids::Key;
use berth_model::record::StackStatus;
use berth_ports::Asked;
use serde::Serialize;
use serde_json::value::RawValue;

/// A stack or project.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Stack)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StackView {
    /// `stack` or `project`.
    kind: &'static str,
    /// Its name, unique over the fleet.
    name: String,
    /// Whose it is.
    tenant: Option<String>,
    /// What is wanted runs, and answers.
    ready: bool,
    /// Why it is as it is, in one word.
    reason: String,
    /// The same in words, with what to do.
    message: String,
    /// The first host's URL.
    url: Option<String>,
    /// Where the rollout stands, if one is open.
    phase: Option<String>,
    /// Rises when what is asked for changes. Also the `ETag`.
    generation: u64,
    /// The last generation that was judged.
    observed_generation: u64,
    /// Its removal is asked for.
    removing: bool,
    /// Parts of how it stands; `Ready` first.
    conditions: Vec<ConditionView>,
    /// Its apps.
    apps: Vec<AppView>,
    /// The hosts whose DNS records were written for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<HostView>,
    /// Where it is asked for: `row`, or a file and line of the daemon's directory.
    manifest: Option<String>,
    /// When any of this last changed.
    #[schema(format = DateTime)]
    changed: Option<String>,
    /// What is asked for, in full: for those who may change it.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<AskedView>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Condition)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConditionView {
    /// About what.
    #[schema(example = "Ready")]
    r#type: String,
    /// How it is: `True`, `False` or `Unknown`.
    #[schema(example = "True")]
    status: String,
    /// Why, in one word.
    reason: String,
    /// Why, in words.
    message: String,
    /// Since when.
    #[schema(format = DateTime)]
    since: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = App)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppView {
    /// Its name.
    name: String,
    /// The image that is wanted.
    image: String,
    /// Its Swarm service.
    service: Option<String>,
    /// The wanted version is the one that runs.
    current: bool,
    /// What is on it and not managed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unmanaged: Vec<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Host)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HostView {
    /// The host.
    host: String,
    /// The zone that holds its records.
    zone: String,
    /// What they say.
    #[schema(example = json!(["A 203.0.113.7"]))]
    records: Vec<String>,
    /// When every server of the zone was last seen to answer them all.
    #[schema(format = DateTime)]
    verified_at: Option<String>,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = AskedFor)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AskedView {
    template: Option<String>,
    stage: String,
    formerly: Option<String>,
    /// As under `spec:` of a manifest.
    #[schema(value_type = Object)]
    spec: Option<Box<RawValue>>,
}

/// An instant as the API writes it.
pub(crate) fn instant(at: Time) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.0.to_string(), |t| t.to_string())
}

impl StackView {
    /// `None` where nobody knows anything of it.
    pub(crate) fn of(
        key: &Key,
        status: Option<&StackStatus>,
        asked: Option<&Asked>,
        in_full: bool,
    ) -> Option<Self> {
        if status.is_none() && asked.is_none() {
            return None;
        }
        let ready = status.and_then(|s| s.condition(ConditionType::Ready));
        let observed = status.map_or(0, |s| s.observed_generation);
        // Of another stack that stands in a file, a row of the same name says nothing.
        let from_file = status.and_then(|s| s.origin.as_ref()).is_some_and(|o| !o.file.starts_with("row:"));
        let asked = asked.filter(|_| !from_file);
        // What was true of an earlier generation is not true of this one before it was judged.
        let late = asked.is_some_and(|a| a.generation > observed);
        let removing =
            asked.is_some_and(|a| a.removing) || ready.is_some_and(|r| r.reason.as_str() == "Removing");
        let (reason, message) = match ready {
            Some(r) if !late => (r.reason.as_str().to_owned(), r.message.clone()),
            _ if removing => ("Removing".to_owned(), "its removal is asked for and has not begun".to_owned()),
            Some(r) => {
                let waits = asked.map_or(0, |a| a.generation);
                let text =
                    format!("generation {waits} waits to be judged; generation {observed}: {}", r.message);
                ("Pending".to_owned(), text)
            }
            None => ("Pending".to_owned(), "it waits to be judged".to_owned()),
        };
        let manifest = match status.and_then(|s| s.origin.as_ref()) {
            Some(origin) if from_file => Some(format!("{}:{}", origin.file, origin.line)),
            Some(_) => Some("row".to_owned()),
            None => asked.map(|_| "row".to_owned()),
        };
        let conditions = status.map(|s| &s.conditions[..]).unwrap_or_default();
        let tenant = match asked {
            Some(asked) => asked.tenant.clone(),
            None => status.and_then(|s| s.tenant.clone()),
        };
        Some(Self {
            kind: match key {
                Key::Stack(_) => "stack",
                Key::Project(_) => "project",
            },
            name: key.name().to_owned(),
            tenant,
            ready: !late && ready.is_some_and(|r| r.status == Status::True),
            reason,
            message,
            url: status.and_then(|s| s.url.clone()),
            phase: status.and_then(|s| s.phase).map(|p| p.as_str().to_owned()),
            generation: asked.map_or_else(|| status.map_or(0, |s| s.generation), |a| a.generation),
            observed_generation: observed,
            removing,
            conditions: conditions
                .iter()
                .map(|c| ConditionView {
                    r#type: format!("{:?}", c.kind),
                    status: format!("{:?}", c.status),
                    reason: c.reason.as_str().to_owned(),
                    message: c.message.clone(),
                    since: instant(c.since),
                })
                .collect(),
            apps: status
                .iter()
                .flat_map(|s| &s.apps)
                .map(|a| AppView {
                    name: a.name.to_string(),
                    image: a.image.clone(),
                    service: a.service.as_ref().map(ToString::to_string),
                    current: !late && a.live.is_some() && a.live == a.hash,
                    unmanaged: a.unmanaged.clone(),
                })
                .collect(),
            hosts: status
                .iter()
                .flat_map(|s| &s.hosts)
                .map(|h| HostView {
                    host: h.host.to_string(),
                    zone: h.zone.to_string(),
                    records: h.records.iter().map(|r| format!("{r:?}")).collect(),
                    verified_at: h.verified_at.map(instant),
                })
                .collect(),
            manifest,
            changed: status.map(|s| instant(s.changed)),
            asked: asked.filter(|_| in_full).map(|a| AskedView {
                template: a.template.clone(),
                stage: a.stage.clone(),
                formerly: a.formerly.clone(),
                spec: RawValue::from_string(a.spec.clone()).ok(),
            }),
        })
    }

    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    pub(crate) fn has_app(&self, app: &str) -> bool {
        self.apps.iter().any(|a| a.name == app)
    }

    pub(crate) fn order(&self) -> (&str, &str) {
        (self.kind, &self.name)
    }
}
