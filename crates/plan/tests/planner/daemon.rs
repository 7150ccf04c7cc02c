//! A daemon without clock, tasks or store: plans, does what the plan says, and remembers what the engine would.
//!
//! It follows the executor's rules and nothing else: an intent before each create, the id after it, a settle deadline
//! where the answer is missing.

use crate::world::World;
use berth_model::Secret;
use berth_model::condition::Phase;
use berth_model::desired::{Desired, DesiredApp};
use berth_model::field::{Field, Value};
use berth_model::hash::{Hash, HashKey};
use berth_model::ids::{AppName, Key, OperationId, Owner, StackName};
use berth_model::mark::{Mark, PlaceMark, with_line};
use berth_model::observed::{ImageAnswer, Observed, ProbeResult, ProjectDetail, Seen};
use berth_model::record::{Intent, IntentTarget, ProjectRecord, Record, Rollout};
use berth_model::remote::{Fact, Read, Write, Written};
use berth_model::stack::{Generate, Place, Stack};
use berth_model::step::{Blocked, Learned, Plan, Step};
use berth_plan::{Existing, Input, Itself, Policy, Secrets, Surroundings};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// The call's time limit and 30 s, as in production.
pub(crate) const SETTLE: Duration = Duration::from_secs(60);
const TURNS: usize = 48;

/// What becomes of one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It takes effect and is answered.
    None,
    /// Not sent: known to have no effect.
    NotSent,
    /// Sent, not answered, no effect ever.
    Lost,
    /// It took effect; the answer is lost.
    Unanswered,
    /// A create that takes effect after the next look finds nothing.
    Late,
}

/// Why a run ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    Unknown,
    NotSent,
}

/// A plan and what it was made for.
pub(crate) struct Thought {
    pub(crate) plan: Plan,
    pub(crate) desired: Option<Desired>,
}

/// The daemon of one stack.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) owner: Owner,
    pub(crate) hash_key: HashKey,
    pub(crate) stack: StackName,
    pub(crate) record: Record,
    pub(crate) intents: Vec<Intent>,
    pub(crate) versions: BTreeMap<Hash, DesiredApp>,
    pub(crate) given: BTreeMap<String, (Secret, u32)>,
    pub(crate) faults: VecDeque<Fault>,
    pub(crate) verify: bool,
    pub(crate) pull: bool,
    pub(crate) held: Option<String>,
    pub(crate) room: Option<u64>,
    pub(crate) missing_images: Vec<String>,
    pub(crate) itself: Option<Itself>,
    next_op: u64,
}

struct Given<'a>(&'a BTreeMap<String, (Secret, u32)>);

impl Secrets for Given<'_> {
    fn given(&self, _stack: &str, _app: &AppName, name: &str) -> Option<(Secret, u32)> {
        self.0.get(name).cloned()
    }
    fn generated(&self, stack: &str, app: &AppName, name: &str, how: &Generate) -> Secret {
        Secret::new(format!("generated-{stack}-{app}-{name}-{}", how.version))
    }
}

impl Daemon {
    pub(crate) fn new(stack: &str) -> Self {
        Self {
            owner: Owner::new("us").unwrap(),
            hash_key: HashKey::new(&[7; 32]),
            stack: StackName::new(stack).unwrap(),
            record: Record::default(),
            intents: Vec::new(),
            versions: BTreeMap::new(),
            given: BTreeMap::new(),
            faults: VecDeque::new(),
            verify: false,
            pull: false,
            held: None,
            room: None,
            missing_images: Vec::new(),
            itself: None,
            next_op: 0,
        }
    }

    /// The store is lost; the vault is not.
    pub(crate) fn forget(&mut self) {
        self.record = Record::default();
        self.intents.clear();
        self.versions.clear();
    }

