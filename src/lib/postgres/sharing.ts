import { busChannel } from './schema.js';

/** The row that every function returns. */
const ROW = 'o_log text, o_sequence bigint, o_kind text, o_topic text, o_payload text';

/** @returns the tables and functions of presence, rates and idempotency, for a schema with a valid name. */
export function sharing(schema: string): string {
	return runs(schema) + buckets(schema) + presence(schema) + pruning(schema);
}

const runs = (schema: string): string => `
-- What has run or is running: without a result it is running, until its lease ends.
create table "${schema}".runs (
	id uuid primary key,
	hash text not null,
	token text not null,
	result text,
	expires_at timestamptz not null
);
create index on "${schema}".runs (expires_at);

create function "${schema}".run_begin(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	u "${schema}".runs;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	o_payload := "${schema}".clock_ms();
	o_kind := 'late';
	if (r->>'deadline')::float8 < "${schema}".clock_ms() then
		return next;
		return;
	end if;
	loop
		select * into u from "${schema}".runs where id = (r->>'id')::uuid and expires_at > clock_timestamp();
		if found then
			o_kind := case
				when u.hash <> r->>'hash' then 'conflict'
				when u.result is null then 'running'
				else 'done'
			end;
			if o_kind = 'done' then o_topic := u.result; end if;
			return next;
			return;
		end if;
		insert into "${schema}".runs as known (id, hash, token, expires_at)
		values (
			(r->>'id')::uuid, r->>'hash', r->>'token',
			clock_timestamp() + (r->>'leaseMs')::float8 * interval '1 ms'
		)
		on conflict (id) do update set
			hash = excluded.hash, token = excluded.token, result = null, expires_at = excluded.expires_at
		where known.expires_at <= clock_timestamp();
		if found then
			o_kind := 'first';
			return next;
			return;
		end if;
	end loop;
end $f$;

-- Extends the lease, or records the result, if the token still holds the lease.
create function "${schema}".run_write(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	update "${schema}".runs set
		result = r->>'result',
		expires_at = clock_timestamp() + (r->>'lifeMs')::float8 * interval '1 ms'
	where id = (r->>'id')::uuid and token = r->>'token' and result is null
		and expires_at > clock_timestamp();
	o_kind := case when found then 'held' else 'lost' end;
	return next;
end $f$;

create function "${schema}".run_fail(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	delete from "${schema}".runs
	where id = (r->>'id')::uuid and token = r->>'token' and result is null;
end $f$;
`;

