//! The files under `deploy/`: Prometheus takes the rules and their tests pass, every metric and command that alerts and
//! dashboard name exists, and the other files say what the program reads.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words of PromQL that are no metric even where no bracket follows.
const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "unless",
    "bool",
    "offset",
    "atan2",
    "inf",
    "nan",
    "sum",
    "min",
    "max",
    "avg",
    "group",
    "stddev",
    "stdvar",
    "count",
    "count_values",
    "bottomk",
    "topk",
    "quantile",
];

/// Words that a list of labels follows.
const LABELS_FOLLOW: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];

/// What Prometheus makes itself.
const PROMETHEUS: &[&str] = &["up", "ALERTS"];

/// What the rules for the machines go by: node_exporter's, and none of Berth's. They stand in one group of alerts.yml.
const NODE: &[&str] = &[
    "node_cpu_seconds_total",
    "node_filesystem_avail_bytes",
    "node_filesystem_size_bytes",
    "node_memory_MemAvailable_bytes",
    "node_memory_MemTotal_bytes",
];

/// What a histogram is stored as.
const PARTS: &[&str] = &["_bucket", "_sum", "_count"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn promtool(arguments: &[&str]) {
    let out = Command::new("promtool").args(arguments).current_dir(root()).output().unwrap_or_else(|e| {
        panic!("promtool cannot be run: {e}; it comes with Prometheus: apt-get install prometheus")
    });
    assert!(
        out.status.success(),
        "promtool {}:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// What stands behind the bracket that closes the first one. Brackets within strings do not count.
fn behind(text: &str, open: char, close: char) -> &str {
    let mut depth = 0;
    let mut at = text;
    while let Some(c) = at.chars().next() {
        if matches!(c, '"' | '\'' | '`') {
            at = behind_string(at);
            continue;
        }
        at = &at[c.len_utf8()..];
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                break;
            }
        }
    }
    at
}

/// What stands behind the string that the text begins with.
fn behind_string(text: &str) -> &str {
    let mut chars = text.char_indices();
    let Some((_, quote)) = chars.next() else {
        return text;
    };
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return &text[at + c.len_utf8()..];
        }
        if c == '\\' && quote != '`' {
            chars.next();
        }
    }
    ""
}

/// The metrics that a PromQL expression names: its words, without functions, keywords, labels, strings, durations and
/// Grafana's variables.
fn metrics_of(expression: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut at = expression;
    while let Some(c) = at.chars().next() {
        match c {
            '"' | '\'' | '`' => at = behind_string(at),
            '{' => at = behind(at, '{', '}'),
            '[' => at = behind(at, '[', ']'),
            '#' => at = at.split_once('\n').map_or("", |(_, rest)| rest),
            '$' => {
                at = &at[1..];
                if !at.starts_with('{') {
                    at = at.trim_start_matches(is_word);
                }
            }
            // A number or a duration, with its unit.
            c if c.is_ascii_digit() => at = at.trim_start_matches(|c: char| is_word(c) || c == '.'),
            c if is_word(c) => {
                let rest = at.trim_start_matches(is_word);
                let word = &at[..at.len() - rest.len()];
                at = rest;
                let next = rest.trim_start();
                if LABELS_FOLLOW.contains(&word) {
                    if next.starts_with('(') {
                        at = behind(next, '(', ')');
                    }
                } else if !next.starts_with('(') && !KEYWORDS.contains(&word.to_lowercase().as_str()) {
                    found.insert(word.to_owned());
                }
            }
            c => at = &at[c.len_utf8()..],
        }
    }
    found
}

/// The metrics of the reference page as Prometheus stores them.
fn documented() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for line in read("docs/METRICS.md").lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, kind, ..] = cells.as_slice() else {
            continue;
        };
        let Some(name) = name.strip_prefix('`').and_then(|n| n.strip_suffix('`')) else {
            continue;
        };
        if *kind == "histogram" {
            known.extend(PARTS.iter().map(|part| format!("{name}{part}")));
        } else {
            known.insert(name.to_owned());
        }
    }
    assert!(known.contains("berth_stacks"), "docs/METRICS.md has another form than this test reads");
    known
}

