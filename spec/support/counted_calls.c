/* System calls of the core: noted one after the other, each with what it returned, and refused where a spec says so.
 * The linker sends them here (build/libgdncounted.so). A child of vfork notes into the same memory. */
#define _GNU_SOURCE
#include "worker/ring.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { ROOM = 1 << 21, LAST_SIGNAL = 64 };

static char text[ROOM];
static size_t used;
static int watching, failing_nth, failing_error, num_named;
static const char *failing;
static int64_t clock_ns, limit; /* what the clock says, and how many descriptors there may be; 0: what is true */

static void note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text + used, ROOM - used, format, arguments);
    va_end(arguments);
    if (n > 0) used = used + (size_t)n < ROOM ? used + (size_t)n : ROOM - 1;
}

/* Is this the call that is to fail? */
static int fails(const char *name)
{
    if (!watching || !failing || strcmp(name, failing) || (++num_named != failing_nth && failing_nth)) return 0;
    if (failing_error) errno = failing_error;
    return 1;
}

/* A call of `name` whose arguments are noted: its result, noted behind them. */
#define CALL(name, real, refused, ...)                          \
    do {                                                        \
        if (watching) note(name "(" __VA_ARGS__), note(") = "); \
        long result = (long)(fails(name) ? (refused) : (real)); \
        int error = errno;                                      \
        if (watching) note("%ld\n", result);                    \
        errno = error;                                          \
        return result;                                          \
    } while (0)

static int signals(const sigset_t *set)
{
    int n = 0;
    for (int k = 1; set && k <= LAST_SIGNAL; k++) n += sigismember(set, k) == 1;
    return n;
}

int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int descriptor, off_t bytes);
int __real_fcntl(int descriptor, int command, long argument);
void *__real_mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t offset);
int __real_munmap(void *at, size_t bytes);
int __real_open(const char *path, int flags, int mode);
int __real_close(int descriptor);
int __real_dup2(int from, int to);
int __real_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int __real_getppid(void);
int __real_setpgid(int id, int group);
int __real_execvpe(const char *path, char *const *arguments, char *const *environment);
int __real_waitpid(int id, int *status, int options);
int __real_kill(int id, int number);
int __real_sigprocmask(int how, const sigset_t *set, sigset_t *old);
int __real_sigaction(int number, const struct sigaction *action, struct sigaction *old);
int __real_getrlimit(int resource, struct rlimit *to);
int __real_clock_gettime(int clock, struct timespec *time);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);
void *__real_dlopen(const char *path, int flags);
void *__real_dlsym(void *library, const char *symbol);
int __real_dlclose(void *library);

static long memfd_call(const char *name, unsigned flags)
{
    CALL("memfd_create", __real_memfd_create(name, flags), -1, "%s, %u", name, flags);
}
int __wrap_memfd_create(const char *name, unsigned flags) { return (int)memfd_call(name, flags); }

static long ftruncate_call(int descriptor, off_t bytes)
{
    CALL("ftruncate", __real_ftruncate(descriptor, bytes), -1, "%d, %lld", descriptor, (long long)bytes);
}
int __wrap_ftruncate(int descriptor, off_t bytes) { return (int)ftruncate_call(descriptor, bytes); }

static long fcntl_call(int descriptor, int command, long argument)
{
    long shown = command == F_GET_SEALS ? 0 : argument;
    CALL("fcntl", __real_fcntl(descriptor, command, argument), -1, "%d, %d, %ld", descriptor, command, shown);
}
int __wrap_fcntl(int descriptor, int command, long argument) { return (int)fcntl_call(descriptor, command, argument); }

void *__wrap_mmap(void *at, size_t bytes, int protection, int flags, int descriptor, off_t offset)
{
    void *result = fails("mmap") ? MAP_FAILED : __real_mmap(at, bytes, protection, flags, descriptor, offset);
    int error = errno;
    if (watching) note("mmap(%zu, %d, %d) = %d\n", bytes, protection, descriptor, result == MAP_FAILED ? -1 : 0);
    errno = error;
    return result;
}

static long munmap_call(void *at, size_t bytes) { CALL("munmap", __real_munmap(at, bytes), -1, "%zu", bytes); }
int __wrap_munmap(void *at, size_t bytes) { return (int)munmap_call(at, bytes); }

static long open_call(const char *path, int flags, int mode)
{
    CALL("open", __real_open(path, flags, mode), -1, "%s, %d", path, flags);
}
int __wrap_open(const char *path, int flags, int mode) { return (int)open_call(path, flags, mode); }

static long close_call(int descriptor) { CALL("close", __real_close(descriptor), -1, "%d", descriptor); }
int __wrap_close(int descriptor) { return (int)close_call(descriptor); }

static long dup2_call(int from, int to) { CALL("dup2", __real_dup2(from, to), -1, "%d, %d", from, to); }
int __wrap_dup2(int from, int to) { return (int)dup2_call(from, to); }

static long prctl_call(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    sigset_t blocked;
    (void)__real_sigprocmask(SIG_BLOCK, NULL, &blocked);
    CALL("prctl", __real_prctl(option, a, b, c, d), -1, "%d, %lu, with %d signals blocked", option, a,
         signals(&blocked));
}
int __wrap_prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    return (int)prctl_call(option, a, b, c, d);
}

/* Another parent than it had: who is refused this learns of one. */
int __wrap_getppid(void)
{
    int id = fails("getppid") ? 1 : __real_getppid();
    if (watching) note("getppid() = %d\n", id);
    return id;
}

