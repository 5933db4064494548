-- A state at the last block, and one where this prompt leaves what is known: two prompts have been there, and
-- a third one is likely. Least recently used first out.
return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
}
