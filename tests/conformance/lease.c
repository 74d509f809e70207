/* lease.c: see lease.h. */
#include "lease.h"

#include "base/base.h"
#include "base/clock.h"

#define TTL_MS 1000
#define TTL_TRIED_MAX_MS 8000

struct lease lease_new(struct client *owner, uint32_t ttl_ms)
{
    struct lease lease = {.owner = owner, .renewed_ms = clock_now_ms()};
    lease.id = session_new(owner, ttl_ms);
    lease.ttl_ms = owner->ttl_ms;
    return lease;
}

bool may_be_over(const struct lease *lease)
{
    return clock_now_ms() - lease->renewed_ms >= (int64_t)lease->ttl_ms;
}

bool done_in_time(const struct lease *lease, const struct baton_reply *reply)
{
    if (reply->answer != BATON_ANSWER_REFUSED || !may_be_over(lease)) {
        expect_done(reply);
        return true;
    }
    expect_refused(reply, BATON_LOST);
    return false;
}

bool renewed_in_time(struct lease *lease)
{
    int64_t now_ms = clock_now_ms();
    if (!done_in_time(lease, renewal(lease->owner, lease->id)))
        return false;
    lease->renewed_ms = now_ms;
    return true;
}

bool has_ended_with_its_ttl(const struct lease *lease, struct client *observer)
{
    if (view_get(observer, 0, "e/bound") == NULL && may_be_over(lease))
        return false;
    assert_non_null(view_get(observer, 0, "e/bound"));
    wait_key(observer, 0, "e/bound", false);
    int64_t lived_ms = observer->views[0].changed_ms - lease->renewed_ms;
    if (lived_ms < (int64_t)lease->ttl_ms)
        fail_msg("ended %lld ms after its last renewal, with a ttl of %u", (long long)lived_ms, lease->ttl_ms);
    return true;
}

void within_a_ttl(bool (*story)(struct world *w, uint32_t ttl_ms), struct world *w)
{
    uint32_t ttl_ms = TTL_MS;
    while (!story(w, ttl_ms)) {
        ttl_ms *= 2;
        assert_true(ttl_ms <= TTL_TRIED_MAX_MS);
    }
}
