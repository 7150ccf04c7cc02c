//! One zone's manager over a provider in memory, on virtual time: who waits for whom, what is sent, and what is told.

use super::*;
use crate::provider::Manner;
use crate::raw::RawValue;
use berth_model::Time;
use berth_model::dns::{
    Delegation, DnsHash, DnsMark, Put, RecordData, SetChange, Then, Ttl, TtlBounds, Writable, ZoneFacts,
};
use berth_model::ids::{CredentialName, StackName};
use berth_ports::{BackendState, Breaker};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

/// Holds addresses by name, each with its mark in the comment of its value.
#[derive(Default)]
struct Memory {
    stands: Mutex<BTreeMap<Fqdn, RawValue>>,
    /// Names that it refuses.
    poison: Mutex<BTreeSet<Fqdn>>,
    /// Names that it says yes to and does nothing about.
    ignored: Mutex<BTreeSet<Fqdn>>,
    /// Why the next calls fail.
    failing: Mutex<Vec<PortError>>,
    /// The write happens, its answer does not come.
    lost: Mutex<bool>,
    reads: AtomicUsize,
    writes: Mutex<Vec<usize>>,
    at_once: AtomicUsize,
    takes: Duration,
}

impl Provider for Memory {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        Ok(vec![])
    }

    async fn read(&self, _: &Zone, _: Scope<'_>) -> Result<Listing, PortError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        if let Some(error) = lock(&self.failing).pop() {
            return Err(error);
        }
        let mut listing = Listing::new(Time(0), Known::All);
        for (name, value) in lock(&self.stands).iter() {
            listing.set(RecordKey::new(name.clone(), RecordType::A)).values.push(value.clone());
        }
        Ok(listing)
    }

    async fn write(&self, _: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        assert_eq!(self.at_once.fetch_add(1, Ordering::SeqCst), 0, "two writers");
        tokio::time::sleep(self.takes).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        lock(&self.writes).push(ops.len());
        let sets = || ops.iter().flat_map(|op| &op.sets);
        if sets().any(|set| lock(&self.poison).contains(&set.key.name)) {
            return Err(PortError::Refused { why: "poison".to_owned() });
        }
        for set in sets().filter(|set| !lock(&self.ignored).contains(&set.key.name)) {
            let value = set.put().map(|put| RawValue {
                data: put.values.first().cloned(),
                comment: Some(put.mark.to_string()),
                ttl: put.ttl,
                ..RawValue::default()
            });
            match value {
                Some(value) => lock(&self.stands).insert(set.key.name.clone(), value),
                None => lock(&self.stands).remove(&set.key.name),
            };
        }
        match std::mem::take(&mut *lock(&self.lost)) {
            true => Err(PortError::Unknown { why: "lost".to_owned() }),
            false => Ok(()),
        }
    }

    fn manner(&self) -> Manner {
        Manner { together: 8, serial: true, lags: false, blind: false }
    }

    fn state(&self) -> BackendState {
        BackendState { breaker: Breaker::Closed, in_flight: 0, calls_left: None }
    }
}

fn name(n: usize) -> Fqdn {
    Fqdn::new(&format!("h{n}.z.test")).unwrap()
}

fn managed(memory: Memory) -> (Arc<Managed<Memory>>, Arc<Memory>) {
    let facts = ZoneFacts {
        servers: vec![],
        addresses: vec![],
        delegation: Delegation::Unknown,
        writable: Writable::Yes,
        default_ttl: None,
        ttl: TtlBounds::ANY,
        quota: None,
        marks: MarkPlace::ValueComments,
        proxies: false,
        apex_cname: false,
    };
    let apex = Fqdn::new("z.test").unwrap();
    let zone = Zone { name: apex.clone(), key: "z".into(), facts: Arc::new(facts) };
    let id = ZoneId { credential: CredentialName::new("main").unwrap(), name: apex };
    let memory = Arc::new(memory);
    let owner = Owner::new("prod").unwrap();
    (Managed::new(id, memory.clone(), owner, zone, Arc::default()), memory)
}

/// A change that makes an address where there is `before`.
fn change(n: usize, ip: u8, before: SeenSet) -> Change {
    let value = RecordData::parse(RecordType::A, &format!("192.0.2.{ip}"), None).unwrap();
    let key = RecordKey::new(name(n), RecordType::A);
    let mark = DnsMark {
        owner: Owner::new("prod").unwrap(),
        stack: StackName::new("shop").unwrap(),
        hash: DnsHash::of(&key, [&value]),
        adopted: false,
    };
    let ours = before.data();
    let put = Put { values: [value].into(), ttl: Ttl::Seconds(60), proxied: None, mark };
    let set = SetChange { believed: before, ours, then: Then::Put(put) };
    Change { name: name(n), sets: [(RecordType::A, set)].into() }
}

