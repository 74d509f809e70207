/* latch.h: for engines whose clients share memory (baton_engine_ops.latch): is an entry of a queue in use? A word
 * beside the entry says so, in memory that its owner shares with all who may want its place. It needs the atomics of
 * C11; in older C, and in C++, it declares nothing.
 *
 * A client that takes a lock again and again, and is the only one that wants it, need not write each time: its entry
 * stays in the queue, and the latch says whether it is in use. Whoever comes to stand in the same queue, or removes the
 * entry, or ends its session, closes the latch first; only then does it act.
 *
 *     by the owner, at any time                by the others, one at a time (they write, so they are in line)
 *
 *     used -> free    it has stopped           used -> wanted  somebody else stands in the queue, too
 *     free -> used    it holds once more       free -> gone    ... and removes the entry
 *                                              any  -> gone    the entry is removed, or its session is over
 *
 * Each step is one compare-and-swap. The n-th time that it is taken, its token is the entry's `created` + n, and what
 * the store creates after the latch was closed has a larger `created` than its last token: whoever closes it sees to
 * that. So tokens grow from holder to holder as if each had been written.
 */
#ifndef BATON_LATCH_H
#define BATON_LATCH_H

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct baton_latch {
    _Atomic uint64_t word; /* state: 3 bits, times taken: 16, created: 45. 0: it is nobody's */
};

enum baton_latch_state { BATON_LATCH_NONE, BATON_LATCH_USED, BATON_LATCH_FREE, BATON_LATCH_WANTED, BATON_LATCH_GONE };

#define BATON_LATCH_TAKEN_MAX 0xffffU
#define BATON_LATCH_CREATED_MAX ((UINT64_C(1) << 45) - 1)

static inline uint64_t baton_latch_word(uint64_t created, uint64_t taken, enum baton_latch_state state)
{
    return created << 19 | taken << 3 | (uint64_t)state;
}

static inline enum baton_latch_state baton_latch_state(uint64_t word)
{
    return (enum baton_latch_state)(word & 7);
}

static inline uint64_t baton_latch_created(uint64_t word)
{
    return word >> 19;
}

static inline uint64_t baton_latch_last_token(uint64_t word)
{
    return (word >> 19) + (word >> 3 & BATON_LATCH_TAKEN_MAX);
}

/* From `state`, and of the entry that was created then, to the state `next`. false: it is not, or not any more. */
static inline bool baton_latch_move(struct baton_latch *latch, uint64_t created, enum baton_latch_state state,
                                    uint64_t times, enum baton_latch_state next, uint64_t *ret_word)
{
    uint64_t word = atomic_load(&latch->word);
    uint64_t taken = (word >> 3 & BATON_LATCH_TAKEN_MAX) + times;
    if (baton_latch_state(word) != state || baton_latch_created(word) != created || taken > BATON_LATCH_TAKEN_MAX)
        return false;
    *ret_word = baton_latch_word(created, taken, next);
    return atomic_compare_exchange_strong(&latch->word, &word, *ret_word);
}

/* ---- the owner ---- */

/* The owner does not use the entry: others may remove it. false: they want it already, or it is gone. */
static inline bool baton_latch_free(struct baton_latch *latch, uint64_t created)
{
    uint64_t word;
    return baton_latch_move(latch, created, BATON_LATCH_USED, 0, BATON_LATCH_FREE, &word);
}

/* The owner uses it again. The token; 0: the entry is gone, or was taken too often. */
static inline uint64_t baton_latch_take(struct baton_latch *latch, uint64_t created)
{
    uint64_t word;
    return baton_latch_move(latch, created, BATON_LATCH_FREE, 1, BATON_LATCH_USED, &word) ? baton_latch_last_token(word)
                                                                                          : 0;
}

static inline bool baton_latch_is_free(struct baton_latch *latch, uint64_t created)
{
    uint64_t word = atomic_load(&latch->word);
    return baton_latch_state(word) == BATON_LATCH_FREE && baton_latch_created(word) == created;
}

/* ---- the others: those that write to the store, one at a time ---- */

/* Somebody else wants its place. The word as it is now: wanted, and the owner must remove the entry; or gone, and
 * whoever asks must. It changes no more but to gone. */
static inline uint64_t baton_latch_want(struct baton_latch *latch)
{
    uint64_t word = atomic_load(&latch->word), next;
    do {
        enum baton_latch_state state = baton_latch_state(word);
        if (state != BATON_LATCH_USED && state != BATON_LATCH_FREE)
            return word;
        next = (word & ~UINT64_C(7)) | (state == BATON_LATCH_USED ? BATON_LATCH_WANTED : BATON_LATCH_GONE);
    } while (!atomic_compare_exchange_weak(&latch->word, &word, next));
    return next;
}

/* Its entry is going to be removed. The word: for its last token. */
static inline uint64_t baton_latch_close(struct baton_latch *latch)
{
    uint64_t word = atomic_load(&latch->word);
    while (baton_latch_state(word) != BATON_LATCH_NONE &&
           !atomic_compare_exchange_weak(&latch->word, &word, (word & ~UINT64_C(7)) | BATON_LATCH_GONE))
        ;
    return word;
}

#endif /* C11 */

#endif
