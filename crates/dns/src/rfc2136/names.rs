//! A zone read name by name, where it is not handed out whole: every type on its own, from the primary server, with
//! answers that a wildcard makes up told from records that are there.

use super::{AT_ONCE, Rfc2136, code, take};
use crate::exchange::Exchange;
use crate::message::{fqdn, kind as kind_of, name as name_of};
use crate::provider::Zone;
use crate::raw::Listing;
use berth_model::dns::{Fqdn, Known, RecordKey, RecordType, companion_of};
use berth_ports::PortError;
use futures::StreamExt;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType as Kind;
use std::collections::BTreeSet;
use tokio::time::Instant;

/// What was found at one name.
enum Found {
    /// Nothing, not even below it.
    Nothing,
    /// Records.
    Here(Vec<hickory_proto::rr::Record>),
    /// The name is handed on.
    Elsewhere(Vec<hickory_proto::rr::Record>),
}

impl<E: Exchange> Rfc2136<E> {
    /// These names.
    pub(super) async fn ask_names(&self, zone: &Zone, names: &BTreeSet<Fqdn>) -> Result<Listing, PortError> {
        let began = Instant::now();
        let at = self.now();
        let inside: BTreeSet<_> = names.iter().filter(|n| n.is_in(&zone.name)).cloned().collect();
        let mut listing = Listing::new(at, Known::Names(inside.clone()));
        let all: Vec<_> = inside.iter().map(|name| self.ask_name(zone, name)).collect();
        let all: Vec<_> = futures::stream::iter(all).buffered(AT_ONCE).collect().await;
        let result = (|| {
            for found in all {
                match found? {
                    Found::Nothing => {}
                    Found::Here(records) | Found::Elsewhere(records) => {
                        for record in &records {
                            take(&mut listing, &zone.name, record);
                        }
                    }
                }
            }
            Ok(listing)
        })();
        let failed = result.as_ref().err().map(ToString::to_string);
        self.went("rfc2136.names", began, failed.as_deref());
        result
    }

    async fn ask_name(&self, zone: &Zone, name: &Fqdn) -> Result<Found, PortError> {
        // First the type whose answer is never led on to another name.
        let first = self.ask_kind(zone, name, Kind::CNAME).await?;
        let mut records = match first {
            Found::Here(records) => records,
            other => return Ok(other),
        };
        let kinds: &[RecordType] = match companion_of(name) {
            Some(_) => &[RecordType::Txt],
            None => &[RecordType::A, RecordType::Aaaa, RecordType::Txt],
        };
        for kind in kinds {
            match self.ask_kind(zone, name, kind_of(*kind)).await? {
                Found::Here(more) => records.extend(more),
                other => return Ok(other),
            }
        }
        self.without_made_up(zone, name, &mut records).await?;
        if companion_of(name).is_none() {
            // What else is there may stand in the way. A server need not tell; then the update itself finds out.
            let name = name_of(name).ok_or_else(|| odd(name))?;
            if let Ok(answer) = self.asker.ask_tcp(self.options.server, &name, Kind::ANY).await {
                let own = answer.answers.into_iter().filter(|r| {
                    r.name.to_lowercase() == name
                        && crate::message::known(r.record_type()).is_none()
                        // Stands for "any other question is too large" and is made up.
                        && r.record_type() != Kind::HINFO
                });
                records.extend(own);
            }
        }
        Ok(Found::Here(records))
    }

    async fn ask_kind(&self, zone: &Zone, of: &Fqdn, kind: Kind) -> Result<Found, PortError> {
        let name = name_of(of).ok_or_else(|| odd(of))?;
        let server = self.options.server;
        let answer = self.asker.ask(server, &name, kind, false).await;
        let answer = answer
            .map_err(|why| PortError::Retry { after: None, why: format!("{of} at {server}: {why}") })?;
        if let Some(referral) = referral(&answer, zone, of) {
            return Ok(Found::Elsewhere(referral));
        }
        match answer.response_code {
            _ if !answer.authoritative => Err(PortError::Refused {
                why: format!("{of} at {server}: it is not its zone ({})", code(answer.response_code)),
            }),
            ResponseCode::NXDomain => Ok(Found::Nothing),
            ResponseCode::NoError => {
                let own = answer.answers.into_iter();
                Ok(Found::Here(
                    own.filter(|r| r.name.to_lowercase() == name && r.record_type() == kind).collect(),
                ))
            }
            other => Err(PortError::Retry { after: None, why: format!("{of} at {server}: {}", code(other)) }),
        }
    }

    /// Drops what a wildcard answers in place of the name: an update that changes nothing asks what is really there.
    async fn without_made_up(
        &self,
        zone: &Zone,
        name: &Fqdn,
        records: &mut Vec<hickory_proto::rr::Record>,
    ) -> Result<(), PortError> {
        if records.is_empty() || name.is_wildcard() || *name == zone.name {
            return Ok(());
        }
        let mut wild = false;
        for above in name.up().skip(1).take_while(|n| n.is_in(&zone.name)) {
            let Ok(star) = Fqdn::new(&format!("*.{above}")) else { continue };
            if !matches!(self.ask_kind(zone, &star, Kind::CNAME).await?, Found::Nothing) {
                wild = true;
                break;
            }
        }
        if !wild {
            return Ok(());
        }
        let kinds: BTreeSet<_> =
            records.iter().filter_map(|r| crate::message::known(r.record_type())).collect();
        for kind in kinds {
            if !self.is_there(zone, &RecordKey::new(name.clone(), kind)).await? {
                records.retain(|r| r.record_type() != kind_of(kind));
            }
        }
        Ok(())
    }
}

fn odd(name: &Fqdn) -> PortError {
    PortError::Refused { why: format!("{name} is not a name that a message can hold") }
}

/// The NS records of a name below the zone that the server points to instead of answering.
fn referral(answer: &Message, zone: &Zone, of: &Fqdn) -> Option<Vec<hickory_proto::rr::Record>> {
    if answer.authoritative || answer.response_code != ResponseCode::NoError || !answer.answers.is_empty() {
        return None;
    }
    let below = |r: &&hickory_proto::rr::Record| {
        r.record_type() == Kind::NS
            && fqdn(&r.name).is_some_and(|n| of.is_in(&n) && n.is_in(&zone.name) && n != zone.name)
    };
    let records: Vec<_> = answer.authorities.iter().filter(below).cloned().collect();
    (!records.is_empty()).then_some(records)
}
