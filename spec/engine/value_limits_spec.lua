-- What an engine says to every kind of value, in every place that takes one: what it takes, or the words of
-- its refusal, and what they are blamed on, against spec/goldens/texts.
local gdn = require "gdnmeta"
local noted = require("spec.support.noted").new "limits-"
local serve = require "spec.support.run_engine"

local VALUES = {
  -1, 0, 1, 2, 3, 4, 5, 0.5, 1.5, 1e-6, 9e-7, 1e6, 1000001, 2 ^ 31 - 3, 2 ^ 31 - 2, 2 ^ 31 - 1, 2 ^ 31,
  -2 ^ 31, -2 ^ 31 - 1, 2 ^ 53, 1 / 0, -1 / 0, 0 / 0, "a", "", true, false, {}, function() end,
}

local function shown(value)
  if type(value) == "number" then return ("%.17g"):format(value) end
  return type(value) == "string" and ("%q"):format(value) or type(value) == "boolean" and tostring(value)
    or type(value)
end

-- What a call gives, or the error it raises, without the line. Answers that follow each other and differ in
-- the value alone are one: the first.
local function asker()
  local before, first, from, to = nil, nil, nil, nil
  local function flush(name)
    if before then noted.note(name, from == to and from or from .. " .. " .. to, first) end
    before = nil
  end
  local function ask(name, value, call)
    local is_done, ok, message, code = pcall(function()
      local ok, message, code = call(value)
      return ok, message, code
    end)
    local answer = is_done and (ok and "yes" or ("%s (%s)"):format(message, code))
      or tostring(ok):gsub(":%d+:", ":")
    local kind = answer:gsub("= [^,]+,", "= *,"):gsub("got .*", "got *"):gsub("no request .*", "none")
      :gsub("policy: [^,]+,", "policy: *,")
    if kind ~= before then
      flush(name)
      before, first, from = kind, answer, shown(value)
    end
    to = shown(value)
  end
  return ask, flush
end

local function each(name, values, call)
  local ask, flush = asker()
  for _, value in ipairs(values) do ask(name, value, call) end
  flush(name)
end

local function small(options, builder)
  return serve.engine("fcfs", options, builder or { num_speculative_tokens = 2, num_slots = 40 })
end

