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

CREATE TABLE cdp.relation (
	a			bigint NOT NULL,
	relation	text NOT NULL,
	b			bigint NOT NULL,
	since		timestamptz NOT NULL,
	until		timestamptz,
	source		text,
	PRIMARY KEY (a, relation, b, since),
	CONSTRAINT relation_until_check CHECK (until > since)
);
COMMENT ON TABLE cdp.relation IS 'a stands in this relation to b during [since, until)';
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
	ON CONFLICT ON CONSTRAINT relation_pkey DO UPDATE SET until = excluded.until, source = excluded.source
	WHERE (r.until, r.source) IS DISTINCT FROM (excluded.until, excluded.source);
END
$$;
COMMENT ON FUNCTION cdp.relate(bigint, bigint, text, timestamptz, timestamptz, text)
	IS 'a stands in this relation to b during [since, until)';

CREATE FUNCTION cdp.unrelate(a bigint, b bigint, relation text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	from_ids	bigint[];
	to_ids		bigint[];
	ended		boolean;
BEGIN
	IF unrelate.a IS NULL OR unrelate.b IS NULL OR unrelate.relation IS NULL OR unrelate.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'a, b, relation and at must not be null';
	END IF;
	from_ids := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = canonical_id(unrelate.a));
	to_ids := ARRAY(SELECT p.profile_id FROM profile p WHERE p.canonical_id = canonical_id(unrelate.b));
	IF from_ids = '{}' OR to_ids = '{}' THEN
		RAISE EXCEPTION USING ERRCODE = 'undefined_object',
			MESSAGE = format('profile %s does not exist', CASE WHEN from_ids = '{}' THEN unrelate.a ELSE unrelate.b END);
	END IF;
	UPDATE relation r SET until = unrelate.at
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
