//! What people see when something is wrong: every fault with its file, line, column, source line and advice.

use berth_manifest::{Context, Fleet, Input, load, render};

/// Files in one text: `=== NAME` begins one.
fn files(text: &str) -> Vec<Input> {
    if !text.starts_with("=== ") {
        return vec![Input::new("a.yaml", text)];
    }
    text.split("=== ")
        .skip(1)
        .map(|part| {
            let (name, body) = part.split_once('\n').unwrap();
            Input::new(name, body)
        })
        .collect()
}

fn show(inputs: &[Input], fleet: &Fleet) -> String {
    let mut all = fleet.errors.clone();
    all.extend(fleet.warnings.clone());
    let names = |v: Vec<String>| {
        if v.is_empty() { "nothing".to_owned() } else { v.join(", ") }
    };
    let mut text = render(&all, inputs, false);
    text.push_str(&format!(
        "runs: {}\nwithheld files: {}\ndeclared: {}\n",
        names(
            fleet
                .stacks
                .keys()
                .map(|s| s.to_string())
                .chain(fleet.projects.keys().map(|p| format!("project {p}")))
                .collect()
        ),
        names(fleet.bad_files.iter().cloned().collect()),
        names(fleet.declared.keys().map(ToString::to_string).collect()),
    ));
    text
}

#[track_caller]
fn check(name: &str, text: &str) {
    let inputs = files(text);
    let fleet = load(&inputs, &Context::default());
    insta::assert_snapshot!(name, show(&inputs, &fleet));
}

