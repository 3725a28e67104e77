-- The arithmetic of buckets.py, for all processes at once, by Redis's own clock.
-- KEYS: the buckets of a key (hash), its leases (sorted by expiry).
-- ARGV: "admit" | "settle" | "renew", rpm, tpm, concurrency (0: no limit), tokens, lease, seconds a lease lives.
-- Returns what refused ("" for none), milliseconds to wait, requests and tokens left (as text: Lua cuts numbers).
local rpm, tpm, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local amount, lease, lives = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

if ARGV[1] == 'renew' then
  return redis.call('ZADD', KEYS[2], 'XX', now + lives, lease)
end

local kept = redis.call('HMGET', KEYS[1], 'r', 't', 'ra', 'ta')

local function filled(left, at, size)
  left, at = tonumber(left), tonumber(at)
  if not left or not at then return size end
  return math.min(size, left + math.max(0, now - at) * size / 60)
end

local function keep(name, left)
  redis.call('HSET', KEYS[1], name, string.format('%.6f', left), name .. 'a', string.format('%.6f', now))
  redis.call('EXPIRE', KEYS[1], 180)
end

local requests = rpm > 0 and filled(kept[1], kept[3], rpm) or 0
local tokens = tpm > 0 and filled(kept[2], kept[4], tpm) or 0

if ARGV[1] == 'settle' then
  redis.call('ZREM', KEYS[2], lease)
  if tpm > 0 then
    tokens = math.min(tpm, math.max(-tpm, tokens - amount))
    keep('t', tokens)
  end
  return {'', 0, tostring(requests), tostring(tokens)}
end

local wait, what = 0, ''
if rpm > 0 and requests < 1 then wait, what = (1 - requests) * 60 / rpm, 'requests' end
if tpm > 0 then
  local lacks = (math.min(amount, tpm) - tokens) * 60 / tpm
  if lacks > wait then wait, what = lacks, 'tokens' end
end
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= most and wait < 1 then wait, what = 1, 'concurrency' end
end
if what ~= '' then
  return {what, math.ceil(wait * 1000), tostring(requests), tostring(tokens)}
end
if rpm > 0 then
  requests = requests - 1
  keep('r', requests)
end
if tpm > 0 then
  tokens = math.min(tpm, math.max(-tpm, tokens - amount))
  keep('t', tokens)
end
if most > 0 then
  redis.call('ZADD', KEYS[2], now + lives, lease)
  redis.call('EXPIRE', KEYS[2], math.ceil(lives) + 60)
end
return {'', 0, tostring(requests), tostring(tokens)}
