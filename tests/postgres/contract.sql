-- The three statements of the contract, and the rules of a row.
set berth.actor = 'portal-token';
set role berth_portal;

insert into berth.stacks (name, tenant, template, spec) values ('john-dev', 'john', 'ai-workspace', '{}');
select ready, reason, message, url, generation, observed_generation from berth.stack_status where name = 'john-dev';
select name, tenant, stage, accepted, phase, removing, changed_at = now() as now from berth.stack_status where name = 'nobody';
select name, tenant, stage, formerly, template, spec, generation, deletion_requested_at, written_by from berth.stacks;

-- The generation rises with what is asked for, and with nothing else.
update berth.stacks set spec = '{"apps": {"web": {"env": {"V": 1.1}}}}' where name = 'john-dev';
select generation from berth.stacks;
update berth.stacks set spec = '{"apps": {"web": {"env": {"V": 1.10}}}}' where name = 'john-dev';
select generation, spec from berth.stacks;
select change_seq as before from berth.stacks \gset
update berth.stacks set spec = '{"apps":{"web":{"env":{"V":1.10}}}}', stage = 'production' where name = 'john-dev';
select generation, change_seq = :before as same_seq from berth.stacks;
update berth.stacks set stage = 'staging' where name = 'john-dev';
update berth.stacks set template = null where name = 'john-dev';
select generation, stage, template from berth.stacks;
insert into berth.stacks (name, tenant, spec) values ('returns', 'john', '{}') returning name, stage, generation, written_by;
update berth.stacks set stage = 'preview' where name = 'returns' returning stage, generation;

-- What may not be written.
insert into berth.stacks (name, tenant, spec) values ('john-dev', 'maria', '{}');
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (name, tenant, spec, generation) values ('a', 'john', '{}', 7);
\echo :LAST_ERROR_SQLSTATE
update berth.stacks set tenant = 'maria' where name = 'john-dev';
\echo :LAST_ERROR_SQLSTATE
reset role;
update berth.stacks set name = 'johns-dev' where name = 'john-dev';
\echo :LAST_ERROR_SQLSTATE
update berth.stacks set tenant = 'maria' where name = 'john-dev';
update berth.stacks set generation = 9 where name = 'john-dev';
\echo :LAST_ERROR_SQLSTATE
update berth.manifests set name = 'johns-dev' where name = 'john-dev';
set role berth_portal;

-- Names.
insert into berth.stacks (name, spec) values ('', '{}');
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (spec) values ('{}');
insert into berth.stacks (name, spec) values ('1a', '{}');
insert into berth.stacks (name, spec) values ('A', '{}');
insert into berth.stacks (name, spec) values ('a_b', '{}');
insert into berth.stacks (name, spec) values ('a--b', '{}');
insert into berth.stacks (name, spec) values ('a-', '{}');
insert into berth.stacks (name, spec) values ('ä', '{}');
insert into berth.stacks (name, spec) values (E'a\n', '{}');
insert into berth.stacks (name, spec) values (repeat('a', 41), '{}');
insert into berth.stacks (name, spec) values (repeat('a', 40), '{}') returning generation;
insert into berth.stacks (name, formerly, spec) values ('new', 'new', '{}');
insert into berth.stacks (name, formerly, spec) values ('new', 'Old', '{}');
insert into berth.stacks (name, template, spec) values ('new', 'No Template', '{}');
insert into berth.stacks (name, tenant, spec) values ('new', ' john', '{}');
insert into berth.projects (name, spec) values ('AI stacks: shared', '{"create": true}') returning name, generation;
insert into berth.projects (name, spec) values ('', '{}');
insert into berth.projects (name, spec) values (repeat('a', 101), '{}');

-- Stages and specs.
insert into berth.stacks (name, stage, spec) values ('a', 'prod', '{}');
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (name) values ('a');
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (name, spec) values ('a', '[1]');
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (name, spec) values ('a', 'null');
insert into berth.stacks (name, spec) values ('a', '{');
update berth.stacks set spec = null where name = 'john-dev';
update berth.stacks set spec = '"text"' where name = 'john-dev';
insert into berth.stacks (name, spec) values ('a', jsonb_build_object('a', repeat('x', 1048576)));
\echo :LAST_ERROR_SQLSTATE
insert into berth.stacks (name, spec) values ('large', jsonb_build_object('a', repeat('x', 1048576 - 9))) returning octet_length(spec::text);
insert into berth.stacks (name, template, spec) values ('a', 'one', '{"template": "two"}');
insert into berth.stacks (name, template, spec) values ('a', 'one', '{"template": "one"}') returning generation;

-- Every kind.
insert into berth.stack_templates (name, spec) values ('ai-workspace', '{"apps": {}}') returning generation;
insert into berth.quotas (name, spec) values ('team-a', '{"tenant": "team-a", "stacks": 20}') returning tenant, generation;
insert into berth.quotas (name, tenant, spec) values ('team-b', 'team-b', '{"tenant": "team-a"}');
insert into berth.preview_policies (name, tenant, spec) values ('shop-pr', 'acme', '{"from": "shop"}') returning generation;
insert into berth.previews (name, tenant, spec) values ('shop-pr-1', 'acme', '{"policy": "shop-pr", "pr": 1}') returning generation;
update berth.projects set spec = '{"create": false}';
update berth.previews set spec = '{"policy": "shop-pr", "pr": 1, "sha": "9f1c2ab"}';
select name, generation from berth.previews union all select name, generation from berth.projects;
-- One name in two kinds is no clash.
insert into berth.stacks (name, tenant, spec) values ('shop-pr', 'acme', '{}') returning generation;

-- Removal is asked for, and answered as a delete.
\set QUIET off
delete from berth.stacks where name = 'john-dev';
delete from berth.stacks where name = 'john-dev';
delete from berth.stacks where name = 'nobody';
delete from berth.previews;
\set QUIET on
select generation, deletion_requested_at is not null as marked from berth.stacks where name = 'john-dev';
select ready, reason, message, removing, generation, observed_generation from berth.stack_status where name = 'john-dev';
insert into berth.stacks (name, tenant, template, spec) values ('john-dev', 'john', 'ai-workspace', '{}');
\echo :LAST_ERROR_SQLSTATE
update berth.stacks set stage = 'production' where name = 'john-dev';
\echo :LAST_ERROR_SQLSTATE

-- The daemon takes it away, and only what was marked.
reset role;
delete from berth.manifests where key = 'stack/john-dev';
select key from berth.removed;
delete from berth.manifests where key = 'stack/returns';
\echo :LAST_ERROR_SQLSTATE
truncate berth.manifests;
set role berth_portal;
insert into berth.stacks (name, tenant, template, spec) values ('john-dev', 'john', 'ai-workspace', '{}') returning generation;

-- Every change left its trace, and what changed nothing left none.
select who, what, generation, outcome from berth.audit;
reset role;
reset berth.actor;
select bool_and(login = session_user) as login, bool_and(who = 'portal-token') as who from berth.audit_log;
insert into berth.stacks (name, spec) values ('unnamed', '{}') returning written_by = session_user as login;
