//! One zone: a look at it that everybody shares, and one writer who gathers what comes close together.
//!
//! A change is sent only where the zone stands as its plan believed, and is called done only when a look afterwards
//! shows it. A batch that is refused is taken apart until what is refused stands alone.

use crate::provider::{Companion, Op, Provider, Scope, SetOp, Zone};
use crate::raw::Listing;
use berth_model::dns::{
    Change, Changed, Fqdn, Known, MarkPlace, Put, RecordKey, RecordType, SeenSet, Then, Ttl, TtlBounds,
    ZoneId, ZoneView, companion,
};
use berth_model::ids::Owner;
use berth_ports::PortError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long changes of one zone are gathered.
const GATHERED: Duration = Duration::from_millis(250);
/// While more of them come in every such moment, they are waited for:
const MOMENT: Duration = Duration::from_millis(50);
/// for longer where so many came that a whole fleet seems to be on its way,
const MANY: usize = 20;
/// and never longer than this.
const MOST_GATHERED: Duration = Duration::from_secs(3);
/// A look of this age is good enough to write on.
const FRESH: Duration = Duration::from_secs(5);
/// After a yes that may come before the deed: when to look again.
const LOOK_AGAIN: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// What was refused so many times is let be
const TRIES: u32 = 3;
/// for so long, unless the zone got smaller: a full zone would take every call that the account may make.
const LET_BE: Duration = Duration::from_secs(600);
/// Refused changes that are remembered.
const MOST_REFUSED: usize = 10_000;

/// A change that the provider refused.
struct Refusal {
    change: Change,
    error: PortError,
    times: u32,
    /// The last time.
    at: Instant,
}

/// Changes that the provider refused.
#[derive(Default)]
struct Refused {
    all: VecDeque<Refusal>,
    /// The size of the zone.
    size: usize,
}

impl Refused {
    /// Forgets what is long ago, or may pass now.
    fn review(&mut self, listing: &Listing) {
        let size = listing.size();
        self.all.retain(|refusal| size >= self.size && refusal.at.elapsed() < 2 * LET_BE);
        self.size = size;
    }

    /// Why it is not worth another try yet.
    fn of(&self, change: &Change) -> Option<PortError> {
        let found = self.all.iter().find(|known| known.change == *change)?;
        (found.times >= TRIES && found.at.elapsed() < LET_BE).then(|| found.error.clone())
    }

    fn remember(&mut self, change: &Change, error: &PortError) {
        let known = self.all.iter().position(|known| known.change == *change);
        let times = known.and_then(|at| self.all.remove(at)).map_or(1, |known| known.times + 1);
        if self.all.len() >= MOST_REFUSED {
            let least = self.all.iter().position(|known| known.times < TRIES).unwrap_or(0);
            self.all.remove(least);
        }
        let (change, error) = (change.clone(), error.clone());
        self.all.push_back(Refusal { change, error, times, at: Instant::now() });
    }
}

/// A look that is kept.
struct Kept {
    /// When it began.
    at: Instant,
    /// The how-manieth it was.
    number: u64,
    listing: Listing,
}

#[derive(Default)]
struct State {
    kept: Option<Kept>,
    /// The last look that failed.
    failed: Option<(u64, PortError)>,
    refused: Refused,
}

/// What may be shown without waiting for anybody.
struct Shown {
    at: Instant,
    view: Arc<ZoneView>,
}

type Answers = Arc<Vec<Result<Changed, PortError>>>;
type Run = BoxFuture<'static, Answers>;
type Slots = Arc<Mutex<Vec<Option<Change>>>>;

/// One zone.
pub(crate) struct Managed<P> {
    pub(crate) id: ZoneId,
    provider: Arc<P>,
    owner: Owner,
    zone: Mutex<Zone>,
    /// Lifetimes that were found out by trying.
    learnt: Mutex<Option<TtlBounds>>,
    /// For providers that take one write at a time, whatever the zone.
    serial: Arc<tokio::sync::Mutex<()>>,
    state: tokio::sync::Mutex<State>,
    shown: Mutex<Option<Shown>>,
    open: Mutex<Option<(Slots, WeakShared<Run>)>>,
    looks: AtomicU64,
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a change out of a batch that was not begun when its caller goes away.
struct Withdraw(Slots, usize);

impl Drop for Withdraw {
    fn drop(&mut self) {
        if let Some(slot) = lock(&self.0).get_mut(self.1) {
            *slot = None;
        }
    }
}

/// Forgets what is shown unless the write came to its end.
struct Writing<'a>(&'a Mutex<Option<Shown>>, bool);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if !self.1 {
            *lock(self.0) = None;
        }
    }
}

