/* protocols.h: the kinds of contests there are. A new one is a folder, and its line here. */
#ifndef CORE_PROTOCOLS_H
#define CORE_PROTOCOLS_H

#define PROTOCOLS(PROTOCOL)                                                                                            \
    PROTOCOL(ELECTION, election)                                                                                       \
    PROTOCOL(LOCK, lock)                                                                                               \
    PROTOCOL(TASK, task)

enum contest_kind {
#define PROTOCOL_KIND(kind, name) CONTEST_##kind,
    PROTOCOLS(PROTOCOL_KIND)
#undef PROTOCOL_KIND
};

#endif
