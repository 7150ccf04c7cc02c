//! The simulator as a process of its own: the API, the proxy, and a control port that takes a JSON line and answers
//! with one.

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, Request, Response, StatusCode, Version};
use berth_sim::{CallRecord, Options, Row, Sim, dns};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, Predicate as _};

/// One account's server.
struct Served {
    sim: Sim,
    refuses_batches: AtomicBool,
    refused: AtomicU64,
    hangs: AtomicBool,
    /// Off while the stage is set: most of that would be compressing lists.
    compresses: AtomicBool,
}

/// Serves until the process ends.
pub(crate) async fn run() -> Result<()> {
    let first = Arc::new(served(1));
    let second = Arc::new(served(2));
    let (api, api_port) = bind().await?;
    let (api2, api2_port) = bind().await?;
    let (proxy, proxy_port) = bind().await?;
    let (control, control_port) = bind().await?;
    tokio::spawn(serve(api, first.clone()));
    tokio::spawn(serve(api2, second.clone()));
    tokio::spawn(berth_sim::serve_proxy(first.sim.clone(), proxy, CancellationToken::new()));
    let hello = json!({
        "api": api_port, "second": api2_port, "proxy": proxy_port, "control": control_port,
        "key": first.sim.owner_key(), "second_key": second.sim.owner_key(),
    });
    println!("{hello}");
    let names = Arc::new(Names::default());
    loop {
        let (stream, _) = control.accept().await.context("the control port")?;
        let (first, second, names) = (first.clone(), second.clone(), names.clone());
        tokio::spawn(async move { talk(stream, &first, &second, &names).await });
    }
}

async fn bind() -> Result<(TcpListener, u16)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no loopback port")?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

fn served(seed: u64) -> Served {
    let sim = Sim::new(Options {
        seed,
        capacity_prefix: 12,
        build_time: Duration::ZERO,
        queue_delay: Duration::ZERO,
        start_time: Duration::ZERO,
        monitor: Duration::from_millis(1),
        epoch: jiff::Timestamp::now(),
        ..Options::default()
    });
    Served {
        sim,
        refuses_batches: AtomicBool::new(false),
        refused: AtomicU64::new(0),
        hangs: AtomicBool::new(false),
        compresses: AtomicBool::new(false),
    }
}

async fn serve(listener: TcpListener, served: Arc<Served>) {
    let asked = served.clone();
    let compresses = move |_: StatusCode, _: Version, _: &HeaderMap, _: &Extensions| {
        asked.compresses.load(Ordering::Relaxed)
    };
    let layer = CompressionLayer::new().compress_when(DefaultPredicate::new().and(compresses));
    let router = Router::new().fallback(api).layer(layer).with_state(served);
    loop {
        let taken = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.into_std()
        });
        match taken {
            Ok(stream) => {
                let router = router.clone();
                std::thread::spawn(move || {
                    if let Err(error) = talk_alone(stream, router) {
                        eprintln!("a connection of the API broke: {error:#}");
                    }
                });
            }
            Err(error) => eprintln!("the API's listener broke: {error}"),
        }
    }
}

/// One connection, by a thread and a reactor of its own: a list of thousands is written for a while, and what is asked
/// meanwhile on another connection is noted when it comes, not after that.
fn talk_alone(stream: std::net::TcpStream, router: Router) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let stream = TokioIo::new(TcpStream::from_std(stream)?);
        let service = TowerToHyperService::new(router);
        // A client that goes away says nothing of the server.
        let _ = http1::Builder::new().serve_connection(stream, service).await;
        Ok(())
    })
}

async fn api(State(served): State<Arc<Served>>, request: Request<Body>) -> Response<Body> {
    if served.hangs.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
    if served.refuses_batches.load(Ordering::Relaxed) && request.uri().path().starts_with("/api/trpc") {
        served.refused.fetch_add(1, Ordering::Relaxed);
        return status(StatusCode::NOT_FOUND);
    }
    let (parts, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        return status(StatusCode::BAD_REQUEST);
    };
    match served.sim.handle(Request::from_parts(parts, body.to_bytes())).await {
        Ok(response) => response.map(Body::from),
        Err(_) => status(StatusCode::BAD_GATEWAY),
    }
}

fn status(code: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::new()));
    *response.status_mut() = code;
    response
}

/// DNS, once it was ordered.
#[derive(Default)]
struct Names(OnceLock<dns::Sim>);

