-- Mutants that no spec can tell from the library, and why: { file, text of the line, text of the mutated
-- line, why }; above: text of the two lines below, where one text stands on several lines. They are counted
-- apart. An entry whose line is gone from its file is an error.
return {
  { "src/cells.c", "for (int32_t i = 0; i < rows; i++) {", "i <= rows",
    "One table row more is looked at, only to choose the slower of two ways; at the end of a row array " ..
    "`make asan` sees the read.", above = "highest = " },
  { "src/order.c", "h->place[id] = -1;", "h->place[id] = -2;",
    "Any negative place says that the id is no member." },
  { "src/payload.c", "if (strict || (!spec && p->has_prefills)) c->computed", "(!spec || p->has_prefills)",
    "An array is packed that nothing reads: bytes, not values." },
  { "src/payload.c", "h->chunk_start = gdn_pack_ramp(&y->packer, start, rows + 1);", "rows + 2",
    "A boundary more is packed than is read; at the end of its array `make asan` sees that." },
  { "src/segments.c", "if (p->has_prefills && p->tail_row > 0)", ">= 0",
    "A buffer is filled that this step hands out to nobody." },
  { "lua/gdnmeta/sim/contents.lua", "file:close()", "", "The file was only read, and is collected." },
  { "lua/gdnmeta/sim/presets.lua", "max_num_seqs = ", "max_num_seqs = ",
    "A preset is an example of a machine: its numbers are choices, and any others would be as good." },
  { "lua/gdnmeta/sim/presets.lua", "coefficients = ", "coefficients = ", "Likewise." },
  { "lua/gdnmeta/sim/presets.lua", "kv_tokens = ", "kv_tokens = ", "Likewise." },
  { "src/raw.c", "raw->max_query_len > 0 ?", "raw->max_query_len > 1 ?",
    "0 and 1 say the same: no row is longer than a decode." },
  { "src/pack.c", "step = values[1] - values[0], odd", "step = values[0] - values[0], odd",
    "A ramp that is not seen is packed element by element: bytes, not values." },
  { "src/check.h", "int64_t written = spec ?", ": 2;", "Of one column, the first is below 1 and below 2." },
  { "lua/gdnmeta/record/reader.lua", "self.at = 1", "self.at = 0", "find and sub take place 0 for 1." },
  { "lua/gdnmeta/engine.lua", "if plan.num_rejects > 0 then bury(self) end", ">= 0",
    "To bury nobody does nothing." },
  { "lua/gdnmeta/engine/proof.lua", "e.proof = e.proof + 1", "e.proof - 1",
    "Any number will do that marks no request yet." },
  { "lua/gdnmeta/engine/propose.lua", '"gdnmeta.engine: internal: "', ", 1)",
    "Raised only if the built-in policy made an illegal plan, which nothing is known to bring about." },
}