const buckets = (schema: string): string => `
-- Token buckets that are not full, and blocked keys. A crash may empty this table.
create unlogged table "${schema}".buckets (
	key uuid primary key,
	tokens float8 not null,
	at_ms float8 not null,
	blocked_until_ms float8 not null,
	expires_at_ms float8 not null
) with (fillfactor = 50);
create index on "${schema}".buckets (expires_at_ms);

create function "${schema}".rate_take(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_key constant uuid := (r->>'key')::uuid;
	v_cost constant float8 := (r->>'cost')::float8;
	v_points constant float8 := (r->>'points')::float8;
	v_interval_ms constant float8 := (r->>'intervalMs')::float8;
	v_block_ms constant float8 := (r->>'blockMs')::float8;
	v_now_ms float8;
	v_tokens float8;
	v_wait_ms float8 := 0;
	v_blocked_until_ms float8 := 0;
	b "${schema}".buckets;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	o_kind := 'allowed';
	if v_cost = 0 then
		-- Most of these keys are not blocked and have no row.
		select * into b from "${schema}".buckets where key = v_key;
		if not found then
			o_payload := 0;
			return next;
			return;
		end if;
	end if;
	loop
		select * into b from "${schema}".buckets where key = v_key for update;
		exit when found;
		insert into "${schema}".buckets values (v_key, v_points, "${schema}".clock_ms(), 0, 0)
		on conflict do nothing;
	end loop;
	v_now_ms := "${schema}".clock_ms();
	if b.blocked_until_ms > v_now_ms then
		o_kind := 'refused';
		o_payload := ceil(b.blocked_until_ms - v_now_ms);
		return next;
		return;
	end if;
	v_tokens := least(
		v_points, b.tokens + greatest(0, v_now_ms - b.at_ms) * v_points / v_interval_ms
	);
	if v_tokens >= v_cost then
		v_tokens := v_tokens - v_cost;
	else
		o_kind := 'refused';
		-- The bucket never has more than it can hold.
		v_wait_ms := (least(v_cost, v_points) - v_tokens) * v_interval_ms / v_points;
		if v_block_ms > 0 then
			v_wait_ms := v_block_ms;
			v_blocked_until_ms := v_now_ms + v_block_ms;
		end if;
	end if;
	update "${schema}".buckets set
		tokens = v_tokens,
		at_ms = v_now_ms,
		blocked_until_ms = v_blocked_until_ms,
		expires_at_ms = greatest(
			v_blocked_until_ms, v_now_ms + (v_points - v_tokens) * v_interval_ms / v_points
		)
	where key = v_key;
	o_payload := ceil(v_wait_ms);
	return next;
end $f$;

create function "${schema}".rate_block(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_ms constant float8 := (r->>'ms')::float8;
	v_now_ms constant float8 := "${schema}".clock_ms();
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	if v_ms <= 0 then
		delete from "${schema}".buckets where key = (r->>'key')::uuid;
		return;
	end if;
	insert into "${schema}".buckets
	values ((r->>'key')::uuid, 'Infinity', v_now_ms, v_now_ms + v_ms, v_now_ms + v_ms)
	on conflict (key) do update set
		tokens = excluded.tokens,
		at_ms = excluded.at_ms,
		blocked_until_ms = excluded.blocked_until_ms,
		expires_at_ms = excluded.expires_at_ms;
end $f$;
`;