fn is_known(metric: &str, documented: &BTreeSet<String>) -> bool {
    let others = PROMETHEUS.contains(&metric) || NODE.contains(&metric) || metric.starts_with("process_");
    documented.contains(metric) || others
}

fn spaces(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Every value of this key in a YAML text: on its line, or as the block under it.
fn values(yaml: &str, key: &str) -> Vec<String> {
    let lines: Vec<&str> = yaml.lines().collect();
    let start = format!("{key}: ");
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(value) = line.trim_start().trim_start_matches("- ").strip_prefix(start.as_str()) else {
            continue;
        };
        if value.starts_with(['|', '>']) {
            let block = lines[at + 1..].iter().take_while(|l| l.is_empty() || spaces(l) > spaces(line));
            found.push(block.map(|l| l.trim()).collect::<Vec<_>>().join("\n"));
        } else {
            found.push(value.trim_matches('\'').to_owned());
        }
    }
    found
}

/// Every query of the dashboard, with the title or name of what it stands in: the panels', and the variables' lists.
fn expressions(value: &Value, title: &str, out: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("title").or_else(|| fields.get("name"));
            let title = name.and_then(Value::as_str).unwrap_or(title);
            let list = fields.get("query").and_then(Value::as_str).and_then(listed);
            if let Some(metric) = list {
                out.push((title.to_owned(), metric.to_owned()));
            }
            if let Some(expression) = fields.get("expr").and_then(Value::as_str) {
                out.push((title.to_owned(), expression.to_owned()));
            }
            for inner in fields.values() {
                expressions(inner, title, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|inner| expressions(inner, title, out)),
        _ => {}
    }
}

/// The metric whose labels a variable of the dashboard lists.
fn listed(query: &str) -> Option<&str> {
    query.strip_prefix("label_values(")?.split(',').next()
}

#[test]
fn prometheus_takes_configuration_and_rules() {
    promtool(&["check", "config", "deploy/prometheus/prometheus.yml"]);
    promtool(&["check", "rules", "deploy/prometheus/alerts.yml"]);
}

#[test]
fn alerts_fire_when_they_should() {
    promtool(&["test", "rules", "deploy/prometheus/alerts_test.yml"]);
}

