-- A wrong element in any one tensor of one step shows in what the reference layer computes; where none can
-- be seen, the reason stands in spec/support/wrong_elements.lua.   GDN_SEED=N replays a run
local gdn = require "gdnmeta"
local wrong_element = require "spec.support.wrong_element"
local corruptions = require "spec.support.wrong_elements"
local layer_play = require "spec.support.layer_play"

-- Of FlashInfer's prefill.
local PLAN = { checkpoint_cu_starts = true, checkpoint_rows = true }

local first_seed, assert_shown = layer_play.first_seed, wrong_element.assert_shown

describe("A wrong element #lua", function()
  it("is tried in every tensor of the metadata", function()
    local tried, header = {}, assert(io.open "src/gdnmeta.h"):read "*a"
    for _, list in ipairs { corruptions.SEEN, corruptions.SEEN_UPSTREAM, corruptions.SEEN_BUCKET,
                            corruptions.UNSEEN_BUCKET, corruptions.SEEN_KEPT } do
      for _, entry in ipairs(list) do tried[entry[1]] = true end
    end
    local struct, n = header:match "typedef struct gdn_metadata {(.-)\n} gdn_metadata", 0
    for tensor in struct:gmatch "gdn_tensor ([%w_]+);" do
      assert.is_true(tried[tensor] or PLAN[tensor], tensor)
      n = n + 1
    end
    assert.are.equal(31, n)
  end)

  for _, mixed in ipairs { false, "mixed" } do
    local where = mixed and ", in a bucket" or ""
    for n, entry in ipairs(corruptions.SEEN_KEPT) do
      it(("of a state that a prefill keeps shows: %s, %d%s"):format(entry[1], n, where), function()
        wrong_element.try(entry, 4, { full_cuda_graph = mixed or true }, assert_shown)
      end)
    end
    for n, entry in ipairs(corruptions.UNSEEN_KEPT) do
      it(("does not show: %s, %d%s, for %s"):format(entry[1], n, where, entry.why), function()
        wrong_element.try(entry, 3, { full_cuda_graph = mixed or true }, wrong_element.assert_unseen)
      end)
    end
  end

  it("of FlashInfer's plan, whose kernel the layer is not, is found by a check", function()
    local builder = assert(gdn.builder { device = "cpu", max_num_seqs = 4, max_num_batched_tokens = 1024,
                                         gdn_prefill_backend = "flashinfer", num_slots = 20, check = true })
    local batch = assert(builder:batch())
    for n, row in ipairs { { 1, 9 }, { 300, 300, 128 }, { 64, 64 }, { 260, 260, 192 } } do
      batch:add { query_len = row[1], seq_len = row[2], blocks = { n }, prompt_done = row[1] == 1,
                  checkpoint_len = row[3], checkpoint_slot = row[3] and 10 + n }
    end
    local meta, changed = assert(builder:build(batch)), 0
    assert.is_true(builder:check() and builder:take_check_result())
    for name in pairs(PLAN) do
      local data = meta[name].data
      for i = 0, #meta[name] - 1 do
        local right = data[i]
        for _, wrong in ipairs { right + 1, right - 1, -1, 70, 2 ^ 31 } do
          data[i] = wrong
          assert(builder:check())
          assert.is_nil(builder:take_check_result(), ("%s[%d] = %d"):format(name, i, wrong))
          data[i], changed = right, changed + 1
        end
      end
    end
    assert.are.equal(35, changed)
    builder:close()
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
