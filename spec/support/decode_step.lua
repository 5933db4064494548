-- A strict step of one decode row in a table that holds slot `slot`.
---@return table|nil metadata, string? message, integer? code
return function(builder, batch, slot)
  builder:set_blocks(0, 0, { slot })
  batch:clear()
  batch:push(0, 1, 10, true)
  return builder:build(batch)
end
