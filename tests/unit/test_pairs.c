/* test_pairs.c: tests/fuzz/fuzz_pair.c with inputs that follow from a number: the same in each run. */
#include <stdint.h>
#include <stdio.h>

#define INPUTS 10000
#define INPUT_BYTES 600

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* splitmix64 */
static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

/* All bytes, only those of text, or few of them, NUL among these. */
static uint8_t byte_of(uint64_t random, uint64_t kind)
{
    static const uint8_t few[] = {0, 0, 1, '"', '\\', '{', '[', ':', 0x7f, 0x80, 0xc3, 0xa4, 0xed, 0xa0, 0xff, 'a'};
    switch (kind) {
    case 0:
        return (uint8_t)random;
    case 1:
        return (uint8_t)(' ' + random % 95);
    default:
        return few[random % sizeof(few)];
    }
}

int main(void)
{
    printf("1..1\n");
    for (uint64_t seed = 1; seed <= INPUTS; seed++) {
        uint64_t state = seed, kind = next(&state) % 3;
        uint8_t data[INPUT_BYTES];
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = byte_of(next(&state), kind);
        data[0] = (uint8_t)seed;
        LLVMFuzzerTestOneInput(data, sizeof(data)); /* a fault stops the program, and says where */
    }
    printf("ok 1 - what is written of a record is read back equal, %d times\n", INPUTS);
    return 0;
}
