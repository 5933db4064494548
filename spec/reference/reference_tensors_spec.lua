-- A wrong element in any one tensor of one step shows in what the reference layer computes; where none can
-- be seen, the reason stands in spec/support/wrong_elements.lua.   GDN_SEED=N replays a run
local wrong_element = require "spec.support.wrong_element"
local corruptions = require "spec.support.wrong_elements"
local layer_play = require "spec.support.layer_play"
local play = require "spec.support.random_traffic"

local first_seed, SHIPPED = layer_play.first_seed, layer_play.SHIPPED

-- Traffic in which a wrong element cannot be forgiven: no request is preempted or cancelled, no two texts are
-- alike, and all of the kinds of rows meet.
local function unforgiving(align, num_spec)
  local c = { align = align, num_spec = num_spec, num_groups = 2, seqs = 6, block = align and 8 or 16,
              threshold = 0, max_model_len = 120, budget = 90, num_slots = 60, full_cuda_graph = true,
              kv_block = 1, kv_watermark = 0 }
  local requests = play.requests(c, 14)
  for n, request in ipairs(requests) do request.family = n end
  return c, requests
end

local function play_with(entry, seed, opts)
  math.randomseed(seed)
  local c, requests = unforgiving(seed % 2 == 0, seed % 5 == 0 and 0 or 2)
  local where, policy, record = ("GDN_SEED=%d"):format(seed), SHIPPED[seed % #SHIPPED + 1], nil
  local ok, message = layer_play.run(c, where, policy, function(_, engine)
    local given = opts and opts(c, engine) or {}
    given.requests, given.cancel, given.checkpoints = requests, 0, false
    given.corrupt, record = wrong_element.once(engine, entry, math.random(6))
    return given
  end)
  return ok, message, record
end

-- Play until the element has been wrong `times` times: body(ok, message, what) each time.
local function try(entry, times, body)
  local seed, done = first_seed(), 0
  for attempt = seed, seed + 40 * times do
    local ok, message, record = play_with(entry, attempt)
    if record.done then
      body(ok, message, ("GDN_SEED=%d %s"):format(attempt, record.what))
      done = done + 1
      if done == times then return end
    else
      assert(ok, message)
    end
  end
  error(("%s was wrong %d times only"):format(entry[1], done))
end

-- It showed in a value or led out of something, which is not to say that the spec itself went wrong.
local function assert_shown(ok, message, what)
  assert.is_false(ok, what)
  assert(message:find("alone", 1, true) or message:find("want", 1, true), what .. ": " .. message)
end

describe("A wrong element #lua", function()
  it("is tried in every tensor of the metadata", function()
    local tried, header = {}, assert(io.open "src/gdnmeta.h"):read "*a"
    for _, list in ipairs { corruptions.SEEN, corruptions.SEEN_UPSTREAM, corruptions.SEEN_BUCKET,
                            corruptions.UNSEEN_BUCKET } do
      for _, entry in ipairs(list) do tried[entry[1]] = true end
    end
    local struct, n = header:match "typedef struct gdn_metadata {(.-)\n} gdn_metadata", 0
    for tensor in struct:gmatch "gdn_tensor ([%w_]+);" do
      -- A host copies checkpoints, not the layer: checkpoints_spec.lua.
      if not tensor:find "^checkpoint_" then
        assert.is_true(tried[tensor], tensor)
        n = n + 1
      end
    end
    assert.are.equal(26, n)
  end)

  for _, entry in ipairs(corruptions.SEEN) do
    it("shows: " .. entry[1], function()
      try(entry, 4, assert_shown)
    end)
  end

  for _, entry in ipairs(corruptions.UNSEEN) do
    it(("does not show: %s, for %s"):format(entry[1], entry.why), function()
      try(entry, 3, function(ok, message, what) assert.is_true(ok, what .. ": " .. tostring(message)) end)
    end)
  end
end)

for _, rules in ipairs { "vllm-2026-04", "vllm-2026-08" } do
  describe("A wrong element under " .. rules .. " #lua", function()
    -- A play that comes upon a situation proves nothing: there its outputs are wrong anyhow.
    for _, entry in ipairs(corruptions.SEEN_UPSTREAM) do
      if not entry.rules or entry.rules == rules then
        it("shows a wrong element of " .. entry[1], function()
          local shown, nothing, seed = 0, 0, first_seed()
          while shown < 4 do
            local seen, attempt = {}, 2 * (seed + shown + nothing) + 1 -- odd: mode none
            local ok, message, record = play_with(entry, attempt, layer_play.upstream(rules, seen))
            if seen.situation or not record.done then
              nothing = nothing + 1
            else
              assert_shown(ok, message, ("GDN_SEED=%d %s"):format(attempt, record.what))
              shown = shown + 1
            end
          end
          assert.is_true(nothing < 100, nothing)
        end)
      end
    end
  end)
end
