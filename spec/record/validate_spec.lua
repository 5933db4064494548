-- What checks say of values that a file may hold, short whatever it is.
local validate = require "gdnmeta.record.validate"

describe("A value of a file #lua", function()
  it("is shown up to its sixtieth byte", function()
    for shown, value in pairs { ['"a"'] = "a", ['"a b"'] = "a b", ['""'] = "", ["5"] = 5, ["1.5"] = 1.5,
                                ["true"] = true, ["a table"] = {} } do
      assert.are.equal("x = " .. shown .. ", want y", validate.wrong("x", value, "y"))
    end
    for n = 58, 60 do
      assert.is_truthy(validate.show(("v"):rep(n)):find(("v"):rep(n), 1, true))
      assert.is_nil(validate.show(("v"):rep(n)):find("...", 1, true))
    end
    for _, n in ipairs { 61, 62, 500 } do
      local shown = validate.show("u" .. ("v"):rep(n - 1))
      assert.is_truthy(shown:find("u" .. ("v"):rep(59) .. "...", 1, true))
      assert.is_nil(shown:find(("v"):rep(60), 1, true))
    end
    assert.are.equal("nil", validate.show(nil))
    assert.is_true(#validate.short(("v"):rep(1000)) < 250 and #validate.short(("v"):rep(1000)) >= 237)
  end)

  it("is a whole number in a range, or a list of such", function()
    for value = 1, 5 do
      assert.are.equal(value >= 2 and value <= 4, validate.count("x", value, 2, 4) == nil)
      assert.are.equal(value >= 2 and value <= 4, validate.integers("x", { 3, value }, 2, 2, 4) == nil)
      assert.are.equal(value == 3, validate.integers("x", { 1, 1, 1 }, value, 1, 1) == nil)
    end
    assert.are.equal("x = 1.5, want an integer in 0 .. 2", validate.count("x", 1.5, 0, 2))
    assert.are.equal("x[1] = 9, want an integer in 0 .. 2", validate.integers("x", { 0, 9 }, 2, 0, 2))
    assert.are.equal("x has 2 elements, want 3", validate.integers("x", { 0, 1 }, 3, 0, 2))
    assert.are.equal("x = 7, want a list of 3", validate.integers("x", 7, 3, 0, 2))
    assert.is_nil(validate.unknown({ a = 1 }, { "a", "b" }))
    assert.are.equal('unknown field "c"', validate.unknown({ c = 1 }, { "a", "b" }))
  end)
end)
