//! A call on its way: what was asked, what a fault makes of it, where its answer goes.
//! It must never take effect twice, nor after the process that took it is gone.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::front;
use super::http::Ask;
use super::message;
use super::world::World;
use super::zone::Provider;
use crate::http_api::Reply;
use crate::ledger::Subject;
use crate::lists;

pub(crate) enum What {
    Http { provider: Provider, ask: Ask },
    Message { server: SocketAddr, bytes: Vec<u8>, tcp: bool },
}

#[derive(Debug)]
pub(crate) enum Out {
    Reply(Reply),
    Messages(Vec<Vec<u8>>),
    /// Nothing ever comes back.
    Silence,
}

pub(crate) struct Order {
    pub what: What,
    pub boot: u64,
    pub stale: Option<Duration>,
    pub short: bool,
    /// The answer is an error although the effect happened.
    pub leak: bool,
    /// Another write has the database.
    pub locked: bool,
    /// The account whose database this write has.
    pub holds: Option<String>,
    pub slot: Arc<Mutex<Option<Out>>>,
}

impl What {
    pub(crate) fn subject(&self, world: &World) -> Subject {
        match self {
            What::Http { provider, ask } => front::subject(world, *provider, ask),
            What::Message { server, bytes, .. } => message::subject(world, *server, bytes),
        }
    }
}

impl World {
    pub(crate) fn admit(&mut self, what: What) -> Order {
        let mut order = Order {
            what,
            boot: self.boot,
            stale: None,
            short: false,
            leak: false,
            locked: false,
            holds: None,
            slot: Arc::default(),
        };
        if let What::Http { provider: Provider::PowerDns, ask } = &order.what
            && ask.writes()
        {
            let account = super::powerdns::account(self, ask);
            let writes = self.writing.entry(account.clone()).or_default();
            *writes += 1;
            order.locked = *writes > 1;
            order.holds = Some(account);
        }
        order
    }

    pub(crate) fn run_order(&mut self, order: &Order) {
        if order.boot != self.boot {
            return;
        }
        self.as_of = order.stale.map(|age| self.now.saturating_sub(age));
        let out = match &order.what {
            What::Http { provider, ask } => {
                let reply = front::answer(self, *provider, ask, order.locked);
                Out::Reply(if order.short { lists::shorten(reply, &mut self.rng) } else { reply })
            }
            What::Message { server, bytes, tcp } => message::answer(self, *server, bytes, *tcp),
        };
        self.as_of = None;
        if let Some(account) = &order.holds
            && let Some(writes) = self.writing.get_mut(account)
        {
            *writes = writes.saturating_sub(1);
        }
        let out = match (out, &order.what) {
            (Out::Reply(reply), What::Http { provider, ask }) if order.leak && reply.status < 300 => {
                Out::Reply(front::leaked(*provider, ask))
            }
            (Out::Messages(_), What::Message { bytes, .. }) if order.leak => {
                Out::Messages(message::refusal(bytes, hickory_proto::op::ResponseCode::ServFail))
            }
            (out, _) => out,
        };
        if let Ok(mut slot) = order.slot.lock() {
            *slot = Some(out);
        }
    }
}
