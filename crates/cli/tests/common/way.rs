//! A way to a database that can be cut, and that breaks at commits where it is told to.

use super::Place;
use super::daemons::roll;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of a commit on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// The connection breaks before it.
    CutBefore,
    /// It arrives, and the connection breaks before its answer.
    CutAfter,
    /// Its answer takes its time.
    Late,
}

/// Which commits break, by chance, and how many did.
#[derive(Debug, Default)]
pub struct Faults {
    seed: u64,
    /// One of so many breaks; 0: none does.
    one_of: usize,
    pub seen: Vec<Fate>,
}

impl Faults {
    /// What becomes of the next: of a transaction's commit, or of a statement that is one by itself, which are many.
    fn next(&mut self, single: bool) -> Option<Fate> {
        let one_of = if single { 8 * self.one_of } else { self.one_of };
        if one_of == 0 || !roll(&mut self.seed).is_multiple_of(one_of) {
            return None;
        }
        let fates = [Fate::CutBefore, Fate::CutAfter, Fate::CutAfter, Fate::Late];
        let fate = fates[roll(&mut self.seed) % fates.len()];
        self.seen.push(fate);
        Some(fate)
    }
}

/// The way. What is sent while it is cut goes nowhere, and nobody is told.
pub struct Way {
    pub address: SocketAddr,
    pub open: watch::Sender<bool>,
    pub faults: Arc<Mutex<Faults>>,
}

impl Way {
    /// To a port of this machine.
    pub fn to(place: &Place, port: u16) -> Self {
        let listener = place.runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        let faults: Arc<Mutex<Faults>> = Arc::default();
        let of_all = faults.clone();
        place.runtime.spawn(async move {
            loop {
                let Ok((here, _)) = listener.accept().await else { return };
                let (mut state, faults) = (state.clone(), of_all.clone());
                tokio::spawn(async move {
                    if state.wait_for(|open| *open).await.is_err() {
                        return;
                    }
                    let Ok(there) = TcpStream::connect(("127.0.0.1", port)).await else { return };
                    // What is asked waits for nothing but its answer.
                    let _ = (here.set_nodelay(true), there.set_nodelay(true));
                    let (here, there) = (here.into_split(), there.into_split());
                    let (fate, told) = watch::channel(None);
                    let up = Up { open: state.clone(), faults, fate, begun: false, inside: false };
                    let down = state.clone();
                    tokio::select! {
                        () = up.pump(here.0, there.1) => {}
                        () = pump_down(there.0, here.1, down, told) => {}
                        // Held until the way is open again: then both ends find that it broke.
                        () = async {
                            let _ = state.wait_for(|open| !*open).await;
                            let _ = state.wait_for(|open| *open).await;
                        } => {}
                    }
                });
            }
        });
        Self { address, open, faults }
    }

    /// From now on one of so many commits breaks; 0: none does.
    pub fn break_one_of(&self, one_of: usize, seed: u64) {
        let mut faults = self.faults.lock().unwrap();
        (faults.one_of, faults.seed) = (one_of, seed);
    }
}

/// What the client sends, message by message.
struct Up {
    open: watch::Receiver<bool>,
    faults: Arc<Mutex<Faults>>,
    fate: watch::Sender<Option<Fate>>,
    /// The start-up is over: messages begin with their kind.
    begun: bool,
    /// In a transaction.
    inside: bool,
}

impl Up {
    async fn pump(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let mut bytes = Vec::new();
        let mut chunk = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut chunk).await {
            bytes.extend_from_slice(&chunk[..length]);
            let mut whole = 0;
            while let Some(message) = self.message(&bytes[whole..]) {
                let fate = self.fate_of(&bytes[whole..whole + message]);
                if fate == Some(Fate::CutBefore) {
                    return;
                }
                if fate.is_some() {
                    let _ = self.fate.send(fate);
                }
                whole += message;
            }
            if !*self.open.borrow() {
                std::future::pending::<()>().await;
            }
            if to.write_all(&bytes[..whole]).await.is_err() {
                return;
            }
            bytes.drain(..whole);
        }
    }

    /// The length of the message that stands here, once it is all there.
    fn message(&self, bytes: &[u8]) -> Option<usize> {
        let kind = usize::from(self.begun);
        let length = bytes.get(kind..kind + 4)?;
        let length = kind + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        (bytes.len() >= length).then_some(length)
    }

    fn fate_of(&mut self, message: &[u8]) -> Option<Fate> {
        if !self.begun {
            // Not the question whether the line may be encrypted.
            let version = u32::from_be_bytes(message[4..8].try_into().unwrap());
            self.begun = version >> 16 == 3;
            return None;
        }
        let text = String::from_utf8_lossy(&message[5..]).to_lowercase();
        let mut faults = self.faults.lock().unwrap();
        match message[0] {
            b'Q' if text.starts_with("begin") => {
                self.inside = true;
                None
            }
            b'Q' if text.starts_with("rollback") => {
                self.inside = false;
                None
            }
            b'Q' if text.starts_with("commit") => {
                self.inside = false;
                faults.next(false)
            }
            // A statement by itself ends here.
            b'S' if !self.inside => faults.next(true),
            _ => None,
        }
    }
}

async fn pump_down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    open: watch::Receiver<bool>,
    mut told: watch::Receiver<Option<Fate>>,
) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        if !*open.borrow() {
            std::future::pending::<()>().await;
        }
        let fate = if told.has_changed().unwrap_or(false) { *told.borrow_and_update() } else { None };
        match fate {
            Some(Fate::CutAfter) => return,
            Some(Fate::Late) => tokio::time::sleep(Duration::from_millis(300)).await,
            Some(Fate::CutBefore) | None => {}
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}
