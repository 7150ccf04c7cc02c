//! The command line, as data. The help texts here are also `docs/CLI.md`; nothing is done here.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Keeps what runs in Dokploy equal to what is written in a directory of manifests.
#[derive(Debug, Parser)]
#[command(
    name = "berth",
    version,
    propagate_version = false,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "See it work without a server:   berth demo\n\
                  Begin with your own:            berth init && berth plan && berth run\n\n\
                  Exit codes: 0 done, 1 an error or not (yet) as asked, 2 'plan' found changes."
)]
pub struct Cli {
    /// The settings. Without it: ./berth.yaml, then /etc/berth/berth.yaml.
    #[arg(long, short, global = true, env = "BERTH_CONFIG", value_name = "FILE", value_parser = path())]
    pub config: Option<PathBuf>,
    /// When to use colour. NO_COLOR is honoured.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    Json,
    Yaml,
}

#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// How data is written.
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    pub output: Format,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Init(Init),
    Run(Run),
    Plan(Plan),
    Apply(Apply),
    Validate(Validate),
    Get(Get),
    Describe(Describe),
    Explain(Explain),
    Events(Events),
    History(History),
    Rollback(Rollback),
    Wait(Wait),
    Delete(Delete),
    Confirm(Confirm),
    Pause(Pause),
    Resume(Resume),
    Reconcile(Reconcile),
    Restart(Restart),
    Scale(Scale),
    Logs(Logs),
    Secret(Secret),
    Token(Token),
    Audit(Audit),
    Schema(Schema),
    Dns(Dns),
    Doctor(Doctor),
    /// Bring the state's database up to date. A daemon does so when it starts; this is for those who do it apart.
    #[command(after_help = "Examples:\n  berth migrate --config /etc/berth/berth.yaml")]
    Migrate,
    /// Whether the daemon of these settings answers, leading or standing by: for a container's health check.
    #[command(after_help = "Examples:\n  berth healthcheck")]
    Healthcheck,
    Demo(Demo),
    Completions(Completions),
}

/// Write berth.yaml and a vault key, after checking what they say.
///
/// Asks for what is not given as an option when run on a terminal. Nothing is overwritten without --force, and a vault
/// key never is: generated passwords are derived from it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth init\n  \
    berth init --owner prod-eu --url http://10.100.0.20:3000 --key-env DOKPLOY_API_TOKEN --directory ./stacks")]
pub struct Init {
    /// Who this Berth is; stands in the mark of everything it makes. Two owners never touch each other's objects.
    #[arg(long, value_name = "NAME")]
    pub owner: Option<String>,
    /// Dokploy's address, without a path.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// The environment variable that holds Dokploy's API key.
    #[arg(long, value_name = "VARIABLE", conflicts_with = "key_file")]
    pub key_env: Option<String>,
    /// The file that holds Dokploy's API key.
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// The directory of manifests. Made if it is not there.
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The state file.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// The vault's key file. Made, with mode 0600, if it is not there.
    #[arg(long, value_name = "FILE")]
    pub vault: Option<PathBuf>,
    /// The shared project that stacks run in unless they say otherwise.
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Overwrite berth.yaml.
    #[arg(long)]
    pub force: bool,
    /// Write without asking the server.
    #[arg(long)]
    pub no_check: bool,
}

/// Run the daemon: watch the manifests and keep the fleet equal to them.
///
/// On a terminal the fleet is shown as it converges; otherwise it logs. SIGTERM and SIGINT finish the calls in flight
/// and stop; a second one stops at once.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth run --config /etc/berth/berth.yaml --log json")]
pub struct Run {
    /// How long calls in flight may take to finish when asked to stop.
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = time)]
    pub grace: Duration,
    /// How logs are written. RUST_LOG says which.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
    /// Log also on a terminal, instead of showing the fleet.
    #[arg(long)]
    pub no_live: bool,
    /// Where the status API listens, instead of where berth.yaml says.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Stop when everything is Ready or needs a person.
    #[arg(long, hide = true)]
    pub exit_when_settled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// Show what would be done, field by field, and what it costs. Changes nothing.
