/* 20_profile: who there is
 *
 * A profile is a person, a store, an account … with a small dense id that it
 * keeps for ever.  A merge is a link: the merged profile (a leaf) stays, and
 * its canonical_id names the survivor.  A profile is canonical when
 * canonical_id = profile_id; chains do not exist, canonical_id always names
 * the root.
 */

CREATE SEQUENCE cdp.profile_id_seq;
COMMENT ON SEQUENCE cdp.profile_id_seq IS 'profile ids: dense, because bitmaps pay for sparse ones';

CREATE TABLE cdp.profile (
	profile_id		bigint PRIMARY KEY DEFAULT nextval('cdp.profile_id_seq'),
	kind			text NOT NULL,
	canonical_id	bigint NOT NULL,
	first_at		timestamptz NOT NULL,
	suppressed		boolean NOT NULL DEFAULT false,
	erased_at		timestamptz,
	CONSTRAINT profile_id_check CHECK (profile_id > 0)
);
COMMENT ON TABLE cdp.profile IS 'every profile ever made; merged ones (leaves) stay and point to their canonical profile';
COMMENT ON COLUMN cdp.profile.kind IS 'person, store, account, …: profiles of different kinds are related, never merged';
COMMENT ON COLUMN cdp.profile.canonical_id IS 'the profile this one was merged into, or itself';
COMMENT ON COLUMN cdp.profile.first_at IS 'earliest "at" of any call that named this leaf';
COMMENT ON COLUMN cdp.profile.suppressed IS 'never in an audience';
CREATE INDEX profile_canonical_id_idx ON cdp.profile (canonical_id);
CREATE INDEX profile_kind_first_at_idx ON cdp.profile (kind, first_at);

-- Work rows, written by whatever changes a profile and deleted by the task
-- that looks at it again (FOR UPDATE SKIP LOCKED).
CREATE TABLE cdp.profile_queue (
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	cause		text NOT NULL,
	CONSTRAINT profile_queue_cause_check CHECK (cause IN ('first', 'event', 'backfill', 'merge'))
);
COMMENT ON TABLE cdp.profile_queue IS 'profiles whose derived state (lifecycle …) has to be looked at again';
COMMENT ON COLUMN cdp.profile_queue.at IS 'earliest instant at which something changed';
CREATE INDEX profile_queue_profile_id_idx ON cdp.profile_queue (profile_id);
CREATE INDEX profile_queue_at_idx ON cdp.profile_queue (at);
CREATE INDEX profile_queue_merge_idx ON cdp.profile_queue (at) WHERE cause = 'merge';

-- One row in place of many: what a call makes in bulk is dense, and a bitmap of
-- it small.  _queue_batches (33_lifecycle_state) gives those their rows whose turn it is.
CREATE TABLE cdp.profile_batch (
	at		timestamptz NOT NULL,
	members	cdp.bitmap NOT NULL
);
COMMENT ON TABLE cdp.profile_batch IS 'profiles that were made together and have no row "first" in profile_queue yet; merges leave it alone, erase takes ids out';
COMMENT ON COLUMN cdp.profile_batch.at IS 'not later than the first_at of any of them';
CREATE INDEX profile_batch_at_idx ON cdp.profile_batch (at);
