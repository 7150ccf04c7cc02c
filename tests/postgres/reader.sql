-- A reader that polls misses nothing, although the slower of two transactions took the smaller number.
create extension dblink;
select dblink_connect(n, format('host=%s port=%s dbname=%s user=%s',
    coalesce(host(inet_server_addr()), split_part(current_setting('unix_socket_directories'), ',', 1)),
    current_setting('port'), current_database(), current_user))
from unnest(array['slow', 'fast']) n;
insert into berth.stacks (name, spec) values ('old', '{}'), ('going', '{}');

-- Everything, for one that never looked.
select key, removed from berth.changes() order by change_seq;
select upto as since from berth.changes() limit 1 \gset

select dblink_exec('slow', 'begin');
select dblink_exec('slow', $$insert into berth.stacks (name, spec) values ('slow', '{}')$$);
select dblink_exec('fast', $$insert into berth.stacks (name, spec) values ('fast', '{}')$$);
-- An old row may come twice, where some other transaction of the server is still open.
select key, removed from berth.changes(:'since') where key in ('stack/slow', 'stack/fast') order by change_seq;
select upto as since, max(change_seq) over () as seen from berth.changes(:'since') limit 1 \gset
select dblink_exec('slow', 'commit');
-- "Greater than the last number" would have missed it.
select key, change_seq > :seen as later from berth.changes(:'since') where key = 'stack/slow';

-- A removal is seen too.
select upto as since from berth.changes(:'since') limit 1 \gset
delete from berth.stacks where name = 'going';
select key, removed, deletion_requested_at is not null as marked from berth.changes(:'since') where key = 'stack/going';
delete from berth.manifests where key = 'stack/going';
select key, kind, name, removed, spec from berth.changes(:'since') where key = 'stack/going';
-- Written again, it is there and not removed.
insert into berth.stacks (name, spec) values ('going', '{}');
select key, removed, generation from berth.changes(:'since') where key = 'stack/going';
delete from berth.stacks where name = 'going';
delete from berth.manifests where key = 'stack/going';
select key, removed from berth.changes(:'since') where key = 'stack/going';
-- Who reads everything needs no removals.
select key from berth.changes() order by key;
select berth.sweep_removed();
update berth.removed set removed_at = now() - interval '25 hours';
select berth.sweep_removed();

-- Two that update one row: what they did not both touch stays; what they did is refused.
select dblink_exec('slow', 'begin isolation level read committed');
select dblink_exec('slow', $$update berth.stacks set stage = 'staging' where name = 'old'$$);
select dblink_send_query('fast', $$update berth.stacks set spec = '{"by": "fast"}' where name = 'old'$$);
select pg_sleep(0.3);
select dblink_exec('slow', 'commit');
select * from dblink_get_result('fast') as t (done text);
select * from dblink_get_result('fast') as t (done text);
select stage, spec, generation from berth.stacks where name = 'old';
select dblink_exec('slow', 'begin');
select dblink_exec('slow', $$update berth.stacks set spec = spec || '{"more": "slow"}' where name = 'old'$$);
select dblink_send_query('fast', $$update berth.stacks set spec = spec || '{"more": "fast"}' where name = 'old'$$);
select pg_sleep(0.3);
select dblink_exec('slow', 'commit');
select * from dblink_get_result('fast') as t (done text);
select * from dblink_get_result('fast', false) as t (done text);
select spec, generation from berth.stacks where name = 'old';

-- Two that insert one name: the second waits, and is told.
select dblink_exec('slow', 'begin');
select dblink_exec('slow', $$insert into berth.stacks (name, spec) values ('both', '{}')$$);
select dblink_send_query('fast', $$insert into berth.stacks (name, spec) values ('both', '{}')$$);
select pg_sleep(0.3);
select dblink_exec('slow', 'commit');
select * from dblink_get_result('fast') as t (done text);
select * from dblink_get_result('fast', false) as t (done text);

-- Requests become visible in the order of their numbers: the second waits for the first.
select dblink_exec('slow', 'begin');
select dblink_exec('slow', $$insert into berth.requests (at, body) values (1, '"first"')$$);
select dblink_send_query('fast', $$insert into berth.requests (at, body) values (1, '"second"')$$);
select pg_sleep(0.3);
select count(*) from berth.requests;
select dblink_exec('slow', 'commit');
select * from dblink_get_result('fast') as t (done text);
select * from dblink_get_result('fast') as t (done text);
select number, body from berth.requests order by number;

-- The lease: one leader, and an epoch that rises. A successor waits for what the leader before is writing.
select epoch, expires_at > now() as runs from berth.take_lease('a', 'http://a', '10 s');
select epoch from berth.take_lease('b', 'http://b', '10 s');
select holder, address, epoch from berth.lease;
select berth.leads(1), berth.leads(2);
select dblink_exec('slow', 'begin');
select * from dblink('slow', 'select berth.leads(1)') as t (leads boolean);
-- A renewal does not wait for it.
set lock_timeout = '200ms';
select berth.renew_lease(1, '-1 s') < clock_timestamp() as ran_out;
select epoch from berth.take_lease('b', 'http://b', '10 s');
select dblink_exec('slow', 'commit');
select epoch from berth.take_lease('b', 'http://b', '10 s');
select berth.leads(1), berth.leads(2), berth.renew_lease(1, '10 s') is null as refused;
select berth.release_lease(1);
select holder from berth.lease;
select berth.release_lease(2);
select epoch from berth.take_lease('a', 'http://a', '10 s');

-- A lead counts on one run of the server. After another start nobody takes it for as long as a lease lasts, since whoever
-- led before may still call out; only one whose own lead has not run out goes on.
update berth.lease set server = server - interval '1 hour';
select berth.leads(3), berth.renew_lease(3, '10 s') is null as refused;
select epoch from berth.take_lease('b', 'http://b', '1 s');
select holder is null as free, expires_at > clock_timestamp() as waits, server = pg_postmaster_start_time() as here from berth.lease;
select epoch from berth.take_lease('b', 'http://b', '1 s');
select epoch from berth.take_lease('a', 'http://a', '10 s', led => true);
select epoch from berth.take_lease('b', 'http://b', '1 s', led => true);
update berth.lease set server = server - interval '1 hour';
select epoch from berth.take_lease('b', 'http://b', '1 s');
select pg_sleep(1.1);
select epoch from berth.take_lease('b', 'http://b', '10 s');
update berth.lease set server = server - interval '1 hour';
select epoch from berth.take_lease('b', 'http://b', '10 s', led => true);

-- A reader that comes from another server, which was further, is told everything.
select count(*) > 0 and bool_and(not removed) as everything from berth.changes('1000000000');
