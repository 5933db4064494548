-- Sheds load: who has waited longer than the target for a first token is turned away, because serving
-- him late makes the next one late too. Under overload most others are then served in time.
--   gdnmeta simulate --rate 9 --policy fcfs --policy examples/policies/shed.lua
return {
  order = "fcfs",
  admit = function(r)
    if r.age > 0.8 * r.ttft then return nil, "would be late" end
    return true
  end,
}
