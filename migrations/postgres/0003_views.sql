-- What a portal reads. None of these views shows a spec, or anything else that a manifest may hide a secret in: no
-- variable, no command. What is not known is null.
--
-- An id of a stack is its name, which is unique over the fleet; that of a service is STACK/APP.

-- Whose a key is now, as far as anybody knows. The directory's stack comes before a row that claims its name.
create function berth.tenant_of(of_key text) returns text language sql stable as $$
    select case when s.key is null or not s.from_file and m.key is not null then m.tenant else s.tenant end
    from (select of_key as key) k
    left join berth.statuses s on s.key = k.key
    left join berth.manifests m on m.key = k.key
$$;

create function berth.event_tenant() returns trigger language plpgsql as $$
begin
    new.tenant := coalesce(new.tenant, berth.tenant_of(new.key));
    return new;
end $$;
create trigger event_tenant before insert on berth.events
    for each row execute function berth.event_tenant();

create function berth.at(ms bigint) returns timestamptz language sql immutable
    return to_timestamp(ms / 1000.0);

-- A count in a spec that nobody checked yet; null if it is none.
create function berth.count_in(value jsonb) returns integer language sql immutable
    return case when jsonb_typeof(value) = 'number' and value::text ~ '^[0-9]{1,9}$' then value::text::integer end;

-- An object in a spec that nobody checked yet; null if it is none.
create function berth.object_in(value jsonb) returns jsonb language sql immutable
    return case when jsonb_typeof(value) = 'object' then value end;

-- A spec with so many replicas of an app. What is not there on the way is made.
create function berth.with_replicas(spec jsonb, app text, replicas bigint) returns jsonb language sql immutable
    return jsonb_set(
        jsonb_set(
            jsonb_set(spec, '{apps}', coalesce(berth.object_in(spec -> 'apps'), '{}')),
            array['apps', app], coalesce(berth.object_in(spec -> 'apps' -> app), '{}')),
        array['apps', app, 'replicas'], to_jsonb(replicas));

create function berth.environment_in(spec jsonb) returns text language sql immutable
    return case when jsonb_typeof(spec -> 'target' -> 'environment') = 'string'
        then spec -> 'target' ->> 'environment' end;

-- Every stack that is known, from a row or from the directory: the ground of the views below, and not for a portal.
-- `spec` is the row's where it says all of it: what lies over a template is known to the daemon only.
--
-- A row that changed after it was judged is not ready, whatever was true before: who waits for ready must not take
-- the old generation's for the new one's.
--
-- Two halves, and not a full join: a condition on the name finds its row by an index in each.
create view berth.known_stacks as
    select m.key, m.name, m.tenant, m.stage, m.created_at, s.body,
        w.spec, berth.environment_in(w.spec) as environment,
        -- Its own project, or the shared one that a Project manifest declares.
        coalesce(
            (select r.body -> 'project' ->> 'id' from berth.records r where r.key = m.key),
            (select r.body -> 'project' ->> 'id' from berth.records r
                where r.key = 'project/' || (w.spec -> 'target' ->> 'project'))) as project_id,
        coalesce(s.ready, false) and not late as ready,
        case when not late then s.accepted end as accepted,
        case when not late then s.reason when removing then 'Removing' else 'Pending' end as reason,
        case
            when not late then s.message
            when removing then 'its removal is asked for and has not begun'
            when s.key is not null then
                format('generation %s waits to be judged; generation %s: %s',
                    m.generation, s.observed_generation, s.message)
            else 'it waits to be judged'
        end as message,
        s.url, m.generation, coalesce(s.observed_generation, 0) as observed_generation, s.phase, removing,
        greatest(berth.at(s.changed), m.updated_at) as changed_at
    from berth.manifests m
    left join berth.statuses s on s.key = m.key
    cross join lateral (select
        coalesce(s.observed_generation, 0) < m.generation as late,
        m.deletion_requested_at is not null as removing) l
    cross join lateral (select
        case when m.template is null and not m.spec ? 'template' then m.spec end as spec) w
    where m.kind = 'Stack' and not coalesce(s.from_file, false)
    union all
    select s.key, s.name, s.tenant, null, null, s.body, null, null,
        (select r.body -> 'project' ->> 'id' from berth.records r where r.key = s.key),
        s.ready, s.accepted, s.reason, s.message, s.url, s.generation, s.observed_generation, s.phase,
        coalesce(s.reason = 'Removing', false), berth.at(s.changed)
    from berth.statuses s
    where s.key like 'stack/%'
        and (s.from_file or not exists (select from berth.manifests m where m.key = s.key));
