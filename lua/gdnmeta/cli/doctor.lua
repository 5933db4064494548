-- gdnmeta doctor: what is there, what is missing, and how to get it.
local raised = require "gdnmeta.policy.contained.raised"
local M = {
  summary = "List what is installed, what is missing and how to get it.",
  epilog = "Exit status 1 if something required is missing.",
}

function M.describe() end

local function first_line(command)
  local pipe = io.popen("{ " .. command .. "; } 2>/dev/null")
  local line = pipe and pipe:read "*l"
  if pipe then pipe:close() end
  return line
end

-- The library that this process has mapped.
local function library_path()
  for line in io.lines "/proc/self/maps" do
    local path = line:match "(/.*libgdnmeta[^/]*%.so[%d.]*)$"
    if path then return path end
  end
end

local function check_library()
  local ok, gdn = pcall(require, "gdnmeta")
  if not ok then return nil, tostring(gdn), "make, or luarocks make" end
  local abi = require("ffi").C.GDN_ABI
  return ("gdnmeta %s, ABI %d, %s"):format(gdn._VERSION, tonumber(abi), library_path() or "not mapped")
end

local function check_device()
  local ok, gdn = pcall(require, "gdnmeta")
  if not ok then return nil, "no library" end
  local builder, message = gdn.builder { device = "cuda", max_num_seqs = 1, max_num_batched_tokens = 8 }
  if not builder then return nil, message, "not needed: everything runs on the CPU as well" end
  local device = builder.device
  builder:close()
  return device
end

local function check_module(name, package)
  return function()
    local ok, module = pcall(require, name)
    if ok then return type(module) == "table" and module._VERSION or "found" end
    local why = raised.text(module)
    if not why:find(("module '%s' not found:"):format(name), nil, true) then
      return nil, "cannot be loaded: " .. why
    end
    return nil, "not found", ("luarocks install %s, or apt-get install %s"):format(package[1], package[2])
  end
end

local function check_program(command, package, what_for)
  return function()
    local line = first_line(command)
    if line then return line end
    return nil, "not found", ("apt-get install %s: %s"):format(package, what_for)
  end
end

-- { name, needed, check() -> text | nil, why, how to get it }
local CHECKS = {
  { "LuaJIT", true, function()
    return ("%s, %s/%s, JIT %s"):format(jit.version, jit.os, jit.arch, jit.status() and "on" or "off")
  end },
  { "library", true, check_library },
  { "argparse", true, check_module("argparse", { "argparse", "lua-argparse" }) },
  { "cjson", true, check_module("cjson", { "lua-cjson", "lua-cjson" }) },
  { "readline", false, check_module("readline", { "readline", "lua-readline" }) }, -- of gdnmeta repl
  { "GPU", false, check_device },
  { "gnuplot", false, check_program("gnuplot --version", "gnuplot-nox", "charts in reports") },
  { "xargs", false, check_program("xargs --version", "findutils", "sweep --jobs") },
  { "nvcc", false,
    check_program("nvcc --version | tail -n 2", "nvidia-cuda-toolkit", "builds the GPU path") },
  { "busted", false, check_program("busted --version", "lua-busted", "make test") },
  { "luacheck", false, check_program("luacheck --version", "lua-check", "make lint") },
}

function M.run()
  local is_missing = false
  for _, c in ipairs(CHECKS) do
    local name, needed, check = c[1], c[2], c[3]
    local text, why, how = check()
    local mark = text and "ok" or needed and "MISSING" or "-"
    print(("%-8s %-9s %s"):format(mark, name, text or why))
    if not text and how then print(("%-8s %-9s   %s"):format("", "", how)) end
    if not text and needed then is_missing = true end
  end
  return is_missing and 1 or 0
end

return M
