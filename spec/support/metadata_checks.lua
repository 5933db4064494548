-- The invariants that a step's metadata shows: where rows begin, which of them start from a state, what
-- padding is, and the size that graphs want. Used by invariants.lua.
local check = require("spec.support.step_checks").check

local M = {}

-- I17: rows lie end to end from 0 on, and padding is flat.
local function check_starts(where, list, starts, rows)
  check(starts ~= nil or #rows == 0, where, "I17: %s has rows and no %s_query_start_loc", list, list)
  if not starts then return end
  local tokens = 0
  for k, row in ipairs(rows) do
    check(starts[k - 1] == tokens, where, "I17: %s row %d starts at %d, want %d", list, k - 1, starts[k - 1],
          tokens)
    tokens = tokens + row.n
  end
  for k = #rows, #starts - 1 do
    check(starts[k] == tokens, where, "I17: %s padding starts at %d, want %d", list, starts[k], tokens)
  end
end

-- I16. first: how many of the rows the tensor leaves out.
local function check_initial(where, name, initial, rows, first)
  check(initial ~= nil and #initial >= #rows - first, where, "I16: %s: want %d rows", name, #rows - first)
  for k = first + 1, #rows do
    check(initial[k - first - 1] == (rows[k].computed > 0), where, "I16: %s of row %d is %s", name, k - 1,
          tostring(initial[k - first - 1]))
  end
end

-- Elements after those of n rows, `width` per row.
local function check_tail(where, number, name, tensor, n, width, want)
  for at = n * width, tensor and #tensor - 1 or -1 do
    check(tensor[at] == want, where, "%s: %s[%d] = %d on padding", number, name, at, tensor[at])
  end
end

-- I14.
local function check_padding_slots(where, step, spec, plain, config)
  for group = 0, config.num_groups - 1 do
    local meta, pad = step.metadata:group(group), config.pad_slot_id
    check_tail(where, "I14", "spec_state_indices_tensor", meta.spec_state_indices_tensor, #spec,
               config.num_speculative_tokens + 1, pad)
    check_tail(where, "I14", "spec_read_state_indices", meta.spec_read_state_indices, #spec, 1, pad)
    check_tail(where, "I14", "non_spec_state_indices_tensor", meta.non_spec_state_indices_tensor, #plain, 1,
               pad)
    check_tail(where, "I14", "non_spec_read_state_indices", meta.non_spec_read_state_indices, #plain, 1, pad)
  end
end

--- I14 to I18. rows: of the step, in order: { n, drafts, computed }; config: of the builder.
function M.rows(where, step, rows, config)
  local meta, spec, plain = step.metadata, {}, {}
  for _, row in ipairs(rows) do
    local list = row.drafts >= 0 and spec or plain
    list[#list + 1] = row
  end
  check(meta.num_spec_decodes == #spec, where, "I8: %d speculative rows, want %d", meta.num_spec_decodes,
        #spec)
  check_starts(where, "spec", meta.spec_query_start_loc, spec)
  check_starts(where, "non_spec", meta.non_spec_query_start_loc, plain)
  if meta.num_prefills > 0 then
    check_initial(where, "has_initial_state", meta.has_initial_state, plain, 0)
    check_initial(where, "prefill_has_initial_state", meta.prefill_has_initial_state, plain,
                  #plain - meta.num_prefills)
  end
  check_padding_slots(where, step, spec, plain, config)
  check_tail(where, "I15", "num_accepted_tokens", meta.num_accepted_tokens, #spec, 1, 1)
  for row = step.num_rows, step.padded_rows - 1 do
    check(step.seq_len[row] == 0, where, "I18: seq_len %d on padding", step.seq_len[row])
    check(step.last_accepted[row] == 1, where, "I15: accepted %d on padding", step.last_accepted[row])
  end
end

-- I27. The smallest bucket, by tokens and then by rows, from the list as the host gave it; nil: too small.
local function bucket_of(buckets, rows, tokens)
  local best
  for _, bucket in ipairs(buckets) do
    if bucket.rows >= rows and bucket.tokens >= tokens and (not best or bucket.tokens < best.tokens
      or bucket.tokens == best.tokens and bucket.rows < best.rows) then
      best = bucket
    end
  end
  return best
end

local SHAPES = { -- of tensors whose length is the bucket's rows and something, or its tokens
  non_spec_query_start_loc = 2, non_spec_state_indices_tensor = 1, has_initial_state = 1,
  decode_query_start_loc = 1, decode_state_indices = 0,
  prefill_query_start_loc = 2, prefill_state_indices = 1, chunk_offsets = 2,
}

-- I27: sizes are the bucket's, and the layer's branches are the classes that have rows.
local function check_bucket(where, step, bucket)
  local rows, tokens = step.padded_rows, step.padded_tokens
  check(step.graph == "full" and rows == bucket.rows and tokens == bucket.tokens, where,
        "I27: %s, %d rows, %d tokens, want the bucket of %d, %d", step.graph, rows, tokens, bucket.rows,
        bucket.tokens)
  local meta = step.metadata
  for name, more in pairs(SHAPES) do
    check(#meta[name] == bucket.rows + more, where, "I27: #%s = %d", name, #meta[name])
  end
  check(#meta.token_class == bucket.tokens, where, "I27: #token_class = %d", #meta.token_class)
  local counts = meta.live_counts
  check(counts[7] == step.num_rows, where, "I27: live_counts says %d rows", counts[7])
  for name, has in pairs { speculative = meta.num_spec_decodes > 0, decode = meta.num_decodes > 0,
                           prefill = meta.num_prefills > 0 } do
    check((step.branches:find(name, 1, true) ~= nil) == has, where, "I27: branches = %s", step.branches)
  end
end

--- I19, I20, I27. lengths: a set, of the query lengths of decodes and -1 for anything else.
function M.padding(self, where, step, lengths)
  local c, smallest = self.config, nil
  local bucket = bucket_of(c.buckets, step.num_rows, step.num_tokens)
  if bucket then return check_bucket(where, step, bucket) end
  for _, size in ipairs(c.sizes) do
    if size >= step.num_tokens then
      smallest = size
      break
    end
  end
  check(step.padded_tokens == (smallest or step.num_tokens), where, "I19: %d tokens padded to %d",
        step.num_tokens,
        step.padded_tokens)
  check((step.graph == "eager") == (smallest == nil), where, "I19: graph %s", step.graph)
  if step.graph == "full" then
    local length = next(lengths)
    check(next(lengths, length) == nil and (length == 1 or length == 1 + c.num_spec), where,
          "I20: not uniform")
    check(step.padded_rows * length == step.padded_tokens, where, "I19: %d rows of %d padded to %d tokens",
          step.padded_rows, length, step.padded_tokens)
  else
    check(step.padded_rows == step.num_rows, where, "I19: rows padded to %d without a full graph",
          step.padded_rows)
  end
  local meta = step.metadata
  check(c.has_buckets or meta.num_decodes == 0 or meta.num_spec_decodes == 0, where,
        "I20: plain and speculative decodes")
end

return M
