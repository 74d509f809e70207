/* question.c: makes the Range of question.h. */
#include "engine/etcd/question.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"

void question_init(struct question *question, const struct etcd_url *url, bool of_member)
{
    *question = (struct question){.range = ETCDSERVERPB__RANGE_REQUEST__INIT};
    question->key = mem_format("%s%s", url->prefix, SESSION_KEY);
    question->range.key = (ProtobufCBinaryData){.len = strlen(question->key), .data = (uint8_t *)question->key};
    question->range.count_only = true;
    question->range.serializable = of_member;
}

void question_release(struct question *question)
{
    free(question->key);
}