const presence = (schema: string): string => `
-- The row of a channel is locked while its members change, so that versions follow the order of commits.
create table "${schema}".channels (
	channel uuid primary key,
	name text not null,
	version bigint not null default 0,
	touched_at timestamptz not null default clock_timestamp()
) with (fillfactor = 50);

create table "${schema}".members (
	channel uuid not null,
	id uuid not null,
	name text not null,
	data text not null,
	joined_at timestamptz not null,
	version bigint not null,
	primary key (channel, id)
);

create table "${schema}".leases (
	channel uuid not null,
	id uuid not null,
	owner uuid not null,
	streams bigint not null,
	ends_at timestamptz not null,
	primary key (channel, id, owner)
);
create index on "${schema}".leases (owner);
create index on "${schema}".leases (ends_at);

-- Locks the row of a channel.
create function "${schema}".enter(p_channel uuid, p_name text) returns void language plpgsql as $f$
begin
	loop
		perform from "${schema}".channels where channel = p_channel for update;
		exit when found;
		insert into "${schema}".channels (channel, name) values (p_channel, p_name) on conflict do nothing;
	end loop;
end $f$;

-- The next version of a locked channel. It follows the clock, so that it rises even if the channel was
-- forgotten meanwhile.
create function "${schema}".next_version(p_channel uuid) returns bigint language sql as $f$
	update "${schema}".channels set
		version = greatest(version + 1, "${schema}".micros(clock_timestamp())),
		touched_at = clock_timestamp()
	where channel = p_channel returning version
$f$;

create function "${schema}".describe(m "${schema}".members) returns jsonb language sql as $f$
	select jsonb_build_array(
		m.name,
		m.data,
		(
			select coalesce(sum(streams), 0) from "${schema}".leases l
			where l.channel = m.channel and l.id = m.id
		),
		"${schema}".micros(m.joined_at) / 1000,
		m.version
	)
$f$;

-- Announces changes; if they are too long, only that there are some.
create function "${schema}".announce(p_channel uuid, p_changes jsonb) returns void
language plpgsql as $f$
declare
	v_notice text := 'presence ' || p_channel || ' ' || p_changes;
begin
	if p_changes = '[]' then return; end if;
	if octet_length(v_notice) > 7900 then v_notice := 'presence ' || p_channel || ' '; end if;
	perform pg_notify('${busChannel(schema)}', v_notice);
end $f$;

-- Handles a member after one of its leases has ended: updates it or, if it was the last lease, removes it.
create function "${schema}".lease_ended(p_channel uuid, p_id uuid) returns jsonb
language plpgsql as $f$
declare
	m "${schema}".members;
begin
	if exists (select from "${schema}".leases where channel = p_channel and id = p_id) then
		update "${schema}".members set version = "${schema}".next_version(p_channel)
		where channel = p_channel and id = p_id returning * into m;
		if not found then return '[]'; end if;
		return jsonb_build_array('["update"]' || "${schema}".describe(m));
	end if;
	delete from "${schema}".members where channel = p_channel and id = p_id returning * into m;
	if not found then return '[]'; end if;
	m.version := "${schema}".next_version(p_channel);
	return jsonb_build_array('["leave"]' || "${schema}".describe(m));
end $f$;

create function "${schema}".presence_join(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_channel constant uuid := (r->>'channel')::uuid;
	v_id constant uuid := (r->>'id')::uuid;
	v_owner constant uuid := (r->>'owner')::uuid;
	v_streams constant bigint := (r->>'streams')::bigint;
	v_before bigint;
	v_is_new boolean;
	m "${schema}".members;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	perform "${schema}".enter(v_channel, r->>'name');
	o_topic := "${schema}".clock_ms();
	if (r->>'deadline')::float8 < "${schema}".clock_ms() then
		o_kind := 'late';
		return next;
		return;
	end if;
	select * into m from "${schema}".members where channel = v_channel and id = v_id;
	v_is_new := not found;
	if v_is_new and r->>'maxMembers' is not null and (
		select count(*) from "${schema}".members where channel = v_channel
	) >= (r->>'maxMembers')::float8 then
		o_kind := 'full';
		return next;
		return;
	end if;
	-- Readers of the members since the lease expired did not see it.
	select case when ends_at > clock_timestamp() then streams end into v_before from "${schema}".leases
	where channel = v_channel and id = v_id and owner = v_owner for update;
	insert into "${schema}".leases values (
		v_channel, v_id, v_owner, v_streams,
		clock_timestamp() + (r->>'leaseMs')::float8 * interval '1 ms'
	)
	on conflict (channel, id, owner) do update set streams = excluded.streams, ends_at = excluded.ends_at;
	if v_is_new then
		insert into "${schema}".members values (
			v_channel, v_id, r->>'idText', r->>'data', clock_timestamp(),
			"${schema}".next_version(v_channel)
		) returning * into m;
		perform "${schema}".announce(
			v_channel, jsonb_build_array('["join"]' || "${schema}".describe(m))
		);
	elsif v_before is distinct from v_streams then
		update "${schema}".members set version = "${schema}".next_version(v_channel)
		where channel = v_channel and id = v_id returning * into m;
		perform "${schema}".announce(
			v_channel, jsonb_build_array('["update"]' || "${schema}".describe(m))
		);
	end if;
	o_kind := case when v_is_new then 'new' else 'known' end;
	o_payload := "${schema}".describe(m);
	return next;
end $f$;

create function "${schema}".presence_update(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_channel constant uuid := (r->>'channel')::uuid;
	v_change jsonb;
	v_changes jsonb := '[]';
	m "${schema}".members;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	perform from "${schema}".channels where channel = v_channel for update;
	if not found then return; end if;
	for v_change in select value from jsonb_array_elements(r->'changes') loop
		update "${schema}".members set
			data = v_change->>1,
			version = "${schema}".next_version(v_channel)
		where channel = v_channel and id = (v_change->>0)::uuid and data <> v_change->>1
		returning * into m;
		if found then
			v_changes := v_changes || jsonb_build_array('["update"]' || "${schema}".describe(m));
		end if;
	end loop;
	perform "${schema}".announce(v_channel, v_changes);
end $f$;

create function "${schema}".presence_leave(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_channel constant uuid := (r->>'channel')::uuid;
	v_id constant uuid := (r->>'id')::uuid;
	v_changes jsonb;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	perform from "${schema}".channels where channel = v_channel for update;
	delete from "${schema}".leases
	where channel = v_channel and id = v_id and owner = (r->>'owner')::uuid;
	if not found then return; end if;
	v_changes := "${schema}".lease_ended(v_channel, v_id);
	perform "${schema}".announce(v_channel, v_changes);
	if v_changes->0->>0 = 'leave' then
		o_payload := (v_changes->0) - 0;
		return next;
	end if;
end $f$;

create function "${schema}".presence_members(request text) returns table (${ROW})
language plpgsql as $f$
declare
	v_channel constant uuid := (request::jsonb->>'channel')::uuid;
	v_now constant timestamptz := clock_timestamp();
begin
	return query
	select null, null::bigint, null, null, "${schema}".describe(m)::text from "${schema}".members m
	where m.channel = v_channel and exists (
		select from "${schema}".leases l
		where l.channel = v_channel and l.id = m.id and l.ends_at > v_now
	)
	order by m.joined_at;
end $f$;

create function "${schema}".presence_renew(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_now timestamptz;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	v_now := clock_timestamp();
	update "${schema}".leases set ends_at = v_now + (r->>'leaseMs')::float8 * interval '1 ms'
	where owner = (r->>'owner')::uuid and ends_at > v_now;
	get diagnostics o_sequence = row_count;
	return next;
end $f$;

-- Removes expired leases. It does not wait: rows that another call is handling are left to the next one.
create function "${schema}".presence_reap(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	v_now constant timestamptz := clock_timestamp();
	v_changes jsonb;
	v_change jsonb;
	c "${schema}".channels;
	v_id uuid;
begin
	for c in
		select * from "${schema}".channels
		where channel in (
			select channel from "${schema}".leases where ends_at <= v_now
			order by ends_at limit (r->>'limit')::bigint
		)
		for update skip locked
	loop
		v_changes := '[]';
		for v_id in
			with ended as (
				select channel, id, owner from "${schema}".leases
				where channel = c.channel and ends_at <= v_now
				limit (r->>'limit')::bigint
				for update skip locked
			), gone as (
				delete from "${schema}".leases l using ended e
				where l.channel = e.channel and l.id = e.id and l.owner = e.owner
				returning l.id
			)
			select distinct id from gone
		loop
			v_changes := v_changes || "${schema}".lease_ended(c.channel, v_id);
		end loop;
		perform "${schema}".announce(c.channel, v_changes);
		for v_change in select value from jsonb_array_elements(v_changes) loop
			continue when v_change->>0 <> 'leave';
			o_topic := c.name;
			o_payload := v_change - 0;
			return next;
		end loop;
	end loop;
end $f$;
`;

/** The function that deletes old rows now deletes these as well. */
const pruning = (schema: string): string => `
alter function "${schema}".prune(text) rename to prune_logs;

create function "${schema}".prune(request text) returns table (${ROW})
language plpgsql as $f$
begin
	perform "${schema}".prune_logs(request);
	delete from "${schema}".runs where id in (
		select id from "${schema}".runs where expires_at < now() for update skip locked
	);
	delete from "${schema}".buckets where key in (
		select key from "${schema}".buckets where expires_at_ms < "${schema}".clock_ms()
		for update skip locked
	);
	delete from "${schema}".channels where channel in (
		select channel from "${schema}".channels idle
		where touched_at < now() - interval '1 minute'
			and not exists (select from "${schema}".members m where m.channel = idle.channel)
		for update skip locked
	);
end $f$;
`;
