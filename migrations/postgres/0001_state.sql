-- What Berth remembers between runs. Losing these tables costs history and nothing else.
--
-- `body` holds a value as JSON; beside it stand only columns that a statement filters or sorts by. Times that only
-- Berth reads are milliseconds since 1970-01-01 UTC. No column holds a secret in clear: `sealed` is what the vault
-- sealed.
--
-- Every name is written with its schema: nothing here depends on a search path. Functions that rights depend on have
-- bodies that are bound when they are made, or a fixed search path: a caller's own operators must not get in.

-- A DBA may have made it already, for a role that may not.
create schema if not exists berth;

-- One row.
create table berth.meta (
    one          integer primary key default 1 check (one = 1),
    made         bigint  not null,            -- when this store was made
    request_last bigint  not null default 0,  -- the newest request
    request_done bigint  not null default 0,  -- requests up to this one were carried out
    tenant_rls   boolean not null default false  -- portals see the rows of their tenant only
);
insert into berth.meta (made) values ((extract(epoch from clock_timestamp()) * 1000)::bigint);

-- Who leads. One row. The epoch stands here alone: it rises with every daemon that takes the lead.
create table berth.lease (
    name       text        primary key default 'leader' check (name = 'leader'),
    holder     text,
    address    text,                          -- where the leader is asked
    epoch      bigint      not null default 0,
    expires_at timestamptz not null default '-infinity',
    renewed_at timestamptz,
    server     timestamptz                    -- the run of the server that it counts on: when that one started
);
insert into berth.lease default values;

-- Takes the lead if nobody has it; no row if somebody does. By the server's clock, not the transaction's.
-- `for update` waits for every open commit of the leader before (see berth.leads): once this returns, no write under
-- an older epoch can still come. It is tried only when the lease has run out, so that standbys disturb nobody.
--
-- A lead counts on one run of one server. After another start, this may be a copy that lacks the last commits: who led
-- when they were made, nobody here knows, and may go on for as long as a lease lasts. That long nobody takes it, but
-- the one whose own lead has not run out (`led`): while it lasted, nobody else's could begin.
create function berth.take_lease(who text, reached_at text, lasts interval, led boolean default false)
returns table (epoch bigint, expires_at timestamptz) language plpgsql as $$
#variable_conflict use_column
declare
    run constant timestamptz := pg_postmaster_start_time();
    seen berth.lease;
begin
    select * into seen from berth.lease;
    if seen.server = run and seen.expires_at > clock_timestamp() and seen.holder is distinct from who
        and not (led and seen.holder is null)
    then
        return;
    end if;
    select * into seen from berth.lease for update;
    if seen.server <> run and not led then
        -- Another epoch: the copy may name the very lead that goes on elsewhere.
        update berth.lease l set holder = null, address = null, epoch = l.epoch + 1, server = run,
            expires_at = clock_timestamp() + lasts;
        return;
    end if;
    if seen.server = run and seen.expires_at > clock_timestamp() and seen.holder is distinct from who
        and not (led and seen.holder is null)
    then
        return;
    end if;
    return query update berth.lease l
        set holder = who, address = reached_at, epoch = l.epoch + 1, server = run,
            renewed_at = clock_timestamp(), expires_at = clock_timestamp() + lasts
        returning l.epoch, l.expires_at;
end $$;

-- Until when the lead lasts now; null if another daemon has it, or if it was taken on another run of the server.
create function berth.renew_lease(led_under bigint, lasts interval) returns timestamptz language sql as $$
    update berth.lease set renewed_at = clock_timestamp(), expires_at = clock_timestamp() + lasts
    where epoch = led_under and server = pg_postmaster_start_time() returning expires_at
$$;

-- Lets another daemon take the lead at once.
create function berth.release_lease(led_under bigint) returns void language sql as $$
    update berth.lease set holder = null, address = null, expires_at = '-infinity'
    where epoch = led_under and server = pg_postmaster_start_time()
$$;

-- Whether this epoch leads, and goes on leading until the transaction ends. First in every transaction of a leader.
-- `for key share` lets renewals pass and holds up a successor.
create function berth.leads(led_under bigint) returns boolean language sql as $$
    select l.epoch = led_under and l.server = pg_postmaster_start_time() from berth.lease l for key share
$$;

-- The record of a stack or project.
create table berth.records (
    key  text  primary key,                   -- stack/NAME or project/NAME
    body jsonb not null
);

-- Creates that were, or are about to be, sent, and are not settled.
create table berth.intents (
    op   text  primary key,
    body jsonb not null
);

-- How stacks stand, as published. The columns beside the body follow from it.
create table berth.statuses (
    key                 text    primary key,
    body                jsonb   not null,
    name                text    generated always as (body -> 'key' ->> 'name') stored,
    tenant              text    generated always as (body ->> 'tenant') stored,
    ready               boolean not null generated always as (coalesce(
        jsonb_path_query_first(body, '$.conditions[*] ? (@.type == "Ready")') ->> 'status' = 'True', false)) stored,
    -- Null while nobody knows.
    accepted            boolean generated always as (
        case jsonb_path_query_first(body, '$.conditions[*] ? (@.type == "Accepted")') ->> 'status'
            when 'True' then true when 'False' then false end) stored,
    reason              text    generated always as (
        jsonb_path_query_first(body, '$.conditions[*] ? (@.type == "Ready")') ->> 'reason') stored,
    message             text    generated always as (
        jsonb_path_query_first(body, '$.conditions[*] ? (@.type == "Ready")') ->> 'message') stored,
    url                 text    generated always as (body ->> 'url') stored,
    phase               text    generated always as (body ->> 'phase') stored,
    generation          bigint  generated always as ((body ->> 'generation')::bigint) stored,
    observed_generation bigint  generated always as ((body ->> 'observedGeneration')::bigint) stored,
    changed             bigint  generated always as ((body ->> 'changed')::bigint) stored,
    -- From a file of the directory, not from a row.
    from_file           boolean not null generated always as (
        coalesce(body -> 'origin' ->> 'file' ~* '\.ya?ml$', false)) stored
);

