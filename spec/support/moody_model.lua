-- A model that can be made while the file that MOODY names says so.
local good = require "spec.support.cycle_model"
local path = os.getenv "MOODY"

return {
  new = function()
    local file = assert(io.open(path))
    local mood = file:read "*a"
    file:close()
    assert(mood == "good", "a bad mood")
    return good.new()
  end,
}
