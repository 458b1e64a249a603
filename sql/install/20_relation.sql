/* 20_relation: who stands in which relation to whom, and when
 *
 * Rows are kept by leaf: those of the profiles that a call named, or of the
 * leaves that its identifiers are of.  Merging and splitting leave them alone.
 *
 * unrelate ends the relations of all leaves.  To undo a merge, what it did to
 * the rows of other leaves has to be taken back, and a call by identifiers that
 * came later may have begun what had not ended without the merge.  So from the
 * first time that rows of two leaves are ended for profiles that these were
 * merged into, relation_call keeps the rows as they were and what calls did
 * since; unmerge leaves out what the leaves are no longer part of and works the
 * rows out again.  Two leaves whose rows nobody else ended have none there.
 */

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

CREATE SEQUENCE cdp.relation_call_nr_seq;
COMMENT ON SEQUENCE cdp.relation_call_nr_seq IS 'order of calls about relations';
CREATE TABLE cdp.relation_call (
	a			bigint NOT NULL,
	relation	text NOT NULL,
	b			bigint NOT NULL,
	nr			bigint NOT NULL DEFAULT nextval('cdp.relation_call_nr_seq'),
	what		text NOT NULL,
	at			timestamptz NOT NULL,
	until		timestamptz,
	source		text,
	ended_a		bigint,
	ended_b		bigint,
	PRIMARY KEY (a, relation, b, nr),
	CONSTRAINT relation_call_what_check CHECK (what IN ('relate', 'named', 'unrelate'))
);
COMMENT ON TABLE cdp.relation_call IS 'what calls did to relations of leaves that unrelate ended for profiles they were merged into';
COMMENT ON COLUMN cdp.relation_call.what IS 'relate (or a row that was there before), named: a call of identifiers, unrelate of ended_a and ended_b';
CREATE INDEX relation_call_b_idx ON cdp.relation_call (b);

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
	DO UPDATE SET until = excluded.until, source = excluded.source
	WHERE (r.until, r.source) IS DISTINCT FROM (excluded.until, excluded.source);
	INSERT INTO relation_call (a, relation, b, what, at, until, source)
	SELECT from_id, relate.relation, to_id, 'relate', relate.since, relate.until, relate.source
	WHERE EXISTS (SELECT FROM relation_call c WHERE (c.a, c.relation, c.b) = (from_id, relate.relation, to_id));
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
	IF cardinality(from_ids) > 1 OR cardinality(to_ids) > 1 THEN
		INSERT INTO relation_call (a, relation, b, what, at, until, source)
		SELECT r.a, r.relation, r.b, 'relate', r.since, r.until, r.source FROM relation r
		WHERE r.a = ANY (from_ids) AND r.relation = unrelate.relation AND r.b = ANY (to_ids) AND (r.a, r.b) <> (from_id, to_id)
		  AND NOT EXISTS (SELECT FROM relation_call c WHERE (c.a, c.relation, c.b) = (r.a, r.relation, r.b))
		  AND EXISTS (SELECT FROM relation o WHERE (o.a, o.relation, o.b) = (r.a, r.relation, r.b) AND o.since <= unrelate.at AND (o.until IS NULL OR o.until > unrelate.at))
		ORDER BY r.a, r.b, r.since;
		INSERT INTO relation_call (a, relation, b, what, at, ended_a, ended_b)
		SELECT DISTINCT c.a, c.relation, c.b, 'unrelate', unrelate.at, from_id, to_id FROM relation_call c
		WHERE c.a = ANY (from_ids) AND c.relation = unrelate.relation AND c.b = ANY (to_ids);
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

