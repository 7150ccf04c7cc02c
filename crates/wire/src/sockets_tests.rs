//! Real sockets against a listener in this process.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Answers each connection with the texts in turn, one a request, and then closes it.
async fn server(connections: Vec<Vec<String>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answers in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let mut buffer = vec![0; 4096];
                if stream.read(&mut buffer).await.unwrap() == 0 {
                    break;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    url
}

fn answer(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn request(method: http::Method, url: &str) -> http::Request<Bytes> {
    http::Request::builder().method(method).uri(url).body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn a_connection_that_died_idle_costs_a_read_nothing() {
    let sockets = Sockets::new(&SocketsOptions::default()).unwrap();
    let url = server(vec![vec![answer("one")], vec![answer("two")]]).await;
    for expected in ["one", "two"] {
        let got = sockets.send(request(http::Method::GET, &url)).await.unwrap();
        assert_eq!(got.body(), expected);
        // The server has closed the connection by now; the pool may not have seen it.
    }
}

#[tokio::test]
async fn a_write_that_breaks_is_lost_and_not_repeated() {
    let sockets = Sockets::new(&SocketsOptions::default()).unwrap();
    let url = server(vec![vec![String::new()], vec![answer("never")]]).await;
    let got = sockets.send(request(http::Method::POST, &url)).await;
    assert!(matches!(got, Err(TransportError::Lost(_))), "{got:?}");
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let sockets = Sockets::new(&SocketsOptions::default()).unwrap();
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let got = sockets.send(request(http::Method::POST, &format!("http://127.0.0.1:{port}/?q=hunter2"))).await;
    let Err(TransportError::NotSent(why)) = got else { panic!("{got:?}") };
    assert!(!why.contains("hunter2"), "{why}");
}

#[tokio::test]
async fn answers_are_bounded_and_redirects_are_answers() {
    let small = SocketsOptions { largest: 10, ..SocketsOptions::default() };
    let sockets = Sockets::new(&small).unwrap();
    let moved = "HTTP/1.1 308 Moved\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n".to_owned();
    let url = server(vec![vec![answer("0123456789"), moved, answer("0123456789x")]]).await;
    let send = || sockets.send(request(http::Method::GET, &url));
    assert_eq!(send().await.unwrap().body(), "0123456789");
    assert_eq!(send().await.unwrap().status(), 308);
    assert_eq!(send().await.unwrap_err(), TransportError::TooLarge(10));
}

#[tokio::test]
async fn a_fixed_address_stands_in_for_any_host() {
    let url = server(vec![vec![answer("here")]]).await;
    let port = url.rsplit(':').next().unwrap();
    let options =
        SocketsOptions { connect_to: Some("127.0.0.1".parse().unwrap()), ..SocketsOptions::default() };
    let sockets = Sockets::new(&options).unwrap();
    let got = sockets.send(request(http::Method::GET, &format!("http://nowhere.invalid:{port}"))).await;
    assert_eq!(got.unwrap().body(), "here");
}

#[test]
fn a_refused_certificate_is_known_however_deep_it_lies() {
    use std::io::{Error as Io, ErrorKind};
    let refused = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
    assert!(certificate(&refused()));
    assert!(certificate(&Io::new(ErrorKind::InvalidData, refused())));
    assert!(certificate(&Io::other(Io::new(ErrorKind::InvalidData, refused()))));
    assert!(!certificate(&Io::other(Io::new(ErrorKind::InvalidData, rustls::Error::HandshakeNotComplete))));
    assert!(!certificate(&Io::from(ErrorKind::ConnectionRefused)));
}
