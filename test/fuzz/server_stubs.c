/*
 * server_stubs.c - what the codecs use of the server, outside the server.
 *
 * Memory is malloc'ed, so that the sanitizer sees every block by itself, and
 * released after each input; an error jumps back to fuzz_guarded.
 */
#include "fuzz.h"

#include <setjmp.h>
#include <stdlib.h>

#include "miscadmin.h"
#include "utils/memutils.h"

typedef struct Block
{
	struct Block *next;
	struct Block *prev;
	pg_attribute_aligned(16) char data[FLEXIBLE_ARRAY_MEMBER];
} Block;

static Block blocks = {&blocks, &blocks};
static MemoryContextCallback *callbacks;
static sigjmp_buf on_error;
static struct MemoryContextData context;

MemoryContext CurrentMemoryContext = &context;
MemoryContext TopMemoryContext = &context;
volatile sig_atomic_t InterruptPending = 0;

/* ---- memory ---- */

void *
palloc(Size size)
{
	Block	   *b = (malloc) (sizeof(Block) + size);

	b->next = blocks.next;
	b->prev = &blocks;
	b->next->prev = b;
	blocks.next = b;
	return b->data;
}

void *
palloc0(Size size)
{
	return memset(palloc(size), 0, size);
}

void *
palloc_extended(Size size, int flags)
{
	return (flags & MCXT_ALLOC_ZERO) ? palloc0(size) : palloc(size);
}

void
pfree(void *p)
{
	Block	   *b = (Block *) ((char *) p - offsetof(Block, data));

	b->prev->next = b->next;
	b->next->prev = b->prev;
	(free) (b);
}

void *
repalloc(void *p, Size size)
{
	Block	   *b = (Block *) ((char *) p - offsetof(Block, data));

	b = (realloc) (b, sizeof(Block) + size);
	b->prev->next = b;
	b->next->prev = b;
	return b->data;
}

void *
repalloc_huge(void *p, Size size)
{
	return repalloc(p, size);
}

char *
pnstrdup(const char *s, Size n)
{
	char	   *copy = palloc(n + 1);

	memcpy(copy, s, n);
	copy[n] = '\0';
	return copy;
}

char *
pstrdup(const char *s)
{
	return pnstrdup(s, strlen(s));
}

void *
MemoryContextAlloc(MemoryContext cx, Size size)
{
	return palloc(size);
}

void *
MemoryContextAllocZero(MemoryContext cx, Size size)
{
	return palloc0(size);
}

void *
MemoryContextAllocZeroAligned(MemoryContext cx, Size size)
{
	return palloc0(size);
}

void *
MemoryContextAllocHuge(MemoryContext cx, Size size)
{
	return palloc(size);
}

void *
MemoryContextAllocExtended(MemoryContext cx, Size size, int flags)
{
	return palloc_extended(size, flags);
}

void
MemoryContextRegisterResetCallback(MemoryContext cx, MemoryContextCallback *cb)
{
	cb->next = callbacks;
	callbacks = cb;
}

MemoryContext
AllocSetContextCreateInternal(MemoryContext parent, const char *name, Size a, Size b, Size c)
{
	return &context;
}

void
MemoryContextDelete(MemoryContext cx)
{
}

void
MemoryContextReset(MemoryContext cx)
{
}

static void
release_everything(void)
{
	while (callbacks != NULL)
	{
		MemoryContextCallback *cb = callbacks;

		callbacks = cb->next;
		cb->func(cb->arg);
	}
	while (blocks.next != &blocks)
		pfree(blocks.next->data);
}

/* ---- errors, interrupts ---- */

bool
errstart(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

bool
errstart_cold(int elevel, const char *domain)
{
	return elevel >= ERROR;
}

void
errfinish(const char *filename, int lineno, const char *funcname)
{
	siglongjmp(on_error, 1);
}

#define MESSAGE_PART(name) int name(const char *fmt, ...) { return 0; }
MESSAGE_PART(errmsg)
MESSAGE_PART(errmsg_internal)
MESSAGE_PART(errdetail)
MESSAGE_PART(errdetail_internal)
MESSAGE_PART(errhint)

int
errcode(int sqlerrcode)
{
	return 0;
}

void
ProcessInterrupts(void)
{
}

void
check_stack_depth(void)
{
}

bool
stack_is_too_deep(void)
{
	return false;
}

void
ExceptionalCondition(const char *conditionName, const char *errorType, const char *fileName, int lineNumber)
{
	fuzz_fail(conditionName);
}

size_t
fuzz_valid_guarded(uint8 *out, size_t max)
{
	size_t		len;

	if (sigsetjmp(on_error, 0) != 0)
		fuzz_fail("making a valid input raises no error");
	len = fuzz_valid(out, max);
	release_everything();
	return len;
}

bool
fuzz_guarded(const uint8 *bytes, size_t len)
{
	volatile bool taken = false;

	if (sigsetjmp(on_error, 0) == 0)
		taken = fuzz_one(bytes, len);
	release_everything();
	return taken;
}
