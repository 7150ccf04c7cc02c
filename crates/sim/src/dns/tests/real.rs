//! Real name servers for the tests that hold the simulated ones against them: from the system's packages, on loopback,
//! each with a folder of its own, ended with the test however that ends.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use serde_json::Value;
use tempfile::TempDir;

use super::wire::question;

const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub(super) struct Real {
    child: Child,
    dir: TempDir,
    dns: u16,
    /// Of PowerDNS' API, and its key, which no other server has.
    api: Option<u16>,
    pub key: String,
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn spawn(program: &str, arguments: &[String], dir: &Path) -> Child {
    let log = std::fs::File::create(dir.join("log")).expect("a log");
    let errors = log.try_clone().expect("the log twice");
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]).args(arguments).current_dir(dir);
    // PowerDNS dates its serials by the clock on the wall.
    command.env("TZ", "UTC").stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("setpriv starts")
}

/// What a server is started with.
struct Ports {
    dns: u16,
    api: u16,
    key: String,
}

impl Ports {
    fn free() -> Ports {
        // One that is free over UDP as well.
        let both = || (0..100).map(|_| berth_servers::free_port());
        let dns = both().find(|port| UdpSocket::bind(loopback(*port)).is_ok()).expect("a free port");
        Ports { dns, api: berth_servers::free_port(), key: format!("key-{}-{dns}", std::process::id()) }
    }
}

