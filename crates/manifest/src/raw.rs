//! The manifest language as it is written: one type per object, nothing resolved. The doc comments are the
//! descriptions of the JSON Schema and of the reference page.
//!
//! No meaning here: defaults and checks live in `resolve` and `project`.

use crate::domain::DomainPlan;
use crate::later::{Autoscale, ConfigFile, Database, NetworkPlan, Rollout, Routing, Uses};
use crate::read::{At, Cpu, Many, Map, Memory, Period, Short, Tri, Words, object, words};

/// One value, or one per stage.
pub(crate) type ByStage<T> = Short<T, StageMap<T>>;

/// A value per stage: `{production: a, staging: b}`.
#[derive(Debug, Clone)]
pub(crate) struct StageMap<T> {
    /// By stage, in the order of [`Stage`].
    pub by: [Option<T>; 4],
    /// Where the map stands.
    pub at: crate::tree::Span,
}

impl<T: crate::read::Read> crate::read::Read for StageMap<T> {
    fn read(node: &crate::tree::Node, sink: &mut crate::read::Sink) -> Option<Self> {
        const STAGES: &[&str] = &["production", "staging", "preview", "development"];
        let crate::tree::Kind::Map(entries) = &node.kind else {
            sink.expected(node, "a map by stage");
            return None;
        };
        let mut by = [None, None, None, None];
        for (key, value) in entries {
            match STAGES.iter().position(|s| **s == *key.text) {
                Some(n) => by[n] = crate::read::field(value, sink),
                None => crate::read::unknown_key(key, STAGES, sink),
            }
        }
        Some(StageMap { by, at: node.at })
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for StageMap<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("StageMap_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<T>();
        schemars::json_schema!({
            "type": "object", "additionalProperties": false,
            "properties": {"production": one, "staging": one, "preview": one, "development": one}
        })
    }
}

words!(
    /// What a stack is for.
    Stage {
        /// The default.
        Production = "production",
        /// Before production.
        Staging = "staging",
        /// Short-lived.
        Preview = "preview",
        /// For its makers.
        Development = "development",
    }
);

object!(
    /// What a document is called and whose it is.
    Metadata {
        /// The name, unique among documents of the kind. Stacks and templates: 1 to 40 of `a-z`, `0-9` and `-`, a
        /// letter first, no `--`, no `-` at the end. Projects: as Dokploy shows it.
        #[schemars(required)]
        "name" name: At<Words>,
        /// Whose stack it is. Fills `{tenant}`.
        "tenant" tenant: At<Words>,
        /// What the stack is for. Fills `{stage}` and chooses from maps by stage. `production` by default.
        "stage" stage: Stage,
        /// The name it had before: what runs is taken over with its volumes, not made again.
        "formerly" formerly: At<Words>,
        /// When it was made, as RFC 3339 text. Only previews need it.
        "created" created: At<Words>,
    }
);

object!(
    /// A shared project, declared once.
    ProjectSpec {
        /// The Dokploy account, by its name in `berth.yaml`. The default one if omitted.
        "dokploy" dokploy: At<Words>,
        /// Shown in Dokploy. Left alone if omitted.
        "description" description: At<Words>,
        /// Make the project where it is absent. `false` by default: its absence is told.
        "create" create: bool,
        /// Environments that are to exist, by name, each with its variables.
        "environments" environments: Map<EnvironmentSpec>,
        /// The project's variables; apps read them as `${{project.NAME}}`. Only the named ones are managed.
        "env" env: Map<At<ProjectValue>>,
        /// What becomes of the project when this document goes. `retain` by default; `delete` removes it once no
        /// service is in it.
        "deletionPolicy" deletion_policy: DeletionPolicy,
    }
);

words!(
    /// What becomes of a project whose document goes.
    DeletionPolicy {
        /// It stays.
        Retain = "retain",
        /// It is removed once it is empty.
        Delete = "delete",
    }
);

object!(
    /// An environment of a project.
    EnvironmentSpec {
        /// Its variables; apps read them as `${{environment.NAME}}`.
        "env" env: Map<At<ProjectValue>>,
    }
);

/// A project's variable: a text, or `{secret: REF}`.
pub(crate) type ProjectValue = Short<Words, ProjectValueRef>;

object!(
    /// A project's variable that does not stand in the file.
    ProjectValueRef {
        /// A given secret, by name.
        "secret" secret: At<Words>,
    }
);

object!(
    /// What a stack is made of. Under a template, what is written here is laid over it.
    StackSpec {
        /// The StackTemplate below. Maps merge by key, scalars and lists replace, `null` removes.
        "template" template: At<Words>,
        /// Where it runs.
        "target" target: At<TargetSpec>,
        /// The apps, by name.
        "apps" apps: At<Map<At<AppSpec>>>,
        /// What becomes of a stack that never came up. `keep` by default; `remove` undoes it in reverse order, never
        /// a volume.
        "onFirstFailure" on_first_failure: OnFirstFailure,
        /// Change nothing while this is true; the stack is still observed.
        "paused" paused: bool,
        /// Not supported by this version. How a changed template reaches its stacks.
        "rollout" rollout: At<Rollout>,
        /// Not supported by this version. Databases, by name.
        "databases" databases: At<Map<Database>>,
        /// Host names of apps that name none, and who writes the DNS records.
        "domain" domain: At<DomainPlan>,
        /// Not supported by this version. A network of the stack's own.
        "network" network: At<NetworkPlan>,
        /// Not supported by this version. The router of a Swarm target.
        "routing" routing: At<Routing>,
    }
);

words!(
    /// What becomes of a stack that never came up.
    OnFirstFailure {
        /// It stays, to be looked at.
        Keep = "keep",
        /// It is undone, volumes excepted.
        Remove = "remove",
    }
);

object!(
    /// Where a stack runs.
    TargetSpec {
        /// The Dokploy account, by its name in `berth.yaml`. The default one, or the only one, if omitted.
        "dokploy" dokploy: At<Words>,
        /// A shared project, by name or id, or one per stage. Never deleted by a stack.
        "project" project: ByStage<At<Words>>,
        /// A project of the stack's own, by name, or one per stage: made for it, and removed with it when it is empty.
        /// `ai-stack-{name}` where neither this nor a shared project is named.
        "ownProject" own_project: ByStage<At<Words>>,
        /// The environment, by name or id, or one per stage. `production` by default.
        "environment" environment: ByStage<At<Words>>,
        /// Make the shared project or its environment where it is absent. `false` by default.
        "create" create: At<bool>,
        /// Not supported by this version. A Swarm cluster.
        "swarm" swarm: At<Words>,
    }
);

object!(
    /// One app.
    AppSpec {
        /// The image: `registry/name:tag`, or with `follow` how a moving tag is followed.
        "image" image: Short<At<Words>, ImageFull>,
        /// The port inside the container that hosts lead to.
        "port" port: At<u16>,
        /// One host name for `port`, or one per stage: `{name}.example.com`. Short for `hosts` with one entry.
        "host" host: Tri<ByStage<At<Words>>>,
        /// Host names that lead to the app, in full.
        "hosts" hosts: At<Map<At<HostSpec>>>,
        /// Environment variables: a text, `{secret: REF}`, `{generate: {…}}` or `{from: {…}}`. On an app that Berth
        /// made this is the whole env; on an adopted one only the named variables are managed.
        "env" env: Tri<Map<At<EnvSpec>>>,
        /// The entrypoint, as a list of words, or as one text that is split at spaces.
        "command" command: Tri<At<CommandLine>>,
        /// The entrypoint's arguments, written like `command`.
        "args" args: Tri<At<CommandLine>>,
        /// How many run: 1 by default, 0 stops the app.
        "replicas" replicas: Tri<At<u32>>,
        /// Memory and processor share.
        "resources" resources: Tri<Resources>,
        /// Named volumes: volume name to path in the container. Never deleted.
        "volumes" volumes: Map<At<Words>>,
        /// Directories of the server: path on the server to path in the container.
        "binds" binds: Map<At<Words>>,
        /// Files: path in the container to content. Content is taken as it is, without placeholders.
        "files" files: Map<At<FileSpec>>,
        /// Published ports: port on the server (`8080` or `53/udp`) to port in the container.
        "ports" ports: Map<At<PortSpec>>,
        /// Container labels. `berth.dev/…` is reserved.
        "labels" labels: Tri<Map<At<Words>>>,
        /// When the app counts as up.
        "health" health: Tri<At<Health>>,
        /// How a new version replaces the old.
        "update" update: Tri<At<UpdateSpec>>,
        /// How long a task may take to stop before it is killed.
        "stopGrace" stop_grace: Tri<Period>,
        /// Apps of this stack that must be Ready first.
        "needs" needs: Many<At<Words>>,
        /// Credentials for the image's registry.
        "registry" registry: At<Registry>,
        /// The application's name in Dokploy. By default `{name}` for a stack of one app, else `{name}-{app}`.
        "nameOnDokploy" name_on_dokploy: At<Words>,
        /// Take over an application of that name that nobody marked, instead of making one.
        "adopt" adopt: bool,
        /// What is done where the server differs: `repair` (the default), `report` or `ignore`; or a map from a field
        /// (`replicas`, `env.NAME`, `resources.memory`) to one of them.
        "drift" drift: At<Drift>,
        /// Not supported by this version. Databases the app uses.
        "uses" uses: At<Map<Uses>>,
        /// Not supported by this version. Variables that must be there.
        "requires" requires: At<Vec<Words>>,
        /// Not supported by this version. Apps that are a front to this one.
        "frontends" frontends: At<Many<Words>>,
        /// Not supported by this version. Scaling by load.
        "autoscale" autoscale: At<Autoscale>,
        /// Not supported by this version. Swarm configs.
        "configs" configs: At<Map<ConfigFile>>,
        /// Not supported by this version. Swarm secrets.
        "secrets" secrets: At<Map<EnvSpec>>,
    }
);

object!(
    /// An image, and how its tag is followed.
    ImageFull {
        /// The reference: `registry/name:tag`.
        #[schemars(required)]
        "ref" reference: At<Words>,
        /// Look the tag's digest up this often and deploy when it moved.
        "follow" follow: At<Period>,
    }
);

object!(
    /// A host name that leads to an app.
    HostSpec {
        /// Only requests below this path. `/` by default.
        "path" path: At<Words>,
        /// The port inside the container. The app's `port` by default.
        "port" port: At<u16>,
        /// Certificates: `letsencrypt`, `none`, or the name of a resolver. The account's default if omitted.
        "https" https: At<Words>,
        /// The path that the app sees in place of `path`. `/` by default.
        "internalPath" internal_path: At<Words>,
        /// Take `path` away before the app sees it. `false` by default.
        "stripPath" strip_path: bool,
    }
);

/// A variable's value.
pub(crate) type EnvSpec = Short<Words, EnvRef>;

object!(
    /// A variable's value that does not stand in the file. Exactly one key.
    EnvRef {
        /// A given secret, by name.
        "secret" secret: At<Words>,
        /// A value derived from the vault's key: the same each time, unique to owner, stack, app and variable.
        "generate" generate: At<GenerateSpec>,
        /// A value taken from other apps.
        "from" from: At<FromSpec>,
    }
);

object!(
    /// A generated value.
    GenerateSpec {
        /// How many bytes, 1 to 255. 32 by default.
        "bytes" bytes: At<u16>,
        /// How they are written. `hex` by default.
        "encoding" encoding: EncodingWord,
        /// Raise it to rotate the value. 1 by default.
        "version" version: At<u32>,
    }
);

words!(
    /// How generated bytes are written.
    EncodingWord {
        /// Lower-case hexadecimal.
        Hex = "hex",
        /// Base64 with padding.
        Base64 = "base64",
        /// Base64 for URLs, without padding.
        Base64Url = "base64url",
    }
);

object!(
    /// A value taken from other apps of the stack.
    FromSpec {
        /// One app.
        "app" app: At<Words>,
        /// Several apps; their values are joined.
        "apps" apps: At<Vec<At<Words>>>,
        /// Not supported by this version. A database.
        "database" database: At<Words>,
        /// What of it: `url` (the default) or `host`, both of the app's first host.
        "key" key: FromKey,
        /// What stands between several values. `,` by default.
        "join" join: Words,
    }
);

words!(
    /// What is taken from an app.
    FromKey {
        /// `https://host` with its path.
        Url = "url",
        /// The host name.
        Host = "host",
    }
);

/// Words, or one text that is split at spaces.
pub(crate) type CommandLine = Many<At<Words>>;

object!(
    /// Memory and processor share that an app may use.
    Resources {
        /// The most memory: `512Mi`.
        "memory" memory: Tri<At<Memory>>,
        /// The most processor share: `0.5` or `500m`.
        "cpu" cpu: Tri<At<Cpu>>,
        /// What is set aside for it.
        "reserve" reserve: Tri<Reserve>,
    }
);

object!(
    /// Memory and processor share set aside for an app.
    Reserve {
        /// Memory: `256Mi`.
        "memory" memory: Tri<At<Memory>>,
        /// Processor share: `0.25` or `250m`.
        "cpu" cpu: Tri<At<Cpu>>,
    }
);

/// A file's content, or the map that says more.
pub(crate) type FileSpec = Short<Words, FileFull>;

object!(
    /// A file in the container.
    FileFull {
        /// The content.
        #[schemars(required)]
        "content" content: At<Words>,
    }
);

/// A port in the container, or the map that says more.
pub(crate) type PortSpec = Short<At<u16>, PortFull>;

object!(
    /// A published port.
    PortFull {
        /// The port in the container.
        #[schemars(required)]
        "target" target: At<u16>,
        /// `tcp` by default.
        "protocol" protocol: Protocol,
        /// `ingress` (the default) publishes on every node, `host` on the node itself.
        "mode" mode: PortMode,
    }
);

words!(
    /// The protocol of a port.
    Protocol {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }
);

words!(
    /// Where a port is published.
    PortMode {
        /// On every node.
        Ingress = "ingress",
        /// On the node that runs the task.
        Host = "host",
    }
);

object!(
    /// When an app counts as up. `http` is asked by Berth from outside, `cmd` is the container's own check; neither is
    /// made from the other. Without either, running replicas are enough.
    Health {
        /// A path, or several: the first that answers as expected passes. Needs a host.
        "http" http: Many<At<Words>>,
        /// Good statuses: `200` or `200-399` (the default).
        "expect" expect: At<Words>,
        /// Time between two asks. `5s` by default.
        "every" every: At<Period>,
        /// When the gate gives up. `2m` by default.
        "within" within: At<Period>,
        /// The container's own check: a list of words, or one text for a shell.
        "cmd" cmd: Tri<At<CommandLine>>,
        /// Time between two checks of `cmd`. `30s` by default.
        "interval" interval: At<Period>,
        /// How long one check of `cmd` may take. `30s` by default.
        "timeout" timeout: At<Period>,
        /// Failures of `cmd` in a row that make it unhealthy. 3 by default.
        "retries" retries: At<u32>,
        /// Time at the start in which failures of `cmd` do not count. `0s` by default.
        "startPeriod" start_period: At<Period>,
    }
);

object!(
    /// How a new version replaces the old.
    UpdateSpec {
        /// `start-first` starts the new task before the old one stops. `stop-first` is the default for one replica with
        /// a volume, `start-first` for all else.
        "order" order: Order,
        /// Tasks at a time. 1 by default.
        "parallel" parallel: At<u32>,
        /// How long a new task is watched for failure. `15s` by default.
        "monitor" monitor: At<Period>,
        /// `rollback` (the default) puts the old version back, `pause` leaves it half done.
        "onFailure" on_failure: OnFailure,
    }
);

words!(
    /// Which task goes first.
    Order {
        /// The new one starts first.
        StartFirst = "start-first",
        /// The old one stops first.
        StopFirst = "stop-first",
    }
);

words!(
    /// What a failed update does.
    OnFailure {
        /// The old version comes back.
        Rollback = "rollback",
        /// It stays half done.
        Pause = "pause",
    }
);

object!(
    /// Credentials for a registry.
    Registry {
        /// Host, with port where it has one. Docker Hub if omitted.
        "url" url: At<Words>,
        /// The user.
        #[schemars(required)]
        "username" username: At<Words>,
        /// The password: `{secret: REF}`.
        #[schemars(required)]
        "password" password: At<SecretRef>,
    }
);

object!(
    /// A given secret.
    SecretRef {
        /// Its name.
        #[schemars(required)]
        "secret" secret: At<Words>,
    }
);

/// One policy, or one per field.
pub(crate) type Drift = Short<DriftWord, Map<At<DriftWord>>>;

words!(
    /// What is done about a difference.
    DriftWord {
        /// Put it back.
        Repair = "repair",
        /// Say so and leave it.
        Report = "report",
        /// Leave it.
        Ignore = "ignore",
    }
);
