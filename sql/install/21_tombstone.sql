/* 21_tombstone: identifiers of those who were erased stay out
 *
 * What erase_profile (46_erase) leaves behind: a receipt, the ids that are
 * gone, and a tombstone for each identifier.  A tombstone is a SHA-256 of the
 * identifier and a secret of this installation: whoever has a list of
 * addresses but not the secret cannot tell who is among them.
 *
 * An identifier with a tombstone is never linked again.  A call that names it
 * is refused as a whole, because what else it says is about the same person;
 * in bulk the message goes to table rejected without what it said.  As a
 * participant it is left out.  lift_tombstone lets it in again.
 *
 * Only identifiers that are unknown can have one, so calls about known ones
 * do not look (src/store/tombstone.c).
 */

CREATE SEQUENCE cdp.erasure_id_seq;
COMMENT ON SEQUENCE cdp.erasure_id_seq IS 'ids of erasures';
CREATE TABLE cdp.erasure (
	erasure_id	bigint PRIMARY KEY DEFAULT nextval('cdp.erasure_id_seq'),
	profile_id	bigint,
	mode		text NOT NULL,
	at			timestamptz NOT NULL,
	reason		text,
	receipt		jsonb NOT NULL,
	CONSTRAINT erasure_mode_check CHECK (mode IN ('erase', 'anonymise', 'suppress', 'lift'))
);
COMMENT ON TABLE cdp.erasure IS 'receipts of erase_profile and lift_tombstone: what was done, when and why, and how much of it; no personal data';
COMMENT ON COLUMN cdp.erasure.profile_id IS 'the canonical profile as it was called: nothing carries this number any more; NULL: a tombstone was lifted';
CREATE INDEX erasure_profile_id_idx ON cdp.erasure (profile_id);

CREATE TABLE cdp.erased_profile (
	profile_id	bigint PRIMARY KEY,
	erasure_id	bigint NOT NULL
);
COMMENT ON TABLE cdp.erased_profile IS 'ids of profiles that were erased or anonymised, merged ones too: for whoever keeps copies outside';

CREATE TABLE cdp.tombstone (
	hash		bytea PRIMARY KEY,
	erasure_id	bigint NOT NULL
);
COMMENT ON TABLE cdp.tombstone IS 'identifiers that must not come back: SHA-256 of tombstone_salt and the identifier';

CREATE TABLE cdp.tombstone_salt (
	salt		bytea NOT NULL,
	only_row	boolean PRIMARY KEY DEFAULT true,
	CONSTRAINT tombstone_salt_only_row_check CHECK (only_row)
);
COMMENT ON TABLE cdp.tombstone_salt IS 'the secret of this installation, made with the first tombstone; without it tombstones mean nothing';

CREATE FUNCTION cdp._is_tombstone(identifier cdp.identifier) RETURNS boolean
LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp__is_tombstone';
COMMENT ON FUNCTION cdp._is_tombstone(cdp.identifier) IS 'is it of somebody who was erased?';

CREATE FUNCTION cdp._tombstone_hash(identifier cdp.identifier) RETURNS bytea
LANGUAGE sql STABLE STRICT PARALLEL SAFE
BEGIN ATOMIC
	SELECT sha256(s.salt || convert_to(identifier::text, 'UTF8')) FROM cdp.tombstone_salt s;
END;
COMMENT ON FUNCTION cdp._tombstone_hash(cdp.identifier) IS 'what stands for it in table tombstone; NULL when there is no secret yet';

CREATE FUNCTION cdp._refuse_erased(identifiers cdp.identifier[]) RETURNS void
LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF EXISTS (SELECT FROM unnest(identifiers) i WHERE _is_tombstone(i)) THEN
		-- the message goes to logs: it must not name anybody
		RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'an identifier is of somebody who was erased',
			HINT = 'lift_tombstone() lets it in again.';
	END IF;
END
$$;
COMMENT ON FUNCTION cdp._refuse_erased(cdp.identifier[]) IS 'raises an error if one of them is of somebody who was erased';

-- Whatever is wrong with the message: this never raises an error.
CREATE FUNCTION cdp._rejected_payload(payload jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	name text;
	found boolean;
BEGIN
	IF jsonb_typeof(payload) IS DISTINCT FROM 'object' OR NOT EXISTS (SELECT FROM tombstone) THEN
		RETURN payload;
	END IF;
	FOR name IN
		SELECT n FROM unnest(_message_identifiers(payload)) n
		UNION ALL SELECT k || ':' || _json_id(payload -> 'previousId') FROM unnest('{user_id,anonymous_id}'::text[]) k
		UNION ALL SELECT 'account:' || _json_id(payload -> 'groupId')
		UNION ALL SELECT _json_id(payload -> 'identifier')		-- a row of set_traits
	LOOP
		CONTINUE WHEN name IS NULL OR _identifier_problem(name) IS NOT NULL;
		BEGIN
			found := _is_tombstone(name::identifier);
		EXCEPTION WHEN data_exception THEN
			found := false;
		END;
		IF found THEN
			RETURN jsonb_strip_nulls(jsonb_build_object('type', left(payload ->> 'type', 20), 'erased', true));
		END IF;
	END LOOP;
	IF EXISTS (SELECT FROM erased_profile e WHERE e.profile_id::text = payload ->> 'profile_id') THEN
		RETURN jsonb_build_object('erased', true);
	END IF;
	RETURN payload;
END
$$;
COMMENT ON FUNCTION cdp._rejected_payload(jsonb) IS 'what table rejected may keep of a message: its type alone if it is about somebody who was erased';

CREATE FUNCTION cdp.lift_tombstone(identifier cdp.identifier, reason text, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF lift_tombstone.identifier IS NULL OR lift_tombstone.reason IS NULL OR lift_tombstone.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'identifier, reason and at must not be null';
	END IF;
	DELETE FROM tombstone t WHERE t.hash = _tombstone_hash(lift_tombstone.identifier);
	IF FOUND THEN
		INSERT INTO erasure (mode, at, reason, receipt)
		VALUES ('lift', lift_tombstone.at, lift_tombstone.reason, jsonb_build_object('mode', 'lift', 'removed', jsonb_build_object('tombstone', 1)));
		RETURN true;
	END IF;
	RETURN false;
END
$$;
COMMENT ON FUNCTION cdp.lift_tombstone(cdp.identifier, text, timestamptz)
	IS 'somebody who was erased is back by his own will: from now on this identifier is taken again; false if it has no tombstone';
