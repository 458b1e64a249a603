/*-------------------------------------------------------------------------
 *
 * message_read.c
 *	  One Segment message, if it is plain.
 *
 * Plain is a message that says nothing unusual: its time is "timestamp", its ids
 * are texts or numbers, there is nothing wrong with it.  All others are left to
 * _read_message (24_ingest.sql), which knows the whole specification; whatever is
 * changed there about a plain message has to be changed here.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_read.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "core/compat.h"
#include "core/iso_time.h"
#include "store/message_read.h"
#include "types/identifier.h"

#define MAX_CHARACTERS 200		/* of an event name and a message id */
#define BLANKS " \t\n\r"		/* around an id */

/* 1900-01-01 and 2200-01-01, as _check_event_time (22_event.sql) */
#define FIRST_EVENT ((TimestampTz) -36524 * USECS_PER_DAY)
#define BEHIND_LAST_EVENT ((TimestampTz) 73049 * USECS_PER_DAY)

/* A member of an object; NULL when there is none or it is null. */
static JsonbValue *
get(JsonbContainer *object, const char *key, JsonbValue *into)
{
	JsonbValue *v = getKeyJsonValueFromContainer(object, key, strlen(key), into);

	return v == NULL || v->type == jbvNull ? NULL : v;
}

/* A member that is an object, or missing: false if it is anything else. */
static bool
get_object(JsonbContainer *object, const char *key, Jsonb **into)
{
	JsonbValue	buf;
	JsonbValue *v = get(object, key, &buf);

	*into = NULL;
	if (v == NULL)
		return true;
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		return false;
	*into = JsonbValueToJsonb(v);
	return true;
}

static bool
get_string(JsonbContainer *object, const char *key, char **s, int *len)
{
	JsonbValue	buf;
	JsonbValue *v = get(object, key, &buf);

	*s = NULL;
	*len = 0;
	if (v == NULL)
		return true;
	if (v->type != jbvString)
		return false;
	*s = v->val.string.val;
	*len = v->val.string.len;
	return true;
}

static void
trim(char **s, int *len, const char *blanks)
{
	while (*len > 0 && strchr(blanks, (*s)[*len - 1]))
		(*len)--;
	while (*len > 0 && strchr(blanks, **s))
	{
		(*s)++;
		(*len)--;
	}
}

/* An id, as _json_id has it: a text or a number, without blanks around; empty when there is none. */
static bool
get_id(JsonbContainer *object, const char *key, char **s, int *len)
{
	JsonbValue	buf;
	JsonbValue *v = get(object, key, &buf);

	*s = NULL;
	*len = 0;
	if (v == NULL)
		return true;
	if (v->type == jbvNumeric)
	{
		*s = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(v->val.numeric)));
		*len = strlen(*s);
		return true;
	}
	if (v->type != jbvString)
		return false;
	*s = v->val.string.val;
	*len = v->val.string.len;
	trim(s, len, BLANKS);
	return true;
}

static bool
add_identifier(Message *m, const char *s, size_t len)
{
	char		out[MCDP_IDENTIFIER_MAX];
	size_t		out_len = sizeof(out);
	McdpBadInput bad;

	if (!mcdp_identifier_normalise(s, len, out, &out_len, &bad))
		return false;
	if (m->num_ids == m->max_ids)
	{
		m->max_ids = Max(2 * m->max_ids, MESSAGE_IDS);
		m->ids = m->ids ? repalloc_huge(m->ids, m->max_ids * sizeof(Datum)) : palloc(m->max_ids * sizeof(Datum));
	}
	m->ids[m->num_ids++] = PointerGetDatum(cstring_to_text_with_len(out, out_len));
	return true;
}

/* namespace[.encoding]:id */
static bool
add_parts(Message *m, const char *namespace, int ns_len, const char *encoding, int enc_len, const char *id, int len)
{
	char		in[MCDP_IDENTIFIER_MAX];
	int			n = 0;

	if (ns_len + enc_len + len + 2 > sizeof(in))
		return false;
	memcpy(in, namespace, ns_len);
	n += ns_len;
	if (enc_len > 0)
	{
		in[n++] = '.';
		memcpy(in + n, encoding, enc_len);
		n += enc_len;
	}
	in[n++] = ':';
	memcpy(in + n, id, len);
	return add_identifier(m, in, n + len);
}

/* An id in this place of the object: false when it is not a plain one. */
static bool
add_id(Message *m, JsonbContainer *object, const char *key, const char *namespace)
{
	char	   *s;
	int			len;

	if (object == NULL)
		return true;
	return get_id(object, key, &s, &len) && (len == 0 || add_parts(m, namespace, strlen(namespace), NULL, 0, s, len));
}

