#!/bin/sh
# object-store.sh: put an object into a store, unless a writer of a newer term was there.
#
#     BATON_TERM=7 object-store.sh https://store/bucket/state FILE
#
# For any store that does a PUT only if the object is still the one that was read: HTTP's If-Match and If-None-Match
# (RFC 9110, section 13), as WebDAV servers, S3 and what speaks its language do. The term is the object's first line.
# Whoever writes must write so; readers skip it. Do not keep it in the object's metadata instead, unless each write
# changes what the condition is about (a generation of Google's store, an ETag of Azure's): S3's ETag is a checksum of
# the content alone, and does not tell two terms that have written the same.
#
# A writer that stands still between its look and its PUT finds another ETag when it goes on: 412, nothing is written.
# Then it looks again, and sees the newer term. Exit status: 75 when the term is over.
set -eu
url=$1
file=$2
term=${BATON_TERM:?is not set: run this under baton run}
case $term in
'' | *[!0-9]*)
    echo "object-store: BATON_TERM is '$term', which is no term" >&2
    exit 64
    ;;
esac
seen=$(mktemp -d)
trap 'rm -rf "$seen"' EXIT
for attempt in 1 2 3 4 5; do
    status=$(curl -sS --max-time 10 -D "$seen/headers" -o "$seen/object" -w '%{http_code}' "$url")
    case $status in
    200)
        etag=$(tr -d '\r' <"$seen/headers" | sed -n 's/^[Ee][Tt][Aa][Gg]: *//p')
        newest=$(sed -n '1s/^baton-term: \([0-9]*\)$/\1/p' "$seen/object")
        condition="If-Match: $etag"
        ;;
    404)
        newest=0
        condition='If-None-Match: *'
        ;;
    *)
        echo "object-store: $url answers $status" >&2
        exit 69
        ;;
    esac
    if [ "${newest:-0}" -gt "$term" ]; then
        echo "object-store: term $term is over: a writer of term $newest was here" >&2
        exit 75
    fi
    # The content is read once: it may be a pipe.
    [ -f "$seen/new" ] || { echo "baton-term: $term" && cat "$file"; } >"$seen/new"
    status=$(curl -sS --max-time 10 -o /dev/null -w '%{http_code}' -H "$condition" -T "$seen/new" "$url")
    case $status in
    200 | 201 | 204) exit 0 ;;
    412) echo "object-store: somebody else has written (attempt $attempt): looking again" >&2 ;;
    *)
        echo "object-store: $url answers $status" >&2
        exit 69
        ;;
    esac
done
echo "object-store: others write all the time: gave up" >&2
exit 75