/// A stack of this spec.
fn stack(name: &str, spec: &str) -> String {
    format!("apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

/// A stack of one app with this body, indented by six.
fn app(body: &str) -> String {
    let body: String = body.lines().map(|l| format!("      {l}\n")).collect();
    stack("one", &format!("  apps:\n    web:\n{body}"))
}

#[test]
fn envelope() {
    check("envelope", "apiVersion: v1\nkind: Stak\nmetadata: {nmae: x}\nspce: {}\nstatus: {}\n");
    check(
        "kinds",
        "- a\n---\ntext\n---\napiVersion: berth.dev/v1\nkind: StackTemplate\nmetadata: {name: t, stage: staging}\nspec: []\n",
    );
    check(
        "nothing_named",
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {}\nspec: {}\n---\nkind: Stack\n",
    );
}

#[test]
fn form() {
    check(
        "duplicate_keys",
        &app("image: a\nport: 80\nimage: b\nenv: {A: 1, A: 2}\nports: {8080: 80, \"8080\": 81}"),
    );
    check("duplicate_numbers", &app("image: a\nports: {8080: 80, 8080: 81}"));
    check(
        "unclosed",
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {name: open-one, tenant: x\nspec: {}\n",
    );
    check("tabs", "apiVersion: berth.dev/v1\nkind: Stack\nmetadata:\n\tname: tab-one\n");
    check("colon", "apiVersion: berth.dev/v1\nkind: Stack\nmetadata:\n  name: colon-one\nspec:\n  a: b: c\n");
    check("empty", "");
    check("comments", "# nothing yet\n");
    check(
        "merge_keys",
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: &m {name: merged}\nspec:\n  <<: *m\n  apps: {w: {image: a}}\n",
    );
    check("unknown_tag", &app("image: !secret a"));
}

#[test]
fn keys_and_types() {
    check(
        "unknown_keys",
        &app("imgae: a\nreplica: 2\nzzz: 1\nhealth: {htpp: /, every: 5s}\nresources: {mem: 1Gi}"),
    );
    check(
        "wrong_types",
        &app(
            "image: [a]\nport: http\nreplicas: -1\nenv: {A: [1], B: {c: 1}, C:}\nvolumes: [a]\nadopt: yes\nneeds: {a: b}\nhealth: up\nfiles: {/a: {}}",
        ),
    );
    check(
        "units",
        &app("image: a\nresources: {memory: 512, cpu: lots, reserve: {memory: 1.0001Ki}}\nstopGrace: 30\nhealth: {cmd: x, interval: 5, timeout: 0s, retries: 0}\nimage: {ref: a, follow: 1s}".replacen("image: a\n", "", 1).as_str()),
    );
    check(
        "numbers",
        &app(
            "image: a\nport: 70000\nreplicas: 99999999999\nports: {\"0\": 80, \"80x\": 1, \"81\": 0, 82/sctp: 1, \"83/udp\": {protocol: tcp, target: 1}, \"84\": {}}",
        ),
    );
}

#[test]
fn names() {
    check(
        "bad_names",
        &[
            stack("Big", "  apps: {w: {image: a}}\n"),
            stack("a--b", "  apps: {-x: {image: a}}\n"),
            stack("admin", "  apps: {w: {image: a}}\n"),
            stack("dokploy-x", "  apps: {w: {image: a}}\n"),
            stack(
                "ok",
                "  apps: {w: {image: a, nameOnDokploy: dokploy-y}, v: {image: a, nameOnDokploy: \"\"}}\n",
            ),
        ]
        .join("---\n"),
    );
    check(
        "declared_twice",
        &format!(
            "=== a.yaml\n{}=== b.yaml\n{}---\n{}",
            stack("twin", "  apps: {w: {image: a}}\n"),
            stack("twin", "  apps: {w: {image: b}}\n"),
            stack("other", "  apps: {w: {image: b}}\n")
        ),
    );
}

#[test]
fn apps() {
    check(
        "no_apps",
        &[
            stack("no-apps", "  target: {}\n"),
            stack("no-apps-b", "  apps: {}\n"),
            stack("no-image", "  apps: {w: {}}\n"),
        ]
        .join("---\n"),
    );
    check(
        "images",
        &stack(
            "images",
            "  apps:\n    a: {image: Nginx:1}\n    b: {image: \"a b\"}\n    c: {image: \"https://a/b\"}\n    d: {image: \"a@sha256:12\"}\n    e: {image: {ref: \"a:\", follow: 5m}}\n",
        ),
    );
    check(
        "needs",
        &stack(
            "needy",
            "  apps:\n    a: {image: x, needs: [b]}\n    b: {image: x, needs: c}\n    c: {image: x, needs: [a, bb]}\n    d: {image: x, needs: d}\n",
        ),
    );
    check(
        "hosts",
        &app(
            "image: a\nhost: shop\nhosts:\n  a.example.com: {port: 1, path: api}\n  \"b_c.example.com\": {port: 1}\n  c.example.com: {https: \"a b\"}\n  d.example.com/x: {port: 1, path: /y}",
        ),
    );
    check(
        "mounts",
        &app(
            "image: a\nvolumes: {data: /data, x: /x, /srv: /y, more: data}\nbinds: {srv: /z, /srv/a: /data}\nfiles: {/etc/../x: a, \"/etc/a b\": c, /ok: {content: x, mode: 7}}",
        ),
    );
    check(
        "health",
        &stack(
            "healthy",
            "  apps:\n    a: {image: x, health: {http: /up}}\n    b: {image: x, port: 1, host: b.example.com, health: {http: up, expect: ok, every: 10s, within: 5s}}\n    c: {image: x, health: {every: 5s, retries: 2}}\n",
        ),
    );
    check(
        "commands",
        &app(
            "image: a\ncommand: sh -c \"echo hi\"\nargs: []\nupdate: {order: first, parallel: 0}\nlabels: {berth.dev/id: x, \"a b\": y}\ndrift: {replica: ignore, env.A: ignored}\nresources: {memory: 1Gi, cpu: 1, reserve: {memory: 2Gi, cpu: 2}}\nregistry: {url: \"a b\"}",
        ),
    );
}

#[test]
fn variables() {
    check(
        "references",
        &app(
            "image: a\nenv:\n  A: ${X}\n  B: \"{{project.X}}\"\n  C: \"{project.Y}\"\n  D: \"${{project.X\"\n  E: \"it's `all` of \\\"them\\\"\"\n  1F: x\n  \"G H\": x\n  OK: \"${{project.X}} ${{environment.Y}}\"",
        ),
    );
    check(
        "values",
        &app(
            "image: a\nenv:\n  A: {}\n  B: {secret: s, generate: {}}\n  C: {generate: {bytes: 0, encoding: hexx, version: 0}}\n  D: {from: {}}\n  E: {from: {app: web}}\n  F: {from: {apps: [nobody], key: port}}\n  G: {from: {database: main}}\n  H: {secret: \"not a name!\"}",
        ),
    );
    check(
        "placeholders",
        &app(
            "image: \"a:{sha}\"\nport: 80\nhost: \"{tenant}.example.com\"\nnameOnDokploy: \"{projectId}\"\nvolumes: {\"{nmae}-data\": /data}\nenv: {A: \"{environmentId}\", B: \"{pr}\", C: \"{word.NAME}\", D: \"{json: true}\"}",
        ),
    );
}

#[test]
fn targets() {
    check("two_projects", &stack("two", "  target: {project: a, ownProject: b}\n  apps: {w: {image: a}}\n"));
    check(
        "no_stage",
        &stack(
            "staged",
            "  target: {project: {staging: a}, environment: {prod: a}, create: maybe}\n  apps: {w: {image: a, port: 1, host: {staging: a.example.com}}}\n",
        ),
    );
    check("create_own", &stack("own", "  target: {create: true}\n  apps: {w: {image: a}}\n"));
}

#[test]
fn templates() {
    let template = "apiVersion: berth.dev/v1\nkind: StackTemplate\nmetadata: {name: base}\nspec:\n  apps:\n    web: {image: \"a:1\", port: 80, host: \"{tenant}.example.com\"}\n";
    check("no_template", &stack("lost", "  template: bsae\n"));
    check(
        "near_template",
        &format!(
            "=== a.yaml\n{}=== t.yaml\n{template}",
            stack("lost", "  template: bsae\n  apps: {web: {prot: 1}}\n")
        ),
    );
    check(
        "needs_tenant",
        &format!("=== a.yaml\n{}=== t.yaml\n{template}", stack("no-tenant", "  template: base\n")),
    );
    check(
        "template_with_errors",
        &format!(
            "=== a.yaml\n{}=== b.yaml\n{}=== t.yaml\n{}",
            stack("left-alone", "  template: base\n"),
            stack("fine", "  apps: {w: {image: a}}\n"),
            template
                .replace("port: 80", "prot: 80, image: \"a b\", template: x")
                .replace("image: \"a:1\", ", "")
        ),
    );
    check(
        "template_beside_an_error",
        &format!(
            "=== a.yaml\n{}=== t.yaml\n{}---\n{}",
            stack("left-alone", "  template: base\n"),
            template.replace("{tenant}", "{name}"),
            stack("broken", "  apps: {}\n")
        ),
    );
    check("nested_template", &template.replace("spec:\n", "spec:\n  template: other\n"));
    check(
        "null_entries",
        &format!(
            "{template}---\n{}---\n{}",
            stack("with", "  template: base\n  apps: {web: {host: null, env: {GONE: null}}}\n"),
            stack("without", "  apps: {web: {image: a, env: {A: null}}, other: null}\n")
        ),
    );
}

#[test]
fn hosts_over_the_fleet() {
    let one = |n: &str| stack(n, "  apps: {w: {image: a, port: 1, host: shop.example.com}}\n");
    check("same_host", &format!("=== a.yaml\n{}=== b.yaml\n{}", one("first"), one("second")));
    check(
        "same_host_in_one_stack",
        &stack(
            "both",
            "  apps:\n    a: {image: x, port: 1, host: a.example.com}\n    b: {image: x, port: 1, host: A.example.com.}\n",
        ),
    );
    check(
        "same_host_other_path",
        &format!(
            "=== a.yaml\n{}=== b.yaml\n{}",
            one("first"),
            one("second").replace("shop.example.com", "shop.example.com/api")
        ),
    );
}

#[test]
fn domains() {
    check(
        "domains",
        &[
            stack("outside", "  domain: {zone: example.com}\n  apps:\n    a: {image: x, port: 1, hosts: {a.example.org: {}, a.example.org/x: {}, b.example.com: {}}}\n    b: {image: x, port: 1, host: badexample.com}\n"),
            stack("out-by-pattern", "  domain: {zone: example.com, pattern: \"{app}.example.org\"}\n  apps:\n    a: {image: x, port: 1}\n    b: {image: x, port: 1, host: b.example.com}\n"),
            stack("one-host", "  domain: {pattern: \"{name}.example.com\"}\n  apps: {a: {image: x, port: 1}, b: {image: x, port: 1}, c: {image: x}}\n"),
            stack("bad-zone", "  domain: {zone: \"*.example.com\", pattern: \"{app}_x.example.com\", records: manged, ttl: 5m}\n  apps: {a: {image: x, port: 1}}\n"),
            stack("no-zone", "  domain: {zone: a..b, pattern: \"{pr}.{tenant}.example.com/x\"}\n  apps: {a: {image: x, port: 1}}\n"),
            stack("no-such-stage", "  domain: {zone: {staging: example.com}, pattern: {staging: \"{app}.example.com\"}}\n  apps: {a: {image: x, port: 1}}\n"),
            stack("not-a-map", "  domain: example.com\n  apps: {a: {image: x, port: 1}}\n"),
        ]
        .join("---\n"),
    );
    // A template's own faults are told once, what only a stack's values show at the stack.
    let template = "apiVersion: berth.dev/v1\nkind: StackTemplate\nmetadata: {name: base}\nspec:\n  domain: {zone: example.com, pattern: \"{app}.{name}.example.com\"}\n  apps:\n    web: {image: \"a:1\", port: 80}\n";
    check(
        "domains_template",
        &format!(
            "=== a.yaml\n{}=== b.yaml\n{}=== t.yaml\n{template}=== u.yaml\n{}",
            stack("outside", "  template: base\n  apps: {api: {image: a, port: 1, host: api.example.org}}\n"),
            stack("moved", "  template: base\n  domain: {zone: example.org}\n"),
            template.replace("name: base", "name: faulty").replace("{app}.{name}", "{ap}.{name}_x")
        ),
    );
    // The same host for two stacks: told where the pattern stands.
    let one = |name: &str| {
        stack(name, "  domain: {pattern: \"{app}.example.com\"}\n  apps: {web: {image: a, port: 1}}\n")
    };
    check("domains_same_host", &format!("=== a.yaml\n{}=== b.yaml\n{}", one("first"), one("second")));
}

/// Which hosts come out, by app.
fn hosts(text: &str) -> Vec<String> {
    let inputs = files(text);
    let fleet = load(&inputs, &Context::default());
    assert!(fleet.errors.is_empty() && fleet.warnings.is_empty(), "{}", show(&inputs, &fleet));
    let mut lines = Vec::new();
    for stack in fleet.stacks.values() {
        for (name, app) in &stack.apps {
            let hosts: Vec<_> =
                app.hosts.iter().map(|(k, h)| format!("{}:{}{}", k.host, h.port, k.path)).collect();
            lines.push(format!("{}/{name} {:?} {}", stack.name, stack.records, hosts.join(" ")));
        }
    }
    lines
}

#[test]
fn domains_give_hosts() {
    let apps = "  apps:\n    web: {image: a, port: 80}\n    api: {image: a, port: 81, host: own.example.com}\n    admin: {image: a, port: 82, hosts: {}}\n    none: {image: a, port: 83, host: null}\n    worker: {image: a}\n";
    let of = |domain: &str| hosts(&stack("shop", &format!("  domain: {domain}\n{apps}")));
    assert_eq!(
        of("{zone: example.com, pattern: \"{app}.{name}.Example.com\", records: wildcard}"),
        [
            "shop/admin Wildcard ",
            "shop/api Wildcard own.example.com:81/",
            "shop/none Wildcard ",
            "shop/web Wildcard web.shop.example.com:80/",
            "shop/worker Wildcard "
        ]
    );
    assert_eq!(of("{records: managed}")[4], "shop/worker Managed ");
    assert_eq!(of("{}")[3], "shop/web Managed ");
    // The zone's own name is in it.
    assert_eq!(
        hosts(&stack(
            "apex",
            "  domain: {zone: example.com, pattern: example.com}\n  apps: {web: {image: a, port: 80}}\n"
        )),
        ["apex/web Managed example.com:80/"]
    );
    let staged = stack(
        "shop",
        "  domain: {zone: {production: example.com, staging: example.net}, pattern: {production: \"{app}.example.com\", staging: \"{app}.{stage}.example.net\"}}\n  apps: {web: {image: a, port: 80}}\n",
    );
    assert_eq!(hosts(&staged), ["shop/web Managed web.example.com:80/"]);
    assert_eq!(
        hosts(&staged.replace("name: shop", "name: shop, stage: staging")),
        ["shop/web Managed web.staging.example.net:80/"]
    );
    // From a template, with a part of it changed by the stack. The health check and the links count the host.
    let template = "apiVersion: berth.dev/v1\nkind: StackTemplate\nmetadata: {name: base}\nspec:\n  domain: {zone: example.com, pattern: \"{app}.{tenant}.example.com\", records: wildcard}\n  apps:\n    web: {image: \"a:1\", port: 80, health: {http: /}, env: {URL: {from: {app: web}}}}\n";
    let over = |spec: &str| {
        hosts(&format!(
            "=== t.yaml\n{template}=== s.yaml\n{}",
            stack("shop", spec).replace("name: shop", "name: shop, tenant: acme")
        ))
    };
    assert_eq!(over("  template: base\n"), ["shop/web Wildcard web.acme.example.com:80/"]);
    assert_eq!(
        over("  template: base\n  domain: {pattern: \"{name}.example.com\", records: managed}\n"),
        ["shop/web Managed shop.example.com:80/"]
    );
    assert_eq!(
        over("  template: base\n  domain: null\n  apps: {web: {host: x.example.org}}\n"),
        ["shop/web Managed x.example.org:80/"]
    );
    // The pattern speaks before the settings do.
    let mut cx = Context::default();
    cx.defaults.host_suffix = Some("suffix.test".to_owned());
    let host = |spec: &str| {
        let fleet = load(&[Input::new("a.yaml", stack("shop", spec))], &cx);
        let app = fleet.stacks.values().next().unwrap().apps.values().next().unwrap().clone();
        app.hosts.keys().map(|k| k.host.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        host("  domain: {pattern: \"{app}.example.com\"}\n  apps: {web: {image: a, port: 80}}\n"),
        ["web.example.com"]
    );
    assert_eq!(
        host("  domain: {records: wildcard}\n  apps: {web: {image: a, port: 80}}\n"),
        ["shop.suffix.test"]
    );
}

#[test]
fn not_built_yet() {
    check(
        "later_kinds",
        "apiVersion: berth.dev/v1\nkind: Quota\nmetadata: {name: team-a}\nspec: {tenant: team-a, stacks: 20, replicas: {total: 40, perApp: 10}, cpu: {limit: 16, reserve: 8}, memory: {limit: 32Gi, reserve: 16Gi}, storage: 200Gi, previews: 5, defaults: {cpu: 0.5, memory: 512Mi}}\n---\napiVersion: berth.dev/v1\nkind: PreviewPolicy\nmetadata: {name: shop-pr}\nspec: {from: shop, name: \"shop-pr-{pr}\", domain: {pattern: \"{app}-pr-{pr}.preview.example.com\"}, image: {tag: \"pr-{pr}-{sha}\"}, ttl: 72h, limit: 10, replicas: 1, storage: delete}\n---\napiVersion: berth.dev/v1\nkind: Preview\nmetadata: {name: shop-pr-123}\nspec: {policy: shop-pr, pr: 123, shaa: 9f1c2ab}\n",
    );
    check(
        "later_swarm",
        &stack(
            "project-a",
            "  target: {swarm: edge}\n  network: {isolated: true, encrypted: true}\n  routing: {network: traefik-public, entrypoint: websecure, resolver: letsencrypt}\n  apps:\n    web: {image: \"r/web:3\", port: 3000, host: project-a.example.com, autoscale: {min: 2, max: 6, cpu: 60%}}\n    db: {image: \"postgres:16\", configs: {/etc/pg.conf: {file: ./pg.conf}}, secrets: {POSTGRES_PASSWORD: {generate: {bytes: 24}}}}\n  rollout: {order: start-first, parallel: 1, monitor: 15s, rollback: auto}\n",
        ),
    );
    check(
        "later_databases",
        &stack(
            "shop",
            "  domain: {zone: example.com, pattern: \"{app}.staging.example.com\", records: managed}\n  databases: {main: {engine: postgres, version: \"18\"}, cache: {engine: redis, vresion: \"8\"}}\n  apps:\n    api: {image: \"r/api:7\", port: 3000, uses: {main: {schema: public}, cache: {}}, requires: [PORT, DATABASE_URL], frontends: [web]}\n",
        ),
    );
}

#[test]
fn projects() {
    check(
        "projects",
        "apiVersion: berth.dev/v1\nkind: Project\nmetadata: {name: \" x\"}\nspec:\n  deletionPolicy: always\n  env: {A: \"{environmentId.staging}\", B: {generate: {}}, C: {}, D: \"{app}\", 1: x, E: \"${X}\"}\n---\napiVersion: berth.dev/v1\nkind: Project\nmetadata: {name: plain}\n",
    );
}
