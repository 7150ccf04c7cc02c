//! Whatever is wanted, whatever goes wrong, in whatever order: the world ends as wanted, and nothing foreign is touched.
//!
//! `BERTH_LONG=1` tries more. A failing case is kept in `proptest-regressions/` and tried first from then on.

use crate::daemon::{Daemon, Fault, SETTLE};
use crate::rules;
use crate::script::stacks;
use crate::world::{World, text};
use berth_model::field::{Field, Value};
use berth_model::ids::AppId;
use berth_model::mark::MarkSeen;
use berth_model::stack::Stack;
use berth_model::step::Plan;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// A stack in a few numbers, so that a failing one shrinks to something that can be read.
#[derive(Debug, Clone)]
struct Spec {
    own: bool,
    staging: bool,
    apps: Vec<AppSpec>,
}

#[derive(Debug, Clone)]
struct AppSpec {
    image: u8,
    replicas: u8,
    env: BTreeMap<u8, u8>,
    hosts: BTreeSet<u8>,
    volumes: BTreeSet<u8>,
    file: Option<u8>,
    port: Option<u8>,
    needs: bool,
    health: bool,
}

impl Spec {
    fn yaml(&self) -> String {
        let environment = if self.staging { "staging" } else { "production" };
        let mut out = String::from("apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {name: shop}\nspec:\n");
        if self.own {
            out.push_str("  target: {ownProject: shop-own}\n");
        } else {
            let _ = writeln!(out, "  target: {{project: portal, environment: {environment}, create: true}}");
        }
        out.push_str("  apps:\n");
        for (i, app) in self.apps.iter().enumerate() {
            let _ = writeln!(out, "    a{i}:\n      image: registry.test/a{i}:{}\n      port: 80", app.image);
            let _ = writeln!(out, "      replicas: {}\n      nameOnDokploy: shop-a{i}", app.replicas);
            let map = |items: Vec<String>| format!("{{{}}}", items.join(", "));
            let env = app.env.iter().map(|(k, v)| format!("V{k}: \"{v}\"")).collect();
            let _ = writeln!(out, "      env: {}", map(env));
            let hosts = app.hosts.iter().map(|h| format!("h{h}.a{i}.test: {{https: none}}")).collect();
            let _ = writeln!(out, "      hosts: {}", map(hosts));
            let volumes = app.volumes.iter().map(|v| format!("v{v}-a{i}: /v{v}")).collect();
            let _ = writeln!(out, "      volumes: {}", map(volumes));
            if let Some(file) = app.file {
                let _ = writeln!(out, "      files: {{/etc/f: {{content: \"{file}\"}}}}");
            }
            if let Some(port) = app.port {
                let _ = writeln!(out, "      ports: {{\"{}\": {}}}", 20_000 + i, 1_000 + u32::from(port));
            }
            if app.needs && i > 0 {
                let _ = writeln!(out, "      needs: [a{}]", i - 1);
            }
            if app.health && !app.hosts.is_empty() {
                let _ = writeln!(out, "      health: {{http: /up, every: 1s, within: 30s}}");
            }
        }
        out
    }

    fn stack(&self) -> Arc<Stack> {
        stacks(&self.yaml()).pop_first().expect("one stack").1
    }
}

fn spec(own: bool) -> impl Strategy<Value = Spec> {
    let app = (
        (0..3u8, 1..3u8),
        btree_map(0..3u8, 0..3u8, 0..3),
        btree_set(0..3u8, 0..3),
        btree_set(0..3u8, 0..2),
        proptest::option::of(0..2u8),
        proptest::option::of(0..2u8),
        any::<bool>(),
        any::<bool>(),
    );
    let app = app.prop_map(|((image, replicas), env, hosts, volumes, file, port, needs, health)| AppSpec {
        image,
        replicas,
        env,
        hosts,
        volumes,
        file,
        port,
        needs,
        health,
    });
    (any::<bool>(), vec(app, 1..4)).prop_map(move |(staging, apps)| Spec { own, staging, apps })
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::NotSent),
        1 => Just(Fault::Lost),
        1 => Just(Fault::Unanswered),
        1 => Just(Fault::Late),
    ]
}

