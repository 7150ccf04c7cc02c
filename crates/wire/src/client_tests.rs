//! The client against a transport that follows a script, on virtual time.

use super::*;
use crate::observe::Silent;
use std::collections::VecDeque;

#[derive(Clone)]
enum Step {
    Answer(u16, Option<(&'static str, &'static str)>),
    NotSent,
    Lost,
    Hang,
}

#[derive(Default)]
struct Script {
    steps: Mutex<VecDeque<Step>>,
    health: Mutex<Option<u16>>,
    sent: Mutex<Vec<String>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    takes: Mutex<Duration>,
}

impl Transport for Arc<Script> {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let answer = |status: u16, header: Option<(&str, &str)>| {
            let mut response = http::Response::builder().status(status);
            if let Some((name, value)) = header {
                response = response.header(name, value);
            }
            Ok(response.body(Bytes::from_static(b"{}")).unwrap())
        };
        if request.uri().path() == "/api/health" {
            assert!(!request.headers().contains_key("x-api-key"));
            let health = *self.health.lock().unwrap();
            return match health {
                Some(status) => answer(status, None),
                None => std::future::pending().await,
            };
        }
        self.sent.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let takes = *self.takes.lock().unwrap();
        tokio::time::sleep(takes).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        let step = self.steps.lock().unwrap().pop_front().unwrap_or(Step::Answer(200, None));
        match step {
            Step::Answer(status, header) => answer(status, header),
            Step::NotSent => Err(TransportError::NotSent("refused".into())),
            Step::Lost => Err(TransportError::Lost("reset".into())),
            Step::Hang => std::future::pending().await,
        }
    }
}

fn judge(call: &Call, reply: &Reply) -> Result<(), Verdict> {
    let why = format!("status {}", reply.status);
    match reply.status {
        200..300 => Ok(()),
        401 => Err(Verdict { error: PortError::Auth { why }, again: false, counts: Counts::NotLetIn }),
        429 => Err(Verdict::again(PortError::Retry { after: crate::call::retry_after(reply), why })),
        502 if call.changes() => {
            Err(Verdict { error: PortError::Unknown { why }, again: true, counts: Counts::NoAnswer })
        }
        _ => Err(Verdict::last(PortError::Refused { why })),
    }
}

fn client(steps: impl IntoIterator<Item = Step>) -> (Client<Arc<Script>>, Arc<Script>) {
    observed(steps, Arc::new(Silent))
}

fn observed(
    steps: impl IntoIterator<Item = Step>,
    observer: Arc<dyn Observer>,
) -> (Client<Arc<Script>>, Arc<Script>) {
    let script = Arc::new(Script { steps: Mutex::new(steps.into_iter().collect()), ..Script::default() });
    let setup = Setup {
        base: "http://h:3000".into(),
        key_place: KeyPlace::header("x-api-key"),
        key: Secret::new("hunter2"),
        limits: Limits::default(),
        judge: Arc::new(judge),
        probe: Call::get("probe", "/probe"),
        health: Some((Call::get("health", "/api/health"), "the API hangs".into())),
        dice: Arc::new(|| u64::MAX / 2),
        observer,
        budget: None,
    };
    (Client::new(script.clone(), setup).unwrap(), script)
}

fn read() -> Call {
    Call::get("read", "/read")
}

fn create() -> Call {
    Call::post("create", "/create", Bytes::from_static(b"{}"))
}

