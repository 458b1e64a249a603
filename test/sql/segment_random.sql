-- Segments under random histories: after every refresh a segment has the
-- members that its rule has, and its recorded changes add up to them.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';

INSERT INTO label_set VALUES ('sweet', 'l1');
INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, false), ('vip', false, true);
SELECT count(identify(ARRAY['user_id:u' || g]::identifier[], at => '2026-01-01')) FROM generate_series(1, 60) g;
-- z1 … are inner ones of rules that come before them by name
SELECT define_segment('z1', 'vip', at => '2026-01-01'), define_segment('z2', 'count(buy, 10d) >= 2', at => '2026-01-01'),
	define_segment('z3', 'segment:z1 & !segment:z2', at => '2026-01-01'), define_static_segment('z4', rb_fill('{}', 1, 20), at => '2026-01-01');
CREATE TABLE asked AS
SELECT row_number() OVER () AS n, rule::criteria FROM unnest(ARRAY['vip', '!vip', 'vip & !city:ulm', 'city:ulm | city:jena', 'age > 30', '!age > 30 & vip', 'age = 31',
	'count(buy) >= 2', 'count(buy, 7d) >= 1', 'count(buy, 7d) = 0 & vip', 'sum(buy, 20d) > 30', 'last(buy) < 5d', 'last(buy) > 12d', 'first(view) > 20d', 'count(view, 14d..3d) > 1',
	'count(view, 2026-01-10..2026-01-20) > 0', 'days(*, 10d) >= 3', 'labels(buy, 15d) >= 2', 'count(buy[l1], 9d) > 0', 'count(buy[@sweet], 9d) > 0', 'any(buy: count(buy[$], 12d) >= 2)',
	'last_label(buy) = "l2"', 'seq(view -> buy, 3d)', 'seq(view ->(2d) !buy)', 'lifecycle:first_purchase', 'lifecycle:at_risk | lifecycle:repeat', '!lifecycle:potential & count(view, 10d) = 0',
	'consent:marketing.email & !vip', 'segment:z1', 'segment:z3 | segment:z4', '!segment:z3 & count(view, 6d) > 0', 'segment:z4 & count(buy, 8d) = 0', 'max(buy, 10d) >= 15 | avg(buy) < 8',
	'due(buy) < 2d', 'start < 5d', 'start > 3d & vip', 'all', 'none', 'city:ulm & age between 20 and 40 & count(*, 5d) > 0']) rule;
SELECT count(define_segment('s' || n, rule, refresh_every => CASE WHEN n % 5 = 0 THEN interval '3 days' END, at => '2026-01-01')) FROM asked;

CREATE FUNCTION random_history(seed int, steps int) RETURNS TABLE (step int, segment text, problem text) LANGUAGE plpgsql SET search_path = public, cdp, pg_temp AS $$
DECLARE
	now_ timestamptz := (SELECT coalesce(max(s.computed_at), '2026-01-01') FROM segment s);
	r bigint;
	m bigint;
	a bigint;
	b bigint;
	kind_ int;