    /// One plan of what was seen.
    pub(crate) fn think(&self, want: Option<&Stack>, world: &World, observed: &Observed) -> Thought {
        let mut policy = Policy {
            now: world.now,
            owner: &self.owner,
            hash_key: &self.hash_key,
            verify: self.verify,
            held: self.held.clone(),
            room: self.room,
            project_declared: false,
            check_registry: !self.missing_images.is_empty(),
            pull: self.pull,
            restoring: BTreeMap::new(),
            itself: self.itself.clone(),
            dns: None,
            settle: SETTLE,
        };
        let Some(stack) = want else {
            return Thought { plan: self.plan(None, &[], false, observed, &policy), desired: None };
        };
        let place = self.place_of(stack, observed);
        let environment = place.and_then(|p| {
            let wanted = &stack.target.environment;
            p.environments.iter().find(|e| e.name == *wanted || e.id.as_str() == wanted).map(|e| &e.id)
        });
        let existing = |app: &AppName| {
            let known = self.record.apps.get(app);
            let detail = known.and_then(|r| r.id.as_ref()).and_then(|id| observed.details.get(id));
            let env = match detail.and_then(Seen::present).and_then(|d| d.fields.get(&Field::Env)) {
                Some(Value::Env(env)) => Some(env),
                _ => None,
            };
            Existing { adopted: known.is_some_and(|r| r.adopted), env }
        };
        let around = Surroundings { project: place, environment };
        let mut compiled = berth_plan::compile(stack, &self.hash_key, &Given(&self.given), around, &existing);
        self.restore(&mut compiled.desired, &mut policy);
        let plan =
            self.plan(Some(&compiled.desired), &compiled.blocked, compiled.needs_project, observed, &policy);
        Thought { plan, desired: Some(compiled.desired) }
    }

    fn plan(
        &self,
        desired: Option<&Desired>,
        compile_blocked: &[Blocked],
        needs_project: bool,
        observed: &Observed,
        policy: &Policy<'_>,
    ) -> Plan {
        let input = Input {
            stack: &self.stack,
            desired,
            compile_blocked,
            needs_project,
            record: &self.record,
            intents: &self.intents,
            observed,
        };
        let plan = berth_plan::plan(input, policy);
        assert_eq!(plan, berth_plan::plan(input, policy), "one input, one plan");
        plan
    }