///
/// Works beside a running daemon and without one. Exit code: 0 nothing to do, 2 changes are pending, 1 an error.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  berth plan\n  berth plan john-dev -o json\n  berth plan --manifests ./pull-request/stacks"
)]
pub struct Plan {
    /// Only these (`NAME`, `stack/NAME` or `project/NAME`).
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Plan these manifests instead of the configured directory. A file or a directory.
    #[arg(long, value_name = "PATH")]
    pub manifests: Vec<PathBuf>,
    #[command(flatten)]
    pub output: Output,
}

/// Bring the fleet to what the manifests say, once, and stop.
///
/// For CI and for hosts without a daemon. Exit code 0 only when everything is Ready.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth apply --once --timeout 10m")]
pub struct Apply {
    /// Said aloud, since `berth run` is the usual way.
    #[arg(long, required = true)]
    pub once: bool,
    /// Give up after this long.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = time)]
    pub timeout: Duration,
    /// How logs are written. RUST_LOG says which; only warnings by default.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log: LogFormat,
}

/// Check manifests and berth.yaml, all errors at once. Needs no server.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth validate\n  berth validate stacks/ new-stack.yaml")]
pub struct Validate {
    /// Files and directories. Without any: the configured directory.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    #[command(flatten)]
    pub output: Output,
}

/// List stacks and projects, and how they stand.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth get\n  berth get stack john-dev\n  berth get -o json")]
pub struct Get {
    /// `stack`, `project`, or a name.
    #[arg(value_name = "KIND|NAME", num_args = 0..=2)]
    pub what: Vec<String>,
    /// Only this tenant's.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

/// Show one stack or project in full: conditions, apps, the latest events, the next run.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth describe john-dev")]
pub struct Describe {
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub output: Output,
}

/// Say why it last ran, what that run saw and did, what is in its way, and when it runs next.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth explain john-dev")]
pub struct Explain {
    #[arg(value_name = "NAME")]
    pub name: String,
    #[command(flatten)]
    pub output: Output,
}

/// Show what happened, oldest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth events --last 20\n  berth events -f john-dev")]
pub struct Events {
    /// Only of this one.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Go on as things happen.
    #[arg(long, short)]
    pub follow: bool,
    /// At most so many.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    pub last: u32,
    #[command(flatten)]
    pub output: Output,
}

/// List the versions that can be gone back to, and the latest runs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth history john-dev")]
pub struct History {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// At most so many runs.
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    pub last: u32,
    #[command(flatten)]
    pub output: Output,
}

/// Go back to an earlier version until the manifest changes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth rollback john-dev\n  berth rollback john-dev --to 3")]
pub struct Rollback {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The generation to go back to, as `berth history` shows it. Without it: the one before.
    #[arg(long, value_name = "GENERATION")]
    pub to: Option<u64>,
}

/// Wait until stacks are as asked. A step of a pipeline.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  berth wait john-dev --for ready --timeout 5m\n  berth wait old-stack --for gone"
)]
pub struct Wait {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// What to wait for.
    #[arg(long = "for", value_name = "STATE", default_value = "ready")]
    pub state: WaitFor,
    /// Of this generation at least: what an earlier one was does not count.
    #[arg(long, value_name = "NUMBER")]
    pub generation: Option<u64>,
    /// Give up after this long.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    /// What is wanted runs, and answers.
    Ready,
    /// What is wanted was handed over and runs.
    Deployed,
    /// Its health check passes.
    Healthy,
    /// It was removed.
    Gone,
}

/// Show what removing a stack would do. To remove it, delete its manifest.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth delete john-dev --dry-run")]
pub struct Delete {
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Show the plan.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub output: Output,
}

