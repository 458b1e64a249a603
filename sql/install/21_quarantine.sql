/* 21_quarantine: identifiers that were named together with too many others */

CREATE TABLE cdp.quarantined_identifier (
	identifier	cdp.identifier PRIMARY KEY,
	at			timestamptz NOT NULL,
	degree		int,
	reason		text NOT NULL,
	lifted_at	timestamptz
);
COMMENT ON TABLE cdp.quarantined_identifier IS 'identifiers that link nobody any more, because they were named together with too many others or somebody said so';
COMMENT ON COLUMN cdp.quarantined_identifier.degree IS 'how many others it was named together with; NULL: put there by hand';
COMMENT ON COLUMN cdp.quarantined_identifier.lifted_at IS 'since then it may link again, and no rule puts it back';

-- Only pairs within one profile count: what a rule refused, or what was taken
-- apart since, does not.
CREATE FUNCTION cdp._degree(identifier cdp.identifier, root bigint, others cdp.identifier[]) RETURNS int
LANGUAGE sql STABLE PARALLEL SAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
	SELECT count(*)::int
	FROM (SELECT l.identifier
		  FROM cdp.profile p JOIN cdp.identifier_link l ON l.profile_id = p.profile_id
		  WHERE p.canonical_id = root
			AND (l.peer OPERATOR(cdp.=) _degree.identifier
				 OR l.identifier OPERATOR(cdp.=) (SELECT o.peer FROM cdp.identifier_link o WHERE o.identifier OPERATOR(cdp.=) _degree.identifier)
				 OR EXISTS (SELECT FROM cdp.extra_edge e
							WHERE e.a OPERATOR(cdp.=) least(l.identifier, _degree.identifier) AND e.b OPERATOR(cdp.=) greatest(l.identifier, _degree.identifier)
							  AND e.inactive_at IS NULL))
		  UNION
		  SELECT o FROM unnest(others) o) n;
$$;
COMMENT ON FUNCTION cdp._degree(cdp.identifier, bigint, cdp.identifier[])
	IS 'how many identifiers of its profile it was named together with, or is now to be';

CREATE FUNCTION cdp._quarantine(identifiers cdp.identifier[], roots bigint[], at timestamptz, source text) RETURNS SETOF cdp.quarantined_identifier
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
DECLARE
	allowed	int;
	known	quarantined_identifier;
	others	identifier[];
	refused	identifier[] := '{}';
BEGIN
	-- the usual case
	IF NOT EXISTS (SELECT FROM namespace_rule r WHERE r.quarantine_after IS NOT NULL)
		AND NOT EXISTS (SELECT FROM quarantined_identifier)
	THEN
		RETURN;
	END IF;
	FOR i IN REVERSE cardinality(identifiers) .. 1 LOOP
		-- the last one left links nobody
		EXIT WHEN cardinality(refused) = cardinality(identifiers) - 1;
		SELECT q.* INTO known FROM quarantined_identifier q WHERE q.identifier = identifiers[i];
		IF NOT FOUND THEN
			SELECT r.quarantine_after INTO allowed FROM namespace_rule_effective r
			WHERE r.namespace = namespace(identifiers[i]) AND r.quarantine_after IS NOT NULL;
			CONTINUE WHEN NOT FOUND;
			-- It would be evidence with the first one; the first one with all.
			others := CASE WHEN i = 1 THEN ARRAY(SELECT o FROM unnest(identifiers[2:]) o WHERE o <> ALL (refused)) ELSE identifiers[1:1] END;
			known.identifier := identifiers[i];
			known.at := _quarantine.at;
			known.degree := _degree(identifiers[i], roots[i], others);
			known.reason := format('named together with more than %s others', allowed);
			known.lifted_at := NULL;
			CONTINUE WHEN known.degree <= allowed;
			INSERT INTO quarantined_identifier SELECT known.* ON CONFLICT DO NOTHING;
		END IF;
		CONTINUE WHEN known.lifted_at IS NOT NULL;
		refused := refused || known.identifier;
		INSERT INTO identity_refusal (at, identifiers, reason, source)
		VALUES (_quarantine.at, ARRAY[known.identifier], 'in quarantine: ' || known.reason, _quarantine.source);
		RETURN NEXT known;
	END LOOP;
END
$$;
COMMENT ON FUNCTION cdp._quarantine(cdp.identifier[], bigint[], timestamptz, text)
	IS 'which of these (highest priority first, with their canonical profiles) must link nobody; one is always left';

CREATE FUNCTION cdp.quarantine(identifier cdp.identifier, reason text DEFAULT 'by hand', at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF quarantine.identifier IS NULL OR quarantine.reason IS NULL OR quarantine.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'identifier, reason and at must not be null';
	END IF;
	INSERT INTO quarantined_identifier AS q (identifier, at, reason)
	VALUES (quarantine.identifier, quarantine.at, quarantine.reason)
	ON CONFLICT ON CONSTRAINT quarantined_identifier_pkey
	DO UPDATE SET at = excluded.at, degree = NULL, reason = excluded.reason, lifted_at = NULL WHERE q.lifted_at IS NOT NULL;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION cdp.quarantine(cdp.identifier, text, timestamptz) IS 'from now on this identifier links nobody; false if that is so already';

CREATE FUNCTION cdp.lift_quarantine(identifier cdp.identifier, at timestamptz DEFAULT now()) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	IF lift_quarantine.identifier IS NULL OR lift_quarantine.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'identifier and at must not be null';
	END IF;
	UPDATE quarantined_identifier q SET lifted_at = lift_quarantine.at
	WHERE q.identifier = lift_quarantine.identifier AND q.lifted_at IS NULL;
	RETURN FOUND;
END
$$;
COMMENT ON FUNCTION cdp.lift_quarantine(cdp.identifier, timestamptz)
	IS 'from now on this identifier may link again, and no rule puts it back; false if it is in no quarantine';
