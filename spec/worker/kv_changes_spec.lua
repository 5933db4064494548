-- What a worker's copy of the kv table lacks, each argument of gdn_kv_changes at the ends of what it may be
-- and past them: changes, and what is known afterwards, against spec/goldens/texts.
local ffi = require "ffi"
local gdn = require "gdnmeta"
local lib = require "gdnmeta.native"
local noted = require "spec.support.noted"
if not pcall(ffi.typeof, "gdn_hello") then require "gdnmeta.worker.cdef" end

local int32s, int64s = gdn.array_of "int32_t", gdn.array_of "int64_t"
local notes = noted.new "records-"
local MOST, LEAST = 2 ^ 31 - 1, -2 ^ 31

-- Two rows of three columns: of the first one the worker has a column, of the second one nothing.
local BASE = { num_rows = 2, rows = 2, columns = 3, capacity = 4, table_row = { 0, 1 }, owner = { 5, 6 },
               used = { 2, 3 }, sent = { 5, 1, -1, 0 } }

local function try(name, changed)
  local c = {}
  for key, value in pairs(BASE) do c[key] = changed[key] or value end
  local sent, out = ffi.new "gdn_kv_sent[2]", int32s(27)
  sent[0].owner, sent[0].columns, sent[1].owner, sent[1].columns = unpack(c.sent)
  for k = 0, 26 do out[k] = -7 end
  local table_of = int32s(6, { 10, 11, 12, 20, 21, 22 })
  local n = tonumber(lib.gdn_kv_changes(c.num_rows, int32s(2, c.table_row), int64s(2, c.owner),
    int32s(2, c.used), table_of, c.rows, c.columns, sent, out, c.capacity))
  local list = {}
  for k = 0, 26 do
    if out[k] ~= -7 then list[#list + 1] = out[k] end
  end
  notes.note(name, n, "|", table.concat(list, " "), "|", ("%d:%d %d:%d"):format(tonumber(sent[0].owner),
    sent[0].columns, tonumber(sent[1].owner), sent[1].columns))
end

describe("Changes of the kv table", function()
  it("are those of rows and columns that there are", function()
    try("base", {})
    for _, name in ipairs { "num_rows", "rows", "columns", "capacity" } do
      for _, value in ipairs { LEAST, -1, 0, 1, 2, 3, 4, 5 } do
        -- No more rows and columns than there are.
        if value <= BASE[name] or name == "capacity" then try(name .. " " .. value, { [name] = value }) end
      end
    end
    for place = 1, 2 do
      for _, value in ipairs { LEAST, -1, 0, 1, 2, 3, 4, MOST } do
        for _, name in ipairs { "table_row", "used", "owner" } do
          local list = { BASE[name][1], BASE[name][2] }
          list[place] = value
          try(("%s[%d] %d"):format(name, place - 1, value), { [name] = list })
        end
      end
    end
    for _, first in ipairs { -1, 4, 5, 6 } do
      for columns = 0, 3 do
        try(("sent %d:%d"):format(first, columns), { sent = { first, columns, 6, columns }, capacity = 9 })
      end
    end
    notes.check "kv-changes"
  end)
end)
