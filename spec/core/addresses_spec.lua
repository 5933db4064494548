-- Every tensor's address is the same in every step that has it: captured graphs may hold any of them.
--   GDN_SEED=N   replays a run      GDN_CASES=N   steps per rule set, device and mode
local ffi = require "ffi"
local lib = require "gdnmeta.native"
local each_step = require "spec.support.each_step"
local schema = require "gdnmeta.native.schema"

local SEED = tonumber(os.getenv "GDN_SEED") or os.time()
local CASES = tonumber(os.getenv "GDN_CASES") or 300

describe("Addresses of tensors", function()
  print(("\naddresses_spec: GDN_SEED=%d GDN_CASES=%d"):format(SEED, CASES))

  local function check(device, rules, graphs)
    local first, view, wanted = {}, ffi.new "gdn_metadata", {}
    for _, name in ipairs { "prefill_query_start_loc", "prefill_state_indices", "prefill_has_initial_state",
                            "spec_state_indices_tensor", "non_spec_state_indices_tensor" } do
      wanted[name] = 1
    end
    local function forget() first = {} end
    each_step.run(SEED, CASES, device, rules, graphs, forget, function(builder, _, met)
      for group = 0, builder.num_groups - 1 do
        assert(lib.gdn_metadata_group(builder.handle, group, view) == 0)
        for _, name in ipairs(schema.fields.tensors) do
          local address = tonumber(ffi.cast("uintptr_t", view[name].data))
          if address ~= 0 then
            local key = ("%s of group %d"):format(name, group)
            if (first[key] or address) ~= address then
              error(("%s moved by %d bytes"):format(key, address - first[key]), 0)
            end
            first[key], met[name] = address, (met[name] or 0) + 1
          end
        end
      end
    end, wanted)
  end

  for _, device in ipairs(each_step.DEVICES) do
    for _, rules in ipairs(each_step.RULES) do
      for _, graphs in ipairs { true, false } do
        local name = graphs and "with" or "without"
        it(("do not change on %s under %s, %s captured graphs"):format(device, rules, name), function()
          check(device, rules, graphs)
        end)
      end
    end
  end

  it("do not change in buckets", function() check("cpu", "strict", "mixed") end)
end)