fn new(n: usize) -> Change {
    change(n, 1, SeenSet::default())
}

#[tokio::test(start_paused = true)]
async fn one_look_serves_all_and_now_means_now() {
    let s = Duration::from_secs;
    let (zone, memory) = managed(Memory { takes: Duration::from_millis(100), ..Memory::default() });
    let ask = BTreeSet::new();
    let all = futures::future::join_all((0..50).map(|_| zone.view(&ask, s(60)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(memory.reads.load(Ordering::SeqCst), 1);
    zone.view(&ask, s(60)).await.unwrap();
    assert_eq!(memory.reads.load(Ordering::SeqCst), 1);
    // Asked for now by many at once: the first begins a look, and one that began after they asked serves the others.
    let all = futures::future::join_all((0..50).map(|_| zone.view(&ask, s(0)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(memory.reads.load(Ordering::SeqCst), 3);
    tokio::time::advance(s(61)).await;
    zone.view(&ask, s(60)).await.unwrap();
    assert_eq!(memory.reads.load(Ordering::SeqCst), 4);
    // One that fails is told to all who waited for it, and is not made again for each.
    let no = || PortError::Refused { why: "no".into() };
    lock(&memory.failing).extend([no(), no()]);
    let all = futures::future::join_all((0..50).map(|_| zone.view(&ask, s(0)))).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!(memory.reads.load(Ordering::SeqCst), 6);
}

#[tokio::test(start_paused = true)]
async fn what_comes_close_together_goes_together() {
    let (zone, memory) = managed(Memory::default());
    // While more come in they are waited for; what comes after a moment of silence is of the next batch.
    let at = [(0, 0), (1, 240), (2, 260), (3, 400)].map(async |(n, millis)| {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        zone.change(new(n)).await
    });
    let all = futures::future::join_all(at).await;
    assert!(all.into_iter().all(|changed| changed.unwrap().sent));
    assert_eq!(*lock(&memory.writes), [3, 1]);
    // They do not keep it waiting for ever.
    lock(&memory.writes).clear();
    let stream = (40..140).map(async |n| {
        tokio::time::sleep(Duration::from_millis((n - 40) * 40)).await;
        zone.change(new(n as usize)).await
    });
    let began = Instant::now();
    let first = futures::future::select_all(stream.map(Box::pin)).await;
    assert!(first.0.unwrap().sent && began.elapsed() < Duration::from_millis(3_300));
    tokio::time::sleep(Duration::from_secs(5)).await;
    // Many are a fleet on its way: they are waited for longer.
    lock(&memory.writes).clear();
    let wave = (200..223).map(async |n| {
        tokio::time::sleep(Duration::from_millis(if n < 220 { 0 } else { 400 })).await;
        zone.change(new(n)).await
    });
    assert!(futures::future::join_all(wave).await.iter().all(Result::is_ok));
    assert_eq!(*lock(&memory.writes), [8, 8, 7]);
    // More than go together go one batch after the other.
    lock(&memory.writes).clear();
    let all = futures::future::join_all((10..30).map(|n| zone.change(new(n)))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(*lock(&memory.writes), [8, 8, 4]);
    // What stands already is not sent.
    lock(&memory.writes).clear();
    assert!(!zone.change(new(0)).await.unwrap().sent);
    assert!(lock(&memory.writes).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_is_taken_apart_until_the_poison_is_alone() {
    let (zone, memory) = managed(Memory::default());
    lock(&memory.poison).extend([name(3), name(6)]);
    let all = futures::future::join_all((0..8).map(|n| zone.change(new(n)))).await;
    for (n, answer) in all.iter().enumerate() {
        assert_eq!(answer.is_err(), n == 3 || n == 6, "{n}: {answer:?}");
    }
    // Eight, its halves, their quarters where one was bad.
    assert_eq!(*lock(&memory.writes), [8, 4, 2, 2, 1, 1, 4, 2, 2, 1, 1]);
    // What was refused three times costs nothing for a while; then it is tried again, once.
    let again = async |n| {
        lock(&memory.writes).clear();
        let answers = futures::future::join_all([3, 6, n].map(|n| zone.change(new(n)))).await;
        assert!(answers[0] == all[3] && answers[1] == all[6] && answers[2].is_ok(), "{answers:?}");
        lock(&memory.writes).clone()
    };
    assert_eq!(again(9).await, [3, 1, 2, 1, 1]);
    assert_eq!(again(9).await, [2, 1, 1]);
    assert_eq!(again(10).await, [1]);
    tokio::time::advance(Duration::from_secs(600)).await;
    assert_eq!(again(11).await, [3, 1, 2, 1, 1]);
    assert_eq!(again(12).await, [1]);
    // In a zone that has more room than then it is tried at once.
    lock(&memory.stands).remove(&name(9));
    lock(&memory.poison).clear();
    tokio::time::advance(Duration::from_secs(6)).await;
    let answers = futures::future::join_all([3, 6].map(|n| zone.change(new(n)))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test(start_paused = true)]
async fn a_belief_that_no_longer_holds_changes_nothing() {
    let (zone, memory) = managed(Memory::default());
    let stood = zone.change(new(0)).await.unwrap().now[&RecordType::A].clone();
    lock(&memory.writes).clear();
    // Believed to be free, and it is not; believed to be ours, and by now it is another value.
    assert!(matches!(zone.change(change(0, 2, SeenSet::default())).await, Err(PortError::Conflict(_))));
    assert!(zone.change(change(0, 3, stood.clone())).await.unwrap().sent);
    assert!(matches!(zone.change(change(0, 4, stood)).await, Err(PortError::Conflict(_))));
    // Two of one name at once: the second was planned without the first.
    let (first, second) = futures::join!(zone.change(new(1)), zone.change(change(1, 9, SeenSet::default())));
    assert!(first.is_ok() && matches!(second, Err(PortError::Conflict(_))));
    assert_eq!(*lock(&memory.writes), [1, 1]);
    let out = Change { name: Fqdn::new("x.y.test").unwrap(), ..new(5) };
    assert!(matches!(zone.change(out).await, Err(PortError::Refused { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_yes_is_believed_when_it_is_seen() {
    let (zone, memory) = managed(Memory::default());
    lock(&memory.ignored).insert(name(0));
    let answer = zone.change(new(0)).await;
    assert!(matches!(&answer, Err(PortError::Conflict(why)) if why.contains("said yes")), "{answer:?}");
    // And a lost answer is a yes where it is seen.
    *lock(&memory.lost) = true;
    assert!(zone.change(new(1)).await.unwrap().sent);
    lock(&memory.ignored).insert(name(2));
    *lock(&memory.lost) = true;
    assert!(matches!(zone.change(new(2)).await, Err(PortError::Unknown { .. })));
    // A yes that cannot be looked at is not known.
    zone.view(&BTreeSet::new(), Duration::ZERO).await.unwrap();
    lock(&memory.failing).push(PortError::Retry { after: None, why: "gone".into() });
    assert!(matches!(zone.change(new(3)).await, Err(PortError::Unknown { .. })));
    // Then nothing is remembered of before.
    let reads = memory.reads.load(Ordering::SeqCst);
    let view = zone.view(&BTreeSet::new(), Duration::from_secs(3600)).await.unwrap();
    assert_eq!(memory.reads.load(Ordering::SeqCst), reads + 1);
    assert!(view.names.contains_key(&name(3)));
}

#[tokio::test(start_paused = true)]
async fn what_we_wrote_shows_at_once() {
    let (zone, memory) = managed(Memory::default());
    let hour = Duration::from_secs(3600);
    zone.view(&BTreeSet::new(), hour).await.unwrap();
    zone.change(new(0)).await.unwrap();
    let reads = memory.reads.load(Ordering::SeqCst);
    let view = zone.view(&BTreeSet::new(), hour).await.unwrap();
    assert!(view.names.contains_key(&name(0)));
    assert_eq!(memory.reads.load(Ordering::SeqCst), reads);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_old_is_made_again_before_a_write() {
    let (zone, memory) = managed(Memory::default());
    zone.view(&BTreeSet::new(), Duration::ZERO).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    // Somebody was here meanwhile.
    let theirs = RawValue {
        data: RecordData::parse(RecordType::A, "203.0.113.1", None),
        ttl: Ttl::Seconds(60),
        ..RawValue::default()
    };
    lock(&memory.stands).insert(name(0), theirs.clone());
    assert!(matches!(zone.change(new(0)).await, Err(PortError::Conflict(_))));
    assert_eq!(lock(&memory.stands)[&name(0)], theirs);
}
