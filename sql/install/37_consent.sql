/* 37_consent: who may be written to, what for, and how
 *
 * A purpose is what a message is for (marketing), a channel is how it comes
 * (email).  consent_log is the truth: every decision of a profile about a
 * purpose on a channel, never changed.  A decision belongs to the profile that
 * was canonical when it was made.  What is in force:
 *
 *		One profile: its latest decision (of several at one instant, a refusal).
 *		Merged profiles: each one's latest decision counts, and one refusal is
 *		enough; but a decision made after two of them had become one is about
 *		both, so it overrules what either had said before.
 *
 * Purpose and channel "*" are those of 37_suppression.  Order of arrival makes
 * no difference.  The tags "consent:purpose.channel"
 * are derived from it: whose decision in force is a grant.
 *
 * Locks: the purpose and channel (advisory: single decisions share it, bulk
 * ones do not), then as in 30_tag.
 */

CREATE TABLE cdp.purpose (
	name			text NOT NULL,
	needs_consent	boolean NOT NULL,
	capped			boolean NOT NULL,
	quiet			boolean NOT NULL,
	seeded			boolean NOT NULL DEFAULT false,
	PRIMARY KEY (name, seeded)
);
COMMENT ON TABLE cdp.purpose IS 'what messages are for; a purpose without a row needs consent, counts for caps and keeps quiet hours; writable';
COMMENT ON COLUMN cdp.purpose.capped IS 'its messages count for, and are held back by, frequency caps';
COMMENT ON COLUMN cdp.purpose.quiet IS 'its messages wait for the end of quiet hours';

CREATE TABLE cdp.channel (
	name		text NOT NULL,
	namespace	text NOT NULL,
	per_minute	int,
	seeded		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (name, seeded),
	CONSTRAINT channel_per_minute_check CHECK (per_minute >= 0)
);
COMMENT ON TABLE cdp.channel IS 'how messages travel, and the namespace of the addresses they go to; writable';
COMMENT ON COLUMN cdp.channel.per_minute IS 'at most so many messages a minute; NULL = no limit';

CREATE TRIGGER keep_seeded BEFORE UPDATE OR DELETE ON cdp.purpose
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();
CREATE TRIGGER seeded_defaults BEFORE INSERT OR UPDATE ON cdp.purpose
	FOR EACH ROW WHEN (NEW.needs_consent IS NULL OR NEW.capped IS NULL OR NEW.quiet IS NULL)
	EXECUTE FUNCTION cdp._seeded_defaults('name', 'needs_consent', 'true', 'capped', 'true', 'quiet', 'true');
CREATE TRIGGER keep_seeded BEFORE UPDATE OR DELETE ON cdp.channel
	FOR EACH ROW WHEN (OLD.seeded) EXECUTE FUNCTION cdp._keep_seeded();
CREATE TRIGGER seeded_defaults BEFORE INSERT OR UPDATE ON cdp.channel
	FOR EACH ROW WHEN (NEW.namespace IS NULL) EXECUTE FUNCTION cdp._seeded_defaults('name', 'namespace', 'null');

INSERT INTO cdp.purpose (name, needs_consent, capped, quiet, seeded) VALUES
	('marketing',		true,	true,	true,	true),
	('transactional',	false,	false,	false,	true);
INSERT INTO cdp.channel (name, namespace, seeded) VALUES
	('email',		'email',		true),
	('sms',			'phone',		true),
	('push',		'device_id',	true),
	('wechat',		'openid',		true);

CREATE VIEW cdp.purpose_effective WITH (security_invoker) AS
	SELECT DISTINCT ON (p.name) p.name, p.needs_consent, p.capped, p.quiet, p.seeded
	FROM cdp.purpose p
	ORDER BY p.name, p.seeded;
COMMENT ON VIEW cdp.purpose_effective IS 'the purposes in force: the user''s row, or else the seeded one';

CREATE VIEW cdp.channel_effective WITH (security_invoker) AS
	SELECT DISTINCT ON (c.name) c.name, c.namespace, c.per_minute, c.seeded
	FROM cdp.channel c
	ORDER BY c.name, c.seeded;
COMMENT ON VIEW cdp.channel_effective IS 'the channels in force: the user''s row, or else the seeded one';

