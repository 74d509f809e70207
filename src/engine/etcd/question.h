/* question.h: the request that shows whether etcd answers, and whether the user may use the namespace: a Range of the
 * namespace's own key. (Maintenance/Status needs the root role from etcd 3.5.28 on.) */
#ifndef ETCD_QUESTION_H
#define ETCD_QUESTION_H

#include "engine/etcd/etcd.pb-c.h"
#include "engine/etcd/url.h"

/* Not a record: put for each session, whose number is the revision of that put. */
#define SESSION_KEY "session"

struct question {
    Etcdserverpb__RangeRequest range;
    char *key;
};

/* `of_member`: the member answers for itself; else only together with a majority of the cluster. */
void question_init(struct question *question, const struct etcd_url *url, bool of_member);
void question_release(struct question *question);

#endif
