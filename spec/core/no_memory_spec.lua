-- Where there is no memory a call says so and leaves nothing half made. Each runs in a process of its own
-- whose address space is limited.
local KILOBYTES = 250000

local function run(options, code)
  local program = ("local gdn, options = require 'gdnmeta', { device = 'cpu', %s } %s"):format(options, code)
  -- A sanitizer needs more room than that, in the shell too: it goes before the limit comes.
  local line = "env -u LD_PRELOAD -u GDNMETA_LIB sh -c 'ulimit -v %d; exec luajit -e \"$1\" 2>&1' - \"%s\""
  local pipe = io.popen(line:format(KILOBYTES, program))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("Without memory", function()
  it("a batch is refused, and its builder goes on", function()
    local text = run("max_rows = 65536, max_requests = 8, max_blocks_per_row = 1000, num_slots = 100", [[
        local builder = assert(gdn.builder(options))
        for _ = 1, 2 do print(builder:batch()) end
        local inputs = { query_start_loc = { 0, 1 }, seq_lens = { 9 }, block_table = { { 7 } } }
        local meta = builder:build_raw(inputs)
        print(meta.num_decodes, meta.non_spec_state_indices_tensor[0])
      ]])
    assert.are.equal("nil\tout of memory\t-2\nnil\tout of memory\t-2\n1\t7\n", text)
  end)

  it("a builder is refused, whichever of its arrays is too large", function()
    for options, reason in pairs {
      ["max_num_batched_tokens = 2^29"] = "no memory for %d+ bytes of outputs",
      ["max_rows = 65536, num_speculative_tokens = 64, num_groups = 64, max_requests = 1"] =
        "no memory for 65536 rows in 64 groups",
      ["max_requests = 2^20, max_blocks_per_row = 100, num_slots = 9"] = "no memory for 256 rows in 1 groups",
      ["num_slots = 2^30"] = "no memory for 256 rows in 1 groups",
    } do
      local text = run(options, "print(gdn.builder(options)) print(gdn.builder { device = 'cpu' })")
      assert.matches("^nil\t" .. reason .. "\t%-2\ngdnmeta.Builder%(", text)
    end
  end)

  it("an index of a prefix cache is refused, whichever of its arrays is too large", function()
    for _, sizes in ipairs { "2^24, max_blocks = 9", "9, max_blocks = 2^26, kv_per_block = 1",
                             "9, max_blocks = 2^20, kv_per_block = 1024" } do
      local text = run("num_groups = 1, block_size = 1, max_nodes = " .. sizes, [[
        local Index = require 'gdnmeta.engine.prefix.index'
        options.device = nil
        print(Index.new(options))
        options.max_nodes, options.max_blocks = 9, 9
        print(Index.new(options))
      ]])
      assert.matches("^nil\tindex: out of memory for an index\t%-2\ntable: ", text)
    end
  end)
end)