/// What somebody else does meanwhile.
#[derive(Debug, Clone)]
enum Meddling {
    SetImage(u8),
    SetReplicas(u8),
    SetEnv(u8),
    AddDomain(u8),
    DropChild(u8, u8),
    DropApp(u8),
    DropService(u8),
    LoseJobs,
}

fn meddling() -> impl Strategy<Value = Meddling> {
    prop_oneof![
        (0..3u8).prop_map(Meddling::SetImage),
        (0..3u8).prop_map(Meddling::SetReplicas),
        (0..3u8).prop_map(Meddling::SetEnv),
        (0..3u8).prop_map(Meddling::AddDomain),
        (0..3u8, 0..4u8).prop_map(|(a, c)| Meddling::DropChild(a, c)),
        (0..3u8).prop_map(Meddling::DropApp),
        (0..3u8).prop_map(Meddling::DropService),
        Just(Meddling::LoseJobs),
    ]
}

/// One chapter: something is wanted, some writes fail, somebody meddles, a few runs happen.
#[derive(Debug, Clone)]
struct Chapter {
    want: Option<Spec>,
    faults: Vec<Fault>,
    runs: u8,
    pause: u16,
    meddling: Vec<Meddling>,
}

fn chapter(own: bool) -> impl Strategy<Value = Chapter> {
    let want = prop_oneof![5 => spec(own).prop_map(Some), 1 => Just(None)];
    (want, vec(fault(), 0..12), 0..4u8, 0..90u16, vec(meddling(), 0..2))
        .prop_map(|(want, faults, runs, pause, meddling)| Chapter { want, faults, runs, pause, meddling })
}

struct Tale {
    world: World,
    daemon: Daemon,
    want: Option<Arc<Stack>>,
}

impl Tale {
    fn new() -> Self {
        let mut world = World::default();
        world.project("portal", &["production"]);
        world.project("elsewhere", &["production", "staging"]);
        // Named like ours, marked by nobody, by others, and with a copy of a mark that is not its own.
        world.foreign("portal", "production", "shop-a0", None);
        world.foreign("portal", "production", "shop-a1", Some("berth/1 them/shop/a1 op=x id=app-9"));
        world.foreign("elsewhere", "staging", "shop-a2", Some("berth/1 us/shop/a2 op=op1 id=app-999"));
        world.foreign("elsewhere", "production", "other", Some("berth/1 us/other/a0 op=op1 id=app-998"));
        Self { world, daemon: Daemon::new("shop"), want: None }
    }

    fn run(&mut self) -> Option<Plan> {
        let want = self.want.clone();
        let ended = self.daemon.run(want.as_deref(), &mut self.world, &mut rules::hold).ok();
        let wait = ended.as_ref().and_then(|p| p.wait.as_ref()).map(|(d, _)| *d);
        self.world.later(wait.unwrap_or(Duration::from_secs(1)));
        ended
    }

    fn play(&mut self, chapter: &Chapter) {
        self.want = chapter.want.as_ref().map(Spec::stack);
        self.daemon.faults = chapter.faults.iter().copied().collect();
        for _ in 0..chapter.runs {
            self.run();
        }
        for meddling in &chapter.meddling {
            self.meddle(meddling);
        }
        self.world.later(Duration::from_secs(u64::from(chapter.pause)));
    }

    fn our_app(&self, n: u8) -> Option<AppId> {
        let name = format!("shop-a{n}");
        self.world.apps.values().find(|a| a.ours && a.name == name).map(|a| a.id.clone())
    }

