//! Values for the tests of every store: one of each kind, small and alike.

use berth_model::Time;
use berth_model::access::{Role, Token, TokenHash};
use berth_model::condition::{Condition, ConditionType, Reason, Status};
use berth_model::dns::{DnsHash, Fqdn, LedgerEntry, RecordData, RecordKey, Verified, ZoneId};
use berth_model::event::{Event, Request};
use berth_model::hash::Hash;
use berth_model::ids::{AppName, CredentialName, Key, OperationId, StackName};
use berth_model::record::{
    AppRecord, DnsRecord, HostStatus, Intent, IntentTarget, Record, Run, StackStatus, Version,
};
use berth_ports::{Change, SecretRow};
use std::time::Duration;

/// When the stores under test are made.
pub(crate) const MADE: Time = Time(1_700_000_000_000);

pub(crate) fn stack(name: &str) -> Key {
    Key::Stack(StackName::new(name).unwrap())
}

pub(crate) fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

pub(crate) fn record(generation: u64) -> Box<Record> {
    let mut record = Record { generation, spec: Some(Hash(generation)), ..Record::default() };
    record.apps.insert(app("web"), Box::new(AppRecord { id: Some("app-1".into()), ..AppRecord::default() }));
    let key = RecordKey::parse("shop.example.com A").unwrap();
    let zone =
        ZoneId { credential: CredentialName::new("zones").unwrap(), name: Fqdn::new("example.com").unwrap() };
    let value = RecordData::A([203, 0, 113, 7].into());
    let mut dns = DnsRecord { waiting: Some(Time(3)), ..DnsRecord::default() };
    let verified = Verified { hash: DnsHash::of(&key, [&value]), at: Time(2) };
    dns.verified.insert(key.clone(), verified);
    let entry =
        LedgerEntry { pending: Some([value.clone()].into()), ..LedgerEntry::of(&zone, [value].into()) };
    dns.ledger.0.insert(key, entry);
    record.dns = Some(Box::new(dns));
    Box::new(record)
}

pub(crate) fn intent(op: &str) -> Intent {
    Intent {
        op: OperationId::from(op),
        key: stack("shop"),
        target: IntentTarget::App { app: app("web") },
        attempt: 1,
        epoch: 3,
        settle_by: Time(9),
        sent: Time(8),
    }
}

pub(crate) fn event(id: u64, key: Key) -> Event {
    Event {
        id,
        at: Time(5),
        key,
        warning: id.is_multiple_of(2),
        reason: Reason::Refused,
        message: format!("event {id}"),
    }
}

pub(crate) fn status(key: Key, generation: u64) -> Box<StackStatus> {
    Box::new(StackStatus {
        key,
        generation,
        observed_generation: generation,
        conditions: vec![Condition {
            kind: ConditionType::Ready,
            status: Status::Unknown,
            reason: Reason::Refused,
            message: "why".to_owned(),
            since: Time(4),
        }],
        apps: Vec::new(),
        hosts: vec![HostStatus {
            host: Fqdn::new("shop.example.com").unwrap(),
            zone: Fqdn::new("example.com").unwrap(),
            records: vec![RecordData::A([203, 0, 113, 7].into())],
            verified_at: None,
        }],
        url: None,
        phase: None,
        tenant: Some("acme".to_owned()),
        origin: None,
        changed: Time(6),
    })
}

pub(crate) fn run(id: u64, key: Key) -> Box<Run> {
    Box::new(Run {
        id,
        key,
        at: Time(7),
        because: vec!["file".to_owned()],
        generation: 2,
        did: vec!["made it".to_owned()],
        blocked: Vec::new(),
        outcome: "settled".to_owned(),
        phases: Vec::new(),
        next: Some((Time(10), "resync".to_owned())),
        took: Duration::from_millis(1_234),
    })
}

pub(crate) fn version(of: &str, of_app: &str, generation: u64, hash: u64) -> Box<Version> {
    Box::new(Version {
        stack: StackName::new(of).unwrap(),
        app: app(of_app),
        hash: Hash(hash),
        generation,
        at: Time(11),
        image: "r/web:3".to_owned(),
        sealed: vec![0, 1, 255],
    })
}

pub(crate) fn secret(name: &str, version: u32, at: i64) -> SecretRow {
    SecretRow {
        stack: "shop".to_owned(),
        app: None,
        name: name.to_owned(),
        version,
        sealed: vec![1, 2, 0, 255],
        at: Time(at),
    }
}

pub(crate) fn ask(text: &str) -> Change {
    Change::Request { at: Time(12), request: Request::Confirm { token: text.to_owned() } }
}

pub(crate) fn token(name: &str, hash: u8, tenant: Option<&str>) -> Token {
    Token {
        name: name.to_owned(),
        tenant: tenant.map(str::to_owned),
        role: Role::Developer,
        hash: TokenHash([hash; 32]),
        made: Time(13),
        expires: tenant.map(|_| Time(14)),
    }
}