/// Starts a server; another one of the machine may have taken its port meanwhile, then again with others.
/// It is there once it answers the questions with the code.
fn start(
    program: &str,
    api: bool,
    ready: (&[&str], ResponseCode),
    prepare: impl Fn(&Path, &Ports) -> Vec<String>,
) -> Real {
    let mut said = String::new();
    for _ in 0..3 {
        let dir = tempfile::Builder::new().prefix("berth-dns-").tempdir().expect("a folder of its own");
        let ports = Ports::free();
        let arguments = prepare(dir.path(), &ports);
        let Ports { dns, api: port, key } = ports;
        let child = spawn(program, &arguments, dir.path());
        let mut real = Real { child, dir, dns, api: api.then_some(port), key };
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until && matches!(real.child.try_wait(), Ok(None)) {
            if real.answers(ready.0, ready.1) {
                return real;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        said = real.said();
    }
    panic!(
        "{program} does not come up; 'apt-get install pdns-server pdns-backend-sqlite3 sqlite3 bind9' brings it:\n{said}"
    );
}

/// PowerDNS with an empty database.
pub(super) fn powerdns() -> Real {
    start("/usr/sbin/pdns_server", true, (&["."], ResponseCode::Refused), |dir, Ports { dns, api, key }| {
        let database = dir.join("pdns.sqlite3");
        let schema = std::fs::File::open("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql");
        let schema = schema.expect("the schema: 'apt-get install pdns-backend-sqlite3' brings it");
        let made = Command::new("sqlite3").arg(&database).stdin(schema).status().expect("sqlite3 runs");
        assert!(made.success());
        let at = dir.display();
        let text = format!(
            "launch=gsqlite3\ngsqlite3-database={at}/pdns.sqlite3\ngsqlite3-pragma-foreign-keys=yes\n\
             local-address=127.0.0.1\nlocal-port={dns}\napi=yes\napi-key={key}\nwebserver=yes\n\
             webserver-address=127.0.0.1\nwebserver-port={api}\nwebserver-allow-from=127.0.0.1\nsocket-dir={at}\n\
             guardian=no\ndaemon=no\ndisable-syslog=yes\nsecurity-poll-suffix=\ncache-ttl=0\nquery-cache-ttl=0\n\
             negquery-cache-ttl=0\nzone-cache-refresh-interval=0\ndnsupdate=yes\nallow-dnsupdate-from=127.0.0.0/8\n\
             default-soa-content=ns1.@ hostmaster.@ 0 10800 3600 604800 60\n"
        );
        std::fs::write(dir.join("pdns.conf"), text).expect("a configuration");
        vec![format!("--config-dir={at}")]
    })
}

/// BIND with the zones of the given texts; the first one takes updates by the key of the tests.
pub(super) fn bind(secret: &str, zones: &[(&str, &str)]) -> Real {
    let names: Vec<&str> = zones.iter().map(|(name, _)| *name).collect();
    start("/usr/sbin/named", false, (&names, ResponseCode::NoError), |dir, Ports { dns, .. }| {
        let at = dir.display();
        let mut text = format!(
            "key berth-key {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n\
             options {{ directory \"{at}\"; pid-file \"{at}/pid\"; session-keyfile \"{at}/session.key\";\n\
             listen-on port {dns} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no;\n\
             allow-transfer {{ key berth-key; }}; notify no; dnssec-validation no; }};\ncontrols {{ }};\n"
        );
        for (number, (name, records)) in zones.iter().enumerate() {
            std::fs::write(dir.join(name), records).expect("a zone file");
            let policy = match number {
                0 => "update-policy { grant berth-key zonesub A AAAA CNAME TXT; };",
                _ => "",
            };
            text.push_str(&format!("zone \"{name}\" {{ type primary; file \"{at}/{name}\"; {policy} }};\n"));
        }
        std::fs::write(dir.join("named.conf"), text).expect("a configuration");
        vec!["-g".to_owned(), "-c".to_owned(), format!("{at}/named.conf")]
    })
}

impl Real {
    /// What it wrote to its log.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn answers(&self, names: &[&str], code: ResponseCode) -> bool {
        let api = self.api.is_none_or(|port| {
            TcpStream::connect(loopback(port)).is_ok()
                && self.http(&self.key, "GET", "/api/v1/servers/localhost", "").0 == 200
        });
        api && names.iter().all(|name| {
            let bytes = question(name, RecordType::SOA).to_vec().expect("bytes");
            let answer = self.try_udp(&bytes, Duration::from_millis(200));
            answer.is_some_and(|a| Message::from_vec(&a).is_ok_and(|m| m.response_code == code))
        })
    }

    fn try_udp(&self, bytes: &[u8], wait: Duration) -> Option<Vec<u8>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        socket.connect(loopback(self.dns)).ok()?;
        socket.set_read_timeout(Some(wait)).ok()?;
        socket.send(bytes).ok()?;
        let mut answer = vec![0; 65_535];
        let size = socket.recv(&mut answer).ok()?;
        answer.truncate(size);
        Some(answer)
    }

    pub(super) fn udp(&self, bytes: &[u8]) -> Vec<u8> {
        self.try_udp(bytes, PATIENCE).expect("an answer")
    }

    /// Every message that comes back until `done` says that it was the last.
    pub(super) fn tcp(&self, bytes: &[u8], done: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let mut stream = TcpStream::connect(loopback(self.dns)).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut framed = u16::try_from(bytes.len()).expect("a length").to_be_bytes().to_vec();
        framed.extend(bytes);
        stream.write_all(&framed).expect("sent");
        let mut out: Vec<Vec<u8>> = Vec::new();
        while out.last().is_none_or(|last| !done(last)) {
            let mut size = [0; 2];
            stream.read_exact(&mut size).expect("a length");
            let mut answer = vec![0; usize::from(u16::from_be_bytes(size))];
            stream.read_exact(&mut answer).expect("an answer");
            out.push(answer);
        }
        out
    }

    /// One call of PowerDNS' API: status, headers in lower case, body.
    pub(super) fn http(&self, key: &str, method: &str, path: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(loopback(self.api.expect("an API"))).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nx-api-key: {key}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        let mut text = Vec::new();
        stream.read_to_end(&mut text).expect("an answer");
        let text = String::from_utf8(text).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    pub(super) fn json(&self, method: &str, path: &str, body: &Value) {
        let path = format!("/api/v1/servers/localhost{path}");
        let (status, _, text) = self.http(&self.key, method, &path, &body.to_string());
        assert!(status < 300, "{method} {path}: {status} {text}");
    }
}
