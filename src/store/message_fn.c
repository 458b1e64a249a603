/*-------------------------------------------------------------------------
 *
 * message_fn.c
 *	  Segment messages that are plain, many at once.
 *
 * Plain is a track, page, screen or identify message that says nothing
 * unusual: its time is "timestamp", its ids are texts, there is nothing wrong with
 * it.  Those are read here, stitched together (stitch_many.c) and their events
 * stored together.  All others are left to _read_message and _take_messages
 * (24_ingest.sql), which know the whole specification; whatever is changed
 * there about a plain message has to be changed here.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_fn.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "core/compat.h"
#include "store/event_insert.h"
#include "store/stitch.h"
#include "types/identifier.h"

#define MAX_CHARACTERS 200		/* of an event name and a message id */
#define MAX_IDS 16				/* of a plain message */

/* event: positions */
enum
{
	EVENT_EVENT_ID, EVENT_AT, EVENT_RECEIVED_AT, EVENT_PROFILE_ID, EVENT_VIA, EVENT_PARTICIPANTS, EVENT_EVENT,
	EVENT_PROPERTIES, EVENT_CONTEXT, EVENT_SOURCE, EVENT_MESSAGE_ID, EVENT_BACKFILL, EVENT_COLUMNS
};

typedef enum Kind
{
	MESSAGE_OTHER,				/* not plain */
	MESSAGE_REPEATED,			/* its id was seen */
	MESSAGE_EVENT,
	MESSAGE_IDENTIFY
} Kind;

typedef struct Message
{
	Kind		kind;
	TimestampTz at;
	text	   *event;
	text	   *message_id;
	text	   *source;
	Datum		ids[MAX_IDS];
	int			num_ids;
	Jsonb	   *properties;		/* NULL: none */
	Jsonb	   *context;
	Jsonb	   *traits;
	int			call;			/* of stitch_many, or -1 */
} Message;

PG_FUNCTION_INFO_V1(mcdp__take_plain);

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

static bool
add_identifier(Message *m, const char *s, size_t len)
{
	char		out[MCDP_IDENTIFIER_MAX];
	size_t		out_len = sizeof(out);
	McdpBadInput bad;

	if (m->num_ids == MAX_IDS || !mcdp_identifier_normalise(s, len, out, &out_len, &bad))
		return false;
	m->ids[m->num_ids++] = PointerGetDatum(cstring_to_text_with_len(out, out_len));
	return true;
}

/* An id in this place of the object: false when it is not a plain one. */
static bool
add_id(Message *m, JsonbContainer *object, const char *key, const char *namespace)
{
	char	   *s;
	int			len;
	int			ns_len = strlen(namespace);
	char		in[MCDP_IDENTIFIER_MAX];

	if (object == NULL)
		return true;
	if (!get_string(object, key, &s, &len))
		return false;
	trim(&s, &len, " \t\n\r");
	if (len == 0)
		return true;
	if (ns_len + len > sizeof(in))
		return false;
	memcpy(in, namespace, ns_len);
	memcpy(in + ns_len, s, len);
	return add_identifier(m, in, ns_len + len);
}

/* identifiers: an array of texts */
static bool
add_identifiers(Message *m, JsonbContainer *root)
{
	JsonbValue	buf;
	JsonbValue *v = getKeyJsonValueFromContainer(root, "identifiers", 11, &buf);
	JsonbIterator *it;
	JsonbIteratorToken token;

	if (v == NULL)
		return true;
	if (v->type != jbvBinary || !JsonContainerIsArray(v->val.binary.data) || JsonContainerIsScalar(v->val.binary.data))
		return false;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &buf, true)) != WJB_DONE)
	{
		if (token == WJB_ELEM &&
			(buf.type != jbvString || !add_identifier(m, buf.val.string.val, buf.val.string.len)))
			return false;
	}
	return true;
}

static bool
digits(const char *s, int from, int num, int *value)
{
	*value = 0;
	for (int i = from; i < from + num; i++)
	{
		if (s[i] < '0' || s[i] > '9')
			return false;
		*value = *value * 10 + (s[i] - '0');
	}
	return true;
}

