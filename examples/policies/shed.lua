-- Sheds load: a request that has waited longer than its target for a first token is rejected, because serving
-- it late makes the next one late too. Under overload most others are then served in time.
--   gdnmeta simulate --rate 9 --policy fcfs --policy examples/policies/shed.lua
return {
  order = "fcfs",
  admit = function(r)
    if r.age > 0.8 * r.ttft then return nil, "would be late" end
    return true
  end,
}
