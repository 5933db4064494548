-- What Lua calls of libc, declared once: ffi.C with libc_<name>. A host may declare the functions under their
-- own names besides; a module reloader, which comes here twice in one VM, declares nothing again.
local ffi = require "ffi"

if not pcall(ffi.typeof, "libc_window") then
  ffi.cdef [[
typedef struct { uint16_t rows, columns, width, height; } libc_window;
void *libc_malloc(size_t bytes) __asm__("malloc");
void libc_free(void *block) __asm__("free");
int libc_memcmp(const void *a, const void *b, size_t bytes) __asm__("memcmp");
int libc_isatty(int fd) __asm__("isatty");
int libc_ioctl(int fd, unsigned long request, ...) __asm__("ioctl");
int libc_ferror(void *file) __asm__("ferror");
int libc_clock_gettime(int clock, int64_t *time) __asm__("clock_gettime");
void *libc_signal(int number, void *handler) __asm__("signal");
int libc_siginterrupt(int number, int flag) __asm__("siginterrupt");
int libc_raise(int number) __asm__("raise");
int libc_poll(void *descriptors, unsigned long n, int milliseconds) __asm__("poll");
]]
end

return ffi.C
