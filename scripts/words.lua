-- Words that names of files and identifiers of lua/ and src/ no longer have: `make lint` refuses them. Names
-- that gdnmeta.h declares are public and stay. Where a line says "still used", identifiers may have it until
-- they are renamed; "still used, also by files": names of files too. A line that need not say so is named.
local WORDS = [[
answers         results_in
borrowed        lent
cells           state_indices            -- still used
checker         verifier
conservation    token_accounting         -- still used
contents        read_file
drafts_named    any_drafts_given
face            public, control          -- still used
forks           fork_count               -- still used
high_cover      slots_to                 -- still used
interpreted     uncompiled
judge           validate                 -- still used
knee            max_rate                 -- still used
kv_cover        kv_reserved_to           -- still used
lane            group                    -- still used
legality        strict
low_cover       slots_from               -- still used
owed            pending_release          -- still used
proof           verify_plan              -- still used
propose         schedule                 -- still used
reads_named     any_reads_given
receiver        methods                  -- still used
region          row_order                -- still used
resident        device_inputs
room            memory                   -- still used, also by files
scratch         c_buffers                -- still used
seat            table_row                -- still used
sections        hook_loops               -- still used
segments        payload_outputs          -- still used
sizing          token_limits             -- still used
staged          for_graph                -- still used
tail_row        first_prefill
tally           counters                 -- still used
]]

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

local public, used, problems = {}, {}, {}
for name in read "src/gdnmeta.h":gmatch "[%a_][%w_]*" do public[name] = true end

local words = {}
for line in WORDS:gmatch "[^\n]+" do
  local word, better = line:match "^(%S+)%s+(.-)%s*$"
  local still = better:find("-- still used", 1, true) ~= nil
  words[#words + 1] = { word = word, better = better:match "^(.-)%s*%-%-" or better, still = still,
                        files = better:find("also by files", 1, true) ~= nil }
end

-- A word stands in a name where whole parts of it do: `seat` in free_seats, not in seating.
local function look(name, where, is_file)
  if public[name] then return end
  local parts = ("_%s_"):format((name:lower():gsub("%.%w+$", "")))
  for _, w in ipairs(words) do
    if parts:find("_" .. w.word .. "s?_") then
      used[w.word] = used[w.word] or not is_file
      if not w.still or is_file and not w.files then
        problems[("%s: %s has the retired word %s, say %s"):format(where, name, w.word, w.better)] = true
      end
    end
  end
end

local find = io.popen "find lua src '(' -name '*.lua' -o -name '*.[ch]' -o -name '*.cu' ')' -type f"
for path in find:lines() do
  if not path:find "/cdef%.lua$" and not path:find "/schema%.lua$" and path ~= "src/gdnmeta.h" then
    for part in path:gmatch "[^/]+" do look(part, path, true) end
    for name in bare(path, read(path)):gmatch "[%a_][%w_]*" do look(name, path) end
  end
end
find:close()
for _, w in ipairs(words) do
  if w.still and not used[w.word] then
    print(("scripts/words.lua: %s is gone: its line need not say \"still used\""):format(w.word))
  end
end

local list = {}
for text in pairs(problems) do list[#list + 1] = text end
table.sort(list)
if #list == 0 then return end
io.stderr:write(table.concat(list, "\n"), "\n")
os.exit(1)
