/* url.h:
 * etcd://HOST[:PORT][,HOST[:PORT]...][/NAMESPACE][?ca=FILE&cert=FILE&key=FILE&tls=yes&user=NAME&password-file=FILE]
 *
 * A URL names files and never holds a secret, since others see it in `ps`, in logs and in a command's environment.
 */
#ifndef ETCD_URL_H
#define ETCD_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "baton/error.h"

#define ENDPOINTS_MAX 16
#define PASSWORD_MAX 1024 /* bytes of a password */

struct etcd_url {
    char *endpoints[ENDPOINTS_MAX]; /* "host:port" */
    size_t count;
    char *prefix; /* of every key: "NAMESPACE/" */
    bool tls;
    char *ca, *cert, *key; /* files; NULL: none */
    char *user, *password_file;
};

/* 0, or -1 with err (BATON_INVALID): what of the URL is wrong. Files are not looked at. */
int etcd_url_parse(const char *url, struct etcd_url *ret, struct baton_error *err);
void etcd_url_release(struct etcd_url *url);

/* The password: the file's first line. 0, or -1 with err. */
int etcd_password_read(const struct etcd_url *url, char password[PASSWORD_MAX], struct baton_error *err);
/* Can each file that the URL names be read? 0, or -1 with err. */
int etcd_files_check(const struct etcd_url *url, struct baton_error *err);

#endif
