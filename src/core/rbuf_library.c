/*-------------------------------------------------------------------------
 *
 * rbuf_library.c
 *	  Finding CRoaring when our library is loaded.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/rbuf_library.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <dlfcn.h>

#define MCDP_RBUF_LIBRARY_C
#include "core/rbuf_library.h"

#ifdef MCDP_ROARING_TABLE

/* The versions without roaring/memory.h all have this name. */
#define LIBRARY "libroaring.so.0"

/* Its calls to itself stay with itself, too; the address sanitizer forbids it. */
#if defined(RTLD_DEEPBIND) && !defined(__SANITIZE_ADDRESS__)
#define OWN_SCOPE (RTLD_LOCAL | RTLD_DEEPBIND)
#else
#define OWN_SCOPE RTLD_LOCAL
#endif

McdpRoaring mcdp_roaring;

static void *
find(void *library, const char *name)
{
	void	   *function = dlsym(library, name);

	if (function == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("could not find function \"%s\" in library \"%s\"", name, LIBRARY)));
	return function;
}

void
mcdp_rbuf_load_library(void)
{
	void	   *library = dlopen(LIBRARY, RTLD_NOW | OWN_SCOPE);

	if (library == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FILE),
				 errmsg("could not load library \"%s\": %s", LIBRARY, dlerror())));
#define FIND(name) mcdp_roaring.name = (__typeof__(name) *) find(library, #name);
	MCDP_ROARING_FUNCTIONS(FIND)
#undef FIND
}

#else

void
mcdp_rbuf_load_library(void)
{
	Dl_info		theirs;
	Dl_info		ours;

	if (dladdr((void *) roaring_bitmap_free, &theirs) == 0 ||
		dladdr((void *) mcdp_rbuf_load_library, &ours) == 0 ||
		theirs.dli_fbase == ours.dli_fbase ||
		strstr(theirs.dli_fname, "libroaring") != NULL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("another loaded library takes the place of libroaring"),
			 errdetail("It is \"%s\".", theirs.dli_fname),
			 errhint("Use marketing_cdp and that library in different sessions.")));
}

#endif
