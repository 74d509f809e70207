/* record.c: see record.h. */
#include "core/group/record.h"

#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "core/json.h"

/* ---- a member ---- */

static bool read_tags(struct member *member, const json_t *tags)
{
    size_t i;
    const json_t *tag;
    if (tags == NULL)
        return true;
    if (!json_is_array(tags) || json_array_size(tags) > TAGS_MAX)
        return false;
    member->tags = mem_new((json_array_size(tags) + 1) * sizeof(member->tags[0]));
    json_array_foreach(tags, i, tag)
    {
        if (!json_is_string(tag) || name_check("tag", json_string_value(tag), NULL) < 0)
            return false;
        member->tags[member->tag_count++] = mem_text(json_string_value(tag));
    }
    return true;
}

static bool read_candidate(struct candidate *candidate, const json_t *object)
{
    candidate->id = json_field_text(object, "id", TEXT_MAX);
    candidate->address = json_field_text(object, "address", TEXT_MAX);
    candidate->host = json_field_text(object, "host", TEXT_MAX);
    candidate->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    return candidate->id != NULL && name_check("id", candidate->id, NULL) == 0 && candidate->address != NULL &&
           candidate->host != NULL;
}

void *member_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct member *member = mem_new(sizeof(*member));
    int64_t weight = json_field_number(object, "weight", 1), max = json_field_number(object, "max", 0);
    bool good = read_candidate(&member->candidate, object) && read_tags(member, json_object_get(object, "tags")) &&
                shards_read(&member->declares, json_object_get(object, "declares"));
    member->split = json_field_text(object, "split", SPLIT_TEXT_MAX - 1);
    member->weight = (uint32_t)weight;
    member->max = (uint32_t)max;
    member->standby = json_is_true(json_object_get(object, "standby"));
    member->drain = json_is_true(json_object_get(object, "drain"));
    json_decref(object);
    if (good && member->split != NULL && weight >= 1 && weight <= PLAN_MEMBER_WEIGHT_MAX && max >= 0 &&
        max <= SHARDS_MAX)
        return member;
    error_set(err, BATON_CORRUPT,
              "is not the record of a member (\"id\", \"weight\", \"max\", \"tags\", \"split\" or \"declares\" is not "
              "right)");
    member_free(member);
    return NULL;
}

void member_free(void *object)
{
    struct member *member = object;
    if (member == NULL)
        return;
    free(member->candidate.id);
    free(member->candidate.address);
    free(member->candidate.host);
    free(member->split);
    for (size_t i = 0; i < member->tag_count; i++)
        free(member->tags[i]);
    free(member->tags);
    shards_release(&member->declares);
    free(member);
}

/* Only what differs from the usual is written. */
static void set_unless(json_t *object, const char *name, json_t *value, bool usual)
{
    if (usual) {
        json_object_del(object, name);
        json_decref(value);
    } else {
        json_object_set_new(object, name, value);
    }
}

char *member_write(const char *before, const struct member *member)
{
    json_t *object = json_record_again(before), *tags = json_array();
    json_set_text(object, "id", member->candidate.id);
    set_unless(object, "address", json_string(member->candidate.address), member->candidate.address[0] == '\0');
    json_set_text(object, "host", member->candidate.host);
    json_object_set_new(object, "since", json_integer(member->candidate.since_wall_ms));
    set_unless(object, "weight", json_integer(member->weight), member->weight == 1);
    set_unless(object, "max", json_integer(member->max), member->max == 0);
    for (size_t i = 0; i < member->tag_count; i++)
        json_array_append_new(tags, json_string(member->tags[i]));
    set_unless(object, "tags", tags, member->tag_count == 0);
    set_unless(object, "standby", json_true(), !member->standby);
    set_unless(object, "drain", json_true(), !member->drain);
    json_set_text(object, "split", member->split);
    json_object_set_new(object, "declares", shards_write(&member->declares));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

/* ---- how many shards there are ---- */

void *split_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    int64_t count = json_field_number(object, "count", 0), chunk = json_field_number(object, "chunk", CHUNK_SHARDS);
    json_decref(object);
    if (count < 1 || count > SHARDS_MAX || chunk < 1 || chunk > CHUNK_SHARDS) {
        error_set(err, BATON_CORRUPT, "does not say how many shards there are (\"count\" or \"chunk\" is not right)");
        return NULL;
    }
    struct split *split = mem_new(sizeof(*split));
    *split = (struct split){.count = (uint32_t)count, .chunk = (uint32_t)chunk};
    return split;
}

