-- A portal's session sees and changes the rows of its tenant, once that is switched on.
drop role if exists berth_test_portal, berth_test_reader;
create role berth_test_portal in role berth_portal;
create role berth_test_reader in role berth_reader;
insert into berth.stacks (name, tenant, spec) values ('a-one', 'a', '{"secret": "a"}'), ('b-one', 'b', '{"secret": "b"}'), ('nobodys', null, '{}');
insert into berth.stack_templates (name, tenant, spec) values ('shared', null, '{}'), ('of-a', 'a', '{}'), ('of-b', 'b', '{}');
insert into berth.projects (name, spec) values ('shared', '{}');
insert into berth.quotas (name, spec) values ('qa', '{"tenant": "a"}'), ('qb', '{"tenant": "b"}');
insert into berth.preview_policies (name, tenant, spec) values ('pa', 'a', '{}'), ('pb', 'b', '{}');
insert into berth.previews (name, tenant, spec) values ('va', 'a', '{}'), ('vb', 'b', '{}');
-- A stack of the directory, of tenant b.
insert into berth.statuses (key, body)
select 'stack/' || n, format('{"key": {"kind": "stack", "name": %s}, "generation": 1, "observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True", "reason": "Settled", "message": "m", "since": 1}],
    "apps": [{"name": "web", "id": "i", "service": "s", "image": "r/%s:1", "hash": null, "live": null, "unmanaged": []}], "url": "https://%s", "phase": null, "tenant": %s, "origin": {"file": %s, "line": 1}, "changed": 1}',
    to_json(n), n, n, coalesce(to_json(t)::text, 'null'), to_json(f))::jsonb
from (values ('a-one', null, 'berth.stacks'), ('b-one', 'b', 'berth.stacks'), ('b-file', 'b', 'b.yaml')) v (n, t, f);
insert into berth.records (key, body)
select 'stack/' || n, format('{"generation": 1, "project": {"id": "p-%s", "op": "o"}, "apps": {"web": {"image": "r/%s:1", "rollout": {"asked": 1}, "children": [[{"domain": {"host": "%s", "path": "/"}}, "d"]]}}}', n, n, n)::jsonb
from unnest(array['a-one', 'b-one', 'b-file']) n;
insert into berth.versions (stack, app, generation, hash, at, image, sealed) select n, 'web', 1, '0', 1, 'r/' || n, '' from unnest(array['a-one', 'b-one', 'b-file']) n;
insert into berth.events (id, key, body) select i, 'stack/' || n, format('{"at": 1, "warning": false, "reason": "Settled", "message": "of %s"}', n)::jsonb
from unnest(array['a-one', 'b-one', 'b-file', 'gone']) with ordinality v (n, i);

-- Counts what a session sees of each view, and which tenants' names are in it.
create function pg_temp.seen() returns table (of_view text, n bigint, others bigint) language plpgsql as $$
declare v text;
begin
    foreach v in array array['stacks', 'projects', 'stack_templates', 'quotas', 'preview_policies', 'previews', 'stack_status', 'deployments',
        'orchestration_stacks', 'service_instances', 'network_assignments', 'resource_allocations', 'stack_events', 'audit'] loop
        begin
            return query execute format('select %L, count(*), count(*) filter (where x::text ~ ''b-one|b-file|of-b|qb|pb|vb|"b"'') from berth.%I x', v, v);
        exception when insufficient_privilege then
            return query select v, null::bigint, null::bigint;
        end;
    end loop;
end $$;
do $$ begin execute format('grant usage on schema %I to public', (select nspname from pg_namespace where oid = pg_my_temp_schema())); end $$;

create schema berth_test;
grant usage on schema berth_test to public;
-- Costs nothing, so that the planner would ask it first.
create function berth_test.tell(t text) returns boolean language plpgsql cost 0.0000001 as $$
begin
    perform set_config('test.saw', current_setting('test.saw', true) || ' ' || coalesce(t, ''), false);
    return true;
end $$;
create function berth_test.pg_has_role(name, oid, text) returns boolean language sql return true;
create function berth_test.current_setting(text, boolean) returns text language sql return 'b';

-- Off: a portal sees all.
set role berth_test_portal;
select * from pg_temp.seen();

reset role;
select berth.enable_tenant_rls();
set role berth_test_portal;
-- No tenant, no rows but those that belong to all.
select * from pg_temp.seen() where n > 0;
insert into berth.stacks (name, tenant, spec) values ('x', 'a', '{}');
insert into berth.stacks (name, spec) values ('x', '{}');
\echo :LAST_ERROR_SQLSTATE

