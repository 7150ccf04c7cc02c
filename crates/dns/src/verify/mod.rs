//! Whether the world sees a record: first what the provider shows, then every authoritative server, each on its own, and
//! only when all of them are right, recursors.
//!
//! A recursor is never asked about a record before: it would remember that there is none, for as long as the zone's SOA
//! says, and so would everybody behind it.

mod answer;
mod servers;

pub(crate) use servers::Directory;

use crate::asker::Asker;
use crate::exchange::Exchange;
use crate::message::{kind as kind_of, name as name_of};
use crate::zones::Zones;
use berth_model::dns::{
    Asked, Expected, Fqdn, RecordKey, RecordType, SeenSet, ServerAnswer, ServerSays, Verdict, Verification,
    VerifyMode, ZoneFacts, ZoneId, ZoneView,
};
use berth_model::observed::Seen;
use berth_ports::PortError;
use berth_wire::Transport;
use futures::future::join_all;
use hickory_proto::rr::RecordType as Kind;
use servers::{Found, Target};
use std::net::SocketAddr;
use std::time::Duration;

/// How old the provider's own view may be. What we wrote ourselves is in it at once.
const SHOWN: Duration = Duration::from_secs(10);

impl<T: Transport, E: Exchange> Zones<T, E> {
    /// One verification.
    pub(crate) async fn look(&self, zone: &ZoneId, asked: &Asked) -> Result<Verification, PortError> {
        let at = (self.options.clock)();
        let view = self.managed(zone).await?.view(&[asked.key.name.clone()].into(), SHOWN).await?;
        let mut out = Verification {
            key: asked.key.clone(),
            at,
            verdict: Verdict::Right,
            servers: Vec::new(),
            recursors: Vec::new(),
            delegation: None,
            negative_ttl: None,
        };
        if let Some(verdict) = shown(&view, asked) {
            out.verdict = verdict;
            return Ok(out);
        }
        if asked.mode == VerifyMode::Provider {
            return Ok(out);
        }
        let found = self.directory.find(&self.asker, &self.options.resolvers, zone, &view.facts).await;
        out.delegation = found.delegation.clone();
        out.servers = self.ask_all(&found, asked).await;
        out.negative_ttl = out.servers.iter().filter_map(negative).max();
        out.verdict = verdict(&found, &out.servers);
        if asked.recursors && out.verdict == Verdict::Right {
            let all = self.options.recursors.iter().map(|r| self.ask_one(None, *r, asked, true));
            out.recursors = join_all(all).await;
        }
        Ok(out)
    }

    async fn ask_all(&self, found: &Found, asked: &Asked) -> Vec<ServerAnswer> {
        let all = found.targets.iter().flat_map(|target| {
            target
                .addresses
                .iter()
                .map(move |address| self.ask_one(target.name.as_ref(), *address, asked, false))
        });
        join_all(all).await
    }

    async fn ask_one(
        &self,
        server: Option<&Fqdn>,
        address: SocketAddr,
        asked: &Asked,
        recursive: bool,
    ) -> ServerAnswer {
        let says = says(&self.asker, address, &asked.key, &asked.expected, recursive).await;
        ServerAnswer { server: server.cloned(), address, says }
    }

    /// Whether each server answers for the zone at all: for a look before anything is written.
    pub(crate) async fn serves(&self, zone: &ZoneId, facts: &ZoneFacts) -> (Found, Vec<ServerAnswer>) {
        let found = self.directory.find(&self.asker, &self.options.resolvers, zone, facts).await;
        let Some(name) = name_of(&zone.name) else { return (found, Vec::new()) };
        let name = &name;
        let all = found.targets.iter().flat_map(|target| {
            target.addresses.iter().map(move |address| async move {
                let says = match self.asker.ask(*address, name, Kind::SOA, false).await {
                    Ok(answer) => answer::serves(&answer, name),
                    Err(why) => ServerSays::Silent { why },
                };
                ServerAnswer { server: target.name.clone(), address: *address, says }
            })
        });
        let answers = join_all(all).await;
        (found, answers)
    }
}

