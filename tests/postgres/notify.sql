-- Who listens hears the key of every change that was one.
listen berth_manifests;
listen berth_requests;
insert into berth.stacks (name, tenant, spec) values ('john-dev', 'john', '{}');
insert into berth.projects (name, spec) values ('AI stacks', '{}');
insert into berth.stack_templates (name, spec) values ('ai-workspace', '{}');
update berth.stacks set spec = '{}' where name = 'john-dev';
update berth.stacks set spec = '{"a": 1}' where name = 'john-dev';
delete from berth.stacks where name = 'john-dev';
delete from berth.stacks where name = 'john-dev';
delete from berth.manifests where key = 'stack/john-dev';
-- What was rolled back is not told.
begin;
insert into berth.stacks (name, spec) values ('never', '{}');
rollback;
-- One key is told once a transaction.
begin;
insert into berth.stacks (name, spec) values ('twice', '{}');
update berth.stacks set stage = 'staging' where name = 'twice';
commit;
-- The longest key fits.
insert into berth.projects (name, spec) values (repeat('ü', 100), '{}');
-- More than a hundred in one statement are one.
insert into berth.manifests (kind, name, spec) select 'Stack', 'many-' || i, '{}' from generate_series(1, 101) i;
-- A few are named.
update berth.manifests set stage = 'preview' where name in ('many-1', 'many-2');
-- Requests.
insert into berth.requests (at, body) values (12, '{"do": "confirm", "token": "t"}');
begin;
insert into berth.requests (at, body) values (12, '{"do": "confirm", "token": "t"}');
rollback;
insert into berth.requests (at, body) values (13, '{"do": "confirm", "token": "u"}');
select number, body from berth.requests order by number;
