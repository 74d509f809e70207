/* txn.c: a compare-and-set on one record, as a transaction of etcd's. */
#include <stdlib.h>

#include "engine/etcd/etcd.h"

void txn_init(struct txn *txn, const char *prefix, const struct baton_write *write)
{
    *txn = (struct txn){.request = ETCDSERVERPB__TXN_REQUEST__INIT,
                        .compare = ETCDSERVERPB__COMPARE__INIT,
                        .op = ETCDSERVERPB__REQUEST_OP__INIT,
                        .put = ETCDSERVERPB__PUT_REQUEST__INIT,
                        .removal = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT,
                        .key = mem_format("%s%s", prefix, write->key)};
    txn->compares[0] = &txn->compare;
    txn->ops[0] = &txn->op;
    txn->request.n_success = 1;
    txn->request.success = txn->ops;
    if (write->if_revision != BATON_REVISION_ANY) { /* the revision of what is not there is 0 */
        txn->compare.key = etcd_bytes(txn->key);
        txn->compare.target = ETCDSERVERPB__COMPARE__TARGET__MOD;
        txn->compare.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_MOD_REVISION;
        txn->compare.mod_revision = (int64_t)write->if_revision;
        txn->request.n_compare = 1;
        txn->request.compare = txn->compares;
    }
    if (write->kind == BATON_WRITE_PUT) {
        txn->put.key = etcd_bytes(txn->key);
        txn->put.value = etcd_bytes(write->value);
        txn->put.lease = (int64_t)write->session;
        txn->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        txn->op.request_put = &txn->put;
    } else {
        txn->removal.key = etcd_bytes(txn->key);
        txn->op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_DELETE_RANGE;
        txn->op.request_delete_range = &txn->removal;
    }
}

void txn_release(struct txn *txn)
{
    free(txn->key);
}
