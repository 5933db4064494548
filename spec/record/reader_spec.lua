-- The reader of recordings, line by line: what may stand where, how long it may be, and what is told of it.
local format = require "gdnmeta.record.format"
local gdn = require "gdnmeta"
local recordings = require "spec.support.recordings"

local read, lines, write = recordings.read, recordings.lines, recordings.write

describe("A recording's reader", function()
  local path, text
  before_each(function()
    path = os.tmpname()
    recordings.short(path, 2)
    text = lines(read(path))
    assert.are.equal(4, #text) -- the header, two steps, the end
  end)
  after_each(function() os.remove(path) end)

  -- Steps that come out of these lines, what is missing, and why it was refused, without the path.
  local function walk(...)
    write(path, table.concat({ ... }, "\n") .. "\n")
    local n, missing, message = recordings.walk(path)
    return n, missing, message and message:sub(#path + 2)
  end

  it("says on which device it was recorded, whatever there is here", function()
    for _, device in ipairs { "cpu", "cuda", "cuda:7", "another" } do
      local header, n = text[1]:gsub('"device":"cpu"', ('"device":"%s"'):format(device))
      assert.are.equal(1, n)
      write(path, header .. "\n" .. text[4] .. "\n")
      local reader = assert(gdn.record.open(path))
      assert.are.equal(device, reader.header.builder.device)
      reader:close()
    end
  end)

  it("takes lines in their order alone", function()
    local header, first, second, last = unpack(text)
    local after, empty = '{"after":2}', '{"empty":2,"now":1}'
    local lacks = "no end line after line %d: truncated there, or still being written"
    assert.are.same({ 2 }, { walk(header, first, second, last) })
    assert.are.same({ 2 }, { walk(header, first, second, after, last) })
    assert.are.same({ 2 }, { walk(header, empty, first, empty, second, last) })
    assert.are.same({ 2, lacks:format(3) }, { walk(header, first, second) })
    assert.are.same({ 2, lacks:format(4) }, { walk(header, first, second, after) })
    assert.are.same({ 2, lacks:format(4) }, { walk(header, first, second, empty) })
    for _, case in ipairs {
      { 2, "5: comes after the end", header, first, second, last, first },
      { 2, "5: comes after the end", header, first, second, last, after },
      { 2, "5: comes after the last line but is not the end", header, first, second, after, first },
      { 2, "5: comes after the last line but is not the end", header, first, second, after, after },
      { 1, "3: steps = 2, want 1, the steps before it", header, first, last },
      { 0, '2: unknown field "gdnmeta"', header, '{"gdnmeta":"record"}' },
      { 0, '2: unknown field "nope"', header, '{"after":1,"nope":1}', last },
      { 0, "2: after = -1, want an integer in 0 .. 9007199254740992", header, '{"after":-1}', last },
      { 0, "2: after = 9.007199254741e+15, want an integer in 0 .. 9007199254740992", header,
        '{"after":9007199254740994}', last },
      { 0, "2: the line = 5, want an object", header, "5" },
      { 0, '2: end = 5, want a reason', header, '{"end":5,"steps":0}' },
      { 0, '2: unknown field "why"', header, '{"end":"closed","steps":0,"why":1}' },
    } do
      local n, missing, message = walk(unpack(case, 3))
      assert.are.same({ case[1], case[2] }, { n, message })
      assert.is_nil(missing)
    end
    assert.are.same({ 0 }, { walk(header, '{"after":9007199254740992}', '{"end":"closed","steps":0}') })
    assert.are.same({ 0 }, { walk(header, '{"after":0}', '{"end":"closed","steps":0}') })
    write(path, table.concat(text, "\n") .. "\nx")
    assert.are.equal(path .. ":5: comes after the end", (select(3, recordings.walk(path))))
  end)

  it("tells of an end before its time, in so many bytes", function()
    local header = text[1]
    local reason = ("x"):rep(128)
    assert.are.same({ 0, "the recording ended early: " .. reason },
                    { walk(header, ('{"end":"%s","steps":0}'):format(reason)) })
    assert.matches("^2: end = ", (select(3, walk(header, ('{"end":"%sx","steps":0}'):format(reason)))))
  end)

  it("takes lines of 4 MiB, and none that is longer", function()
    assert.are.equal(4194304, format.MAX_LINE)
    local header = text[1]
    local wide = header .. (" "):rep(format.MAX_LINE - #header)
    assert.are.same({ 2 }, { walk(wide, text[2], text[3], text[4]) })
    write(path, wide .. " \n" .. text[2])
    assert.are.same({ nil, path .. ":1: longer than the 4194304 bytes that a line may have", gdn.EINVAL },
                    { gdn.record.open(path) })
  end)

  it("is refused again once it was refused, and knows nothing once it is closed", function()
    write(path, text[1] .. "\n5\n" .. text[2] .. "\n")
    local reader = assert(gdn.record.open(path))
    for _ = 1, 2 do
      assert.are.same({ nil, path .. ":2: the line = 5, want an object", gdn.EINVAL }, { reader:next() })
    end
    local file = reader.file
    assert.are.equal("file", io.type(file))
    reader:close()
    assert.are.equal("closed file", io.type(file))
    reader:close()
    recordings.short(path, 2)
    reader = assert(gdn.record.open(path))
    assert.are.equal(1, reader:next().step)
    reader:close()
    assert.are.same({}, { reader:next() })
    assert.is_nil(reader.missing)
    reader = assert(gdn.record.open(path))
    assert.are.same({ 2, 3 }, { reader:next().line, reader:next().line })
    for _ = 1, 2 do assert.are.same({}, { reader:next() }) end
    assert.are.equal(2, reader.steps)
    reader:close()
  end)

  it("has a limit of memory, 1 GiB where none is given", function()
    local change = text[1]:gsub('"max_requests":%d+', '"max_requests":%%d'):gsub('"max_blocks_per_row":%d+',
      '"max_blocks_per_row":1024')
    write(path, change:format(2 ^ 16) .. "\n")
    assert.is_not_nil(gdn.record.open(path))
    write(path, change:format(2 ^ 17) .. "\n")
    local reader, message = gdn.record.open(path)
    assert.is_nil(reader)
    assert.matches("^:1: builder: needs up to 10%d%d MiB of memory, want at most 1024$",
                   message:sub(#path + 1))
    assert.is_not_nil(gdn.record.open(path, 2 ^ 31))
    assert.is_nil(gdn.record.open(path, 0.5))
  end)

  it("refuses what has no header", function()
    for content, wanted in pairs {
      [""] = "empty, want a header", ["{"] = "cut in its header", ["{}\n"] = "no recording of gdnmeta",
    } do
      write(path, content)
      assert.are.same({ nil, path .. ":1: " .. wanted, gdn.EINVAL }, { gdn.record.open(path) })
    end
    local reader, message, code = gdn.record.open(path .. "/none")
    assert.are.same({ nil, gdn.EINVAL }, { reader, code })
    assert.matches("none: ", message)
  end)
end)