/* {email, phone} */
static bool
add_contacts(Message *m, JsonbContainer *traits)
{
	bool		plain = add_id(m, traits, "email", "email");

	return add_id(m, traits, "phone", "phone") && plain;
}

/* {id, type, collection, encoding} */
static bool
add_external_id(Message *m, JsonbContainer *object)
{
	char	   *id;
	char	   *type;
	char	   *collection;
	char	   *encoding;
	int			len;
	int			type_len;
	int			collection_len;
	int			encoding_len;

	if (!get_id(object, "id", &id, &len) || !get_id(object, "type", &type, &type_len) ||
		!get_string(object, "collection", &collection, &collection_len) ||
		!get_id(object, "encoding", &encoding, &encoding_len))
		return false;
	if (len == 0)
		return true;
	if (collection_len == 8 && memcmp(collection, "accounts", 8) == 0)
	{
		type = "account";
		type_len = 7;
	}
	if (encoding_len == 4 && memcmp(encoding, "none", 4) == 0)
		encoding_len = 0;
	return add_parts(m, type, type_len, encoding, encoding_len, id, len);
}

static bool
add_external_ids(Message *m, JsonbContainer *context)
{
	JsonbValue	buf;
	JsonbValue *v = get(context, "externalIds", &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;
	bool		plain = true;

	if (v == NULL)
		return true;
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data) || JsonContainerIsScalar(v->val.binary.data))
		return false;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &buf, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			plain &= buf.type == jbvBinary && JsonContainerIsObject(buf.val.binary.data) && add_external_id(m, buf.val.binary.data);
	}
	return plain;
}

/* An array of texts. */
static bool
add_identifiers(Message *m, JsonbContainer *root, const char *key)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer(root, key, strlen(key), &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;
	bool		plain = true;

	if (v == NULL)
		return true;
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data) || JsonContainerIsScalar(v->val.binary.data))
		return false;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &buf, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM)
			plain &= buf.type == jbvString && add_identifier(m, buf.val.string.val, buf.val.string.len);
	}
	return plain;
}

/* What is not from 1900 to 2199 is left to _read_message. */
static bool
read_time(const char *s, int len, TimestampTz *at)
{
	return mcdp_iso_time(s, len, at) && *at >= FIRST_EVENT && *at < BEHIND_LAST_EVENT;
}

