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
	MESSAGE_IDENTIFY
} MessageKind;

typedef struct Message
{
	MessageKind kind;
	TimestampTz at;
	text	   *event;
	text	   *message_id;		/* these may be NULL; of what is not plain too if it is a text */
	text	   *source;
	Datum	   *ids;
	int			num_ids;
	int			max_ids;
	Jsonb	   *properties;		/* NULL: none */
	Jsonb	   *context;
	Jsonb	   *traits;
	int			call;			/* of stitch_many, or -1 */
} Message;

/* Its kind is MESSAGE_OTHER when it is not plain. */
extern void mcdp_read_message(Jsonb *payload, Message *m);

/*
 * Of one that is not plain: all that it may name, those before included; what it
 * names when it is in order is among them.
 */
extern void mcdp_read_names(Jsonb *payload, Message *m);

#endif							/* MCDP_MESSAGE_READ_H */
