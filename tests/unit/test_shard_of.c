/* test_shard_of.c: which shard a key belongs to is fixed for good, and any key has one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include "core/group/shard_of.h"

/* Hashes by libxxhash 0.8.1. */
static void test_keys_have_the_shards_that_other_programs_compute(void **state)
{
    static const struct {
        const char *key;
        uint64_t hash;
        uint32_t of_64, of_1000;
    } vectors[] = {
        {"", 0xef46db3751d8e999, 25, 921},
        {"a", 0xd24ec4f1a98c6e5b, 27, 955},
        {"abc", 0x44bc2cf5ad770999, 25, 249},
        {"customer-42", 0xca6e96e956958c0f, 15, 895},
        {"0123456789abcdef0123456789abcdef", 0x642a94958e71e6c5, 5, 421},
        {"The quick brown fox jumps over the lazy dog", 0x0b242d361fda71bc, 60, 476},
        {"k\xc3\xa4se", 0xc502994011dfbb40, 0, 512},
    };
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        size_t size = strlen(vectors[i].key);
        assert_int_equal(shard_hash(vectors[i].key, size), vectors[i].hash);
        assert_int_equal(shard_of(vectors[i].key, size, 64), vectors[i].of_64);
        assert_int_equal(shard_of(vectors[i].key, size, 1000), vectors[i].of_1000);
    }
    uint8_t all[256];
    for (unsigned i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)i;
    assert_int_equal(shard_hash(all, sizeof(all)), 0x1facbe8406cd904b);
    assert_int_equal(shard_hash(NULL, 0), 0xef46db3751d8e999);
}

/* Of each length, exactly as large as its memory (for AddressSanitizer), and at each alignment the same. */
static void test_any_bytes_of_any_length_have_a_shard(void **state)
{
    for (size_t size = 0; size < 200; size++) {
        uint64_t hash = 0;
        for (size_t shift = 0; shift < 8; shift++) {
            unsigned char *memory = mem_new(size + shift + (size + shift == 0));
            for (size_t i = 0; i < size; i++)
                memory[shift + i] = (unsigned char)(255 - i * 7);
            if (shift == 0)
                hash = shard_hash(memory, size);
            assert_int_equal(shard_hash(memory + shift, size), hash);
            assert_true(shard_of(memory + shift, size, 7) < 7);
            assert_int_equal(shard_of(memory + shift, size, 1), 0);
            free(memory);
        }
    }
}

/* Chi-squared of 64,000 numbered keys over 64 shards: 63 is expected, 1 in 10,000 fair hashes has more than 113. */
static void test_numbered_keys_are_spread_evenly(void **state)
{
    static const char *const shapes[] = {"%u", "customer-%u", "%08u.example.com", "orders/2026/%u/items"};
    for (size_t shape = 0; shape < COUNT_OF(shapes); shape++) {
        unsigned counts[64] = {0};
        for (unsigned i = 0; i < 64000; i++) {
            char key[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int length = snprintf(key, sizeof(key), shapes[shape], i);
#pragma GCC diagnostic pop
            counts[shard_of(key, (size_t)length, 64)]++;
        }
        double sum = 0;
        for (size_t i = 0; i < 64; i++)
            sum += ((double)counts[i] - 1000) * ((double)counts[i] - 1000) / 1000;
        print_message("# %s: %.1f\n", shapes[shape], sum);
        assert_true(sum > 20 && sum < 113);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_have_the_shards_that_other_programs_compute),
        cmocka_unit_test(test_any_bytes_of_any_length_have_a_shard),
        cmocka_unit_test(test_numbered_keys_are_spread_evenly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
