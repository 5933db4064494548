-- The tiny model as a worker's process: what an engine in another process sends is run here.
--   gdn.worker { engine = engine, command = { "luajit", "examples/worker.lua" } }
local sampling = require "examples.sampling"
local serve = require "gdnmeta.worker.serve"
local tiny = require "examples.tiny_model"

local M = {}

--- The tiny model for a builder, as workers take models. A token that is drawn takes the number of its place
--- in the sequence, so that it is the same in every batch.
function M.model(builder, seed)
  local model = tiny.new { seed = seed, builder = builder }
  function model:choose(at, temperature, top_p, of, position)
    return self:sample(at, sampling.new(temperature, top_p, of), position)
  end
  return model
end

if arg and arg[0] and arg[0]:find "examples/worker%.lua$" then serve(M.model, { text = "the tiny model" }) end
return M
