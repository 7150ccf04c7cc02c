//! The asker against servers that follow a script, on virtual time.

use super::*;
use crate::exchange::Flow;
use crate::message::rdata;
use berth_model::dns::RecordData;
use hickory_proto::rr::Record;
use std::sync::{Arc, Mutex};

#[derive(Clone, Copy, PartialEq)]
enum Step {
    Answer,
    Truncated,
    OtherId,
    OtherQuestion,
    NoEdns,
    Garbage,
    Silence,
    Closed,
}

struct Script(Mutex<Vec<Step>>, Mutex<Vec<(bool, bool)>>);

impl Exchange for Script {
    async fn exchange(&self, _: SocketAddr, message: &[u8], tcp: bool) -> Result<Vec<u8>, ExchangeError> {
        let asked = Message::from_vec(message).unwrap();
        assert!(!asked.recursion_desired);
        self.1.lock().unwrap().push((tcp, asked.edns.is_some()));
        let step = {
            let mut steps = self.0.lock().unwrap();
            if steps.is_empty() { Step::Answer } else { steps.remove(0) }
        };
        let mut answer = asked.clone().into_response();
        answer.metadata.authoritative = true;
        let value = rdata(&RecordData::try_from("A 192.0.2.1".to_owned()).unwrap()).unwrap();
        answer.add_answer(Record::from_rdata(asked.queries[0].name().clone(), 60, value));
        match step {
            Step::Answer => {}
            Step::Truncated => answer.metadata.truncation = true,
            Step::OtherId => answer.metadata.id ^= 1,
            Step::OtherQuestion => {
                answer.queries[0].set_query_type(RecordType::AAAA);
            }
            Step::NoEdns => {
                answer = Message::error_msg(asked.id, OpCode::Query, ResponseCode::FormErr);
            }
            Step::Garbage => return Ok(message[..5].to_vec()),
            Step::Silence => std::future::pending().await,
            Step::Closed => return Err(ExchangeError::NotSent("refused".into())),
        }
        Ok(answer.to_vec().unwrap())
    }

    async fn stream(
        &self,
        _: SocketAddr,
        _: &[u8],
        _: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> Result<(), ExchangeError> {
        Err(ExchangeError::NotSent("no".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_goes_as_far_as_it_must() {
    use Step::{Answer, Closed, Garbage, NoEdns, OtherId, OtherQuestion, Silence, Truncated};
    let udp = (false, true);
    let tcp = (true, true);
    type Case<'a> = (&'a [Step], &'a [(bool, bool)], Result<(), &'a str>);
    let table: [Case<'_>; 9] = [
        (&[Answer], &[udp], Ok(())),
        (&[Truncated, Answer], &[udp, tcp], Ok(())),
        (&[Silence, Answer], &[udp, udp], Ok(())),
        (&[Silence, Silence, Answer], &[udp, udp, tcp], Ok(())),
        (&[Silence, Silence, Silence], &[udp, udp, tcp], Err("TCP: no answer within 5 s")),
        (&[OtherId, OtherQuestion, Garbage], &[udp, udp, tcp], Err("TCP: its answer cannot be read")),
        (&[NoEdns, Answer], &[udp, (false, false)], Ok(())),
        (&[Truncated, Closed], &[udp, tcp], Err("TCP: refused")),
        (&[Closed, Closed, OtherQuestion], &[udp, udp, tcp], Err("TCP: its answer is to another question")),
    ];
    for (steps, sent, expected) in table {
        let script = Arc::new(Script(Mutex::new(steps.to_vec()), Mutex::default()));
        let asker = Asker { exchange: script.clone(), dice: Arc::new(|| 7 << 48) };
        let server = "192.0.2.53:53".parse().unwrap();
        let name = Name::from_ascii("a.b.").unwrap();
        let got = asker.ask(server, &name, RecordType::A, false).await;
        assert_eq!(got.as_ref().map(|_| ()).map_err(String::as_str), expected);
        assert_eq!(*script.1.lock().unwrap(), sent);
    }
}

#[test]
fn answers_that_claim_too_much_are_not_read() {
    let mut bytes = question(7, &Name::from_ascii("a.b.").unwrap(), RecordType::A, false, false)
        .into_response()
        .to_vec()
        .unwrap();
    assert!(read(&bytes).is_some());
    bytes[6] = 0xff;
    assert!(read(&bytes).is_none());
    assert!(read(&[]).is_none());
}