CREATE SEQUENCE cdp.consent_id_seq;
COMMENT ON SEQUENCE cdp.consent_id_seq IS 'ids of consent decisions, in order of arrival';
CREATE TABLE cdp.consent_log (
	consent_id	bigint PRIMARY KEY DEFAULT nextval('cdp.consent_id_seq'),
	profile_id	bigint NOT NULL,
	purpose		text NOT NULL,
	channel		text NOT NULL,
	granted		boolean NOT NULL,
	at			timestamptz NOT NULL,
	source		text,
	received_at	timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE cdp.consent_log IS 'every decision of a profile about a purpose on a channel; only added to';
COMMENT ON COLUMN cdp.consent_log.profile_id IS 'who was canonical when the decision was made; a merge leaves it alone';
COMMENT ON COLUMN cdp.consent_log.received_at IS 'when it was recorded; decides nothing';
CREATE UNIQUE INDEX consent_log_decision_idx ON cdp.consent_log (profile_id, purpose, channel, at, granted);
CREATE INDEX consent_log_purpose_idx ON cdp.consent_log (purpose, channel, profile_id);

-- reading

CREATE FUNCTION cdp._needs_consent(purpose text) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce((SELECT p.needs_consent FROM cdp.purpose_effective p WHERE p.name = purpose), true);
END;
COMMENT ON FUNCTION cdp._needs_consent(text) IS 'does the purpose need consent? One without a row does';

-- The merges that lead from one to the other are those that took one of them
-- and not the other.
CREATE FUNCTION cdp._joined_at(a bigint, b bigint) RETURNS timestamptz
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce((
		SELECT max(m.at) FROM cdp.profile me JOIN cdp.profile l ON l.canonical_id = me.canonical_id
			JOIN cdp.profile_merge m ON m.merged = l.profile_id
		WHERE me.profile_id = a AND m.undone_at IS NULL AND (a = ANY (m.members)) <> (b = ANY (m.members))), 'infinity');
END;
COMMENT ON FUNCTION cdp._joined_at(bigint, bigint) IS 'since when two leaves of one canonical profile are one';

CREATE FUNCTION cdp._consent_in_force(id bigint, at timestamptz) RETURNS TABLE (purpose text, channel text, granted boolean)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	WITH said AS (
		SELECT l.profile_id, l.purpose, l.channel, l.granted, l.at
		FROM cdp.profile p JOIN cdp.consent_log l ON l.profile_id = p.profile_id
		WHERE p.canonical_id = _consent_in_force.id AND l.at <= _consent_in_force.at
	)
	SELECT s.purpose, s.channel, bool_and(s.granted)
	FROM said s
	WHERE NOT EXISTS (SELECT FROM said o
					  WHERE o.purpose = s.purpose AND o.channel = s.channel
						AND (o.at, NOT o.granted) > (s.at, NOT s.granted)
						AND (o.profile_id = s.profile_id OR o.at >= cdp._joined_at(s.profile_id, o.profile_id)))
	GROUP BY s.purpose, s.channel;
END;
COMMENT ON FUNCTION cdp._consent_in_force(bigint, timestamptz) IS 'what a canonical profile had decided at an instant, for each purpose and channel it ever decided about';

CREATE FUNCTION cdp.consented(profile bigint, purpose text, channel text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT coalesce((
		SELECT NOT cdp._needs_consent(consented.purpose)
			OR coalesce((SELECT d.granted FROM cdp._consent_in_force(p.canonical_id, consented.at) d
						 WHERE d.purpose = consented.purpose AND d.channel = consented.channel), false)
		FROM cdp.profile p WHERE p.profile_id = consented.profile), false);
END;
COMMENT ON FUNCTION cdp.consented(bigint, text, text, timestamptz) IS 'may the profile be written to for this purpose on this channel?';

-- Most profiles are no merger and have said one thing: only decisions that
-- disagree need the merges looked at.
CREATE FUNCTION cdp._message_consented(profile_id bigint, purpose text, channel text, declared boolean, at timestamptz) RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	owner		bigint;
	purposes	text[] := ARRAY[_message_consented.purpose];
	channels	text[] := ARRAY[_message_consented.channel];
	all_granted	boolean;
	any_granted	boolean;
BEGIN
	SELECT c.profile_id INTO owner
	FROM cdp.profile p JOIN cdp.profile c ON c.profile_id = p.canonical_id
	WHERE p.profile_id = _message_consented.profile_id AND NOT c.suppressed AND c.erased_at IS NULL;
	IF NOT FOUND THEN
		RETURN false;
	ELSIF NOT declared THEN
		purposes := purposes || '*'::text;
		channels := channels || '*'::text;
	ELSIF NOT cdp._needs_consent(_message_consented.purpose) THEN
		RETURN true;
	END IF;
	SELECT bool_and(l.granted), bool_or(l.granted) INTO all_granted, any_granted
	FROM cdp.profile p JOIN cdp.consent_log l ON l.profile_id = p.profile_id
	WHERE p.canonical_id = owner AND l.purpose = ANY (purposes) AND l.channel = ANY (channels) AND l.at <= _message_consented.at;
	IF all_granted IS NULL THEN
		RETURN NOT declared;
	ELSIF all_granted = any_granted THEN
		RETURN all_granted;
	END IF;
	RETURN (SELECT bool_and(d.granted) FROM cdp._consent_in_force(owner, _message_consented.at) d
			WHERE d.purpose = ANY (purposes) AND d.channel = ANY (channels));
END
$$;
COMMENT ON FUNCTION cdp._message_consented(bigint, text, text, boolean, timestamptz)
	IS 'may this message go to the profile? A purpose that the journey names (declared) must have been granted, one that it does not name must not have been refused';

CREATE FUNCTION cdp._consent_sets(ids cdp.bitmap, purpose text, channel text, at timestamptz, OUT granted cdp.bitmap, OUT refused cdp.bitmap)
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	WITH latest AS (
		SELECT DISTINCT ON (l.profile_id) p.canonical_id, l.granted
		FROM cdp.consent_log l JOIN cdp.profile p ON p.profile_id = l.profile_id
		WHERE l.purpose = _consent_sets.purpose AND l.channel = _consent_sets.channel AND l.at <= _consent_sets.at
			AND ids OPERATOR(cdp.@>) p.canonical_id
		ORDER BY l.profile_id, l.at DESC, l.granted
	), decided AS (
		SELECT s.canonical_id, CASE WHEN s.leaves = 1 OR s.granted THEN s.granted
			ELSE (SELECT d.granted FROM cdp._consent_in_force(s.canonical_id, _consent_sets.at) d
				  WHERE d.purpose = _consent_sets.purpose AND d.channel = _consent_sets.channel) END AS granted
		FROM (SELECT l.canonical_id, count(*) AS leaves, bool_and(l.granted) AS granted FROM latest l GROUP BY 1) s
	)
	SELECT coalesce(cdp.rb_build_agg(d.canonical_id) FILTER (WHERE d.granted), '{}'),
		coalesce(cdp.rb_build_agg(d.canonical_id) FILTER (WHERE NOT d.granted), '{}')
	FROM decided d;
END;
COMMENT ON FUNCTION cdp._consent_sets(cdp.bitmap, text, text, timestamptz) IS 'who of these canonical profiles had granted and who had refused';

-- deciding

CREATE FUNCTION cdp._check_consent(purpose text, channel text, granted boolean, at timestamptz) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	what text;
	name text;
BEGIN
	IF purpose IS NULL OR channel IS NULL OR granted IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'purpose, channel and granted must not be null';
	END IF;
	PERFORM cdp._check_tag_time(NULL, at);
	FOR what, name IN VALUES ('purpose', purpose), ('channel', channel) LOOP
		IF name !~ '^([[:alnum:]_]|[^\u0001-\u007f])(([[:alnum:]_-]|[^\u0001-\u007f])*([[:alnum:]_]|[^\u0001-\u007f]))?$' OR octet_length(name) > 100 THEN	-- letters of any script, in any locale
			RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('invalid name of a %s: "%s"', what, name),
				DETAIL = 'A name has letters, digits or "_", and "-" between them, and at most 100 bytes.';
		END IF;
	END LOOP;
	RETURN 'consent:' || purpose || '.' || channel;
END
$$;
COMMENT ON FUNCTION cdp._check_consent(text, text, boolean, timestamptz) IS 'refuses what is no decision; returns the tag of this purpose and channel';

CREATE FUNCTION cdp._consent_lock(tag text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN hashtextextended('marketing_cdp ' || tag, 0);
COMMENT ON FUNCTION cdp._consent_lock(text) IS 'advisory lock that keeps single and bulk decisions about one purpose and channel apart';

CREATE FUNCTION cdp.consent(profile bigint, purpose text, channel text, granted boolean, at timestamptz DEFAULT now(), source text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	tag text := cdp._check_consent(consent.purpose, consent.channel, consent.granted, consent.at);
	id bigint;
	holds boolean;
BEGIN
	PERFORM pg_advisory_xact_lock_shared(cdp._consent_lock(tag));
	id := cdp._lock_canonical(consent.profile, true);
	INSERT INTO cdp.consent_log (profile_id, purpose, channel, granted, at, source)
	VALUES (id, consent.purpose, consent.channel, consent.granted, consent.at, consent.source)
	ON CONFLICT DO NOTHING;
	SELECT d.granted INTO holds FROM cdp._consent_in_force(id, 'infinity') d
	WHERE d.purpose = consent.purpose AND d.channel = consent.channel;
	IF cdp._set_tag(tag, id, holds) THEN
		PERFORM cdp._note_tag_history(tag, id, holds, consent.at);
		PERFORM cdp._tag_trigger(CASE WHEN holds THEN 'enters' ELSE 'leaves' END, tag, id, consent.at);
	END IF;
END
$$;
COMMENT ON FUNCTION cdp.consent(bigint, text, text, boolean, timestamptz, text) IS 'a profile grants, or refuses, to be written to for this purpose on this channel';

CREATE FUNCTION cdp._consent_once(audience cdp.bitmap, purpose text, channel text, granted boolean, at timestamptz, source text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
#variable_conflict use_column
DECLARE
	tag text := cdp._check_consent(_consent_once.purpose, _consent_once.channel, _consent_once.granted, _consent_once.at);
	ids cdp.bitmap;
	holds cdp.bitmap;
BEGIN
	IF _consent_once.audience IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'audience must not be null';
	END IF;
	PERFORM pg_advisory_xact_lock(cdp._consent_lock(tag));
	PERFORM cdp._lock_merges();
	ids := cdp._canonical_set(_consent_once.audience);
	INSERT INTO cdp.consent_log (profile_id, purpose, channel, granted, at, source)
	SELECT i, _consent_once.purpose, _consent_once.channel, _consent_once.granted, _consent_once.at, _consent_once.source FROM cdp.rb_iterate(ids) i
	ON CONFLICT DO NOTHING;
	SELECT s.granted INTO holds FROM cdp._consent_sets(ids, _consent_once.purpose, _consent_once.channel, 'infinity') s;
	PERFORM cdp._tag_changes(tag, holds, cdp.rb_andnot(ids, holds), _consent_once.at, 'tag');
END
$$;
COMMENT ON FUNCTION cdp._consent_once(cdp.bitmap, text, text, boolean, timestamptz, text) IS 'an attempt at consent';

CREATE FUNCTION cdp.consent(audience cdp.bitmap, purpose text, channel text, granted boolean, at timestamptz DEFAULT now(), source text DEFAULT NULL) RETURNS void
LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'mcdp_begin_again';
COMMENT ON FUNCTION cdp.consent(cdp.bitmap, text, text, boolean, timestamptz, text) IS 'the same decision by every profile of a set';

-- The caller has locked the profile, and the row of profile_merge is there (or
-- is undone) already.  A merge is no decision: journeys are not told.
CREATE FUNCTION cdp._derive_consent(id bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	t record;
BEGIN
	FOR t IN
		SELECT coalesce(d.tag, o.tag) COLLATE "C" AS tag, coalesce(d.granted, false) AS granted
		FROM (SELECT 'consent:' || f.purpose || '.' || f.channel AS tag, f.granted FROM cdp._consent_in_force(id, 'infinity') f WHERE f.purpose <> '*') d
		FULL JOIN cdp._key_tags_of(id, 'consent') o (tag) ON o.tag = d.tag
		ORDER BY 1
	LOOP
		PERFORM cdp._set_tag(t.tag, id, t.granted);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._derive_consent(bigint) IS 'makes the consent tags of a canonical profile what its decisions say, after a merge or an unmerge';

CREATE FUNCTION cdp._merge_consent(survivor bigint) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	PERFORM cdp._derive_consent(survivor);
	PERFORM cdp._derive_suppressed(survivor, NULL);
END
$$;
COMMENT ON FUNCTION cdp._merge_consent(bigint) IS 'the survivor after leaves with decisions have joined it';

CREATE FUNCTION cdp._unmerge_consent(roots bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	root bigint;
BEGIN
	FOREACH root IN ARRAY roots LOOP
		PERFORM cdp._derive_consent(root);
		-- whoever it was suppressed with may have left long ago, while it was merged into another
		PERFORM cdp._derive_suppressed(root, false);
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._unmerge_consent(bigint[]) IS 'these are canonical profiles now';
