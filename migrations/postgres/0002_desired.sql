-- What a portal asks for.
--
-- One table holds the manifests of every kind. A portal never sees it: it writes one view per kind, whose triggers
-- keep the rules. A row leaves in two steps: the portal marks it, and the daemon takes it away once everything outside
-- is gone.

-- Numbers changes. Gaps mean nothing, and neither does the order in which they become visible: see berth.changes.
create sequence berth.change_seq;

create table berth.manifests (
    kind                  text        not null check (kind in
                                      ('Stack', 'Project', 'StackTemplate', 'Quota', 'PreviewPolicy', 'Preview')),
    name                  text        not null,
    -- As state, events and notifications name it: stack/NAME, project/NAME, stacktemplate/NAME …
    key                   text        not null generated always as (lower(kind collate "C") || '/' || name) stored,
    tenant                text,
    stage                 text,
    formerly              text,
    template              text,
    spec                  jsonb       not null,
    generation            bigint      not null default 1,  -- rises when what is asked for changes
    change_seq            bigint      not null,
    change_xid            xid8        not null,            -- the transaction that changed it last
    deletion_requested_at timestamptz,                     -- null: it is to be there
    created_at            timestamptz not null default now(),
    updated_at            timestamptz not null default now(),
    written_by            text        not null,
    primary key (kind, name),
    constraint manifests_key unique (key)
);
create index manifests_changed on berth.manifests (change_xid);
create index manifests_of_tenant on berth.manifests (tenant);

-- Keys that were taken away, for a daemon that polls. A day of them is enough: who slept longer reads everything.
create table berth.removed (
    key        text        primary key,
    kind       text        not null,
    name       text        not null,
    change_seq bigint      not null,
    change_xid xid8        not null,
    removed_at timestamptz not null default now()
);
create index removed_changed on berth.removed (change_xid);

-- What is wrong with a name of 1 to 40 characters; null if nothing is.
create function berth.name_fault(text) returns text language sql immutable
    return case
        when $1 is null or $1 = '' then 'a name may not be empty'
        when char_length($1) > 40 then 'a name has at most 40 characters'
        when $1 collate "C" !~ '^[a-z]' then 'a name begins with a lower-case letter'
        when $1 collate "C" !~ '^[a-z0-9-]*$' then 'a name holds only lower-case letters, digits and ''-'''
        when $1 like '%--%' then 'a name may not hold ''--'''
        when $1 like '%-' then 'a name may not end with ''-'''
    end;

-- What is wrong with a free text that names something. Short enough that a key fits into a notification.
create function berth.text_fault(text) returns text language sql immutable
    return case
        when $1 is null or $1 = '' then 'it may not be empty'
        when char_length($1) > 100 then 'it has at most 100 characters'
        when $1 ~ '[[:cntrl:]]' then 'it may not hold control characters'
        when $1 ~ '^\s' or $1 ~ '\s$' then 'it may not begin or end with a blank'
    end;

-- Every rule of a row, whoever writes it. Numbers the change.
create function berth.before_manifest() returns trigger language plpgsql as $$
declare
    why text;