/// What one server says about one set.
async fn says<E: Exchange>(
    asker: &Asker<E>,
    server: SocketAddr,
    key: &RecordKey,
    expected: &Expected,
    recursive: bool,
) -> ServerSays {
    let Some(name) = name_of(&key.name) else {
        return ServerSays::Silent { why: "the name fits into no message".to_owned() };
    };
    // What is answered in the place of what is stored are addresses.
    let kinds: &[Kind] = match (expected, key.kind) {
        (Expected::Presence, RecordType::Aaaa) => &[Kind::AAAA, Kind::A],
        (Expected::Presence, RecordType::A | RecordType::Cname) => &[Kind::A, Kind::AAAA],
        _ => &[kind_of(key.kind)],
    };
    let mut last = ServerSays::Silent { why: "nothing was asked".to_owned() };
    for kind in kinds {
        last = match asker.ask(server, &name, *kind, recursive).await {
            Ok(message) => answer::judge(&message, &name, *kind, key, expected, recursive),
            Err(why) => ServerSays::Silent { why },
        };
        if !matches!(last, ServerSays::Missing { name: false, .. }) {
            break;
        }
    }
    last
}

/// What the provider itself shows; `None` where it is as it must be.
fn shown(view: &ZoneView, asked: &Asked) -> Option<Verdict> {
    let nothing = SeenSet::default();
    let set = match view.set(&asked.key) {
        Seen::Unknown => {
            return Some(Verdict::Unknown("what stands at the provider is not known".to_owned()));
        }
        Seen::Absent => &nothing,
        Seen::Present(set) => set,
    };
    let right = match &asked.expected {
        Expected::Values { ours, .. } => ours.iter().all(|v| set.values.contains_key(v)),
        Expected::Presence => !set.is_empty(),
        Expected::Gone(values) => !values.iter().any(|v| set.values.contains_key(v)),
    };
    let there = set.values.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let there = if there.is_empty() { "nothing".to_owned() } else { there };
    (!right).then(|| Verdict::Wrong(format!("the provider shows {there}; no server was asked")))
}

/// What the answers come to. A server that has several addresses must be right at one of them and wrong at none.
fn verdict(found: &Found, answers: &[ServerAnswer]) -> Verdict {
    if let Some(why) = &found.nothing {
        return Verdict::Unknown(why.clone());
    }
    let mut unknown = Vec::new();
    for target in &found.targets {
        let of_it: Vec<_> = answers.iter().filter(|a| target.is(a)).collect();
        let bad = of_it.iter().find(|a| !a.says.is_right() && !matches!(a.says, ServerSays::Silent { .. }));
        if let Some(bad) = bad {
            return Verdict::Wrong(bad.to_string());
        }
        if !of_it.iter().any(|a| a.says.is_right()) {
            unknown.push(of_it.first().map_or_else(
                || format!("{}: its address could not be found", target.label()),
                ToString::to_string,
            ));
        }
    }
    if unknown.is_empty() { Verdict::Right } else { Verdict::Unknown(unknown.join("; ")) }
}

fn negative(answer: &ServerAnswer) -> Option<u32> {
    match answer.says {
        ServerSays::Missing { negative_ttl, .. } => negative_ttl,
        _ => None,
    }
}

impl Target {
    fn is(&self, answer: &ServerAnswer) -> bool {
        self.name == answer.server && self.addresses.contains(&answer.address)
    }

    fn label(&self) -> String {
        match (&self.name, self.addresses.first()) {
            (Some(name), _) => name.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "a server".to_owned(),
        }
    }
}

/// Feeds the readers.
pub(crate) fn fuzz(data: &[u8]) {
    let (Some(message), Ok(at)) = (crate::asker::read(data), Fqdn::new("app.example.test")) else { return };
    let Some(name) = name_of(&at) else { return };
    let key = RecordKey::new(at, RecordType::A);
    let ours = || [berth_model::dns::RecordData::A([192, 0, 2, 1].into())].into();
    let values = Expected::Values { ours: ours(), beside: [].into() };
    for expected in [values, Expected::Presence, Expected::Gone(ours())] {
        for recursive in [false, true] {
            let _ = answer::judge(&message, &name, Kind::A, &key, &expected, recursive).to_string();
        }
    }
    let _ = answer::serves(&message, &name);
}