BEGIN
	FOR i IN 1 .. steps LOOP
		r := hashint8extended(i, seed) & 1073741823;
		a := 1 + (r >> 5) % 60;
		b := 1 + (r >> 13) % 60;
		kind_ := r & 31;
		now_ := now_ + ((r >> 20) & 15) * interval '1 hour 7 minutes';
		CASE
			WHEN kind_ < 8 THEN
				PERFORM track(ARRAY['user_id:u' || a]::identifier[], CASE WHEN b % 3 = 0 THEN 'view' ELSE 'buy' END, jsonb_build_object('name', 'l' || b % 4, 'value', b % 20),
							  now_ - (b % 7) * interval '5 hours', backfill => b % 5 = 0);
			WHEN kind_ < 10 THEN PERFORM tag(a, 'vip', at => now_ + CASE WHEN b % 4 = 0 THEN interval '20 hours' ELSE '0' END);
			WHEN kind_ < 11 THEN PERFORM untag(a, 'vip', at => now_);
			WHEN kind_ < 13 THEN PERFORM tag(a, (ARRAY['city:ulm', 'city:jena', 'city:bonn'])[1 + b % 3], at => now_);
			WHEN kind_ < 14 THEN PERFORM tag(rb_fill('{}', a, a + b % 9) & rb_fill('{}', 1, 61), 'vip', now_ + interval '1 day', at => now_);
			WHEN kind_ < 16 THEN PERFORM set_trait(a, 'age', to_jsonb(20 + b), now_);
			WHEN kind_ < 17 AND b % 8 = 0 THEN
				INSERT INTO repurchase_prior (event, gap, weight) VALUES ('buy', b * interval '3 hours', 1)
				ON CONFLICT ON CONSTRAINT repurchase_prior_pkey DO UPDATE SET gap = excluded.gap;
			WHEN kind_ < 17 THEN PERFORM set_trait(a, 'start', to_jsonb((now_ - (b % 9 - 3) * interval '1 day')::date), now_);
			WHEN kind_ < 18 THEN PERFORM consent(a, 'marketing', 'email', b % 3 > 0, now_);
			WHEN kind_ < 19 THEN PERFORM track(ARRAY['user_id:n' || seed || '_' || i]::identifier[], 'purchase', '{"value": 3}', now_);
			WHEN kind_ < 20 THEN
				IF canonical_id(a) <> canonical_id(b) AND r & 512 = 0 THEN
					PERFORM merge(a, b, at => now_);
				ELSIF r & 1024 = 0 THEN
					SELECT min(merge_id) INTO m FROM profile_merge WHERE undone_at IS NULL;
					IF FOUND AND m IS NOT NULL THEN
						PERFORM unmerge(m, false, at => now_);
					END IF;
				END IF;
			WHEN kind_ < 21 THEN UPDATE profile SET suppressed = NOT suppressed WHERE profile_id = canonical_id(a) AND r & 512 = 0;
			WHEN kind_ < 22 AND r & 1024 = 0 THEN
				DELETE FROM label_set;
				INSERT INTO label_set VALUES ('sweet', 'l' || b % 4);
			WHEN kind_ < 24 THEN PERFORM _fold_tags(now_, 10);
			WHEN kind_ < 25 THEN PERFORM _fold_timelines(now_, 20);
			WHEN kind_ < 26 THEN PERFORM tick(now_);
			WHEN kind_ < 27 THEN PERFORM track(ARRAY['user_id:u' || a]::identifier[], 'purchase', '{"value": 3}', now_);
			WHEN kind_ < 30 THEN
				PERFORM refresh_segments(CASE WHEN kind_ = 27 THEN 's' || 1 + b % 30 END, now_);
				RETURN QUERY
				SELECT i, s.name, format('members %s, rule %s', segment_members(s.name), audience(s.criteria, now_))
				FROM segment s WHERE s.computed_at = now_ AND s.criteria IS NOT NULL AND segment_members(s.name) <> audience(s.criteria, now_)
					-- names an inner one that another pass has left behind
					AND NOT EXISTS (SELECT FROM segment o WHERE ('tag:segment:' || o.name) = ANY (s.inputs) AND o.computed_at < now_)
				UNION ALL
				SELECT i, s.name, format('changes %s, members %s (%s)', c.members, tagged('segment:' || s.name), s.members)
				FROM segment s, LATERAL (SELECT coalesce(rb_xor_agg(h.entered | h.exited), '{}') AS members FROM segment_change h WHERE h.segment = s.name) c
				WHERE s.computed_at = now_ AND (c.members <> tagged('segment:' || s.name) OR s.members <> rb_cardinality(c.members));
			ELSE NULL;
		END CASE;
	END LOOP;
	PERFORM tick(now_);
	RETURN QUERY SELECT steps, r.task, 'rebuilt ' || r.done FROM rebuild('segments', now_) r WHERE r.done <> 0;
END
$$;
\if :{?seeds}
\else
	\set seeds 1
\endif
SELECT seed, h.* FROM generate_series(1, :seeds) seed, random_history(seed, 150) h LIMIT 20;
SELECT count(*) > 150 AS enough, count(DISTINCT cause) AS causes, min(rb_cardinality(entered & exited)) AS never_in_and_out FROM segment_change;

SET client_min_messages = warning;
DROP FUNCTION random_history;
DROP TABLE asked;
