/*-------------------------------------------------------------------------
 *
 * relid.c
 *	  The OIDs of our own schema, relations and type identifier, remembered.
 *
 * A merge asks for some sixty relations by name, and the server's own caches
 * take a microsecond for every six.  So they are remembered, and all forgotten
 * when the catalog says that some relation, type or schema has got or lost a name.
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
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "store/relid.h"

#define PLACES 256				/* a power of two */
#define NEAR 4					/* places that one name may have */

typedef struct Remembered
{
	NameData	name;
	Oid			schema;			/* InvalidOid: nothing */
	Oid			id;
} Remembered;

static Remembered remembered[PLACES];
static Oid	schema_id = InvalidOid;
static Oid	identifier_id = InvalidOid;
static uint64 times_forgotten = 0;

static void
forget(Datum arg, int cacheid, uint32 hashvalue)
{
	memset(remembered, 0, sizeof(remembered));
	schema_id = identifier_id = InvalidOid;
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
			CacheRegisterSyscacheCallback(TYPENAMENSP, forget, (Datum) 0);
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
mcdp_identifier_type(void)
{
	Oid			schema = mcdp_schema();
	uint64		before = times_forgotten;
	Oid			id;

	if (OidIsValid(identifier_id))
		return identifier_id;
	id = GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("identifier"), ObjectIdGetDatum(schema));
	if (!OidIsValid(id))
		elog(ERROR, "type \"identifier\" does not exist");
	if (OidIsValid(schema_id) && before == times_forgotten)
		identifier_id = id;
	return id;
}

Oid
mcdp_relid(const char *name, Oid schema)
{
	/* names are literals of ours, nearly always */
	uintptr_t	first = (uintptr_t) name ^ (uintptr_t) name >> 8;
	Remembered *empty = NULL;
	uint64		before;
	Oid			id;

	for (int i = 0; i < NEAR; i++)
	{
		Remembered *place = &remembered[(first + i) & (PLACES - 1)];

		if (place->schema == schema && strcmp(NameStr(place->name), name) == 0)
			return place->id;
		if (empty == NULL && !OidIsValid(place->schema))
			empty = place;
	}
	before = times_forgotten;
	id = get_relname_relid(name, schema);
	/* only while somebody tells us when it changes */
	if (OidIsValid(id) && OidIsValid(schema_id) && before == times_forgotten)
	{
		if (empty == NULL)
			empty = &remembered[first & (PLACES - 1)];
		namestrcpy(&empty->name, name);
		empty->schema = schema;
		empty->id = id;
	}
	return id;
}
