/*-------------------------------------------------------------------------
 *
 * message_store.h
 *	  What plain messages say of members, other names and traits.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/store/message_store.h
 *
 *-------------------------------------------------------------------------
 */
#ifndef MCDP_MESSAGE_STORE_H
#define MCDP_MESSAGE_STORE_H

#include "store/message_read.h"
#include "store/stitch.h"

/* Is all done that it says of who is who?  If not, it is for later or for the rest. */
extern bool mcdp_message_is_stitched(const Message *m, const ManyCall *calls);
extern bool mcdp_message_is_later(const Message *m, const ManyCall *calls);

/*
 * Locks the profiles that are to be held for it.  Calls about those that
 * somebody else holds are not done then, and for later (many) or for the rest.
 */
extern void mcdp_messages_lock(Message *message, ManyCall *calls, int num, bool many, bool may_be_later);

/* All of it together, of those that are still plain. */
extern void mcdp_messages_store(Jsonb **payload, Message *message, ManyCall *calls, TimestampTz *received, int num, bool backfill);

#endif							/* MCDP_MESSAGE_STORE_H */
