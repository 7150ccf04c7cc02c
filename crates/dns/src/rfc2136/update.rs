//! The update message: what must stand there, then what goes, then what comes. The server does all of it or nothing.

use super::{DEFAULT_TTL, Rfc2136, WITHIN, broken, code, rejected, seconds};
use crate::asker::read;
use crate::exchange::Exchange;
use crate::message::{kind as kind_of, name as name_of, rdata};
use crate::provider::{Companion, Op, SetOp, Zone};
use crate::raw::{RawSet, RawValue};
use crate::tsig::Rejected;
use berth_model::dns::{Fqdn, RecordKey, RecordType, Ttl, txt};
use berth_ports::PortError;
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::TXT;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType as Kind};
use tokio::time::Instant;

/// What fits into one message, with room for its signature.
const LARGEST: usize = 60_000;

/// An update under construction.
struct Update {
    message: Message,
}

/// A value with its chunks as they are there.
fn raw_rdata(value: &RawValue) -> Option<RData> {
    match value.data.as_ref()? {
        data if data.kind() == RecordType::Txt => {
            let chunks = txt::chunks(&value.text)?;
            Some(RData::TXT(TXT::from_bytes(chunks.iter().map(Vec::as_slice).collect())))
        }
        data => rdata(data),
    }
}

impl Update {
    fn of(id: u16, zone: &Name) -> Self {
        let mut message = Message::new(id, MessageType::Query, OpCode::Update);
        message.add_query(Query::query(zone.clone(), Kind::SOA));
        Self { message }
    }

    fn bare(name: &Name, kind: Kind, class: DNSClass) -> Record {
        let mut record = Record::update0(name.clone(), 0, kind);
        record.dns_class = class;
        record
    }

    /// Nothing of this kind stands there; with `ANY`, nothing at all.
    fn none(&mut self, name: &Name, kind: Kind) {
        self.message.add_answer(Self::bare(name, kind, DNSClass::NONE));
    }

    /// Something of this kind stands there.
    fn some(&mut self, name: &Name, kind: Kind) {
        self.message.add_answer(Self::bare(name, kind, DNSClass::ANY));
    }

    /// Exactly these values stand there, or none where there are none.
    fn exactly(&mut self, name: &Name, kind: RecordType, set: &RawSet) {
        if set.values.is_empty() {
            self.none(name, kind_of(kind));
            return;
        }
        let values: Option<Vec<_>> = set.values.iter().map(raw_rdata).collect();
        match values {
            Some(values) => {
                for value in values {
                    self.message.add_answer(Record::from_rdata(name.clone(), 0, value));
                }
            }
            // A value that cannot be said again: at least that there is one.
            None => self.some(name, kind_of(kind)),
        }
    }

    fn drop_value(&mut self, name: &Name, value: RData) {
        let mut record = Record::from_rdata(name.clone(), 0, value);
        record.dns_class = DNSClass::NONE;
        self.message.add_authority(record);
    }

    fn drop_set(&mut self, name: &Name, kind: RecordType) {
        self.message.add_authority(Self::bare(name, kind_of(kind), DNSClass::ANY));
    }

    fn add(&mut self, name: &Name, ttl: u32, value: RData) {
        self.message.add_authority(Record::from_rdata(name.clone(), ttl, value));
    }

    /// What must stand there for a change of one name.
    fn require(&mut self, op: &Op<'_>) -> Option<()> {
        let comes = |kind: RecordType| op.sets.iter().any(|s| s.key.kind == kind && s.put().is_some());
        for set in &op.sets {
            let name = name_of(&set.key.name)?;
            self.exactly(&name, set.key.kind, &set.before);
            if let Some(companion) = &set.companion {
                self.exactly(&name_of(&companion.key.name)?, RecordType::Txt, &companion.before);
            }
            let others = RecordType::ALL.into_iter().filter(|k| op.sets.iter().all(|s| s.key.kind != *k));
            if comes(RecordType::Cname) {
                // Nothing but what goes with this change.
                if set.before.values.is_empty() && op.sets.len() == 1 {
                    self.none(&name, Kind::ANY);
                } else {
                    others.for_each(|kind| self.none(&name, kind_of(kind)));
                }
            } else if set.put().is_some() && op.sets.iter().all(|s| s.key.kind != RecordType::Cname) {
                self.none(&name, Kind::CNAME);
            }
        }
        Some(())
    }

    /// What goes.
    fn clear(&mut self, set: &SetOp<'_>) -> Option<()> {
        let name = name_of(&set.key.name)?;
        for value in set.gone() {
            self.drop_value(&name, raw_rdata(value)?);
        }
        if let Some(companion) = &set.companion
            && !companion.before.values.is_empty()
            && set.mark().is_none_or(|mark| !companion.is(mark))
        {
            self.drop_set(&name_of(&companion.key.name)?, RecordType::Txt);
        }
        Some(())
    }