set berth.tenant = 'a';
select * from pg_temp.seen();
select name, tenant, spec from berth.stacks;
select name, tenant from berth.stack_templates order by name;
select name, ready, url from berth.stack_status;
select name, message from berth.stack_events;
select what from berth.audit;
-- A condition that talks sees no row that it may not, in any view.
set client_min_messages = notice;
do $$
declare v text; n bigint;
begin
    foreach v in array array['stacks', 'projects', 'stack_templates', 'quotas', 'preview_policies', 'previews', 'stack_status', 'deployments',
        'orchestration_stacks', 'service_instances', 'network_assignments', 'resource_allocations', 'stack_events', 'audit'] loop
        perform set_config('test.saw', '', false);
        execute format('select count(*) from berth.%I x where berth_test.tell(x.%I::text)', v, (select attname from pg_attribute
            where attrelid = ('berth.' || v)::regclass and attname in ('name', 'stack_id', 'what', 'quotas', 'domain_assignments') order by attname limit 1)) into n;
        raise notice '%: % rows, others seen: %', v, n, current_setting('test.saw') ~ 'b-one|b-file|of-b|qb|pb|vb|"b"|nobodys';
    end loop;
end $$;
set client_min_messages = warning;
-- Nor does one that brings its own functions.
set search_path = berth_test, pg_catalog;
select pg_has_role(current_user, 0::oid, 'usage') as everybody, current_setting('berth.tenant', true) as tenant;
select name from berth.stacks;
insert into berth.stacks (name, tenant, spec) values ('b-two', 'b', '{}');
reset search_path;

-- It writes rows of its own.
insert into berth.stacks (name, tenant, spec) values ('a-two', 'a', '{}') returning generation;
update berth.stacks set stage = 'staging' where name = 'a-two';
insert into berth.quotas (name, spec) values ('qa-two', '{"tenant": "a"}') returning tenant;
insert into berth.stacks (name, tenant, spec) values ('b-two', 'b', '{}');
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (name, spec) values ('x', '{}');
insert into berth.stack_templates (name, spec) values ('mine', '{}');
insert into berth.quotas (name, spec) values ('qb-two', '{"tenant": "b"}');
-- A name is taken for all, and no more is said of whose it is.
insert into berth.stacks (name, tenant, spec) values ('b-one', 'a', '{}');
\set QUIET off
update berth.stacks set stage = 'preview' where name = 'b-one';
delete from berth.stacks where name = 'b-one';
delete from berth.stacks where name = 'nobodys';
update berth.stacks set stage = 'preview' where name like 'a-%';
\set QUIET on
update berth.stack_templates set spec = '{"apps": {}}' where name = 'shared';
\echo :LAST_ERROR_SQLSTATE
delete from berth.projects where name = 'shared';
update berth.stack_templates set spec = '{"apps": {}}' where name = 'of-a';
-- A name of the directory's stack of another tenant: its own row, and nothing of the other's.
insert into berth.stacks (name, tenant, spec) values ('b-file', 'a', '{}');
select name, tenant, reason, url from berth.stack_status where name = 'b-file';
select count(*) from berth.deployments where stack_id = 'b-file';
select count(*) from berth.service_instances where stack_id = 'b-file';

-- A name that passed to another tenant does not take its past along.
reset role;
delete from berth.stacks where name = 'b-one';
delete from berth.records where key = 'stack/b-one';
delete from berth.statuses where key = 'stack/b-one';
delete from berth.versions where stack = 'b-one';
delete from berth.manifests where key = 'stack/b-one';
set role berth_test_portal;
insert into berth.stacks (name, tenant, spec) values ('b-one', 'a', '{}') returning generation;
select name, message from berth.stack_events;
select count(*) from berth.deployments where stack_id = 'b-one';
select what from berth.audit where what like '%b-one';

-- A reader is held to its tenant too.
reset role;
set role berth_test_reader;
set berth.tenant = 'b';
select * from pg_temp.seen();
reset berth.tenant;
select * from pg_temp.seen() where n > 0;

-- The owner sees all, and so does everybody once it is switched off.
reset role;
select count(*) from berth.stacks;
select berth.disable_tenant_rls();
set role berth_test_portal;
select count(*) from berth.stacks;
reset role;
drop role berth_test_portal, berth_test_reader;
