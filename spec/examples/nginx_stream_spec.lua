-- Streams of examples/nginx without nginx: what a slow client gets, whose handler wakes now and then.
describe("examples/nginx/stream.lua", function()
  local streams, semaphore

  before_each(function()
    semaphore = { posts = 0 }
    function semaphore:count() return self.posts end
    function semaphore:post() self.posts = self.posts + 1 end
    function semaphore:wait()
      if self.posts == 0 then return nil, "timeout" end
      self.posts = self.posts - 1
      return true
    end
    package.loaded["ngx.semaphore"] = { new = function() return semaphore end }
    package.loaded["examples.nginx.stream"] = nil
    streams = require "examples.nginx.stream"
  end)
  after_each(function() package.loaded["ngx.semaphore"] = nil end)

  it("hands out all that came since, in order, and why it ends", function()
    local stream = streams.new "a"
    stream:put("ab", nil)
    stream:put("c", nil)
    assert.are.same({ "abc", nil }, { stream:wait(1) })
    stream:put("d", nil)
    stream:put("", "length")
    assert.are.same({ "d", "length" }, { stream:wait(1) })
    assert.is_true(semaphore.posts <= 1) -- one is enough to wake a handler
  end)

  it("waits no longer than it is told, and says a failure after the bytes before it", function()
    local stream = streams.new "a"
    assert.is_nil(stream:wait(2)) -- nothing yet
    stream:put("a", nil)
    stream:fail("the server failed", 500)
    assert.are.equal("a", (stream:wait(1)))
    assert.are.same({ nil, "the server failed", 500 }, { stream:wait(1) })
  end)
end)
