-- Specs that are most about a file, cheapest first: the first pattern that its name matches. Then all others.
local folders = require "spec.mutants.folders"

local MAP = {
  { "src/base/config", "config_values c_arguments null record_lies option_table abi builder options " ..
    "conformance checkpoints checkpoints_strict oracle" },
  { "src/base/fields", "abi record strict conformance" },
  { "src/base/status", "c_arguments release builder" },
  { "src/base/fork", "fork cuda_context" },
  { "src/base/guarded", "c_refusals guarded_memory batch" },
  { "src/base/simd", "strict_clauses strict_blocks" },
  { "src/base/", "strict regressions conformance oracle" },
  { "src/input/batch", "c_refusals guarded_memory batch strict_clauses cuda_inputs cuda_bad_inputs oracle" },
  { "src/input/vllm", "raw_edges build_raw c_raw raw_refusals strict_clauses cuda_inputs oracle" },
  { "src/input/", "cuda_inputs cuda_page_ends cuda_bad_inputs strict cuda_agree oracle" },
  { "engine/kept", "kept_states held_states kept_layer" },
  { "src/partition/checkpoints", "checkpoints checkpoint_places checkpoints_strict conformance" },
  { "src/strict/strict_checkpoints", "checkpoints_strict strict_clauses oracle" },
  { "lua/gdnmeta/reference/checkpoints", "checkpoint_layer kept_layer" },
  { "src/partition/bucket", "buckets buckets_random" },
  { "src/fill/fill_bucket", "written padding buckets buckets_random" },
  { "src/fill/bucket_shapes", "c_raw buckets buckets_random" },
  { "src/verify/verify_bucket", "check_changes stamps check_codes buckets_random cuda_check_codes" },
  { "src/builder/bucket", "c_raw buckets null" },
  { "gdnmeta/builder/verify", "check_agreeing wrong_arguments callers check" },
  { "gdnmeta/builder/bucket", "wrong_arguments buckets" },
  { "src/partition/classify", "looks arrangements strict_clauses raw_refusals many_rows strict_blocks " ..
    "oracle" },
  { "src/partition/row_order", "reorder_lua strict_clauses strict" },
  { "src/partition/state_indices", "padding strict strict_clauses checkpoints many_rows regressions " ..
    "check_agreeing oracle" },
  { "src/partition/scan_rows", "looks c_refusals many_rows strict_clauses strict_blocks tables " ..
    "regressions conformance oracle" },
  { "src/partition/", "many_rows strict regressions conformance oracle" },
  { "src/strict/strict_unique", "stamps cuda_carried strict_clauses strict_blocks strict many_rows oracle" },
  { "src/strict/", "looks strict_clauses strict_blocks strict many_rows regressions oracle cuda_agree" },
  { "src/fill/arena", "buffers padding cuda_calls buckets buckets_random strict builder footprint " ..
    "stale_slots oracle" },
  { "src/fill/metadata", "strict metadata tensor conformance oracle" },
  { "src/fill/", "written padding many_rows strict regressions conformance checkpoints_strict " ..
    "stale_slots oracle cuda_counts" },
  { "src/verify/", "check_changes stamps cuda_carried check_codes check_agreeing check small_steps " ..
    "cuda_check cuda_calls cuda_check_codes" },
  { "src/[%a/]*bring", "struct_sizes bring_garbage cuda_carried null cuda_calls pools_random " ..
    "cuda_bring_sizes bring cuda_bring unmodified_kernels" },
  { "src/cuda/cuda_bring", "cuda_loading cuda_calls cuda_bring" },
  { "src/cuda/cuda_driver", "cuda_loading cuda_context cuda_failures cuda_calls" },
  { "builder/[bp][ro][io]", "left_out wrong_arguments bring cuda_bring" }, -- bring and pools
  { "src/device/device_cpu", "allocations strict builder cuda_inputs cuda_bad_inputs" },
  { "src/device/", "fork cuda_calls cuda_counts cuda_context cuda_failures cuda_ring" },
  { "src/cuda/fill_element", "cuda_buckets cuda_inputs cuda_bad_inputs cuda_counts cuda_agree" },
  { "src/cuda/payload_memory", "config_values allocations cuda_sizes cuda_ring cuda_payload ranges" },
  { "src/cuda/packed", "packed_arrays cuda_joined cuda_skip cuda_payload cuda_agree" },
  { "src/cuda/pa", "cuda_joined cuda_sizes checkpoints cuda_skip cuda_buckets cuda_counts " ..
    "cuda_bad_inputs cuda_payload cuda_agree cuda_ring" },
  { "src/cuda/row_values", "checkpoints cuda_inputs cuda_bad_inputs cuda_buckets cuda_agree " ..
    "device_counts_layer" },
  { "src/cuda/kernel_params", "cuda_sizes cuda_counts cuda_agree" },
  { "src/cuda/cuda_lent", "cuda_lent fork engine_cuda" },
  { "src/cuda/cuda_device", "cuda_staging cuda_skip cuda_ring cuda_context cuda_calls cuda_failures " ..
    "cuda_counts cuda_check_codes ranges" },
  { "src/cuda/", "cuda_staging cuda_skip cuda_ring cuda_context cuda_calls cuda_failures cuda_counts" },
  { "src/builder/borrow", "c_arguments null tables cuda_inputs cuda_bad_inputs" },
  { "src/builder/dlpack", "tensor_bounds c_arguments null dlpack dlpack_owners" },
  { "src/builder/repeat", "cuda_repeat cuda_known cuda_carried cuda_small_steps cuda_skip cuda_agree" },
  { "src/builder/footprint", "config_values allocations footprint no_memory ranges" },
  { "src/builder/verif", "c_refusals first_violation check_changes stamps check_codes cuda_calls " ..
    "check_agreeing check cuda_check" },
  { "src/builder/", "no_builder tensor_bounds c_arguments c_refusals null builder strict tables batch " ..
    "finalizers cuda_words cuda_carried cuda_repeat cuda_inputs cuda_bad_inputs" },
  { "src/scheduler/slot", "full_counts c_refusals allocations slots_random slots null engine_states" },
  { "src/scheduler/heap", "index_random order null allocations c_arguments index slots index_victims" },
  { "engine/build_step", "refused_builds engine_async guarded_engine engine_step engine broken_steps " ..
    "engine_cuda invariants" },
  { "engine/prefix/hook_tables", "hook_tables cache_fields cache_plays" },
  { "engine/prefix/index", "index index_evict index_refusals index_random cache_plays" },
  { "gdnmeta/identity", "callers_of_functions hash_blocks" },
  { "src/scheduler/index_verify", "index_inside index_random" },
  { "src/scheduler/index_describe", "null index_busy index_random index index_refusals" },
  { "src/scheduler/index_match", "index_random index_busy index_inside index_refusals index cache_plays" },
  { "src/scheduler/index_watch", "index_changed index_random index_busy index_refusals index cache_plays" },
  { "src/scheduler/index_keep", "full_counts index_keep index_join null" },
  { "src/scheduler/index_join", "full_counts index_join index_keep null cache_plays" },
  { "src/scheduler/index_nodes", "index_random index_victims index_evict index index_refusals cache_plays" },
  { "src/scheduler/index_wait", "index_victims index_evict index index_random cache_plays" },
  { "src/scheduler/index", "index_random index null index_evict index_refusals index_busy index_inside " ..
    "full_counts allocations cache_plays" },
  { "src/scheduler/hash", "c_arguments hash_blocks index" },
  { "src/scheduler/kv", "full_counts c_refusals allocations blocks_random c_arguments kv_blocks null " ..
    "invariants broken_steps engine_cuda" },
  { "engine/prefix/positions", "positions cache_plays caches lab state_cache" },
  { "engine/must", "broken_steps" },
  { "engine/prefix/priorities", "cache_plays lab lab_engine hook_values" },
  { "engine/prefix/sessions", "verify_engine session_pins sessions session_guests long_queue_pins " ..
    "crowding cache_plays cache_chaos" },
  { "engine/prefix/evict", "long_queue footprint cache_plays show_cache cache_figures answer_cache " ..
    "state_cache cache_layer broken_steps" },
  { "engine/session_pins", "session_pins sessions callers cache_plays" },
  { "engine/verify_[ce]", "verify_engine rebuilt_columns cache_plays verify_all cache_chaos" },
  { "engine/text_in", "footprint answer_cache read_once cache_plays" },
  { "engine/prefix/host", "host_tier host_refusals host_lists footprint cache_plays host_layer sim_cache" },
  { "engine/prefix/", "footprint cache_plays show_cache cache_figures answer_cache state_cache " ..
    "cache_layer broken_steps" },
  { "engine/name_numbers", "small_numbers places" },
  { "engine/places", "places" },
  { "engine/unmade", "unmade" },
  { "engine/hooks/last_calls", "hook_tables" },
  { "gdnmeta/engine/sources", "small_numbers host_tier held_states none_left host_refusals crowding " ..
    "forks forks_in_flight kept_states cache_plays cache_figures fork_layer moved_states_layer " ..
    "engine_states" },
  { "gdnmeta/engine/forks", "left_out forks fitting_forks callers cache_plays cache_figures fork_layer " ..
    "moved_states_layer record_requests" },
  { "gdnmeta/engine/lost_states", "lost_states cache_plays worker" },
  { "gdnmeta/worker", "worker_bounds footprint worker_model engine_to_worker worker_to_engine " ..
    "worker_misuse worker worker_abi lost_states worker_faults" },
  { "src/worker/", "worker_abi engine_to_worker worker_to_engine channel process worker null" },
  { "gdnmeta/engine/cache_control", "cache_control nginx_cache" },
  { "gdnmeta/engine/kv_blocks", "kv_blocks invariants engine_cuda" },
  { "src/scheduler/reorder", "reorder_lua conformance oracle" },
  { "src/gdnmeta.h", "abi release builder strict batch" },
  { "gdnmeta/metrics", "metrics_page metrics_tables domains callers metrics transcripts" },
  { "engine/draw_cache", "show_cache columns" },
  { "engine/idle_step", "buckets callers worker_to_engine" },
  { "engine/cache_option", "host_refusals cache_control caches callers" },
  { "engine/commit_plan", "reused_numbers transcripts engine_step cache_plays invariants decisions " ..
    "answer_cache" },
  { "engine/complete_step", "refused_builds transcripts engine_step engine_async kept_states lost_states " ..
    "request_memory cache_plays invariants decisions" },
  { "engine/stopwatch", "yields engine_step callers contained host_recursion metrics" },
  { "gdnmeta/[em]%a+/draw", "drawing texts show" }, -- of an engine and of metadata
  { "gdnmeta/repl/explain", "explain_words explain_fields explain texts explain_values repl" },
  { "repl/input", "input session repl" },
  { "gdnmeta/repl", "session explain texts show repl" },
  { "gdnmeta/reference/bucket", "wrong_places bucket_left_out checkpoint_layer kept_layer bucket_layer " ..
    "reference_texts" },
  { "gdnmeta/reference", "wrong_places callers_of_functions reference_texts typos domains reference " ..
    "reference_layer reference_tensors" },
  { "engine/options", "domains engine engine_fields buckets old_names" },
  { "engine/option_rules", "option_limits engine domains verify_plan buckets" },
  { "engine/hooks/call_hooks", "hook_values policy_fields policy problems" },
  { "engine/hooks/.*cache_hooks", "hook_values hook_tables cache_plays cache_control state_cache caches " ..
    "failing_hooks cut_off_cache" },
  { "engine/hooks/guard", "contained containment time_limits yields problems nested" },
  { "policy/contained/[cs][ha]", "charges contained policy containment" }, -- charged and sandbox
  { "policy/contained/budget", "charges cut_off_cache contained time_limits containment " ..
    "yields problems nested" },
  { "policy/contained/[mn]", "yields yielding contained" }, -- main_thread and no_yield
  { "policy/contained/reserve_stack", "nested host_recursion" },
  { "engine/guarded_arrays", "guarded_arrays guarded_engine" },
  { "engine/change_rules", "engine_misuse callers typos host_recursion" },
  { "engine/results_in", "old_names read_once answer_cache engine_step speculation" },
  { "engine/submit", "left_out held_states reused_numbers domains read_once engine problems forks " ..
    "kept_states lost_states engine_states none_left" },
  { "policy/contained/uncompiled", "followed contained containment" },
  { "policy/contained/[rl][ao][ia]", "problems policy long_paths caches" }, -- raised and load_file
  { "native/[rd][ao][nm]", "domains options option_table record_values" }, -- ranges and domains
  { "native/printed", "printed" },
  { "native/foreign_text", "foreign_text followed problems cli_words" },
  { "native/[om][le]", "old_names callers typos engine_misuse" }, -- old names and methods
  { "engine/decide/buckets", "bucket_lists buckets decisions" },
  { "engine/decide/decodes", "pausing starvation upkeep invariants decisions engine_step speculation" },
  { "engine/decide/admissions", "starvation holding passing invariants decisions" },
  { "engine/decide/[cs][ch]", "one_look none_left pausing starvation holding engine_step policy contained " ..
    "invariants decisions" }, -- chunks and schedule
  { "engine/queue/parked", "queues holding passing one_look" },
  { "engine/queue/", "queues queue_memory policy fair passing invariants decisions" },
  { "engine/decide/token_limits", "token_limits starvation invariants decisions engine_step speculation" },
  { "engine/decide/preempt", "yielding invariants decisions progress one_look" },
  { "engine/decide/outlook", "yielding invariants decisions" },
  { "engine/decide/upkeep", "upkeep invariants decisions progress" },
  { "record/checksum", "record_bounds record_failing record record_rebuild" },
  { "record/waiting_reasons", "waiting_reasons inspect_request" },
  { "record/validate", "validate record_values record_requests record_damaged record" },
  { "record/request_events", "record_bounds record_cache record_requests inspect_request cli_texts" },
  { "record/rebuild", "record_bounds record_rebuild kept_states record_damaged cli_texts" },
  { "record/step_line", "record_bounds step_cells record_cache record_values kept_states" },
  { "cli/inspect_request", "inspect_stories inspect_request cli_texts" },
  { "cli/inspect", "cli_bounds record_cache cli_texts" },
  { "gdnmeta/record", "colons callers record_bounds reader record_requests inspect_request " ..
    "record_failing record_values record record_damaged record_rebuild cli_record" },
  { "cli/exit_status", "exit_status outcomes" },
  { "engine/observers", "new_engine metrics record_requests" },
  { "sim/roofline", "cost domains roofline random_runs" },
  { "sim/presets", "roofline cost domains random_runs" },
  { "report/identical_runs", "figures_bounds sentences sim_tables report random_runs" },
  { "sim/token_accounting", "accounting outcomes simulator random_runs" },
  { "sim/counters", "array_sizes counters run_bounds empty_runs outcomes simulator report random_runs" },
  { "engine/decide/verify_plan", "verify_plan broken_plans engine_step invariants decisions containment" },
  { "engine/construct", "step_words unmade footprint buckets engine engine_step containment engine_async" },
  { "engine/hooks/init", "failing_hooks transcripts policy policy_fields containment contained" },
  { "engine/hooks/view", "step_words hook_values callers containment policy_fields policy" },
  { "engine/hooks/step_hook", "step_words hook_values callers policy_fields engine_step policy invariants " ..
    "decisions" },
  { "engine/step", "callers guarded_engine engine_step engine invariants decisions" },
  { "engine/check_arguments", "callers engine_misuse engine" },
  { "engine/control", "old_names callers engine engine_states events policy metrics invariants decisions" },
  { "engine/newcomers", "plan_parts one_look holding passing starvation invariants decisions" },
  { "engine/plan_to_rows", "engine engine_step engine_async device_plays engine_cuda policy invariants " ..
    "decisions transcripts device_counts_layer" },
  { "engine/plan.lua", "plan_parts behind footprint holding passing starvation invariants decisions" },
  { "engine/requests", "transcripts engine engine_step invariants decisions" },
  { "engine/request_memory", "request_memory behind rebuilt_columns transcripts invariants decisions " ..
    "policy" },
  { "engine/show_cache", "show_cache columns cache_plays sim_cache" },
  { "engine/", "transcripts engine engine_step engine_states engine_async invariants decisions " ..
    "rebuilt_columns policy_fields policy containment shipped_policies" },
  { "engine.lua", "engine_fields callers unmade engine engine_step engine_async events invariants " ..
    "decisions transcripts" },
  { "policy/fair", "fair_books fair shipped_policies" },
  { "policy/", "transcripts shipped_policies fair policy" },
  { "native/trace_cuts", "trace_cuts step_cuts compiled_plays traces" },
  { "gdnmeta/native/int32_memory.lua", "memory_arguments build_raw list_arguments" },
  { "policy.lua", "transcripts fair callers_of_functions domains callers policy containment" },
  { "sim/trace/identity", "trace_bounds block_sizes trace_identity dialogues trace" },
  { "sim/dialogues", "domains dialogues_texts dialogues" },
  { "sim/init", "callers_of_functions run_bounds callers sim" },
  { "sim/lab", "callers_of_functions lab_figures lab_fields array_sizes lab caches cli_caches" },
  { "sim/%a+_ids", "answer_ids prompt_ids sim_cache lab" }, -- of prompts and answers
  { "sim/hits", "array_sizes run_failures run_figures sim_cache report_texts cli_caches" },
  { "report/cache_charts", "figures_bounds many_lines cli_caches report_texts" },
  { "report/lab", "figures_bounds sentences cli_caches" },
  { "cli/lab", "cli_bounds cli_progress cli_caches" },
  { "gdnmeta/cache", "callers_of_functions caches lab_figures lab" },
  { "cli/caches", "cache_cells cli_caches" },
  { "sim/trace", "trace_files trace_bounds trace_keys trace_texts trace_turns trace_dates trace " ..
    "trace_refused trace_values domains trace_dialects trace_notes" },
  { "sim/arrivals", "run_bounds sessions simulator random_runs" },
  { "sim/sessions", "sessions random_runs" },
  { "sim/classes", "sim_random classes domains random_runs" },
  { "sim/by_class", "empty_runs run_bounds array_sizes classes random_runs" },
  { "sim/fit", "fit_parts sim_tables fit" },
  { "native/read_file", "long_paths sim_tables fit sim endless_files contained" },
  { "sim/nnls", "fit_parts sim_tables fit" },
  { "sim/workload", "workload domains" },
  { "sim/acceptance", "callers_of_functions sim_random acceptance domains random_runs" },
  { "native/options", "domains sim_options cost workload reference bring" },
  { "sim/recorded_acceptance", "trace_bounds recorded acceptance" },
  { "sim/cost", "callers_of_functions cost roofline" },
  { "report/max_rate", "figures_bounds cli_bounds sim_tables max_rate" },
  { "sim/requests", "run_bounds sim_random library_lookup sessions classes sim simulator random_runs" },
  { "sim/[fh][ai][is][rt]", "counters sim_tables fairness histogram random_runs" }, -- fairness, histogram
  { "sim/timeline", "run_bounds counters sim_tables simulator random_runs" },
  { "report/sweep", "callers_of_functions sim_tables sim cli_texts" },
  { "sim/numbers", "figures_bounds sim_tables numbers" },
  { "report/compare", "sentences sim_tables report report_texts" },
  { "report/metrics_table", "figures_bounds report_texts report cli_texts random_runs" },
  { "report/[hp]", "report_texts report" },
  { "report/gnuplot", "gnuplot report_texts report" },
  { "report/many_lines", "many_lines report_texts" },
  { "report/charts", "figures_bounds report_texts report" },
  { "report/text", "figures_bounds sentences report_texts report cli_texts random_runs" },
  { "sim/scenario", "run_bounds scenario_options domains sim_options sim simulator random_runs" },
  { "sim/simulator", "empty_runs run_bounds run_failures scenario_options classes transcripts simulator " ..
    "run_figures sim random_runs cli_progress" },
  { "sim/", "empty_runs run_bounds transcripts report_texts sim simulator report random_runs" },
  { "cli/sweep", "cli_bounds cli_progress cli_texts cli_caches cli_sweep" },
  { "cli/merge", "cli_bounds cli_merge cli_texts cli_sweep" },
  { "cli/run_files", "cli_bounds cli_merge cli_texts" },
  { "cli/output", "cli_output cli_texts cli_simulate" },
  { "cli/terminal", "cli_terminal cli_progress cli_simulate cli_texts" },
  { "cli/inputs", "read_once cli_texts" },
  { "cli/refusals", "refusals" },
  { "cli/parallel", "cli_bounds cli_progress cli_texts cli_sweep" },
  { "native/signals", "cli_signals cli_sweep repl" },
  { "cli", "cli_bounds domains cli_progress cli_texts cli cli_record cli_simulate cli_output " ..
    "cli_caches cli_sweep" },
  { "metadata/nums_dict", "metadata buckets conformance" },
  { "gdnmeta/metadata", "wrong_arguments metadata drawing typos texts" },
  { "native/init", "library_lookup" },
  { "gdnmeta/builder.lua", "buckets callers_of_functions wrong_arguments callers builder bring cuda_bring " ..
    "tables library_lookup" },
  { "builder/device_inputs", "cuda_bad_inputs wrong_arguments callers builder cuda_context tables" },
  { "tensor/dlpack", "dlpack dlpack_owners" },
  { "tensor", "buckets cuda_calls tensor wrong_arguments typos metadata" },
  { "builder/vllm_arguments", "raw_arguments wrong_arguments build_raw raw_refusals" },
  { "reorder", "wrong_arguments reorder_lua" },
  { "gdnmeta/batch", "callers wrong_arguments batch checkpoints_strict list_arguments tables cuda_inputs" },
  { "builder/state_tables", "wrong_arguments tables cuda_inputs cuda_bad_inputs" },
  { "builder/options", "options option_table domains builder" },
  { "native/c_buffers", "c_buffers build_raw" },
  { "", "raw_refusals callers_of_functions wrong_arguments callers typos list_arguments batch builder " ..
    "metadata tables" },
}

-- Where specs lie, by name; two folders may have one of a name.
local paths = {}
local pipe = io.popen "find spec -name '*_spec.lua' | sort"
for path in pipe:lines() do
  local name = path:match "([%w_]+)_spec%.lua$"
  paths[name] = paths[name] or {}
  table.insert(paths[name], path)
end
pipe:close()

---@param file string
---@return table specs, paths of files and folders
return function(file)
  for _, entry in ipairs(MAP) do
    if file:find(entry[1]) then
      local specs, seen = {}, {}
      for name in folders(file, entry[2]):gmatch "%S+" do
        local found = name == "regressions" and { "spec/regressions" } or paths[name]
        for _, path in ipairs(not seen[name] and assert(found, "no spec " .. name) or {}) do
          specs[#specs + 1] = path
        end
        seen[name] = true
      end
      return specs
    end
  end
end