    fn meddle(&mut self, meddling: &Meddling) {
        let (Meddling::SetImage(n)
        | Meddling::SetReplicas(n)
        | Meddling::SetEnv(n)
        | Meddling::AddDomain(n)
        | Meddling::DropChild(n, _)
        | Meddling::DropApp(n)
        | Meddling::DropService(n)) = meddling
        else {
            self.world.loses_jobs = 1;
            return;
        };
        let Some(id) = self.our_app(*n) else { return };
        if let Meddling::AddDomain(n) = meddling {
            // What stands on a create of ours that is not finished counts as ours: there is nobody else yet.
            let finished = self.world.apps[&id].description.as_deref().is_some_and(|d| d.contains(" id="));
            if !finished {
                return;
            }
            return self.world.foreign_domain(&id, &format!("theirs{n}.test"), 80);
        }
        let Some(app) = self.world.apps.get_mut(&id) else {
            return;
        };
        match meddling {
            Meddling::SetImage(_) => {
                drop(app.fields.insert(Field::Image, Value::Text("theirs:1".to_owned())))
            }
            Meddling::SetReplicas(_) => drop(app.fields.insert(Field::Replicas, Value::Int(7))),
            Meddling::SetEnv(_) => {
                app.env_text = "THEIRS=1".to_owned();
                let vars = [("THEIRS".to_owned(), berth_model::Secret::new("1"))];
                app.fields.insert(Field::Env, Value::Env(vars.into()));
            }
            Meddling::DropChild(_, c) => {
                if usize::from(*c) < app.children.len()
                    && app.our_children.contains(&app.children[usize::from(*c)].id)
                {
                    app.children.remove(usize::from(*c));
                }
            }
            Meddling::DropApp(_) => {
                let service = app.service.clone();
                self.world.live.remove(&service);
                self.world.apps.remove(&id);
            }
            Meddling::DropService(_) => {
                let service = app.service.clone();
                self.world.live.remove(&service);
            }
            Meddling::AddDomain(_) | Meddling::LoseJobs => {}
        }
    }

    /// Without further faults, everything comes to rest. Answers the last plan.
    fn settle(&mut self) -> Plan {
        self.daemon.faults.clear();
        self.world.loses_jobs = 0;
        let mut last = None;
        // The audit calls twice: once now, once when everything that was under way is over.
        for audit in 0..2 {
            self.daemon.verify = true;
            let mut rested = false;
            for _ in 0..200 {
                let plan = self.run();
                rested = plan
                    .as_ref()
                    .is_some_and(|p| p.steps.is_empty() && p.wait.is_none() && p.blocked.is_empty())
                    && self.daemon.intents.iter().all(|i| i.settle_by <= self.world.now);
                last = plan;
                if rested {
                    break;
                }
            }
            assert!(rested, "not at rest (audit {audit}): {last:#?}\n{:#?}", self.daemon.record);
            self.world.later(SETTLE);
        }
        last.expect("a plan")
    }

    /// The world is as wanted, and holds nothing of ours besides.
    fn is_as_wanted(&self) {
        let mut ours: Vec<_> = self.world.apps.values().filter(|a| a.ours).collect();
        let Some(stack) = &self.want else {
            assert!(ours.is_empty(), "left behind: {ours:#?}");
            assert!(self.daemon.record.apps.is_empty(), "remembered: {:#?}", self.daemon.record);
            let project = self.world.projects.iter().find(|(p, ours)| *ours && p.name.as_str() == "shop-own");
            assert!(project.is_none(), "the stack's own project is left behind");
            return;
        };
        assert_eq!(ours.len(), stack.apps.len(), "{ours:#?}");
        for (name, app) in &stack.apps {
            let found = ours.iter().position(|a| {
                let mark =
                    berth_model::mark::read(a.description.as_deref().unwrap_or(""), &self.daemon.owner);
                matches!(mark, MarkSeen::Ours(m) if m.app == *name && m.id.as_ref() == Some(&a.id))
            });
            let seen =
                ours.remove(found.unwrap_or_else(|| panic!("app {name} has no complete mark: {ours:#?}")));
            assert_eq!(text(&seen.fields, Field::Image).as_deref(), Some(app.image.as_str()));
            let live = self.world.live.get(&seen.service).expect("it runs");
            let label = match &seen.fields[&Field::Labels] {
                Value::Map(labels) => labels.get(berth_plan::HASH_LABEL).cloned(),
                _ => None,
            };
            assert_eq!(live.hash.map(|h| h.to_string()), label, "what runs is what is written");
            assert_eq!(live.replicas, app.replicas.value().copied());
            assert_eq!(live.image, app.image);
            let made: Vec<_> = seen.children.iter().filter(|c| seen.our_children.contains(&c.id)).collect();
            let wanted = app.hosts.len() + app.mounts.len() + app.ports.len();
            assert_eq!(made.len(), wanted, "{made:#?}");
            let keys: BTreeSet<_> = made.iter().map(|c| &c.key).collect();
            assert_eq!(keys.len(), wanted, "one of each: {made:#?}");
            let place = self.world.projects.iter().find(|(p, _)| {
                p.environments.iter().any(|e| e.id == seen.environment && e.name == stack.target.environment)
            });
            assert!(
                place.is_some_and(|(p, _)| p.name == *stack.target.project.project()),
                "it lives elsewhere"
            );
        }
    }