/* 2026-03-04T05:06:07[.123456]Z and nothing else, from 1900 to 2199 */
static bool
read_time(const char *s, int len, TimestampTz *at)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	int			y,
				mo,
				d,
				h,
				mi,
				sec,
				usec = 0;

	if (len < 20 || s[4] != '-' || s[7] != '-' || s[10] != 'T' || s[13] != ':' || s[16] != ':' || s[len - 1] != 'Z')
		return false;
	if (!digits(s, 0, 4, &y) || !digits(s, 5, 2, &mo) || !digits(s, 8, 2, &d) ||
		!digits(s, 11, 2, &h) || !digits(s, 14, 2, &mi) || !digits(s, 17, 2, &sec))
		return false;
	if (len > 20)
	{
		int			n = len - 21;

		if (s[19] != '.' || n < 1 || n > 6 || !digits(s, 20, n, &usec))
			return false;
		for (; n < 6; n++)
			usec *= 10;
	}
	if (y < 1900 || y >= 2200 || mo < 1 || mo > 12 || d < 1 || h > 23 || mi > 59 || sec > 59 ||
		d > days[mo - 1] + (mo == 2 && y % 4 == 0 && (y % 100 != 0 || y % 400 == 0)))
		return false;
	*at = ((TimestampTz) (date2j(y, mo, d) - POSTGRES_EPOCH_JDATE) * SECS_PER_DAY +
		   h * SECS_PER_HOUR + mi * SECS_PER_MINUTE + sec) * USECS_PER_SEC + usec;
	return true;
}

/* Read a message; its kind is MESSAGE_OTHER when it is not plain. */
static void
read_message(Jsonb *payload, Message *m)
{
	JsonbContainer *root = &payload->root;
	JsonbValue	buf;
	char	   *s;
	char	   *type;
	int			len;
	int			type_len;
	Jsonb	   *traits;
	Jsonb	   *device = NULL;
	bool		track;

	if (!JB_ROOT_IS_OBJECT(payload))
		return;
	/* what changes the meaning of a message */
	if (getKeyJsonValueFromContainer(root, "participants", 12, &buf) || get(root, "batch", &buf))
		return;
	if (!get_string(root, "type", &type, &type_len) || type == NULL)
		return;
	track = type_len == 5 && memcmp(type, "track", 5) == 0;
	if (!track && !(type_len == 4 && memcmp(type, "page", 4) == 0) && !(type_len == 6 && memcmp(type, "screen", 6) == 0) &&
		!(type_len == 8 && memcmp(type, "identify", 8) == 0))
		return;
	if (!get_string(root, "timestamp", &s, &len) || s == NULL || !read_time(s, len, &m->at))
		return;
	if (!get_object(root, "properties", &m->properties) || !get_object(root, "context", &m->context) ||
		!get_object(root, "traits", &m->traits))
		return;

	if (!get_string(root, "messageId", &s, &len))
		return;
	trim(&s, &len, " \t\n\r");
	if (pg_mbstrlen_with_len(s, len) > MAX_CHARACTERS)
		return;
	m->message_id = len > 0 ? cstring_to_text_with_len(s, len) : NULL;
	if (!get_string(root, "source", &s, &len))
		return;
	m->source = s ? cstring_to_text_with_len(s, len) : NULL;

	/* who */
	if (!add_id(m, root, "userId", "user_id:") || !add_id(m, root, "anonymousId", "anonymous_id:"))
		return;
	if (m->context)
	{
		JsonbContainer *context = &m->context->root;

		if (get(context, "externalIds", &buf) || !get_object(context, "device", &device) ||
			!add_id(m, device ? &device->root : NULL, "id", "device_id:") || !get_object(context, "traits", &traits))
			return;
		if (type_len == 8 && traits && m->traits)
			return;				/* which of them has the address? */
		if (!add_id(m, traits ? &traits->root : NULL, "email", "email:") ||
			!add_id(m, traits ? &traits->root : NULL, "phone", "phone:"))
			return;
	}
	if (type_len == 8 && m->traits &&
		(!add_id(m, &m->traits->root, "email", "email:") || !add_id(m, &m->traits->root, "phone", "phone:")))
		return;
	if (!add_identifiers(m, root) || m->num_ids == 0)
		return;

	if (type_len == 8)
	{
		/* a trait without a name is refused */
		if (m->traits == NULL || !getKeyJsonValueFromContainer(&m->traits->root, "", 0, &buf))
			m->kind = MESSAGE_IDENTIFY;
		return;
	}
	/* what */
	if (track)
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
		if (getKeyJsonValueFromContainer(root, "name", 4, &buf) || getKeyJsonValueFromContainer(root, "category", 8, &buf))
		{
			JsonbParseState *state = NULL;
			JsonbIterator *it;
			JsonbValue	v;
			JsonbIteratorToken token;
			const char *keys[2] = {"name", "category"};

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
				JsonbValue	key;

				if (!getKeyJsonValueFromContainer(root, keys[i], strlen(keys[i]), &buf))
					continue;
				key.type = jbvString;
				key.val.string.val = unconstify(char *, keys[i]);
				key.val.string.len = strlen(keys[i]);
				pushJsonbValue(&state, WJB_KEY, &key);
				pushJsonbValue(&state, WJB_VALUE, &buf);
			}
			m->properties = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
		}
		m->event = cstring_to_text_with_len(type, type_len);
	}
	m->kind = MESSAGE_EVENT;
}

