import { busChannel } from './schema.js';
import { sharing } from './sharing.js';

/** One step that brings the database to this version. */
interface Migration {
	id: number;
	/** Whether processes of an older version cannot continue after it. */
	isBreaking: boolean;
	sql: string;
}

/** @returns all steps, for a schema with a valid name. */
export function migrations(schema: string): Migration[] {
	return [
		{ id: 1, isBreaking: true, sql: tables(schema) + functions(schema) },
		{ id: 2, isBreaking: false, sql: sharing(schema) }
	];
}

const tables = (schema: string): string => `
-- The state of each log. The row is locked while events are added, so that sequences have no gaps and follow
-- the order of commits. Those of a serial column would not.
create table "${schema}".logs (
	log uuid primary key,
	epoch text not null,
	last bigint not null default 0,
	is_new boolean not null default true,
	max_events bigint not null,
	max_age_ms bigint not null,
	touched_at timestamptz not null default clock_timestamp(),
	renewed_at timestamptz
) with (fillfactor = 50);

create table "${schema}".events (
	log uuid not null,
	sequence bigint not null,
	key uuid not null,
	kind text not null,
	topic text,
	payload text not null,
	at timestamptz not null,
	primary key (log, sequence),
	unique (log, key)
);

-- Keys that are remembered although their events may be gone.
create table "${schema}".keys (
	log uuid not null,
	key uuid not null,
	cursor text not null,
	expires_at timestamptz not null,
	primary key (log, key)
);
create index on "${schema}".keys (expires_at);
`;

/** The common row type of requests, slices and answers: all functions return it. */
const ROW = 'o_log text, o_sequence bigint, o_kind text, o_topic text, o_payload text';

