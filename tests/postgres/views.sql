-- The views over rows as the daemon writes them.
set timezone = 'UTC';
insert into berth.projects (name, spec) values ('shop', '{"create": true}');
insert into berth.quotas (name, spec) values ('acme', '{"tenant": "acme", "stacks": 20, "cpu": {"limit": 16}, "memory": {"limit": "32Gi"}, "storage": "200Gi"}');
insert into berth.stacks (name, tenant, stage, spec) values ('shop', 'acme', 'staging', '{
    "target": {"dokploy": "main", "project": "shop", "environment": "staging"},
    "apps": {"web": {"image": "r/web:7", "replicas": 2, "env": {"TOKEN": "hidden-value"},
                     "resources": {"memory": "512Mi", "cpu": 0.5},
                     "health": {"http": "/up", "within": "60s", "cmd": "check --key hidden-value"}},
             "api": {"image": "r/api:7", "replicas": "many", "health": "hidden-value", "resources": 7}}}');
insert into berth.stacks (name, tenant, template, spec) values ('john-dev', 'john', 'ai-workspace', '{}');
-- What nobody checked yet breaks no view.
insert into berth.stacks (name, tenant, spec) values ('odd', 'acme', '{"apps": [1], "target": "main", "template": null}');

insert into berth.records (key, body) values
('project/shop', '{"backend": "main", "generation": 1, "spec": "000000000000000a", "origin": {"file": "berth.projects", "line": 1},
    "project": {"id": "prj-1", "op": "op-1", "environments": {"staging": "env-1"}}}'),
('stack/shop', '{"backend": "main", "generation": 1, "spec": "000000000000000b", "origin": {"file": "berth.stacks", "line": 1}, "apps": {
    "web": {"id": "app-1", "service": "shop-web-a1b2c3", "op": "op-2", "children": [
            [{"mount": "/data"}, "mnt-1"], [{"port": {"published": 8080, "udp": false}}, "prt-1"],
            [{"domain": {"host": "shop.example.com", "path": "/"}}, "dom-1"]],
        "applied": "00000000000000aa", "live": "00000000000000bb", "image": "r/web:7", "good": "00000000000000bb", "quarantined": null},
    "api": {"id": "app-2", "service": "shop-api-d4e5f6", "op": "op-3", "applied": "00000000000000cc", "live": null, "image": "r/api:7", "good": null,
        "rollout": {"hash": "00000000000000cc", "token": "t", "phase": "converge", "asked": 1700000060000, "since": 1700000061000, "attempts": 1},
        "quarantined": null}}}'),
('stack/notes', '{"backend": "main", "generation": 4, "spec": "000000000000000c", "origin": {"file": "notes.yaml", "line": 1},
    "project": {"id": "prj-2", "op": "op-4", "environments": {}}, "failing": {"count": 2, "reason": "HealthFailed", "message": "no answer"},
    "apps": {"notes": {"id": "app-3", "service": "notes-1", "op": null, "applied": null, "live": null, "image": "r/notes:2", "good": null,
        "quarantined": "00000000000000dd", "quarantineReason": ["HealthFailed", "no answer on /"]}}}');
insert into berth.statuses (key, body) values
('project/shop', '{"key": {"kind": "project", "name": "shop"}, "generation": 1, "observedGeneration": 1,
    "conditions": [{"type": "Ready", "status": "True", "reason": "Settled", "message": "all is as the manifest says", "since": 1700000000000}],
    "apps": [], "url": null, "phase": null, "tenant": null, "origin": {"file": "berth.projects", "line": 1}, "changed": 1700000000000}'),
('stack/shop', '{"key": {"kind": "stack", "name": "shop"}, "generation": 1, "observedGeneration": 1, "conditions": [
        {"type": "Ready", "status": "False", "reason": "Progressing", "message": "[6/7] converge api: 0 of 1 run", "since": 1700000060000},
        {"type": "Reconciling", "status": "True", "reason": "Progressing", "message": "[6/7] converge api: 0 of 1 run", "since": 1700000060000},
        {"type": "Accepted", "status": "True", "reason": "Valid", "message": "the manifest is valid", "since": 1700000000000}],
    "apps": [{"name": "api", "id": "app-2", "service": "shop-api-d4e5f6", "image": "r/api:7", "hash": "00000000000000cc", "live": null, "unmanaged": []},
             {"name": "web", "id": "app-1", "service": "shop-web-a1b2c3", "image": "r/web:7", "hash": "00000000000000bb", "live": "00000000000000bb", "unmanaged": ["env.OLD"]}],
    "url": "https://shop.example.com", "phase": "converge", "tenant": "acme", "origin": {"file": "berth.stacks", "line": 1}, "changed": 1700000061000}'),
('stack/notes', '{"key": {"kind": "stack", "name": "notes"}, "generation": 4, "observedGeneration": 4, "conditions": [
        {"type": "Ready", "status": "Unknown", "reason": "HealthFailed", "message": "no answer on /", "since": 1700000000000},
        {"type": "Stalled", "status": "True", "reason": "Quarantined", "message": "no answer on /", "since": 1700000000000},
        {"type": "Accepted", "status": "Unknown", "reason": "Unknown", "message": "m", "since": 1700000000000}],
    "apps": [{"name": "notes", "id": "app-3", "service": "notes-1", "image": "r/notes:2", "hash": "00000000000000dd", "live": "00000000000000ee", "unmanaged": []}],
    "url": "https://notes.example.com", "phase": null, "tenant": "maria", "origin": {"file": "team/Notes.YAML", "line": 12}, "changed": 1700000000000}');
