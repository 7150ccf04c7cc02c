//! `berth dns verify`: what stands at a name, whose it is, and what every server answers. Asks and changes nothing.

use crate::args::Output;
use crate::dns::AllZones;
use crate::out::{self, BAD, BOLD, BUSY, DIM, GOOD, paint};
use anyhow::{Result, anyhow};
use berth_model::dns::{
    Asked, DnsMarkSeen, Expected, Fqdn, RecordKey, RecordType, SeenName, SeenSet, ServerAnswer, Verdict,
    Verification, VerifyMode, ZoneChoice, ZoneId, ZoneView,
};
use berth_ports::Dns;
use futures::StreamExt;
use serde::Serialize;
use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

/// Names that are looked at side by side.
const AT_ONCE: usize = 4;

/// What was found for one name.
#[derive(Serialize)]
struct Found {
    host: Fqdn,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<ZoneId>,
    /// Where its records stand: at the name itself, or at the wildcard that answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Fqdn>,
    records: Vec<Record>,
    verified: Vec<Verification>,
    /// What is worth knowing and decides nothing.
    notes: Vec<String>,
    agrees: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// One value that the provider shows.
#[derive(Serialize)]
struct Record {
    #[serde(rename = "type")]
    kind: RecordType,
    value: String,
    ttl: String,
    proxied: bool,
    whose: String,
}

/// # Errors
/// A name that is none.
pub async fn verify(zones: &AllZones, hosts: &[String], output: Output) -> Result<ExitCode> {
    let names: Result<Vec<Fqdn>> = hosts
        .iter()
        .map(|host| Fqdn::new(host).map_err(|why| anyhow!("'{host}' is not a host's name: {why}")))
        .collect();
    let found: Vec<Found> =
        futures::stream::iter(names?).map(|host| look(zones, host)).buffered(AT_ONCE).collect().await;
    out::data(output.output, &found, || found.iter().map(text).collect::<Vec<_>>().join("\n"))?;
    let all = found.iter().all(|f| f.agrees);
    Ok(if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn look(zones: &AllZones, host: Fqdn) -> Found {
    let mut found = Found {
        host,
        zone: None,
        at: None,
        records: Vec::new(),
        verified: Vec::new(),
        notes: Vec::new(),
        agrees: false,
        why: None,
    };
    found.why = compare(zones, &mut found).await.err();
    found.agrees = found.why.is_none();
    found
}

/// Fills in what is found; an error says why the servers cannot be said to agree.
async fn compare(zones: &AllZones, found: &mut Found) -> Result<(), String> {
    let zone = match zones.zone_of(&found.host).await.map_err(|e| e.to_string())? {
        ZoneChoice::Zone(zone) => zone,
        ZoneChoice::Delegated { zone, cut } => {
            let why = format!(
                "the zone {} hands {} on to {}: what would be written into it there is answered by nobody",
                zone.name,
                cut.name,
                cut.to.join(", ")
            );
            found.zone = Some(zone);
            return Err(why);
        }
        ZoneChoice::Nowhere => {
            return Err(
                "no credential reaches a zone for it; 'berth dns zones' shows what they reach".to_owned()
            );
        }
    };
    found.zone = Some(zone.clone());
    let view = zones.view(&zone, &ZoneView::tells(&found.host, &zone.name), Duration::ZERO).await;
    let view = view.map_err(|e| format!("the zone cannot be read: {e}"))?;
    let Some((at, name)) = view.answering(&found.host) else {
        return Err("the provider shows nothing there".to_owned());
    };
    found.at = Some(at.clone());
    describe(&view, name, found);
    if found.records.is_empty() {
        return Err("the provider shows no address, CNAME or text there".to_owned());
    }
    for (kind, set) in name.sets.iter().filter(|(_, set)| !set.values.is_empty()) {
        let key = RecordKey::new(at.clone(), *kind);
        let expected = expected(&key, set, &zone);
        let asked = Asked { key, expected, mode: VerifyMode::Authoritative, recursors: true };
        let verified = zones.verify(&zone, &asked).await;
        let verified = verified.map_err(|e| format!("the servers cannot be asked: {e}"))?;
        found.verified.push(verified);
    }
    // All sets of a name are answered by the same servers, which are the parent zone's in one way.
    let delegations: BTreeSet<_> = found.verified.iter().filter_map(|v| v.delegation.clone()).collect();
    found.notes.extend(delegations);
    let wrong = found.verified.iter().find_map(|v| match &v.verdict {
        Verdict::Right => None,
        Verdict::Wrong(why) => Some(format!("{}: {why}", v.key.kind)),
        Verdict::Unknown(why) => Some(format!("{} is not known: {why}", v.key.kind)),
    });
    wrong.map_or(Ok(()), Err)
}

fn describe(view: &ZoneView, name: &SeenName, found: &mut Found) {
    let per_value = view.facts.marks.per_value();
    for (kind, set) in &name.sets {
        for (data, value) in &set.values {
            let mark = if per_value { &value.mark } else { &set.mark };
            found.records.push(Record {
                kind: *kind,
                value: data.to_string(),
                ttl: value.ttl.to_string(),
                proxied: value.proxied,
                whose: whose(mark),
            });
        }
        if set.is_empty() && !set.is_nothing() {
            found.notes.push(format!(
                "a mark stands there for a {kind} record that is not there: {}",
                whose(&set.mark)
            ));
        }
        if !set.opaque.is_empty() {
            let values: Vec<_> = set.opaque.iter().map(ToString::to_string).collect();
            found.notes.push(format!(
                "{kind} values that cannot be read, or are switched off: {}",
                values.join(", ")
            ));
        }
        if set.protected {
            found.notes.push(format!("the {kind} record is protected: its provider refuses changes"));
        }
    }
    if !name.others.is_empty() {
        let others: Vec<_> = name.others.iter().map(ToString::to_string).collect();
        found.notes.push(format!("of types that Berth does not write stand there: {}", others.join(", ")));
    }
}

fn whose(mark: &DnsMarkSeen) -> String {
    match mark {
        DnsMarkSeen::None => "no mark".to_owned(),
        DnsMarkSeen::Ours(mark) if mark.adopted => format!("stack {}, taken over", mark.stack),
        DnsMarkSeen::Ours(mark) => format!("stack {}", mark.stack),
        DnsMarkSeen::Foreign(text) => text.to_string(),
    }
}

/// What the servers must answer: what the provider shows, or some answer where what it stores is not what it answers.
fn expected(key: &RecordKey, set: &SeenSet, zone: &ZoneId) -> Expected {
    let hidden = set.values.values().any(|v| v.proxied);
    let flattened = key.kind == RecordType::Cname && key.name == zone.name;
    if hidden || flattened {
        Expected::Presence
    } else {
        Expected::Values { ours: set.data(), beside: BTreeSet::new() }
    }
}

fn text(found: &Found) -> String {
    let mut out = paint(BOLD, &found.host);
    if let Some(zone) = &found.zone {
        out.push_str(&format!(
            "  {}",
            paint(DIM, format!("zone {}, credential {}", zone.name, zone.credential))
        ));
    }
    out.push('\n');
    if let Some(at) = found.at.as_ref().filter(|at| **at != found.host) {
        out.push_str(&format!("  nothing stands there; {at} answers for it\n"));
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for r in &found.records {
        let proxied = if r.proxied { ", proxied" } else { "" };
        let says = format!("{} ({}{proxied})", r.value, r.ttl);
        rows.push(vec!["provider".to_owned(), r.kind.to_string(), says, r.whose.clone()]);
    }
    for v in &found.verified {
        let row = |who: String, answer: &ServerAnswer| {
            let colour = if answer.says.is_right() { GOOD } else { BAD };
            let says = match answer.says.ttl() {
                Some(ttl) => format!("{} ({ttl} s)", answer.says),
                None => answer.says.to_string(),
            };
            vec![who, v.key.kind.to_string(), paint(colour, says), String::new()]
        };
        rows.extend(v.servers.iter().map(|a| row(who(a), a)));
        rows.extend(v.recursors.iter().map(|a| row(format!("recursor {}", who(a)), a)));
    }
    if !rows.is_empty() {
        out.push_str(&out::table(&["WHO", "TYPE", "SAYS", "WHOSE"], &rows));
    }
    for note in &found.notes {
        out.push_str(&format!("{} {note}\n", paint(BUSY, "!")));
    }
    match &found.why {
        None => out.push_str(&format!("{} every server answers what the provider shows\n", paint(GOOD, "✓"))),
        Some(why) => out.push_str(&format!("{} {why}\n", paint(BAD, "✗"))),
    }
    out
}

fn who(answer: &ServerAnswer) -> String {
    match &answer.server {
        Some(name) => format!("{name} {}", answer.address),
        None => answer.address.to_string(),
    }
}