/* The id of any message, as _read_message has it, or NULL. */
static text *
any_message_id(Jsonb *payload)
{
	char	   *s;
	int			len;

	if (!JB_ROOT_IS_OBJECT(payload) || !get_string(&payload->root, "messageId", &s, &len))
		return NULL;
	trim(&s, &len, " \t\n\r");
	return len > 0 ? cstring_to_text_with_len(s, len) : NULL;
}

/* May it change whom "previousId" means?  (alias, or something with messages in it) */
static bool
may_be_alias(Jsonb *payload)
{
	JsonbValue	buf;
	char	   *s;
	int			len;

	return !JB_ROOT_IS_OBJECT(payload) || get(&payload->root, "batch", &buf) ||
		(get_string(&payload->root, "type", &s, &len) && s && len == 5 && memcmp(s, "alias", 5) == 0);
}

/* a message id of this batch and the kind of the first message that has it */
typedef struct Seen
{
	uint64		hash;
	text	   *id;
	Kind		kind;
} Seen;

static inline Seen *
find_seen(Seen *seen, uint64 mask, text *id)
{
	uint64		hash = hash_bytes_extended((unsigned char *) VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id), 0);

	for (uint64 s = hash & mask;; s = (s + 1) & mask)
	{
		if (seen[s].id == NULL)
			seen[s].hash = hash;
		else if (seen[s].hash != hash || VARSIZE_ANY_EXHDR(seen[s].id) != VARSIZE_ANY_EXHDR(id) ||
				 memcmp(VARDATA_ANY(seen[s].id), VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id)) != 0)
			continue;
		return &seen[s];
	}
}

/*
 * Of messages with the same id the first one counts: later ones are repeated,
 * or go the way of the first.  So do those whose id is in event_message.
 */