/// Let go on what a guard holds. Without a token: show what is held.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth confirm\n  berth confirm 4f1c2a")]
pub struct Confirm {
    /// As shown with what is held.
    #[arg(value_name = "TOKEN")]
    pub token: Option<String>,
    #[command(flatten)]
    pub output: Output,
}

/// Change nothing of a stack until it is resumed. It is still observed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth pause john-dev")]
pub struct Pause {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// Undo a pause.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth resume john-dev")]
pub struct Resume {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
}

/// Look at everything of a stack again now, and repair it. A version that was given up gets another chance.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth reconcile john-dev\n  berth reconcile --pull john-dev")]
pub struct Reconcile {
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// Deploy again even where nothing changed, so that a moved tag is pulled.
    #[arg(long)]
    pub pull: bool,
}

/// Start containers anew, with the settings that they have.
///
/// Nothing is pulled: `berth reconcile --pull` does that.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth restart john-dev\n  berth restart shop api")]
pub struct Restart {
    #[arg(value_name = "STACK")]
    pub name: String,
    /// Only this app's.
    #[arg(value_name = "APP")]
    pub app: Option<String>,
}

/// Change how many replicas of an app are asked for. For stacks that rows ask for: a manifest says it itself.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth scale shop api 3")]
pub struct Scale {
    #[arg(value_name = "STACK")]
    pub name: String,
    #[arg(value_name = "APP")]
    pub app: String,
    #[arg(value_name = "REPLICAS", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub replicas: u32,
}

/// Show what an app's containers wrote lately.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth logs john-dev\n  berth logs shop api --last 500 --since 1h")]
pub struct Logs {
    #[arg(value_name = "STACK")]
    pub name: String,
    /// Which app, where the stack has several.
    #[arg(value_name = "APP")]
    pub app: Option<String>,
    /// At most so many lines, the newest.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub last: u16,
    /// Not older than this.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Duration>,
}

/// Make, list and revoke the tokens of the API.
#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    pub command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token. Its text is printed once, and kept nowhere.
    ///
    /// A viewer reads; a developer also reads logs and restarts; an admin also deploys, scales and configures; an owner
    /// also makes tokens and removes stacks.
    #[command(after_help = "Examples:\n  berth token create portal --role owner\n  \
                      berth token create ci-acme --role admin --tenant acme --expires-in 90d")]
    Create {
        /// Stands in the audit.
        #[arg(value_name = "NAME")]
        name: String,
        /// What it may do.
        #[arg(long, value_name = "ROLE")]
        role: Role,
        /// The only tenant whose stacks it reaches. Without it, everybody's.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
        /// For how long. Without it, until it is revoked.
        #[arg(long, value_name = "TIME", value_parser = time)]
        expires_in: Option<Duration>,
    },
    /// List tokens. Their texts are never shown.
    #[command(after_help = "Example:\n  berth token list")]
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Revoke a token, from now on.
    #[command(after_help = "Example:\n  berth token revoke ci-acme")]
    Revoke {
        #[arg(value_name = "NAME")]
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Viewer,
    Developer,
    Admin,
    Owner,
}

/// Show who changed what, or was refused, newest first.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  berth audit\n  berth audit john-dev --last 20")]
pub struct Audit {
    /// Only of this one.
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// Only of this tenant.
    #[arg(long, value_name = "TENANT")]
    pub tenant: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub last: u32,
    #[command(flatten)]
    pub output: Output,
}

/// Give, list and take away the secrets that manifests refer to.
#[derive(Debug, Args)]
pub struct Secret {
    #[command(subcommand)]
    pub command: SecretCommand,
}

#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Give a secret. The value comes from standard input, a file, or a prompt without echo; never from an argument.
    #[command(
        override_usage = "berth secret set [OPTIONS] <STACK> [APP] <NAME>",
        after_help = "Examples:\n  berth secret set shop api STRIPE_KEY < key.txt\n  \
                      berth secret set project/ai-stack-portal MODEL_KEY --from-file key.txt"
    )]
    Set {
        /// The stack (or `project/NAME`), the app if the secret is of one app only, and the secret's name.
        #[arg(value_name = "STACK [APP] NAME", num_args = 2..=3, required = true)]
        of: Vec<String>,
        /// Read the value from this file.
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,
    },
    /// List names, versions and ages. Values are never shown.
    #[command(after_help = "Example:\n  berth secret list shop")]
    List {
        /// Only of this stack.
        #[arg(value_name = "STACK")]
        stack: Option<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Take a secret away. What runs keeps the value until its next change.
    #[command(
        override_usage = "berth secret remove [OPTIONS] <STACK> [APP] <NAME>",
        after_help = "Example:\n  berth secret remove shop api STRIPE_KEY"
    )]
    Remove {
        /// As for `berth secret set`.
        #[arg(value_name = "STACK [APP] NAME", num_args = 2..=3, required = true)]
        of: Vec<String>,
    },
}