begin
    if tg_op = 'DELETE' then
        if old.deletion_requested_at is null then
            raise exception using errcode = 'object_not_in_prerequisite_state',
                message = format('%s "%s" may not be taken away: its removal was not asked for', old.kind, old.name),
                hint = 'Delete it through its view and let the daemon take the row away.';
        end if;
        return old;
    end if;

    if tg_op = 'UPDATE' then
        if new.kind <> old.kind or new.name <> old.name or new.tenant is distinct from old.tenant then
            raise exception using errcode = 'feature_not_supported', schema = 'berth', table = 'manifests',
                message = format('kind, name and tenant of %s "%s" cannot change', old.kind, old.name),
                hint = 'Insert a new row, with "formerly" if a stack is to be renamed, and delete the old one.';
        end if;
        -- As text: 1.1 and 1.10 are the same number and two different versions.
        if new.spec::text is not distinct from old.spec::text
            and (new.template, new.stage, new.formerly, new.deletion_requested_at)
                is not distinct from (old.template, old.stage, old.formerly, old.deletion_requested_at)
        then
            return null;
        end if;
    end if;

    if new.kind = 'Project' then
        why := berth.text_fault(new.name);
    else
        why := berth.name_fault(new.name);
    end if;
    if why is not null then
        raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
            column = 'name', constraint = 'manifests_name',
            message = format('"%s" cannot name a %s: %s', left(new.name, 100), new.kind, why),
            hint = case when new.kind <> 'Project'
                then 'A name has 1 to 40 of a-z, 0-9 and "-", begins with a letter, holds no "--" and does not end with "-".'
                else 'A name has 1 to 100 characters, no control characters, and no blank at either end.' end;
    end if;
    if new.tenant is not null then
        why := berth.text_fault(new.tenant);
        if why is not null then
            raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
                column = 'tenant', constraint = 'manifests_tenant',
                message = format('"%s" cannot name the tenant of %s "%s": %s',
                    left(new.tenant, 100), new.kind, new.name, why);
        end if;
    end if;

    if new.kind = 'Stack' then
        new.stage := coalesce(new.stage, 'production');
        if new.stage not in ('production', 'staging', 'preview', 'development') then
            raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
                column = 'stage', constraint = 'manifests_stage',
                message = format('"%s" is not a stage', left(new.stage, 100)),
                hint = 'A stage is one of production, staging, preview and development.';
        end if;
        if new.formerly is not null then
            why := case when new.formerly = new.name then 'it is the name it has now'
                else berth.name_fault(new.formerly) end;
            if why is not null then
                raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
                    column = 'formerly', constraint = 'manifests_formerly',
                    message = format('"%s" cannot be the former name of "%s": %s',
                        left(new.formerly, 100), new.name, why);
            end if;
        end if;
        if new.template is not null then
            why := berth.name_fault(new.template);
            if why is not null then
                raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
                    column = 'template', constraint = 'manifests_template',
                    message = format('"%s" cannot name a template: %s', left(new.template, 100), why);
            end if;
        end if;
    elsif coalesce(new.stage, new.formerly, new.template) is not null then
        raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
            constraint = 'manifests_stack_only',
            message = format('a %s has no stage, former name or template', new.kind);
    end if;

    if new.spec is null then
        raise exception using errcode = 'not_null_violation', schema = 'berth', table = 'manifests', column = 'spec',
            message = format('%s "%s" has no spec', new.kind, new.name),
            hint = 'Write ''{}'' where the template says it all.';
    end if;
    if jsonb_typeof(new.spec) <> 'object' then
        raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
            column = 'spec', constraint = 'manifests_spec',
            message = format('the spec of %s "%s" is no JSON object but %s', new.kind, new.name,
                jsonb_typeof(new.spec)),
            hint = 'Write what stands under "spec:" in a manifest, as JSON; ''{}'' where the template says it all.';
    end if;
    if octet_length(new.spec::text) > 1048576 then
        raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
            column = 'spec', constraint = 'manifests_spec_size',
            message = format('the spec of %s "%s" is too large', new.kind, new.name),
            detail = format('It has %s bytes as text, and 1048576 are allowed.', octet_length(new.spec::text));
    end if;
    if new.template is not null and new.spec ? 'template' and new.spec ->> 'template' is distinct from new.template then
        raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
            column = 'template', constraint = 'manifests_one_template',
            message = format('Stack "%s" names two templates', new.name),
            hint = 'Take "template" out of the spec: it has a column.';
    end if;
    if new.kind = 'Quota' then
        -- A quota is of the tenant that it limits: two that differ would be seen by one and bind the other.
        new.tenant := coalesce(new.tenant, new.spec ->> 'tenant');
        if new.spec ->> 'tenant' is distinct from new.tenant then
            raise exception using errcode = 'check_violation', schema = 'berth', table = 'manifests',
                column = 'tenant', constraint = 'manifests_quota_tenant',
                message = format('the tenant of Quota "%s" is not the one in its spec', new.name),
                hint = 'Leave the column out: the spec''s "tenant" fills it.';
        end if;
    end if;

    if tg_op = 'INSERT' then
        new.generation := 1;
        new.created_at := coalesce(new.created_at, now());
    else
        new.generation := old.generation + 1;
        new.created_at := old.created_at;
    end if;
    new.updated_at := now();
    new.written_by := berth.actor();
    new.change_seq := nextval('berth.change_seq');
    new.change_xid := pg_current_xact_id();
    return new;