fn sent(script: &Script) -> usize {
    script.sent.lock().unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn repeats_only_what_does_no_harm() {
    use Step::{Answer, Hang, Lost, NotSent};
    let update = || Call { idempotent: true, ..create() };
    let table: Vec<(Call, Step, usize, &str)> = vec![
        (read(), Lost, 2, "ok"),
        (read(), Hang, 2, "ok"),
        (read(), NotSent, 2, "ok"),
        (create(), NotSent, 2, "ok"),
        (create(), Answer(429, None), 2, "ok"),
        (create(), Lost, 1, "unknown"),
        (create(), Hang, 1, "unknown"),
        (create(), Answer(502, None), 1, "unknown"),
        (update(), Lost, 2, "ok"),
        (update(), Hang, 2, "ok"),
        (update(), Answer(502, None), 2, "ok"),
        (read(), Answer(400, None), 1, "refused"),
        (read(), Answer(401, None), 1, "auth"),
    ];
    for (call, step, times, expected) in table {
        let (client, script) = client([step]);
        let result = client.call(&call).await;
        assert_eq!((outcome(&result), sent(&script)), (expected, times), "{}", call.procedure);
        assert_eq!(client.state().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asks_for_wins() {
    let (client, _) = client([Step::Answer(429, Some(("retry-after", "20"))), Step::Answer(429, None)]);
    let began = Instant::now();
    client.call(&read()).await.unwrap();
    // Twenty as asked, then half of the schedule's second step.
    assert_eq!(began.elapsed().as_millis().div_ceil(100), 210);
    let (client, script) = self::client([Step::Answer(429, Some(("retry-after", "3600")))]);
    let after = Some(Duration::from_secs(3600));
    assert!(matches!(client.call(&read()).await, Err(PortError::Retry { after: a, .. }) if a == after));
    assert_eq!(sent(&script), 1);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_at_once() {
    let (client, script) = client([]);
    *script.takes.lock().unwrap() = Duration::from_millis(100);
    let call = read();
    let slow = Call { lane: Lane::Slow, ..read() };
    let all = (0..40).map(|i| client.call(if i % 2 == 0 { &call } else { &slow }));
    assert!(futures::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(script.most_at_once.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn long_lists_leave_a_place_to_what_takes_little() {
    let (client, script) = client([]);
    *script.takes.lock().unwrap() = Duration::from_millis(100);
    let lists = [read().list(), read().list(), read().list(), Call { lane: Lane::Slow, ..read() }];
    let began = Instant::now();
    let all = futures::future::join_all(lists.iter().map(|call| client.call(call)));
    let (one, write) = (read(), create());
    let little = async {
        client.call(&one).await.unwrap();
        let first = began.elapsed();
        client.call(&write).await.unwrap();
        (first, began.elapsed())
    };
    let (all, little) = futures::join!(all, little);
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(little, (Duration::from_millis(100), Duration::from_millis(200)));
    assert_eq!(began.elapsed(), Duration::from_millis(200));
    assert_eq!(script.most_at_once.load(Ordering::SeqCst), 4);
}

#[derive(Default)]
struct Waits(Mutex<Vec<f64>>);

impl Observer for Waits {
    fn call(&self, _: &str, _: &'static str, _: f64) {}
    fn request(&self, _: &str, _: f64) {}
    fn waited(&self, seconds: f64) {
        self.0.lock().unwrap().push(seconds);
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_place_is_counted_and_nothing_else() {
    let waits = Arc::new(Waits::default());
    let (client, script) = observed([], waits.clone());
    *script.takes.lock().unwrap() = Duration::from_secs(2);
    let call = read();
    futures::future::join_all((0..9).map(|_| client.call(&call))).await;
    // Four places: four at once, four after two seconds, one after four.
    assert_eq!(waits.0.lock().unwrap().as_slice(), [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0, 2.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_is_left_alone_and_found_again() {
    let (client, script) = client(std::iter::repeat_n(Step::NotSent, 7));
    assert!(client.call(&read()).await.is_err());
    // Five tries open it; the sixth, eight seconds later, is already the first probe.
    assert_eq!(sent(&script), 6);
    assert_eq!(script.sent.lock().unwrap().last().unwrap(), "GET http://h:3000/probe");
    assert!(matches!(client.call(&read()).await, Err(PortError::Retry { after: Some(_), .. })));
    assert_eq!(sent(&script), 6);
    tokio::time::advance(Duration::from_secs(16)).await;
    // The probe meets the last bad step: a create is not what finds out.
    assert!(client.call(&create()).await.is_err());
    assert_eq!(sent(&script), 7);
    tokio::time::advance(Duration::from_secs(31)).await;
    client.call(&create()).await.unwrap();
    assert_eq!(sent(&script), 9);
}

#[tokio::test(start_paused = true)]
async fn a_hang_is_told_from_a_dead_server() {
    for (health, hung) in [(Some(200), true), (Some(500), false), (None, false)] {
        let (client, script) = client(std::iter::repeat_n(Step::Hang, 20));
        *script.health.lock().unwrap() = health;
        for _ in 0..3 {
            let _ = client.call(&create()).await;
        }
        let open = matches!(client.state().breaker, berth_ports::Breaker::Open { why, .. } if why == "the API hangs");
        assert_eq!(open, hung, "{health:?}");
        assert_eq!(sent(&script), if hung { 2 } else { 3 });
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_and_the_body_stand_in_no_error() {
    let call =
        Call::post("create", "/create", Bytes::from_static(b"{\"env\":\"hunter2\"}")).with("q", "hunter2");
    for step in [Step::Lost, Step::Hang, Step::NotSent, Step::Answer(400, None), Step::Answer(401, None)] {
        let (client, _) = client(std::iter::repeat_n(step, 10));
        let error = client.call(&call).await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    let (client, _) = client([]);
    client.use_key(Secret::new("bad\nhunter2"));
    let error = client.call(&read()).await.unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn a_base_is_an_origin() {
    let made = |base: &str| {
        let (_, script) = client([]);
        let setup = Setup {
            base: base.into(),
            key_place: KeyPlace::bearer(),
            key: Secret::new("k"),
            limits: Limits::default(),
            judge: Arc::new(judge),
            probe: read(),
            health: None,
            dice: Arc::new(|| 0),
            observer: Arc::new(Silent),
            budget: None,
        };
        Client::new(script, setup).is_ok()
    };
    assert!(made("http://h:3000") && made("https://h/") && made("http://10.0.0.1:3000"));
    for bad in ["", "h:3000", "ftp://h", "http://u:p@h", "http://h/api", "http://h?x=1"] {
        assert!(!made(bad), "{bad}");
    }
}