-- Given secrets, sealed.
create table berth.secrets (
    stack   text   not null,
    app     text   not null,                  -- '' where it is of no app: null would not be unique
    name    text   not null,
    version bigint not null,
    at      bigint not null,
    sealed  bytea  not null,
    primary key (stack, app, name)
);

-- What happened. The newest 10,000.
create table berth.events (
    id     bigint primary key,
    key    text   not null,
    tenant text,                              -- whose it was then: a name may belong to another tenant later
    body   jsonb  not null
);
create index events_of_key on berth.events (key, id);

-- Runs of the daemon. The newest 50 of a key, and the newest 100,000 of all.
create table berth.runs (
    id   bigint primary key,
    key  text   not null,
    body jsonb  not null
);
create index runs_of_key on berth.runs (key, id);

-- Versions that passed the gate, to go back to. The newest ten of an app.
create table berth.versions (
    number     bigint generated by default as identity primary key,
    stack      text   not null,
    app        text   not null,
    generation bigint not null,
    hash       text   not null,
    at         bigint not null,
    image      text   not null,
    sealed     bytea  not null,
    unique (stack, app, generation, hash)
);
create index versions_of_app on berth.versions (stack, app, number);

-- What people ask of the daemon. A number is never used twice: the daemon remembers how far it came.
create table berth.requests (
    number bigint primary key,
    at     bigint not null,
    body   jsonb  not null
);

-- The number comes from a row that stays locked until the transaction ends, and not from a sequence: a smaller number
-- that becomes visible after a larger one was carried out would never be seen.
create function berth.number_request() returns trigger language plpgsql as $$
begin
    update berth.meta set request_last = request_last + 1 returning request_last into new.number;
    return new;
end $$;
create trigger number_request before insert on berth.requests
    for each row execute function berth.number_request();

create function berth.tell_requests() returns trigger language plpgsql as $$
begin
    perform pg_notify('berth_requests', '');
    return null;
end $$;
create trigger tell_requests after insert on berth.requests
    for each statement execute function berth.tell_requests();

-- Tokens of the API. The text of a token is nowhere: it is recognised by its SHA-256.
create table berth.tokens (
    name    text   primary key,
    tenant  text,                             -- null: it reaches everybody's stacks
    role    text   not null check (role in ('viewer', 'developer', 'admin', 'owner')),
    hash    bytea  not null unique,
    made    bigint not null,
    expires bigint
);

-- Who changed what. `login` cannot be chosen by the session, `who` can.
create table berth.audit_log (
    id         bigint      generated always as identity primary key,
    at         timestamptz not null default now(),
    who        text        not null,
    login      text        not null default session_user,
    what       text        not null,          -- insert, update, delete, remove, or a verb of the daemon's
    key        text,
    tenant     text,
    generation bigint,
    outcome    text        not null
);
create index audit_log_at on berth.audit_log (at);
create index audit_log_of_key on berth.audit_log (key, id);

-- Who acts: the name of a token where the daemon or the portal gives one, else the login.
create function berth.actor() returns text language sql stable
    return left(coalesce(nullif(current_setting('berth.actor', true), ''), session_user::text), 200);

-- Bounds what only ever grows. Returns how many rows went.
create function berth.trim_history(
    keep_events        bigint   default 10000,
    keep_runs_of_a_key bigint   default 50,
    keep_runs          bigint   default 100000,
    keep_versions      bigint   default 10,
    keep_requests      bigint   default 1000,
    keep_audit         bigint   default 1000000,
    keep_audit_for     interval default '400 days'
) returns bigint language plpgsql as $$
declare
    went bigint;
    total bigint := 0;
begin
    -- Numbers of events and runs rise by one, so the newest so many are those above a number: no counting.
    delete from berth.events where id <= (select max(id) from berth.events) - keep_events;
    get diagnostics went = row_count;
    total := total + went;

    delete from berth.runs r
    using (select id, row_number() over (partition by key order by id desc) as n from berth.runs) old
    where r.id = old.id and old.n > keep_runs_of_a_key;
    get diagnostics went = row_count;
    total := total + went;
    delete from berth.runs where id <= (select max(id) from berth.runs) - keep_runs;
    get diagnostics went = row_count;
    total := total + went;

    delete from berth.versions v
    using (select number, row_number() over (partition by stack, app order by number desc) as n from berth.versions) old
    where v.number = old.number and old.n > keep_versions;
    get diagnostics went = row_count;
    total := total + went;

    -- One that was not carried out is never dropped.
    delete from berth.requests r using berth.meta m
    where r.number <= m.request_done and r.number <= m.request_last - keep_requests;
    get diagnostics went = row_count;
    total := total + went;

    delete from berth.audit_log
    where at < now() - keep_audit_for or id <= (select max(id) from berth.audit_log) - keep_audit;
    get diagnostics went = row_count;
    return total + went;
end $$;
