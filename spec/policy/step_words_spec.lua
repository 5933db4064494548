-- What `view`, `plan`, `r` and `ctx` say to every number and name that a policy may come up with, within its
-- hooks and outside, against spec/goldens/texts.
local noted = require("spec.support.noted").new "policy-"
local serve = require "spec.support.run_engine"

local METHODS = { "take", "admit", "skip", "preempt", "reject" }
local NUMBERS = { -1, 0, 2, 3, 5, 6, 7, 0.5, 1 / 0, 0 / 0, "0" }
local NAMES = { "now", "step", "tokens_left", "requests_left", "slots_left", "kv_left", "running", "waiting",
                "min_slack", "prefill_taken", "max_drafts", "chunk_multiple", "aging", "rekey_limit",
                "budget_left", "seqs_left", "free_slots", "k", "block", "prompt", "computed", "id", "session",
                "request", "take", "room", "nothing", 1 }

local function words(value) return (tostring(value):gsub(":%d+:", ":"):gsub("0x%x+", "*")) end

-- What a call gives; of an error the file that it is blamed on and the words.
local function try(what, f, ...)
  local list = {}
  local a = { ... }
  local result = { pcall(function()
    local x, y, z, w = f(unpack(a, 1, 4))
    return x, y, z, w
  end) }
  for n = 2, 5 do
    if result[n] ~= nil or n < 4 then list[#list + 1] = words(result[n]) end
  end
  noted.note(what, result[1] and "gives" or "raises", table.concat(list, " "))
end

-- Three run, two of them prompts under way; others wait.
local function engine_of(policy)
  local e = serve.engine(policy, { policy_budget = 1e6, breaker = 1000, kv_tokens = 400 },
                         { num_speculative_tokens = 2, num_slots = 40, max_num_batched_tokens = 16 })
  for id = 1, 6 do assert(e:submit(serve.request("r" .. id, { prompt_tokens = 4 + 5 * id }))) end
  return e
end

local function steps(e, n)
  for now = 1, n do assert(e:complete(assert(e:step(now)), now)) end
end

describe("A policy is told", function()
  before_each(noted.clear)

  it("what its step may do with each number", function()
    for _, method in ipairs(METHODS) do
      for _, more in ipairs(method == "reject" and { { "why" }, {}, { 7 } }
                            or { {}, { 0 }, { 1 }, { 3 }, { 100 }, { -1 }, { 0.5 }, { 2, 1 }, { 2, -1 } }) do
        local is_asked = false
        local e = engine_of { trusted = true, step = function(view, plan)
          if view.step < 4 or is_asked then return plan:fill() end
          is_asked = true
          for _, i in ipairs(NUMBERS) do
            try(("%s %s (%s)"):format(method, words(i), table.concat(more, ", ")), plan[method], plan, i,
              unpack(more))
          end
          try("again", plan[method], plan, 0, unpack(more))
          try("left", plan.left, plan)
        end }
        steps(e, 6)
        for _, failure in ipairs(e:failures()) do noted.note("failed", words(failure.message)) end
        e:close()
      end
    end
    noted.check "plan"
  end)

  it("what there is to see, within its step and after it", function()
    local kept, shown
    local policy = { trusted = true, on_emit = function(r, n, ctx)
      if not kept then return end
      local plan = kept
      kept = nil
      for _, method in ipairs(METHODS) do try(method .. " later", plan[method], plan, 0, "x") end
      try("fill later", plan.fill, plan)
      for _, name in ipairs(NAMES) do
        try(n .. " r." .. words(name), function() local value = r[name] return value end)
        try(n .. " ctx." .. words(name), function() local value = ctx[name] return value end)
      end
      shown = r
    end, step = function(view, plan)
      if view.step == 4 then
        kept = plan
        for _, name in ipairs(NAMES) do
          try("view." .. words(name), function() local value = view[name] return value end)
          try("plan." .. words(name), function() local value = plan[name] return value end)
        end
        for _, which in ipairs { "running", "waiting" } do
          local following = view[which](view)
          for _, i in ipairs(NUMBERS) do try("after " .. words(i) .. " " .. which, following, nil, i) end
        end
        for _, i in ipairs(NUMBERS) do
          try("request " .. words(i), function() local id = view:request(i).id return id end)
        end
        try("set", function() view.now = 1 end)
        try("set", function() plan.x = 1 end)
      end
      plan:fill()
    end }
    local e = engine_of(policy)
    steps(e, 6)
    try("r outside of a hook", function() local id = shown.id return id end)
    e:close()
    noted.check "view"
  end)

  it("how many tokens a step is padded to", function()
    for _, o in ipairs { { { capture_sizes = { 1, 2, 8 } }, {} }, { {}, { full_cuda_graph = "mixed" } },
                         { { mixed_capture_sizes = { { rows = 2, tokens = 6 }, { rows = 3, tokens = 11 } } },
                           { full_cuda_graph = "mixed" } } } do
      local pad
      local e = serve.engine({ trusted = true, on_arrival = function(_, ctx) pad = ctx.pad end }, o[1], o[2])
      assert(e:submit(serve.request "a"))
      for _, n in ipairs { -1, 0, 0.5, 1, 2, 2.5, 3, 6, 7, 8, 8.5, 9, 11, 12, 64, 65, 1e9, 1 / 0, 0 / 0, "1",
                           true } do
        try("pad " .. words(n), pad, n)
      end
      try("pad nothing", pad)
      e:close()
    end
    noted.check "pad"
  end)

  it("the same random numbers in every run, of its seed", function()
    for _, seed in ipairs { 0, 1, 2, 2 ^ 31 - 1 } do
      local e = serve.engine({ trusted = true, on_arrival = function(_, ctx)
        for _ = 1, 40 do noted.note(seed, ("%.17g"):format(ctx.random())) end
      end }, { seed = seed })
      assert(e:submit(serve.request "a"))
      e:close()
    end
    noted.check "random"
  end)
end)
