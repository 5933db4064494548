/* The process of a worker: started without a copy of the caller's memory, and gone without a trace. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "worker/record.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { PENDING = 64, FIRST_SAFE = 16, LAST_SIGNAL = 64 };

struct gdn_process {
    pid_t id; /* 0: it has ended, and somebody has reaped it */
    char how[96];
};

/* Killed, and not gone when they were let go of. */
static _Atomic int32_t pending[PENDING];

static void reap_pending(void)
{
    for (int i = 0; i < PENDING; i++) {
        int32_t id = atomic_load(&pending[i]);
        if (id && waitpid(id, NULL, WNOHANG)) atomic_compare_exchange_strong(&pending[i], &id, 0);
    }
}

static void reap_later(pid_t id)
{
    for (int i = 0; i < PENDING; i++) {
        int32_t none = 0;
        if (atomic_compare_exchange_strong(&pending[i], &none, id)) return;
    }
}

/* ---- In the child: no memory is its own until it runs another program ---- */

static void close_from(unsigned first)
{
    struct rlimit limit;
    if (!syscall(SYS_close_range, first, ~0u, 0)) return;
    rlim_t end = getrlimit(RLIMIT_NOFILE, &limit) ? 1024 : limit.rlim_cur;
    for (rlim_t fd = first; fd < end && fd < 65536; fd++) close((int)fd);
}

static void default_signals(void)
{
    sigset_t none;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = SIG_DFL;
    for (int number = 1; number <= LAST_SIGNAL; number++) (void)sigaction(number, &action, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* 0, or why not: a number of errno. */
static int arrange_descriptors(int descriptor)
{
    int high = fcntl(descriptor, F_DUPFD, FIRST_SAFE), input = open("/dev/null", O_RDONLY);
    if (high == -1 || input == -1 || dup2(input, 0) == -1 || dup2(high, GDN_PROCESS_DESCRIPTOR) == -1) return errno;
    close_from(GDN_PROCESS_DESCRIPTOR + 1);
    return 0;
}

static void run(const char *const *arguments, char *const *environment, int descriptor, pid_t parent,
                volatile int *failure)
{
    (void)setpgid(0, 0);
    int error = prctl(PR_SET_PDEATHSIG, SIGKILL) ? errno
                : getppid() != parent            ? ESRCH
                                                 : arrange_descriptors(descriptor);
    if (!error) {
        default_signals();
        execvpe(arguments[0], (char *const *)arguments, environment);
        error = errno;
    }
    *failure = error;
    _exit(127);
}

/* ---- In the caller ---- */

/* Is the variable among the first n? Programs differ in which of two they take. */
static int is_given(const char *variable, const char *const *first, size_t n)
{
    size_t length = strcspn(variable, "=");
    int is = 0;
    for (size_t i = 0; i < n; i++) is |= !strncmp(first[i], variable, length) && first[i][length] == '=';
    return is;
}

static char **join(const char *const *first)
{
    size_t n = 0, m = 0;
    while (first && first[n]) n++;
    while (environ && environ[m]) m++;
    char **all = calloc(n + m + 1, sizeof *all), **next = all;
    for (size_t i = 0; all && i < n; i++) *next++ = (char *)first[i];
    for (size_t i = 0; all && i < m; i++)
        if (!is_given(environ[i], first, n)) *next++ = environ[i];
    return all;
}

/* vfork: the child shares the memory until it runs the program, so a large host is not copied, and says here why it
 * could not. No handler of the caller's may run there meanwhile. */
static pid_t start(const char *const *arguments, char *const *environment, int descriptor, int *failure)
{
    sigset_t all, before;
    volatile int said = 0;
    pid_t parent = getpid();
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid_t id = vfork();
    if (id == 0) run(arguments, environment, descriptor, parent, &said);
    int error = errno;
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    *failure = said ? said : error;
    if (!said) return id;
    while (waitpid(id, NULL, 0) < 0 && errno == EINTR) continue; /* it is at its end */
    return -1;
}

gdn_status gdn_process_new(const char *const *arguments, const char *const *environment, int32_t descriptor,
                           gdn_process **out, char *why, size_t why_size)
{
    gdn_error error = { "arguments, arguments[0] or out is NULL" };
    reap_pending();
    if (!arguments || !arguments[0] || !out) return gdn_record_refuse(&error, GDN_EINVAL, why, why_size);
    gdn_process *p = calloc(1, sizeof *p);
    char **all = p ? join(environment) : NULL;
    if (!all) {
        free(p);
        return gdn_record_refuse(&(gdn_error){ "no memory for a process" }, GDN_ENOMEM, why, why_size);
    }
    int failure;
    p->id = start(arguments, all, descriptor, &failure);
    free(all);
    if (p->id == -1) {
        free(p);
        (void)gdn_fail(&error, GDN_EINVAL, "cannot run %s: %s", arguments[0], strerror(failure));
        return gdn_record_refuse(&error, GDN_EINVAL, why, why_size);
    }
    *out = p;
    return GDN_OK;
}

/* Its group's number is not given to others while one of the group lives. */
static void kill_group(pid_t id)
{
    (void)kill(-id, SIGKILL);
}

static void describe(gdn_process *p, int known, int status)
{
    if (!known) (void)snprintf(p->how, sizeof p->how, "has ended");
    else if (WIFSIGNALED(status))
        (void)snprintf(p->how, sizeof p->how, "was ended by signal %d (%s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    else
        (void)snprintf(p->how, sizeof p->how, "has ended with status %d", WEXITSTATUS(status));
}

int32_t gdn_process_ended(gdn_process *p, char *text, size_t text_size)
{
    int status = 0;
    if (!p) return 0;
    reap_pending();
    if (p->id) {
        pid_t got = waitpid(p->id, &status, WNOHANG);
        if (got == 0 || (got == -1 && errno != ECHILD)) return 0;
        describe(p, got != -1, status); /* a host that reaps all children, as nginx, knows how; it does not tell */
        kill_group(p->id);
        p->id = 0;
    }
    if (text && text_size) (void)snprintf(text, text_size, "%s", p->how);
    return 1;
}

int32_t gdn_process_id(const gdn_process *p)
{
    return p ? (int32_t)p->id : 0;
}

void gdn_process_free(gdn_process *p)
{
    if (!p) return;
    if (!gdn_process_ended(p, NULL, 0)) {
        pid_t id = p->id;
        kill_group(id);
        (void)kill(id, SIGKILL);
        if (!waitpid(id, NULL, WNOHANG)) reap_later(id);
    }
    free(p);
}