describe("Values", function()
  before_each(noted.clear)

  it("of a request", function()
    local engine = small({ max_model_len = 40, kv_tokens = 64, hash_block_size = 4 },
                         { num_speculative_tokens = 2, num_slots = 40, max_blocks_per_row = 4 })
    for _, field in ipairs { "id", "prompt_tokens", "max_tokens", "arrival", "user", "class", "weight",
                             "priority", "ttft", "tpot", "deadline", "checkpoint", "blocks", "tokens", "salt",
                             "session", "computed", "slot", "keep", "unknown" } do
      each(field, VALUES, function(value)
        local request = { id = "x", prompt_tokens = 3, max_tokens = 2 }
        request[field] = value
        local ok, message, code = engine:submit(request)
        if ok then engine:cancel(request.id) end
        return ok, message, code
      end)
    end
    for prompt = 36, 41 do
      each("prompt_tokens = " .. prompt, { 1, 2, 3, 4, 40 }, function(value)
        return engine:submit { id = prompt .. " " .. value, prompt_tokens = prompt, max_tokens = value }
      end)
    end
    engine:close()
    noted.check "request"
  end)

  it("of results", function()
    local engine = small({ max_model_len = 4000, hash_block_size = 4 },
                         { num_speculative_tokens = 2, num_slots = 40, max_blocks_per_row = 4 })
    assert(engine:submit { id = "x", prompt_tokens = 3, max_tokens = 3000 })
    local step = assert(engine:step(1))
    local function next_step() -- in which both decode with two drafts
      assert(engine:complete(step, 1))
      if not engine:request "y" then
        local tokens = { 1, 2, 3, 4, 5 }
        assert(engine:submit { id = "y", prompt_tokens = 5, tokens = tokens, max_tokens = 1000 })
        assert(engine:complete(assert(engine:step(1)), 1))
      end
      step = assert(engine:step(1))
    end
    local function complete_y(result)
      local ok, message, code = engine:complete(step, 1, { y = result })
      if ok then
        step = assert(engine:step(1))
        next_step()
      end
      return ok, message, code
    end
    next_step()
    for _, field in ipairs { "accepted_drafts", "stop", "next_drafts", "tokens", "blocks", "unknown" } do
      each(field, VALUES, function(value)
        return complete_y { [field] = value }
      end)
    end
    for name, call in ipairs {
      function(value) return engine:complete(step, 2, value) end,
      function(value) return engine:complete(step, value, { z = {} }) end,
      function(value) return engine:complete(step, 2, { x = value, z = 1 }) end,
    } do
      each("results " .. name, { "a", unpack(VALUES) }, function(value)
        local ok, message, code = call(value)
        if ok then step = assert(engine:step(1)) end
        return ok, message, code
      end)
    end
    for n = 0, 4 do
      for accepted = 0, 3 do
        for _, stop in ipairs { false, 1, 2, 3 } do
          local tokens = {}
          for k = 1, n do tokens[k] = k end
          each(("%d tokens, %d accepted, stop %s"):format(n, accepted, tostring(stop)), { 0 }, function()
            return complete_y { tokens = tokens, accepted_drafts = accepted, stop = stop or nil }
          end)
        end
      end
    end
    engine:close()
    engine = small()
    assert(engine:submit { id = "x", prompt_tokens = 3, max_tokens = 3 })
    step = assert(engine:step(1))
    each("blocks without a state cache", { 0 }, function()
      return engine:complete(step, 1, { x = { blocks = { 1 } } })
    end)
    noted.check "results"
  end)

  it("of an engine's other methods", function()
    local engine = small({ max_model_len = 40, kv_blocks = 30, kv_block_size = 4 },
                         { num_slots = 9, max_blocks_per_row = 4, full_cuda_graph = "mixed" })
    assert(engine:submit { id = 1, prompt_tokens = 3, max_tokens = 5 })
    assert(engine:complete(assert(engine:step(1)), 1))
    for _, method in ipairs { "receive", "export", "checkpoint", "request", "cancel", "pin", "unpin",
                              "session", "set_policy", "set_cache", "release" } do
      each(method, VALUES, function(value)
        if value == "a" or value == 1 and method == "cancel" then value = "b" end -- no policy of ours
        local given, message, code = engine[method](engine, value)
        if given and (method == "receive" or method == "export") then engine:release(given) end
        return given, message, code
      end)
    end
    each("fork", VALUES, function(value) return engine:fork(1, { id = value }) end)
    each("fork with max_tokens", VALUES, function(value)
      return engine:fork(1, { id = "f" .. shown(value), max_tokens = value })
    end)
    each("fork of", VALUES, function(value) return engine:fork(value, { id = "g" }) end)
    each("step", VALUES, function(value)
      local step, message, code = engine:step(value)
      if step then engine:complete(step, 1) end
      return step, message, code
    end)
    each("idle_step", VALUES, function(value) return engine:idle_step(value, 1) end)
    each("idle_step of tokens", VALUES, function(value) return engine:idle_step(1, value) end)
    engine:close()
    noted.check "methods"
  end)

  local NO_MORE = 1e6 -- of what takes memory

  it("of an option", function()
    local values = {}
    for _, value in ipairs(VALUES) do
      if type(value) ~= "number" or not (value > NO_MORE and value < 2 ^ 31) then
        values[#values + 1] = value
      end
    end
    for _, name in ipairs { "max_model_len", "max_num_seqs", "max_num_batched_tokens", "chunked_prefill",
                            "long_prefill_token_threshold", "default_drafts", "drafts", "capture_sizes",
                            "mixed_capture_sizes", "kv_tokens", "kv_blocks", "kv_block_size",
                            "hash_block_size", "host_slots", "cache", "kv_watermark", "kv_headroom",
                            "preempt_limit", "admit_after_preemption", "async", "accepted", "aging", "ttft",
                            "tpot", "cost", "rekey_limit", "policy_budget", "policy_seconds", "breaker",
                            "on_policy_error", "stopwatch", "seed", "unknown", "second_builder", "policy" } do
      local builder = serve.builder { num_slots = 40, num_speculative_tokens = 2 }
      each(name, values, function(value)
        if value == "a" and (name == "policy" or name == "cache") then value = 7 end
        local engine, message, code = gdn.engine { builder = builder, [name] = value }
        if engine then engine:close() end
        return engine, message, code
      end)
    end
    for n, o in ipairs {
      { capture_sizes = { 1, 1 } }, { capture_sizes = { 1, 2 } }, { capture_sizes = { 2, 1 } },
      { capture_sizes = { 65536 } }, { capture_sizes = { 65537 } }, { capture_sizes = { 64, 65 } },
      { cost = { predict = 7 } }, { cost = { tokens_within = 7 } }, { cost = { predict = print } },
      { cost = { other = print } }, { drafts = 1, default_drafts = 1 }, { default_drafts = 2 },
      { default_drafts = 3 }, { chunked_prefill = false, long_prefill_token_threshold = 1 },
      { chunked_prefill = false, long_prefill_token_threshold = 0 }, { policy_seconds = 1 },
      { mixed_capture_sizes = {} }, { mixed_capture_sizes = { { rows = 1, tokens = 1 } } },
      { kv_tokens = 15 }, { kv_tokens = 16 }, { kv_tokens = 16, kv_block_size = 17 },
      { max_num_seqs = 4, max_num_batched_tokens = 4 }, { max_num_seqs = 4, max_num_batched_tokens = 3 },
      { long_prefill_token_threshold = 3 }, { chunked_prefill = false }, { hash_block_size = 4 },
      { hash_block_size = 6 }, { max_model_len = 33 }, { max_model_len = 34 },
    } do
      for _, b in ipairs { {}, { mamba_cache_mode = "align", mamba_block_size = 4, max_blocks_per_row = 10 },
                           { mamba_cache_mode = "align", mamba_block_size = 2, max_blocks_per_row = 20 } } do
        local options = { num_slots = 40, num_speculative_tokens = 2 }
        for name, value in pairs(b) do options[name] = value end
        o.builder = serve.builder(options)
        each(("options %d, %s"):format(n, b.mamba_block_size or "none"), { 0 }, function()
          local engine, message, code = gdn.engine(o)
          if engine then engine:close() end
          return engine, message, code
        end)
      end
    end
    noted.check "options"
  end)
end)
