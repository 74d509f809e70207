#!/bin/sh
# One seed is one run, to the byte: two runs print the same trace, and another seed another one. A run with a broken
# rule prints the build and the command that replays it, and that command fails in the same way.
set -eu
sim=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$sim" --seed 5 --minutes 5 --trace | sed '$d' >"$work/a"
"$sim" --seed 5 --minutes 5 --trace | sed '$d' >"$work/b"
"$sim" --seed 6 --minutes 5 --trace | sed '$d' >"$work/c"
test -s "$work/a"
cmp "$work/a" "$work/b"
! cmp -s "$work/a" "$work/c"
"$sim" --seeds 1-300 --break CLAIM_COMPARES >"$work/failure" && exit 1
replay=$(sed -n 's/^ *replay: //p' "$work/failure")
test -n "$replay"
# It says what was built: the version, the commit, the compiler.
commit=$(git -C "$(dirname "$0")" describe --always --exclude '*' 2>/dev/null || echo 'no commit')
sed -n 's/^ *build: *//p' "$work/failure" | grep -qE "^baton [0-9]+\.[0-9.]+, $commit(-dirty)?, .+$"
seed=$(sed -n 's/^FAILED seed \([0-9]*\): .*/\1/p' "$work/failure")
words=$(sed -n "s/^FAILED seed $seed: at [0-9.]* s: //p" "$work/failure")
$replay >"$work/replayed" && exit 1
grep -qF "VIOLATION $words" "$work/replayed"
