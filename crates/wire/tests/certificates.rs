//! Real handshakes: what a health check tells of a host's certificate, whether it is believed or not.
//!
//! Which authorities are believed is the system's matter, and is read from a file that a variable names. So the test
//! runs itself again with that variable set; every key is made at run time.

use berth_model::Time;
use berth_model::observed::{Certificate, ProbeResult, Probed};
use berth_model::step::ProbeSpec;
use berth_ports::Prober;
use berth_wire::{Probe, Route, Sockets, SocketsOptions, install_crypto};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

const HOST: &str = "h.example";
const AUTHORITY: &str = "BERTH_TEST_AUTHORITY";

/// An authority of this run.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
}

impl Authority {
    fn make(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { params, key: KeyPair::generate().unwrap() }
    }

    /// A certificate for this host, up to the first day of this year.
    fn signs(&self, host: &str, year: i32) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &Issuer::from_params(&self.params, &self.key)).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// Serves 200 behind this certificate, for as long as the test runs; the port.
async fn serve(certificate: (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)) -> u16 {
    let (chain, key) = certificate;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that does not believe the certificate hangs up in the middle.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = vec![0; 4096];
            if stream.read(&mut request).await.is_ok_and(|n| n > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        }
    });
    port
}

async fn probe(port: u16) -> Probed {
    let verified = SocketsOptions {
        connect_to: Some("127.0.0.1".parse().unwrap()),
        tell_expiry: true,
        ..SocketsOptions::default()
    };
    let any = SocketsOptions { any_certificate: true, ..verified.clone() };
    let route = Route {
        transport: Sockets::new(&verified).unwrap(),
        unverified: Some(Sockets::new(&any).unwrap()),
        port: Some(port),
        plain: false,
    };
    let spec = ProbeSpec { host: HOST.into(), https: true, paths: vec!["/".into()], expect: (200, 299) };
    Probe::with_routes([("main".to_owned(), route)].into()).probe("main", &spec).await
}

fn day(year: i32) -> Option<Time> {
    let day: jiff::Timestamp = format!("{year}-01-01T00:00:00Z").parse().unwrap();
    Some(Time(day.as_millisecond()))
}

/// What is asked of a certificate that is not believed: why, when it expires, and that the app behind it is asked.
fn assert_doubted(probed: &Probed, why: &str, year: i32) {
    let ProbeResult::Certificate(words) = &probed.result else { panic!("{probed:?}") };
    assert!(words.contains(why) && words.ends_with("behind it / answers 200"), "{words}");
    let met = probed.certificate.clone().unwrap();
    assert_eq!(met.until, day(year), "{probed:?}");
    assert!(met.trouble.is_some_and(|t| t.contains(why)), "{probed:?}");
}

#[test]
fn a_handshake_tells_the_certificate() {
    install_crypto();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Ok(folder) = std::env::var(AUTHORITY) {
        let key = std::fs::read(format!("{folder}/key.der")).unwrap();
        let key = KeyPair::try_from(key.as_slice()).unwrap();
        runtime.block_on(handshakes(Authority { key, ..Authority::make("believed") }));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::make("believed");
    let pem = folder.path().join("authorities.pem");
    let itself = authority.params.self_signed(&authority.key).unwrap();
    let text = data_encoding::BASE64.encode(itself.der());
    std::fs::write(&pem, format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n"))
        .unwrap();
    std::fs::write(folder.path().join("key.der"), authority.key.serialize_der()).unwrap();
    let again = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_handshake_tells_the_certificate", "--nocapture"])
        .env(AUTHORITY, folder.path())
        .env("SSL_CERT_FILE", &pem)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&again.stdout);
    assert!(again.status.success(), "{told}\n{}", String::from_utf8_lossy(&again.stderr));
    assert!(told.contains("1 passed"), "the test did not run itself: {told}");
}

async fn handshakes(authority: Authority) {
    let good = probe(serve(authority.signs(HOST, 2080)).await).await;
    assert_eq!(good.result, ProbeResult::Status { path: "/".into(), status: 200 });
    assert_eq!(good.certificate, Some(Certificate { until: day(2080), trouble: None }));
    let expired = probe(serve(authority.signs(HOST, 2020)).await).await;
    assert_doubted(&expired, "expired", 2020);
    let of_another = probe(serve(authority.signs("other.example", 2080)).await).await;
    assert_doubted(&of_another, "not valid for", 2080);
    let of_nobody = probe(serve(Authority::make("nobody").signs(HOST, 2080)).await).await;
    assert_doubted(&of_nobody, "UnknownIssuer", 2080);
}
