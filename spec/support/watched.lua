-- For LUA_INIT: the program believes that a person watches its stderr, and its clock leaps by GDN_LEAP
-- seconds whenever it is read, by GDN_MORE more each time.
local leap, now = tonumber(os.getenv "GDN_LEAP") * 1e9, 0
local more = tonumber(os.getenv "GDN_MORE" or 0) * 1e9

package.preload["gdnmeta.sim.wall_clock"] = function()
  return function()
    now, leap = now + leap, leap + more
    return now
  end
end

package.preload["gdnmeta.native.libc"] = function()
  local libc = assert(loadfile "lua/gdnmeta/native/libc.lua")()
  local function isatty(descriptor) return descriptor == 2 and 1 or 0 end
  return setmetatable({ libc_isatty = isatty }, { __index = function(_, name) return libc[name] end })
end