static void
find_repeated(Jsonb **payload, Message *message, int num, Oid schema)
{
	Keyed		table = mcdp_open_keyed(schema, "event_message", "event_message_pkey");
	Relation	index = index_open(table.index, AccessShareLock);
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	IndexScanDesc scan = mcdp_index_beginscan(table.rel, index, snapshot, 1);
	TupleTableSlot *slot = table_slot_create(table.rel, NULL);
	uint64		slots = 64;
	Seen	   *seen;
	bool		empty = RelationGetNumberOfBlocks(table.rel) == 0;

	while (slots < (uint64) num * 2)
		slots *= 2;
	seen = MemoryContextAllocExtended(CurrentMemoryContext, slots * sizeof(Seen), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];
		text	   *id = m->kind == MESSAGE_OTHER ? any_message_id(payload[i]) : m->message_id;
		Seen	   *first;
		ScanKeyData key;

		if (id == NULL)
			continue;
		first = find_seen(seen, slots - 1, id);
		if (first->id != NULL)
		{
			/* what is not plain may have something wrong with it */
			if (m->kind != MESSAGE_OTHER)
				m->kind = first->kind == MESSAGE_OTHER ? MESSAGE_OTHER : MESSAGE_REPEATED;
			continue;
		}
		first->id = id;
		first->kind = m->kind;
		if (m->kind == MESSAGE_OTHER || empty)
			continue;
		ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid, index->rd_indcollation[0], F_TEXTEQ, PointerGetDatum(id));
		index_rescan(scan, &key, 1, NULL, 0);
		if (index_getnext_slot(scan, ForwardScanDirection, slot))
			m->kind = MESSAGE_REPEATED;
	}
	pfree(seen);
	ExecDropSingleTupleTableSlot(slot);
	index_endscan(scan);
	UnregisterSnapshot(snapshot);
	index_close(index, AccessShareLock);
	table_close(table.rel, AccessShareLock);
}

/* Hand events to _record_events. */
static void
record_by_query(NewEvent *events, int num, bool backfill, Oid schema)
{
	static SPIPlanPtr plan = NULL;
	static Oid	plan_type = InvalidOid;
	Oid			event_type = get_rel_type_id(get_relname_relid("event", schema));
	Oid			array_type = get_array_type(event_type);
	TupleDesc	desc = lookup_rowtype_tupdesc(event_type, -1);
	Datum	   *rows = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(Datum));
	Datum		none = PointerGetDatum(construct_empty_array(INT8OID));
	Datum		values[1];
	bool		isnull;

	if (desc->natts != EVENT_COLUMNS)
		elog(ERROR, "table event has %d columns", desc->natts);
	for (int i = 0; i < num; i++)
	{
		NewEvent   *e = &events[i];
		Datum		v[EVENT_COLUMNS] = {0};
		bool		nulls[EVENT_COLUMNS];

		memset(nulls, true, sizeof(nulls));
#define SET(column, value) (v[column] = (value), nulls[column] = false)
		SET(EVENT_AT, TimestampTzGetDatum(e->at));
		SET(EVENT_RECEIVED_AT, TimestampTzGetDatum(e->received_at));
		SET(EVENT_PROFILE_ID, Int64GetDatum(e->leaf));
		if (e->source)
			SET(EVENT_SOURCE, PointerGetDatum(e->source));
		if (e->message_id)
			SET(EVENT_MESSAGE_ID, PointerGetDatum(e->message_id));
		if (e->event)
		{
			SET(EVENT_EVENT_ID, Int64GetDatum(e->event_id));
			SET(EVENT_VIA, e->via);
			SET(EVENT_PARTICIPANTS, none);
			SET(EVENT_EVENT, PointerGetDatum(e->event));
			SET(EVENT_PROPERTIES, e->properties);
			SET(EVENT_CONTEXT, e->context);
			SET(EVENT_BACKFILL, BoolGetDatum(backfill));
		}
#undef SET
		rows[i] = heap_copy_tuple_as_datum(heap_form_tuple(desc, v, nulls), desc);
	}
	values[0] = PointerGetDatum(construct_array(rows, num, event_type, -1, false, TYPALIGN_DOUBLE));
	SPI_connect();
	/* another type when the extension was made anew */
	if (plan != NULL && plan_type != array_type)
	{
		SPI_freeplan(plan);
		plan = NULL;
	}
	if (plan == NULL)
	{
		SPIPlanPtr	made = SPI_prepare("SELECT cdp._record_events($1)", 1, &array_type);

		if (made == NULL || SPI_keepplan(made) != 0)
			elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
		plan = made;
		plan_type = array_type;
	}
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "SPI_execute_plan failed");
	if (DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) != num)
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE('C', 'D', 'P', '0', '2')),
				 errmsg("message was taken by another session")));
	SPI_finish();
	ReleaseTupleDesc(desc);
}

