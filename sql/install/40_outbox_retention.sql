/* 40_outbox_retention: how long messages are kept */

CREATE TABLE cdp.outbox_retention (
	keep		interval NOT NULL,
	only_row	boolean PRIMARY KEY DEFAULT true,
	CONSTRAINT outbox_retention_keep_check CHECK (keep > interval '0'),
	CONSTRAINT outbox_retention_only_row_check CHECK (only_row)
);
COMMENT ON TABLE cdp.outbox_retention IS 'how long messages that are settled, and their reports, are kept after due_at; no row = for ever; writable';
COMMENT ON COLUMN cdp.outbox_retention.keep IS 'a length: a month counts 30 days; never shorter than what frequency caps count';

-- From the oldest on, looking at so many at a time.  Caps count what lies two
-- calendar days outside of their stretch, too.
CREATE FUNCTION cdp._forget_messages(now timestamptz, max_rows int) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp SET jit = off SET enable_seqscan = off AS $$
DECLARE
	border	timestamptz := _forget_messages.now - make_interval(secs => greatest(
		(SELECT cdp._seconds(r.keep) FROM cdp.outbox_retention r), (SELECT max(cdp._seconds(c.per)) + 72 * 3600 FROM cdp.frequency_cap c)));
	done	bigint;
BEGIN
	IF NOT EXISTS (SELECT FROM cdp.outbox_retention) THEN
		RETURN 0;
	END IF;
	WITH old AS MATERIALIZED (
		SELECT o.id FROM (SELECT x.id, x.due_at, x.status FROM cdp.outbox x ORDER BY x.id LIMIT 2 * max_rows) o
		WHERE o.due_at < border AND o.status NOT IN ('pending', 'claimed')
		LIMIT max_rows
	), gone AS (
		DELETE FROM cdp.outbox o USING old WHERE o.id = old.id AND o.status NOT IN ('pending', 'claimed') RETURNING o.id
	), reports AS (
		DELETE FROM cdp.delivery d USING gone g WHERE d.outbox_id = g.id
	)
	SELECT count(*) INTO done FROM gone;
	RETURN done;
END
$$;
COMMENT ON FUNCTION cdp._forget_messages(timestamptz, int) IS 'deletes messages that are settled and older than outbox_retention says';
