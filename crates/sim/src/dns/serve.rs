//! The same world over real sockets: the providers' APIs over HTTP, a name server over UDP and TCP.
//! A broken exchange must never look like an answer: the connection is dropped instead.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::sim::Sim;
use super::zone::Provider;
use crate::serve::{run, torn, whole};

async fn api(State((sim, provider)): State<(Sim, Provider)>, request: Request<Body>) -> Response<Body> {
    match sim.handle(provider, whole(request).await).await {
        Ok(response) => response.map(Body::from),
        Err(_) => torn(),
    }
}

/// A provider's API, for a server or for calls in the same process.
pub fn router(sim: Sim, provider: Provider) -> Router {
    Router::new().fallback(api).with_state((sim, provider))
}

/// Serves a provider's API until cancelled; every call takes `latency`.
pub async fn serve(
    sim: Sim,
    provider: Provider,
    listener: TcpListener,
    latency: Duration,
    cancel: CancellationToken,
) {
    sim.set_latency(latency);
    run(listener, router(sim, provider), cancel).await;
}

/// Serves one name server of the world until cancelled. Both sockets should have the same address.
///
/// # Panics
/// Where the world has no such server: a defect of the test.
pub async fn serve_dns(sim: Sim, server: &str, udp: UdpSocket, tcp: TcpListener, cancel: CancellationToken) {
    let address = sim.with(|world| world.server(server).address());
    let udp = Arc::new(udp);
    let mut buffer = vec![0_u8; 65_535];
    loop {
        tokio::select! {
            () = cancel.cancelled() => return,
            Ok((size, from)) = udp.recv_from(&mut buffer) => {
                let (sim, udp, bytes, cancel) =
                    (sim.clone(), Arc::clone(&udp), buffer[..size].to_vec(), cancel.clone());
                tokio::spawn(cancel.run_until_cancelled_owned(async move {
                    for answer in sim.exchange(address, &bytes, false).await.unwrap_or_default() {
                        // Nobody may be waiting any more.
                        let _ = udp.send_to(&answer, from).await;
                    }
                }));
            }
            Ok((stream, _)) = tcp.accept() => {
                let (sim, cancel) = (sim.clone(), cancel.clone());
                tokio::spawn(cancel.run_until_cancelled_owned(async move {
                    // The client sees a closed connection; there is nobody else to tell.
                    let _ = connection(&sim, address, stream).await;
                }));
            }
        }
    }
}

async fn connection(sim: &Sim, address: std::net::SocketAddr, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let size = stream.read_u16().await?;
        let mut bytes = vec![0_u8; usize::from(size)];
        stream.read_exact(&mut bytes).await?;
        let answers = sim.exchange(address, &bytes, true).await;
        let Ok(answers) = answers else { return Ok(()) };
        for answer in answers {
            let size = u16::try_from(answer.len()).unwrap_or(u16::MAX);
            let mut framed = size.to_be_bytes().to_vec();
            framed.extend(&answer[..usize::from(size)]);
            stream.write_all(&framed).await?;
        }
    }
}
