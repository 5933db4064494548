# gdnmeta. `make` builds the library and its Lua declarations; `make help` lists the rest.
#   BUILD=<dir>  where outputs go      OPT=<flags>  instead of -O3      CFLAGS=<flags>  yours, put first
MAKEFLAGS += --no-print-directory

BUILD   ?= build
OPT     ?= -O3
LIBFLAG ?= -shared
WARN    := -Wall -Wextra -Wpedantic -Wconversion
LINK    := -Wl,-z,defs
SAN     := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
COMPILE  = $(CC) $(CFLAGS) -std=c11 -fPIC -fvisibility=hidden -Isrc $(WARN) $(OPT) -MMD -MP

LIB  := $(BUILD)/libgdnmeta.so
# The folders of src, from what stands alone to what uses it: src/README.md.
SRC_C := $(wildcard src/*/*.c)
SRC_H := $(wildcard src/*.h src/*/*.h)
OBJ   := $(patsubst src/%.c,$(BUILD)/obj/%.o,$(SRC_C))
CDEF := lua/gdnmeta/native/cdef.lua
WORKER_CDEF := lua/gdnmeta/worker/cdef.lua

# The header alone states both: the library's version, and the ABI that its SONAME ends in.
HEADER  := src/gdnmeta.h
VERSION := $(shell sed -n 's/^.define GDN_VERSION_[A-Z]* \([0-9]*\)$$/\1/p' $(HEADER) | paste -s -d .)
ABI     := $(shell sed -n 's/.*GDN_ABI = \([0-9]*\).*/\1/p' $(HEADER))
SONAME  := libgdnmeta.so.$(ABI)
NUMBER  := lua/gdnmeta/native/version.lua
SCHEMA  := lua/gdnmeta/native/schema.lua

.DEFAULT_GOAL := all

