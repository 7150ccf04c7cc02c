//! Natural batching: reads that come while others are in flight wait for them and then go together, in one request.
//!
//! A lone read goes as a plain call at once. Reads only, never a write: a server was seen to lock itself up over a
//! batch of writes. Each item has its own answer or error.

use crate::adapter::Inner;
use crate::errors::{Nature, Told, class};
use crate::pace::Pace;
use berth_ports::PortError;
use berth_wire::{Call, Lane, Transport};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// The path of the other transport, which takes several reads at once.
pub(crate) const ROUTE: &str = "/api/trpc/";

/// A read with one parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Query {
    pub(crate) procedure: &'static str,
    pub(crate) parameter: &'static str,
    pub(crate) value: String,
}

type Answer = Result<Bytes, PortError>;
type Waiting = Vec<oneshot::Sender<Answer>>;

#[derive(Default)]
struct Lists {
    order: VecDeque<Query>,
    queued: HashMap<Query, Waiting>,
    /// What is being asked now, and how many of our writes were finished when it was sent.
    flying: HashMap<Query, (u64, Waiting)>,
    busy: bool,
    /// When the last batch was sent.
    sent: Option<Instant>,
}

/// The reads of one pace that wait.
pub(crate) struct Queue {
    lists: Mutex<Lists>,
    slow: bool,
    /// Between two batches that are not full.
    space: Duration,
}

/// Lets go of everybody who waits when the driver is gone, however it went.
struct Driving<'a>(&'a Queue);

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        let mut lists = self.0.lock();
        if lists.busy {
            *lists = Lists::default();
        }
    }
}

impl Queue {
    pub(crate) fn new(slow: bool) -> Self {
        Self { lists: Mutex::default(), slow, space: Duration::ZERO }
    }

    /// For reads that follow many stacks' writes one by one: after a batch, the next ones are gathered for this long.
    pub(crate) fn spaced(space: Duration) -> Self {
        Self { space, ..Self::new(false) }
    }

    /// Until when more are to be gathered, if at all.
    fn gathers(&self, most: usize) -> Option<Instant> {
        let lists = self.lock();
        let until = lists.sent? + self.space;
        let room = !lists.order.is_empty() && lists.order.len() < most;
        (room && until > Instant::now()).then_some(until)
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a read into the list. True where somebody must start to drive.
    fn enter(&self, query: Query, writes: u64, sender: oneshot::Sender<Answer>) -> bool {
        let mut lists = self.lock();
        if let Some((began, waiting)) = lists.flying.get_mut(&query)
            && *began >= writes
        {
            waiting.push(sender);
            return false;
        }
        match lists.queued.get_mut(&query) {
            Some(waiting) => waiting.push(sender),
            None => {
                lists.queued.insert(query.clone(), vec![sender]);
                lists.order.push_back(query);
            }
        }
        !std::mem::replace(&mut lists.busy, true)
    }

    fn take(&self, most: usize, writes: u64) -> Vec<Query> {
        let mut lists = self.lock();
        let mut taken = Vec::new();
        while taken.len() < most
            && let Some(query) = lists.order.pop_front()
        {
            let mut waiting = lists.queued.remove(&query).unwrap_or_default();
            // Nobody waits for it any more.
            waiting.retain(|w| !w.is_closed());
            if waiting.is_empty() {
                continue;
            }
            lists.flying.insert(query.clone(), (writes, waiting));
            taken.push(query);
        }
        if taken.is_empty() {
            lists.busy = false;
        }
        taken
    }

    fn tell(&self, query: &Query, answer: Answer) {
        let waiting = self.lock().flying.remove(query);
        for sender in waiting.into_iter().flat_map(|(_, w)| w) {
            // Who does not listen any more needs no answer.
            let _ = sender.send(answer.clone());
        }
    }
}

/// What batching has learnt.
pub(crate) struct Batching {
    pub(crate) most: usize,
    pub(crate) refused: AtomicBool,
    pub(crate) pace: Mutex<Pace>,
}

impl<T: Transport> Inner<T> {
    /// Reads through one of the queues.
    pub(crate) async fn gather(self: &Arc<Self>, query: Query, slow: bool) -> Answer {
        let queue = if slow {
            Arc::clone(&self.audit)
        } else if query.procedure.starts_with("docker.") {
            // A batch is as slow as its slowest item: a Docker that hangs may not hold up the database's reads.
            Arc::clone(&self.docker)
        } else if query.procedure == "application.readTraefikConfig" {
            Arc::clone(&self.routers)
        } else {
            Arc::clone(&self.run)
        };
        let (sender, receiver) = oneshot::channel();
        if queue.enter(query, self.finished(), sender) {
            let inner = Arc::clone(self);
            tokio::spawn(async move { inner.drive(&queue).await });
        }
        receiver.await.unwrap_or_else(|_| {
            Err(PortError::Retry { after: None, why: "the read was given up; ask again".to_owned() })
        })
    }

