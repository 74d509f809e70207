#!/bin/sh
# scripts/check-layers finds each kind of upward include, and nothing in a tree that has none. TAP on stdout.
set -eu
check=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0
failed=0

tell() { # RESULT WORDS
    count=$((count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $count - $2"
    else
        echo "not ok $count - $2"
        failed=1
    fi
}

# FILE 'INCLUDE' WORDS: a tree with this include in this file must be refused, and the words must say so.
refused() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/include" "$work/tree/$(dirname "$1")"
    printf '/* x */\n#include %s\n' "$2" >"$work/tree/$1"
    if "$check" "$work/tree" 2>"$work/said"; then
        tell 1 "$1 must not include $2"
    elif grep -qF "$1:2: $3" "$work/said"; then
        tell 0 "$1 must not include $2"
    else
        sed 's/^/# /' "$work/said"
        tell 1 "$1 must not include $2 (other words)"
    fi
}

accepted() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/include" "$work/tree/$(dirname "$1")"
    printf '#include %s\n' "$2" >"$work/tree/$1"
    if "$check" "$work/tree" 2>"$work/said"; then
        tell 0 "$1 may include $2"
    else
        sed 's/^/# /' "$work/said"
        tell 1 "$1 may include $2"
    fi
}

refused src/base/a.c '"core/core.h"' 'base must not include core/core.h'
refused src/base/a.c '"baton/baton.h"' 'base must not include baton/baton.h: that is the client'
refused src/core/a.c '"engine/memory/store.h"' 'core must not include engine/memory/store.h'
refused src/core/a.c '"baton/engine.h"' 'core must not include baton/engine.h'
refused src/core/a.c '"base/clock.h"' 'core must not include base/clock.h: the core is told the time'
for header in uv.h time.h unistd.h pthread.h sys/stat.h curl/curl.h sqlite3.h poll.h; do
    refused src/core/a.h "<$header>" "core must not include $header: the core is pure"
done
refused src/core/a.c '"core/lock/lock.h"' 'core must not include core/lock/lock.h: the machinery knows no protocol'
refused src/core/new/a.c '"core/lock/lock.h"' 'core must not include core/lock/lock.h: it is no part below'
refused src/core/queue/a.c '"core/leadership/roster.h"' 'core must not include core/leadership/roster.h: it is no part'
refused src/engine/local/a.c '"core/view.h"' 'engine must not include core/view.h'
refused src/engine/local/a.c '"baton/baton.h"' 'engine must not include baton/baton.h'
refused src/engine/local/a.c '"engine/memory/store.h"' 'engine must not include engine/memory/store.h: it is another'
refused src/client/a.c '"cli/cli.h"' 'client must not include cli/cli.h'
refused src/process/a.c '"client/client.h"' 'process must not include client/client.h'
refused src/cli/a.c '"client/client.h"' 'cli must not include client/client.h'
refused src/cli/a.c '"core/names.h"' 'cli must not include core/names.h'
refused src/cli/a.c '"cli.h"' 'cli must not include cli.h: name it by its layer'
accepted src/engine/engine.c '"engine/local/local.h"'
accepted src/engine/local/a.c '"baton/engine.h"'
accepted src/client/a.c '"core/core.h"'
accepted src/process/a.c '"baton/baton.h"'
accepted src/cli/a.c '"process/supervisor.h"'
accepted src/core/a.c '<string.h>'
accepted src/core/new/a.c '"core/queue/queue.h"'
accepted src/core/new/a.c '"core/new/b.h"'

# The environment has one door.
mkdir -p "$work/tree/src/engine"
echo 'const char *x = getenv("HOME");' >"$work/tree/src/engine/a.c"
"$check" "$work/tree" 2>"$work/said" || :
grep -q '^src/engine/a.c:1: engine must not call getenv' "$work/said" && tell 0 "getenv is refused" ||
    tell 1 "getenv is refused"

# A folder that nobody placed is told, instead of being let through.
rm -rf "$work/tree"
mkdir -p "$work/tree/include" "$work/tree/src/new"
echo >"$work/tree/src/new/a.c"
"$check" "$work/tree" 2>/dev/null && tell 1 "an unknown folder is refused" || tell 0 "an unknown folder is refused"

# For ninja: no stamp after a violation; a stamp, and what it depends on, without one.
echo '#include "cli/cli.h"' >"$work/tree/src/new/a.c"
mv "$work/tree/src/new" "$work/tree/src/base"
"$check" "$work/tree" "$work/stamp" "$work/deps" 2>/dev/null || :
[ ! -e "$work/stamp" ] && tell 0 "no stamp after a violation" || tell 1 "no stamp after a violation"
: >"$work/tree/src/base/a.c"
"$check" "$work/tree" "$work/stamp" "$work/deps"
[ -e "$work/stamp" ] && grep -q '/src/base/a.c' "$work/deps" && tell 0 "a stamp and its dependencies" ||
    tell 1 "a stamp and its dependencies"

echo "1..$count"
exit $failed
