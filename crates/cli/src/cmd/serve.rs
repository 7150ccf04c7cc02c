//! What those who deploy the daemon ask of it beside running it.

use crate::settings::{self, Needs};
use crate::state::{self, AnyStore};
use crate::{out, pinned};
use anyhow::{Context, Result, bail};
use berth_model::config::Tls;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest that a health check waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// Brings the state up to date.
///
/// # Errors
/// It cannot be opened or changed.
pub async fn migrate(given: Option<&Path>) -> Result<ExitCode> {
    let config = settings::load(given, Needs::Places)?;
    AnyStore::open(&config).await?.close().await;
    out::say(&format!("the state in {} is up to date", state::place(&config)))?;
    Ok(ExitCode::SUCCESS)
}

/// Asks the daemon whether it is alive.
///
/// # Errors
/// It does not answer, or not well.
pub async fn healthcheck(given: Option<&Path>) -> Result<ExitCode> {
    let config = settings::load(given, Needs::Places)?;
    let address = reachable(config.listen);
    let answer = tokio::time::timeout(PATIENCE, ask(address, config.api.tls.as_ref())).await;
    let answer = answer.with_context(|| format!("no answer from {address} within {PATIENCE:?}"))?;
    let answer = answer.with_context(|| format!("no daemon answers at {address}"))?;
    let status = answer.lines().next().unwrap_or_default();
    if !status.contains(" 200 ") {
        bail!("{address} answers '{status}', not 200");
    }
    Ok(ExitCode::SUCCESS)
}

/// Who listens everywhere is asked on loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn ask(address: SocketAddr, tls: Option<&Tls>) -> Result<String> {
    let stream = TcpStream::connect(address).await?;
    match tls {
        None => get(stream, address).await,
        Some(tls) => get(pinned::connect(stream, &tls.certificate).await?, address).await,
    }
}

async fn get(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> Result<String> {
    let request = format!("GET /healthz HTTP/1.0\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // One that ends without saying good-bye has answered all the same.
    let ended = stream.take(64 << 10).read_to_end(&mut answer).await;
    if answer.is_empty() {
        ended?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
