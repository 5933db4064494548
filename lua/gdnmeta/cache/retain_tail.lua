-- States at the last few blocks of a prompt, least recently used first out: a next turn that edits the tail
-- of the one before still finds a state close to its edit.
local TAIL = 3 -- blocks

return {
  checkpoints = function(r, _, _, ctx)
    local list = {}
    for i = 0, TAIL - 1 do list[i + 1] = r.prompt_end - i * ctx.block_size end
    return list
  end,
}
