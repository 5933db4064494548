-- A state at the end of the last full block of a prompt, least recently used first out. It serves the next
-- turn of a chat; two prompts that only begin alike share nothing.
return {
  checkpoints = function(r)
    return { r.prompt_end }
  end,
}
