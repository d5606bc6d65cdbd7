import { createHash } from 'node:crypto';

/** A Lua script and the name under which Redis caches it. */
export interface Script {
	readonly source: string;
	readonly sha: string;
}

/** Larger announcements, in bytes, only say that there is something to read. */
const MAX_ANNOUNCED_BYTES = 65_536;

/** A page of events ends with the one that exceeds this size, in bytes. */
const MAX_PAGE_BYTES = 1_048_576;

/**
 * The beginning of every script. A script runs as a whole, so no call sees a half-changed log.
 *
 * Each log has a hash `meta` (its epoch and its last sequence, in one key, because Redis may evict keys one
 * by one), a stream `log` whose entries have the id `<sequence>-<milliseconds>`, and a sorted set `keys` from
 * the key of each event to its sequence.
 *
 * Another server, or the same one after a restart, may have lost the end of the log. The log then continues
 * under a new epoch, and `end:<epoch>` records where the previous one ended: a cursor up to that point is
 * still good, and a later one points to events that are gone.
 */
const PRELUDE = `
local meta, log, keys = KEYS[1], KEYS[2], KEYS[3]
local fresh, maxEvents, maxAgeMs, keepMs = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)
local epoch, last

local function text(number) return string.format('%.0f', number) end

local function sequenceOf(id)
	local sequence, atMs = string.match(id, '(%d+)-(%d+)')
	return tonumber(sequence), tonumber(atMs)
end

local info = redis.pcall('INFO', 'replication')
local server = type(info) == 'string' and string.match(info, 'master_replid:(%w+)') or ''

local function begin()
	redis.call('DEL', meta, log, keys)
	epoch, last = fresh, 0
	redis.call('HSET', meta, 'epoch', epoch, 'last', 0, 'server', server)
end

local known = redis.call('HMGET', meta, 'epoch', 'last', 'server')
epoch, last = known[1], tonumber(known[2])
if not epoch or not last then
	begin()
elseif known[3] ~= server then
	redis.call('HSET', meta, 'end:' .. epoch, last, 'epoch', fresh, 'server', server)
	epoch = fresh
end

-- The sequence of a cursor, or nil if the events after it are unknown.
local function find(cursorEpoch, sequence)
	sequence = tonumber(sequence)
	local ended = cursorEpoch == epoch and last
	if not ended then ended = tonumber(redis.call('HGET', meta, 'end:' .. cursorEpoch)) end
	if not ended then return nil end
	if sequence <= ended then return sequence end
	-- The cursor was delivered, so the end of the log is lost, and its sequences must not be used again.
	begin()
	return nil
end

-- The sequence before the oldest event.
local function first()
	local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
	return oldest and sequenceOf(oldest[1]) - 1 or last
end

-- Drops events beyond the bounds, and keeps the epoch alive. If trimming fails, there is only too much left.
local function tidy()
	redis.pcall('XTRIM', log, 'MAXLEN', maxEvents)
	local count = 1
	repeat
		local from
		for _, entry in ipairs(redis.call('XRANGE', log, '-', '+', 'COUNT', count)) do
			local sequence, atMs = sequenceOf(entry[1])
			if atMs >= nowMs - maxAgeMs then break end
			from = sequence + 1
		end
		count = 100
	until not from or type(redis.pcall('XTRIM', log, 'MINID', text(from))) ~= 'number'
	redis.pcall('ZREMRANGEBYSCORE', keys, '-inf', first())
	redis.call('PEXPIRE', meta, keepMs)
end

-- Epoch, bounds, missed events, and a page of sequences and events after a position.
local function read(at, limit)
	local reply = { epoch, text(first()), text(last), '' }
	if not at then
		reply[4] = 'restart'
		return reply
	end
	if at < tonumber(reply[2]) then reply[4] = 'expired' end
	local bytes = 0
	while limit > 0 do
		local page = redis.call('XRANGE', log, text(at + 1), '+', 'COUNT', math.min(limit, 100))
		if #page == 0 then break end
		for _, entry in ipairs(page) do
			at = sequenceOf(entry[1])
			reply[#reply + 1] = text(at)
			reply[#reply + 1] = entry[2][2]
			bytes = bytes + #entry[2][2]
			if bytes > ${MAX_PAGE_BYTES} then return reply end
		end
		limit = limit - #page
	end
	return reply
end
`;

