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

CREATE TABLE cdp.relation (
	a			bigint NOT NULL,
	relation	text NOT NULL,
	b			bigint NOT NULL,
	since		timestamptz NOT NULL,
	until		timestamptz,
	source		text,
	ended_a		bigint,
	ended_b		bigint,
	was_until	timestamptz,
	PRIMARY KEY (a, relation, b, since),
	CONSTRAINT relation_until_check CHECK (until > since)
);
COMMENT ON TABLE cdp.relation IS 'a stands in this relation to b during [since, until)';
COMMENT ON COLUMN cdp.relation.ended_a IS 'the relation was ended by unrelate for this profile, into which a was merged, and ended_b: undoing the merge gives was_until back';
CREATE INDEX relation_b_idx ON cdp.relation (b, relation);

CREATE FUNCTION cdp.relate(a bigint, b bigint, relation text, since timestamptz DEFAULT now(), until timestamptz DEFAULT NULL,
						   source text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	from_id	bigint;
	to_id	bigint;
BEGIN
	IF relate.a IS NULL OR relate.b IS NULL OR relate.relation IS NULL OR relate.since IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'a, b, relation and since must not be null';
	ELSIF relate.relation = '' THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a relation needs a name';
	ELSIF relate.until <= relate.since THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'until must be later than since';
	END IF;
	from_id := canonical_id(relate.a);
	to_id := canonical_id(relate.b);
	IF from_id IS NULL OR to_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('profile %s does not exist', CASE WHEN from_id IS NULL THEN relate.a ELSE relate.b END);
	ELSIF from_id = to_id THEN
		RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('cannot relate profile %s to itself', from_id);
	END IF;
	INSERT INTO relation AS r (a, relation, b, since, until, source)
	VALUES (from_id, relate.relation, to_id, relate.since, relate.until, relate.source)
	ON CONFLICT ON CONSTRAINT relation_pkey
	DO UPDATE SET until = excluded.until, source = excluded.source, ended_a = NULL, ended_b = NULL, was_until = NULL
	WHERE (r.until, r.source) IS DISTINCT FROM (excluded.until, excluded.source);
END
$$;
COMMENT ON FUNCTION cdp.relate(bigint, bigint, text, timestamptz, timestamptz, text)
	IS 'a stands in this relation to b during [since, until)';

CREATE FUNCTION cdp.unrelate(a bigint, b bigint, relation text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	from_id		bigint := canonical_id(unrelate.a);
	to_id		bigint := canonical_id(unrelate.b);
	from_ids	bigint[];
	to_ids		bigint[];
	ended		boolean;
BEGIN
	IF unrelate.a IS NULL OR unrelate.b IS NULL OR unrelate.relation IS NULL OR unrelate.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'a, b, relation and at must not be null';
	END IF;
	from_ids := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = from_id);
	to_ids := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = to_id);
	IF from_ids = '{}' OR to_ids = '{}' THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('profile %s does not exist', CASE WHEN from_ids = '{}' THEN unrelate.a ELSE unrelate.b END);
	END IF;
	UPDATE relation r SET until = unrelate.at,
		was_until = CASE WHEN (r.a, r.b) = (from_id, to_id) THEN NULL WHEN r.ended_a IS NULL THEN r.until ELSE r.was_until END,
		ended_a = CASE WHEN (r.a, r.b) <> (from_id, to_id) THEN coalesce(r.ended_a, from_id) END,
		ended_b = CASE WHEN (r.a, r.b) <> (from_id, to_id) THEN coalesce(r.ended_b, to_id) END
	WHERE r.a = ANY (from_ids) AND r.relation = unrelate.relation AND r.b = ANY (to_ids)
	  AND r.since < unrelate.at AND (r.until IS NULL OR r.until > unrelate.at);
	ended := FOUND;
	-- What had just begun has never been.
	DELETE FROM relation r
	WHERE r.a = ANY (from_ids) AND r.relation = unrelate.relation AND r.b = ANY (to_ids) AND r.since = unrelate.at;
	RETURN ended OR FOUND;
END
$$;
COMMENT ON FUNCTION cdp.unrelate(bigint, bigint, text, timestamptz) IS 'end a relation; false if it did not hold at that time';

CREATE FUNCTION cdp._unmerge_relations(leaves bigint[]) RETURNS void
LANGUAGE sql VOLATILE PARALLEL UNSAFE
BEGIN ATOMIC
	UPDATE cdp.relation r SET until = r.was_until, was_until = NULL, ended_a = NULL, ended_b = NULL
	FROM cdp.profile a, cdp.profile b, cdp.profile ended_a, cdp.profile ended_b
	WHERE (r.a = ANY (leaves) OR r.b = ANY (leaves)) AND r.ended_a IS NOT NULL
	  AND a.profile_id = r.a AND b.profile_id = r.b AND ended_a.profile_id = r.ended_a AND ended_b.profile_id = r.ended_b
	  AND (a.canonical_id <> ended_a.canonical_id OR b.canonical_id <> ended_b.canonical_id);
END;
COMMENT ON FUNCTION cdp._unmerge_relations(bigint[]) IS 'part of unmerge: what was ended for the profile they were is not ended for these leaves';

CREATE FUNCTION cdp.related(profile bigint, relation text, at timestamptz DEFAULT now()) RETURNS SETOF bigint
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT DISTINCT other.canonical_id
	FROM cdp.profile me
		JOIN cdp.profile leaf ON leaf.canonical_id = me.canonical_id
		JOIN cdp.relation r ON r.a = leaf.profile_id
		JOIN cdp.profile other ON other.profile_id = r.b
	WHERE me.profile_id = related.profile AND r.relation = related.relation AND other.canonical_id <> me.canonical_id
	  AND r.since <= related.at AND (r.until IS NULL OR r.until > related.at)
	ORDER BY other.canonical_id;
END;
COMMENT ON FUNCTION cdp.related(bigint, text, timestamptz) IS 'the canonical profiles to which this one stands in the relation at that time';