# ---- CUDA: the kernel's image within the library. WITH_CUDA=0, or no nvcc of 12.1 or later: an empty one ----
ifndef NVCC
NVCC := $(shell scripts/kernel find)
endif
WITH_CUDA ?= $(if $(NVCC),1,0)
FATBIN    := build/kernels.fatbin
FAKE      := $(BUILD)/libfakecuda.so
FAKE_C    := $(wildcard spec/support/fakecuda/*.c)
OBJ       := $(filter-out $(BUILD)/obj/cuda/image.o,$(OBJ)) $(BUILD)/obj/cuda/image-$(WITH_CUDA).o

$(FATBIN): src/cuda/kernels.cu scripts/kernel
	@scripts/kernel build "$(NVCC)" $@

$(BUILD)/obj/cuda/image-0.o: src/cuda/image.c Makefile
	@mkdir -p $(@D)
	@$(COMPILE) -c -o $@ $<

$(BUILD)/obj/cuda/image-1.o: src/cuda/image.c $(FATBIN) Makefile
	@mkdir -p $(@D)
	@$(COMPILE) -DGDN_IMAGE='"$(FATBIN)"' -c -o $@ $<

# The driver of the specs: the calls of libcuda over host memory.
fake: $(FAKE)
$(FAKE): $(FAKE_C) spec/support/fakecuda/fakecuda.h $(SRC_H) Makefile
	@mkdir -p $(BUILD)
	@$(COMPILE) $(LIBFLAG) $(LINK) -MF $(BUILD)/fakecuda.d -o $@.$$$$ $(FAKE_C) && mv $@.$$$$ $@

# On a machine with a GPU; see scripts/gpu for one that has nothing else.
test-gpu: all $(FAKE)
	@BUILD=$(BUILD) scripts/gpu test
$(BUILD)/libgdngpu.so: bench/gpu_loops.c $(OBJ) Makefile
	@$(COMPILE) $(LIBFLAG) $(LINK) -MF $(BUILD)/gpu.d -o $@ $(filter %.c %.o,$^)
bench-gpu: all $(BUILD)/libgdngpu.so
	@BUILD=$(BUILD) scripts/gpu bench
.PHONY: fake test-gpu bench-gpu
# ---- end of CUDA ----

# Programs run in the tree find this tree's modules and library first.
IN_TREE := LUA_PATH="./lua/?.lua;./lua/?/init.lua;./?.lua;;" LUA_CPATH="./$(BUILD)/?.so;;"

all: lib $(CDEF) $(WORKER_CDEF) $(NUMBER) $(SCHEMA)
	@:
lib: $(LIB)
	@:

# nodelete: a consumer of a tensor may call its deleter long after the VM that loaded the library has ended.
$(LIB): $(OBJ)
	@$(CC) $(CFLAGS) $(OPT) $(LIBFLAG) $(LINK) -Wl,-z,nodelete -Wl,-soname,$(SONAME) -o $@.$$$$ $(OBJ) && mv $@.$$$$ $@
	@ln -sf libgdnmeta.so $(BUILD)/$(SONAME)

$(BUILD)/obj/%.o: src/%.c Makefile
	@mkdir -p $(@D)
	@$(COMPILE) -c -o $@ $<

# Through a file of its own: a reader never meets half of it, and two makes do not meet.
$(CDEF): src/gdnmeta_prefix_index.h src/gdnmeta_scheduler.h $(HEADER) Makefile
	@{ echo '-- Generated from $(HEADER), src/gdnmeta_scheduler.h and $< by make. Do not edit.'; echo 'require("ffi").cdef[['; \
	  $(CC) -E -P -DGDNMETA_CDEF -x c $< && echo ']]'; } > $@.$$$$ && mv $@.$$$$ $@
# The worker's header alone: what it includes is known by then.
$(WORKER_CDEF): src/gdnmeta_worker.h Makefile
	@mkdir -p $(@D)
	@{ echo '-- Generated from $< by make. Do not edit.'; echo 'require("ffi").cdef[['; \
	  $(CC) -E -P -DGDNMETA_CDEF -DGDNMETA_H -DGDN_API= -DGDN_OWN= -DGDN_NULL_OK= -x c $< && echo ']]'; } > $@.$$$$ \
	  && mv $@.$$$$ $@
$(NUMBER): $(HEADER) Makefile
	@printf -- '-- Generated from %s by make. Do not edit.\nreturn "%s"\n' $(HEADER) $(VERSION) > $@.$$$$ && mv $@.$$$$ $@

# Options and fields: the preprocessor copies their tables, but only a program knows what their constants are.
$(BUILD)/schema: scripts/schema.c $(addprefix src/base/,config_fields.h fields.h limits.h) $(HEADER) Makefile
	@mkdir -p $(@D)
	@$(CC) $(CFLAGS) -std=c11 -Isrc $(WARN) -o $@.$$$$ $< && mv $@.$$$$ $@
$(SCHEMA): $(BUILD)/schema
	@$< > $@.$$$$ && mv $@.$$$$ $@

deps:
	@scripts/deps

# The rate is one where a queue forms: without one all policies do the same. A recorded workload is first replayed by
# examples/replay.lua, a driver without the engine: both must come to the same sums.
REPORT := build/demo/report.html
demo: deps all
	@command -v gnuplot >/dev/null || scripts/deps gnuplot-nox || echo 'no gnuplot: the page will have no pictures'
	@$(if $(TRACE),$(IN_TREE) luajit examples/replay.lua "$(TRACE)" && echo)
	@mkdir -p $(dir $(REPORT))
	@GDNMETA_LIB=$(LIB) bin/gdnmeta simulate --policy fcfs --policy decode_first --policy fair \
	  $(if $(TRACE),--trace "$(TRACE)",--rate 9) --report $(REPORT)
	@echo && echo 'as a page: $(REPORT)'
	@echo && echo 'state caches, of prompts that begin alike:'
	@GDNMETA_LIB=$(LIB) bin/gdnmeta simulate --quiet --workload synthetic,sessions=400 --slots-only --cache-slots 16,64 \
	  --cache every_block --cache fork_and_last --cache gdsf

# nginx is unpacked beside the system, for examples/nginx and its specs, which are left out where it cannot be had.
nginx:
	@scripts/deps curl
	@scripts/nginx
# numpy and mypy come into build/venv-numpy, for the specs of examples/pytorch, which are left out where they cannot be had.
python:
	@scripts/python
bench-python: all python
	@PYTHONPATH=examples/pytorch \
	  $$(ls build/venv-numpy/bin/python 2>/dev/null || echo python3) examples/pytorch/bench.py
# The model of examples/pytorch against transformers, on a CPU: scripts/model.
test-model: deps all
	@SHORT="$(SHORT)" scripts/model
serve: deps all nginx
	@MODEL="$(MODEL)" examples/nginx/serve

test: deps all $(FAKE) $(BUILD)/libgdncounted.so
	@$(MAKE) nginx || true
	@$(MAKE) python || true
	@$(IN_TREE) scripts/specs

# The texts of spec/goldens/texts anew, for a change that was meant: read the difference.
GOLDEN_SPECS = $(shell grep -lE 'spec\.support\.(golden|noted)' spec/*/*_spec.lua)
goldens: all
	@GDN_GOLDENS=write SPECS="$(GOLDEN_SPECS)" VECTORS= $(IN_TREE) scripts/specs
	@git diff --stat spec/goldens/texts