-- Two profiles of different kinds that one call named together.  Whoever calls this holds
-- the profile of a: of two who find no relation the second is to find the first one's.
CREATE FUNCTION cdp._relate_kinds(a bigint, b bigint, relation text, at timestamptz, source text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	known	timestamptz;
BEGIN
	-- After another such call at this time, or before it with no end between the two, it changes nothing, whatever was ended.
	INSERT INTO relation_call (a, relation, b, what, at, source)
	SELECT _relate_kinds.a, _relate_kinds.relation, _relate_kinds.b, 'named', _relate_kinds.at, _relate_kinds.source
	WHERE EXISTS (SELECT FROM relation_call c WHERE (c.a, c.relation, c.b) = (_relate_kinds.a, _relate_kinds.relation, _relate_kinds.b))
	  AND NOT EXISTS (
		SELECT FROM relation_call c
		WHERE (c.a, c.relation, c.b) = (_relate_kinds.a, _relate_kinds.relation, _relate_kinds.b) AND c.what = 'named' AND c.at <= _relate_kinds.at
		  AND NOT EXISTS (
			SELECT FROM relation_call o CROSS JOIN LATERAL (SELECT CASE o.what WHEN 'relate' THEN o.until ELSE o.at END) e (ends)
			WHERE (o.a, o.relation, o.b) = (c.a, c.relation, c.b) AND o.what <> 'named'
			  AND (o.nr > c.nr OR e.ends > c.at AND e.ends <= _relate_kinds.at)));
	SELECT r.since INTO known
	FROM relation r
	WHERE r.a = _relate_kinds.a AND r.relation = _relate_kinds.relation AND r.b = _relate_kinds.b
	  AND (r.until IS NULL OR r.until > _relate_kinds.at)
	ORDER BY r.since LIMIT 1;
	IF known IS NULL THEN
		INSERT INTO relation (a, relation, b, since, source)
		VALUES (_relate_kinds.a, _relate_kinds.relation, _relate_kinds.b, _relate_kinds.at, _relate_kinds.source)
		ON CONFLICT DO NOTHING;
	ELSIF known > _relate_kinds.at THEN
		UPDATE relation r SET since = _relate_kinds.at
		WHERE r.a = _relate_kinds.a AND r.relation = _relate_kinds.relation AND r.b = _relate_kinds.b AND r.since = known;
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._relate_kinds(bigint, bigint, text, timestamptz, text)
	IS 'make sure that the relation holds at this time; an earlier time moves its beginning';

-- Groups are told again and again.
CREATE FUNCTION cdp._new_members(members bigint[], accounts bigint[], ats timestamptz[]) RETURNS int[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
	RETURN ARRAY(
		SELECT m.nr::int FROM unnest(members, accounts, ats) WITH ORDINALITY AS m (member, account, at, nr)
		WHERE m.member <> m.account
		  AND (NOT EXISTS (SELECT FROM relation r WHERE r.a = m.member AND r.relation = 'member' AND r.b = m.account
							 AND r.since <= m.at AND (r.until IS NULL OR r.until > m.at))
			   OR EXISTS (SELECT FROM relation_call c WHERE c.a = m.member AND c.relation = 'member' AND c.b = m.account))
		ORDER BY m.nr);
END
$$;
COMMENT ON FUNCTION cdp._new_members(bigint[], bigint[], timestamptz[])
	IS 'which of these, from 1, _relate_kinds would have to write something for: leaves, those of their accounts, and when they were named together';

CREATE FUNCTION cdp._add_members(members bigint[], accounts bigint[], ats timestamptz[], sources text[]) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM _relate_kinds(m.member, m.account, 'member', m.at, m.source)
	FROM (SELECT * FROM unnest(members, accounts, ats, sources) WITH ORDINALITY AS m (member, account, at, source, nr)
		  ORDER BY m.member, m.account, m.nr) m;
END
$$;
COMMENT ON FUNCTION cdp._add_members(bigint[], bigint[], timestamptz[], text[]) IS '_relate_kinds for the members of accounts that messages named; their profiles are locked';

CREATE FUNCTION cdp._relate_again(a bigint, relation text, b bigint) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	c		record;
	known	timestamptz;
	rows	relation[] := '{}';
BEGIN
	-- as relate, _relate_kinds and unrelate
	FOR c IN
		SELECT x.* FROM relation_call x WHERE (x.a, x.relation, x.b) = (_relate_again.a, _relate_again.relation, _relate_again.b) ORDER BY x.nr
	LOOP
		known := (SELECT min(r.since) FROM unnest(rows) r WHERE r.until IS NULL OR r.until > c.at);
		IF c.what = 'unrelate' THEN
			rows := ARRAY(SELECT (r.a, r.relation, r.b, r.since, CASE WHEN r.since > c.at OR r.until <= c.at THEN r.until ELSE c.at END, r.source)::relation
						  FROM unnest(rows) r WHERE r.since <> c.at);
		ELSIF c.what = 'relate' OR known IS NULL THEN
			rows := ARRAY(SELECT r FROM unnest(rows) r WHERE r.since <> c.at) || (c.a, c.relation, c.b, c.at, c.until, c.source)::relation;
		ELSIF known > c.at THEN
			rows := ARRAY(SELECT (r.a, r.relation, r.b, CASE r.since WHEN known THEN c.at ELSE r.since END, r.until, r.source)::relation FROM unnest(rows) r);
		END IF;
	END LOOP;
	DELETE FROM relation r
	WHERE (r.a, r.relation, r.b) = (_relate_again.a, _relate_again.relation, _relate_again.b) AND r.since NOT IN (SELECT n.since FROM unnest(rows) n);
	INSERT INTO relation AS r SELECT n.* FROM unnest(rows) n ORDER BY n.since
	ON CONFLICT ON CONSTRAINT relation_pkey
	DO UPDATE SET until = excluded.until, source = excluded.source
	WHERE (r.until, r.source) IS DISTINCT FROM (excluded.until, excluded.source);
	DELETE FROM relation_call x
	WHERE (x.a, x.relation, x.b) = (_relate_again.a, _relate_again.relation, _relate_again.b)
	  AND NOT EXISTS (SELECT FROM relation_call o WHERE (o.a, o.relation, o.b) = (x.a, x.relation, x.b) AND (o.ended_a, o.ended_b) <> (o.a, o.b));
END
$$;
COMMENT ON FUNCTION cdp._relate_again(bigint, text, bigint) IS 'makes the relations of two leaves what the calls that are kept make of them';

CREATE FUNCTION cdp._unmerge_relations(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	r record;
BEGIN
	FOR r IN
		WITH gone AS (
			DELETE FROM relation_call c
			USING profile a, profile b, profile ended_a, profile ended_b
			WHERE (c.a = ANY (leaves) OR c.b = ANY (leaves))
			  AND a.profile_id = c.a AND b.profile_id = c.b AND ended_a.profile_id = c.ended_a AND ended_b.profile_id = c.ended_b
			  AND (a.canonical_id <> ended_a.canonical_id OR b.canonical_id <> ended_b.canonical_id)
			RETURNING c.a, c.relation, c.b
		)
		SELECT DISTINCT g.* FROM gone g ORDER BY 1, 2, 3
	LOOP
		PERFORM _relate_again(r.a, r.relation, r.b);
	END LOOP;
END
$$;
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
