-- Words that names of files and identifiers no longer have: `make lint` refuses them. Names that gdnmeta.h
-- declares are public and stay, and so do those of PUBLIC. "in src": of C alone, for Lua the word means
-- something else.
local WORDS = [[
answers         results_in
borrowed        lent
cells           slots, state_indices     -- in src
checker         verifier
conservation    token_accounting
contents        read_file
drafts_named    any_drafts_given
face            public, control
forks           fork_count               -- in src
high_cover      slots_to
interpreted     uncompiled
judge           validate
knee            max_rate, bend
kv_cover        kv_reserved_to
lane            group
legality        strict
low_cover       slots_from
owed            coming
proof           verify_plan
propose         schedule, plan
reads_named     any_reads_given
receiver        methods
region          row_order
resident        device_inputs
room            memory, what is left
scratch         c_buffers, work_arrays
seat            table_row
sections        loops
segments        outputs
sizing          token_limits
staged          for_graph
tail_row        first_prefill
tally           counters
]]

-- Of Lua: what users have in results and recordings, and methods of the release before.
local PUBLIC = { conservation = "sim.run's result", seats = "why a request waited, in recordings",
                 room = "plan:room()", lanes = "DLPack's" }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- Code without comments and strings.
local function bare(path, text)
  if path:find "%.lua$" then
    text = text:gsub("%-%-%[%[.-%]%]", ""):gsub("%[%[.-%]%]", "")
    return (text:gsub('\\.', ""):gsub('"[^"\n]*"', ""):gsub("'[^'\n]*'", ""):gsub("%-%-[^\n]*", ""))
  end
  return (text:gsub("/%*.-%*/", ""):gsub('\\.', ""):gsub('"[^"\n]*"', ""))
end

local public, problems = {}, {}
for name in read "src/gdnmeta.h":gmatch "[%a_][%w_]*" do public[name] = true end

local words = {}
for line in WORDS:gmatch "[^\n]+" do
  local word, better, scope = line:match "^(%S+)%s+(.-)%s*%-%-(.*)$"
  if not word then word, better = line:match "^(%S+)%s+(.-)%s*$" end
  scope = scope or ""
  words[#words + 1] = { word = word, better = better, only_c = scope:find "in src" ~= nil }
end

-- A word stands in a name where whole parts of it do: `seat` in free_seats, not in seating.
local function look(name, where, is_file)
  local is_c = not where:find "%.lua$"
  if public[name] or not is_c and PUBLIC[name] and not is_file then return end
  local parts = ("_%s_"):format((name:lower():gsub("%.%w+$", "")))
  for _, w in ipairs(words) do
    if parts:find("_" .. w.word .. "s?_") and (is_c or not w.only_c) then
      problems[("%s: %s has the retired word %s, say %s"):format(where, name, w.word, w.better)] = true
    end
  end
end

local find = io.popen("find lua src spec bench examples -type f "
  .. "'(' -name '*.lua' -o -name '*.[ch]' -o -name '*.cu' ')'")
for path in find:lines() do
  local is_ours = path:find "^lua/" or path:find "^src/" -- elsewhere C is not looked at
  if not path:find "/cdef%.lua$" and not path:find "/schema%.lua$" and path ~= "src/gdnmeta.h"
    and (is_ours or path:find "%.lua$") then
    for part in path:gmatch "[^/]+" do look(part, path, true) end
    if not path:find "^spec/" then
      for name in bare(path, read(path)):gmatch "[%a_][%w_]*" do look(name, path) end
    end
  end
end
find:close()

local list = {}
for text in pairs(problems) do list[#list + 1] = text end
table.sort(list)
if #list == 0 then return end
io.stderr:write(table.concat(list, "\n"), "\n")
os.exit(1)
