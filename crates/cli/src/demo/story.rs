//! The demo's story: each scene does something to the world, waits for Berth, and tells what came of it from Berth's
//! own records. A scene that does not come to its end ends the story.

use super::stage::{MANIFESTS, Stage};
use crate::live::{self, Live, Mark, glance};
use crate::out::{self, BOLD, DIM, paint};
use anyhow::{Context, Result};
use berth_model::condition::Reason;
use berth_model::event::Event;
use berth_model::ids::{Key, StackName};
use berth_model::record::Run;
use berth_ports::{Answer, Query, Store};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Far more than any scene takes; a demo that hangs says so.
const PATIENCE: Duration = Duration::from_secs(45);
const TICK: Duration = Duration::from_millis(50);

/// The narrator.
pub(super) struct Story<'a> {
    stage: &'a Stage,
    live: &'a mut Live,
    began: Instant,
    scene: usize,
}

fn stack(name: &str) -> Result<Key> {
    Ok(Key::Stack(StackName::new(name).context("a name of the demo")?))
}

impl<'a> Story<'a> {
    pub(super) fn new(stage: &'a Stage, live: &'a mut Live) -> Self {
        Self { stage, live, began: Instant::now(), scene: 0 }
    }

    /// A line of the story: above the live table where there is one, else data like any other.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(super) fn line(&self, text: &str) -> Result<()> {
        if self.live.is_shown() {
            self.live.line(text);
            return Ok(());
        }
        out::say(text)
    }

    fn title(&mut self, text: &str) -> Result<()> {
        self.scene += 1;
        self.line("")?;
        self.line(&paint(BOLD, format!("{}  {text}", self.scene)))
    }

    fn told(&self, text: &str) -> Result<()> {
        self.line(&format!("   {text}"))
    }

    fn soft(&self, text: &str) -> Result<()> {
        self.told(&paint(DIM, text))
    }

    /// Waits for something while the fleet is shown; `None` where it did not come.
    async fn until<T>(
        &mut self,
        what: &str,
        mut found: impl FnMut(&Stage) -> Option<T>,
    ) -> Result<Option<T>> {
        let began = Instant::now();
        loop {
            let engine = &self.stage.app.engine;
            self.live.look(engine.keys(), &engine.statuses());
            if let Some(found) = found(self.stage) {
                return Ok(Some(found));
            }
            if began.elapsed() > PATIENCE {
                self.told(&format!(
                    "{} waited {} for {what}; it did not happen",
                    Mark::Bad.sign(),
                    out::seconds(PATIENCE)
                ))?;
                for status in engine.statuses() {
                    let seen = glance(Some(&status));
                    self.told(&format!(
                        "  {} {}: {}: {}",
                        seen.mark.sign(),
                        status.key,
                        seen.reason,
                        seen.message
                    ))?;
                }
                return Ok(None);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    async fn runs(&self, key: &Key) -> Result<Vec<Run>> {
        crate::cmd::explain::runs(&self.stage.app.store, key, 20).await
    }

    /// Events of a key after a number.
    async fn events(&self, key: &Key, after: u64) -> Result<Vec<Event>> {
        let query = Query::Events { after, key: Some(key.clone()), limit: 1_000 };
        match self.stage.app.store.query(query).await? {
            Answer::Events(events) => Ok(events),
            _ => Ok(Vec::new()),
        }
    }

    async fn last_event(&self) -> Result<u64> {
        Ok(self.stage.app.store.snapshot().await?.last_event)
    }

    /// Calls since a number, all and those that write.
    fn calls_since(&self, after: u64) -> (usize, usize) {
        let calls = self.stage.sim.calls();
        let ours = calls.iter().filter(|c| c.no > after);
        (ours.clone().count(), ours.filter(|c| c.mutation).count())
    }

    /// Plays it all; whether all of it happened.
    ///
    /// # Errors
    /// The stage breaks, or nobody reads.
    pub(super) async fn tell(&mut self) -> Result<bool> {
        self.line(&format!(
            "{}  a simulated Dokploy on http://{}, nothing else",
            paint(BOLD, "berth demo"),
            self.stage.dokploy
        ))?;
        let done = self.beginning().await?
            && self.silence().await?
            && self.drift().await?
            && self.bad_release().await?
            && self.fix().await?
            && self.removal().await?;
        if done {
            self.summary()?;
        }
        Ok(done)
    }

    async fn beginning(&mut self) -> Result<bool> {
        self.title("An empty server, and a directory of manifests")?;
        self.soft(&format!("{}: {} files", self.stage.manifests().display(), MANIFESTS.len()))?;
        let mut ready: BTreeMap<Key, Duration> = BTreeMap::new();
        let began = self.began;
        let done = self
            .until("five things to become Ready", |stage| {
                for status in stage.app.engine.statuses() {
                    if glance(Some(&status)).mark == Mark::Good {
                        ready.entry(status.key).or_insert_with(|| began.elapsed());
                    }
                }
                (ready.len() == 5 && stage.app.is_settled()).then_some(())
            })
            .await?;
        if done.is_none() {
            return Ok(false);
        }
        let took = began.elapsed();
        let mut order: Vec<_> = ready.iter().collect();
        order.sort_by_key(|(_, at)| **at);
        for (key, at) in order {
            let phases = self.runs(key).await?.iter().find(|r| !r.phases.is_empty()).map(short_phases);
            let phases = paint(DIM, phases.unwrap_or_default());
            self.told(&format!(
                "{} {:<23} {:>5}  {phases}",
                Mark::Good.sign(),
                live::name(key),
                out::seconds(*at)
            ))?;
        }
        let (calls, writes) = self.calls_since(0);
        self.told(&format!(
            "all Ready after {}; {calls} calls, {writes} of them writes",
            out::seconds(took)
        ))?;
        Ok(true)
    }

    async fn silence(&mut self) -> Result<bool> {
        self.title("Nothing differs: nothing is written")?;
        let before = self.stage.sim.call_count();
        let until = Instant::now() + Duration::from_millis(4_200);
        self.until("two passes", |_| (Instant::now() >= until).then_some(())).await?;
        let (calls, writes) = self.calls_since(before);
        let sign = if writes == 0 { Mark::Good } else { Mark::Bad };
        self.told(&format!(
            "{} two passes over the fleet: {calls} reads in all, {writes} writes",
            sign.sign()
        ))?;
        Ok(writes == 0)
    }

    async fn drift(&mut self) -> Result<bool> {
        self.title("Two changes by hand in Dokploy")?;
        let (web, domain) = self.stage.sim.with(|w| {
            let web = w.find_app("notes-web").map(|a| a.id.to_string());
            let john = w.find_app("john-dev").map(|a| a.id.to_string());
            let domain = john.and_then(|id| w.db.domains.of(&id).next().map(|d| d.domain_id.clone()));
            (web, domain)
        });
        let (web, domain) =
            (web.context("notes-web is not there")?, domain.context("john-dev has no domain")?);
        self.soft("someone deploys registry.sim/notes/web:6 in the place of :7")?;
        self.stage
            .by_hand(
                "application.update",
                json!({"applicationId": web, "dockerImage": "registry.sim/notes/web:6"}),
            )
            .await?;
        self.stage.by_hand("application.deploy", json!({"applicationId": web})).await?;
        self.soft("someone deletes the domain john-dev.demo.test")?;
        self.stage.by_hand("domain.delete", json!({"domainId": domain})).await?;
        let began = Instant::now();
        let mut mended: BTreeMap<&'static str, Duration> = BTreeMap::new();
        let mut broke = false;
        let done = self
            .until("both to be put right", |stage| {
                let image = stage.sim.with(|w| w.find_app("notes-web").and_then(|a| image_of(w, a)));
                let good = image.as_deref() == Some("registry.sim/notes/web:7");
                broke |= !good;
                if broke && good {
                    mended.entry("notes").or_insert_with(|| began.elapsed());
                }
                if stage.sim.probe("john-dev.demo.test", "/").status() == Some(200) {
                    mended.entry("john-dev").or_insert_with(|| began.elapsed());
                }
                (mended.len() == 2 && stage.app.is_settled()).then_some(())
            })
            .await?;
        if done.is_none() {
            return Ok(false);
        }
        for (name, at) in mended {
            let key = stack(name)?;
            self.told(&format!(
                "{} {name:<10} as its manifest says again after {}",
                Mark::Good.sign(),
                out::seconds(at)
            ))?;
            self.why_and_what(&key).await?;
        }
        Ok(true)
    }

    /// Of the newest run that changed something: why it ran, what it did.
    async fn why_and_what(&self, key: &Key) -> Result<()> {
        let runs = self.runs(key).await?;
        let Some(run) = runs.iter().find(|r| !r.did.is_empty()) else {
            return Ok(());
        };
        self.soft(&format!("  why: {}", run.because.join(", ")))?;
        for (at, line) in run.did.iter().enumerate() {
            let lead = if at == 0 { "did:" } else { "    " };
            self.soft(&format!("  {lead} {}", out::one_line(line)))?;
        }
        Ok(())
    }

    async fn bad_release(&mut self) -> Result<bool> {
        self.title("A bad release: notes.yaml asks for web:8, which exits at its start")?;
        let key = stack("notes")?;
        let after = self.last_event().await?;
        let (mut asked, mut answered) = (0u32, 0u32);
        self.stage.edit("notes.yaml", |t| t.replace("notes/web:7", "notes/web:8"))?;
        let began = Instant::now();
        let done = self
            .until("the bad version to be taken back", |stage| {
                asked += 1;
                answered += u32::from(stage.sim.probe("notes.demo.test", "/").status() == Some(200));
                let status = stage.app.engine.status_of(&key)?;
                let given_up = status.conditions.iter().any(|c| live::is_given_up(c.reason));
                let image = stage.sim.with(|w| w.find_app("notes-web").and_then(|a| image_of(w, a)));
                let back = image.as_deref() == Some("registry.sim/notes/web:7");
                (given_up && back && stage.app.is_settled()).then_some(())
            })
            .await?;
        if done.is_none() {
            return Ok(false);
        }
        self.told(&format!("{} web:7 is back after {}", Mark::Good.sign(), out::seconds(began.elapsed())))?;
        for event in
            self.events(&key, after).await?.iter().filter(|e| e.warning || e.reason == Reason::RolledBack)
        {
            self.soft(&format!("  {}: {}", event.reason.as_str(), wrapped(&event.message)))?;
        }
        self.told(&format!(
            "https://notes.demo.test was asked {asked} times meanwhile and answered {answered} times"
        ))?;
        Ok(true)
    }

    async fn fix(&mut self) -> Result<bool> {
        self.title("The fix: notes.yaml asks for web:9")?;
        let key = stack("notes")?;
        self.stage.edit("notes.yaml", |t| t.replace("notes/web:8", "notes/web:9"))?;
        let began = Instant::now();
        let done = self
            .until("web:9 to run", |stage| {
                let ready = stage.app.engine.status_of(&key).is_some_and(|s| s.is_ready());
                let image = stage.sim.with(|w| w.find_app("notes-web").and_then(|a| image_of(w, a)));
                (ready && image.as_deref() == Some("registry.sim/notes/web:9") && stage.app.is_settled())
                    .then_some(())
            })
            .await?;
        if done.is_none() {
            return Ok(false);
        }
        let phases = self
            .runs(&key)
            .await?
            .iter()
            .find(|r| !r.phases.is_empty())
            .map(short_phases)
            .unwrap_or_default();
        self.told(&format!(
            "{} Ready after {}  {}",
            Mark::Good.sign(),
            out::seconds(began.elapsed()),
            paint(DIM, phases)
        ))?;
        Ok(true)
    }

    async fn removal(&mut self) -> Result<bool> {
        self.title("A manifest is deleted: batch.yaml")?;
        let key = stack("batch")?;
        let before = self.stage.sim.call_count();
        std::fs::remove_file(self.stage.manifests().join("batch.yaml"))?;
        let began = Instant::now();
        let done = self
            .until("batch to be gone", |stage| {
                let there = stage.sim.with(|w| w.find_app("batch").is_some());
                (!there && !stage.app.engine.keys().contains(&key) && stage.app.is_settled()).then_some(())
            })
            .await?;
        if done.is_none() {
            return Ok(false);
        }
        let (_, writes) = self.calls_since(before);
        self.told(&format!(
            "{} its application and its own project are gone after {}, with {writes} writes",
            Mark::Good.sign(),
            out::seconds(began.elapsed())
        ))?;
        Ok(true)
    }

    fn summary(&self) -> Result<()> {
        let (calls, writes) = self.calls_since(0);
        self.line("")?;
        self.line(&paint(BOLD, "All of it happened"))?;
        self.told(&format!(
            "5 made, 2 repaired, 1 bad release taken back, 1 fix out, 1 removed, in {}",
            out::seconds(self.began.elapsed())
        ))?;
        self.told(&format!("{calls} calls to Dokploy in all, {writes} of them writes (3 by hand)"))?;
        self.line("")
    }

    /// Shows the fleet until Ctrl-C.
    ///
    /// # Errors
    /// Nobody reads it.
    pub(super) async fn watch(&mut self) -> Result<()> {
        loop {
            let engine = &self.stage.app.engine;
            self.live.look(engine.keys(), &engine.statuses());
            tokio::select! {
                () = crate::interrupted() => return Ok(()),
                () = tokio::time::sleep(live::EVERY) => {}
            }
        }
    }
}

/// The image that an application's service runs.
fn image_of(world: &berth_sim::World, app: &berth_sim::Application) -> Option<String> {
    world.swarm.services.get(&*app.app_name).map(|s| s.spec.image.clone())
}

/// `create 0.3 deploy 1.2`, without those that took no time worth naming.
fn short_phases(run: &Run) -> String {
    let named = run.phases.iter().filter(|(_, ms)| *ms >= 50);
    let each = named.map(|(p, ms)| format!("{} {:.1}", p.as_str(), Duration::from_millis(*ms).as_secs_f64()));
    each.collect::<Vec<_>>().join(" · ")
}

/// A long message over lines that stand under each other.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().map_or(0, |l| l.chars().count());
        if last > 0 && last + 1 + word.chars().count() > 58 {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.join("\n       ")
}
