//! The fleet as it converges: on a terminal a compact table redrawn in place, elsewhere a line for each change. It only
//! looks; it never slows the engine, and a fleet of any size takes a bounded number of lines.

use crate::out::{self, BAD, BOLD, BUSY, DIM, GOOD, paint};
use berth_model::condition::{ConditionType, Phase, Reason, Status};
use berth_model::ids::Key;
use berth_model::record::StackStatus;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Rows of the table at most; the rest is a count.
const ROWS: usize = 16;

/// How a key stands, in a mark and a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glance {
    pub mark: Mark,
    /// `[3/7] create` while a rollout is open.
    pub phase: Option<Phase>,
    pub reason: &'static str,
    pub message: String,
}

/// Told by its sign as well as by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    Bad,
    Unknown,
    Busy,
    Good,
}

impl Mark {
    /// In its colour.
    #[must_use]
    pub fn sign(self) -> String {
        match self {
            Mark::Bad => paint(BAD, "✗"),
            Mark::Unknown => paint(DIM, "?"),
            Mark::Busy => paint(BUSY, "…"),
            Mark::Good => paint(GOOD, "✓"),
        }
    }
}

/// A published state at a glance.
#[must_use]
pub fn glance(status: Option<&StackStatus>) -> Glance {
    let pending = || Glance {
        mark: Mark::Busy,
        phase: None,
        reason: "Pending",
        message: "waits for its first run".to_owned(),
    };
    let Some(status) = status else { return pending() };
    let Some(ready) = status.condition(ConditionType::Ready) else {
        return pending();
    };
    let mark = if ready.status == Status::True {
        Mark::Good
    } else if status.condition(ConditionType::Stalled).is_some() {
        Mark::Bad
    } else if ready.status == Status::Unknown {
        Mark::Unknown
    } else {
        Mark::Busy
    };
    let unwell = status.condition(ConditionType::Healthy).filter(|c| c.status == Status::False);
    let (mark, reason, message) = match unwell {
        Some(c) if mark == Mark::Good => (Mark::Bad, c.reason.as_str(), c.message.clone()),
        _ if mark == Mark::Good => (mark, "Ready", status.url.clone().unwrap_or_default()),
        _ => (mark, ready.reason.as_str(), without_phase(&ready.message)),
    };
    Glance { mark, phase: status.phase.filter(|_| mark == Mark::Busy), reason, message }
}

/// The message without the phase that begins it: the phase has a column of its own.
fn without_phase(message: &str) -> String {
    let rest =
        message.strip_prefix('[').and_then(|m| m.split_once("] ")).and_then(|(_, m)| m.split_once(' '));
    rest.map_or(message, |(_, m)| m).to_owned()
}

/// `[3/7] create`.
#[must_use]
pub fn phase(phase: Phase) -> String {
    format!("[{}/7] {}", phase.number(), phase.as_str())
}

/// A key as it is shown: stacks by name, projects as such.
#[must_use]
pub fn name(key: &Key) -> String {
    match key {
        Key::Stack(name) => name.to_string(),
        Key::Project(_) => key.to_string(),
    }
}

/// What is shown, over time.
pub struct Live {
    screen: MultiProgress,
    head: ProgressBar,
    rows: Vec<ProgressBar>,
    began: Instant,
    /// Since when each key is in its phase, and when it last moved.
    since: BTreeMap<Key, (Glance, Instant)>,
}