    /// Nothing more is written, however often it is looked at.
    fn stays_silent(&mut self) {
        let before = self.world.writes.len();
        for verify in [false, true, false] {
            self.daemon.verify = verify;
            self.run();
            self.world.later(Duration::from_secs(3600));
        }
        assert_eq!(&self.world.writes[before..], &[] as &[String], "writes though all is settled");
    }
}

fn cases() -> ProptestConfig {
    let long = std::env::var_os("BERTH_LONG").is_some();
    ProptestConfig { cases: if long { 5_000 } else { 500 }, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn the_world_ends_as_wanted(
        own in any::<bool>(),
        itself in any::<bool>(),
        chapters in vec(chapter(false), 1..4),
        last in spec(false),
    ) {
        let mut tale = Tale::new();
        // Every stack has an app of this name.
        let app = berth_model::AppName::new("a0").unwrap();
        tale.daemon.itself = itself.then_some(berth_plan::Itself { app, others: false, overdue: false });
        let theirs = tale.world.theirs();
        for chapter in &chapters {
            let mut chapter = chapter.clone();
            chapter.want = chapter.want.map(|s| Spec { own, ..s });
            if own {
                // A stack's own project has one environment here.
                chapter.want = chapter.want.map(|s| Spec { staging: false, ..s });
            }
            tale.play(&chapter);
        }
        tale.want = Some(Spec { own, staging: last.staging && !own, ..last }.stack());
        tale.settle();
        tale.is_as_wanted();
        let domains = tale.world.their_children();
        tale.stays_silent();
        prop_assert_eq!(tale.world.theirs(), theirs);
        prop_assert_eq!(tale.world.their_children(), domains);
    }

    #[test]
    fn what_is_removed_is_gone(own in any::<bool>(), chapters in vec(chapter(false), 1..4)) {
        let mut tale = Tale::new();
        let theirs = tale.world.theirs();
        for chapter in &chapters {
            let want = chapter.want.clone().map(|s| Spec { own, staging: s.staging && !own, ..s });
            tale.play(&Chapter { want, ..chapter.clone() });
        }
        tale.want = None;
        tale.settle();
        tale.is_as_wanted();
        tale.stays_silent();
        prop_assert_eq!(tale.world.theirs(), theirs);
    }

    /// The marks hold what must last: after the store is lost, nothing is written.
    #[test]
    fn a_lost_store_costs_nothing(spec in spec(false), foreign in 0..4u8) {
        let mut tale = Tale::new();
        tale.want = Some(spec.stack());
        tale.settle();
        tale.meddle(&Meddling::AddDomain(foreign));
        let before = tale.world.writes.len();
        tale.daemon.forget();
        tale.settle();
        prop_assert_eq!(&tale.world.writes[before..], &[] as &[String]);
        tale.is_as_wanted();
        tale.stays_silent();
    }

    /// The store is lost in the middle of anything. What cannot be told then is left alone with a reason; nothing
    /// foreign is touched, and no second object is made over the first.
    #[test]
    fn a_store_lost_at_any_time_does_no_harm(chapter in chapter(false), last in spec(false)) {
        let mut tale = Tale::new();
        let theirs = tale.world.theirs();
        tale.play(&chapter);
        tale.daemon.forget();
        tale.world.later(SETTLE);
        tale.want = Some(last.stack());
        tale.daemon.faults.clear();
        tale.daemon.verify = true;
        for _ in 0..60 {
            tale.run();
        }
        prop_assert_eq!(tale.world.theirs(), theirs);
        let plan = tale.run().expect("no faults any more");
        if plan.blocked.is_empty() {
            tale.is_as_wanted();
        }
    }
}