/** Appends pairs of key and event from `ARGV[from]` on, and announces those that are new. */
const APPEND_EVENTS = `
local function append(from, publish, channel)
	local sequences, texts, bytes, added = {}, {}, 0, false
	local function announce()
		if #texts > 0 then redis.call(publish, channel, epoch .. ' ' .. table.concat(texts)) end
		texts, bytes = {}, 0
	end
	for i = from, #ARGV, 2 do
		local sequence = redis.call('ZSCORE', keys, ARGV[i])
		if not sequence then
			last = redis.call('HINCRBY', meta, 'last', 1)
			sequence, added = text(last), true
			redis.call('XADD', log, sequence .. '-' .. text(nowMs), 'e', ARGV[i + 1])
			redis.call('ZADD', keys, sequence, ARGV[i])
			local item = sequence .. ' ' .. ARGV[i + 1]
			if bytes + #item > ${MAX_ANNOUNCED_BYTES} then announce() end
			if #item > ${MAX_ANNOUNCED_BYTES} then
				redis.call(publish, channel, epoch .. ' ')
			else
				texts[#texts + 1], bytes = item, bytes + #item
			end
		end
		sequences[#sequences + 1] = sequence
	end
	if added then
		redis.call('PEXPIRE', log, maxAgeMs)
		redis.call('PEXPIRE', keys, maxAgeMs)
	end
	tidy()
	announce()
	return sequences, added
end
`;

const script = (...parts: string[]): Script => {
	const source = parts.join('');
	return { source, sha: createHash('sha1').update(source).digest('hex') };
};

/** ARGV: the common four, epoch, sequence, limit. */
export const READ = script(
	PRELUDE,
	`
local at = find(ARGV[5], ARGV[6])
tidy()
return read(at, tonumber(ARGV[7]))
`
);

/** ARGV: the common four. */
export const CLEAR = script(
	PRELUDE,
	`
begin()
tidy()
return { epoch }
`
);

/** ARGV: the common four, command, channel, then key and text of each event. */
export const APPEND = script(
	PRELUDE,
	APPEND_EVENTS,
	`
local sequences = append(7, ARGV[5], ARGV[6])
table.insert(sequences, 1, epoch)
return sequences
`
);

/**
 * ARGV: the common four, command, channel, epoch, sequence, limit, then key and text of each event. The
 * cursor is checked first: if the end of the log is lost, the events belong to the new epoch.
 */
export const APPEND_AND_READ = script(
	PRELUDE,
	APPEND_EVENTS,
	`
local at = find(ARGV[7], ARGV[8])
append(10, ARGV[5], ARGV[6])
return read(at, tonumber(ARGV[9]))
`
);

/**
 * KEYS: the log's three, and the key that remembers the event, if it is to be remembered for longer
 * than the log. ARGV: the common four, command, channel, milliseconds to remember, key and text.
 */
export const PUBLISH = script(
	PRELUDE,
	APPEND_EVENTS,
	`
local known = KEYS[4] and redis.call('GET', KEYS[4])
if known then return { known, '1' } end
local sequences, added = append(8, ARGV[5], ARGV[6])
local cursor = epoch .. '-' .. sequences[1]
if KEYS[4] then redis.call('SET', KEYS[4], cursor, 'PX', ARGV[7]) end
return { cursor, added and '0' or '1' }
`
);

/** ARGV: hash of the data, token, milliseconds of the lease. */
export const BEGIN_RUN = script(`
local known = redis.call('HMGET', KEYS[1], 'hash', 'result')
if not known[1] then
	redis.call('HSET', KEYS[1], 'hash', ARGV[1], 'token', ARGV[2])
	redis.call('PEXPIRE', KEYS[1], ARGV[3])
	return { 'first' }
end
if known[1] ~= ARGV[1] then return { 'conflict' } end
if known[2] then return { 'done', known[2] } end
return { 'running' }
`);

/** Actions that only the holder of the lease may take. ARGV: token. */
const HELD_RUN = `
local known = redis.call('HMGET', KEYS[1], 'token', 'result')
if known[1] ~= ARGV[1] or known[2] then return { '0' } end
`;

