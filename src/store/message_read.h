/*-------------------------------------------------------------------------
 *
 * message_read.h
 *	  One Segment message, if it is plain.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_read.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_MESSAGE_READ_H
#define MCDP_MESSAGE_READ_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#define MESSAGE_IDS 16			/* that a plain message has at most, and so many others */

typedef enum MessageKind
{
	MESSAGE_OTHER,				/* not plain */
	MESSAGE_REPEATED,			/* its id was seen */
	MESSAGE_EVENT,
	MESSAGE_IDENTIFY,
	MESSAGE_GROUP,
	MESSAGE_ALIAS
} MessageKind;

typedef struct Message
{
	MessageKind kind;
	TimestampTz at;
	text	   *event;
	text	   *message_id;		/* these may be NULL; of what is not plain too if it is a text */
	text	   *source;
	Datum	   *ids;			/* a group need not have any; the last two of an alias are what its previous id may be */
	int			num_ids;
	int			num_others;		/* behind them: participants of an event, the account of a group */
	int			max_ids;
	Jsonb	   *properties;		/* NULL: none */
	Jsonb	   *context;
	Jsonb	   *traits;
	int			call;			/* its first one of stitch_many: about its ids, if there are any; then one about each other */
	int			num_calls;
	bool		joins;			/* a group that tells news of who is a member */
	bool		put_off;		/* goes back to the inbox */
	struct Message *first;		/* repeated: the one with its id in this batch, or NULL */
} Message;

/* Its kind is MESSAGE_OTHER when it is not plain. */
extern void mcdp_read_message(Jsonb *payload, Message *m);

/*
 * Of one that is not plain: all that it may name, those before included; what it
 * names when it is in order is among them.
 */
extern void mcdp_read_names(Jsonb *payload, Message *m);

#endif							/* MCDP_MESSAGE_READ_H */
