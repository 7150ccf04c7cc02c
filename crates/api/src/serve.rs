//! Listens: plain, or with a certificate that is read again when its file changes. Headers must arrive in time, and at
//! the end requests under way get two seconds.

use crate::fleet::Fleet;
use crate::routes::{Options, router};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_util::sync::CancellationToken;

/// How long the headers of a request may take, from the connection on and between two requests.
const HEADERS: Duration = Duration::from_secs(60);

/// How long requests under way may still take once it is to end.
const GRACE: Duration = Duration::from_secs(2);

/// How often the certificate's files are looked at.
const LOOK: Duration = Duration::from_secs(30);

/// A certificate with its chain, and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Serves until cancelled.
///
/// # Errors
/// The listener breaks, or the certificate's files are none.
pub async fn serve<F: Fleet>(
    fleet: Arc<F>,
    listener: TcpListener,
    options: &Options,
    tls: Option<TlsFiles>,
    stop: CancellationToken,
) -> io::Result<()> {
    let app = router(fleet, options, stop.clone()).into_make_service_with_connect_info::<SocketAddr>();
    let handle = Handle::new();
    let ending = {
        let handle = handle.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            handle.graceful_shutdown(Some(GRACE));
        })
    };
    let mut server = axum_server::from_tcp(listener)?.handle(handle).http1_only();
    server
        .http_builder()
        .http1()
        .timer(hyper_util::rt::TokioTimer::new())
        .header_read_timeout(HEADERS)
        .keep_alive(true);
    let done = match tls {
        None => server.serve(app).await,
        Some(files) => {
            let certificate = read(&files).await?;
            let again = tokio::spawn(read_again(certificate.clone(), files));
            let done = server.acceptor(RustlsAcceptor::new(certificate)).serve(app).await;
            again.abort();
            done
        }
    };
    ending.abort();
    done
}

async fn read(files: &TlsFiles) -> io::Result<RustlsConfig> {
    RustlsConfig::from_pem_file(&files.certificate, &files.key).await.map_err(|e| named(files, &e))
}

fn named(files: &TlsFiles, error: &io::Error) -> io::Error {
    let (certificate, key) = (files.certificate.display(), files.key.display());
    io::Error::new(
        error.kind(),
        format!("the certificate {certificate} with the key {key} cannot be used: {error}"),
    )
}

/// A renewed certificate is taken without a restart; one that cannot be read leaves the one that there is.
async fn read_again(certificate: RustlsConfig, files: TlsFiles) {
    let mut known = changed(&files).await;
    loop {
        tokio::time::sleep(LOOK).await;
        let now = changed(&files).await;
        if now == known {
            continue;
        }
        match certificate.reload_from_pem_file(&files.certificate, &files.key).await {
            Ok(()) => {
                tracing::info!(certificate = %files.certificate.display(), "the API's certificate was read again");
                known = now;
            }
            Err(error) => {
                tracing::warn!("{}; the one that was read before goes on being used", named(&files, &error));
                known = now;
            }
        }
    }
}

async fn changed(files: &TlsFiles) -> [Option<SystemTime>; 2] {
    let at = async |path: &PathBuf| tokio::fs::metadata(path).await.and_then(|m| m.modified()).ok();
    [at(&files.certificate).await, at(&files.key).await]
}
