//! For tests: a transport that answers by a script and keeps what was sent, and sets to be changed.

use crate::account::Common;
use crate::provider::{Companion, Op, SetOp, Zone};
use crate::raw::{RawSet, RawValue, labels};
use berth_model::Secret;
use berth_model::dns::{
    Delegation, DnsHash, DnsMark, Fqdn, MarkPlace, Put, RecordData, RecordKey, RecordType, SeenSet,
    SeenValue, SetChange, Then, Ttl, TtlBounds, Writable, ZoneFacts, companion,
};
use berth_model::ids::{Owner, StackName};
use berth_ports::PortError;
use berth_wire::{Call, Counts, FixedKey, Judge, Reply, Silent, Transport, TransportError, Verdict};
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

/// Answers in turn, then `{}` for ever.
#[derive(Clone, Default)]
pub(crate) struct Script {
    answers: Arc<Mutex<VecDeque<(u16, String)>>>,
    sent: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(crate) fn of(answers: &[(u16, &str)]) -> Self {
        let answers = answers.iter().map(|(status, body)| (*status, (*body).to_owned())).collect();
        Self { answers: Arc::new(Mutex::new(answers)), sent: Arc::default() }
    }

    /// `METHOD /path BODY` of every request.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.sent.lock().unwrap().clone()
    }
}

impl Transport for Script {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let path = request.uri().path_and_query().map_or("", |p| p.as_str());
        let body = String::from_utf8_lossy(request.body());
        self.sent.lock().unwrap().push(format!("{} {path} {body}", request.method()).trim_end().to_owned());
        let (status, body) = self.answers.lock().unwrap().pop_front().unwrap_or((200, "{}".to_owned()));
        Ok(http::Response::builder().status(status).body(Bytes::from(body)).unwrap())
    }
}

pub(crate) fn common() -> Common {
    Common {
        name: "main".to_owned(),
        key: Arc::new(FixedKey(Secret::new("hunter2"))),
        dice: Arc::new(|| 0),
        observer: Arc::new(Silent),
    }
}

pub(crate) fn owner() -> Owner {
    Owner::new("prod").unwrap()
}

pub(crate) fn zone(marks: MarkPlace) -> Zone {
    let facts = ZoneFacts {
        servers: vec![],
        addresses: vec![],
        delegation: Delegation::Unknown,
        writable: Writable::Yes,
        default_ttl: Some(3600),
        ttl: TtlBounds::ANY,
        quota: None,
        marks,
        proxies: marks.per_value(),
        apex_cname: false,
    };
    Zone { name: Fqdn::new("z.test").unwrap(), key: "z.test".to_owned(), facts: Arc::new(facts) }
}

pub(crate) fn data(text: &str) -> RecordData {
    RecordData::try_from(text.to_owned()).unwrap()
}

/// A set that is to be changed. Values are `TYPE VALUE`.
pub(crate) struct Case {
    pub(crate) key: RecordKey,
    pub(crate) before: RawSet,
    change: SetChange,
    marks: MarkPlace,
}

impl Case {
    /// `ours` and `theirs` stand there; with anything of ours, our mark does, too.
    pub(crate) fn new(marks: MarkPlace, key: &str, ours: &[&str], theirs: &[&str]) -> Self {
        let key = RecordKey::parse(key).unwrap();
        let values = |texts: &[&str]| texts.iter().map(|t| data(t)).collect::<BTreeSet<_>>();
        let ours = values(ours);
        let mut before = RawSet::default();
        let mut believed = SeenSet::default();
        let mark = (!ours.is_empty()).then(|| mark(&key, &ours));
        for (n, value) in ours.iter().chain(&values(theirs)).enumerate() {
            believed
                .values
                .insert(value.clone(), SeenValue { ttl: Ttl::Seconds(60), ..SeenValue::default() });
            before.values.push(RawValue {
                text: value.zone_text(),
                id: Some(format!("id{n}")),
                ttl: Ttl::Seconds(60),
                comment: mark
                    .as_ref()
                    .filter(|_| marks.per_value() && ours.contains(value))
                    .map(ToString::to_string),
                data: Some(value.clone()),
                ..RawValue::default()
            });
        }
        if marks == MarkPlace::Labels {
            before.labels = labels::with(&before.labels, mark.as_ref());
        }
        let then = Then::Remove { release: BTreeSet::new() };
        Self { key, before, change: SetChange { believed, ours, then }, marks }
    }