insert into berth.runs (id, key, body) values
(1, 'stack/shop', '{"id": 1, "key": {"kind": "stack", "name": "shop"}, "at": 1700000001000, "because": ["row"], "generation": 1, "did": ["create application"], "blocked": [],
    "outcome": "progressing", "phases": [["create", 1200]], "next": [1700000002000, "poll"], "took": {"secs": 1, "nanos": 200000000}}'),
(2, 'stack/shop', '{"id": 2, "key": {"kind": "stack", "name": "shop"}, "at": 1700000002000, "because": ["retry"], "generation": 1, "did": [], "blocked": [],
    "outcome": "settled", "phases": [], "next": null, "took": {"secs": 0, "nanos": 0}}');
insert into berth.versions (stack, app, generation, hash, at, image, sealed) values
    ('shop', 'web', 1, '00000000000000bb', 1700000050000, 'r/web:7', '\x00'),
    ('notes', 'notes', 3, '00000000000000ee', 1690000000000, 'r/notes:1', '\x00');
insert into berth.events (id, key, body) values
(1, 'stack/shop', '{"id": 1, "at": 1700000060000, "key": {"kind": "stack", "name": "shop"}, "warning": false, "reason": "Progressing", "message": "deploying api"}'),
(2, 'stack/notes', '{"id": 2, "at": 1700000061000, "key": {"kind": "stack", "name": "notes"}, "warning": true, "reason": "HealthFailed", "message": "no answer on /"}'),
(3, 'project/shop', '{"id": 3, "at": 1700000062000, "key": {"kind": "project", "name": "shop"}, "warning": false, "reason": "Settled", "message": "m"}')
on conflict (id) do update set body = excluded.body;

select key, name, tenant, ready, accepted, reason, url, phase, generation, observed_generation, changed, from_file from berth.statuses order by key;
select name, tenant, stage, ready, accepted, reason, message, url, generation, observed_generation, phase, removing from berth.stack_status order by name;
select name, changed_at from berth.stack_status where name = 'notes';
select * from berth.deployments order by stack_id, image, outcome;
select id, name, project_id, environment, compose_config, resource_quotas, network_mappings, status, created_at is not null as created, updated_at is not null as updated from berth.orchestration_stacks order by id;
select id, stack_id, service_name, image, replicas, current_replicas, resource_limits, health_check_config, status, created_at, updated_at is not null as updated from berth.service_instances order by id;
select * from berth.network_assignments order by project_id;
select project_id, environment, cpu_limit, memory_limit, storage_limit, current_usage, quotas, created_at = updated_at as times from berth.resource_allocations;
select * from berth.stack_events order by id;
select who = session_user as login, what, generation, outcome, at is not null as at from berth.audit;

-- No view that is read hides a value in it.
select count(*) filter (where v::text like '%hidden-value%') as leaks, count(*) as rows_seen from (
    select to_jsonb(x) from berth.stack_status x union all select to_jsonb(x) from berth.deployments x
    union all select to_jsonb(x) from berth.orchestration_stacks x union all select to_jsonb(x) from berth.service_instances x
    union all select to_jsonb(x) from berth.network_assignments x union all select to_jsonb(x) from berth.resource_allocations x
    union all select to_jsonb(x) from berth.stack_events x union all select to_jsonb(x) from berth.audit x) all_rows (v);

-- Ready is said of the generation that is asked for, and of no other.
update berth.statuses set body = jsonb_set(jsonb_set(body, '{conditions,0,status}', '"True"'), '{conditions,0,reason}', '"Settled"') where key = 'stack/shop';
select ready, accepted, reason, message, generation, observed_generation from berth.stack_status where name = 'shop';
update berth.stacks set spec = spec || '{"paused": true}' where name = 'shop';
select ready, accepted, reason, message, generation, observed_generation from berth.stack_status where name = 'shop';
select resource_allocation from berth.deployments where stack_id = 'shop' and outcome = 'good';
update berth.statuses set body = jsonb_set(body, '{observedGeneration}', '2') where key = 'stack/shop';
select ready, accepted, reason, generation, observed_generation from berth.stack_status where name = 'shop';
delete from berth.stacks where name = 'shop';
select ready, reason, removing from berth.stack_status where name = 'shop';
select status from berth.orchestration_stacks where name = 'shop';

-- A row that claims the name of a stack of the directory stands beside it.
insert into berth.stacks (name, tenant, spec) values ('notes', 'acme', '{}');
select tenant, ready, accepted, reason, url, generation from berth.stack_status where name = 'notes' order by tenant;
select count(*) from berth.orchestration_stacks where name = 'notes';
select berth.tenant_of('stack/notes'), berth.tenant_of('stack/shop'), berth.tenant_of('stack/nobody');

-- A removed row leaves nothing of the state behind, once the daemon forgot it.
delete from berth.records where key = 'stack/shop';
delete from berth.statuses where key = 'stack/shop';
delete from berth.versions where stack = 'shop';
delete from berth.manifests where key = 'stack/shop';
select name from berth.stack_status order by name;
select stack_id from berth.deployments order by stack_id, outcome;

-- The columns that a portal relies on.
select table_name, string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position) from information_schema.columns
where table_schema = 'berth' and table_name in (select table_name from information_schema.views where table_schema = 'berth')
group by table_name order by table_name;