#[test]
fn every_alert_is_tried_and_says_what_to_do() {
    let rules = read("deploy/prometheus/alerts.yml");
    let tests = read("deploy/prometheus/alerts_test.yml");
    let alerts = values(&rules, "alert");
    assert!(!alerts.is_empty(), "no alert in alerts.yml: it has another form than this test reads");
    let mut broken = Vec::new();
    // An alert's own text goes up to the next one.
    for (alert, text) in alerts.iter().zip(rules.split("- alert: ").skip(1)) {
        for part in ["severity: ", "summary: ", "description: "] {
            if !text.contains(part) {
                broken.push(format!("{alert} has no {}", part.trim_end_matches(": ")));
            }
        }
        // What a test expects stands two lines below what it asks for.
        let asked = format!("alertname=\"{alert}\"");
        let answers: Vec<bool> = tests
            .lines()
            .zip(tests.lines().skip(2))
            .filter(|(line, _)| line.contains(&asked))
            .map(|(_, answer)| answer.contains("[]"))
            .collect();
        if !answers.contains(&true) || !answers.contains(&false) {
            broken.push(format!("{alert} wants a case that fires and one that does not in alerts_test.yml"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_command_that_an_alert_names_exists() {
    let commands: BTreeSet<String> = read("docs/CLI.md")
        .lines()
        .filter_map(|l| l.strip_prefix("## berth "))
        .map(|l| l.trim().to_owned())
        .collect();
    assert!(commands.contains("doctor"), "docs/CLI.md has another form than this test reads");
    let files = ["deploy/prometheus/alerts.yml", "deploy/grafana/berth.json"];
    // A command may stand on two lines of a description.
    let texts = files.map(|name| (name, read(name).split_whitespace().collect::<Vec<_>>().join(" ")));
    let mut broken = Vec::new();
    for (name, text) in &texts {
        for after in text.split("'berth ").skip(1) {
            let command: String = after.chars().take_while(char::is_ascii_lowercase).collect();
            if !commands.contains(&command) {
                broken.push(format!("{name}: there is no 'berth {command}'"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let documented = documented();
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/berth.json")).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, "", &mut asked);
    assert!(!asked.is_empty(), "no expression in the dashboard");
    let mut by_place: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (panel, expression) in asked {
        by_place.entry(format!("berth.json, '{panel}'")).or_default().extend(metrics_of(&expression));
    }
    for (file, key) in [("alerts.yml", "expr"), ("alerts_test.yml", "expr"), ("alerts_test.yml", "series")] {
        let found = values(&read(&format!("deploy/prometheus/{file}")), key);
        assert!(!found.is_empty(), "no {key} in {file}");
        for expression in found {
            by_place.entry(file.to_owned()).or_default().extend(metrics_of(&expression));
        }
    }
    let mut broken = Vec::new();
    for (place, metrics) in &by_place {
        assert!(!metrics.is_empty(), "{place} asks for no metric");
        for metric in metrics.iter().filter(|m| !is_known(m, &documented)) {
            broken.push(format!("{place}: docs/METRICS.md has no {metric}"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Prometheus parses what Grafana will ask, with its variables filled in: each query as a rule of its own.
#[test]
fn prometheus_takes_every_query_of_the_dashboard() {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/berth.json")).unwrap();
    let mut asked = Vec::new();
    expressions(&dashboard, "", &mut asked);
    let rules: Vec<Value> = asked
        .iter()
        .enumerate()
        .map(|(n, (_, expression))| {
            let filled = expression.replace("$__rate_interval", "5m").replace("$__range", "1h");
            serde_json::json!({"record": format!("query:{n}"), "expr": filled})
        })
        .collect();
    assert!(rules.len() > 30, "the dashboard has another form than this test reads");
    let file = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queries.yml");
    // JSON is YAML.
    std::fs::write(&path, file.to_string()).unwrap();
    promtool(&["check", "rules", path.to_str().unwrap()]);
}

#[test]
fn what_is_not_berths_stands_in_one_group() {
    let rules = read("deploy/prometheus/alerts.yml");
    let groups: Vec<&str> = rules.split("\n  - name: ").skip(1).collect();
    assert!(groups.len() > 3, "alerts.yml has another form than this test reads");
    for group in groups {
        let name = group.lines().next().unwrap_or_default();
        let asked: BTreeSet<String> = values(group, "expr").iter().flat_map(|e| metrics_of(e)).collect();
        let node: Vec<_> = asked.iter().filter(|m| NODE.contains(&m.as_str())).collect();
        let all = name == "berth-nodes" && node.len() == asked.len();
        assert!(node.is_empty() || all, "group {name}: {node:?}");
    }
    // One that no rule goes by needs no exception.
    let idle: Vec<_> = NODE.iter().filter(|m| !rules.contains(**m)).collect();
    assert!(idle.is_empty(), "{idle:?} is not asked for any more");
}

#[test]
fn a_metric_is_told_from_what_surrounds_it() {
    let cases: [(&str, &[&str]); 8] = [
        ("up", &["up"]),
        ("sum by (job, le) (rate(a_total{b=\"c\"}[5m])) > 0.5", &["a_total"]),
        ("sum(a{x=\"} y\"}) without (z) / on (q) group_left (w) b offset 5m", &["a", "b"]),
        ("absent(up{job='berth'}) or a:b unless bool_a >= 1e3", &["a:b", "bool_a", "up"]),
        ("rate(a[$__rate_interval]) * $factor + ${other} # and nothing", &["a"]),
        ("label_replace(a, \"x\", \"$1\", 'y', `z\\`)", &["a"]),
        ("topk(3, max_over_time(a[1h:5m])) == Inf", &["a"]),
        ("count without (x) (a)\n- 2 * b", &["a", "b"]),
    ];
    for (expression, expected) in cases {
        let found: Vec<String> = metrics_of(expression).into_iter().collect();
        assert_eq!(found, expected, "{expression}");
    }
}
