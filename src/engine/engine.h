/* engine.h: which engine a URL means.
 *
 * `memory` and `local` are built in. Any other scheme is a file, libbaton-SCHEME.so, loaded when it is first used, so
 * that a user of one engine needs the client library of that one only. It is looked for in $BATON_ENGINE_DIR if that
 * is set (and nowhere else), else in the directory that the build was configured with. A loaded engine stays loaded.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include "baton/engine.h"

#define ENGINE_SCHEME_MAX 32 /* bytes of a scheme */

/* The engine of url's scheme; it lives as long as the process. NULL with BATON_INVALID (no scheme, an impossible one),
 * BATON_UNSUPPORTED (no such engine, with the list of those there are), or what loading it said. Any thread. */
const struct baton_engine_ops *engine_find(const char *url, struct baton_error *err);

#endif
