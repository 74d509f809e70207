/* protocols.c: from a kind to its protocol. */
#include "core/protocol.h"

#define PROTOCOL_OF_KIND(kind, name) [CONTEST_##kind] = &name##_protocol,
static const struct protocol *const protocols[] = {PROTOCOLS(PROTOCOL_OF_KIND)};
#undef PROTOCOL_OF_KIND

const struct protocol *protocol_of(enum contest_kind kind)
{
    assert((size_t)kind < COUNT_OF(protocols));
    return protocols[kind];
}
