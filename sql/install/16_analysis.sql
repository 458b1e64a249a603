-- What was done in which order: funnels, retention and patterns.

-- over timelines

CREATE FUNCTION cdp.window_funnel(t cdp.timeline, steps text[], within interval) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_window_funnel';
COMMENT ON FUNCTION cdp.window_funnel(cdp.timeline, text[], interval) IS 'how many of the steps were reached, in order, within a window';
CREATE FUNCTION cdp.window_funnel(t cdp.timeline, steps text[], within interval, mode text) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_window_funnel';
COMMENT ON FUNCTION cdp.window_funnel(cdp.timeline, text[], interval, text) IS 'how many of the steps were reached, in order, within a window, in a mode';
CREATE FUNCTION cdp.funnel_times(t cdp.timeline, steps text[], within interval) RETURNS timestamptz[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_funnel_times';
COMMENT ON FUNCTION cdp.funnel_times(cdp.timeline, text[], interval) IS 'when the steps were reached: the times of the first longest chain';
CREATE FUNCTION cdp.retention(t cdp.timeline, cohort text, returned text, buckets int, bucket interval, align text DEFAULT 'event') RETURNS boolean[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_retention';
COMMENT ON FUNCTION cdp.retention(cdp.timeline, text, text, int, interval, text) IS 'in which buckets of time after the first cohort event there was a return';
CREATE FUNCTION cdp.sequence_match(t cdp.timeline, pattern text) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_sequence_match';
COMMENT ON FUNCTION cdp.sequence_match(cdp.timeline, text) IS 'whether a pattern such as view -> cart ->(2h) !purchase is found';
CREATE FUNCTION cdp.sequence_match(t cdp.timeline, pattern text, at timestamptz) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_sequence_match';
COMMENT ON FUNCTION cdp.sequence_match(cdp.timeline, text, timestamptz) IS 'whether a pattern is found, asked at an instant: later events are not seen, lengths at the end must have passed';
CREATE FUNCTION cdp.sequence_count(t cdp.timeline, pattern text) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_sequence_count';
COMMENT ON FUNCTION cdp.sequence_count(cdp.timeline, text) IS 'how often a pattern is found, one match after the other';
CREATE FUNCTION cdp.sequence_count(t cdp.timeline, pattern text, at timestamptz) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 30 AS 'MODULE_PATHNAME', 'mcdp_sequence_count';
COMMENT ON FUNCTION cdp.sequence_count(cdp.timeline, text, timestamptz) IS 'how often a pattern is found, asked at an instant: later events are not seen, lengths at the end must have passed';

-- over rows: the state that the aggregates share

CREATE TYPE cdp.event_state;
COMMENT ON TYPE cdp.event_state IS 'what window_funnel, retention, sequence_match and sequence_count have seen of a group of rows';
CREATE FUNCTION cdp.event_state_in(cstring) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_event_state_in';
COMMENT ON FUNCTION cdp.event_state_in(cstring) IS 'I/O';
CREATE FUNCTION cdp.event_state_out(cdp.event_state) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_event_state_out';
COMMENT ON FUNCTION cdp.event_state_out(cdp.event_state) IS 'I/O';
CREATE FUNCTION cdp.event_state_recv(internal) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_event_state_recv';
COMMENT ON FUNCTION cdp.event_state_recv(internal) IS 'I/O';
CREATE FUNCTION cdp.event_state_send(cdp.event_state) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_event_state_send';
COMMENT ON FUNCTION cdp.event_state_send(cdp.event_state) IS 'I/O';
CREATE TYPE cdp.event_state (
	INPUT = cdp.event_state_in,
	OUTPUT = cdp.event_state_out,
	RECEIVE = cdp.event_state_recv,
	SEND = cdp.event_state_send,
	ALIGNMENT = double,
	STORAGE = extended
);

CREATE FUNCTION cdp._event_state_combine(cdp.event_state, cdp.event_state) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_event_state_combine';
COMMENT ON FUNCTION cdp._event_state_combine(cdp.event_state, cdp.event_state) IS 'combines partial states of the aggregates over events';
CREATE FUNCTION cdp._window_funnel_add(cdp.event_state, interval, text, timestamptz, boolean[]) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_window_funnel_add';
COMMENT ON FUNCTION cdp._window_funnel_add(cdp.event_state, interval, text, timestamptz, boolean[]) IS 'adds a row to the state of window_funnel';
CREATE FUNCTION cdp._window_funnel_final(cdp.event_state) RETURNS int
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_window_funnel_final';
COMMENT ON FUNCTION cdp._window_funnel_final(cdp.event_state) IS 'result of window_funnel';
CREATE FUNCTION cdp._retention_add(cdp.event_state, boolean[]) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_retention_add';
COMMENT ON FUNCTION cdp._retention_add(cdp.event_state, boolean[]) IS 'adds a row to the state of retention';
CREATE FUNCTION cdp._retention_final(cdp.event_state) RETURNS boolean[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_retention_final';
COMMENT ON FUNCTION cdp._retention_final(cdp.event_state) IS 'result of retention';
CREATE FUNCTION cdp._sequence_add(cdp.event_state, text, timestamptz, boolean[]) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_sequence_add';
COMMENT ON FUNCTION cdp._sequence_add(cdp.event_state, text, timestamptz, boolean[]) IS 'adds a row to the state of sequence_match and sequence_count';
CREATE FUNCTION cdp._sequence_match_final(cdp.event_state) RETURNS boolean
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_sequence_match_final';
COMMENT ON FUNCTION cdp._sequence_match_final(cdp.event_state) IS 'result of sequence_match';
CREATE FUNCTION cdp._sequence_count_final(cdp.event_state) RETURNS bigint
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_sequence_count_final';
COMMENT ON FUNCTION cdp._sequence_count_final(cdp.event_state) IS 'result of sequence_count';

CREATE FUNCTION cdp._window_funnel_event_add(cdp.event_state, timestamptz, text, text[], interval) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_window_funnel_event_add';
COMMENT ON FUNCTION cdp._window_funnel_event_add(cdp.event_state, timestamptz, text, text[], interval) IS 'adds an event to the state of window_funnel';
CREATE FUNCTION cdp._window_funnel_event_add(cdp.event_state, timestamptz, text, text[], interval, text) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_window_funnel_event_add';
COMMENT ON FUNCTION cdp._window_funnel_event_add(cdp.event_state, timestamptz, text, text[], interval, text) IS 'adds an event to the state of window_funnel';
CREATE FUNCTION cdp._retention_event_add(cdp.event_state, timestamptz, text, text, text, int, interval) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_retention_event_add';
COMMENT ON FUNCTION cdp._retention_event_add(cdp.event_state, timestamptz, text, text, text, int, interval) IS 'adds an event to the state of retention';
CREATE FUNCTION cdp._retention_event_add(cdp.event_state, timestamptz, text, text, text, int, interval, text) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_retention_event_add';
COMMENT ON FUNCTION cdp._retention_event_add(cdp.event_state, timestamptz, text, text, text, int, interval, text) IS 'adds an event to the state of retention';
CREATE FUNCTION cdp._sequence_event_add(cdp.event_state, timestamptz, text, text) RETURNS cdp.event_state
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_sequence_event_add';
COMMENT ON FUNCTION cdp._sequence_event_add(cdp.event_state, timestamptz, text, text) IS 'adds an event to the state of sequence_match and sequence_count';

-- over rows: the aggregates, of conditions

CREATE AGGREGATE cdp.window_funnel(within interval, mode text, at timestamptz, VARIADIC steps boolean[]) (
	SFUNC = cdp._window_funnel_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._window_funnel_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.window_funnel(interval, text, timestamptz, VARIADIC boolean[]) IS 'how many of the steps were reached, in order, within a window, in a mode';
CREATE AGGREGATE cdp.retention(VARIADIC conditions boolean[]) (
	SFUNC = cdp._retention_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._retention_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.retention(VARIADIC boolean[]) IS 'which conditions were met, by those who met the first one';
CREATE AGGREGATE cdp.sequence_match(pattern text, at timestamptz, VARIADIC conditions boolean[]) (
	SFUNC = cdp._sequence_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._sequence_match_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.sequence_match(text, timestamptz, VARIADIC boolean[]) IS 'whether a pattern such as (?1).*(?2) is found';
CREATE AGGREGATE cdp.sequence_count(pattern text, at timestamptz, VARIADIC conditions boolean[]) (
	SFUNC = cdp._sequence_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._sequence_count_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.sequence_count(text, timestamptz, VARIADIC boolean[]) IS 'how often a pattern such as (?1).*(?2) is found, one match after the other';

-- and of names of events, as over timelines

CREATE AGGREGATE cdp.window_funnel(at timestamptz, event text, steps text[], within interval) (
	SFUNC = cdp._window_funnel_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._window_funnel_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.window_funnel(timestamptz, text, text[], interval) IS 'how many of the steps were reached, in order, within a window';
CREATE AGGREGATE cdp.window_funnel(at timestamptz, event text, steps text[], within interval, mode text) (
	SFUNC = cdp._window_funnel_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._window_funnel_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.window_funnel(timestamptz, text, text[], interval, text) IS 'how many of the steps were reached, in order, within a window, in a mode';
CREATE AGGREGATE cdp.retention(at timestamptz, event text, cohort text, returned text, buckets int, bucket interval) (
	SFUNC = cdp._retention_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._retention_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.retention(timestamptz, text, text, text, int, interval) IS 'in which buckets of time after the first cohort event there was a return';
CREATE AGGREGATE cdp.retention(at timestamptz, event text, cohort text, returned text, buckets int, bucket interval, align text) (
	SFUNC = cdp._retention_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._retention_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.retention(timestamptz, text, text, text, int, interval, text) IS 'in which buckets of time after the first cohort event, or the beginning of its day, there was a return';
CREATE AGGREGATE cdp.sequence_match(at timestamptz, event text, pattern text) (
	SFUNC = cdp._sequence_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._sequence_match_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.sequence_match(timestamptz, text, text) IS 'whether a pattern such as view -> cart ->(2h) !purchase is found';
CREATE AGGREGATE cdp.sequence_count(at timestamptz, event text, pattern text) (
	SFUNC = cdp._sequence_event_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._sequence_count_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.sequence_count(timestamptz, text, text) IS 'how often a pattern such as view -> cart is found, one match after the other';

CREATE FUNCTION cdp.sessionize(at timestamptz, gap interval) RETURNS bigint
	LANGUAGE c WINDOW IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_sessionize';
COMMENT ON FUNCTION cdp.sessionize(timestamptz, interval) IS 'window function: number of the session; a new one begins when more than the gap has passed';

-- Calls with untyped literals only would fit the aggregates with one condition as
-- well as the functions over timelines, and PostgreSQL prefers text to both.
CREATE FUNCTION cdp.window_funnel(t text, steps text, within text, mode text) RETURNS int
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	BEGIN ATOMIC
	SELECT cdp.window_funnel(t::cdp.timeline, steps::text[], within::interval, mode);
	END;
COMMENT ON FUNCTION cdp.window_funnel(text, text, text, text) IS 'window_funnel over a timeline, when all arguments are literals without a type';
CREATE FUNCTION cdp.sequence_match(t text, pattern text, at text) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	BEGIN ATOMIC
	SELECT cdp.sequence_match(t::cdp.timeline, pattern, at::timestamptz);
	END;
COMMENT ON FUNCTION cdp.sequence_match(text, text, text) IS 'sequence_match over a timeline, when all arguments are literals without a type';
CREATE FUNCTION cdp.sequence_count(t text, pattern text, at text) RETURNS int
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	BEGIN ATOMIC
	SELECT cdp.sequence_count(t::cdp.timeline, pattern, at::timestamptz);
	END;
COMMENT ON FUNCTION cdp.sequence_count(text, text, text) IS 'sequence_count over a timeline, when all arguments are literals without a type';
-- Five of them would fit two aggregates: conditions are meant.
CREATE FUNCTION cdp._window_funnel_add(cdp.event_state, text, text, text, text, text) RETURNS cdp.event_state
	LANGUAGE sql STABLE PARALLEL SAFE
	BEGIN ATOMIC
	SELECT cdp._window_funnel_add($1, $2::interval, $3, $4::timestamptz, ARRAY[$5::boolean, $6::boolean]);
	END;
COMMENT ON FUNCTION cdp._window_funnel_add(cdp.event_state, text, text, text, text, text) IS 'adds a row to the state of window_funnel, when all arguments are literals without a type';
CREATE AGGREGATE cdp.window_funnel(within text, mode text, at text, step1 text, step2 text) (
	SFUNC = cdp._window_funnel_add,
	STYPE = cdp.event_state,
	FINALFUNC = cdp._window_funnel_final,
	COMBINEFUNC = cdp._event_state_combine,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.window_funnel(text, text, text, text, text) IS 'window_funnel over rows with two conditions, when all arguments are literals without a type';
