-- Specs that are most about a file, cheapest first: the first pattern that the file's name matches. All
-- others follow, so this is about time alone.
local MAP = {
  { "src/legality", "legality legality_blocks strict regressions" },
  { "src/classify", "strict regressions conformance oracle" },
  { "src/partition", "strict conformance oracle" },
  { "src/fill", "strict regressions conformance oracle cuda_counts" },
  { "src/step", "strict oracle" },
  { "src/cells", "strict legality regressions oracle" },
  { "src/metadata", "strict metadata tensor conformance oracle" },
  { "src/arena", "strict builder oracle" },
  { "src/raw", "build_raw raw_refusals legality conformance oracle" },
  { "src/batch", "batch legality guards oracle" },
  { "src/guard", "guards batch" },
  { "src/builder", "builder strict tables batch finalizers" },
  { "src/config", "builder options oracle" },
  { "src/slots", "slots engine_states" },
  { "src/order", "order slots" },
  { "src/reorder", "reorder_lua conformance oracle" },
  { "src/region", "reorder_lua legality strict" },
  { "src/gdnmeta.h", "abi builder strict batch" },
  { "src/resident", "cuda_inputs cuda_bad_inputs cuda_agree" },
  { "src/cuda", "cuda_ring cuda_context cuda_failures cuda_counts" },
  { "src/device_cpu", "strict builder cuda_inputs cuda_bad_inputs" },
  { "src/device", "cuda_counts cuda_context cuda_failures cuda_ring" },
  { "src/element", "cuda_inputs cuda_bad_inputs cuda_counts cuda_agree" },
  { "src/pa", "cuda_counts cuda_inputs cuda_bad_inputs cuda_agree cuda_ring" },
  { "src/segments", "cuda_counts cuda_agree" },
  { "src/launch", "cuda_counts cuda_agree" },
  { "src/", "strict builder" },
  { "gdnmeta/metrics", "metrics" },
  { "engine/proof", "broken_plans engine_step invariants containment" },
  { "engine/make", "engine engine_step containment engine_async" },
  { "engine/", "engine engine_step engine_states engine_async invariants levels policy containment shipped" },
  { "engine.lua", "engine engine_step engine_async" },
  { "policy/", "shipped policy" },
  { "policy.lua", "policy containment" },
  { "plan.lua", "engine engine_step policy invariants" },
  { "requests.lua", "engine engine_step invariants" },
  { "sim/trace", "trace trace_refused trace_notes" },
  { "sim/arrivals", "sessions simulator" },
  { "sim/sessions", "sessions" },
  { "sim/classes", "sessions" },
  { "sim/by_class", "sessions" },
  { "sim/fit", "fit" },
  { "sim/nnls", "fit" },
  { "sim/workload", "workload" },
  { "sim/acceptance", "acceptance" },
  { "sim/recorded", "recorded acceptance" },
  { "sim/cost", "cost" },
  { "sim/fairness", "fairness" },
  { "sim/knee", "knee load" },
  { "sim/load", "sessions sim simulator" },
  { "sim/samples", "samples" },
  { "sim/format", "format" },
  { "sim/compare", "compare" },
  { "sim/setup", "sim_options sim simulator" },
  { "sim/", "sim simulator report load cli_simulate" },
  { "cli/sweep", "cli_sweep" },
  { "cli/merge", "cli_merge cli_sweep" },
  { "cli/results", "cli_merge" },
  { "cli/output", "cli_output" },
  { "cli/terminal", "cli_terminal cli_simulate" },
  { "cli/jobs", "cli_sweep" },
  { "cli/signals", "cli_signals cli_sweep repl" },
  { "cli", "cli cli_simulate cli_output cli_sweep" },
  { "conv", "metadata conformance" },
  { "device", "builder cuda_context tables" },
  { "drawing", "drawing" },
  { "tensor", "tensor metadata" },
  { "raw.lua", "build_raw raw_refusals" },
  { "reorder", "reorder_lua" },
  { "rows", "batch" },
  { "tables", "tables cuda_inputs cuda_bad_inputs" },
  { "options", "options builder" },
  { "scratch", "scratch build_raw" },
  { "sandbox", "policy containment" },
  { "", "lists batch builder metadata tables" },
}

---@param file string
---@return table specs, paths of files and folders
return function(file)
  for _, entry in ipairs(MAP) do
    if file:find(entry[1]) then
      local specs = {}
      for name in entry[2]:gmatch "%S+" do
        specs[#specs + 1] = name == "regressions" and "spec/regressions" or ("spec/%s_spec.lua"):format(name)
      end
      return specs
    end
  end
end
