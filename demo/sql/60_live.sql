-- Each day: its messages arrive, the inbox is drained, the clock ticks.
\pset tuples_only on
\pset format unaligned
SELECT format($$INSERT INTO cdp.inbox (payload) SELECT payload FROM raw.message
				WHERE at >= %L::timestamptz - interval '1 day' AND at < %1$L ORDER BY at$$, day),
	   'SELECT cdp.ingest_inbox()',
	   format('CALL cdp.run(%L, %L)', day, '5 minutes'),
	   CASE WHEN extract(dow FROM day) = 1 THEN
		   format($$SELECT format('   %%s: %%s households in the journey, %%s messages so far', %L,
				  (SELECT count(*) FROM cdp.journey_state WHERE status = 'active'), (SELECT count(*) FROM cdp.outbox))$$, day::date)
	   END
FROM generate_series(timestamptz '2017-11-02Z', '2018-01-02Z', '1 day') day
\gexec
ANALYZE;
SELECT format('   %s households entered the journey, %s messages in the outbox',
	to_char((SELECT count(*) FROM cdp.journey_state), 'FM999,999'), to_char((SELECT count(*) FROM cdp.outbox), 'FM999,999'));