# Faults put into a copy of the tree, one at a time: how many do the specs notice? spec/mutants/run.lua has
# the variables (N, SEED, ONLY, JOBS).
mutants: deps all
	@nice luajit spec/mutants/run.lua

lint: deps
	@luacheck -q . bin/gdnmeta
	@luajit spec/mutants/fits.lua
	@luajit scripts/words.lua
	@awk 'length > 120 { print FILENAME ":" FNR ": " length " characters, want <= 120"; long = 1 } END { exit long }' \
	  $$(git ls-files '*.[ch]' '*.cu' 2>/dev/null || echo $(SRC_C) $(SRC_H))
	@$(MAKE) -j$$(nproc) lib BUILD=build/werror WARN="$(WARN) -Werror"

# The core again, adding up what it allocates and noting its system calls: for the specs.
COUNTED := $(BUILD)/libgdncounted.so
COUNTED_CALLS := malloc calloc realloc aligned_alloc free memfd_create ftruncate fcntl mmap munmap open close dup2 prctl getppid \
  setpgid execvpe waitpid kill sigprocmask sigaction getrlimit clock_gettime syscall dlopen dlsym dlclose
$(COUNTED): $(addprefix spec/support/,counted.c counted_calls.c counted_packs.c looks.h) $(OBJ) Makefile
	@$(COMPILE) $(LIBFLAG) $(LINK) $(foreach f,$(COUNTED_CALLS),-Wl,--wrap=$(f)) -MF $(BUILD)/counted.d \
	  -o $@.$$$$ $(filter %.c %.o,$^) && mv $@.$$$$ $@

include scripts/checks.mk

docs: deps
	@scripts/deps lua-ldoc lua-discount
	@scripts/docs

soak: deps all
	@$(IN_TREE) luajit spec/soak.lua $(or $(TIME),600)

audit: all
	@scripts/deps strace
	@spec/audit.sh $(BUILD)

# The loops that are timed stand in one library with the code they time, which Lua then uses too.
$(BUILD)/libgdnbench.so: bench/loops.c $(OBJ) Makefile
	@$(COMPILE) $(LIBFLAG) $(LINK) -MF $(BUILD)/bench.d -o $@ $(filter %.c %.o,$^)

bench: deps all $(BUILD)/libgdnbench.so
	@GDNMETA_LIB=$(BUILD)/libgdnbench.so GDNMETA_BENCH=$(BUILD)/libgdnbench.so $(IN_TREE) luajit bench/build.lua
	@$(IN_TREE) luajit bench/step.lua
	@$(IN_TREE) luajit bench/prefix_index.lua
	@$(IN_TREE) luajit bench/step_cache.lua
	@$(IN_TREE) luajit bench/worker.lua

# What policies achieve, in simulated time: bench/policies.lua. A bound that is missed fails.
#   ONLY="vtc chunked"  these scenarios      TRACES=<folder>  where the recorded workloads lie
bench-policies: deps all
	@$(if $(TRACES),TRACES="$(TRACES)") $(IN_TREE) luajit bench/policies.lua $(ONLY)

# What prefix caches reach by state slots alone: bench/caches.lua. A bound that is missed fails.
#   TRACE=<file> KIND=<agents, conversation or synthetic>  a recorded trace with hash_ids    CACHES="gdsf mine.lua"
bench-cache: deps all
	@TRACE="$(TRACE)" KIND="$(KIND)" CACHES="$(CACHES)" SLOTS="$(SLOTS)" $(IN_TREE) luajit bench/caches.lua

