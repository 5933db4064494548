-- Work that is cleared away at the end, in a process with luajit's handler and in one with the system's.
local signals = require "gdnmeta.native.signals"

describe("Guarded work #lua", function()
  local before
  before_each(function() before = signals.set(signals.SIGINT, signals.DEFAULT) end)
  after_each(function() signals.set(signals.SIGINT, before) end)

  it("is cleared once it is done, and its result handed on", function()
    local cleared = {}
    local function clear(done) cleared[#cleared + 1] = done end
    signals.plain()
    assert.are.equal(7, signals.guarded(function() return 7 end, clear))
    assert.are.same({ true }, cleared)
    assert.is_true(signals.set(signals.SIGINT, signals.DEFAULT) == signals.DEFAULT)
  end)

  it("goes on at a signal that the program ignores, as under nohup, and leaves it ignored", function()
    local HUP = 1
    local kept = signals.set(HUP, signals.IGNORE)
    local result = signals.guarded(function() return require("gdnmeta.native.libc").libc_raise(HUP) end,
      function() end)
    assert.are.equal(0, result)
    assert.is_true(signals.set(HUP, kept) == signals.IGNORE)
  end)

  it("is cleared where it fails, and the error goes on as it was", function()
    local cleared, err = {}, { message = "no" }
    local ok, raised = pcall(signals.guarded, function() error(err) end, function(done)
      cleared[#cleared + 1] = done or "early"
    end)
    assert.are.same({ false, { "early" } }, { ok, cleared })
    assert.are.equal(err, raised)
  end)
end)
