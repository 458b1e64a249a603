/*-------------------------------------------------------------------------
 *
 * event_insert.h
 *	  Events and their message ids into the tables, without a query.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/event_insert.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_EVENT_INSERT_H
#define MCDP_EVENT_INSERT_H

#include "datatype/timestamp.h"

/* without participants; event NULL: only the message id is recorded */
typedef struct NewEvent
{
	int64		event_id;
	TimestampTz at;
	TimestampTz received_at;
	int64		leaf;
	Datum		via;
	text	   *event;
	Datum		properties;
	Datum		context;
	text	   *source;			/* may be NULL, and message_id */
	text	   *message_id;
} NewEvent;

/*
 * What _record_events does, or false if that has to.  Error CDP02 when a
 * message id was recorded by another session, which has been waited for.
 */
extern bool mcdp_insert_events(Oid schema, NewEvent *events, int num, bool backfill);

/* The table for events of this instant, or InvalidOid if it is missing. */
extern Oid	mcdp_event_partition(Oid schema, TimestampTz at, int *month);

#endif							/* MCDP_EVENT_INSERT_H */
