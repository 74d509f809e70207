/* test_address.c: looking up names when the resolver takes its time: this program's own getaddrinfo stands for one that
 * waits for servers that do not answer. */
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/base.h"
#include "relay/address.h"

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static int waiting;
static bool answers;

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret)
{
    pthread_mutex_lock(&mutex);
    waiting++;
    pthread_cond_broadcast(&moved);
    while (!answers)
        pthread_cond_wait(&moved, &mutex);
    pthread_mutex_unlock(&mutex);
    return EAI_AGAIN;
}

static void test_a_slow_resolver_does_not_make_threads_without_end(void **state)
{
    struct address addresses[ADDRESSES_MAX];
    struct baton_error err;
    int fds[LOOK_UPS_MAX];
    size_t count;
    for (int i = 0; i < LOOK_UPS_MAX; i++) {
        fds[i] = address_look_up("db.example:5432", &err);
        assert_true(fds[i] >= 0);
    }
    assert_int_equal(address_look_up("db.example:5432", &err), -1);
    assert_int_equal(err.code, BATON_FULL);
    assert_string_equal(err.text, "cannot look 'db.example:5432' up: 16 others are being looked up");
    pthread_mutex_lock(&mutex);
    while (waiting < LOOK_UPS_MAX)
        pthread_cond_wait(&moved, &mutex);
    answers = true;
    pthread_cond_broadcast(&moved);
    pthread_mutex_unlock(&mutex);
    for (int i = 0; i < LOOK_UPS_MAX; i++) {
        assert_int_equal(address_take(fds[i], addresses, &count, &err), -1);
        assert_int_equal(err.code, BATON_UNAVAILABLE);
    }
    int fd = address_look_up("db.example:5432", &err);
    assert_true(fd >= 0); /* there is room again */
    assert_int_equal(address_take(fd, addresses, &count, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_slow_resolver_does_not_make_threads_without_end)};
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