end $$;
create trigger before_manifest before insert or update or delete on berth.manifests
    for each row execute function berth.before_manifest();

-- Leaves the trace of a statement: who did it, what a poller needs, and a notification that names the keys. Above a
-- hundred keys one '*' says "look at everything", so that a restore does not fill the queue of notifications. An
-- update that changed nothing never comes here.
create function berth.after_manifests() returns trigger language plpgsql as $$
declare
    verb text := lower(tg_op);
begin
    if tg_op = 'DELETE' then
        verb := 'remove';
        insert into berth.removed (key, kind, name, change_seq, change_xid)
        select key, kind, name, nextval('berth.change_seq'), pg_current_xact_id() from changed
        on conflict (key) do update
            set change_seq = excluded.change_seq, change_xid = excluded.change_xid, removed_at = excluded.removed_at;
    end if;
    insert into berth.audit_log (who, what, key, tenant, generation, outcome)
    select berth.actor(), case when verb = 'update' and deletion_requested_at is not null then 'delete' else verb end,
        key, tenant, generation, 'done'
    from changed order by change_seq;
    if (select count(*) from (select from changed limit 101) as few) > 100 then
        perform pg_notify('berth_manifests', '*');
    else
        perform pg_notify('berth_manifests', key) from (select key from changed order by change_seq) as ordered;
    end if;
    return null;
end $$;
create trigger after_insert after insert on berth.manifests referencing new table as changed
    for each statement execute function berth.after_manifests();
create trigger after_update after update on berth.manifests referencing new table as changed
    for each statement execute function berth.after_manifests();
create trigger after_delete after delete on berth.manifests referencing old table as changed
    for each statement execute function berth.after_manifests();

create function berth.no_truncate() returns trigger language plpgsql as $$
begin
    raise exception using errcode = 'object_not_in_prerequisite_state',
        message = 'manifests may not be truncated',
        hint = 'Nobody would be told. Delete the rows through their views.';
end $$;
create trigger no_truncate before truncate on berth.manifests
    for each statement execute function berth.no_truncate();

-- What changed since a reader last looked; everything, for one that never did.
--
-- Transactions commit in another order than they take numbers, so "greater than the last change_seq" would miss the
-- slower of two. A row says which transaction wrote it instead. Whatever a snapshot could not see was written by a
-- transaction at or after its xmin, so a reader that takes every row from the xmin of its last snapshot on misses
-- nothing, and sees some rows twice. `upto` is what to ask with next time; where no row came back, the last one stays
-- right. It means something to this server only: a reader keeps it in memory, and reads everything after it had to
-- connect again. One that this server cannot have given out yet is another's, and answered with everything. One
-- snapshot, so that rows and xmin belong together; two statements, so that each has the plan that suits it.
create function berth.changes(since xid8 default null)
returns table (
    key text, kind text, name text, tenant text, stage text, formerly text, template text, spec jsonb,
    generation bigint, change_seq bigint, deletion_requested_at timestamptz, created_at timestamptz,
    updated_at timestamptz, removed boolean, upto xid8
) language plpgsql stable as $$
#variable_conflict use_column
begin
    if since is null or since > pg_snapshot_xmax(pg_current_snapshot()) then
        return query select m.key, m.kind, m.name, m.tenant, m.stage, m.formerly, m.template, m.spec,
            m.generation, m.change_seq, m.deletion_requested_at, m.created_at,
            m.updated_at, false, pg_snapshot_xmin(pg_current_snapshot())
        from berth.manifests m;
        return;
    end if;
    return query select m.key, m.kind, m.name, m.tenant, m.stage, m.formerly, m.template, m.spec,
        m.generation, m.change_seq, m.deletion_requested_at, m.created_at,
        m.updated_at, false, pg_snapshot_xmin(pg_current_snapshot())
    from berth.manifests m
    where m.change_xid >= since
    union all
    select r.key, r.kind, r.name, null, null, null, null, null,
        null, r.change_seq, null, null,
        null, true, pg_snapshot_xmin(pg_current_snapshot())
    from berth.removed r
    where r.change_xid >= since and not exists (select from berth.manifests m where m.key = r.key);
