/* 16_analysis_each: the aggregates over rows with an argument for each condition
 *
 * PostgreSQL makes an array of a VARIADIC list in every row, which takes longer than
 * the aggregate itself.  Two to eight conditions have forms of their own; it chooses
 * them by itself, and one condition (whose form could be taken for the array), more, and VARIADIC go to 16_analysis.
 */

DO $$
DECLARE
	n int;
	named text;					-- c1 boolean, c2 boolean …
	types text;					-- boolean, boolean …
	add text;
	agg text;
	more text;
BEGIN
	FOR n IN 2..8 LOOP
		SELECT string_agg(format('c%s boolean', k), ', '), string_agg('boolean', ', ')
			INTO named, types FROM generate_series(1, n) k;
		FOR add, more IN VALUES
			('window_funnel', 'interval, text, timestamptz, '),
			('retention', ''),
			('sequence', 'text, timestamptz, ')
		LOOP
			add := format('cdp._%s_each_add', add);
			more := format('cdp.event_state, %s%s', more, types);
			EXECUTE format('CREATE FUNCTION %s(%s) RETURNS cdp.event_state
				LANGUAGE c IMMUTABLE PARALLEL SAFE AS ''MODULE_PATHNAME'', %L', add, more, replace(add, 'cdp._', 'mcdp_'));
			EXECUTE format('COMMENT ON FUNCTION %s(%s) IS ''adds a row to an event_state, a condition to an argument''', add, more);
		END LOOP;
		FOR agg, more, add IN VALUES
			('window_funnel', 'within interval, mode text, at timestamptz, ', 'window_funnel'),
			('retention', '', 'retention'),
			('sequence_match', 'pattern text, at timestamptz, ', 'sequence'),
			('sequence_count', 'pattern text, at timestamptz, ', 'sequence')
		LOOP
			EXECUTE format('CREATE AGGREGATE cdp.%s(%s%s) (SFUNC = cdp._%s_each_add, STYPE = cdp.event_state,
				FINALFUNC = cdp._%s_final, COMBINEFUNC = cdp._event_state_combine, PARALLEL = SAFE)', agg, more, named, add, agg);
			EXECUTE format('COMMENT ON AGGREGATE cdp.%s(%s%s) IS ''as with VARIADIC conditions''', agg, more, named);
		END LOOP;
	END LOOP;
END
$$;
