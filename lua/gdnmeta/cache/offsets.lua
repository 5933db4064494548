-- States at fixed distances from the start that double, and at the last block: long prompts cost a few states
-- more than short ones. Least recently used first out.
return {
  checkpoints = function(r, from, to, ctx)
    local list, at = { r.prompt_end }, ctx.block_size
    while at <= to do
      if at > from then list[#list + 1] = at end
      at = 2 * at
    end
    return list
  end,
}