impl Names {
    /// Zones at one provider, whose API is served from now on.
    async fn serve(&self, order: &Value) -> Result<Value> {
        let provider = match order["provider"].as_str() {
            Some("cloudflare") => dns::Provider::Cloudflare,
            Some("powerdns") => dns::Provider::PowerDns,
            other => bail!("no provider {other:?}"),
        };
        let sim = dns::Sim::new(dns::Options { epoch: jiff::Timestamp::now(), ..dns::Options::default() });
        let mut token = String::new();
        for zone in order["zones"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            token = sim.zone(provider, zone);
            // A small plan's 200 records would not hold them.
            sim.with(|w| w.zone_mut(zone).quota = usize::MAX);
        }
        let (listener, port) = bind().await?;
        let latency = Duration::from_millis(order["ms"].as_u64().unwrap_or(0));
        tokio::spawn(dns::serve(sim.clone(), provider, listener, latency, CancellationToken::new()));
        ensure!(self.0.set(sim).is_ok(), "DNS was ordered before");
        Ok(json!({"port": port, "token": token}))
    }

    /// Calls since the last look, by procedure and by whether they change anything.
    fn counts(&self) -> Value {
        let Some(sim) = self.0.get() else {
            return json!({});
        };
        let calls = sim.calls();
        sim.clear_calls();
        counts(&calls, 0)
    }
}

async fn talk(stream: TcpStream, first: &Served, second: &Served, names: &Names) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let answer = match serde_json::from_str::<Value>(&line) {
            Ok(order) => match order["op"].as_str() {
                Some("dns") => names.serve(&order).await.unwrap_or_else(|e| json!({"error": e.to_string()})),
                Some("dns-counts") => names.counts(),
                _ => obey(&order, first, second),
            },
            Err(error) => json!({"error": error.to_string()}),
        };
        if write.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn obey(order: &Value, first: &Served, second: &Served) -> Value {
    let millis = |d: Duration| d.as_secs_f64() * 1_000.0;
    match order["op"].as_str().unwrap_or_default() {
        "latency" => {
            let latency = Duration::from_millis(order["ms"].as_u64().unwrap_or(0));
            first.sim.set_latency(latency);
            second.sim.set_latency(latency);
            for served in [first, second] {
                served.compresses.store(!latency.is_zero(), Ordering::Relaxed);
            }
            json!({})
        }
        "clear" => {
            first.sim.clear_calls();
            first.refused.store(0, Ordering::Relaxed);
            // Both clocks at one instant: what others measured by the wall's can be compared.
            let wall = jiff::Timestamp::now().as_microsecond();
            json!({"at": millis(first.sim.with(|w| w.now())), "wall": wall as f64 / 1_000.0})
        }
        "counts" => counts(&first.sim.calls(), first.refused.load(Ordering::Relaxed)),
        "second" => counts(&second.sim.calls(), 0),
        "clear-second" => {
            second.sim.clear_calls();
            json!({})
        }
        "calls" => {
            let all = first.sim.calls();
            let row = |c: &CallRecord| json!([millis(c.at), c.procedure, c.mutation, c.items, c.bytes]);
            Value::from(all.iter().map(row).collect::<Vec<_>>())
        }
        "refuse-batches" => {
            first.refuses_batches.store(true, Ordering::Relaxed);
            json!({})
        }
        "hang-second" => {
            second.hangs.store(true, Ordering::Relaxed);
            json!({})
        }
        "mutate" => json!({"done": mutate(&first.sim, order)}),
        other => json!({"error": format!("unknown order {other:?}")}),
    }
}

fn counts(calls: &[CallRecord], refused: u64) -> Value {
    let mut by: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut items, mut writes, mut bytes) = (0, 0u64, 0);
    for call in calls {
        *by.entry(&call.procedure).or_default() += 1;
        items += call.items;
        bytes += call.bytes;
        writes += u64::from(call.mutation);
    }
    let requests = calls.len() as u64 + refused;
    json!({
        "requests": requests, "reads": requests - writes, "writes": writes, "items": items, "bytes": bytes, "by": by,
        "deploys": by.get("application.deploy").copied().unwrap_or(0),
    })
}

/// Another person changes something by hand.
fn mutate(sim: &Sim, order: &Value) -> bool {
    let name = order["app"].as_str().unwrap_or_default();
    sim.with(|world| {
        let Some((id, service)) = world.find_app(name).map(|a| (a.id().to_owned(), a.app_name.to_string()))
        else {
            return false;
        };
        let now = world.now();
        match order["what"].as_str().unwrap_or_default() {
            "application" => world.delete_app(&id),
            "mark" => world.edit_app(&id, "description", "edited by hand".into()),
            "domain" => {
                let domain = world.db.domains.of(&id).next().map(|d| d.domain_id.clone());
                domain.is_some_and(|d| world.db.domains.remove(&d).is_some())
            }
            "image" => {
                let Some(spec) = world.swarm.services.get(&service).map(|s| (*s.spec).clone()) else {
                    return false;
                };
                let spec = berth_sim::Spec { image: "registry.sim/other:9".to_owned(), ..spec };
                world.swarm.update(&service, spec, now);
                true
            }
            "replicas" => world.swarm.scale(&service, 3, now),
            _ => false,
        }
    })
}