    /// What comes.
    fn fill(&mut self, set: &SetOp<'_>) -> Option<()> {
        let Some(put) = set.put() else { return Some(()) };
        let name = name_of(&set.key.name)?;
        let ttl = match set.ttl(Ttl::Seconds(DEFAULT_TTL)) {
            Ttl::Seconds(s) => s,
            Ttl::Auto => DEFAULT_TTL,
        };
        // Said again, a value takes the new lifetime.
        for value in set.same().filter(|v| v.ttl != Ttl::Seconds(ttl)) {
            self.add(&name, ttl, raw_rdata(value)?);
        }
        for data in set.coming() {
            self.add(&name, ttl, rdata(data)?);
        }
        if let Some(companion) = set.companion.as_ref().filter(|c| !c.is(&put.mark)) {
            self.add(&name_of(&companion.key.name)?, DEFAULT_TTL, rdata(&Companion::data(&put.mark))?);
        }
        Some(())
    }
}

impl<E: Exchange> Rfc2136<E> {
    /// One batch.
    pub(super) async fn update(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        let unwritten = || PortError::Refused { why: "the change cannot be written as an update".to_owned() };
        let mut update = Update::of(self.asker.id(), &name_of(&zone.name).ok_or_else(unwritten)?);
        for op in ops {
            update.require(op).ok_or_else(unwritten)?;
        }
        for set in ops.iter().flat_map(|op| &op.sets) {
            update.clear(set).ok_or_else(unwritten)?;
        }
        for set in ops.iter().flat_map(|op| &op.sets) {
            update.fill(set).ok_or_else(unwritten)?;
        }
        if update.message.authorities.is_empty() {
            return Ok(());
        }
        self.send_update(&zone.name, update.message, "rfc2136.update").await
    }

    /// Whether a set is really there: an update that only asks.
    pub(super) async fn is_there(&self, zone: &Zone, key: &RecordKey) -> Result<bool, PortError> {
        let unwritten = || PortError::Refused { why: format!("{key} cannot be asked for") };
        let mut update = Update::of(self.asker.id(), &name_of(&zone.name).ok_or_else(unwritten)?);
        update.some(&name_of(&key.name).ok_or_else(unwritten)?, kind_of(key.kind));
        match self.send_update(&zone.name, update.message, "rfc2136.is_there").await {
            Ok(()) => Ok(true),
            Err(PortError::Conflict(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn send_update(
        &self,
        zone: &Fqdn,
        message: Message,
        procedure: &'static str,
    ) -> Result<(), PortError> {
        let began = Instant::now();
        let result = self.send_signed(zone, message).await;
        let failed = result.as_ref().err();
        let failed = failed.filter(|e| !matches!(e, PortError::Conflict(_) | PortError::Refused { .. }));
        self.went(procedure, began, failed.map(ToString::to_string).as_deref());
        result
    }

    async fn send_signed(&self, zone: &Fqdn, mut message: Message) -> Result<(), PortError> {
        let of = format!("update of {zone} at {}", self.options.server);
        let id = message.id;
        let now = seconds(self.now());
        let changes = !message.authorities.is_empty();
        let too_large = || PortError::Refused { why: format!("{of}: it is larger than one message") };
        let mut chain = match &self.options.key {
            Some(key) => Some(key.sign(&mut message, now).ok_or_else(too_large)?),
            None => None,
        };
        let bytes = message.to_vec().ok().filter(|b| b.len() <= LARGEST).ok_or_else(too_large)?;
        let unanswered = |why: String| {
            if changes { PortError::Unknown { why } } else { PortError::Retry { after: None, why } }
        };
        let sent = self.asker.exchange.exchange(self.options.server, &bytes, true);
        let answer = match tokio::time::timeout(WITHIN, sent).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(broken(&error, changes, &of)),
            Err(_) => return Err(unanswered(format!("{of}: no answer within {} s", WITHIN.as_secs()))),
        };
        let Some(read) = read(&answer).filter(|m| m.id == id && m.op_code == OpCode::Update) else {
            return Err(unanswered(format!("{of}: the answer cannot be read")));
        };
        let says = read.response_code;
        if let Some(chain) = &mut chain
            && let Err(why) = chain.check(&answer, &read, now)
        {
            // Who does not know the key cannot sign with it; a refusal is taken from anybody.
            let refuses =
                matches!(why, Rejected::Unsigned | Rejected::Wrong) && says != ResponseCode::NoError;
            if !refuses {
                return Err(rejected(why, changes, &of));
            }
            return Err(match says {
                ResponseCode::NotAuth => {
                    PortError::Auth { why: format!("{of}: NOTAUTH: the key is not accepted") }
                }
                ResponseCode::Refused => PortError::Auth {
                    why: format!(
                        "{of}: REFUSED, and the answer is not signed: the key is not accepted there"
                    ),
                },
                other => meaning(other, &of),
            });
        }
        if says == ResponseCode::NoError { Ok(()) } else { Err(meaning(says, &of)) }
    }
}

/// What a refusal means.
fn meaning(says: ResponseCode, of: &str) -> PortError {
    let why = format!("{of}: {}", code(says));
    match says {
        ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXDomain | ResponseCode::NXRRSet => {
            PortError::Conflict(format!("{why}: something changed meanwhile, or stands in the way"))
        }
        ResponseCode::Refused => PortError::Refused {
            why: format!("{why}: the key may not change these names or types, or the zone takes no updates"),
        },
        ResponseCode::NotAuth => {
            PortError::Refused { why: format!("{why}: it is not a primary server of the zone") }
        }
        ResponseCode::NotZone => PortError::Refused { why: format!("{why}: a name is not in the zone") },
        ResponseCode::NotImp | ResponseCode::FormErr => PortError::Unsupported { what: why },
        _ => PortError::Retry { after: None, why },
    }
}