create index statuses_of_name on berth.statuses (name);

-- How stacks stand. A row whose name a stack of the directory has stands here beside that stack, each for its tenant.
--
-- The halves stand inside, and the tenant is judged outside: of a view that is a `union all` itself the planner takes
-- the halves apart and forgets the barrier.
create view berth.stack_status with (security_barrier) as
    select name, tenant, stage, ready, accepted, reason, message, url, generation, observed_generation, phase,
        removing, changed_at
    from (
        select name, tenant, stage, ready, accepted, reason, message, url, generation, observed_generation, phase,
            removing, changed_at
        from berth.known_stacks
        union all
        select m.name, m.tenant, m.stage, false, false, 'Conflict',
            'a stack of this name stands in the daemon''s directory: choose another name', null,
            m.generation, m.generation, null, m.deletion_requested_at is not null, m.updated_at
        from berth.manifests m join berth.statuses s on s.key = m.key
        where m.kind = 'Stack' and s.from_file
    ) rows_of_all
    where not (select berth.confined()) or tenant = (select berth.tenant());

-- Rollouts: versions that passed the gate and are kept to go back to, those on their way, and those that did not pass.
-- One that passed began with the first run of its generation that is still remembered.
create view berth.deployments with (security_barrier) as
    select d.stack_id, d.generation, 'dokploy' as orchestration_type, d.image, d.outcome,
        case when k.generation = d.generation then berth.object_in(k.spec -> 'apps' -> d.app -> 'resources') end
            as resource_allocation,
        null::jsonb as network_config,
        d.started_at, d.finished_at
    from (
        select v.stack as stack_id, v.app, v.generation, v.image, 'good' as outcome,
            (select berth.at(min((r.body ->> 'at')::bigint)) from berth.runs r
                where r.key = 'stack/' || v.stack and (r.body ->> 'generation')::bigint = v.generation
                    and (r.body ->> 'at')::bigint <= v.at) as started_at,
            berth.at(v.at) as finished_at
        from berth.versions v
        union all
        select substr(r.key, 7), a.app, (r.body ->> 'generation')::bigint, a.body ->> 'image',
            case when (a.body -> 'rollout' ->> 'restoring')::boolean then 'restoring' else 'rolling out' end,
            berth.at((a.body -> 'rollout' ->> 'asked')::bigint), null
        from berth.records r, jsonb_each(r.body -> 'apps') a (app, body)
        where r.key like 'stack/%' and a.body ->> 'rollout' is not null
        union all
        select substr(r.key, 7), a.app, (r.body ->> 'generation')::bigint, a.body ->> 'image',
            coalesce('failed: ' || (a.body -> 'quarantineReason' ->> 0), 'failed'), null, null
        from berth.records r, jsonb_each(r.body -> 'apps') a (app, body)
        where r.key like 'stack/%' and a.body ->> 'quarantined' is not null
    ) d
    join berth.known_stacks k on k.name = d.stack_id
    where not (select berth.confined()) or k.tenant = (select berth.tenant());

