/*-------------------------------------------------------------------------
 *
 * machine_memory.c
 *	  How much memory there is to use.
 *
 * On Linux a process is in a control group, and may use no more than the least
 * limit of that group and all above it.  /proc/self/cgroup names the group in
 * each hierarchy: in version 2 there is one, in version 1 one for each
 * controller.  Inside a container the name may be the host's, while only the
 * container's part of the hierarchy is mounted: then the way up leads past
 * groups that are not there to the container's own.  So files that cannot be
 * read, or say "max", limit nothing.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/core/machine_memory.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <unistd.h>

#include "storage/fd.h"

#include "core/machine_memory.h"

#define NO_LIMIT PG_UINT64_MAX

static uint64
read_limit(const char *name)
{
	FILE	   *file = AllocateFile(name, "r");
	unsigned long long bytes;
	uint64		result = NO_LIMIT;

	if (file == NULL)
		return NO_LIMIT;
	if (fscanf(file, "%llu", &bytes) == 1)
		result = bytes;
	FreeFile(file);
	return result;
}

/* Lower "least" to the least limit on the way from a group up to the root of its hierarchy.  Cuts "group". */
static void
lower_to_limits(uint64 *least, const char *mount, char *group, const char *setting)
{
	char	   *last = group;

	while (last)
	{
		char		name[MAXPGPATH];
		uint64		limit;

		snprintf(name, sizeof(name), "%s%s/%s", mount, group, setting);
		limit = read_limit(name);
		*least = Min(*least, limit);
		last = strrchr(group, '/');
		if (last)
			*last = '\0';
	}
}

static bool
is_listed(const char *word, char *list)
{
	char	   *rest;

	for (char *item = strtok_r(list, ",", &rest); item; item = strtok_r(NULL, ",", &rest))
	{
		if (strcmp(item, word) == 0)
			return true;
	}
	return false;
}

/* What the control groups of this process allow.  A line reads "number:controllers:group". */
static uint64
cgroup_limit(void)
{
	FILE	   *file = AllocateFile("/proc/self/cgroup", "r");
	char		line[MAXPGPATH];
	uint64		result = NO_LIMIT;

	if (file == NULL)
		return NO_LIMIT;
	while (fgets(line, sizeof(line), file))
	{
		char	   *controllers = strchr(line, ':');
		char	   *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (group == NULL)
			continue;
		*controllers++ = '\0';
		*group++ = '\0';
		group[strcspn(group, "\n")] = '\0';
		if (*controllers == '\0')	/* version 2 */
			lower_to_limits(&result, "/sys/fs/cgroup", group, "memory.max");
		else if (is_listed("memory", controllers))
			lower_to_limits(&result, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
	}
	FreeFile(file);
	return result;
}

uint64
mcdp_machine_memory(void)
{
	uint64		result = cgroup_limit();

#if defined(_SC_PHYS_PAGES) && defined(_SC_PAGESIZE)
	long		pages = sysconf(_SC_PHYS_PAGES);
	long		page_bytes = sysconf(_SC_PAGESIZE);

	if (pages > 0 && page_bytes > 0)
		result = Min(result, (uint64) pages * page_bytes);
#endif
	return result == NO_LIMIT ? 0 : result;
}
