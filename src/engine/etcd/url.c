/* url.c: parses the URL, and reads the files that it names. */
#include "engine/etcd/url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "base/url.h"

#define SCHEME "etcd://"
#define PORT "2379" /* etcd's own default */
#define NAMESPACE "baton"
#define NAMESPACE_MAX 128

static int wrong(const char *url, struct baton_error *err, const char *why)
{
    char shown[URL_SHOWN_MAX];
    return error_set(err, BATON_INVALID, "URL '%s' is not legal: %s, as in etcd://h1:2379,h2:2379/namespace?ca=FILE",
                     url_shown(url, shown), why);
}

/* ---- endpoints ---- */

static bool legal_host(const char *host, size_t length)
{
    bool six = length > 2 && host[0] == '[' && host[length - 1] == ']';
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)host[i]) && strchr(six ? ".:[]%" : ".-_", host[i]) == NULL)
            return false;
    return length > 0 && length <= 255;
}

static bool legal_port(const char *port)
{
    char *end;
    unsigned long number = strtoul(port, &end, 10);
    return isdigit((unsigned char)port[0]) && *end == '\0' && number > 0 && number < 65536;
}

static const char *add_endpoint(struct etcd_url *url, char *text)
{
    char *colon = strrchr(text, ':'), *bracket = strrchr(text, ']');
    if (colon != NULL && bracket != NULL && colon < bracket)
        colon = NULL; /* it is of an IPv6 address */
    size_t length = colon != NULL ? (size_t)(colon - text) : strlen(text);
    if (!legal_host(text, length))
        return "a host name or address is missing or not legal";
    if (colon != NULL && !legal_port(colon + 1))
        return "a port is a number from 1 to 65535";
    if (url->count == ENDPOINTS_MAX)
        return "it names more than 16 endpoints";
    url->endpoints[url->count++] = mem_format("%.*s:%s", (int)length, text, colon != NULL ? colon + 1 : PORT);
    return NULL;
}

static const char *take_endpoints(struct etcd_url *url, char *text)
{
    const char *why = strchr(text, '@') != NULL ? "a user is given as ?user=NAME&password-file=FILE" : NULL;
    for (char *next; text != NULL && why == NULL; text = next) {
        next = strchr(text, ',');
        if (next != NULL)
            *next++ = '\0';
        why = add_endpoint(url, text);
    }
    return why;
}

static const char *take_namespace(struct etcd_url *url, const char *text)
{
    size_t length = strlen(text);
    while (length > 0 && text[length - 1] == '/')
        length--;
    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("._-:@+/", text[i]) == NULL)
            return "a namespace has letters, digits and . _ - : @ + /";
    if (length > NAMESPACE_MAX)
        return "its namespace has more than 128 bytes";
    url->prefix = length > 0 ? mem_format("%.*s/", (int)length, text) : mem_text(NAMESPACE "/");
    return NULL;
}

/* ---- parameters ---- */

