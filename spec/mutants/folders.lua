-- Specs that see all that a folder does, and take little time, among the words of an entry of related.lua.
-- They see all of an engine, and take less time than invariants; the quickest say most.
local QUICK = " engine engine_step engine_states engine_async new_engine unmade option_limits events " ..
  "verify_plan none_left speculation token_limits broken_plans broken_steps metrics_page forks " ..
  "kept_states held_states host_tier state_cache answer_cache session_pins verify_engine " ..
  "guarded_engine one_look pausing yielding callers policy"
local PLAYS = " not_compiled value_limits step_cuts cache_plays" .. QUICK .. " small_worlds " ..
  "small_policies engine_plays"

-- By file of the folders of lua/gdnmeta/engine.
local PARTS = {
  admissions = "admission_parts ", chunks = "chunk_parts ", decodes = "decode_parts ", outlook = "reserves ",
  call_hooks = "call_loops ", capture_sizes = "bucket_lists buckets option_limits ",
  cuts = "cut_parts ", priorities = "cut_parts ", packer = "packer_parts ", preempt = "claims ",
  schedule = "schedule_parts ", upkeep = "reserves ",
  step_hook = "old_names ",
}

-- By folder of src: memory that is given back, and sums of all outputs of small worlds.
local STEPS = "allocations page_ends small_steps long_steps "
local FOLDERS = {
  base = STEPS, input = STEPS, partition = STEPS, strict = STEPS, fill = STEPS,
  builder = STEPS, device = "allocations ",
  cuda = "allocations cuda_carried cuda_words cuda_devices cuda_small_steps ",
  scheduler = "index_plays pool_plays null ",
  worker = "channel_calls record_edges step_tables channel_ends process_host device_tables record_lies " ..
    "step_values hello_values kv_changes step_lies step_record record_bytes result_rounds process_calls " ..
    "largest_records ",
}

-- By folder of lua/gdnmeta, and the file of its name: quick ones that say more of it than of others.
local MODULES = {
  array_of = "array_of layer_memory ", batch = "colons object_fields old_names ",
  builder = "builder_methods tensor_ages object_fields object_texts ",
  cache = "made_hooks object_texts ", identity = "identity ", init = "object_fields library_lookup ",
  metadata = "colons object_fields object_texts ", policy = "made_hooks object_texts ",
  reference = "colons left_out layer_memory layer_programs ", reorder = "tensor_ages ",
  tensor = "colons tensor_ages dlpack ",
  worker = "results worker_ends remote_calls pack_steps left_out worker_arrays ",
}

---@param file string
---@param words string names of specs
---@return string words
return function(file, words)
  local first = FOLDERS[file:match "^src/(%w+)/"]
  first = first or MODULES[file:match "^lua/gdnmeta/([%w_]+)"]
  if first then return first .. words end
  if file:find "gdnmeta/native" then words = "native_memory " .. words end
  if file:find "policy/contained" or file:find "gdnmeta/native" then return "not_compiled " .. words end
  words = (PARTS[file:match "engine/%a+/([%w_]+)"] or "") .. words
  local is_engine, at = file:find "gdnmeta/engine", words:find " invariants" or #words + 1
  return is_engine and words:sub(1, at - 1) .. PLAYS .. words:sub(at) or words
end