const functions = (schema: string): string => `
create function "${schema}".clock_ms() returns float8 language sql as $f$
	select extract(epoch from clock_timestamp())::float8 * 1000
$f$;

create function "${schema}".micros(p_at timestamptz) returns bigint language sql as $f$
	select (extract(epoch from p_at) * 1000000)::bigint
$f$;

-- Whether a log has lost delivered events: its end, although it may have grown again since. The time of the
-- event that the caller knows shows this.
create function "${schema}".has_lost(l "${schema}".logs, p_known jsonb) returns boolean
language sql stable as $f$
	select l.epoch = p_known->>0 and (
		l.last < (p_known->>1)::bigint
		or exists (
			select from "${schema}".events e
			where e.log = l.log and e.sequence = (p_known->>1)::bigint
				and "${schema}".micros(e.at) <> (p_known->>2)::bigint
		)
	) is true
$f$;

-- The wait for a lock ends before the caller gives up. Otherwise each call that waits for a transaction of
-- the app would leave a connection behind. A call within such a transaction waits like the transaction.
create function "${schema}".wait_at_most(p_ms text) returns void language plpgsql as $f$
begin
	if p_ms is not null then perform set_config('lock_timeout', p_ms, true); end if;
end $f$;

-- Locks the row of a log; an unknown one begins an epoch.
create function "${schema}".open(p_log uuid, p_limits jsonb) returns "${schema}".logs
language plpgsql as $f$
declare
	l "${schema}".logs;
begin
	loop
		select * into l from "${schema}".logs where log = p_log for update;
		if found then return l; end if;
		insert into "${schema}".logs (log, epoch, max_events, max_age_ms)
		values (
			p_log,
			substr(replace(gen_random_uuid()::text, '-', ''), 1, 16),
			(p_limits->>0)::bigint,
			(p_limits->>1)::bigint
		)
		on conflict do nothing;
	end loop;
end $f$;

-- Begins a new, empty epoch of a log whose row is locked.
create function "${schema}".renew(l "${schema}".logs) returns "${schema}".logs
language plpgsql as $f$
begin
	delete from "${schema}".events where log = l.log;
	update "${schema}".logs set
		epoch = substr(replace(gen_random_uuid()::text, '-', ''), 1, 16),
		last = 0,
		is_new = false,
		touched_at = clock_timestamp(),
		renewed_at = clock_timestamp()
	where log = l.log returning * into l;
	return l;
end $f$;

-- Begins a new epoch of a log that has lost delivered events. The keys of the remaining events are kept, so
-- that late processes do not add them again.
create function "${schema}".repair(l "${schema}".logs) returns "${schema}".logs
language plpgsql as $f$
begin
	insert into "${schema}".keys
		select log, key, l.epoch || '-' || sequence, clock_timestamp() + interval '1 hour'
		from "${schema}".events where log = l.log
		on conflict do nothing;
	return "${schema}".renew(l);
end $f$;

-- The sequence before the oldest event that is within the bounds of its log.
create function "${schema}".floor_of(l "${schema}".logs, p_max_events bigint, p_max_age_ms bigint)
returns bigint language plpgsql stable as $f$
declare
	v_floor bigint;
begin
	select sequence - 1 into v_floor from "${schema}".events
	where log = l.log
		and sequence > greatest(l.last - p_max_events, 0)
		and at >= clock_timestamp() - p_max_age_ms * interval '1 ms'
	order by sequence limit 1;
	return coalesce(v_floor, l.last);
end $f$;

-- The events after a position, and then a row of the kind "head" with the state of the log. It is stable, so
-- that all its statements see the same moment of the database.
create function "${schema}".slice(p_log uuid, p_after jsonb, p_limit bigint, p_limits jsonb)
returns table (${ROW}) language plpgsql stable as $f$
declare
	l "${schema}".logs;
	v_after bigint := (p_after->>1)::bigint;
	v_floor bigint;
	v_from bigint;
	v_bytes bigint := 0;
	v_at timestamptz;
	v_missed text;
begin
	select * into l from "${schema}".logs where log = p_log;
	v_floor := "${schema}".floor_of(l, (p_limits->>0)::bigint, (p_limits->>1)::bigint);
	v_from := l.last;
	if p_after->>0 is null then
		select e.at into v_at from "${schema}".events e where e.log = p_log and e.sequence = l.last;
	end if;
	if p_after->>0 <> l.epoch or v_after > l.last then
		v_missed := 'restart';
	elsif p_after->>0 = l.epoch then
		if v_after < v_floor then v_missed := 'expired'; end if;
		v_from := greatest(v_after, v_floor);
		for o_sequence, o_kind, o_topic, o_payload, v_at in
			select e.sequence, e.kind, e.topic, e.payload, e.at from "${schema}".events e
			where e.log = p_log and e.sequence > v_from
			order by e.sequence limit p_limit
		loop
			v_from := o_sequence;
			v_bytes := v_bytes + octet_length(o_payload);
			return next;
			exit when v_bytes > 4194304;
		end loop;
	end if;
	o_log := p_log;
	o_sequence := null;
	o_kind := 'head';
	o_topic := v_missed;
	o_payload := jsonb_build_object(
		'epoch', l.epoch,
		'first', v_floor,
		'last', l.last,
		'isNew', l.is_new,
		'more', v_missed is distinct from 'restart' and v_from < l.last,
		'at', "${schema}".micros(v_at),
		'clock', "${schema}".clock_ms()
	);
	return next;
end $f$;

-- Adds events, announces new ones, and reads the events after a position.
create function "${schema}".append(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	l "${schema}".logs;
	v_at timestamptz;
	v_added bigint;
	v_events jsonb;
	v_notice text;
begin
	o_kind := 'added';
	perform "${schema}".wait_at_most(r->>'waitMs');
	l := "${schema}".open((r->>'log')::uuid, r->'limits');
	-- The caller has given up: events that are added now would come after its later ones.
	if (r->>'deadline')::float8 < "${schema}".clock_ms() then
		o_payload := jsonb_build_object('isLate', true, 'clock', "${schema}".clock_ms());
		return next;
		return;
	end if;
	-- The log has lost delivered events.
	if "${schema}".has_lost(l, r->'known') or "${schema}".has_lost(l, r->'after') then
		l := "${schema}".repair(l);
	end if;
	v_at := clock_timestamp();
	with incoming as (
		select (e->>0)::uuid as key, e->>1 as kind, e->>2 as topic, e->>3 as payload, place
		from jsonb_array_elements(r->'events') with ordinality as events(e, place)
	), fresh as (
		select distinct on (i.key) i.* from incoming i
		where not exists (select from "${schema}".events e where e.log = l.log and e.key = i.key)
			and not exists (select from "${schema}".keys k where k.log = l.log and k.key = i.key)
		order by i.key, i.place
	), added as (
		insert into "${schema}".events (log, sequence, key, kind, topic, payload, at)
		select l.log, l.last + row_number() over (order by place), key, kind, topic, payload, v_at
		from fresh
		returning sequence, kind, topic, payload
	)
	select count(*), jsonb_agg(jsonb_build_array(kind, topic, payload) order by sequence)
	into v_added, v_events from added;
	if v_added > 0 then
		v_notice := jsonb_build_object(
			'log', l.log, 'epoch', l.epoch, 'after', l.last, 'at', "${schema}".micros(v_at),
			'events', v_events
		);
		if octet_length(v_notice) > 7900 then
			v_notice := jsonb_build_object(
				'log', l.log, 'epoch', l.epoch, 'after', l.last, 'count', v_added
			);
		end if;
		perform pg_notify('${busChannel(schema)}', v_notice);
		update "${schema}".logs set
			last = l.last + v_added,
			is_new = false,
			max_events = (r->'limits'->>0)::bigint,
			max_age_ms = (r->'limits'->>1)::bigint,
			touched_at = clock_timestamp()
		where log = l.log;
		insert into "${schema}".keys
			select e.log, e.key, l.epoch || '-' || e.sequence,
				clock_timestamp() + (i.event->>4)::float8 * interval '1 ms'
			from jsonb_array_elements(r->'events') as i(event)
			join "${schema}".events e on e.log = l.log and e.key = (i.event->>0)::uuid
			where i.event->>4 is not null and e.sequence > l.last
			on conflict do nothing;
	end if;
	select jsonb_build_object(
		'added', v_added,
		'epoch', l.epoch,
		'last', l.last + v_added,
		'at', case when v_added > 0 then "${schema}".micros(v_at) end,
		'clock', "${schema}".clock_ms(),
		'cursors', jsonb_agg(coalesce(l.epoch || '-' || e.sequence, k.cursor) order by i.place),
		'isNew', jsonb_agg(coalesce(e.sequence > l.last, false) order by i.place)
	) into o_payload
	from jsonb_array_elements(r->'events') with ordinality as i(event, place)
	left join "${schema}".events e on e.log = l.log and e.key = (i.event->>0)::uuid
	left join "${schema}".keys k on k.log = l.log and k.key = (i.event->>0)::uuid;
	return next;
	if r->'after' is not null then
		return query select * from "${schema}".slice(l.log, r->'after', (r->>'limit')::bigint, r->'limits');
	end if;
end $f$;

-- Reads several logs. An unknown one begins an epoch, and so does one that has lost delivered events: either
-- events that this process knows of or, but not repeatedly, events that a reader claims to have.
create function "${schema}".read(request text) returns table (${ROW})
language plpgsql as $f$
declare
	q jsonb;
	l "${schema}".logs;
	v_is_locked boolean;
	v_has_lost boolean;
begin
	perform "${schema}".wait_at_most(request::jsonb->>'waitMs');
	for q in select value from jsonb_array_elements(request::jsonb->'logs') loop
		select * into l from "${schema}".logs where log = (q->>'log')::uuid;
		v_is_locked := false;
		loop
			v_has_lost := "${schema}".has_lost(l, q->'known') or (
				"${schema}".has_lost(l, q->'after')
				and coalesce(l.renewed_at < clock_timestamp() - interval '5 s', true)
			);
			if v_has_lost and v_is_locked then
				l := "${schema}".repair(l);
				exit;
			end if;
			exit when v_is_locked or not v_has_lost and l.log is not null;
			l := "${schema}".open((q->>'log')::uuid, q->'limits');
			v_is_locked := true;
		end loop;
		if l.touched_at < clock_timestamp() - interval '1 hour' then
			update "${schema}".logs set touched_at = clock_timestamp()
			where log = (
				select log from "${schema}".logs where log = l.log for update skip locked
			);
		end if;
		return query select * from "${schema}".slice(l.log, q->'after', (q->>'limit')::bigint, q->'limits');
	end loop;
end $f$;

-- Erases a log. It continues in a new epoch.
create function "${schema}".clear(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	l "${schema}".logs;
begin
	perform "${schema}".wait_at_most(r->>'waitMs');
	l := "${schema}".renew("${schema}".open((r->>'log')::uuid, r->'limits'));
	perform pg_notify(
		'${busChannel(schema)}',
		jsonb_build_object('log', l.log, 'epoch', l.epoch, 'after', 0, 'count', 0)::text
	);
end $f$;

-- Deletes old events, keys that may be forgotten, and logs that nobody uses. One process at a time does it.
-- Events stay for a while after they expire, because their keys reveal repeats.
create function "${schema}".prune(request text) returns table (${ROW})
language plpgsql as $f$
declare
	r constant jsonb := request::jsonb;
	l "${schema}".logs;
	v_floor bigint;
begin
	if not pg_try_advisory_xact_lock(hashtextextended('${schema}.prune', 0)) then return; end if;
	for l in select * from "${schema}".logs loop
		v_floor := "${schema}".floor_of(l, l.max_events, l.max_age_ms);
		delete from "${schema}".events
		where log = l.log and sequence <= v_floor
			and at < clock_timestamp() - (r->>'graceMs')::float8 * interval '1 ms';
	end loop;
	delete from "${schema}".keys where expires_at < clock_timestamp();
	delete from "${schema}".logs idle
	where idle.touched_at < clock_timestamp() - (r->>'idleMs')::float8 * interval '1 ms'
		and not exists (select from "${schema}".events e where e.log = idle.log);
end $f$;
`;
