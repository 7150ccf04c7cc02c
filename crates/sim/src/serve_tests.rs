//! The simulator over real sockets: answers, compression, broken exchanges, the proxy and the registry.
//! A test here must never wait for simulated time: the clock is the real one.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::{Behaviour, CallNo, Fault, Options, Sim, serve, serve_proxy, serve_registry};

async fn ask(address: std::net::SocketAddr, head: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).await.expect("sent");
    let mut out = Vec::new();
    // A reset is one way of breaking a connection.
    let _ = stream.read_to_end(&mut out).await;
    out
}

async fn listen() -> (TcpListener, std::net::SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[tokio::test]
async fn real_sockets_answer_compress_and_break() {
    let sim = Sim::new(Options::default());
    sim.set_image("registry.sim/web:1", Behaviour::Ok);
    let cancel = CancellationToken::new();
    let ((api, at), (proxy, proxy_at), (registry, registry_at)) =
        (listen().await, listen().await, listen().await);
    let all = tokio::spawn({
        let (sim, cancel) = (sim.clone(), cancel.clone());
        async move {
            tokio::join!(
                serve(sim.clone(), api, Duration::from_millis(1), cancel.clone()),
                serve_proxy(sim.clone(), proxy, cancel.clone()),
                serve_registry(sim, registry, cancel)
            )
        }
    });
    let head = |extra: &str| {
        let key = sim.owner_key();
        format!("GET /api/organization.active HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\n{extra}")
    };
    let plain = String::from_utf8(ask(at, &head("")).await).expect("text");
    assert!(plain.starts_with("HTTP/1.1 200") && plain.contains("My Organization"), "{plain}");
    let packed = ask(at, &head("accept-encoding: gzip\r\n")).await;
    assert!(String::from_utf8_lossy(&packed).contains("content-encoding: gzip"));
    for extra in ["", "accept-encoding: gzip\r\n"] {
        sim.plan_fault(CallNo::Next(1), Fault::After);
        assert_eq!(String::from_utf8_lossy(&ask(at, &head(extra)).await), "");
    }
    let missing = ask(proxy_at, "GET / HTTP/1.1\r\nhost: a.test\r\n").await;
    assert!(missing.starts_with(b"HTTP/1.1 404"));
    let manifest = ask(registry_at, "HEAD /v2/web/manifests/1 HTTP/1.1\r\nhost: x\r\n").await;
    assert!(String::from_utf8_lossy(&manifest).contains("docker-content-digest: sha256:"));
    cancel.cancel();
    all.await.expect("an end");
}