end $$;

-- Forgets removals that every reader has seen or slept through.
create function berth.sweep_removed(older_than interval default '1 day') returns bigint language sql as $$
    with swept as (delete from berth.removed where removed_at < now() - older_than returning 1)
    select count(*) from swept
$$;

-- Tenants.
--
-- The views below run with their owner's rights, since a portal has none on the tables: row-level security of the
-- tables would judge the owner, who sees all. So every view asks these functions itself. In a view they run as the
-- session's role, and `security_barrier` keeps a caller's own conditions from seeing a row before they have judged it.
-- The tenant is whatever the session says: this guards against a portal's mistakes, not against a stolen login.

create function berth.tenant() returns text language sql stable parallel safe
    return nullif(current_setting('berth.tenant', true), '');

-- Definer: the caller may not read the table.
create function berth.tenant_rls() returns boolean language sql stable parallel safe security definer
    set search_path = pg_catalog, pg_temp
    return (select m.tenant_rls from berth.meta m);

-- Whether the caller sees one tenant only: everybody but the owner, its members and superusers.
create function berth.confined() returns boolean language sql stable parallel safe
    return berth.tenant_rls() and not pg_has_role(
        current_user, (select c.relowner from pg_catalog.pg_class c where c.oid = 'berth.manifests'::regclass), 'usage');

create function berth.enable_tenant_rls() returns void language sql as $$
    update berth.meta set tenant_rls = true
$$;
create function berth.disable_tenant_rls() returns void language sql as $$
    update berth.meta set tenant_rls = false
$$;

-- The views that a portal writes. Templates and projects without a tenant belong to all: everybody reads them.

create view berth.stacks with (security_barrier) as
    select name, tenant, stage, formerly, template, spec,
        generation, change_seq, deletion_requested_at, created_at, updated_at, written_by
    from berth.manifests
    where kind = 'Stack' and (not (select berth.confined()) or tenant = (select berth.tenant()));
create view berth.projects with (security_barrier) as
    select name, tenant, spec, generation, change_seq, deletion_requested_at, created_at, updated_at, written_by
    from berth.manifests
    where kind = 'Project' and (not (select berth.confined()) or tenant is null or tenant = (select berth.tenant()));
create view berth.stack_templates with (security_barrier) as
    select name, tenant, spec, generation, change_seq, deletion_requested_at, created_at, updated_at, written_by
    from berth.manifests
    where kind = 'StackTemplate'
        and (not (select berth.confined()) or tenant is null or tenant = (select berth.tenant()));
create view berth.quotas with (security_barrier) as
    select name, tenant, spec, generation, change_seq, deletion_requested_at, created_at, updated_at, written_by
    from berth.manifests
    where kind = 'Quota' and (not (select berth.confined()) or tenant = (select berth.tenant()));
create view berth.preview_policies with (security_barrier) as
    select name, tenant, spec, generation, change_seq, deletion_requested_at, created_at, updated_at, written_by
    from berth.manifests
    where kind = 'PreviewPolicy' and (not (select berth.confined()) or tenant = (select berth.tenant()));
