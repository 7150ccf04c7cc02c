//! Real sockets for DNS messages: one datagram socket or one connection an exchange, from a port of the system's choice,
//! connected, so that answers of other addresses are never seen.

use crate::exchange::{Exchange, ExchangeError, Flow};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// DNS over the network.
#[derive(Debug, Clone, Copy, Default)]
pub struct DnsSockets;

fn not_sent(e: &io::Error) -> ExchangeError {
    ExchangeError::NotSent(e.to_string())
}

fn lost(e: &io::Error) -> ExchangeError {
    ExchangeError::Lost(e.to_string())
}

async fn connect(server: SocketAddr) -> Result<TcpStream, ExchangeError> {
    match tokio::time::timeout(CONNECT, TcpStream::connect(server)).await {
        Ok(stream) => stream.map_err(|e| not_sent(&e)),
        Err(_) => Err(ExchangeError::NotSent("no connection within 5 s".to_owned())),
    }
}

async fn write(stream: &mut TcpStream, message: &[u8]) -> Result<(), ExchangeError> {
    let length = u16::try_from(message.len())
        .map_err(|_| ExchangeError::NotSent("the message is larger than 64 KiB".to_owned()))?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await.map_err(|e| lost(&e))
}

async fn read(stream: &mut TcpStream) -> Result<Vec<u8>, ExchangeError> {
    let length = stream.read_u16().await.map_err(|e| lost(&e))?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await.map_err(|e| lost(&e))?;
    Ok(answer)
}

impl Exchange for DnsSockets {
    async fn exchange(
        &self,
        server: SocketAddr,
        message: &[u8],
        tcp: bool,
    ) -> Result<Vec<u8>, ExchangeError> {
        if tcp {
            let mut stream = connect(server).await?;
            write(&mut stream, message).await?;
            return read(&mut stream).await;
        }
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(any).await.map_err(|e| not_sent(&e))?;
        socket.connect(server).await.map_err(|e| not_sent(&e))?;
        socket.send(message).await.map_err(|e| not_sent(&e))?;
        let mut buffer = vec![0; 65_535];
        loop {
            let length = socket.recv(&mut buffer).await.map_err(|e| lost(&e))?;
            // A late answer to an earlier question of this port, or a guess.
            if length >= 2 && buffer.get(..2) == message.get(..2) {
                buffer.truncate(length);
                return Ok(buffer);
            }
        }
    }

    async fn stream(
        &self,
        server: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> Result<(), ExchangeError> {
        let mut stream = connect(server).await?;
        write(&mut stream, message).await?;
        loop {
            if take(read(&mut stream).await?) == Flow::Done {
                return Ok(());
            }
        }
    }
}