    /// These values of ours are put.
    pub(crate) fn put(mut self, put: &[&str], ttl: u32) -> Self {
        let values: BTreeSet<_> = put.iter().map(|t| data(t)).collect();
        let ttl = if ttl == 0 { Ttl::Auto } else { Ttl::Seconds(ttl) };
        let mark = mark(&self.key, &values);
        self.change.then = Then::Put(Put { values, ttl, proxied: None, mark });
        self
    }

    /// The operations of several sets, each at a name of its own.
    pub(crate) fn ops(cases: &[Case]) -> Vec<Op<'_>> {
        cases.iter().map(|case| Op { sets: vec![case.op()] }).collect()
    }

    /// Of several sets at one name.
    pub(crate) fn one(cases: &[Case]) -> Vec<Op<'_>> {
        vec![Op { sets: cases.iter().map(Case::op).collect() }]
    }

    fn op(&self) -> SetOp<'_> {
        let companion = (self.marks == MarkPlace::Companions).then(|| {
            let key = RecordKey::new(companion(&self.key).unwrap(), RecordType::Txt);
            let mut before = RawSet::default();
            if !self.change.ours.is_empty() {
                let data = Companion::data(&mark(&self.key, &self.change.ours));
                let text = data.zone_text();
                before.values.push(RawValue { data: Some(data), text, ..RawValue::default() });
            }
            Companion { key, before }
        });
        SetOp { key: self.key.clone(), before: self.before.clone(), change: &self.change, companion }
    }
}

fn mark(key: &RecordKey, values: &BTreeSet<RecordData>) -> DnsMark {
    let stack = StackName::new("shop").unwrap();
    DnsMark { owner: owner(), stack, hash: DnsHash::of(key, values), adopted: false }
}

/// What a judge makes of an answer, in a word: of a read, and of a write.
pub(crate) fn verdicts(judge: &impl Judge, status: u16, body: &str) -> (String, String) {
    let one = |call: Call| {
        let reply =
            Reply { status, headers: http::HeaderMap::new(), body: Bytes::copy_from_slice(body.as_bytes()) };
        let Err(Verdict { error, again, counts }) = judge.judge(&call, &reply) else {
            return "ok".to_owned();
        };
        let word = match error {
            PortError::NotFound(_) => "not found",
            PortError::Conflict(_) => "conflict",
            PortError::Refused { .. } => "refused",
            PortError::Retry { .. } => "retry",
            PortError::Unknown { .. } => "unknown",
            PortError::Auth { .. } => "auth",
            PortError::Unsupported { .. } => "unsupported",
        };
        let again = if again { ", again" } else { "" };
        let counts = match counts {
            Counts::Answered => "",
            Counts::NoAnswer => ", no answer",
            Counts::NotLetIn => ", not let in",
        };
        format!("{word}{again}{counts}")
    };
    (one(Call::get("p", "/")), one(Call::write(http::Method::POST, "p", "/", None)))
}

/// Checks a table of statuses and bodies. One word is for both.
pub(crate) fn check(judge: &impl Judge, table: &[(u16, &str, &str, &str)]) {
    for (status, body, read, write) in table {
        let write = if write.is_empty() { read } else { write };
        assert_eq!(
            verdicts(judge, *status, body),
            ((*read).to_owned(), (*write).to_owned()),
            "{status} {body}"
        );
    }
}
