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

/* event NULL: only the message id is recorded */
typedef struct NewEvent
{
	int64		event_id;
	TimestampTz at;
	TimestampTz received_at;
	int64		leaf;
	Datum		via;			/* 0: none */
	int64	   *participants;
	int			num_participants;
	text	   *event;
	Datum		properties;
	Datum		context;
	text	   *source;			/* may be NULL, and message_id */
	text	   *message_id;
	int			partition;		/* set by mcdp_record_events */
} NewEvent;

/*
 * What _record_events does.  Error CDP02 when a message id was recorded by
 * another session, which has been waited for.
 */
extern void mcdp_record_events(Oid schema, NewEvent *events, int num, bool backfill);

/* The month of an instant, by number, and the table for its events, or InvalidOid if that is missing. */
extern int	mcdp_event_month(TimestampTz at);
extern Oid	mcdp_event_partition(Oid schema, int month);

#endif							/* MCDP_EVENT_INSERT_H */
