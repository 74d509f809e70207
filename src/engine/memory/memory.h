/* memory.h: the engine `memory:NAME`: namespaces that live and end with this process. For tests, and for programs that
 * want the library without a store. */
#ifndef ENGINE_MEMORY_MEMORY_H
#define ENGINE_MEMORY_MEMORY_H

#include "baton/engine.h"

extern const struct baton_engine_ops engine_memory;

#endif
