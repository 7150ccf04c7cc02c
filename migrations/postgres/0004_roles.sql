-- Who may do what. Roles belong to the whole server: where another database made them already, they are used.

do $$
declare
    wanted text;
begin
    foreach wanted in array array['berth_portal', 'berth_reader'] loop
        begin
            if to_regrole(wanted) is null then
                execute format('create role %I nologin', wanted);
            end if;
        exception
            when duplicate_object or unique_violation then
                -- Another database made it at the same moment.
                null;
            when insufficient_privilege then
                raise exception using errcode = 'insufficient_privilege',
                    message = format('the role "%s" may not create the role %s', current_user, wanted),
                    hint = 'Have a DBA run: create role berth_portal nologin; create role berth_reader nologin;';
        end;
    end loop;
end $$;

-- Everybody may call a new function until it is taken away. Later migrations that make functions end with this too.
revoke all on all functions in schema berth from public;

grant usage on schema berth to berth_portal, berth_reader;

-- What the views and their triggers call as the session's role.
grant execute on function berth.confined(), berth.tenant(), berth.tenant_rls(), berth.at(bigint),
    berth.count_in(jsonb), berth.object_in(jsonb), berth.environment_in(jsonb)
    to berth_portal, berth_reader;

-- Insert on whole views: a program that writes every column gets an error that names those it may not fill.
grant select, insert, delete on berth.stacks, berth.projects, berth.stack_templates, berth.quotas,
    berth.preview_policies, berth.previews to berth_portal;
grant update (spec, template, stage) on berth.stacks to berth_portal;
grant update (spec) on berth.projects, berth.stack_templates, berth.quotas, berth.preview_policies, berth.previews
    to berth_portal;

grant select on berth.stack_status, berth.deployments, berth.orchestration_stacks, berth.service_instances,
    berth.network_assignments, berth.resource_allocations, berth.stack_events, berth.audit
    to berth_portal, berth_reader;
