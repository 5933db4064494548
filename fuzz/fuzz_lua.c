/* A reader written in Lua, given the fuzzer's bytes. FUZZ_READER is a script that returns function(text), which
 * raises where the reader does what it must not; the lines that it runs steer the fuzzer. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum { LINES = 1 << 14 };

/* libFuzzer takes these for edges, as if a compiler had counted them. */
static uint8_t counters[LINES] __attribute__((section("__libfuzzer_extra_counters")));
static uint8_t ever[LINES];
static lua_State *L;

/* LuaJIT draws the seed of its strings' hashes from the system, and libFuzzer sees the bytes that are compared where
 * two of them meet: with random ones it would take other paths from run to run. So they are the same ones always. */
long syscall(long number, ...)
{
    static long (*original)(long, ...);
    long a[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_getrandom) {
        memset((void *)a[0], 1, (size_t)a[1]);
        return a[1];
    }
    if (!original) *(void **)&original = dlsym(RTLD_NEXT, "syscall");
    return original(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* The lines of readers alone, by file and number. */
static void on_line(lua_State *state, lua_Debug *line)
{
    uint32_t at = 0;
    (void)lua_getinfo(state, "S", line);
    if (strncmp(line->source, "@./lua/", 7) && strncmp(line->source, "@./examples/", 12)) return;
    for (const char *c = line->source; *c; c++) at = at * 31 + (uint8_t)*c;
    at = (at + (uint32_t)line->currentline) % LINES;
    ever[at] = 1;
    if (counters[at] < UINT8_MAX) counters[at]++;
}

static void fail(const char *what)
{
    (void)fprintf(stderr, "fuzz: %s: %s\n", what, lua_tostring(L, -1));
    abort();
}

/* The reader stays on the stack. Compiled code would call no hook. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    L = luaL_newstate();
    if (!L) abort();
    luaL_openlibs(L);
    if (luaL_dostring(L, "jit.off() package.path = './lua/?.lua;./lua/?/init.lua;' .. package.path")) fail("LuaJIT");
    if (luaL_loadfile(L, FUZZ_READER) || lua_pcall(L, 0, 1, 0)) fail(FUZZ_READER);
    (void)lua_sethook(L, on_line, LUA_MASKLINE, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    lua_pushvalue(L, -1);
    lua_pushlstring(L, (const char *)data, size);
    if (lua_pcall(L, 1, 0, 0)) fail("the reader raises");
    return 0;
}

__attribute__((destructor)) static void report(void)
{
    int lines = 0;
    for (int i = 0; i < LINES; i++) lines += ever[i];
    (void)fprintf(stderr, "fuzz: %d of the reader's lines were run\n", lines);
}
