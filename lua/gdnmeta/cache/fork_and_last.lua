-- A state at the last block, and one at the junction with known prompts: two prompts went there, so a third
-- one is likely. Least recently used first out.
return {
  checkpoints = function(r)
    return { r.junction, r.prompt_end }
  end,
}