impl<P: Provider> Managed<P> {
    pub(crate) fn new(
        id: ZoneId,
        provider: Arc<P>,
        owner: Owner,
        zone: Zone,
        serial: Arc<tokio::sync::Mutex<()>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            provider,
            owner,
            zone: Mutex::new(zone),
            learnt: Mutex::default(),
            serial,
            state: tokio::sync::Mutex::default(),
            shown: Mutex::default(),
            open: Mutex::default(),
            looks: AtomicU64::new(0),
        })
    }

    pub(crate) fn zone(&self) -> Zone {
        let mut zone = lock(&self.zone).clone();
        if let Some(learnt) = *lock(&self.learnt) {
            let facts = Arc::make_mut(&mut zone.facts);
            facts.ttl.least = facts.ttl.least.max(learnt.least);
            facts.ttl.most = facts.ttl.most.min(learnt.most);
        }
        zone
    }

    /// A lifetime that came back as another one: then that is the least, or the most, that may be. What cannot be had
    /// would otherwise be asked for for ever.
    fn learn(&self, change: &Change, listing: &Listing, zone: &Zone) -> bool {
        let mut learnt = lock(&self.learnt);
        let mut bounds = learnt.unwrap_or(TtlBounds::ANY);
        for (kind, set) in &change.sets {
            let Then::Put(Put { values, ttl: Ttl::Seconds(sent), .. }) = &set.then else { continue };
            if set.shares() {
                continue;
            }
            let Ttl::Seconds(sent) = zone.facts.ttl.nearest(Ttl::Seconds(*sent)) else { continue };
            let now = self.now(listing, &change.name, *kind);
            for seen in values.iter().filter_map(|v| now.values.get(v)) {
                match seen.ttl {
                    Ttl::Seconds(seen) if seen > sent => bounds.least = bounds.least.max(seen),
                    Ttl::Seconds(seen) if seen < sent => bounds.most = bounds.most.min(seen),
                    _ => {}
                }
            }
        }
        let news = learnt.unwrap_or(TtlBounds::ANY) != bounds;
        *learnt = Some(bounds);
        news
    }

    /// Takes younger news of the zone itself.
    pub(crate) fn renew(&self, zone: Zone) {
        let mut old = lock(&self.zone);
        if *old != zone {
            *old = zone;
            *lock(&self.shown) = None;
        }
    }

    fn place(&self) -> MarkPlace {
        lock(&self.zone).facts.marks
    }

    /// A look no older than `max_age` that covers these names.
    pub(crate) async fn view(
        &self,
        ask: &BTreeSet<Fqdn>,
        max_age: Duration,
    ) -> Result<Arc<ZoneView>, PortError> {
        let entered = Instant::now();
        let before = self.looks.load(Ordering::SeqCst);
        let covers = |known: &Known| ask.iter().all(|n| known.covers(n));
        // "Now" means a new look, also where the clock has not moved since the last one.
        let young = |at: Instant| !max_age.is_zero() && at + max_age >= entered;
        if let Some(shown) = &*lock(&self.shown)
            && young(shown.at)
            && covers(&shown.view.known)
        {
            return Ok(Arc::clone(&shown.view));
        }
        let mut state = self.state.lock().await;
        let fits = state
            .kept
            .as_ref()
            .is_some_and(|k| (young(k.at) || k.number > before) && covers(&k.listing.known));
        if !fits {
            if let Some((number, error)) = &state.failed
                && *number > before
            {
                return Err(error.clone());
            }
            self.look(&mut state, ask).await?;
        }
        Ok(self.show(&state).unwrap_or_else(|| Arc::new(self.nothing())))
    }

    /// A zone of which nothing is known: what is shown when there is no look, which does not happen.
    fn nothing(&self) -> ZoneView {
        let zone = self.zone();
        Listing::new(berth_model::Time(0), Known::Names(BTreeSet::new())).view(&zone, &self.id, &self.owner)
    }

    /// Looks at the whole zone, or at everything that was ever asked for where that is not to be had.
    async fn look(&self, state: &mut State, ask: &BTreeSet<Fqdn>) -> Result<(), PortError> {
        let mut names = self.with_companions(ask);
        if let Some(Kept { listing: Listing { known: Known::Names(known), .. }, .. }) = &state.kept {
            names.extend(known.iter().cloned());
        }
        let number = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let at = Instant::now();
        let zone = self.zone();
        match self.provider.read(&zone, Scope::All(&names)).await {
            Ok(listing) => {
                state.kept = Some(Kept { at, number, listing });
                state.failed = None;
                Ok(())
            }
            Err(error) => {
                state.failed = Some((number, error.clone()));
                Err(error)
            }
        }
    }

    fn show(&self, state: &State) -> Option<Arc<ZoneView>> {
        let kept = state.kept.as_ref()?;
        let view = Arc::new(kept.listing.view(&self.zone(), &self.id, &self.owner));
        *lock(&self.shown) = Some(Shown { at: kept.at, view: Arc::clone(&view) });
        Some(view)
    }

    /// These names, and where their marks may stand.
    fn with_companions(&self, names: &BTreeSet<Fqdn>) -> BTreeSet<Fqdn> {
        let mut all = names.clone();
        if self.place() == MarkPlace::Companions {
            for name in names {
                let keys = RecordType::ALL.into_iter().map(|kind| RecordKey::new(name.clone(), kind));
                all.extend(keys.filter_map(|key| companion(&key).ok()));
            }
        }
        all
    }

    /// One change, with others that come at about the same time.
    pub(crate) async fn change(self: &Arc<Self>, change: Change) -> Result<Changed, PortError> {
        let (run, guard) = {
            let mut open = lock(&self.open);
            let there = open.as_ref().and_then(|(slots, run)| Some((Arc::clone(slots), run.upgrade()?)));
            let (slots, run) = there.unwrap_or_else(|| {
                let slots = Slots::default();
                let run = self.gather(Arc::clone(&slots));
                *open = run.downgrade().map(|weak| (Arc::clone(&slots), weak));
                (slots, run)
            });
            let mut list = lock(&slots);
            list.push(Some(change));
            let at = list.len() - 1;
            drop(list);
            (run, Withdraw(slots, at))
        };
        let answers = run.await;
        let answer = answers.get(guard.1).cloned();
        answer.unwrap_or_else(|| {
            Err(PortError::Retry { after: None, why: "the batch was given up".to_owned() })
        })
    }

    fn gather(self: &Arc<Self>, slots: Slots) -> Shared<Run> {
        let me = Arc::clone(self);
        let run = async move {
            let began = Instant::now();
            tokio::time::sleep(GATHERED - MOMENT).await;
            loop {
                let before = lock(&slots).len();
                tokio::time::sleep(if before < MANY { MOMENT } else { GATHERED }).await;
                if lock(&slots).len() == before || began.elapsed() >= MOST_GATHERED {
                    break;
                }
            }
            // What comes while the batch before is under way goes with this one.
            let take = || {
                let mut open = lock(&me.open);
                if open.as_ref().is_some_and(|(s, _)| Arc::ptr_eq(s, &slots)) {
                    *open = None;
                }
                std::mem::take(&mut *lock(&slots))
            };
            Arc::new(me.run(take).await)
        };
        run.boxed().shared()
    }

    async fn run(&self, take: impl FnOnce() -> Vec<Option<Change>>) -> Vec<Result<Changed, PortError>> {
        let mut state = self.state.lock().await;
        let zone = self.zone();
        let _serial = if self.provider.manner().serial { Some(self.serial.lock().await) } else { None };
        let changes = &take()[..];
        let mut batch = Batch::new(changes);
        let names: BTreeSet<_> = changes.iter().flatten().map(|c| c.name.clone()).collect();
        let names = self.with_companions(&names);
        if let Err(error) = self.refresh(&mut state, &zone, &names).await {
            batch.all(&error);
            return batch.answers();
        }
        let Some(mut kept) = state.kept.take() else {
            return batch.answers();
        };
        // From here on the kept look is out of the state: who is dropped on the way leaves none that is too old.
        let mut writing = Writing(&self.shown, false);
        state.refused.review(&kept.listing);
        self.sort(&mut batch, &kept.listing, &zone, &state.refused);
        self.send(&mut batch, &kept.listing, &zone, &mut state.refused).await;
        if batch.touched.is_empty() || self.read_back(&mut batch, &mut kept, &zone, &names).await {
            state.refused.review(&kept.listing);
            state.kept = Some(kept);
            writing.1 = self.show(&state).is_some();
        }
        batch.answers()
    }

    /// Makes sure that what stands under these names is known, and not from long ago.
    async fn refresh(&self, state: &mut State, zone: &Zone, names: &BTreeSet<Fqdn>) -> Result<(), PortError> {
        let Some(kept) = state.kept.as_mut().filter(|k| names.iter().all(|n| k.listing.known.covers(n)))
        else {
            return self.look(state, names).await;
        };
        if kept.at.elapsed() <= FRESH && !self.provider.manner().blind {
            return Ok(());
        }
        self.look_at(kept, zone, names).await
    }

    /// Looks at these names once more.
    async fn look_at(&self, kept: &mut Kept, zone: &Zone, names: &BTreeSet<Fqdn>) -> Result<(), PortError> {
        let at = Instant::now();
        let number = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        let younger = self.provider.read(zone, Scope::Names(names)).await?;
        if younger.known == Known::All {
            // It showed everything: then all of it is as young.
            (kept.at, kept.number) = (at, number);
        }
        kept.listing.take(younger, names);
        Ok(())
    }

    fn now(&self, listing: &Listing, name: &Fqdn, kind: RecordType) -> SeenSet {
        listing.seen(&RecordKey::new(name.clone(), kind), &self.owner, self.place())
    }

    /// How the change's sets stand, if they stand as it wants them.
    fn met(&self, change: &Change, listing: &Listing, zone: &Zone) -> Option<Changed> {
        let mut changed = Changed::default();
        for (kind, set) in &change.sets {
            let now = self.now(listing, &change.name, *kind);
            if !set.is_met_by(&now, &zone.facts) {
                return None;
            }
            changed.now.insert(*kind, now);
        }
        Some(changed)
    }

    /// Answers what needs no call, and leaves the rest to be sent.
    fn sort(&self, batch: &mut Batch<'_>, listing: &Listing, zone: &Zone, refused: &Refused) {
        let mut taken = BTreeSet::new();
        for (at, change) in batch.waiting() {
            let name = &change.name;
            if !name.is_in(&zone.name) {
                batch.tell(at, Err(PortError::Refused { why: format!("{name} is not in {}", zone.name) }));
                continue;
            }
            if let Some(changed) = self.met(change, listing, zone) {
                batch.tell(at, Ok(changed));
                continue;
            }
            let as_believed =
                change.sets.iter().all(|(kind, set)| self.now(listing, name, *kind) == set.believed);
            if !as_believed {
                batch.tell(
                    at,
                    Err(PortError::Conflict(format!("{name} stands otherwise than it was planned for"))),
                );
                continue;
            }
            if let Some(error) = refused.of(change) {
                batch.tell(at, Err(error));
                continue;
            }
            if !taken.insert(name.clone()) {
                let why = format!("another change of {name} goes first");
                batch.tell(at, Err(PortError::Conflict(why)));
                continue;
            }
            let companions = self.place() == MarkPlace::Companions;
            if let Some(bad) = change.keys().filter(|_| companions).find_map(|key| companion(&key).err()) {
                batch.tell(at, Err(PortError::Refused { why: bad.to_string() }));
            }
        }
    }

    fn op<'a>(&self, change: &'a Change, listing: &Listing) -> Op<'a> {
        let place = self.place();
        let sets = change.keys().zip(change.sets.values());
        let sets = sets.map(|(key, change)| {
            let companion = (place == MarkPlace::Companions).then(|| companion(&key).ok()).flatten();
            SetOp {
                before: listing.get(&key),
                companion: companion.map(|name| {
                    let key = RecordKey::new(name, RecordType::Txt);
                    Companion { before: listing.get(&key), key }
                }),
                key,
                change,
            }
        });
        Op { sets: sets.collect() }
    }

    /// Sends what is left, in parts that get smaller where they are refused.
    async fn send(&self, batch: &mut Batch<'_>, listing: &Listing, zone: &Zone, refused: &mut Refused) {
        let together = self.provider.manner().together;
        let mut parts: VecDeque<Vec<(usize, &Change)>> = VecDeque::new();
        let mut filled = 0;
        for one in batch.waiting() {
            let weight = self.provider.weight(&self.op(one.1, listing));
            filled += weight;
            match parts.back_mut() {
                Some(part) if filled <= together => part.push(one),
                _ => {
                    parts.push_back(vec![one]);
                    filled = weight;
                }
            }
        }
        while let Some(part) = parts.pop_front() {
            let ops: Vec<_> = part.iter().map(|(_, change)| self.op(change, listing)).collect();
            let result = self.provider.write(zone, &ops).await;
            match result {
                Err(PortError::Refused { .. } | PortError::Conflict(_)) if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.push_front(second.to_vec());
                    parts.push_front(first.to_vec());
                }
                result => {
                    for (at, change) in part {
                        if let Err(error @ PortError::Refused { .. }) = &result {
                            refused.remember(change, error);
                        }
                        batch.touched.push((at, result.clone()));
                    }
                }
            }
        }
    }

    /// Looks at what was written, and answers everybody by what is seen. False where that cannot be seen.
    async fn read_back(
        &self,
        batch: &mut Batch<'_>,
        kept: &mut Kept,
        zone: &Zone,
        names: &BTreeSet<Fqdn>,
    ) -> bool {
        let lags = self.provider.manner().lags;
        let unknown =
            batch.touched.iter().any(|(_, result)| matches!(result, Err(PortError::Unknown { .. })));
        let mut waits = LOOK_AGAIN.iter().filter(|_| lags || unknown);
        loop {
            if let Err(error) = self.look_at(kept, zone, names).await {
                batch.unseen(&error);
                return false;
            }
            let listing = &kept.listing;
            let open = batch.touched.iter().any(|(at, result)| {
                matches!(result, Ok(()) | Err(PortError::Unknown { .. }))
                    && batch.change(*at).is_some_and(|c| self.met(c, listing, zone).is_none())
            });
            match waits.next() {
                Some(wait) if open => tokio::time::sleep(*wait).await,
                _ => break,
            }
        }
        let listing = &kept.listing;
        for (at, result) in std::mem::take(&mut batch.touched) {
            let Some(change) = batch.change(at) else { continue };
            let mut met = self.met(change, listing, zone);
            if met.is_none() && result.is_ok() && self.learn(change, listing, zone) {
                met = self.met(change, listing, &self.zone());
            }
            let answer = match (met, result) {
                (Some(changed), _) => Ok(Changed { sent: true, ..changed }),
                (None, Err(error)) => Err(error),
                (None, Ok(())) => Err(self.not_done(change, listing, lags)),
            };
            batch.tell(at, answer);
        }
        true
    }

    /// The provider said yes and it is not so.
    fn not_done(&self, change: &Change, listing: &Listing, lags: bool) -> PortError {
        let name = &change.name;
        let unchanged = change.sets.iter().all(|(kind, set)| self.now(listing, name, *kind) == set.believed);
        if unchanged && lags {
            return PortError::Retry {
                after: None,
                why: format!("{name}: accepted, and not to be seen yet"),
            };
        }
        let why = if unchanged {
            format!(
                "{name}: the server said yes and changed nothing: another record of the name stands in the way"
            )
        } else {
            format!("{name}: the server said yes, and what stands there is not what was sent")
        };
        PortError::Conflict(why)
    }
}

