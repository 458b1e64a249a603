/*-------------------------------------------------------------------------
 *
 * relid.c
 *	  The OIDs of our own schema and relations, remembered.
 *
 * A merge asks for some sixty relations by name, and the server's own caches
 * take a microsecond for every six.  So they are remembered, and all forgotten
 * when the catalog says that some relation or schema has got or lost a name.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/relid.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store/relid.h"

#define PLACES 256				/* a power of two */

typedef struct Remembered
{
	NameData	name;
	Oid			schema;			/* InvalidOid: nothing */
	Oid			id;
} Remembered;

static Remembered remembered[PLACES];
static Oid	schema_id = InvalidOid;
static uint64 times_forgotten = 0;

static void
forget(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(remembered, 0, sizeof(remembered));
	schema_id = InvalidOid;
	times_forgotten++;
}

Oid
mcdp_schema(void)
{
	static bool registered = false;

	if (!OidIsValid(schema_id))
	{
		uint64		before;
		Oid			id;

		if (!registered)
		{
			CacheRegisterSyscacheCallback(RELNAMENSP, forget, (Datum) 0);
			CacheRegisterSyscacheCallback(NAMESPACENAME, forget, (Datum) 0);
			registered = true;
		}
		before = times_forgotten;
		id = get_namespace_oid("cdp", false);
		if (before != times_forgotten)
			return id;			/* that may be changing just now */
		schema_id = id;
	}
	return schema_id;
}

Oid
mcdp_relid(const char *name, Oid schema)
{
	/* names are literals of ours, nearly always */
	Remembered *place = &remembered[((uintptr_t) name ^ (uintptr_t) name >> 8) & (PLACES - 1)];
	uint64		before;
	Oid			id;

	if (place->schema == schema && strcmp(NameStr(place->name), name) == 0)
		return place->id;
	before = times_forgotten;
	id = get_relname_relid(name, schema);
	/* only while somebody tells us when it changes */
	if (OidIsValid(id) && OidIsValid(schema_id) && before == times_forgotten)
	{
		namestrcpy(&place->name, name);
		place->schema = schema;
		place->id = id;
	}
	return id;
}
