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

#define MESSAGE_IDS 16			/* that a plain message has at most */

typedef enum MessageKind
{
	MESSAGE_OTHER,				/* not plain */
	MESSAGE_REPEATED,			/* its id was seen */
	MESSAGE_EVENT,
	MESSAGE_IDENTIFY,
	MESSAGE_GROUP
} MessageKind;

typedef struct Message
{
	MessageKind kind;
	TimestampTz at;
	text	   *event;
	text	   *message_id;		/* these may be NULL; of what is not plain too if it is a text */
	text	   *source;
	Datum	   *ids;			/* a group need not have any */
	int			num_ids;
	int			max_ids;
	Datum		group;			/* the identifier of its account */
	Jsonb	   *properties;		/* NULL: none */
	Jsonb	   *context;
	Jsonb	   *traits;
	int			call;			/* of stitch_many, or -1 */
	int			group_call;		/* of a group, the one about the account; call is the same if nobody else is named */
	bool		joins;			/* a group that tells news of who is a member */
} Message;

/* Its kind is MESSAGE_OTHER when it is not plain. */
extern void mcdp_read_message(Jsonb *payload, Message *m);

/*
 * Of one that is not plain: all that it may name, those before included; what it
 * names when it is in order is among them.
 */
extern void mcdp_read_names(Jsonb *payload, Message *m);

#endif							/* MCDP_MESSAGE_READ_H */
