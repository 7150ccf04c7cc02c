-- What Berth remembers between runs. Losing this file costs history and nothing else.
--
-- `body` holds a value as JSON; beside it stand only the columns that a statement filters or sorts by. Times are
-- milliseconds since 1970-01-01 UTC. No column holds a secret in clear: `sealed` is what the vault sealed.

-- 'BRTH': tells this file from every other SQLite file.
pragma application_id = 1112691784;

-- One row.
create table meta (
    one          integer primary key check (one = 1),
    made         integer not null,            -- when this store was made
    epoch        integer not null default 0,  -- rises with every daemon that takes the lead; a stale one writes nothing
    request_done integer not null default 0   -- requests up to this one were carried out
) strict;

-- The record of a stack or project.
create table records (
    key  text primary key,                    -- stack/NAME or project/NAME
    body text not null
) strict;

-- Creates that were, or are about to be, sent, and are not settled.
create table intents (
    op   text primary key,
    body text not null
) strict;

-- How stacks stand, as published.
create table statuses (
    key  text primary key,
    body text not null
) strict;

-- Given secrets, sealed.
create table secrets (
    stack   text    not null,
    app     text    not null,                 -- '' where it is of no app: null would not be unique
    name    text    not null,
    version integer not null,
    at      integer not null,
    sealed  blob    not null,
    primary key (stack, app, name)
) strict;

-- What happened. The newest 10,000.
create table events (
    id   integer primary key,
    key  text not null,
    body text not null
) strict;
create index events_of_key on events (key, id);

-- Runs of the daemon. The newest 50 of a key, and the newest 100,000 of all.
create table runs (
    id   integer primary key,
    key  text not null,
    body text not null
) strict;
create index runs_of_key on runs (key, id);

-- Versions that passed the gate, to go back to. The newest ten of an app.
create table versions (
    number     integer primary key autoincrement,
    stack      text    not null,
    app        text    not null,
    generation integer not null,
    hash       text    not null,
    at         integer not null,
    image      text    not null,
    sealed     blob    not null,
    unique (stack, app, generation, hash)
) strict;
create index versions_of_app on versions (stack, app, number);

-- What people ask of the daemon. A number is never used twice: the daemon remembers how far it came.
create table requests (
    number integer primary key autoincrement,
    at     integer not null,
    body   text    not null
) strict;

-- Tokens of the API. The text of a token is nowhere: it is recognised by its SHA-256.
create table tokens (
    name    text    primary key,
    tenant  text,                             -- null: it reaches everybody's stacks
    role    text    not null,
    hash    blob    not null unique,
    made    integer not null,
    expires integer
) strict;

-- Who changed what, or was refused. The newest 100,000, and none that is older than 400 days.
create table audit (
    id         integer primary key autoincrement,
    at         integer not null,
    who        text    not null,
    what       text    not null,
    key        text,
    tenant     text,
    generation integer,
    outcome    text    not null
) strict;
create index audit_of_key on audit (key, id);
