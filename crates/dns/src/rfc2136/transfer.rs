//! A transfer of a whole zone (AXFR): many messages, each checked as it comes, bounded in number and time.

use super::{Rfc2136, WITHIN, broken, code, rejected, seconds, take};
use crate::asker::read;
use crate::exchange::{Exchange, Flow};
use crate::message::{name as name_of, question};
use crate::provider::Zone;
use crate::raw::Listing;
use crate::tsig::{Chain, Rejected};
use berth_model::dns::Known;
use berth_ports::PortError;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType as Kind};
use tokio::time::Instant;

/// The most records of one zone that are read.
const RECORDS: usize = 500_000;
/// How many times as long as its beginning a whole transfer may take.
const PATIENCE: u32 = 6;

/// Reads the messages of a transfer.
struct Reader<'a> {
    zone: &'a Zone,
    name: Name,
    id: u16,
    now: u64,
    chain: Option<Chain>,
    listing: Listing,
    records: usize,
    /// SOA records that were seen: the zone begins and ends with one.
    ends: u8,
    failed: Option<PortError>,
}

impl Reader<'_> {
    fn fail(&mut self, error: PortError) -> Flow {
        self.failed = Some(error);
        Flow::Done
    }

    fn take(&mut self, bytes: &[u8]) -> Flow {
        let of = format!("transfer of {}", self.zone.name);
        let bad = |what: &str| PortError::Retry { after: None, why: format!("{of}: {what}") };
        let Some(message) = read(bytes).filter(|m| m.id == self.id) else {
            return self.fail(bad("the answer cannot be read"));
        };
        let code_is = message.response_code;
        if let Some(chain) = &mut self.chain
            && let Err(why) = chain.check(bytes, &message, self.now)
        {
            // A server that refuses may do so without a signature.
            let refuses = why == Rejected::Unsigned && code_is != ResponseCode::NoError;
            if !refuses {
                return self.fail(rejected(why, false, &of));
            }
        }
        match code_is {
            ResponseCode::NoError => {}
            ResponseCode::Refused | ResponseCode::NotAuth | ResponseCode::NotImp | ResponseCode::FormErr => {
                return self.fail(PortError::Refused { why: format!("{of}: {}", code(code_is)) });
            }
            other => return self.fail(bad(code(other))),
        }
        if message.answers.is_empty() {
            return self.fail(PortError::Refused { why: format!("{of}: the answer is empty") });
        }
        for record in &message.answers {
            self.records += 1;
            if self.records > RECORDS {
                return self.fail(bad("the zone is larger than is read"));
            }
            if record.record_type() == Kind::SOA && record.name.to_lowercase() == self.name {
                self.ends += 1;
            } else if self.ends == 0 {
                return self.fail(bad("it does not begin with the zone's SOA"));
            }
            if self.ends == 2 {
                return match &self.chain {
                    Some(chain) if !chain.is_closed() => self.fail(rejected(Rejected::Unsigned, false, &of)),
                    _ => Flow::Done,
                };
            }
            take(&mut self.listing, &self.zone.name, record);
        }
        Flow::More
    }
}

impl<E: Exchange> Rfc2136<E> {
    /// The whole zone. `Refused` where the server does not hand it out.
    pub(super) async fn transfer(&self, zone: &Zone) -> Result<Listing, PortError> {
        let began = Instant::now();
        let result = self.transfer_once(zone).await;
        let failed = result.as_ref().err().filter(|e| !matches!(e, PortError::Refused { .. }));
        self.went("rfc2136.axfr", began, failed.map(ToString::to_string).as_deref());
        result
    }

    async fn transfer_once(&self, zone: &Zone) -> Result<Listing, PortError> {
        let of = format!("transfer of {}", zone.name);
        let unwritten = || PortError::Refused { why: format!("{of}: the question cannot be written") };
        let name = name_of(&zone.name).ok_or_else(unwritten)?;
        let id = self.asker.id();
        let mut message = question(id, &name, Kind::AXFR, false, false);
        let at = self.now();
        let chain = match &self.options.key {
            Some(key) => Some(key.sign(&mut message, seconds(at)).ok_or_else(unwritten)?),
            None => None,
        };
        let bytes = message.to_vec().map_err(|_| unwritten())?;
        let listing = Listing::new(at, Known::All);
        let now = seconds(at);
        let mut reader = Reader { zone, name, id, now, chain, listing, records: 0, ends: 0, failed: None };
        let mut step = |bytes: Vec<u8>| reader.take(&bytes);
        let run = self.asker.exchange.stream(self.options.server, &bytes, &mut step);
        let done = tokio::time::timeout(WITHIN * PATIENCE, run).await;
        if let Some(error) = reader.failed {
            return Err(error);
        }
        match done {
            Ok(Ok(())) if reader.ends == 2 => Ok(reader.listing),
            Ok(Ok(())) => Err(PortError::Retry { after: None, why: format!("{of}: it ended too early") }),
            Ok(Err(error)) => Err(broken(&error, false, &of)),
            Err(_) => Err(PortError::Retry { after: None, why: format!("{of}: it took too long") }),
        }
    }
}

/// Feeds the reader, as a server would whose key is ours.
pub(super) fn fuzz(data: &[u8], zone: &Zone) {
    let Some(name) = name_of(&zone.name) else { return };
    let id = data.get(..2).map_or(0, |b| u16::from(b[0]) << 8 | u16::from(b[1]));
    for signed in [false, true] {
        let secret = berth_model::Secret::new("c2VjcmV0");
        let key = crate::tsig::Key::new("key", berth_model::dns::TsigAlgo::Sha256, &secret).ok();
        let mut message = question(id, &name, Kind::AXFR, false, false);
        let chain = key.filter(|_| signed).and_then(|k| k.sign(&mut message, 0));
        let listing = Listing::new(berth_model::Time(0), Known::All);
        let name = name.clone();
        let mut reader = Reader { zone, name, id, now: 0, chain, listing, records: 0, ends: 0, failed: None };
        if reader.take(data) == Flow::More {
            reader.take(data);
        }
    }
}