/** ARGV: token, milliseconds of the lease. */
export const RENEW_RUN = script(
	HELD_RUN,
	`
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { '1' }
`
);

/** ARGV: token, milliseconds to remember, result. */
export const FINISH_RUN = script(
	HELD_RUN,
	`
redis.call('HSET', KEYS[1], 'result', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { '1' }
`
);

/** ARGV: token. */
export const FAIL_RUN = script(
	HELD_RUN,
	`
redis.call('DEL', KEYS[1])
return { '1' }
`
);

/**
 * A bucket is a text of three numbers: tokens, when they were counted, and when the block of its key ends.
 */
const BUCKET = `
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + clock[2] / 1000

local function put(tokens, blockedUntilMs, ms)
	local text = string.format('%.17g %.17g %.17g', tokens, nowMs, blockedUntilMs)
	redis.call('SET', KEYS[1], text, 'PX', string.format('%.0f', math.max(1, math.ceil(ms))))
end
`;

/** ARGV: cost, points, milliseconds until an empty bucket is full, milliseconds to block. */
export const TAKE_TOKENS = script(
	BUCKET,
	`
local cost, points, intervalMs, blockMs = unpack(ARGV)
cost, points, intervalMs, blockMs = tonumber(cost), tonumber(points), tonumber(intervalMs), tonumber(blockMs)
local function refused(ms) return { '0', string.format('%.0f', math.ceil(ms)) } end

local tokens, atMs, blockedUntilMs =
	string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+) (%S+)$')
tokens, atMs, blockedUntilMs = tonumber(tokens) or points, tonumber(atMs) or nowMs, tonumber(blockedUntilMs) or 0
if blockedUntilMs > nowMs then return refused(blockedUntilMs - nowMs) end
tokens = math.min(points, tokens + math.max(0, nowMs - atMs) * points / intervalMs)
if tokens >= cost then
	tokens = tokens - cost
	if tokens < points then put(tokens, 0, (points - tokens) * intervalMs / points) end
	return { '1', '0' }
end
local fullMs = (points - tokens) * intervalMs / points
if blockMs > 0 then
	put(tokens, nowMs + blockMs, math.max(blockMs, fullMs))
	return refused(blockMs)
end
if tokens < points then put(tokens, 0, fullMs) end
-- The bucket never has more than it can hold.
return refused((math.min(cost, points) - tokens) * intervalMs / points)
`
);

/** ARGV: milliseconds to block. */
export const BLOCK_KEY = script(
	BUCKET,
	`
local ms = tonumber(ARGV[1])
if ms > 0 then put(1e300, nowMs + ms, ms) else redis.call('DEL', KEYS[1]) end
return {}
`
);

/** How long, in milliseconds, members with expired leases are kept if nobody removes them. */
const KEEP_MEMBERS_MS = 86_400_000;

/** How long, in milliseconds, an empty channel remembers its last version. */
const KEEP_VERSION_MS = 60_000;

/** Most leases that one script removes. */
const MAX_REAPED = 500;

/**
 * Members of one channel: a hash `members` from each id to its record, a sorted set `leases` of when
 * each lease ends, a hash `streams` of how many streams each lease stands for (and the last version),
 * and a sorted set `owners` of the same leases by their names. A lease is named by the 22 characters of
 * its owner, followed by the id of the member.
 */
