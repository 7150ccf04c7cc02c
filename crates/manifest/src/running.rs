//! How an app runs: what it may use, when it counts as up, and how a new version replaces the old.

use crate::app::patch;
use crate::check;
use crate::raw::{self, AppSpec};
use crate::read::{At, Sink, Tri};
use crate::resolve::Here;
use crate::tree::Span;
use berth_model::stack::{HealthCmd, HealthHttp, Patch, UpdatePolicy};
use std::time::Duration;

pub(crate) struct Limits {
    pub(crate) memory: Patch<berth_model::units::Bytes>,
    pub(crate) memory_reserve: Patch<berth_model::units::Bytes>,
    pub(crate) cpu: Patch<berth_model::units::NanoCpus>,
    pub(crate) cpu_reserve: Patch<berth_model::units::NanoCpus>,
}

pub(crate) fn limits(spec: &AppSpec, sink: &mut Sink) -> Limits {
    let mut out = Limits {
        memory: Patch::Unset,
        memory_reserve: Patch::Unset,
        cpu: Patch::Unset,
        cpu_reserve: Patch::Unset,
    };
    let Some(resources) = &spec.resources else {
        return out;
    };
    let Some(r) = &resources.v else {
        return Limits {
            memory: Patch::Clear,
            memory_reserve: Patch::Clear,
            cpu: Patch::Clear,
            cpu_reserve: Patch::Clear,
        };
    };
    out.memory = patch(r.memory.as_ref(), |m| Some(m.v.0));
    out.cpu = patch(r.cpu.as_ref(), |c| Some(c.v.0));
    match r.reserve.as_ref().map(|r| r.v.as_ref()) {
        None => {}
        Some(None) => (out.memory_reserve, out.cpu_reserve) = (Patch::Clear, Patch::Clear),
        Some(Some(reserve)) => {
            out.memory_reserve = patch(reserve.memory.as_ref(), |m| Some(m.v.0));
            out.cpu_reserve = patch(reserve.cpu.as_ref(), |c| Some(c.v.0));
            let at = |t: Span, what: &str, sink: &mut Sink| {
                let help = "lower what is set aside, or raise the limit";
                sink.error_help(t, format!("more {what} is set aside than may be used"), help);
            };
            if let (Some(limit), Some(set), Some(tri)) =
                (out.memory.value(), out.memory_reserve.value(), &reserve.memory)
                && set > limit
            {
                at(tri.at, "memory", sink);
            }
            if let (Some(limit), Some(set), Some(tri)) =
                (out.cpu.value(), out.cpu_reserve.value(), &reserve.cpu)
                && set > limit
            {
                at(tri.at, "processor share", sink);
            }
        }
    }
    out
}

/// A time that may not be zero.
fn time(given: Option<&At<crate::read::Period>>, default: u64, sink: &mut Sink) -> Duration {
    match given {
        None => Duration::from_secs(default),
        Some(t) => {
            if t.v.0.is_zero() {
                sink.error_help(t.at, "this time may not be zero", "write one like 30s");
            }
            t.v.0
        }
    }
}

pub(crate) fn health_cmd(given: Option<&Tri<At<raw::Health>>>, here: &mut Here<'_>) -> Patch<Box<HealthCmd>> {
    let Some(given) = given else { return Patch::Unset };
    let Some(h) = given.v.as_ref().map(|h| &h.v) else {
        return Patch::Clear;
    };
    let interval = time(h.interval.as_ref(), 30, here.sink);
    let timeout = time(h.timeout.as_ref(), 30, here.sink);
    let start_period = h.start_period.as_ref().map_or(Duration::ZERO, |t| t.v.0);
    let retries = h.retries.as_ref().map_or(3, |r| {
        if r.v == 0 || r.v > 1_000 {
            here.sink.error_help(r.at, "retries are 1 to 1000", "3 is the default");
        }
        r.v
    });
    if h.cmd.is_none() {
        let times = [
            h.interval.as_ref().map(|t| t.at),
            h.timeout.as_ref().map(|t| t.at),
            h.retries.as_ref().map(|t| t.at),
            h.start_period.as_ref().map(|t| t.at),
        ];
        if let Some(at) = times.into_iter().flatten().next()
            && !here.partial
        {
            let help = "add 'cmd:', or use 'every' and 'within' for 'http'";
            here.sink.error_help(at, "this belongs to the container's own check, and there is none", help);
        }
    }
    patch(h.cmd.as_ref(), |cmd| {
        let words: Option<Vec<String>> = cmd.v.0.iter().map(|w| here.text(&w.v, w.at)).collect();
        let words = words?;
        let shell = matches!(cmd.v.0.as_slice(), [one] if one.at == cmd.at);
        if words.iter().all(|w| w.trim().is_empty()) {
            here.sink.error_help(cmd.at, "the check has no command", "write one like [pg_isready]");
        }
        let test = if shell {
            vec!["CMD-SHELL".to_owned(), words.concat()]
        } else if matches!(words.first().map(String::as_str), Some("CMD" | "CMD-SHELL" | "NONE")) {
            words
        } else {
            std::iter::once("CMD".to_owned()).chain(words).collect()
        };
        Some(Box::new(HealthCmd { test, interval, timeout, retries, start_period }))
    })
}

pub(crate) fn health_http(h: &raw::Health, here: &mut Here<'_>) -> Option<HealthHttp> {
    let every = time(h.every.as_ref(), 5, here.sink);
    let within = time(h.within.as_ref(), 120, here.sink);
    let expect = h.expect.as_ref().map_or(Some((200, 399)), |e| here.checked(e, check::statuses));
    let Some(http) = &h.http else {
        let first = [
            h.every.as_ref().map(|t| t.at),
            h.within.as_ref().map(|t| t.at),
            h.expect.as_ref().map(|t| t.at),
        ];
        if let Some(at) = first.into_iter().flatten().next()
            && !here.partial
        {
            let help = "add 'http:', or use 'interval' and 'timeout' for 'cmd'";
            here.sink.error_help(at, "this belongs to the check from outside, and there is none", help);
        }
        return None;
    };
    let paths: Vec<_> = http.0.iter().filter_map(|p| here.checked(p, check::request_path)).collect();
    if http.0.is_empty()
        && let Some(at) = h.every.as_ref().map(|t| t.at).or(h.within.as_ref().map(|t| t.at))
    {
        here.sink.error_help(at, "the check from outside has no path", "write http: /health");
    }
    if within < every {
        let at = h.within.as_ref().map(|t| t.at).or(h.every.as_ref().map(|t| t.at));
        if let Some(at) = at {
            let help = "let 'within' hold several asks: every: 5s, within: 2m";
            here.sink.error_help(at, "the gate gives up before it asks a second time", help);
        }
    }
    (!paths.is_empty()).then_some(())?;
    Some(HealthHttp { paths, expect: expect?, every, within })
}

pub(crate) fn update(u: &raw::UpdateSpec, one_with_volume: bool, sink: &mut Sink) -> UpdatePolicy {
    if let Some(p) = &u.parallel
        && p.v == 0
    {
        sink.error_help(p.at, "0 tasks at a time never get done", "1 is the default");
    }
    UpdatePolicy {
        start_first: match u.order {
            Some(order) => order == raw::Order::StartFirst,
            None => !one_with_volume,
        },
        parallel: u.parallel.as_ref().map_or(1, |p| p.v),
        monitor: u.monitor.as_ref().map_or(Duration::from_secs(15), |m| m.v.0),
        rollback: u.on_failure != Some(raw::OnFailure::Pause),
    }
}
