/* protocols.h: the kinds of contests there are. A new one is a folder, and its line here: meson.build finds the folder
 * by the line, and the simulation the worlds in which it is tried (tests/sim/NAME). See docs/protocols.md.
 */
#ifndef CORE_PROTOCOLS_H
#define CORE_PROTOCOLS_H

/* One that is there in the simulation's build only; all of it is in tests/sim/NAME. */
#ifdef CORE_SIMULATED
#define IN_TESTS(line) line
#else
#define IN_TESTS(line)
#endif

#define PROTOCOLS(PROTOCOL)                                                                                            \
    PROTOCOL(ELECTION, election)                                                                                       \
    PROTOCOL(LOCK, lock)                                                                                               \
    PROTOCOL(TASK, task)                                                                                               \
    PROTOCOL(GROUP, group)                                                                                             \
    IN_TESTS(PROTOCOL(BARRIER, barrier))

enum contest_kind {
#define PROTOCOL_KIND(kind, name) CONTEST_##kind,
    PROTOCOLS(PROTOCOL_KIND)
#undef PROTOCOL_KIND
};

#endif
