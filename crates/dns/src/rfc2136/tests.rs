//! Updates as they are written down, answers as they are believed, and transfers that are not what they should be.

use super::*;
use crate::exchange::Flow;
use crate::message::rdata;
use crate::script::{Case, data, zone};
use berth_model::Secret;
use berth_model::dns::{Known, RecordKey, RecordType, TsigAlgo};
use berth_wire::Silent;
use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{DNSClass, Name, RData, TSigResponseContext, TSigner};
use std::collections::BTreeSet;

const SECRET: &str = "c2VjcmV0LW9mLXRlc3Rz";
const NOW: u64 = 1_700_000_000;

/// What a server does with a message.
type Answer = Box<dyn Fn(&Message, &[u8]) -> Vec<Vec<u8>> + Send + Sync>;

struct Server(Answer, Mutex<Vec<Message>>);

impl Exchange for Arc<Server> {
    async fn exchange(&self, _: SocketAddr, message: &[u8], _: bool) -> Result<Vec<u8>, ExchangeError> {
        let read = Message::from_vec(message).unwrap();
        let answers = (self.0)(&read, message);
        self.1.lock().unwrap().push(read);
        answers.into_iter().next().ok_or_else(|| ExchangeError::Lost("gone".into()))
    }

    async fn stream(
        &self,
        _: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> Result<(), ExchangeError> {
        let read = Message::from_vec(message).unwrap();
        for answer in (self.0)(&read, message) {
            if take(answer) == Flow::Done {
                return Ok(());
            }
        }
        Err(ExchangeError::Lost("ended".into()))
    }
}

fn adapter(signed: bool, answer: Answer) -> (Rfc2136<Arc<Server>>, Arc<Server>) {
    let key = signed.then(|| Key::new("key", TsigAlgo::Sha256, &Secret::new(SECRET)).unwrap());
    let server = Arc::new(Server(answer, Mutex::default()));
    let options = Options {
        name: "main".into(),
        server: "192.0.2.53:53".parse().unwrap(),
        key,
        zones: vec![Fqdn::new("z.test").unwrap()],
        transfers: true,
        clock: Arc::new(|| Time(1_700_000_000_000)),
        dice: Arc::new(|| 7 << 48),
        observer: Arc::new(Silent),
    };
    (Rfc2136::new(options, server.clone()).unwrap(), server)
}

fn at(text: &str) -> Name {
    name_of(&Fqdn::new(text).unwrap()).unwrap()
}

/// An answer with this code, signed as the key's holder would.
fn signed(request: &Message, code: ResponseCode, answers: &[Record]) -> Vec<u8> {
    let bytes = data_encoding::BASE64.decode(SECRET.as_bytes()).unwrap();
    let algorithm = hickory_proto::rr::rdata::tsig::TsigAlgorithm::HmacSha256;
    let signer = TSigner::new(bytes, algorithm, Name::from_ascii("key.").unwrap(), 300).unwrap();
    let mac = request.signature().unwrap().data.mac.clone();
    let mut answer = plain(request, code, answers);
    let context = TSigResponseContext::new(request.id, NOW, signer, mac, None);
    answer.set_signature(context.sign(&answer.to_vec().unwrap()).unwrap());
    answer.to_vec().unwrap()
}

fn plain(request: &Message, code: ResponseCode, answers: &[Record]) -> Message {
    let mut answer = Message::response(request.id, request.op_code);
    answer.metadata.response_code = code;
    answer.metadata.authoritative = true;
    answer.add_queries(request.queries.clone());
    answer.add_answers(answers.iter().cloned());
    answer
}

fn marks() -> Zone {
    zone(MarkPlace::Companions)
}

fn shown(records: &[Record]) -> Vec<String> {
    let one = |r: &Record| {
        let class = match r.dns_class {
            DNSClass::IN => "in",
            DNSClass::NONE => "none",
            DNSClass::ANY => "any",
            _ => "?",
        };
        let value = match &r.data {
            RData::Update0(_) => String::new(),
            value if value.to_string().starts_with("berth/1") => " MARK".to_owned(),
            value => format!(" {value}"),
        };
        let ttl = if r.ttl > 0 { format!(" {}", r.ttl) } else { String::new() };
        format!("{class} {} {}{ttl}{value}", r.name, r.record_type())
    };
    records.iter().map(one).collect()
}

/// Prerequisites and updates of one batch.
async fn written(cases: &[Case], one: bool) -> (Vec<String>, Vec<String>) {
    let answer =
        |request: &Message, _: &[u8]| vec![plain(request, ResponseCode::NoError, &[]).to_vec().unwrap()];
    let (adapter, server) = adapter(false, Box::new(answer));
    let ops = if one { Case::one(cases) } else { Case::ops(cases) };
    adapter.write(&marks(), &ops).await.unwrap();
    let sent = server.1.lock().unwrap().pop().unwrap();
    assert_eq!((sent.op_code, sent.queries[0].query_type()), (OpCode::Update, Kind::SOA));
    (shown(&sent.answers), shown(&sent.authorities))
}

#[tokio::test(start_paused = true)]
async fn what_is_believed_must_stand_there() {
    let case =
        |key: &str, ours: &[&str], theirs: &[&str]| Case::new(MarkPlace::Companions, key, ours, theirs);
    let claim = case("a.z.test A", &[], &[]).put(&["A 192.0.2.1"], 60);
    assert_eq!(
        written(&[claim], false).await,
        (
            vec![
                "none a.z.test. A".into(),
                "none _berth-a.a.z.test. TXT".into(),
                "none a.z.test. CNAME".into()
            ],
            vec!["in a.z.test. A 60 192.0.2.1".into(), "in _berth-a.a.z.test. TXT 300 MARK".into()]
        )
    );
    // Others' values must be there as well, and stay.
    let change = case("a.z.test A", &["A 192.0.2.1"], &["A 192.0.2.9"]).put(&["A 192.0.2.2"], 60);
    assert_eq!(
        written(&[change], false).await,
        (
            vec![
                "in a.z.test. A 192.0.2.1".into(),
                "in a.z.test. A 192.0.2.9".into(),
                "in _berth-a.a.z.test. TXT MARK".into(),
                "none a.z.test. CNAME".into()
            ],
            vec![
                "none a.z.test. A 192.0.2.1".into(),
                "any _berth-a.a.z.test. TXT".into(),
                "in a.z.test. A 60 192.0.2.2".into(),
                "in _berth-a.a.z.test. TXT 300 MARK".into()
            ]
        )
    );
    let release = case("a.z.test A", &["A 192.0.2.1"], &[]);
    assert_eq!(
        written(&[release], false).await.1,
        ["none a.z.test. A 192.0.2.1", "any _berth-a.a.z.test. TXT"]
    );
    // An alias needs a name on which nothing else stands, but for what goes with it.
    let alias = || case("a.z.test CNAME", &[], &[]).put(&["CNAME x.test"], 60);
    assert!(written(&[alias()], false).await.0.contains(&"none a.z.test. ANY".to_owned()));
    let (before, updates) = written(&[case("a.z.test A", &["A 192.0.2.1"], &[]), alias()], true).await;
    assert!(
        before.contains(&"none a.z.test. AAAA".to_owned())
            && before.contains(&"none a.z.test. TXT".to_owned())
    );
    let place = |start: &str| updates.iter().position(|u| u.starts_with(start)).unwrap();
    assert!(place("none a.z.test. A") < place("in a.z.test. CNAME"), "{updates:?}");
    // A text with its chunks as they are there.
    let mut text = case("a.z.test TXT", &["TXT abcdef"], &[]);
    text.before.values[0].text = "\"abc\" \"def\"".into();
    let (before, updates) = written(&[text], false).await;
    assert_eq!(
        (before[0].as_str(), updates[0].as_str()),
        ("in a.z.test. TXT abcdef", "none a.z.test. TXT abcdef")
    );
}

#[tokio::test(start_paused = true)]
async fn answers_to_updates_are_believed_by_their_signature() {
    use ResponseCode::{NXRRSet, NoError, NotAuth, NotZone, Refused, ServFail, YXDomain};
    let run = |code: ResponseCode, by_key: bool| async move {
        let answer = move |request: &Message, _: &[u8]| {
            vec![if by_key {
                signed(request, code, &[])
            } else {
                plain(request, code, &[]).to_vec().unwrap()
            }]
        };
        let (adapter, _) = adapter(true, Box::new(answer));
        let case = Case::new(MarkPlace::Companions, "a.z.test A", &["A 192.0.2.1"], &[]);
        match adapter.write(&marks(), &Case::ops(&[case])).await {
            Ok(()) => "ok",
            Err(PortError::Conflict(_)) => "conflict",
            Err(PortError::Refused { .. }) => "refused",
            Err(PortError::Auth { .. }) => "auth",
            Err(PortError::Unknown { .. }) => "unknown",
            Err(PortError::Retry { .. }) => "retry",
            Err(other) => panic!("{other}"),
        }
    };
    let table = [
        (NoError, true, "ok"),
        (YXDomain, true, "conflict"),
        (NXRRSet, true, "conflict"),
        (Refused, true, "refused"),
        (NotZone, true, "refused"),
        (ServFail, true, "retry"),
        // Whoever answers without the key: a yes is not believed, a no is.
        (NoError, false, "unknown"),
        (NXRRSet, false, "conflict"),
        (Refused, false, "auth"),
        (NotAuth, false, "auth"),
    ];
    for (code, by_key, expected) in table {
        assert_eq!(run(code, by_key).await, expected, "{code:?} signed={by_key}");
    }
}

#[tokio::test(start_paused = true)]
async fn transfers_that_are_none_are_not_believed() {
    let soa = || {
        Record::from_rdata(
            at("z.test"),
            60,
            RData::SOA(SOA::new(at("ns.z.test"), at("h.z.test"), 1, 2, 3, 4, 5)),
        )
    };
    let a = |n: u8| Record::from_rdata(at("a.z.test"), 60, rdata(&data(&format!("A 192.0.2.{n}"))).unwrap());
    let outside = || Record::from_rdata(at("a.y.test"), 60, rdata(&data("A 192.0.2.1")).unwrap());
    let run = |messages: Vec<Vec<Record>>, code: ResponseCode, by_key: bool| async move {
        let answer = move |request: &Message, _: &[u8]| {
            let one = |records: &Vec<Record>| match by_key {
                true => signed(request, code, records),
                false => plain(request, code, records).to_vec().unwrap(),
            };
            messages.iter().map(one).collect()
        };
        let (adapter, _) = adapter(by_key, Box::new(answer));
        match adapter.read(&marks(), Scope::All(&BTreeSet::new())).await {
            Ok(listing) if listing.known == Known::All => {
                let key = RecordKey::parse("a.z.test A").unwrap();
                assert!(listing.sets.keys().all(|n| n.is_in(&Fqdn::new("z.test").unwrap())));
                format!("{} values", listing.get(&key).values.len())
            }
            Ok(_) => "by name".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    use ResponseCode::{NoError, Refused, ServFail};
    let whole = || vec![vec![soa(), a(1)], vec![a(2), outside(), soa()]];
    assert_eq!(run(whole(), NoError, false).await, "2 values");
    assert_eq!(run(vec![vec![soa(), a(1), a(1), soa()]], NoError, true).await, "1 values");
    // Refused: name by name from then on.
    assert_eq!(run(vec![vec![]], Refused, false).await, "by name");
    assert_eq!(run(vec![vec![]], NoError, false).await, "by name");
    let check = |said: String, expected: &str| assert!(said.contains(expected), "{said}");
    check(run(vec![vec![]], ServFail, false).await, "SERVFAIL");
    check(run(vec![vec![a(1), soa()]], NoError, false).await, "does not begin with the zone's SOA");
    check(run(vec![vec![soa(), a(1)]], NoError, false).await, "broke before the answer was complete");
}

#[test]
fn a_server_has_to_be_told_its_zones() {
    let (adapter, _) = adapter(false, Box::new(|_, _| vec![]));
    let Rfc2136 { options, .. } = adapter;
    let nobody = Arc::new(Server(Box::new(|_, _| vec![]), Mutex::default()));
    let error = Rfc2136::new(Options { zones: vec![], ..options }, nobody).err().unwrap();
    assert!(error.contains("name them under 'zones'"), "{error}");
    assert_eq!(RecordType::parse("MX"), None);
}