/// The changes of one batch and what became of them.
struct Batch<'a> {
    changes: &'a [Option<Change>],
    told: Vec<Option<Result<Changed, PortError>>>,
    /// What was sent, with what the provider said.
    touched: Vec<(usize, Result<(), PortError>)>,
}

impl<'a> Batch<'a> {
    fn new(changes: &'a [Option<Change>]) -> Self {
        Self { changes, told: vec![None; changes.len()], touched: Vec::new() }
    }

    fn change(&self, at: usize) -> Option<&'a Change> {
        self.changes.get(at)?.as_ref()
    }

    fn waiting(&self) -> Vec<(usize, &'a Change)> {
        let all = self.changes.iter().enumerate().zip(&self.told);
        all.filter(|(_, told)| told.is_none()).filter_map(|((at, c), _)| Some((at, c.as_ref()?))).collect()
    }

    fn tell(&mut self, at: usize, answer: Result<Changed, PortError>) {
        if let Some(told) = self.told.get_mut(at) {
            *told = Some(answer);
        }
    }

    fn all(&mut self, error: &PortError) {
        for told in self.told.iter_mut().filter(|t| t.is_none()) {
            *told = Some(Err(error.clone()));
        }
    }

    /// What was accepted cannot be seen: then nobody knows.
    fn unseen(&mut self, error: &PortError) {
        for (at, result) in std::mem::take(&mut self.touched) {
            let why = || format!("accepted, and it could not be read back: {error}");
            self.tell(at, Err(result.err().unwrap_or_else(|| PortError::Unknown { why: why() })));
        }
    }

    fn answers(self) -> Vec<Result<Changed, PortError>> {
        let given_up =
            || Err(PortError::Retry { after: None, why: "nobody waits for it any more".to_owned() });
        self.told.into_iter().map(|told| told.unwrap_or_else(given_up)).collect()
    }
}

#[cfg(test)]
#[path = "managed_tests.rs"]
mod tests;