create view berth.previews with (security_barrier) as
    select name, tenant, spec, generation, change_seq, deletion_requested_at, created_at, updated_at, written_by
    from berth.manifests
    where kind = 'Preview' and (not (select berth.confined()) or tenant = (select berth.tenant()));

-- Runs as the caller, before the trigger that runs as the owner: only here it is known who asks. Of the rows of
-- others an update or delete sees none but those that belong to all.
create function berth.check_tenant() returns trigger language plpgsql
    set search_path = pg_catalog, pg_temp as $$
begin
    if berth.confined() then
        if tg_op = 'INSERT' then
            if tg_argv[0] = 'Quota' then
                new.tenant := coalesce(new.tenant, new.spec ->> 'tenant');
            end if;
            if new.tenant is distinct from berth.tenant() or new.tenant is null then
                raise exception using errcode = 'insufficient_privilege', schema = 'berth',
                    message = format('%s "%s" is not of this session''s tenant', tg_argv[0], left(new.name, 100)),
                    hint = 'Set berth.tenant to the tenant for whom the portal acts, and write it into the row.';
            end if;
        elsif old.tenant is distinct from berth.tenant() or old.tenant is null then
            raise exception using errcode = 'insufficient_privilege', schema = 'berth',
                message = format('%s "%s" belongs to all tenants and may not be changed by one', tg_argv[0], old.name);
        end if;
    end if;
    if tg_op = 'DELETE' then
        return old;
    end if;
    return new;
end $$;

-- Turns a statement on a view into one on the table. Definer: the caller has no rights on the table.
create function berth.write_manifest() returns trigger language plpgsql security definer
    set search_path = pg_catalog, pg_temp as $$
declare
    kind_ constant text := tg_argv[0];
    row_ berth.manifests;
    stack constant boolean := kind_ = 'Stack';
    stale boolean := false;
