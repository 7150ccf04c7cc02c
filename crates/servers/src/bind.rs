//! A BIND of one's own: a primary that takes signed updates, a secondary that keeps what it fetched when it started, or a
//! server that knows no zone and refuses.

use crate::process::Process;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

/// The name of the key.
const KEY: &str = "berth-key";
/// Its secret.
const SECRET: &str = "c2VjcmV0LW9mLXRoZS1rZXktb2YtYmVydGgtdGVzdHM=";

/// What a server is to a zone.
enum Role {
    Primary { transfers: bool },
    Secondary { of: u16 },
    None,
}

/// A running server.
#[derive(Debug)]
pub struct Bind {
    process: Process,
    port: u16,
    zone: String,
}

impl Bind {
    /// A primary of the zone, with something in it that is not the tests': an MX, a text, an address, a delegation, and enough
    /// hosts for a transfer to take several messages.
    /// `transfers` lets the key fetch the whole zone.
    ///
    /// # Panics
    /// Where it does not come up: with its log.
    #[must_use]
    pub fn primary(zone: &str, transfers: bool) -> Self {
        Self::run(zone, &Role::Primary { transfers })
    }

    /// A secondary of this primary, which has to allow transfers. It fetches the zone when it starts and stays at that.
    ///
    /// # Panics
    /// Where it does not come up: with its log.
    #[must_use]
    pub fn secondary(of: &Bind) -> Self {
        Self::run(&of.zone, &Role::Secondary { of: of.port })
    }

    /// A server that refuses every question.
    ///
    /// # Panics
    /// Where it does not come up: with its log.
    #[must_use]
    pub fn refusing(zone: &str) -> Self {
        Self::run(zone, &Role::None)
    }

    fn run(zone: &str, role: &Role) -> Self {
        let process = Process::new("berth-bind-");
        let port = crate::free_dns_port();
        let dir = process.dir().display().to_string();
        let key = format!("key \"{KEY}\" {{ algorithm hmac-sha256; secret \"{SECRET}\"; }};\n");
        let options = |transfer: &str| {
            format!(
                "options {{ directory \"{dir}\"; pid-file \"{dir}/named.pid\"; session-keyfile \"{dir}/session.key\"; \
                 listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; notify no; \
                 allow-transfer {{ {transfer} }}; dnssec-validation no; }};\ncontrols {{ }};\n"
            )
        };
        let by_key = format!("key \"{KEY}\";");
        let body = match role {
            Role::Primary { transfers } => {
                std::fs::write(process.dir().join("zone"), records(zone)).expect("its zone");
                format!(
                    "{}zone \"{zone}\" {{ type primary; file \"{dir}/zone\"; \
                     update-policy {{ grant \"{KEY}\" zonesub A AAAA CNAME TXT; }}; }};\n",
                    options(if *transfers { &by_key } else { "none;" })
                )
            }
            Role::Secondary { of } => format!(
                "{}zone \"{zone}\" {{ type secondary; primaries {{ 127.0.0.1 port {of} key \"{KEY}\"; }}; }};\n",
                options("none;")
            ),
            Role::None => options("none;")
                .replace("dnssec-validation no;", "dnssec-validation no; allow-query { none; };"),
        };
        std::fs::write(process.dir().join("named.conf"), key + &body).expect("its settings");
        let server = Self { process, port, zone: zone.to_owned() };
        server.up(matches!(role, Role::None));
        server
    }

    fn up(&self, refuses: bool) {
        let config = self.process.dir().join("named.conf");
        let config = config.display().to_string();
        self.process.start("/usr/sbin/named", &["-g", "-c", &config], || {
            let said = self.dig(&[&self.zone, "SOA", "+norecurse", "+tries=1", "+time=1"]);
            said.contains(if refuses { "status: REFUSED" } else { "flags: qr aa" })
        });
    }

    /// Ends it and starts it again: a secondary then has what its primary has.
    ///
    /// # Panics
    /// Where it does not come up: with its log.
    pub fn restart(&self) {
        self.process.stop();
        self.up(false);
    }

    /// Ends it.
    pub fn stop(&self) {
        self.process.stop();
    }

    /// Where it answers.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The name of its key.
    #[must_use]
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// The secret of its key, in base64.
    #[must_use]
    pub fn secret(&self) -> &'static str {
        SECRET
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Asks it as an administrator does; answers what `dig` printed.
    ///
    /// # Panics
    /// Where there is no `dig`.
    #[must_use]
    pub fn dig(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("dig");
        command.args(["@127.0.0.1", "-p", &self.port.to_string()]).args(arguments);
        let out = command.output().expect("no dig: 'apt-get install bind9-dnsutils' brings it");
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// Changes it past everybody else, as `nsupdate` with its key does: lines like `update add x.zone. 60 A 192.0.2.1`.
    ///
    /// # Panics
    /// Where it refuses.
    pub fn update(&self, lines: &[&str]) {
        let script =
            format!("server 127.0.0.1 {}\nzone {}\n{}\nsend\n", self.port, self.zone, lines.join("\n"));
        let path = self.process.dir().join("script");
        std::fs::write(&path, script).expect("a script");
        let key = format!("hmac-sha256:{KEY}:{SECRET}");
        let out = Command::new("nsupdate").args(["-y", &key]).arg(&path).output();
        let out = out.expect("no nsupdate: 'apt-get install bind9-dnsutils' brings it");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

/// What stands in a new zone.
fn records(zone: &str) -> String {
    format!(
        "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 604800 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n\
         @ IN MX 10 mail.{zone}.\n@ IN TXT \"v=spf1 -all\" \"second chunk\"\nmail IN A 192.0.2.25\n\
         sub IN NS ns.elsewhere.test.\n$GENERATE 1-2000 host-number-$ A 192.0.2.200\n"
    )
}
