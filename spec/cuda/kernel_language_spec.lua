-- The kernels are C++ for nvcc and C for the specs' driver. What C++ refuses must not wait for nvcc.
local shell = require "spec.support.shell"

describe("The kernels", function()
  it("are C++ to a compiler without CUDA", function()
    local compiler = os.getenv "CXX" or "c++"
    if not shell.has(compiler) then return print("\nkernel_language_spec: skipped, wants " .. compiler) end
    local command = "%s -std=c++17 -fsyntax-only -Isrc -include spec/support/cuda_words.h -x c++ %s"
    local status, output = shell.run(command:format(compiler, "src/cuda/kernels.cu"))
    assert.are.same({ 0, "" }, { status, output })
    local words = "#include \"src/cuda/fill_element.h\"\nint class = GDN_FILL_TILES;\n"
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(words)
    file:close()
    assert.are_not.equal(0, (shell.run(command:format(compiler, "-I. " .. path))))
    os.remove(path)
  end)
end)
