//! Real sockets for DNS messages: one datagram socket or one connection an exchange, from a port of the system's choice,
//! connected, so that answers of other addresses are never seen.

use crate::exchange::{Exchange, ExchangeError, Flow};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// The system's own recursors, as `/etc/resolv.conf` names them. None where it cannot be read.
#[must_use]
pub fn system_resolvers() -> Vec<SocketAddr> {
    std::fs::read_to_string("/etc/resolv.conf").map(|text| resolvers_in(&text)).unwrap_or_default()
}

fn resolvers_in(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let server = words.next().filter(|w| *w == "nameserver").and(words.next())?;
        // A zone of an address of this link (`%eth0`) is not for us to know.
        server.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53))
    };
    text.lines().filter_map(address).take(3).collect()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_recursors_are_found() {
        let text = "# made by hand\nsearch a.test\nnameserver 192.0.2.53\nnameserver\t2001:db8::53 \n\
                    nameserver fe80::1%eth0\nnameserver nonsense\noptions ndots:2\n";
        let found: Vec<_> = resolvers_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53:53", "[2001:db8::53]:53"]);
        assert!(resolvers_in("").is_empty());
    }
}