/* Store the events, and what only has a message id. */
static void
record(Message *message, ManyCall *calls, TimestampTz *received, int num, bool backfill, Oid schema)
{
	Oid			sequence = get_relname_relid("event_id_seq", schema);
	NewEvent   *events = MemoryContextAllocHuge(CurrentMemoryContext, Max(num, 1) * sizeof(NewEvent));
	Datum		empty = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	int			n = 0;

	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];
		NewEvent   *e = &events[n];

		if (m->kind < MESSAGE_EVENT || (m->kind == MESSAGE_IDENTIFY && m->message_id == NULL))
			continue;
		memset(e, 0, sizeof(*e));
		e->at = m->at;
		e->received_at = received[i];
		e->leaf = calls[m->call].leaf;
		e->source = m->source;
		e->message_id = m->message_id;
		if (m->kind == MESSAGE_EVENT)
		{
			e->event_id = nextval_internal(sequence, true);
			e->via = calls[m->call].via;
			e->event = m->event;
			e->properties = m->properties ? PointerGetDatum(m->properties) : empty;
			e->context = m->context ? PointerGetDatum(m->context) : empty;
		}
		n++;
	}
	if (n > 0 && (IsolationUsesXactSnapshot() || !mcdp_insert_events(schema, events, n, backfill)))
		record_by_query(events, n, backfill, schema);
	pfree(events);
}

/* Make the partitions that are missing, before any identifier is locked: see _event_partition. */
static void
make_partitions(Message *message, int num, bool locking, Oid schema)
{
	static SPIPlanPtr plan = NULL;
	int			last = -1;		/* month: most messages are of the same one as the one before */

	for (int i = 0; i < num; i++)
	{
		int			month;
		bool		there;
		Oid			type = TIMESTAMPTZOID;
		Datum		at = TimestampTzGetDatum(message[i].at);

		if (message[i].kind != MESSAGE_EVENT)
			continue;
		there = OidIsValid(mcdp_event_partition(schema, message[i].at, &month));
		if (last == month)
			continue;
		last = month;
		if (there)
			continue;
		if (locking)
			mcdp_lock_identities(true);
		mcdp_run("SELECT cdp._event_partition($1)", &plan, 1, &type, &at, NULL);
	}
}

/* a message that sets traits, to be sorted by leaf */
typedef struct Traits
{
	int64		leaf;
	int			nr;
} Traits;

static int
compare_traits(const void *x, const void *y)
{
	const Traits *a = x;
	const Traits *b = y;

	if (a->leaf != b->leaf)
		return a->leaf < b->leaf ? -1 : 1;
	return (a->nr > b->nr) - (a->nr < b->nr);
}

/* Traits go in by leaf, so that two sessions do it in the same order. */
static void
take_traits(Jsonb **payload, Message *message, ManyCall *calls, TimestampTz *received, int num)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[6] = {INT8OID, JSONBOID, TIMESTAMPTZOID, TEXTOID, JSONBOID, TIMESTAMPTZOID};
	Traits	   *traits = palloc(Max(num, 1) * sizeof(Traits));
	int			n = 0;

	for (int i = 0; i < num; i++)
	{
		if (message[i].kind == MESSAGE_IDENTIFY && message[i].traits && JB_ROOT_COUNT(message[i].traits) > 0)
		{
			traits[n].leaf = calls[message[i].call].leaf;
			traits[n++].nr = i;
		}
	}
	qsort(traits, n, sizeof(Traits), compare_traits);
	for (int i = 0; i < n; i++)
	{
		Message    *m = &message[traits[i].nr];
		Datum		values[6] = {Int64GetDatum(traits[i].leaf), PointerGetDatum(m->traits), TimestampTzGetDatum(m->at),
		PointerGetDatum(m->source), PointerGetDatum(payload[traits[i].nr]), TimestampTzGetDatum(received[traits[i].nr])};

		CHECK_FOR_INTERRUPTS();
		mcdp_run("SELECT cdp._take_traits($1, $2, $3, $4, $5, $6)", &plan, 6, types, values, m->source ? NULL : "   n  ");
	}
}