static int digit_of(char c)
{
    return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* %XX, in place (RFC 3986, 2.1). */
static bool decode(char *text)
{
    char *to = text;
    for (; *text != '\0'; text++) {
        if (*text != '%') {
            *to++ = *text;
            continue;
        }
        if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
            return false;
        *to = (char)(16 * digit_of(text[1]) + digit_of(text[2]));
        if (*to++ == '\0')
            return false;
        text += 2;
    }
    *to = '\0';
    return true;
}

static const char *take_parameter(struct etcd_url *url, char *name)
{
    const struct {
        const char *name;
        char **value;
    } known[] = {{"ca", &url->ca},
                 {"cert", &url->cert},
                 {"key", &url->key},
                 {"user", &url->user},
                 {"password-file", &url->password_file}};
    char *value = strchr(name, '=');
    if (value == NULL)
        return "a parameter is NAME=VALUE";
    *value++ = '\0';
    if (*value == '\0' || !decode(value))
        return "a parameter is empty or has a wrong % sequence";
    if (strcmp(name, "password") == 0)
        return "a password does not belong into a URL, which others can see: write it into a file and give "
               "password-file=FILE";
    if (strcmp(name, "tls") == 0) {
        url->tls = strcmp(value, "yes") == 0;
        return url->tls || strcmp(value, "no") == 0 ? NULL : "tls is yes or no";
    }
    for (size_t i = 0; i < COUNT_OF(known); i++) {
        if (strcmp(name, known[i].name) != 0)
            continue;
        if (*known[i].value != NULL)
            return "a parameter is given twice";
        *known[i].value = mem_text(value);
        return NULL;
    }
    return "the parameters are ca, cert, key, tls, user and password-file";
}

static const char *take_parameters(struct etcd_url *url, char *text)
{
    const char *why = NULL;
    for (char *next; text != NULL && *text != '\0' && why == NULL; text = next) {
        next = strchr(text, '&');
        if (next != NULL)
            *next++ = '\0';
        why = take_parameter(url, text);
    }
    if (why != NULL)
        return why;
    if ((url->cert == NULL) != (url->key == NULL))
        return "cert and key belong together";
    if ((url->user == NULL) != (url->password_file == NULL))
        return "user and password-file belong together";
    url->tls = url->tls || url->ca != NULL || url->cert != NULL;
    return NULL;
}

int etcd_url_parse(const char *text, struct etcd_url *ret, struct baton_error *err)
{
    struct etcd_url url = {0};
    if (!text_starts(text, SCHEME))
        return wrong(text, err, "after etcd: come two slashes and an endpoint");
    char *copy = mem_text(text + strlen(SCHEME));
    char *query = strchr(copy, '?');
    if (query != NULL)
        *query++ = '\0';
    char *space = strchr(copy, '/');
    if (space != NULL)
        *space++ = '\0';
    const char *why = take_endpoints(&url, copy);
    if (why == NULL)
        why = take_namespace(&url, space != NULL ? space : "");
    if (why == NULL)
        why = take_parameters(&url, query);
    free(copy);
    if (why != NULL) {
        etcd_url_release(&url);
        return wrong(text, err, why);
    }
    *ret = url;
    return 0;
}

void etcd_url_release(struct etcd_url *url)
{
    for (size_t i = 0; i < url->count; i++)
        free(url->endpoints[i]);
    free(url->prefix);
    free(url->ca);
    free(url->cert);
    free(url->key);
    free(url->user);
    free(url->password_file);
    *url = (struct etcd_url){0};
}

/* ---- files ---- */

int etcd_password_read(const struct etcd_url *url, char password[PASSWORD_MAX], struct baton_error *err)
{
    FILE *file = fopen(url->password_file, "re");
    if (file == NULL)
        return error_errno(err, errno, "etcd: the password file %.200s cannot be opened", url->password_file);
    bool got = fgets(password, PASSWORD_MAX, file) != NULL;
    fclose(file);
    if (got)
        password[strcspn(password, "\r\n")] = '\0';
    if (!got || password[0] == '\0')
        return error_set(err, BATON_INVALID, "etcd: the password file %.200s has no password in its first line",
                         url->password_file);
    return 0;
}

int etcd_files_check(const struct etcd_url *url, struct baton_error *err)
{
    char password[PASSWORD_MAX];
    const struct {
        const char *what, *path;
    } files[] = {{"ca", url->ca}, {"cert", url->cert}, {"key", url->key}};
    for (size_t i = 0; i < COUNT_OF(files); i++)
        if (files[i].path != NULL && access(files[i].path, R_OK) < 0)
            return error_errno(err, errno, "etcd: %s=%.200s cannot be read", files[i].what, files[i].path);
    if (url->password_file == NULL)
        return 0;
    int result = etcd_password_read(url, password, err);
    explicit_bzero(password, sizeof(password));
    return result;
}
