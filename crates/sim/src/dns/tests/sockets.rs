//! The simulated DNS over real sockets: a provider's API, a name server over UDP and TCP, broken exchanges.
//! A test here must never wait for simulated time: the clock is the real one.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::wire::{brief, question};
use crate::dns::{Options, Provider, Sim, serve, serve_dns};
use crate::{CallNo, Fault};

async fn http(address: SocketAddr, token: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "GET /v1/zones HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut out = Vec::new();
    // A reset is one way of breaking a connection.
    let _ = stream.read_to_end(&mut out).await;
    String::from_utf8_lossy(&out).into_owned()
}

async fn over_tcp(stream: &mut TcpStream, bytes: &[u8]) -> Message {
    let mut framed = u16::try_from(bytes.len()).expect("a length").to_be_bytes().to_vec();
    framed.extend(bytes);
    stream.write_all(&framed).await.expect("sent");
    let size = stream.read_u16().await.expect("a length");
    let mut answer = vec![0; usize::from(size)];
    stream.read_exact(&mut answer).await.expect("an answer");
    Message::from_vec(&answer).expect("a message")
}

#[tokio::test]
async fn real_sockets_answer_and_break() {
    let sim = Sim::new(Options { publish: Duration::ZERO, spread: Duration::ZERO, ..Options::default() });
    let token = sim.zone(Provider::Hetzner, "example.test");
    sim.with(|w| w.put("example.test", "a", "A", 60, &["192.0.2.1"]));
    let cancel = CancellationToken::new();
    let api = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let api_at = api.local_addr().expect("an address");
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let (tcp_at, udp_at) = (tcp.local_addr().expect("an address"), udp.local_addr().expect("an address"));
    let all = tokio::spawn({
        let (sim, cancel) = (sim.clone(), cancel.clone());
        async move {
            tokio::join!(
                serve(sim.clone(), Provider::Hetzner, api, Duration::ZERO, cancel.clone()),
                serve_dns(sim, "hydrogen.ns.hetzner.com", udp, tcp, cancel),
            )
        }
    });
    let good = http(api_at, &token).await;
    assert!(good.starts_with("HTTP/1.1 200") && good.contains("\"example.test\""), "{good}");
    sim.plan_fault(CallNo::Next(1), Fault::After);
    // A head may be out already, a body never is.
    assert_eq!(http(api_at, &token).await.split("\r\n\r\n").nth(1).unwrap_or_default(), "");

    let bytes = question("a.example.test.", RecordType::A).to_vec().expect("bytes");
    let expected = "noerror aa a.example.test. 60 A 192.0.2.1";
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    socket.send_to(&bytes, udp_at).await.expect("sent");
    let mut answer = [0; 512];
    let (size, _) = socket.recv_from(&mut answer).await.expect("an answer");
    assert_eq!(brief(&Message::from_vec(&answer[..size]).expect("a message")), expected);
    let mut stream = TcpStream::connect(tcp_at).await.expect("a connection");
    for _ in 0..2 {
        assert_eq!(brief(&over_tcp(&mut stream, &bytes).await), expected);
    }
    sim.plan_fault(CallNo::Next(1), Fault::Before);
    let mut framed = u16::try_from(bytes.len()).expect("a length").to_be_bytes().to_vec();
    framed.extend(&bytes);
    stream.write_all(&framed).await.expect("sent");
    assert!(stream.read_u16().await.is_err());
    cancel.cancel();
    all.await.expect("it ends");
}
