//! One stack's loop over the real port: look, judge, announce, change, settle.

use berth_dns::{Credential, DnsSockets, Options, ProviderOptions, TsigAlgo, TsigKey, Zones};
use berth_model::dns::{
    Changed, Fqdn, Ledger, RecordData, RecordKey, Ttl, WantedSet, ZoneChoice, ZoneId, ZoneRules, ZoneView,
};
use berth_model::ids::{CredentialName, Owner, StackName};
use berth_model::{Secret, Time};
use berth_plan::dns::{Ask, Judgement, Us, judge};
use berth_ports::{Dns, PortError};
use berth_servers::{Bind, PowerDns};
use berth_wire::{FixedKey, Silent, Sockets, SocketsOptions, system_dice};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) type Port = Zones<Sockets, DnsSockets>;

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

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time(i64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn powerdns(name: &str, server: &PowerDns, companions: bool) -> Credential {
    Credential {
        name: CredentialName::new(name).unwrap(),
        provider: ProviderOptions::PowerDns {
            url: server.url(),
            key: Arc::new(FixedKey(Secret::new(server.key()))),
            server: "localhost".to_owned(),
            companions,
        },
        zones: None,
        servers: vec![server.dns()],
    }
}

pub(crate) fn bind(name: &str, server: &Bind, zone: &str, secret: &str) -> Credential {
    let tsig =
        TsigKey { name: server.key().to_owned(), algorithm: TsigAlgo::Sha256, secret: Secret::new(secret) };
    rfc2136(name, server.address(), zone, Some(tsig))
}

pub(crate) fn rfc2136(name: &str, server: SocketAddr, zone: &str, key: Option<TsigKey>) -> Credential {
    Credential {
        name: CredentialName::new(name).unwrap(),
        provider: ProviderOptions::Rfc2136 { server, key, transfers: true },
        zones: Some([self::name(zone)].into()),
        servers: vec![server],
    }
}

pub(crate) fn port(credentials: Vec<Credential>) -> Port {
    let options = Options {
        owner: Owner::new("prod").unwrap(),
        clock: Arc::new(now),
        dice: system_dice(),
        observer: Arc::new(Silent),
        resolvers: vec![],
        recursors: vec![],
    };
    Zones::new(options, credentials, |_| Sockets::new(&SocketsOptions::default()), DnsSockets).unwrap()
}

pub(crate) async fn zone(port: &Port, of: &str) -> ZoneId {
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

    pub(crate) async fn view(&self, port: &Port, zone: &ZoneId, wanted: &[WantedSet]) -> Arc<ZoneView> {
        let mut ask: BTreeSet<_> = wanted.iter().map(|w| w.key().name.clone()).collect();
        ask.extend(self.ledger.0.keys().map(|k| k.name.clone()));
        port.view(zone, &ask, Duration::ZERO).await.unwrap()
    }

    pub(crate) fn judge(&self, view: &ZoneView, wanted: &[WantedSet], removing: bool) -> Judgement {
        let (owner, formerly) = (Owner::new("prod").unwrap(), BTreeSet::new());
        let us = Us { owner: &owner, stack: &self.name, formerly: &formerly };
        judge(view, &Ask { us, wanted, ledger: &self.ledger, rules: self.rules, removing })
    }

    /// Carries out what is judged; answers come in the order of the changes.
    pub(crate) async fn carry_out(
        &mut self,
        port: &Port,
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

    /// One round; everything must go well, and a second look must find nothing to do.
    pub(crate) async fn round(
        &mut self,
        port: &Port,
        zone: &ZoneId,
        wanted: &[WantedSet],
        removing: bool,
    ) -> Judgement {
        let view = self.view(port, zone, wanted).await;
        let judged = self.judge(&view, wanted, removing);
        for answer in self.carry_out(port, zone, &judged).await {
            answer.unwrap();
        }
        let view = self.view(port, zone, wanted).await;
        let again = self.judge(&view, wanted, removing);
        assert!(again.changes.is_empty(), "not silent:\n{}", again.changes[0]);
        again.learn(&mut self.ledger);
        judged
    }
}