const PRESENCE = `
local members, leases, streams, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local publish, channel = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local nowMicros = clock[1] * 1000000 + clock[2]
local nowMs = math.floor(nowMicros / 1000)
local changes = {}

local function text(number) return string.format('%.0f', number) end

local function idOf(lease) return string.sub(lease, 23) end

local function find(id)
	local joinedAt, version, count, held, data =
		string.match(redis.call('HGET', members, id) or '', '^(%d+) (%d+) (%d+) (%d+) (.*)$')
	if not joinedAt then return nil end
	return {
		id = id, joinedAt = joinedAt, version = version,
		streams = tonumber(count), leases = tonumber(held), data = data
	}
end

local function describe(member, reply)
	reply[#reply + 1] = member.id
	reply[#reply + 1] = member.data
	reply[#reply + 1] = text(member.streams)
	reply[#reply + 1] = member.joinedAt
	reply[#reply + 1] = member.version
	return reply
end

-- Writes a changed member. Versions follow the clock, so that they rise even if the channel was forgotten
-- meanwhile.
local function change(type, member)
	local last = tonumber(redis.call('HGET', streams, 'version')) or 0
	member.version = text(math.max(nowMicros, last + 1))
	redis.call('HSET', streams, 'version', member.version)
	if type == 'leave' then
		redis.call('HDEL', members, member.id)
	else
		redis.call('HSET', members, member.id, member.joinedAt .. ' ' .. member.version .. ' ' ..
			text(member.streams) .. ' ' .. text(member.leases) .. ' ' .. member.data)
	end
	changes[#changes + 1] = cjson.encode(describe(member, { type }))
end

local function announce()
	if #changes == 0 then return end
	local message = '[' .. table.concat(changes, ',') .. ']'
	redis.call(publish, channel, #message > ${MAX_ANNOUNCED_BYTES} and '' or message)
end

-- Ends a lease. Returns the member if that was its last one.
local function drop(lease)
	local count = tonumber(redis.call('HGET', streams, lease))
	redis.call('ZREM', leases, lease)
	redis.call('ZREM', owners, lease)
	redis.call('HDEL', streams, lease)
	local member = count and find(idOf(lease))
	if not member then return nil end
	member.streams = math.max(0, member.streams - count)
	member.leases = member.leases - 1
	if member.leases > 0 then
		change('update', member)
		return nil
	end
	change('leave', member)
	if redis.call('HLEN', members) == 0 then redis.call('PEXPIRE', streams, ${KEEP_VERSION_MS}) end
	return member
end

local function keep(leaseMs)
	for _, key in ipairs(KEYS) do
		local left = redis.call('PTTL', key)
		if left < leaseMs + ${KEEP_MEMBERS_MS / 2} then
			redis.call('PEXPIRE', key, text(leaseMs + ${KEEP_MEMBERS_MS}))
		end
	end
end
`;

/** ARGV: command, channel, lease, milliseconds of the lease, streams, data, most members or nothing. */
export const JOIN = script(
	PRESENCE,
	`
local lease, leaseMs, count = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local member = find(idOf(lease))
local isNew = not member
if isNew then
	if ARGV[7] ~= '' and redis.call('HLEN', members) >= tonumber(ARGV[7]) then return { 'full' } end
	member = { id = idOf(lease), joinedAt = text(nowMicros), streams = 0, leases = 0, data = ARGV[6] }
end
local before = not isNew and tonumber(redis.call('HGET', streams, lease)) or nil
-- Readers of the members since the lease expired did not see it.
local isOver = (tonumber(redis.call('ZSCORE', leases, lease)) or 0) <= nowMs
redis.call('HSET', streams, lease, count)
redis.call('ZADD', leases, text(nowMs + leaseMs), lease)
redis.call('ZADD', owners, 0, lease)
if isOver or before ~= count then
	member.streams = math.max(0, member.streams - (before or 0)) + count
	if not before then member.leases = member.leases + 1 end
	change(isNew and 'join' or 'update', member)
end
keep(leaseMs)
announce()
return describe(member, { isNew and 'new' or 'known' })
`
);

/** ARGV: command, channel, then id and data of each member. */
export const UPDATE_MEMBERS = script(
	PRESENCE,
	`
for i = 3, #ARGV, 2 do
	local member = find(ARGV[i])
	if member and member.data ~= ARGV[i + 1] then
		member.data = ARGV[i + 1]
		change('update', member)
	end
end
announce()
return {}
`
);

/** ARGV: command, channel, lease. */
export const LEAVE = script(
	PRESENCE,
	`
local member = drop(ARGV[3])
announce()
return member and describe(member, {}) or {}
`
);

/** ARGV: command, channel. */
export const MEMBERS = script(
	PRESENCE,
	`
local reply, seen = {}, {}
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. text(nowMs), '+inf')) do
	local id = idOf(lease)
	local member = not seen[id] and find(id)
	seen[id] = true
	if member then describe(member, reply) end
end
return reply
`
);