/*
 * _take_plain(payloads jsonb[], received timestamptz[], backfill boolean, many boolean, in_order boolean,
 *			   identifier regtype, OUT taken bigint, OUT rest int[])
 *
 * Takes the plain ones; "rest" are the positions of the others, in order.
 */
Datum
mcdp__take_plain(PG_FUNCTION_ARGS)
{
	Datum	   *payloads;
	Datum	   *received;
	bool	   *nulls;
	int			num;
	int			num_received;
	Jsonb	  **payload;
	TimestampTz *received_at;
	Message    *message;
	ManyCall   *calls;
	int			num_calls = 0;
	int			taken = 0;
	Datum	   *rest;
	int			num_rest = 0;
	bool		in_order = PG_GETARG_BOOL(4);
	bool		others = false;
	bool		after_alias = false;
	Lookup		lk;
	Datum		values[2];
	bool		isnull[2] = {false, false};
	TupleDesc	desc;
	Oid			schema = get_namespace_oid("cdp", false);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), JSONBOID, -1, false, TYPALIGN_INT, &payloads, &nulls, &num);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &received, NULL, &num_received);
	if (num != num_received)
		elog(ERROR, "arrays differ in length");
	payload = palloc(Max(num, 1) * sizeof(Jsonb *));
	received_at = palloc(Max(num, 1) * sizeof(TimestampTz));
	message = MemoryContextAllocExtended(CurrentMemoryContext, Max(num, 1) * sizeof(Message), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < num; i++)
	{
		CHECK_FOR_INTERRUPTS();
		payload[i] = DatumGetJsonbP(payloads[i]);
		received_at[i] = DatumGetTimestampTz(received[i]);
		read_message(payload[i], &message[i]);
		message[i].call = -1;
	}
	find_repeated(payload, message, num, schema);
	make_partitions(message, num, PG_GETARG_BOOL(3), schema);

	calls = MemoryContextAllocExtended(CurrentMemoryContext, Max(num, 1) * sizeof(ManyCall), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];
		ManyCall   *c = &calls[num_calls];

		others |= m->kind == MESSAGE_OTHER;
		after_alias |= m->kind == MESSAGE_OTHER && may_be_alias(payload[i]);
		if (in_order && others && m->kind >= MESSAGE_EVENT)
			m->kind = MESSAGE_OTHER;
		if (m->kind < MESSAGE_EVENT)
			continue;
		c->call.at = m->at;
		c->call.source = m->source;
		c->call.message_id = m->message_id;
		c->ids = m->ids;
		c->num = m->num_ids;
		c->only_known = after_alias;
		m->call = num_calls++;
	}
	mcdp_lookup_begin(&lk, PG_GETARG_OID(5));
	mcdp_stitch_many(&lk, calls, num_calls, in_order, PG_GETARG_BOOL(3), others);
	mcdp_lookup_end(&lk);

	rest = palloc(Max(num, 1) * sizeof(Datum));
	for (int i = 0; i < num; i++)
	{
		Message    *m = &message[i];

		if (m->kind >= MESSAGE_EVENT && !calls[m->call].done)
			m->kind = MESSAGE_OTHER;
		if (m->kind == MESSAGE_OTHER)
			rest[num_rest++] = Int32GetDatum(i + 1);
		else
			taken++;
	}
	take_traits(payload, message, calls, received_at, num);
	record(message, calls, received_at, num, PG_GETARG_BOOL(2), schema);

	values[0] = Int64GetDatum(taken);
	values[1] = PointerGetDatum(construct_array(rest, num_rest, INT4OID, 4, true, TYPALIGN_INT));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, isnull)));
}
