/* fuzz_duration.c: any text is a duration or an error with words; a duration is within its bounds, and what is written
 * of it is read back the same. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "cli/cli.h"

#define MIN_MS 10
#define MAX_MS 3600000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = mem_text_n((const char *)data, size);
    struct baton_error err = {0};
    int64_t ms = -1, again = -1;
    char written[32];
    if (cli_duration("--ttl", text, MIN_MS, MAX_MS, &ms, &err) == 0) {
        assert(ms >= MIN_MS && ms <= MAX_MS);
        assert(cli_duration("--ttl", cli_duration_text(ms, written), 0, INT64_MAX, &again, &err) == 0);
        assert(ms == again);
    } else {
        assert(ms == -1 && err.code == BATON_INVALID && text_starts(err.text, "--ttl: "));
    }
    free(text);
    return 0;
}
