# The core under what watches it: sanitizers, valgrind, allocations that fail, threads that meet, libFuzzer. The Makefile
# includes this.
asan-lib:
	@$(MAKE) -j$$(nproc) lib BUILD=build/asan OPT="-O1 -g -DGDN_DEBUG $(SAN)" LINK=

# Specs that carry #lua enter C by paths that others walk too: here they would only cost minutes. #jit ones measure LuaJIT's own
# memory, for which both checkers leave other room.
# GDN_CASES shrinks the random specs: both checkers run them many times slower. With 300 the whole of asan takes under
# five minutes on two cores. Paths are absolute, for specs start programs in other folders.
ASAN_RUN = env LD_PRELOAD="$$($(CC) -print-file-name=libasan.so):$$($(CC) -print-file-name=libubsan.so)" \
  GDNMETA_LIB=$$PWD/build/asan/libgdnmeta.so ASAN_OPTIONS=detect_leaks=1:allocator_may_return_null=1 \
  LSAN_OPTIONS=print_suppressions=0:suppressions=$$PWD/spec/support/lsan.supp
asan: deps all asan-lib $(FAKE) $(BUILD)/libgdncounted.so
	@SKIP=lua,jit GDN_CASES=$${GDN_CASES:-300} $(IN_TREE) scripts/specs $(ASAN_RUN)

CORE_SPECS := $(foreach name,batch builder build_raw raw_refusals metadata tensor tables list_arguments strict_clauses \
  strict oracle dlpack dlpack_owners kernel_conventions,$(wildcard spec/*/$(name)_spec.lua))
# First the engine's arrays in the C library's heap, so that an index past their ends is seen. The interpreter is faster there.
ARRAY_SPECS := $(foreach name,verify_plan broken_plans broken_steps answer_cache cache_control engine_async, \
  spec/engine/$(name)_spec.lua)
valgrind: deps all $(FAKE)
	@scripts/deps valgrind
	@GDN_HEAP_ARRAYS=1 LUA_INIT="jit.off()" VECTORS= SPECS="$(ARRAY_SPECS)" SKIP=lua,jit GDN_CASES=5 $(IN_TREE) \
	  scripts/specs valgrind -q --error-exitcode=9
	@SPECS="$(CORE_SPECS)" SKIP=lua,jit GDN_CASES=$${GDN_CASES:-20} $(IN_TREE) scripts/specs valgrind -q --error-exitcode=9

# The core alone, with what watches it: allocations that fail, threads that meet.
WATCHED = @mkdir -p $(BUILD) && $(CC) $(CFLAGS) -std=c11 -g -O1 -D_GNU_SOURCE $(WARN) -Isrc
$(BUILD)/faults: spec/support/faults.c $(SRC_C) $(SRC_H) Makefile
	$(WATCHED) $(SAN) $(foreach f,malloc calloc realloc aligned_alloc free,-Wl,--wrap=$(f)) -o $@ $(filter %.c,$^)
faults: $(BUILD)/faults $(FAKE)
	@GDNMETA_LIBCUDA=$$PWD/$(FAKE) $(BUILD)/faults cuda
$(BUILD)/threads: spec/support/threads.c spec/support/push_row.h $(SRC_C) $(SRC_H) Makefile
	$(WATCHED) -fsanitize=thread -DGDN_DEBUG -pthread -o $@ $(filter %.c,$^)
$(BUILD)/channel_threads: spec/support/channel_threads.c $(SRC_C) $(SRC_H) Makefile
	$(WATCHED) -fsanitize=thread -DGDN_DEBUG -pthread -o $@ $(filter %.c,$^)
tsan: $(BUILD)/threads $(BUILD)/channel_threads
	@$(BUILD)/threads 3000
	@$(BUILD)/channel_threads 20000

# Fuzzing: libFuzzer comes with clang's own runtime. Each target runs TIME seconds over its corpus, with a seed that is
# told; ONLY="trace" takes some of them. SEED and RUNS bound what chance does, and time: see scripts/fuzz.
CLANG     ?= clang
FUZZ_SAN  := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
FUZZ_C    := batch build_raw dlpack index step_record
FUZZ_LUA  := trace recording request
FUZZERS    = $(addprefix $(BUILD)/fuzz/,$(or $(ONLY),$(FUZZ_C) $(FUZZ_LUA)))
FUZZ       = mkdir -p $(BUILD)/fuzz && $(CLANG) $(CFLAGS) -std=c11 -g -O1 -Wall -Wextra $(FUZZ_SAN)

$(addprefix $(BUILD)/fuzz/,$(FUZZ_C)): $(BUILD)/fuzz/%: fuzz/fuzz_%.c $(wildcard fuzz/*.[ch]) $(SRC_C) $(SRC_H) Makefile
	@$(FUZZ) -Isrc -Ifuzz -o $@ $< fuzz/case.c fuzz/rows.c fuzz/outputs.c $(SRC_C)
$(BUILD)/fuzz/libgdnmeta.so: $(SRC_C) $(SRC_H) Makefile
	@$(subst fuzzer,fuzzer-no-link,$(FUZZ)) -Isrc -fPIC -fvisibility=hidden -shared -o $@ $(filter %.c,$^)
$(addprefix $(BUILD)/fuzz/,$(FUZZ_LUA)): $(BUILD)/fuzz/%: fuzz/fuzz_lua.c $(BUILD)/fuzz/libgdnmeta.so Makefile
	@$(FUZZ) -DFUZZ_READER='"fuzz/$*.lua"' $$(pkg-config --cflags luajit) -o $@ $< $$(pkg-config --libs luajit)
fuzz: deps all
	@scripts/deps clang libclang-rt-14-dev libluajit-5.1-dev pkg-config
	@$(MAKE) -j$$(nproc) $(FUZZERS)
	@GDNMETA_LIB=$$PWD/$(BUILD)/fuzz/libgdnmeta.so SEED="$(SEED)" RUNS="$(RUNS)" scripts/fuzz $(or $(TIME),60) $(FUZZERS)

.PHONY: asan-lib asan valgrind faults tsan fuzz