/// Print the JSON Schema of manifests or of berth.yaml, for editors.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth schema manifest > berth.schema.json")]
pub struct Schema {
    #[arg(value_name = "OF", default_value = "manifest")]
    pub of: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    Manifest,
    Config,
}

/// Look at DNS: which zones are reached, what stands in them, what servers answer. Writes no record.
#[derive(Debug, Args)]
pub struct Dns {
    #[command(subcommand)]
    pub command: DnsCommand,
}

#[derive(Debug, Subcommand)]
pub enum DnsCommand {
    /// Show what stands at these names, whose it is, and what every server answers.
    ///
    /// Asks the zone's provider first, then every authoritative server, each on its own, and only where all of them
    /// are right the recursors of berth.yaml: one that is asked too early remembers that there is nothing. Exit code 0
    /// only if all servers answer what the provider shows.
    #[command(
        after_help = "Examples:\n  berth dns verify shop.example.com\n  berth dns verify shop.example.com api.example.com -o json"
    )]
    Verify {
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Show what would be done about records, and what is in the way, with reads only.
    ///
    /// As 'berth plan', without what it says of everything else. Exit code 2 where there is anything to do.
    #[command(after_help = "Examples:\n  berth dns plan\n  berth dns plan shop")]
    Plan {
        /// Only these (`NAME` or `stack/NAME`).
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Take over the records of a host that stand there exactly as they are wanted, without a mark.
    ///
    /// They get Berth's mark and are kept right from then on. When the stack goes they stay, since they stood there
    /// before. Records with other values are never taken over.
    #[command(after_help = "Example:\n  berth dns adopt shop.example.com")]
    Adopt {
        #[arg(value_name = "HOST", required = true)]
        hosts: Vec<String>,
    },
    /// List the zones that each credential of berth.yaml reaches, and what is to be known of them.
    ///
    /// Exit code 1 when something is an error.
    #[command(after_help = "Example:\n  berth dns zones")]
    Zones {
        #[command(flatten)]
        output: Output,
    },
}

/// Look for what would keep Berth from working: settings, files, keys, servers, names, orphans.
///
/// Changes nothing. Exit code 1 when something is an error.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth doctor -o json")]
pub struct Doctor {
    #[command(flatten)]
    pub output: Output,
}

/// Watch Berth work: a simulated Dokploy, real manifests, drift, a bad release. No network, no Docker, no database.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth demo --once")]
pub struct Demo {
    /// End after the story instead of serving its status API. Exit code 0 only if all of it happened.
    #[arg(long)]
    pub once: bool,
    /// Where the status API listens. A free port of this machine by default.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
}

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  berth completions bash > /etc/bash_completion.d/berth")]
pub struct Completions {
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

fn time(text: &str) -> Result<Duration, String> {
    berth_model::units::parse_duration(text).map_err(|e| e.to_string())
}

/// A path that may be empty, as a variable that is set to nothing is.
fn path() -> impl clap::builder::TypedValueParser<Value = PathBuf> {
    use clap::builder::TypedValueParser;
    clap::builder::OsStringValueParser::new().map(PathBuf::from)
}
