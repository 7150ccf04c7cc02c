-- History stays within bounds.
insert into berth.events (id, key, body) select i, 'stack/a', '{"id": 1, "at": 5, "key": {"kind": "stack", "name": "a"}, "warning": false, "reason": "Settled", "message": "m"}' from generate_series(1, 10050) i;
-- A key with many runs, and many keys with one.
insert into berth.runs (id, key, body) select i, 'stack/a', '{}' from generate_series(1, 60) i;
insert into berth.runs (id, key, body) select 60 + i, 'stack/s' || i, '{}' from generate_series(1, 100000) i;
insert into berth.versions (stack, app, generation, hash, at, image, sealed)
select 'a', app, i, lpad(i::text, 16, '0'), i, 'r/web:' || i, '\x00' from generate_series(1, 12) i, unnest(array['web', 'api']) app;
insert into berth.requests (at, body) select i, '{"do": "confirm", "token": "t"}' from generate_series(1, 1500) i;
update berth.meta set request_done = 400;
insert into berth.audit_log (at, who, what, outcome) values (now() - interval '401 days', 'old', 'login', 'done');
insert into berth.audit_log (who, what, outcome) select 'new', 'login', 'done' from generate_series(1, 20);

select berth.trim_history();
select count(*), min(id), max(id) from berth.events;
select count(*), min(id) from berth.runs where key = 'stack/a';
select count(*) from berth.runs;
select app, count(*), min(generation) from berth.versions group by app order by app;
-- One that was not carried out is never dropped.
select count(*), min(number), max(number) from berth.requests;
select who, count(*) from berth.audit_log group by who;
select berth.trim_history();

update berth.meta set request_done = 1500;
select berth.trim_history(keep_audit => 5);
select count(*), min(number) from berth.requests;
select count(*) from berth.audit_log;
-- Fifty runs of one key, when there are no more in all.
delete from berth.runs;
insert into berth.runs (id, key, body) select i, 'stack/a', '{}' from generate_series(1, 60) i;
select berth.trim_history();
select count(*), min(id) from berth.runs;
