//! One stack's loop over the port: look, judge, announce, change, settle. And the short words of the tests.

use berth_model::Time;
use berth_model::dns::{
    Changed, Fqdn, Ledger, RecordData, RecordKey, Ttl, WantedSet, ZoneChoice, ZoneId, ZoneRules, ZoneView,
};
use berth_model::ids::{Owner, StackName};
use berth_plan::dns::{Ask, Judgement, Us, judge};
use berth_ports::{Dns, PortError};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn name(text: &str) -> Fqdn {
    Fqdn::new(text).unwrap()
}

pub(crate) fn key(text: &str) -> RecordKey {
    RecordKey::parse(text).unwrap()
}

pub(crate) fn data(text: &str) -> RecordData {
    RecordData::try_from(text.to_owned()).unwrap()
}

/// `want("app.z.test A", &["192.0.2.1"], 60)`: zero is auto.
pub(crate) fn want(text: &str, values: &[&str], ttl: u32) -> WantedSet {
    let key = key(text);
    let values = values.iter().map(|v| data(&format!("{} {v}", key.kind))).collect();
    WantedSet::new(key, values, if ttl == 0 { Ttl::Auto } else { Ttl::Seconds(ttl) }, None).unwrap()
}

pub(crate) async fn zone(port: &impl Dns, of: &str) -> ZoneId {
    match port.zone_of(&name(of)).await.unwrap() {
        ZoneChoice::Zone(id) => id,
        other => panic!("{of}: {other:?}"),
    }
}

/// A stack with its ledger.
pub(crate) struct Stack {
    pub(crate) name: StackName,
    pub(crate) ledger: Ledger,
    pub(crate) rules: ZoneRules,
}

impl Stack {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: StackName::new(name).unwrap(), ledger: Ledger::default(), rules: ZoneRules::default() }
    }

    fn names(&self, wanted: &[WantedSet]) -> BTreeSet<Fqdn> {
        let mut ask: BTreeSet<_> = wanted.iter().map(|w| w.key().name.clone()).collect();
        ask.extend(self.ledger.0.keys().map(|k| k.name.clone()));
        ask
    }

    pub(crate) async fn view(&self, port: &impl Dns, zone: &ZoneId, wanted: &[WantedSet]) -> Arc<ZoneView> {
        port.view(zone, &self.names(wanted), Duration::ZERO).await.unwrap()
    }

    pub(crate) fn judge(&self, view: &ZoneView, wanted: &[WantedSet], removing: bool) -> Judgement {
        let (owner, formerly) = (Owner::new("prod").unwrap(), BTreeSet::new());
        let us = Us { owner: &owner, stack: &self.name, formerly: &formerly };
        judge(
            view,
            &Ask {
                us,
                wanted,
                ledger: &self.ledger,
                rules: self.rules,
                adopt: &BTreeSet::new(),
                removing,
                now: Time(0),
            },
        )
    }

    /// Carries out what is judged; answers come in the order of the changes.
    pub(crate) async fn carry_out(
        &mut self,
        port: &impl Dns,
        zone: &ZoneId,
        judged: &Judgement,
    ) -> Vec<Result<Changed, PortError>> {
        judged.learn(&mut self.ledger);
        for change in &judged.changes {
            self.ledger.announce(zone, change);
        }
        let all = judged.changes.iter().map(|change| port.change(zone, change.clone()));
        let answers = futures::future::join_all(all).await;
        for (change, answer) in judged.changes.iter().zip(&answers) {
            if answer.is_ok() {
                self.ledger.settle(zone, change);
            }
        }
        answers
    }

    /// One round, whatever comes of it: how many changes did not go through, or why it could not be looked at.
    pub(crate) async fn try_round(
        &mut self,
        port: &impl Dns,
        zone: &ZoneId,
        wanted: &[WantedSet],
        removing: bool,
    ) -> Result<(Judgement, Vec<PortError>), PortError> {
        let view = port.view(zone, &self.names(wanted), Duration::ZERO).await?;
        let judged = self.judge(&view, wanted, removing);
        let answers = self.carry_out(port, zone, &judged).await;
        Ok((judged, answers.into_iter().filter_map(Result::err).collect()))
    }

    /// One round; everything must go well, and a second look must find nothing to do.
    pub(crate) async fn round(
        &mut self,
        port: &impl Dns,
        zone: &ZoneId,
        wanted: &[WantedSet],
        removing: bool,
    ) -> Judgement {
        let (judged, failed) = self.try_round(port, zone, wanted, removing).await.unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        let view = self.view(port, zone, wanted).await;
        let again = self.judge(&view, wanted, removing);
        assert!(again.changes.is_empty(), "not silent:\n{}", again.changes[0]);
        again.learn(&mut self.ledger);
        judged
    }
}
