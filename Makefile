# gdnmeta. `make` builds the library and its Lua declarations; `make help` lists the rest.
#   BUILD=<dir>  where outputs go      OPT=<flags>  instead of -O3      CFLAGS=<flags>  yours, put first
MAKEFLAGS += --no-print-directory

BUILD   ?= build
OPT     ?= -O3
LIBFLAG ?= -shared
WARN    := -Wall -Wextra -Wpedantic -Wconversion
LINK    := -Wl,-z,defs
SAN     := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
COMPILE  = $(CC) $(CFLAGS) -std=c11 -fPIC -fvisibility=hidden $(WARN) $(OPT) -MMD -MP

LIB  := $(BUILD)/libgdnmeta.so
OBJ  := $(patsubst src/%.c,$(BUILD)/%.o,$(wildcard src/*.c))
CDEF := lua/gdnmeta/cdef.lua

# Programs run in the tree find this tree's modules and library first.
IN_TREE := LUA_PATH="./lua/?.lua;./lua/?/init.lua;./?.lua;;" LUA_CPATH="./$(BUILD)/?.so;;"

all: lib $(CDEF)
	@:
lib: $(LIB)
	@:

$(LIB): $(OBJ)
	@$(CC) $(CFLAGS) $(OPT) $(LIBFLAG) $(LINK) -o $@.$$$$ $(OBJ) && mv $@.$$$$ $@

$(BUILD)/%.o: src/%.c Makefile
	@mkdir -p $(BUILD)
	@$(COMPILE) -c -o $@ $<

# Through a file of its own: a reader never meets half of it, and two makes do not meet.
$(CDEF): src/gdnmeta.h Makefile
	@{ echo '-- Generated from src/gdnmeta.h by make. Do not edit.'; echo 'require("ffi").cdef[['; \
	  $(CC) -E -P -DGDNMETA_CDEF -x c $< && echo ']]'; } > $@.$$$$ && mv $@.$$$$ $@

deps:
	@scripts/deps

demo: deps all
	@$(IN_TREE) luajit examples/replay.lua $(if $(TRACE),"$(TRACE)")

test: deps all
	@$(IN_TREE) scripts/specs

lint: deps
	@luacheck -q .
	@$(MAKE) lib BUILD=build/werror WARN="$(WARN) -Werror"

asan-lib:
	@$(MAKE) lib BUILD=build/asan OPT="-O1 -g $(SAN)" LINK=

# GDN_CASES shrinks the random specs: both checkers run them many times slower.
asan: deps all asan-lib
	@GDN_CASES=$${GDN_CASES:-2000} GDNMETA_LIB=build/asan/libgdnmeta.so ASAN_OPTIONS=detect_leaks=1 $(IN_TREE) \
	  scripts/specs env LD_PRELOAD="$$($(CC) -print-file-name=libasan.so):$$($(CC) -print-file-name=libubsan.so)"

valgrind: deps all
	@scripts/deps valgrind
	@GDN_CASES=$${GDN_CASES:-200} $(IN_TREE) scripts/specs valgrind -q --error-exitcode=9

audit: all
	@scripts/deps strace
	@spec/audit.sh $(BUILD)

# The loops that are timed stand in one library with the code they time, which Lua then uses too.
$(BUILD)/libgdnbench.so: $(wildcard bench/*.c) $(OBJ) Makefile
	@$(COMPILE) $(LIBFLAG) $(LINK) -Isrc -MF $(BUILD)/bench.d -o $@ $(filter %.c %.o,$^)

bench: deps all $(BUILD)/libgdnbench.so
	@GDNMETA_LIB=$(BUILD)/libgdnbench.so GDNMETA_BENCH=$(BUILD)/libgdnbench.so $(IN_TREE) luajit bench/build.lua

install: all
	@: $${LUADIR:?make install wants LUADIR=<where Lua modules go>} $${LIBDIR:?make install wants LIBDIR=<where C modules go>}
	@cd lua && find gdnmeta -name '*.lua' -exec install -D -m 644 {} "$(LUADIR)/{}" \;
	@install -D -m 755 $(LIB) "$(LIBDIR)/libgdnmeta.so"

rock: deps all
	@scripts/rock

clean:
	@rm -rf build $(CDEF)

help:
	@echo 'make            build/libgdnmeta.so and lua/gdnmeta/cdef.lua'
	@echo 'make demo       replay a workload; TRACE=<file> replays a recorded one'
	@echo 'make test       the specs and the conformance vectors'
	@echo 'make lint       luacheck, and the C compiler with every warning an error'
	@echo 'make asan       the same under ASan and UBSan (asan-lib: only build/asan/libgdnmeta.so)'
	@echo 'make valgrind   the same under valgrind'
	@echo 'make audit      count allocations and system calls of 100,000 builds'
	@echo 'make bench      how fast'
	@echo 'make deps       install what these need (Debian, Ubuntu)'
	@echo 'make rock       luarocks make into a temporary tree, then require from there'
	@echo 'make install    LUADIR=<dir> LIBDIR=<dir>'
	@echo 'make clean      remove what was built'

-include $(OBJ:.o=.d) $(BUILD)/bench.d
.PHONY: all lib deps demo test lint asan-lib asan valgrind audit bench install rock clean help