begin
    if tg_op = 'DELETE' then
        -- Asking twice is fine: the first mark stands.
        update berth.manifests set deletion_requested_at = now()
        where kind = kind_ and name = old.name and deletion_requested_at is null;
        if not found then
            perform from berth.manifests where kind = kind_ and name = old.name;
            if not found then
                return null;
            end if;
        end if;
        return old;
    end if;

    if tg_op = 'INSERT' then
        if num_nonnulls(new.generation, new.change_seq, new.deletion_requested_at, new.created_at, new.updated_at,
            new.written_by) > 0
        then
            raise exception using errcode = 'generated_always',
                message = format('%s "%s": Berth itself fills generation, change_seq, deletion_requested_at, created_at, updated_at and written_by',
                    kind_, left(new.name, 100)),
                hint = 'Leave these columns out.';
        end if;
        -- A row that was being removed may be gone between the insert that met it and the look at it: then once more.
        for attempt in 1..2 loop
            if stack then
                insert into berth.manifests (kind, name, tenant, stage, formerly, template, spec)
                values (kind_, new.name, new.tenant, new.stage, new.formerly, new.template, new.spec)
                on conflict do nothing returning * into row_;
            else
                insert into berth.manifests (kind, name, tenant, spec)
                values (kind_, new.name, new.tenant, new.spec)
                on conflict do nothing returning * into row_;
            end if;
            exit when row_.name is not null
                or exists (select from berth.manifests where kind = kind_ and name = new.name);
        end loop;
        if row_.name is null then
            -- Says nothing of the row that is there: it may be another tenant's.
            perform from berth.manifests
            where kind = kind_ and name = new.name and deletion_requested_at is not null;
            if found then
                raise exception using errcode = 'object_in_use', schema = 'berth', table = tg_table_name,
                    message = format('%s "%s" is being removed', kind_, new.name),
                    detail = 'The name is free once everything outside is gone.',
                    hint = 'Wait until its row is gone, then insert it again.';
            end if;
            raise exception using errcode = 'unique_violation', schema = 'berth', table = tg_table_name,
                constraint = 'manifests_pkey',
                message = format('a %s named "%s" exists already', kind_, new.name),
                hint = 'Names are unique over the fleet: choose another, or update the row that is there.';
        end if;
        new.generation := row_.generation;
        new.change_seq := row_.change_seq;
        new.created_at := row_.created_at;
        new.updated_at := row_.updated_at;
        new.written_by := row_.written_by;
        new.tenant := row_.tenant;
        if stack then
            new.stage := row_.stage;
        end if;
        return new;
    end if;

    if new.name is distinct from old.name or new.tenant is distinct from old.tenant then
        raise exception using errcode = 'feature_not_supported', schema = 'berth', table = tg_table_name,
            message = format('name and tenant of %s "%s" cannot change', kind_, old.name),
            hint = case when stack then 'Insert a new row with "formerly", which takes over what runs, and delete this one.'
                else 'Insert a new row and delete this one.' end;
    end if;
    if (new.generation, new.change_seq, new.deletion_requested_at, new.created_at, new.updated_at, new.written_by)
        is distinct from
        (old.generation, old.change_seq, old.deletion_requested_at, old.created_at, old.updated_at, old.written_by)
    then
        raise exception using errcode = 'generated_always',
            message = format('%s "%s": Berth itself fills generation, change_seq, deletion_requested_at, created_at, updated_at and written_by',
                kind_, old.name),
            hint = 'Leave these columns out; delete the row to ask for its removal.';
    end if;
    select * into row_ from berth.manifests where kind = kind_ and name = old.name for update;
    if not found then
        return null;
    end if;
    if row_.deletion_requested_at is not null then
        raise exception using errcode = 'object_not_in_prerequisite_state', schema = 'berth', table = tg_table_name,
            message = format('%s "%s" is being removed and cannot be changed', kind_, old.name),
            hint = 'Wait until its row is gone, then insert it again.';
    end if;
    -- The new values were worked out from a row that may have changed before it was locked. What this statement did
    -- not touch is left as it is now; what both touched must be looked at again.
    if stack then
        if new.template is distinct from old.template then
            stale := stale or row_.template is distinct from old.template;
            row_.template := new.template;
        end if;
        if new.stage is distinct from old.stage then
            stale := stale or row_.stage is distinct from old.stage;
            row_.stage := new.stage;
        end if;
        if new.formerly is distinct from old.formerly then
            stale := stale or row_.formerly is distinct from old.formerly;
            row_.formerly := new.formerly;
        end if;
    end if;
    if new.spec::text is distinct from old.spec::text then
        stale := stale or row_.spec::text is distinct from old.spec::text;
        row_.spec := new.spec;
    end if;
    if stale then
        raise exception using errcode = 'serialization_failure', schema = 'berth', table = tg_table_name,
            message = format('%s "%s" was changed at the same time', kind_, old.name), hint = 'Try again.';
    end if;
    update berth.manifests m
        set spec = row_.spec, template = row_.template, stage = row_.stage, formerly = row_.formerly
    where m.kind = kind_ and m.name = old.name
    returning * into row_;
    if found then
        new.generation := row_.generation;
        new.change_seq := row_.change_seq;
        new.updated_at := row_.updated_at;
        new.written_by := row_.written_by;
    end if;
    return new;
end $$;

-- In order of their names: the check comes first.
do $$
declare
    view_ text;
    kind_ text;
begin
    for view_, kind_ in values ('stacks', 'Stack'), ('projects', 'Project'), ('stack_templates', 'StackTemplate'),
        ('quotas', 'Quota'), ('preview_policies', 'PreviewPolicy'), ('previews', 'Preview')
    loop
        execute format('create trigger a_check instead of insert or update or delete on berth.%I
            for each row execute function berth.check_tenant(%L)', view_, kind_);
        execute format('create trigger b_write instead of insert or update or delete on berth.%I
            for each row execute function berth.write_manifest(%L)', view_, kind_);
    end loop;
end $$;
