-- The device of random traffic dies with all that it held, in the middle of a step or between two: nothing
-- is computed, nothing runs and nothing is in flight.
local cache = require "spec.support.cache_checks"
local pools = require "spec.support.pool_checks"
local check = require("spec.support.step_checks").check

local function check_books(books, where)
  local e = books.engine
  books.in_flight, books.computed_blocks, books.pending = 0, {}, {}
  for _, q in pairs(books.live) do
    q.flight = 0
    pools.left(books, where, q)
    q.waits, q.computed, q.cached, q.placeholders, q.drafts, q.ahead = true, 0, 0, 0, 0, 0
    q.accepted, q.last_drafts, q.is_new, q.was_speculative, q.given, q.begins_at = 1, 0, true, false, false, 1
    q.latest, q.epoch = nil, (q.epoch or 0) + 1
  end
  pools.all(books, where)
  cache.index(books, where)
  local held, kv, cached, kept = e:slots().used, e:kv(), e:cached(), {}
  for _, source in pairs(e.private.pinned) do
    for group, slot in ipairs(source.slots) do
      if not kept[group .. " " .. slot] then held = held - 1 end
      kept[group .. " " .. slot] = true
    end
  end
  check(held == 0, where, "%d slots are in use, and nothing runs", held)
  check(not kv or next(e.private.pinned) or kv.used == 0, where, "%d blocks are in use", kv and kv.used or 0)
  local states = cached and cached.states + cached.host_states + cached.kv_blocks or 0
  check(states == 0, where, "the cache holds something")
  check(e.stats.running == 0, where, "%d run", e.stats.running)
end

--- play: of random_traffic.lua
return function(play)
  play.engine:lose_states()
  play.flying = {}
  check_books(play.books, ("%s lost at %d"):format(play.where, play.now))
  play.kernel:forget()
  while play.pinned[1] do play.engine:release(table.remove(play.pinned).checkpoint) end
  play.stats.losses = play.stats.losses + 1
end
