-- Workers' engines with four prompts, and what each of them says alone.
local hosts = require "spec.support.worker_host"
local libc = require "gdnmeta.native.libc"
local process_state = require "spec.support.process_state"
local tiny = require "examples.tiny_model"
local assert = require "luassert"

local M = {}

M.PROMPTS = { "Once upon a time", "a", "a prompt that is cut, being longer than a step", "x = y" }
M.LENGTH = 24

M.WANT = {} -- by itself, without batches
for id, prompt in ipairs(M.PROMPTS) do M.WANT[id] = tiny.alone(7, prompt, M.LENGTH) end

function M.texts(host)
  local said = {}
  for id in ipairs(M.PROMPTS) do said[id] = host:said(id) end
  return said
end

function M.host_of(options, builder, engine)
  local host = assert(hosts.new(hosts.engine(builder, engine), options))
  for id, prompt in ipairs(M.PROMPTS) do host:submit(id, prompt, M.LENGTH) end
  return host
end

function M.is_running(pid)
  local state = process_state(pid)
  return state ~= nil and state ~= "Z"
end

-- Until it is gone; never long.
function M.assert_gone(pid)
  for _ = 1, 2000 do
    if not M.is_running(pid) then return end
    libc.libc_poll(nil, 0, 1)
  end
  error(("process %d is still there"):format(pid))
end

function M.assert_nothing_held(engine)
  assert.are.equal(0, engine:slots().used)
  assert.are.equal(0, (engine:kv() or { used = 0 }).used)
end

return M