static long setpgid_call(int id, int group) { CALL("setpgid", __real_setpgid(id, group), -1, "%d, %d", id, group); }
int __wrap_setpgid(int id, int group) { return (int)setpgid_call(id, group); }

int __wrap_execvpe(const char *path, char *const *arguments, char *const *environment)
{
    if (watching) note("execvpe(%s)\n", path);
    return fails("execvpe") ? -1 : __real_execvpe(path, arguments, environment);
}

/* Refused without an error: it lives. */
static long waitpid_call(int id, int *status, int options)
{
    CALL("waitpid", __real_waitpid(id, status, options), failing_error ? -1 : 0, "%d, %d", id, options);
}
int __wrap_waitpid(int id, int *status, int options) { return (int)waitpid_call(id, status, options); }

static long kill_call(int id, int number) { CALL("kill", __real_kill(id, number), -1, "%d, %d", id, number); }
int __wrap_kill(int id, int number) { return (int)kill_call(id, number); }

static long sigprocmask_call(int how, const sigset_t *set, sigset_t *old)
{
    CALL("sigprocmask", __real_sigprocmask(how, set, old), -1, "%d, %d signals", how, signals(set));
}
int __wrap_sigprocmask(int how, const sigset_t *set, sigset_t *old) { return (int)sigprocmask_call(how, set, old); }

/* The C library keeps some signals for itself: what it answers is left out. */
int __wrap_sigaction(int number, const struct sigaction *action, struct sigaction *old)
{
    const char *handler = action->sa_handler == SIG_DFL ? "default" : "other";
    if (watching) note("sigaction(%d, %s, %d, %d signals)\n", number, handler, action->sa_flags,
                       signals(&action->sa_mask));
    return __real_sigaction(number, action, old);
}

static long getrlimit_call(int resource, struct rlimit *to)
{
    CALL("getrlimit", __real_getrlimit(resource, to), -1, "%d", resource);
}
int __wrap_getrlimit(int resource, struct rlimit *to)
{
    int result = (int)getrlimit_call(resource, to);
    if (watching && limit && !result) to->rlim_cur = (rlim_t)limit;
    return result;
}

int __wrap_clock_gettime(int clock, struct timespec *time)
{
    if (!watching || !clock_ns) return __real_clock_gettime(clock, time);
    note("clock_gettime(%d) = %.9f\n", clock, (double)clock_ns * 1e-9);
    *time = (struct timespec){ .tv_sec = clock_ns / 1000000000, .tv_nsec = clock_ns % 1000000000 };
    return 0;
}

/* Who would sleep by a clock of the spec's does not, and finds that the time is over. */
static long futex(long number, const uint32_t *word, long operation, long value, const struct timespec *time)
{
    if (operation != FUTEX_WAIT || !clock_ns)
        return __real_syscall(number, (long)word, operation, value, (long)time, 0, 0);
    if (*word == (uint32_t)value) clock_ns += time->tv_sec * 1000000000 + time->tv_nsec;
    return -1;
}

static long syscall_call(long number, long a, long b, long c, long d, long e, long f)
{
    if (number != SYS_futex) CALL("syscall", __real_syscall(number, a, b, c, d, e, f), -1, "%ld, %ld, %ld, %ld", number,
                                     a, b, c);
    const struct timespec *time = b == FUTEX_WAIT ? (const struct timespec *)d : NULL;
    if (!watching) return __real_syscall(number, a, b, c, d, e, f);
    const gdn_ring_shared *ring = (const void *)((const char *)a - offsetof(gdn_ring_shared, wake));
    if (time) note("sleep(%lld.%09ld), said: %u\n", (long long)time->tv_sec, time->tv_nsec, ring->sleeps);
    else note("wake(%ld)\n", c);
    return futex(number, (const uint32_t *)a, b, c, time);
}
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    return syscall_call(number, a, b, c, d, e, f);
}

void *__wrap_dlopen(const char *path, int flags)
{
    if (watching) note("dlopen(%s, %s%s%s%s)\n", path, flags & RTLD_NOW ? "now" : "lazy",
                       flags & RTLD_NOLOAD ? ", if it is loaded" : "",
                       flags & RTLD_GLOBAL ? ", global" : "", flags & RTLD_NODELETE ? ", stays" : "");
    return fails("dlopen") ? NULL : __real_dlopen(path, flags);
}

void *__wrap_dlsym(void *library, const char *symbol)
{
    if (watching) note("dlsym(%s)\n", symbol);
    return fails("dlsym") ? NULL : __real_dlsym(library, symbol);
}

int __wrap_dlclose(void *library)
{
    if (watching) note("dlclose()\n");
    return __real_dlclose(library);
}

/* From now on calls are noted, and the nth of `name` fails with `error` (0: each of them); NULL: none does. The clock
 * stands still but for sleeps where `clock` is not 0 (ns), and there are `descriptors` of them at most where that is
 * not 0. */
EXPORT void gdn_counted_watch(const char *name, int nth, int error, int64_t clock, int64_t descriptors)
{
    static char held[32];
    (void)snprintf(held, sizeof held, "%s", name ? name : "");
    failing = name ? held : NULL, failing_nth = nth, failing_error = error, num_named = 0;
    clock_ns = clock, limit = descriptors, used = 0, text[0] = 0, watching = 1;
}

/* The calls since, and no more of them. */
EXPORT const char *gdn_counted_calls(void)
{
    watching = 0;
    return text;
}