# Where files go. Lua modules and the library lie where LuaJIT looks without being told, for the default PREFIX.
#   DESTDIR  a folder that stands for / while a package is made
#   PC_PREFIX, PC_LIBDIR  what gdnmeta.pc says instead, where files are moved after the installation
PREFIX    ?= /usr/local
LIBDIR    ?= $(PREFIX)/lib
INCDIR    ?= $(PREFIX)/include
BINDIR    ?= $(PREFIX)/bin
LUADIR    ?= $(PREFIX)/share/lua/5.1
LUALIBDIR ?= $(PREFIX)/lib/lua/5.1
PCDIR     ?= $(LIBDIR)/pkgconfig
PC_PREFIX ?= $(PREFIX)
PC_LIBDIR ?= $(LIBDIR)

install: all
PLACES := PREFIX DESTDIR LIBDIR INCDIR BINDIR LUADIR LUALIBDIR PCDIR PC_PREFIX PC_LIBDIR LIB SONAME VERSION
$(foreach name,$(PLACES),$(eval install uninstall: export GDN_$(name) = $$($(name))))
install uninstall:
	@scripts/install $@

rock: deps all
	@scripts/rock

# The source archive of the last commit, built, tried and installed where there is no git.
dist: deps
	@scripts/dist $(VERSION) $(CORE_SPECS)

clean:
	@rm -rf build $(CDEF) $(WORKER_CDEF) $(NUMBER) $(SCHEMA)

help:
	@echo 'make            build/libgdnmeta.so and its Lua declarations in lua/gdnmeta/native'
	@echo 'make demo       three policies on one workload under load; TRACE=<file> replays a recorded one'
	@echo 'make serve      completions over HTTP, on loopback; PORT=<number> MODEL=<folder of a model>'
	@echo 'make test       the specs, as many files at a time as there are processors (SPEC_JOBS=), and the vectors'
	@echo 'make lint       luacheck, retired words, and the C compiler with every warning an error'
	@echo 'make test-gpu   the specs of the CUDA path, on a GPU (make test runs them on a fake driver: make fake)'
	@echo 'make asan       make test under ASan and UBSan (asan-lib: only build/asan/libgdnmeta.so)'
	@echo 'make valgrind   the core and its Lua API under valgrind'
	@echo 'make faults     run with every allocation failing once'
	@echo 'make tsan       threads under ThreadSanitizer'
	@echo 'make fuzz       libFuzzer on the core and on the readers of files: TIME=<seconds per target> SEED=<number>'
	@echo '                RUNS=<executions> instead of TIME (RUNS="trace=4000 batch=9000")'
	@echo 'make test-model  a model in PyTorch, scheduled by the engine, against transformers (CPU; installs PyTorch)'
	@echo 'make goldens    rewrite spec/goldens/texts, after an intended change'
	@echo 'make mutants    put faults into a copy and count those that the specs detect (N=60 SEED= JOBS=)'
	@echo 'make soak       run engines for TIME=<seconds>: memory, step times, invariants'
	@echo 'make audit      count allocations and system calls of 100,000 builds'
	@echo 'make bench      time builds and steps (bench-gpu: on a GPU; bench-python: from Python)'
	@echo 'make bench-policies  what policies achieve, compared with their bounds (ONLY=<scenario> TRACES=<dir>)'
	@echo 'make bench-cache  what prefix caches reach, compared with their bounds (TRACE=<file> KIND= CACHES= SLOTS=)'
	@echo 'make docs       the Lua API as pages: build/docs/index.html'
	@echo 'make deps       install what the other targets need (Debian, Ubuntu)'
	@echo 'make nginx      unpack nginx and wrk into build/nginx'
	@echo 'make rock       luarocks make into a temporary tree, then require from there'
	@echo 'make dist       build/gdnmeta-$(VERSION).tar.gz, unpacked, built, tested and installed'
	@echo 'make install    PREFIX=<dir> (/usr/local) DESTDIR=<dir>; make uninstall removes it'
	@echo 'make clean      remove what was built'

-include $(OBJ:.o=.d) $(FATBIN).d $(BUILD)/bench.d $(BUILD)/gpu.d
.PHONY: test-model all lib deps demo test lint docs soak audit bench bench-policies bench-cache install uninstall rock dist clean goldens mutants nginx python bench-python serve help