impl Live {
    /// A table on stderr where that is a terminal, else nothing.
    #[must_use]
    pub fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let style =
            ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |screen: &MultiProgress| screen.add(ProgressBar::new(1).with_style(style.clone()));
        let head = bar(&screen);
        let rows = (0..ROWS).map(|_| bar(&screen)).collect();
        Self { screen, head, rows, began: Instant::now(), since: BTreeMap::new() }
    }

    /// Whether anybody sees it.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        !self.screen.is_hidden()
    }

    /// For logs that are to stand above it.
    #[must_use]
    pub fn screen(&self) -> &MultiProgress {
        &self.screen
    }

    /// A line above the table.
    pub fn line(&self, text: &str) {
        if self.is_shown() && crate::logs::colours() {
            // An error is a terminal that is gone.
            let _ = self.screen.println(text);
        } else if self.is_shown() {
            let _ = self.screen.println(anstream::adapter::strip_str(text).to_string());
        } else {
            anstream::eprintln!("{text}");
        }
    }

    /// Takes a look, and gives a line for each key that moved.
    pub fn look(&mut self, keys: impl IntoIterator<Item = Key>, statuses: &[StackStatus]) -> Vec<String> {
        let by_key: BTreeMap<&Key, &StackStatus> = statuses.iter().map(|s| (&s.key, s)).collect();
        let mut moved = Vec::new();
        let mut now = BTreeMap::new();
        for key in keys {
            let seen = glance(by_key.get(&key).copied());
            let before = self.since.get(&key);
            let same = before
                .filter(|(b, _)| b.mark == seen.mark && b.phase == seen.phase && b.reason == seen.reason);
            let at = same.map_or_else(Instant::now, |(_, at)| *at);
            if same.is_none() {
                moved.push(self.moved(&key, &seen));
            }
            now.insert(key, (seen, at));
        }
        for key in self.since.keys().filter(|k| !now.contains_key(*k)) {
            moved.push(format!(
                "{:>6}  {} {}  removed",
                out::seconds(self.began.elapsed()),
                Mark::Good.sign(),
                name(key)
            ));
        }
        self.since = now;
        if self.is_shown() {
            self.draw();
        }
        moved
    }

    fn moved(&self, key: &Key, seen: &Glance) -> String {
        let what = match seen.phase {
            Some(p) => phase(p),
            None => seen.reason.to_owned(),
        };
        let at = out::seconds(self.began.elapsed());
        let message = out::one_line(&seen.message);
        format!("{at:>6}  {} {:<22} {what:<14} {message}", seen.mark.sign(), name(key)).trim_end().to_owned()
    }

    fn draw(&self) {
        let colours = crate::logs::colours();
        let set = |bar: &ProgressBar, text: String| {
            bar.set_message(if colours { text } else { anstream::adapter::strip_str(&text).to_string() });
        };
        let good = self.since.values().filter(|(g, _)| g.mark == Mark::Good).count();
        let bad = self.since.values().filter(|(g, _)| g.mark == Mark::Bad).count();
        let mut head = format!("{} of {} ready", good, self.since.len());
        if bad > 0 {
            head.push_str(&paint(BAD, format!(", {bad} need a person")));
        }
        set(&self.head, format!("{}  {}", paint(BOLD, head), paint(DIM, out::seconds(self.began.elapsed()))));
        let mut rows: Vec<_> = self.since.iter().collect();
        // What needs eyes first; the rest by name.
        rows.sort_by(|(ka, (a, _)), (kb, (b, _))| a.mark.cmp(&b.mark).then_with(|| ka.cmp(kb)));
        let widest = rows.iter().take(ROWS).map(|(k, _)| name(k).len()).max().unwrap_or(0).min(28);
        let more = rows.len().saturating_sub(ROWS);
        for (at, bar) in self.rows.iter().enumerate() {
            let text = match rows.get(at) {
                _ if more > 0 && at == ROWS - 1 => paint(DIM, format!("  … and {} more", more + 1)),
                Some((key, (seen, since))) => {
                    let what = match seen.phase {
                        Some(p) => format!("{:<14} {:>5}", phase(p), out::seconds(since.elapsed())),
                        None => format!("{:<20}", seen.reason),
                    };
                    let message = paint(DIM, out::one_line(&seen.message));
                    format!("{} {:<widest$}  {what}  {message}", seen.mark.sign(), name(key))
                }
                None => String::new(),
            };
            set(bar, text);
        }
    }

    /// Takes the table away.
    pub fn clear(&self) {
        // An error is a terminal that is gone.
        let _ = self.screen.clear();
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

/// How often it looks.
pub const EVERY: Duration = Duration::from_millis(100);

/// Whether a reason says that a version was given up.
#[must_use]
pub fn is_given_up(reason: Reason) -> bool {
    matches!(reason, Reason::RolledBack | Reason::RollbackFailed | Reason::Quarantined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_is_not_said_twice() {
        assert_eq!(without_phase("[6/7] converge Swarm updates the service"), "Swarm updates the service");
        assert_eq!(without_phase("app web: no image"), "app web: no image");
    }
}
