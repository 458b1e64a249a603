/* 41_erased_numbers: what reports count of those who were erased
 *
 * A journey's results must not change because somebody who took part asked to
 * be erased.  Before the rows of a profile go, it is counted here, without
 * its id; 42_journey_report adds these numbers to what it finds.
 */

CREATE TABLE cdp.erased_run (
	journey		text NOT NULL,
	variant		text NOT NULL,
	profiles	bigint NOT NULL,
	messaged	bigint NOT NULL,
	converted	bigint NOT NULL,
	value		double precision NOT NULL,
	PRIMARY KEY (journey, variant)
);
COMMENT ON TABLE cdp.erased_run IS 'profiles that were erased, as journey_results counts them';

CREATE TABLE cdp.erased_step (
	journey		text NOT NULL,
	step		text NOT NULL,
	at_step		bigint NOT NULL,
	left_step	bigint NOT NULL,
	messages	bigint NOT NULL,
	goals		bigint NOT NULL,
	PRIMARY KEY (journey, step)
);
COMMENT ON TABLE cdp.erased_step IS 'runs of profiles that were erased, as journey_stats counts them';

-- Messages that a channel had in hand, so that its report is understood.
CREATE TABLE cdp.erased_message (
	id			bigint PRIMARY KEY,
	erasure_id	bigint NOT NULL,
	status		text NOT NULL
);
COMMENT ON TABLE cdp.erased_message IS 'messages to people who were erased that a channel had claimed, as they stood then: ack_message takes its reports and keeps nothing';

CREATE FUNCTION cdp._count_erased_runs(leaves bigint[]) RETURNS void
LANGUAGE plpgsql VOLATILE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, cdp, pg_temp AS $$
BEGIN
	INSERT INTO erased_run AS e (journey, variant, profiles, messaged, converted, value)
	SELECT r.journey, r.variant, 1, bool_or(r.messaged)::int, bool_or(r.converted)::int, coalesce(sum(r.value), 0)
	FROM (SELECT s.journey, CASE s.variant WHEN '' THEN 'all' ELSE s.variant END AS variant,
				 EXISTS (SELECT FROM outbox o WHERE o.profile_id = ANY (leaves) AND o.run_id = s.run_id
						 AND o.status IN ('pending', 'claimed', 'sent', 'ambiguous')) AS messaged,
				 g.at IS NOT NULL AS converted, g.value
		  FROM journey_state s LEFT JOIN journey_log g ON g.run_id = s.run_id AND g.what = 'goal'
		  WHERE s.profile_id = ANY (leaves) AND s.outcome IS DISTINCT FROM 'merged') r
	GROUP BY r.journey, r.variant ORDER BY r.journey, r.variant
	ON CONFLICT (journey, variant) DO UPDATE SET profiles = e.profiles + excluded.profiles, messaged = e.messaged + excluded.messaged,
		converted = e.converted + excluded.converted, value = e.value + excluded.value;

	INSERT INTO erased_step AS e (journey, step, at_step, left_step, messages, goals)
	SELECT x.journey, x.step, sum(x.at_step), sum(x.left_step), sum(x.messages), sum(x.goals)
	FROM (SELECT s.journey, s.step, coalesce(s.outcome NOT IN ('completed', 'held_out'), true)::int AS at_step, 0 AS left_step, 0 AS messages, 0 AS goals
		  FROM journey_state s WHERE s.profile_id = ANY (leaves)
		  UNION ALL
		  SELECT l.journey, l.step, 0, (l.what = 'step')::int, (l.what = 'sent')::int, (l.what = 'goal')::int
		  FROM journey_log l WHERE l.profile_id = ANY (leaves) AND l.step IS NOT NULL) x
	GROUP BY x.journey, x.step ORDER BY x.journey, x.step
	ON CONFLICT (journey, step) DO UPDATE SET at_step = e.at_step + excluded.at_step, left_step = e.left_step + excluded.left_step,
		messages = e.messages + excluded.messages, goals = e.goals + excluded.goals;
END
$$;
COMMENT ON FUNCTION cdp._count_erased_runs(bigint[]) IS 'the runs of these leaves, who are one profile and are about to go, stay as numbers';
