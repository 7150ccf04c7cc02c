-- What each role may do, and nothing else.
select r.role, c.relname, string_agg(p.privilege, ' ' order by p.privilege)
from pg_class c, (values ('berth_portal'), ('berth_reader')) r (role), (values ('select'), ('insert'), ('update'), ('delete'), ('truncate'), ('references'), ('trigger')) p (privilege)
where c.relnamespace = 'berth'::regnamespace and c.relkind in ('r', 'v') and has_table_privilege(r.role, c.oid, p.privilege)
group by r.role, c.relname order by r.role, c.relname;
-- Columns that may be updated.
select table_name, string_agg(column_name, ' ' order by column_name) from information_schema.column_privileges
where table_schema = 'berth' and privilege_type = 'UPDATE' and grantee = 'berth_portal' group by table_name order by table_name;
select count(*) from information_schema.column_privileges where table_schema = 'berth' and privilege_type = 'UPDATE' and grantee = 'berth_reader';
-- Functions and sequences.
select r.role, p.proname from pg_proc p, (values ('berth_portal'), ('berth_reader')) r (role)
where p.pronamespace = 'berth'::regnamespace and has_function_privilege(r.role, p.oid, 'execute') order by r.role, p.proname;
select count(*) from pg_class c, (values ('berth_portal'), ('berth_reader')) r (role)
where c.relnamespace = 'berth'::regnamespace and c.relkind = 'S' and (has_sequence_privilege(r.role, c.oid, 'usage') or has_sequence_privilege(r.role, c.oid, 'select'));
-- What runs with its owner's rights has a search path that nobody chooses.
select proname, proconfig from pg_proc where pronamespace = 'berth'::regnamespace and prosecdef order by proname;
select rolname, rolcanlogin, rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles where rolname in ('berth_portal', 'berth_reader') order by rolname;
-- A stranger sees nothing.
create role berth_test_stranger;
select has_schema_privilege('berth_test_stranger', 'berth', 'usage');

insert into berth.stacks (name, tenant, spec) values ('shop', 'acme', '{}');
\set VERBOSITY terse
set role berth_portal;
insert into berth.stacks (name, tenant, spec) values ('john-dev', 'john', '{}');
update berth.stacks set spec = '{"a": 1}', template = 't', stage = 'staging' where name = 'john-dev';
update berth.stacks set formerly = 'x';
update berth.stacks set generation = 5;
delete from berth.stacks where name = 'john-dev';
insert into berth.projects (name, spec) values ('p', '{}');
update berth.projects set spec = '{"create": true}';
delete from berth.projects;
insert into berth.stack_templates (name, spec) values ('t', '{}');
insert into berth.quotas (name, spec) values ('q', '{"tenant": "acme"}');
insert into berth.preview_policies (name, spec) values ('pp', '{}');
insert into berth.previews (name, spec) values ('p', '{}');
select name from berth.stacks union select name from berth.projects union select name from berth.stack_templates
union select name from berth.quotas union select name from berth.preview_policies union select name from berth.previews order by 1;
select count(*) from berth.stack_status;
select count(*) from berth.deployments;
select count(*) from berth.orchestration_stacks;
select count(*) from berth.service_instances;
select count(*) from berth.network_assignments;
select count(*) from berth.resource_allocations;
select count(*) from berth.stack_events;
select count(*) > 0 from berth.audit;
select from berth.manifests;
insert into berth.manifests (kind, name, spec) values ('Stack', 'x', '{}');
delete from berth.manifests;
select from berth.removed;
select from berth.meta;
select from berth.records;
select from berth.intents;
select from berth.statuses;
select from berth.secrets;
select from berth.events;
select from berth.runs;
select from berth.versions;
select from berth.requests;
insert into berth.requests (at, body) values (1, '{}');
select from berth.lease;
update berth.lease set epoch = 0;
select from berth.audit_log;
delete from berth.audit_log;
delete from berth.audit;
select from berth.known_stacks;
select nextval('berth.change_seq');
select * from berth.changes();
select berth.sweep_removed();
select berth.trim_history();
select berth.enable_tenant_rls();
select berth.disable_tenant_rls();
select berth.take_lease('me', 'x', '1 h');
truncate berth.stacks;
create table berth.mine (a integer);
create trigger mine instead of insert on berth.stacks for each row execute function suppress_redundant_updates_trigger();

reset role;
set role berth_reader;
select name, ready from berth.stack_status order by name;
select count(*) from berth.deployments;
select count(*) from berth.orchestration_stacks;
select count(*) from berth.service_instances;
select count(*) from berth.network_assignments;
select count(*) from berth.resource_allocations;
select count(*) from berth.stack_events;
select count(*) > 0 from berth.audit;
select from berth.stacks;
select from berth.projects;
select from berth.stack_templates;
select from berth.quotas;
select from berth.preview_policies;
select from berth.previews;
insert into berth.stacks (name, spec) values ('x', '{}');
update berth.stacks set spec = '{}';
delete from berth.stacks;
select from berth.manifests;
select from berth.statuses;
select from berth.secrets;
select from berth.audit_log;
select from berth.known_stacks;
reset role;
drop role berth_test_stranger;