    async fn drive(self: Arc<Self>, queue: &Queue) {
        let _driving = Driving(queue);
        loop {
            // Lets everybody who asks at this same moment into the batch.
            tokio::task::yield_now().await;
            let most = if queue.slow { self.batching_pace().next() } else { self.batching.most };
            if let Some(until) = queue.gathers(most) {
                tokio::time::sleep_until(until).await;
            }
            let queries = queue.take(most, self.finished());
            if queries.is_empty() {
                return;
            }
            let began = Instant::now();
            queue.lock().sent = Some(began);
            let answers = self.fetch(&queries, queue.slow).await;
            if queries.len() == 1 && !queue.slow && answers.iter().all(Result::is_ok) {
                self.batching_pace().saw(began.elapsed());
            }
            for (query, answer) in queries.iter().zip(answers) {
                queue.tell(query, answer);
            }
            if queue.slow {
                // Half of the server's time at most.
                tokio::time::sleep(began.elapsed()).await;
            }
        }
    }

    fn batching_pace(&self) -> MutexGuard<'_, Pace> {
        self.batching.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, queries: &[Query], slow: bool) -> Vec<Answer> {
        let one = |query: &Query| {
            let mut call = Call::get(query.procedure, format!("/api/{}", query.procedure))
                .with(query.parameter, query.value.clone());
            if slow {
                call.lane = Lane::Slow;
            }
            async move { self.ask(&call).await.map(|reply| reply.body) }
        };
        if queries.len() > 1 && !self.batching.refused.load(Ordering::Relaxed) {
            match self.together(queries, slow).await {
                Ok(answers) => return answers,
                Err(error @ PortError::Auth { .. }) => return vec![Err(error); queries.len()],
                // A proxy in between may let the plain path through and not this one, or let nothing through for now:
                // one plain read tells.
                Err(_) => {
                    let first = one(&queries[0]).await;
                    if let Err(error @ (PortError::Retry { .. } | PortError::Auth { .. })) = first {
                        return vec![Err(error); queries.len()];
                    }
                    self.refuse_batches();
                    let mut answers = vec![first];
                    answers.extend(futures::future::join_all(queries[1..].iter().map(one)).await);
                    return answers;
                }
            }
        }
        futures::future::join_all(queries.iter().map(one)).await
    }

    fn refuse_batches(&self) {
        tracing::info!(backend = %self.name, "reads cannot be batched here; they go one by one");
        self.batching.refused.store(true, Ordering::Relaxed);
    }

    async fn together(&self, queries: &[Query], slow: bool) -> Result<Vec<Answer>, PortError> {
        let names: Vec<_> = queries.iter().map(|q| q.procedure).collect();
        let input: serde_json::Map<_, _> = queries
            .iter()
            .enumerate()
            .map(|(i, q)| {
                let mut json = serde_json::Map::new();
                json.insert(q.parameter.to_owned(), q.value.as_str().into());
                (i.to_string(), serde_json::json!({ "json": json }))
            })
            .collect();
        let mut call = Call::get("batch", format!("{ROUTE}{}", names.join(",")))
            .with("batch", "1")
            .with("input", serde_json::Value::Object(input).to_string());
        if slow {
            call.lane = Lane::Slow;
        }
        let reply = self.ask(&call).await?;
        items(&reply.body, &names)
    }
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    result: Option<ItemResult<'a>>,
    #[serde(borrow)]
    error: Option<Wrapped<'a>>,
}

#[derive(Deserialize)]
struct ItemResult<'a> {
    #[serde(borrow)]
    data: Option<Wrapped<'a>>,
}

#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    json: Option<&'a RawValue>,
}

/// Takes a batch's answer apart.
fn items(body: &Bytes, names: &[&str]) -> Result<Vec<Answer>, PortError> {
    let rows: Vec<Item<'_>> = crate::parse::json("batch", body)?;
    if rows.len() != names.len() {
        return Err(PortError::Unsupported {
            what: format!("batch: {} answers to {} questions", rows.len(), names.len()),
        });
    }
    let answer = |(row, name): (Item<'_>, &&str)| match (row.result, row.error) {
        (Some(result), None) => Ok(match result.data.and_then(|d| d.json) {
            Some(raw) => body.slice_ref(raw.get().as_bytes()),
            None => Bytes::from_static(b"null"),
        }),
        (_, Some(error)) => {
            let told = Told::item(error.json.map_or("", RawValue::get));
            Err(class(Nature::Read, name, &told, None).error)
        }
        (None, None) => Err(PortError::Unsupported { what: format!("batch: no answer to {name}") }),
    };
    Ok(rows.into_iter().zip(names).map(answer).collect())
}

pub(crate) fn fuzz(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    for n in 1..4 {
        let _ = items(&body, &["application.one"; 4][..n]);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Told::item(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_has_its_own_answer() {
        let body = Bytes::from_static(
            br#"[{"result":{"data":{"json":{"a":1}}}},
                {"error":{"json":{"message":"Application not found","code":-32004,"data":{"code":"NOT_FOUND","httpStatus":404,"path":"application.one","zodError":null}}}},
                {"result":{"data":{"json":null,"meta":{"values":["undefined"]}}}},
                {"error":{"json":{"message":"No procedure found on path \"x\"","code":-32004,"data":{"code":"NOT_FOUND","httpStatus":404,"path":"x"}}}}]"#,
        );
        let answers = items(&body, &["application.one"; 4]).unwrap();
        assert_eq!(answers[0], Ok(Bytes::from_static(b"{\"a\":1}")));
        assert!(matches!(answers[1], Err(PortError::NotFound(_))));
        assert_eq!(answers[2], Ok(Bytes::from_static(b"null")));
        assert!(matches!(answers[3], Err(PortError::Unsupported { .. })));
        assert!(matches!(items(&body, &["x"]), Err(PortError::Unsupported { .. })));
    }
}