/** ARGV: command, channel, owner, milliseconds of the lease. Replies with the leases that were renewed and those that are there. */
export const RENEW_LEASES = script(
	PRESENCE,
	`
local owner, leaseMs, renewed = ARGV[3], tonumber(ARGV[4]), 0
local held = redis.call('ZRANGEBYLEX', owners, '[' .. owner, '(' .. owner .. '\\255')
for _, lease in ipairs(held) do
	if (tonumber(redis.call('ZSCORE', leases, lease)) or 0) > nowMs then
		redis.call('ZADD', leases, text(nowMs + leaseMs), lease)
		renewed = renewed + 1
	end
end
if renewed > 0 then keep(leaseMs) end
return { text(renewed), text(#held) }
`
);

/** ARGV: command, channel. Replies with the milliseconds until the next lease ends, or nothing, and the members that left. */
export const REAP = script(
	PRESENCE,
	`
local reply = { '' }
for _, lease in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', text(nowMs), 'LIMIT', 0, ${MAX_REAPED})) do
	local member = drop(lease)
	if member then describe(member, reply) end
end
announce()
local first = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')
if first[2] then reply[1] = text(math.max(0, tonumber(first[2]) - nowMs)) end
return reply
`
);

/** How long, in milliseconds, a process that checks a channel keeps the others from checking it. */
const CLAIM_MS = 5_000;

/**
 * The indexes of leases, which are in another slot than the channels. `due` has the next time to check each
 * channel, at most shortly after its first lease ends. `owned` has the channels of one owner, with a number
 * that rises with each addition. An entry that is in an index but not in the channel is removed when a
 * process finds it, unless it changed meanwhile.
 */
const INDEX = `
local due, owned = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local nowMs = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function text(number) return string.format('%.0f', number) end
`;

/**
 * ARGV: milliseconds of the lease, how many channels to add, these, then channel and number of each one to
 * remove.
 */
export const INDEX_LEASES = script(
	INDEX,
	`
local leaseMs, count = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 3, 2 + count do
	local at = tonumber(redis.call('ZSCORE', due, ARGV[i]))
	-- A little earlier, so that a process that is checking the channel now does not remove it.
	at = math.min(at and at - 1 or nowMs + leaseMs, nowMs + leaseMs)
	redis.call('ZADD', due, text(at), ARGV[i])
	local number = tonumber(redis.call('ZSCORE', owned, ARGV[i])) or 0
	redis.call('ZADD', owned, text(math.max(number + 1, clock[1] * 1000000 + clock[2])), ARGV[i])
end
for i = 3 + count, #ARGV, 2 do
	if tonumber(redis.call('ZSCORE', owned, ARGV[i])) == tonumber(ARGV[i + 1]) then
		redis.call('ZREM', owned, ARGV[i])
	end
end
for _, key in ipairs(KEYS) do
	if redis.call('PTTL', key) < leaseMs + ${KEEP_MEMBERS_MS / 2} then
		redis.call('PEXPIRE', key, text(leaseMs + ${KEEP_MEMBERS_MS}))
	end
end
return {}
`
);

/** KEYS: the index of the owner. Replies with channel and number of each entry. */
export const OWNED = script(`return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')`);

/** ARGV: most channels. Replies with those that are due, and the number of the claim of each. */
export const CLAIM_DUE = script(
	INDEX,
	`
local reply, claim = {}, text(nowMs + ${CLAIM_MS})
for _, channel in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', text(nowMs), 'LIMIT', 0, ARGV[1])) do
	redis.call('ZADD', due, claim, channel)
	reply[#reply + 1] = channel
	reply[#reply + 1] = claim
end
return reply
`
);

/** ARGV: channel, claim, and milliseconds until it is due again, or nothing, of each. */
export const SETTLE_DUE = script(
	INDEX,
	`
for i = 1, #ARGV, 3 do
	if tonumber(redis.call('ZSCORE', due, ARGV[i])) == tonumber(ARGV[i + 1]) then
		if ARGV[i + 2] == '' then
			redis.call('ZREM', due, ARGV[i])
		else
			redis.call('ZADD', due, text(nowMs + tonumber(ARGV[i + 2])), ARGV[i])
		end
	end
end
return {}
`
);
