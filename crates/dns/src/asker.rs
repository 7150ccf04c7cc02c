//! Asks one server one question: over UDP, over TCP where the answer does not fit, twice before it is called silent.
//! Nothing is kept, and no other server is asked instead.

use crate::exchange::{Exchange, ExchangeError};
use crate::message::{claims, question};
use berth_wire::Dice;
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;
use std::time::Duration;

/// How long one datagram may take there and back.
const DATAGRAM: Duration = Duration::from_secs(2);
/// How long an answer over TCP may take.
const STREAM: Duration = Duration::from_secs(5);
/// Records of one answer that are read.
const RECORDS: usize = 6_000;

/// Asks servers.
pub(crate) struct Asker<E> {
    pub(crate) exchange: E,
    pub(crate) dice: Dice,
}

impl<E: Exchange> Asker<E> {
    /// An id that cannot be guessed.
    pub(crate) fn id(&self) -> u16 {
        // The high bits are as good as any.
        (((self.dice)() >> 48) & 0xffff) as u16
    }

    /// The server's answer, whatever it says.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn ask(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
        recursive: bool,
    ) -> Result<Message, String> {
        let mut why = String::new();
        let mut edns = true;
        for tcp in [false, false, true] {
            match self.once(server, name, kind, recursive, tcp, edns).await {
                Ok(answer) if answer.truncation && !tcp => {
                    return self.once(server, name, kind, recursive, true, edns).await;
                }
                // A server of before 1999: asked again in its own language.
                Ok(answer) if edns && refuses_edns(&answer) => {
                    edns = false;
                    why = "it does not understand the question".to_owned();
                }
                Ok(answer) => return Ok(answer),
                Err(told) => why = told,
            }
        }
        Err(why)
    }

    /// The server's answer over TCP, asked once.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn ask_tcp(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
    ) -> Result<Message, String> {
        self.once(server, name, kind, false, true, true).await
    }

    async fn once(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
        recursive: bool,
        tcp: bool,
        edns: bool,
    ) -> Result<Message, String> {
        let id = self.id();
        let message = question(id, name, kind, recursive, edns);
        let bytes = message.to_vec().map_err(|_| "the question cannot be written".to_owned())?;
        let within = if tcp { STREAM } else { DATAGRAM };
        let over = if tcp { "TCP" } else { "UDP" };
        let answer = match tokio::time::timeout(within, self.exchange.exchange(server, &bytes, tcp)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(ExchangeError::NotSent(why) | ExchangeError::Lost(why))) => {
                return Err(format!("{over}: {why}"));
            }
            Err(_) => return Err(format!("{over}: no answer within {} s", within.as_secs())),
        };
        let read = read(&answer).ok_or_else(|| format!("{over}: its answer cannot be read"))?;
        // What a server that does not speak this language sends back has no question in it.
        let echoed = match read.queries.as_slice() {
            [] => read.response_code != ResponseCode::NoError,
            [one] => one.name() == name && one.query_type() == kind,
            _ => false,
        };
        if read.id != id || !echoed {
            return Err(format!("{over}: its answer is to another question"));
        }
        Ok(read)
    }
}

fn refuses_edns(answer: &Message) -> bool {
    matches!(answer.response_code, ResponseCode::FormErr | ResponseCode::NotImp) && answer.edns.is_none()
}

/// Reads an answer; `None` where it is none, or claims more than is read.
pub(crate) fn read(bytes: &[u8]) -> Option<Message> {
    if claims(bytes) > RECORDS {
        return None;
    }
    Message::from_vec(bytes)
        .ok()
        .filter(|m| m.message_type == MessageType::Response && m.op_code != OpCode::Notify)
}

#[cfg(test)]
#[path = "asker_tests.rs"]
mod tests;