char *split_write(const char *before, const struct split *split)
{
    json_t *object = json_record_again(before);
    json_object_set_new(object, "count", json_integer(split->count));
    set_unless(object, "chunk", json_integer(split->chunk), split->chunk == CHUNK_SHARDS);
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

/* ---- the plan ---- */

void *plan_part_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    json_t *owners = json_object_get(object, "owners"), *field;
    struct plan_part *part = mem_new(sizeof(*part));
    part->owners = mem_new((json_object_size(owners) + 1) * sizeof(part->owners[0]));
    int64_t term = json_field_number(object, "term", -1);
    bool good = json_is_object(owners) && term >= 0 && (uint64_t)term <= TERM_MAX;
    part->term = (uint64_t)term;
    const char *id;
    struct shards taken = {0};
    json_object_foreach(owners, id, field)
    {
        struct plan_owner *owner = &part->owners[part->owner_count++];
        owner->id = mem_text(id);
        good = shards_read(&owner->shards, field) && good;
        shards_drop_all(&owner->shards, &taken); /* whoever is named first has it */
        shards_add_all(&taken, &owner->shards);
    }
    shards_release(&taken);
    json_decref(object);
    if (good)
        return part;
    error_set(err, BATON_CORRUPT, "is not a part of a plan (\"owners\" or \"term\" is not right)");
    plan_part_free(part);
    return NULL;
}

void plan_part_free(void *object)
{
    struct plan_part *part = object;
    if (part == NULL)
        return;
    for (size_t i = 0; i < part->owner_count; i++) {
        free(part->owners[i].id);
        shards_release(&part->owners[i].shards);
    }
    free(part->owners);
    free(part);
}

char *plan_part_write(const char *before, const struct plan_part *part)
{
    json_t *object = json_record_again(before), *owners = json_object();
    for (size_t i = 0; i < part->owner_count; i++)
        if (!shards_empty(&part->owners[i].shards))
            json_object_set_new(owners, part->owners[i].id, shards_write(&part->owners[i].shards));
    json_object_set_new(object, "term", json_integer((json_int_t)part->term));
    json_object_set_new(object, "owners", owners);
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}

/* ---- who will return ---- */

void *returns_read(const char *value, struct baton_error *err)
{
    json_t *object = json_record_read(value, err);
    if (object == NULL)
        return NULL;
    struct returns *returns = mem_new(sizeof(*returns));
    returns->id = json_field_text(object, "id", TEXT_MAX);
    returns->cid = json_field_text(object, "cid", TEXT_MAX);
    returns->within_ms = json_field_between(object, "within_ms", 0, WALL_MS_MAX);
    returns->since_wall_ms = json_field_between(object, "since", 0, WALL_MS_MAX);
    json_decref(object);
    if (returns->id != NULL && returns->id[0] != '\0' && returns->cid != NULL)
        return returns;
    error_set(err, BATON_CORRUPT, "does not say who will return (\"id\" or \"cid\" is not right)");
    returns_free(returns);
    return NULL;
}

void returns_free(void *object)
{
    struct returns *returns = object;
    if (returns == NULL)
        return;
    free(returns->id);
    free(returns->cid);
    free(returns);
}

char *returns_write(const struct returns *returns)
{
    json_t *object = json_record_new();
    json_set_text(object, "id", returns->id);
    json_set_text(object, "cid", returns->cid);
    json_object_set_new(object, "within_ms", json_integer(returns->within_ms));
    json_object_set_new(object, "since", json_integer(returns->since_wall_ms));
    char *value = json_record_write(object);
    json_decref(object);
    return value;
}
