-- A wrong element in any one tensor of one step shows in what the reference layer computes; where none can
-- be seen, the reason stands in spec/support/wrong_elements.lua.   GDN_SEED=N replays a run
local wrong_element = require "spec.support.wrong_element"
local corruptions = require "spec.support.wrong_elements"
local layer_play = require "spec.support.layer_play"

local first_seed, assert_shown = layer_play.first_seed, wrong_element.assert_shown

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
      wrong_element.try(entry, 4, {}, assert_shown)
    end)
  end

  for _, entry in ipairs(corruptions.UNSEEN) do
    it(("does not show: %s, for %s"):format(entry[1], entry.why), function()
      wrong_element.try(entry, 3, {}, wrong_element.assert_unseen)
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
            local upstream = layer_play.upstream(rules, seen)
            local ok, message, record = wrong_element.play(entry, attempt, {}, upstream)
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
