/* protocols.h: the kinds of contests there are. A new one is a folder, and its line here: meson.build finds the folder
 * by the line, and the simulation the worlds in which it is tried (tests/sim/NAME). See docs/protocols.md.
 */
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
