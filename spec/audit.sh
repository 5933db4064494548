#!/usr/bin/env bash
# Shows that a build allocates nothing and makes no system call: what a program does with 1,000
# builds and with 100,000 more must not differ. A faulty program must differ, by what it does.
#   spec/audit.sh [folder of libgdnmeta.so]
set -euo pipefail
build=${1:-build}
program=$build/audit
few=1000 more=100000

${CC:-cc} -std=c11 -O2 -Wall -Wextra -Isrc -o "$program" spec/support/audit.c \
    "$build/libgdnmeta.so" -Wl,-rpath,"$PWD/$build"

allocations() { "$program" "$@"; }
system_calls() {
    local log=$program.strace
    strace -f -c -U calls,name -o "$log" "$program" "$@" >/dev/null
    awk '$2 == "total" { print $1 }' "$log"
}
difference() { # allocations or system_calls, how many more builds, [faulty or checked]
    local count=$1 builds=$2; shift 2
    local base; base=$("$count" $few "$@")
    echo $(($("$count" $((few + builds)) "$@") - base))
}

a=$(difference allocations $more)
s=$(difference system_calls $more)
checked_a=$(difference allocations $more checked)
checked_s=$(difference system_calls $more checked)
faulty_a=$(difference allocations 1000 faulty)
faulty_s=$(difference system_calls 1000 faulty)
needs=$(readelf -d "$build/libgdnmeta.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' | xargs)
echo "audit: $more more builds: allocations $a, system calls $s"
echo "audit: $more more builds that check and poison their outputs: allocations $checked_a, system calls $checked_s"
echo "audit: 1000 more builds that each allocate and call the system once: allocations $faulty_a, system calls $faulty_s"
echo "audit: the library needs $needs"
[ "$a" = 0 ] && [ "$s" = 0 ] && [ "$checked_a" = 0 ] && [ "$checked_s" = 0 ] &&
    [ "$faulty_a" -ge 1000 ] && [ "$faulty_s" -ge 1000 ] && [ "$needs" = libc.so.6 ]
