import { createHash } from 'node:crypto';

/** A Lua script and the name under which Redis caches it. */
export interface Script {
	readonly source: string;
	readonly sha: string;
}

/** Announcements above this size, in bytes, say only that there is something to read. */
const MAX_ANNOUNCED_BYTES = 65_536;

/** A page of events ends with the one that exceeds this size, in bytes. */
const MAX_PAGE_BYTES = 1_048_576;

/**
 * What every script begins with. A script runs as a whole, so that no two calls see a log halfway.
 *
 * Of each log there are a hash `meta` (its epoch and its last sequence, in one key, because Redis may
 * evict keys one by one), a stream `log` whose entries have the id `<sequence>-<milliseconds>`, and a
 * sorted set `keys` from the key of each event to its sequence.
 *
 * Another server, or the same one after a restart, may have lost the end of the log. So a log goes on
 * under a new epoch there, and `end:<epoch>` notes where the former one ended: a cursor up to that
 * point is still good, and one behind it names events that are gone.
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

-- The sequence that a cursor names, or nil if what followed it is unknown.
local function find(cursorEpoch, sequence)
	sequence = tonumber(sequence)
	local ended = cursorEpoch == epoch and last
	if not ended then ended = tonumber(redis.call('HGET', meta, 'end:' .. cursorEpoch)) end
	if not ended then return nil end
	if sequence <= ended then return sequence end
	-- It was handed out, so the end of the log is lost, and its sequences must not be used again.
	begin()
	return nil
end

-- The sequence before the oldest event.
local function first()
	local oldest = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
	return oldest and sequenceOf(oldest[1]) - 1 or last
end

-- Drops what exceeds the bounds, and keeps the epoch alive. Trimming that fails only leaves too much.
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

-- Epoch, bounds, what is missing, and a page of sequences and events after a position.
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
 * cursor is looked at first: if the end of the log is lost, the events belong to the new epoch.
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