create view berth.orchestration_stacks with (security_barrier) as
    select k.name as id, k.name, k.project_id,
        k.environment,
        (select jsonb_object_agg(a ->> 'name', jsonb_build_object('image', a -> 'image', 'service', a -> 'service'))
            from jsonb_array_elements(k.body -> 'apps') a) as compose_config,
        (select q.spec from berth.manifests q where q.kind = 'Quota' and q.tenant = k.tenant order by q.name limit 1)
            as resource_quotas,
        case when k.url is not null then jsonb_build_object('url', k.url) end as network_mappings,
        case when k.ready then 'Ready' else k.reason end as status,
        k.created_at, k.changed_at as updated_at
    from berth.known_stacks k
    where not (select berth.confined()) or k.tenant = (select berth.tenant());

-- Apps. Whether the wanted version is the one that runs is told by the hashes of the two.
create view berth.service_instances with (security_barrier) as
    select k.name || '/' || (a.body ->> 'name') as id, k.name as stack_id, a.body ->> 'name' as service_name,
        a.body ->> 'image' as image,
        case when s.spec is not null then coalesce(berth.count_in(s.spec -> 'replicas'), 1) end as replicas,
        null::integer as current_replicas,
        berth.object_in(s.spec -> 'resources') as resource_limits,
        berth.object_in(s.spec -> 'health') - 'cmd' as health_check_config,
        case
            when a.body ->> 'live' is null then 'Pending'
            when a.body ->> 'live' = a.body ->> 'hash' then 'Current'
            else 'Outdated'
        end as status,
        null::timestamptz as created_at, k.changed_at as updated_at
    from berth.known_stacks k
    cross join lateral jsonb_array_elements(k.body -> 'apps') a (body)
    cross join lateral (select berth.object_in(k.spec -> 'apps' -> (a.body ->> 'name')) as spec) s
    where not (select berth.confined()) or k.tenant = (select berth.tenant());

-- Domains that are ours, one row a stack. The record lists an app's children as pairs of key and id.
create view berth.network_assignments with (security_barrier) as
    select k.project_id, null::text as network_name, null::text as network_id,
        k.environment, d.domains as domain_assignments,
        null::timestamptz as created_at
    from berth.known_stacks k
    join berth.records r on r.key = k.key
    cross join lateral (
        select jsonb_agg(jsonb_build_object('stack', k.name, 'app', a.app, 'host', c.pair -> 0 -> 'domain' -> 'host',
            'path', c.pair -> 0 -> 'domain' -> 'path', 'id', c.pair -> 1) order by a.app, c.pair -> 0) as domains
        from jsonb_each(r.body -> 'apps') a (app, body)
        cross join lateral jsonb_array_elements(a.body -> 'children') c (pair)
        where c.pair -> 0 ? 'domain'
    ) d
    where d.domains is not null and (not (select berth.confined()) or k.tenant = (select berth.tenant()));

-- Quotas, as written: '0.5', '32Gi'.
create view berth.resource_allocations with (security_barrier) as
    select null::text as project_id, null::text as environment,
        q.spec -> 'cpu' ->> 'limit' as cpu_limit, q.spec -> 'memory' ->> 'limit' as memory_limit,
        q.spec ->> 'storage' as storage_limit,
        jsonb_build_object('stacks',
            (select count(*) from berth.known_stacks k where k.tenant = q.tenant)) as current_usage,
        q.spec as quotas, q.created_at, q.updated_at
    from berth.manifests q
    where q.kind = 'Quota' and (not (select berth.confined()) or q.tenant = (select berth.tenant()));

-- What happened to stacks, for the tenant whose they were then.
create view berth.stack_events with (security_barrier) as
    select id, substr(key, 7) as name, tenant, berth.at((body ->> 'at')::bigint) as at,
        (body ->> 'warning')::boolean as warning, body ->> 'reason' as reason, body ->> 'message' as message
    from berth.events
    where key like 'stack/%' and (not (select berth.confined()) or tenant = (select berth.tenant()));

-- Who changed what.
create view berth.audit with (security_barrier) as
    select who, concat_ws(' ', what, key) as what, generation, outcome, at
    from berth.audit_log
    where not (select berth.confined()) or tenant = (select berth.tenant());