/* "name" and "category" of a page or screen are properties of its event. */
static void
add_properties(JsonbContainer *root, Message *m)
{
	const char *keys[2] = {"name", "category"};
	JsonbValue	found[2];
	bool		is_there[2];
	JsonbParseState *state = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	for (int i = 0; i < 2; i++)
		is_there[i] = getKeyJsonValueFromContainer(root, keys[i], strlen(keys[i]), &found[i]) != NULL;
	if (!is_there[0] && !is_there[1])
		return;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (m->properties)
	{
		it = JsonbIteratorInit(&m->properties->root);
		(void) JsonbIteratorNext(&it, &v, true);
		while ((token = JsonbIteratorNext(&it, &v, true)) == WJB_KEY || token == WJB_VALUE)
			pushJsonbValue(&state, token, &v);
	}
	for (int i = 0; i < 2; i++)
	{
		if (!is_there[i])
			continue;
		v.type = jbvString;
		v.val.string.val = unconstify(char *, keys[i]);
		v.val.string.len = strlen(keys[i]);
		pushJsonbValue(&state, WJB_KEY, &v);
		pushJsonbValue(&state, WJB_VALUE, &found[i]);
	}
	m->properties = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static MessageKind
kind_of_type(const char *type, int len)
{
	static const struct
	{
		const char *type;
		MessageKind kind;
	}			known[] = {
		{"track", MESSAGE_EVENT},
		{"page", MESSAGE_EVENT},
		{"screen", MESSAGE_EVENT},
		{"identify", MESSAGE_IDENTIFY},
		{"group", MESSAGE_GROUP},
		{"alias", MESSAGE_ALIAS},
	};

	for (int i = 0; i < (int) lengthof(known); i++)
		if (len == (int) strlen(known[i].type) && memcmp(type, known[i].type, len) == 0)
			return known[i].kind;
	return MESSAGE_OTHER;
}

void
mcdp_read_message(Jsonb *payload, Message *m)
{
	JsonbContainer *root = &payload->root;
	JsonbValue	buf;
	char	   *s;
	char	   *type;
	int			len;
	int			type_len;
	int			num;
	MessageKind kind;
	Jsonb	   *traits;
	Jsonb	   *device = NULL;

	m->kind = MESSAGE_OTHER;
	if (!JB_ROOT_IS_OBJECT(payload) || !get_id(root, "messageId", &s, &len))
		return;
	if (len > 0)
		m->message_id = cstring_to_text_with_len(s, len);
	if (pg_mbstrlen_with_len(s, len) > MAX_CHARACTERS)
		return;

	/* what changes the meaning of a message */
	if (get(root, "batch", &buf))
		return;
	if (!get_string(root, "type", &type, &type_len) || type == NULL)
		return;
	kind = kind_of_type(type, type_len);
	if (kind == MESSAGE_OTHER)
		return;
	if (!get_string(root, "timestamp", &s, &len) || s == NULL || !read_time(s, len, &m->at))
		return;
	if (!get_object(root, "properties", &m->properties) || !get_object(root, "context", &m->context) ||
		!get_object(root, "traits", &m->traits))
		return;

	if (!get_string(root, "source", &s, &len))
		return;
	m->source = s ? cstring_to_text_with_len(s, len) : NULL;

	/* who */
	if (!add_id(m, root, "userId", "user_id") || !add_id(m, root, "anonymousId", "anonymous_id"))
		return;
	if (m->context)
	{
		JsonbContainer *context = &m->context->root;

		if (!get_object(context, "device", &device) || !add_id(m, device ? &device->root : NULL, "id", "device_id") ||
			!add_external_ids(m, context) || !get_object(context, "traits", &traits))
			return;
		if (kind == MESSAGE_IDENTIFY && traits && m->traits)
			return;				/* which of them has the address? */
		if (traits && !add_contacts(m, &traits->root))
			return;
	}
	if (kind == MESSAGE_IDENTIFY && m->traits && !add_contacts(m, &m->traits->root))
		return;
	if (!add_identifiers(m, root, "identifiers") || (m->num_ids == 0 && kind != MESSAGE_GROUP) || m->num_ids > MESSAGE_IDS)
		return;
	num = m->num_ids;
	if (kind == MESSAGE_ALIAS &&
		(!add_id(m, root, "previousId", "user_id") || !add_id(m, root, "previousId", "anonymous_id") || m->num_ids == num))
		return;
	num = m->num_ids;
	if (kind == MESSAGE_GROUP && (!add_id(m, root, "groupId", "account") || m->num_ids == num))
		return;
	if (!add_identifiers(m, root, "participants") || (kind != MESSAGE_EVENT && m->num_ids > num + (kind == MESSAGE_GROUP)))
		return;
	m->num_others = m->num_ids - num;
	m->num_ids = num;
	if (m->num_others > MESSAGE_IDS)
		return;

	/* what */
	if (kind != MESSAGE_EVENT)
	{
		/* a trait without a name is refused */
		if (m->traits == NULL || !getKeyJsonValueFromContainer(&m->traits->root, "", 0, &buf))
			m->kind = kind;
		return;
	}
	if (strncmp(type, "track", type_len) == 0)
	{
		if (!get_string(root, "event", &s, &len) || s == NULL)
			return;
		trim(&s, &len, " ");
		if (len == 0 || pg_mbstrlen_with_len(s, len) > MAX_CHARACTERS)
			return;
		m->event = cstring_to_text_with_len(s, len);
	}
	else
	{
		add_properties(root, m);
		m->event = cstring_to_text_with_len(type, type_len);
	}
	m->kind = MESSAGE_EVENT;
}

void
mcdp_read_names(Jsonb *payload, Message *m)
{
	JsonbContainer *root = &payload->root;
	Jsonb	   *context;
	Jsonb	   *inner;
	Jsonb	   *traits;

	m->num_ids = m->num_others = 0;
	if (!JB_ROOT_IS_OBJECT(payload))
		return;
	(void) add_id(m, root, "userId", "user_id");
	(void) add_id(m, root, "anonymousId", "anonymous_id");
	(void) add_id(m, root, "previousId", "user_id");
	(void) add_id(m, root, "previousId", "anonymous_id");
	(void) add_id(m, root, "groupId", "account");
	(void) add_identifiers(m, root, "identifiers");
	(void) add_identifiers(m, root, "participants");
	if (get_object(root, "traits", &traits) && traits)
		add_contacts(m, &traits->root);
	if (!get_object(root, "context", &context) || context == NULL)
		return;
	(void) add_external_ids(m, &context->root);
	if (get_object(&context->root, "device", &inner) && inner)
		(void) add_id(m, &inner->root, "id", "device_id");
	if (get_object(&context->root, "traits", &inner) && inner)
		add_contacts(m, &inner->root);
}