    fn place_of<'o>(&self, stack: &Stack, observed: &'o Observed) -> Option<&'o ProjectDetail> {
        let fleet = observed.fleet.as_ref()?;
        let own = self.record.project.as_ref().and_then(|p| p.id.as_ref());
        let name = stack.target.project.project().as_str();
        let id = own.or_else(|| {
            let found = fleet.projects.iter().find(|p| p.id.as_str() == name || p.name.as_str() == name);
            found.map(|p| &p.id)
        })?;
        observed.projects.get(id).and_then(Seen::present)
    }

    fn restore(&self, desired: &mut Desired, policy: &mut Policy<'_>) {
        let mut given_up = Vec::new();
        for app in &mut desired.apps {
            let Some(known) = self.record.apps.get(&app.name) else {
                continue;
            };
            if known.quarantined != Some(app.hash) {
                continue;
            }
            match known.good.and_then(|good| self.versions.get(&good)) {
                Some(good) => {
                    policy.restoring.insert(app.name.clone(), app.hash);
                    let full = Hash(app.full.0 ^ good.hash.0.rotate_left(17));
                    *app = DesiredApp { full, ..good.clone() };
                }
                None => given_up.push(app.name.clone()),
            }
        }
        desired.apps.retain(|a| !given_up.contains(&a.name));
        desired.left = given_up.into_iter().collect();
    }

    /// Plans until nothing is asked any more: what `berth plan` shows. Nothing is done.
    pub(crate) fn preview(&self, want: Option<&Stack>, world: &World) -> Plan {
        let mut daemon = self.clone();
        let mut observed = daemon.look(world);
        for _ in 0..TURNS {
            let thought = daemon.think(want, world, &observed);
            let before = daemon.record.clone();
            daemon.learn(&thought, world, false);
            if thought.plan.steps.iter().any(Step::is_read) {
                daemon.answer(&thought.plan, world, &mut observed);
            } else if before == daemon.record {
                return thought.plan;
            }
        }
        panic!("the plan asks without end");
    }

    fn look(&self, world: &World) -> Observed {
        Observed { fleet: Some(Arc::new(world.fleet(&self.owner))), ..Observed::default() }
    }

    fn answer(&self, plan: &Plan, world: &World, observed: &mut Observed) {
        for step in &plan.steps {
            match step {
                Step::Look(read) => take(read, world.read(read), observed),
                Step::Probe { app, probe } => {
                    let path = probe.paths.first().cloned().unwrap_or_default();
                    observed.probes.insert(app.clone(), ProbeResult::Status { path, status: 200 });
                }
                Step::CheckImage { image, .. } => {
                    let missing = self.missing_images.contains(image);
                    let answer = if missing { ImageAnswer::Missing } else { ImageAnswer::Found(None) };
                    observed.images.insert(image.clone(), answer);
                }
                _ => {}
            }
        }
    }

    /// One run: plans and acts until nothing is left to do now. Every plan is shown to `check` before it is acted on.
    pub(crate) fn run(
        &mut self,
        want: Option<&Stack>,
        world: &mut World,
        check: &mut dyn FnMut(&Daemon, &World, &Thought),
    ) -> Result<Plan, Broken> {
        let mut observed = Observed::default();
        for _ in 0..TURNS {
            observed.fleet = self.look(world).fleet;
            let thought = self.think(want, world, &observed);
            check(self, world, &thought);
            let before = self.record.clone();
            self.learn(&thought, world, false);
            if self.record != before && thought.plan.learned.iter().any(Learned::changes_the_plan) {
                continue;
            }
            if thought.plan.steps.iter().any(Step::is_read) {
                self.answer(&thought.plan, world, &mut observed);
                continue;
            }
            if thought.plan.steps.is_empty() {
                self.verify = false;
                return Ok(thought.plan);
            }
            self.learn(&thought, world, true);
            for app in thought.plan.deploys() {
                if let Some(entry) = self.record.apps.get_mut(app) {
                    entry.deploy_due = true;
                }
            }
            for (at, step) in thought.plan.steps.iter().enumerate() {
                let last = thought.plan.is_last_of_app(at);
                if self.perform(step, last, thought.desired.as_ref(), world)? {
                    break;
                }
            }
            observed = Observed::default();
        }
        panic!("a run of more than {TURNS} plans");
    }

    /// True: plan again.
    fn perform(
        &mut self,
        step: &Step,
        last: bool,
        desired: Option<&Desired>,
        world: &mut World,
    ) -> Result<bool, Broken> {
        match step {
            Step::Look(_) | Step::Probe { .. } | Step::CheckImage { .. } => Ok(false),
            Step::CreateProject { name, words } => {
                let target = IntentTarget::Project { name: name.clone() };
                let op = self.intend(target.clone(), world);
                let mark = self.place_mark(&op);
                let write = Write::CreateProject {
                    name: name.clone(),
                    description: with_line(words.as_deref(), &mark),
                };
                if let Written::Project { project, .. } = self.create(&target, &write, world)?
                    && desired.is_some_and(|d| matches!(d.place, Place::Own { .. }))
                {
                    let environments = BTreeMap::new();
                    self.record.project = Some(ProjectRecord { id: Some(project), op, environments });
                }
                Ok(true)
            }
            Step::CreateEnvironment { project: Some(project), name } => {
                let target = IntentTarget::Environment { project: project.clone(), name: name.clone() };
                let op = self.intend(target.clone(), world);
                let description = self.place_mark(&op);
                let write =
                    Write::CreateEnvironment { project: project.clone(), name: name.clone(), description };
                self.create(&target, &write, world).map(|_| true)
            }
            Step::CreateApp { app, environment: Some(environment), name, service_base } => {
                let target = IntentTarget::App { app: app.clone() };
                let op = self.intend(target.clone(), world);
                let mark = Mark {
                    owner: self.owner.clone(),
                    stack: self.stack.clone(),
                    app: app.clone(),
                    op: op.clone(),
                    id: None,
                    hash: None,
                    children: Vec::new(),
                    pending: Vec::new(),
                    quarantined: None,
                    secrets: BTreeMap::new(),
                    adopted: false,
                };
                let write = Write::CreateApp {
                    environment: environment.clone(),
                    name: name.clone(),
                    service_base: service_base.clone(),
                    description: mark.to_string(),
                };
                if let Written::App { id, service } = self.create(&target, &write, world)? {
                    let entry = self.record.apps.entry(app.clone()).or_default();
                    **entry = Default::default();
                    (entry.id, entry.service, entry.op) = (Some(id), Some(service), Some(op));
                }
                Ok(false)
            }
            Step::Deploy { app, hash, restoring, attempt, .. } => {
                let token = format!("berth {hash} {}", self.op());
                let Some(entry) = self.record.apps.get_mut(app) else {
                    return Ok(true);
                };
                let Some(id) = entry.id.clone() else {
                    return Ok(true);
                };
                let before = entry.clone();
                entry.live = None;
                entry.deploy_due = false;
                entry.restart = None;
                entry.rollout = Some(Box::new(Rollout {
                    hash: *hash,
                    token: token.clone(),
                    phase: Phase::Deploy,
                    asked: world.now,
                    since: world.now,
                    attempts: *attempt,
                    unanswered: true,
                    last: String::new(),
                    restoring: *restoring,
                    without_address: None,
                    missing_since: None,
                    certificate_since: None,
                }));
                self.pull = false;
                match self.call(&Write::Deploy { app: id, token }, world) {
                    Err(Broken::NotSent) => {
                        self.record.apps.insert(app.clone(), before);
                        return Err(Broken::NotSent);
                    }
                    other => other?,
                };
                if let Some(rollout) = self.record.apps.get_mut(app).and_then(|r| r.rollout.as_mut()) {
                    rollout.unanswered = false;
                }
                Ok(false)
            }
            Step::Restart { app, id, service } => {
                self.call(&Write::Restart { app: id.clone(), service: service.clone() }, world)?;
                self.record.apps.entry(app.clone()).or_default().restart = None;
                Ok(true)
            }
            Step::DeleteApp { app, id, duplicate, .. } => {
                self.call(&Write::DeleteApp { id: id.clone() }, world)?;
                if !duplicate {
                    self.record.apps.entry(app.clone()).or_default().deleted_at = Some(world.now);
                }
                Ok(true)
            }
            Step::RemoveEnvironment { project, id, .. } => {
                self.call(&Write::RemoveEnvironment { project: project.clone(), id: id.clone() }, world)?;
                Ok(true)
            }
            Step::RemoveProject { id, .. } => {
                self.call(&Write::RemoveProject { id: id.clone() }, world)?;
                self.record.project = None;
                Ok(true)
            }
            Step::MoveApp { app, .. }
            | Step::UpdateApp { app, .. }
            | Step::CreateChild { app, .. }
            | Step::UpdateChild { app, .. }
            | Step::RemoveChild { app, .. } => self.change(step, app, last, desired, world),
            _ => Ok(true),
        }
    }

    fn change(
        &mut self,
        step: &Step,
        app: &AppName,
        last: bool,
        desired: Option<&Desired>,
        world: &mut World,
    ) -> Result<bool, Broken> {
        let Some(id) = self.record.apps.get(app).and_then(|r| r.id.clone()) else {
            return Ok(true);
        };
        let compiled = desired.and_then(|d| d.apps.iter().find(|a| a.name == *app));
        self.entry(app).applied = None;
        match step {
            Step::MoveApp { to: Some(to), .. } => {
                self.call(&Write::MoveApp { id, environment: to.clone() }, world)?;
            }
            Step::UpdateApp { fields, env_text, mark, description, .. } => {
                let mark = mark.as_deref().map(|m| self.complete(app, m, compiled));
                let line = mark.as_ref().map(ToString::to_string);
                let write = Write::UpdateApp {
                    id,
                    fields: fields.clone(),
                    env_text: env_text.clone(),
                    description: line.map(|l| with_line(description.as_deref(), &l)),
                };
                if let Some(mark) = mark.as_ref().filter(|m| !m.pending.is_empty()) {
                    self.entry(app).announced = mark.pending.clone();
                }
                self.call(&write, world)?;
                if let Some(mark) = mark {
                    let entry = self.entry(app);
                    if mark.pending.is_empty() {
                        entry.found = None;
                        entry.announced.clear();
                    }
                    (entry.adopted, entry.secrets) = (mark.adopted, mark.secrets);
                }
            }
            Step::CreateChild { key, child, .. } => {
                let target = IntentTarget::Child { app: app.clone(), child: key.clone() };
                self.intend(target.clone(), world);
                let write = Write::CreateChild { app: id, key: key.clone(), child: child.clone() };
                if let Written::Child(child) = self.create(&target, &write, world)? {
                    self.entry(app).children.insert(key.clone(), child);
                    self.routers_due(app, key);
                }
            }
            Step::UpdateChild { id: child_id, key, child, .. } => {
                let (key, child, child_id) = (key.clone(), child.clone(), child_id.clone());
                self.call(&Write::UpdateChild { app: id, id: child_id, key: key.clone(), child }, world)?;
                self.routers_due(app, &key);
            }
            Step::RemoveChild { id: child_id, key, .. } => {
                let write = Write::RemoveChild { app: id, id: child_id.clone(), key: key.clone() };
                self.call(&write, world)?;
                let entry = self.entry(app);
                if entry.children.get(key) == Some(child_id) {
                    entry.children.remove(key);
                }
                self.routers_due(app, key);
            }
            _ => return Ok(true),
        }
        if last && let Some(compiled) = compiled {
            self.entry(app).applied = Some(compiled.full);
        }
        Ok(false)
    }

    pub(crate) fn entry(&mut self, app: &AppName) -> &mut berth_model::record::AppRecord {
        self.record.apps.entry(app.clone()).or_default()
    }

    fn routers_due(&mut self, app: &AppName, key: &berth_model::desired::ChildKey) {
        let entry = self.entry(app);
        if matches!(key, berth_model::desired::ChildKey::Domain(_)) && entry.routers_due.is_none() {
            entry.routers_due = Some(0);
        }
    }

    fn complete(&self, app: &AppName, planned: &Mark, compiled: Option<&DesiredApp>) -> Mark {
        let mut mark = planned.clone();
        let Some(entry) = self.record.apps.get(app) else {
            return mark;
        };
        mark.id = entry.id.clone();
        if let Some(op) = &entry.op {
            mark.op = op.clone();
        }
        if mark.pending.is_empty() {
            let ours =
                entry.children.iter().filter(|(k, _)| compiled.is_none_or(|c| c.children.contains_key(k)));
            mark.children = ours.map(|(_, id)| id.clone()).collect();
            mark.children.sort();
        }
        mark
    }

    fn op(&mut self) -> OperationId {
        self.next_op += 1;
        format!("op{}", self.next_op).into()
    }

    fn place_mark(&self, op: &OperationId) -> String {
        PlaceMark { owner: self.owner.clone(), stack: Some(self.stack.clone()), op: op.clone() }.to_string()
    }

    fn intend(&mut self, target: IntentTarget, world: &World) -> OperationId {
        let open = self.intents.iter().find(|i| i.target == target).cloned();
        let op = open.as_ref().map_or_else(|| self.op(), |i| i.op.clone());
        self.intents.retain(|i| i.target != target);
        self.intents.push(Intent {
            op: op.clone(),
            key: Key::Stack(self.stack.clone()),
            target,
            attempt: open.map_or(1, |i| i.attempt + 1),
            epoch: 0,
            settle_by: world.now.after(SETTLE * 2),
            sent: world.now,
        });
        op
    }

    fn create(&mut self, target: &IntentTarget, write: &Write, world: &mut World) -> Result<Written, Broken> {
        let result = self.call(write, world);
        match result {
            Err(Broken::Unknown) => {
                if let Some(intent) = self.intents.iter_mut().find(|i| i.target == *target) {
                    intent.settle_by = world.now.after(SETTLE);
                }
            }
            _ => self.intents.retain(|i| i.target != *target),
        }
        result
    }

    fn call(&mut self, write: &Write, world: &mut World) -> Result<Written, Broken> {
        match self.faults.pop_front().unwrap_or(Fault::None) {
            Fault::None => Ok(world.apply(write)),
            Fault::NotSent => Err(Broken::NotSent),
            Fault::Lost => Err(Broken::Unknown),
            Fault::Late if write.creates() => {
                let at = world.now.after(Duration::from_secs(5));
                world.pending.push((at, write.clone()));
                Err(Broken::Unknown)
            }
            Fault::Unanswered | Fault::Late => {
                world.apply(write);
                Err(Broken::Unknown)
            }
        }
    }
}

fn take(read: &Read, fact: Fact, observed: &mut Observed) {
    match (read, fact) {
        (Read::App(id), Fact::App(seen)) => drop(observed.details.insert(id.clone(), seen.unbox())),
        (Read::Live(service), Fact::Live(seen)) => drop(observed.live.insert(service.clone(), seen)),
        (Read::Tasks(service), Fact::Tasks(tasks)) => drop(observed.tasks.insert(service.clone(), tasks)),
        (Read::Services, Fact::Services(seen)) => {
            observed.services = seen;
            observed.services_asked = true;
        }
        (Read::Routers(id), Fact::Routers(seen)) => drop(observed.routers.insert(id.clone(), seen)),
        (Read::Jobs, Fact::Jobs(jobs)) => observed.jobs = Some(jobs),
        (Read::Project(id), Fact::Project(seen)) => drop(observed.projects.insert(id.clone(), seen.unbox())),
        (Read::Log(id), Fact::Log(text)) => drop(observed.logs.insert(id.clone(), text)),
        _ => unreachable!("the world answers what was asked"),
    }
}
