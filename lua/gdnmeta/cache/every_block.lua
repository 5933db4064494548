-- A state at the end of every block, least recently used first out: what block-wise prefix caches of
-- attention do. States fill the cache with places where no prompt ever stops.
return {
  checkpoints = function(_, _, _, ctx)
    return ctx.every(ctx.block_size)
  end,
}
