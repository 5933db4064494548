-- gdn.worker: a process says what the model in this one says, and makes no garbage.
local gdn = require "gdnmeta"
local growth = require "spec.support.growth"
local hosts = require "spec.support.worker_host"
local prompts = require "spec.support.worker_prompts"
local models = require "examples.worker"

local PROMPTS, LENGTH, WANT = prompts.PROMPTS, prompts.LENGTH, prompts.WANT
local host_of, texts = prompts.host_of, prompts.texts

describe("gdn.worker", function()
  local function ways(name, body)
    it(name .. ", in a process", function() body { command = hosts.COMMAND } end)
    it(name .. ", in a model of this process", function()
      body { model = function(builder) return models.model(builder, 7) end }
    end)
  end

  ways("says what each request says alone", function(options)
    local host = host_of(options)
    assert(host:run())
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  ways("says it with windows, blocks of attention cache and buckets", function(options)
    local host = host_of(options, { mamba_cache_mode = "align", mamba_block_size = 8, max_blocks_per_row = 36,
                                    full_cuda_graph = "mixed" }, { kv_blocks = 99, kv_block_size = 4 })
    assert(host:run())
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  ways("takes a step before the one before has its result", function(options)
    local builder = { num_speculative_tokens = 0, max_num_seqs = 4, max_requests = 8, max_rows = 8 }
    local host = host_of(options, builder, { async = true })
    local flying = 0
    while not host.engine:idle() do
      local step = host:send()
      assert.is_not_nil(step)
      if step then flying = flying + 1 end
      if flying == 2 or not step and flying > 0 then
        assert(host:receive())
        flying = flying - 1
      end
    end
    assert.are.same(WANT, texts(host))
    host:close()
  end)

  it("draws the same tokens in a process and in this one", function()
    local function draws(options)
      local host = assert(hosts.new(hosts.engine(), options))
      for id, prompt in ipairs(PROMPTS) do
        host:submit(id, prompt, LENGTH, { 0.8 + id / 9, 0.9, id * 1000 })
      end
      assert(host:run())
      local said = texts(host)
      host:close()
      return said
    end
    local said = draws { command = hosts.COMMAND }
    assert.are.same(said, draws { model = function(builder) return models.model(builder, 7) end })
    assert.are_not.same(WANT, said)
  end)

  it("makes no garbage in a step, nor while it waits", function()
    local engine = hosts.engine({ num_speculative_tokens = 0, max_num_seqs = 8, num_groups = 2 },
                                { kv_blocks = 4000, kv_block_size = 4, max_model_len = 16000 })
    local worker = assert(gdn.worker { engine = engine, command = { "luajit", "bench/worker.lua", "echo" },
                                       environment = hosts.ENVIRONMENT })
    for id = 1, 8 do assert(engine:submit { id = id, prompt_tokens = 3, max_tokens = 15000 }) end
    local now = 0
    local function alone()
      now = now + 1
      engine:complete(engine:step(now), now)
    end
    local function sent()
      now = now + 1
      local step = engine:step(now)
      worker:submit(step)
      repeat local result = worker:poll() until result
      engine:complete(step, now)
    end
    -- Bytes of 300 turns, once they are compiled.
    local function garbage_of(turn)
      for _ = 1, 1200 do turn() end
      return 1024 * growth(function() for _ = 1, 300 do turn() end end)
    end
    local without = garbage_of(alone)
    local with = garbage_of(sent)
    worker:close()
    engine:close()
    assert.is_true(with < without + 300 * 8, ("%d bytes, without a worker %d"):format(with, without))
  end)
end)
