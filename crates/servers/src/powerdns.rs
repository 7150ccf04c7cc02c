//! A PowerDNS of one's own: its HTTP API, dynamic updates and the DNS itself, on a SQLite file.

use crate::process::Process;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// The API key.
const KEY: &str = "powerdns-api-key";
/// The schema that its package brings.
const SCHEMA: &str = "/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql";

/// A running server.
#[derive(Debug)]
pub struct PowerDns {
    process: Process,
    dns: u16,
    api: u16,
}

impl PowerDns {
    /// Makes one and starts it.
    ///
    /// # Panics
    /// Where it cannot: with what is missing.
    #[must_use]
    pub fn start() -> Self {
        let process = Process::new("berth-powerdns-");
        let (dns, api) = (crate::free_dns_port(), crate::free_port());
        let dir = process.dir().to_owned();
        let schema = std::fs::read_to_string(SCHEMA).unwrap_or_else(|_| {
            panic!("no {SCHEMA}: 'apt-get install pdns-server pdns-backend-sqlite3' brings it")
        });
        let database = dir.join("pdns.sqlite3");
        let made = Command::new("sqlite3").arg(&database).arg(&schema).output();
        let made = made.expect("no sqlite3: 'apt-get install sqlite3' brings it");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let settings = [
            "launch=gsqlite3".to_owned(),
            format!("gsqlite3-database={}", database.display()),
            "gsqlite3-pragma-foreign-keys=yes".to_owned(),
            "local-address=127.0.0.1".to_owned(),
            format!("local-port={dns}"),
            "api=yes".to_owned(),
            format!("api-key={KEY}"),
            "webserver=yes".to_owned(),
            "webserver-address=127.0.0.1".to_owned(),
            format!("webserver-port={api}"),
            "webserver-allow-from=127.0.0.1".to_owned(),
            format!("socket-dir={}", dir.display()),
            "guardian=no".to_owned(),
            "daemon=no".to_owned(),
            "disable-syslog=yes".to_owned(),
            "security-poll-suffix=".to_owned(),
            // Otherwise it goes on refusing for seconds what it refused before the zone was made.
            "cache-ttl=0".to_owned(),
            "query-cache-ttl=0".to_owned(),
            "negquery-cache-ttl=0".to_owned(),
            "zone-cache-refresh-interval=0".to_owned(),
            "dnsupdate=yes".to_owned(),
            "allow-dnsupdate-from=127.0.0.0/8".to_owned(),
            "default-soa-content=ns1.@ hostmaster.@ 0 10800 3600 604800 60".to_owned(),
        ];
        std::fs::write(dir.join("pdns.conf"), settings.join("\n")).expect("its settings");
        let server = Self { process, dns, api };
        let config = format!("--config-dir={}", dir.display());
        server.process.start("pdns_server", &[&config], || server.answers());
        server
    }

    fn answers(&self) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, self.api)).is_ok() && self.api("GET", "", "").0 == 200
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.api)
    }

    /// Its API key.
    #[must_use]
    pub fn key(&self) -> &'static str {
        KEY
    }

    /// Where it answers as a name server.
    #[must_use]
    pub fn dns(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.dns).into()
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// A call as its administrator makes it: `path` below its own. Status and body.
    ///
    /// # Panics
    /// Where it does not answer.
    #[must_use]
    pub fn api(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.api)).expect("its API answers");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a patience");
        let request = format!(
            "{method} /api/v1/servers/localhost{path} HTTP/1.0\r\nhost: localhost\r\nx-api-key: {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status, body)
    }

    /// Makes a zone.
    ///
    /// # Panics
    /// Where it refuses.
    pub fn zone(&self, name: &str) {
        let body = format!(r#"{{"name":"{name}.","kind":"Native","nameservers":["ns1.{name}."]}}"#);
        let (status, said) = self.api("POST", "/zones", &body);
        assert_eq!(status, 201, "{said}");
    }

    /// Lets this key, of HMAC-SHA256 with this secret in base64, update and transfer a zone.
    ///
    /// # Panics
    /// Where it refuses.
    pub fn updates(&self, zone: &str, key: &str, secret: &str) {
        let body = format!(r#"{{"name":"{key}","algorithm":"hmac-sha256","key":"{secret}"}}"#);
        let (status, said) = self.api("POST", "/tsigkeys", &body);
        assert!(status == 201 || status == 409, "{said}");
        let body = format!(r#"{{"kind":"TSIG-ALLOW-DNSUPDATE","metadata":["{key}"]}}"#);
        let (status, said) = self.api("POST", &format!("/zones/{zone}./metadata"), &body);
        assert!((200..300).contains(&status), "{said}");
        let body = format!(r#"{{"master_tsig_key_ids":["{key}."]}}"#);
        let (status, said) = self.api("PUT", &format!("/zones/{zone}."), &body);
        assert!((200..300).contains(&status), "{said}");
    }
}
