/* engine.h: finds the engine that a URL means. The contract of an engine is in baton/engine.h. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "baton/engine.h"

/* The engine for the URL's scheme: built in (local, memory), or loaded from libbaton-SCHEME.so in $BATON_ENGINE_DIR,
 * or else the folder `baton` beside libbaton, or where a build puts it. NULL with err: BATON_INVALID (no scheme),
 * BATON_UNSUPPORTED (unknown, or it cannot be loaded). What is loaded stays loaded. Safe from any thread. */
const struct baton_engine_ops *engine_find(const char *url, struct baton_error *err);

extern const struct baton_engine_ops engine_local;

#endif
