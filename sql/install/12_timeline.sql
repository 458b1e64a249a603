/* 12_timeline: one profile's history of events in one value
 *
 * Toolkit: knows no tables, works on anybody's events.
 */

-- timeline type

CREATE TYPE cdp.timeline;

CREATE FUNCTION cdp.timeline_in(cstring) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_in';
COMMENT ON FUNCTION cdp.timeline_in(cstring) IS 'text to timeline';
CREATE FUNCTION cdp.timeline_out(cdp.timeline) RETURNS cstring
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_out';
COMMENT ON FUNCTION cdp.timeline_out(cdp.timeline) IS 'timeline to text';
CREATE FUNCTION cdp.timeline_recv(internal) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_recv';
COMMENT ON FUNCTION cdp.timeline_recv(internal) IS 'checked binary form to timeline';
CREATE FUNCTION cdp.timeline_send(cdp.timeline) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_send';
COMMENT ON FUNCTION cdp.timeline_send(cdp.timeline) IS 'timeline to binary form';

CREATE TYPE cdp.timeline (
	INPUT = cdp.timeline_in,
	OUTPUT = cdp.timeline_out,
	RECEIVE = cdp.timeline_recv,
	SEND = cdp.timeline_send,
	ALIGNMENT = double,
	STORAGE = external
);
COMMENT ON TYPE cdp.timeline IS 'ordered history of events (at, event, label, value), columnar, in one value';

-- timeline casts

CREATE FUNCTION cdp.timeline_from_bytea(bytea) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_from_bytea';
COMMENT ON FUNCTION cdp.timeline_from_bytea(bytea) IS 'checked binary form to timeline';
CREATE FUNCTION cdp.timeline_to_bytea(cdp.timeline) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_send';
COMMENT ON FUNCTION cdp.timeline_to_bytea(cdp.timeline) IS 'binary form of a timeline';
CREATE CAST (bytea AS cdp.timeline) WITH FUNCTION cdp.timeline_from_bytea(bytea);
COMMENT ON CAST (bytea AS cdp.timeline) IS 'reads the binary form, completely checked';
CREATE CAST (cdp.timeline AS bytea) WITH FUNCTION cdp.timeline_to_bytea(cdp.timeline);
COMMENT ON CAST (cdp.timeline AS bytea) IS 'the binary form, as sent to clients';

-- timeline aggregates

CREATE FUNCTION cdp._timeline_agg_merge(cdp.timeline, cdp.timeline) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_agg_merge';
COMMENT ON FUNCTION cdp._timeline_agg_merge(cdp.timeline, cdp.timeline) IS 'adds the events of a timeline to the state of timeline_agg';
CREATE FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_agg_add';
COMMENT ON FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text) IS 'adds an event to the state of timeline_agg';
CREATE FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text, text) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_agg_add_label';
COMMENT ON FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text, text) IS 'adds an event to the state of timeline_agg';
CREATE FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text, float8) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_agg_add_value';
COMMENT ON FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text, float8) IS 'adds an event to the state of timeline_agg';
CREATE FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text, text, float8) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_agg_add_label_value';
COMMENT ON FUNCTION cdp._timeline_agg_add(cdp.timeline, timestamptz, text, text, float8) IS 'adds an event to the state of timeline_agg';
CREATE AGGREGATE cdp.timeline_agg(at timestamptz, event text) (
	SFUNC = cdp._timeline_agg_add,
	STYPE = cdp.timeline,
	COMBINEFUNC = cdp._timeline_agg_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.timeline_agg(timestamptz, text) IS 'timeline of the events, which may come in any order';
CREATE AGGREGATE cdp.timeline_agg(at timestamptz, event text, label text) (
	SFUNC = cdp._timeline_agg_add,
	STYPE = cdp.timeline,
	COMBINEFUNC = cdp._timeline_agg_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.timeline_agg(timestamptz, text, text) IS 'timeline of the events, which may come in any order';
CREATE AGGREGATE cdp.timeline_agg(at timestamptz, event text, value float8) (
	SFUNC = cdp._timeline_agg_add,
	STYPE = cdp.timeline,
	COMBINEFUNC = cdp._timeline_agg_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.timeline_agg(timestamptz, text, float8) IS 'timeline of the events, which may come in any order';
CREATE AGGREGATE cdp.timeline_agg(at timestamptz, event text, label text, value float8) (
	SFUNC = cdp._timeline_agg_add,
	STYPE = cdp.timeline,
	COMBINEFUNC = cdp._timeline_agg_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.timeline_agg(timestamptz, text, text, float8) IS 'timeline of the events, which may come in any order';
CREATE AGGREGATE cdp.timeline_agg(t cdp.timeline) (
	SFUNC = cdp._timeline_agg_merge,
	STYPE = cdp.timeline,
	COMBINEFUNC = cdp._timeline_agg_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE cdp.timeline_agg(cdp.timeline) IS 'all events of the timelines, merged';

-- timeline functions

CREATE FUNCTION cdp.timeline_events(t cdp.timeline, OUT at timestamptz, OUT event text, OUT label text, OUT value float8)
	RETURNS SETOF record
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 20 AS 'MODULE_PATHNAME', 'mcdp_timeline_events';
COMMENT ON FUNCTION cdp.timeline_events(cdp.timeline) IS 'the events as rows, in order, exactly';
CREATE FUNCTION cdp.num_events(t cdp.timeline) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_num_events';
COMMENT ON FUNCTION cdp.num_events(cdp.timeline) IS 'number of events';
CREATE FUNCTION cdp.num_events(t cdp.timeline, event text) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_num_events';
COMMENT ON FUNCTION cdp.num_events(cdp.timeline, text) IS 'number of events with this name';
CREATE FUNCTION cdp.num_events(t cdp.timeline, event text, label text) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_num_events';
COMMENT ON FUNCTION cdp.num_events(cdp.timeline, text, text) IS 'number of events with this name and label';
CREATE FUNCTION cdp.total(t cdp.timeline, event text) RETURNS float8
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_total';
COMMENT ON FUNCTION cdp.total(cdp.timeline, text) IS 'sum of the values of the events with this name, 0 when there is none';
CREATE FUNCTION cdp.total(t cdp.timeline, event text, label text) RETURNS float8
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_total';
COMMENT ON FUNCTION cdp.total(cdp.timeline, text, text) IS 'sum of the values of the events with this name and label, 0 when there is none';
CREATE FUNCTION cdp.first_at(t cdp.timeline) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_first_at';
COMMENT ON FUNCTION cdp.first_at(cdp.timeline) IS 'when the first event was';
CREATE FUNCTION cdp.first_at(t cdp.timeline, event text) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_first_at';
COMMENT ON FUNCTION cdp.first_at(cdp.timeline, text) IS 'when the first event with this name was';
CREATE FUNCTION cdp.last_at(t cdp.timeline) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_last_at';
COMMENT ON FUNCTION cdp.last_at(cdp.timeline) IS 'when the last event was';
CREATE FUNCTION cdp.last_at(t cdp.timeline, event text) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_last_at';
COMMENT ON FUNCTION cdp.last_at(cdp.timeline, text) IS 'when the last event with this name was';
CREATE FUNCTION cdp.first_label(t cdp.timeline, event text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_first_label';
COMMENT ON FUNCTION cdp.first_label(cdp.timeline, text) IS 'label of the first event with this name that has one';
CREATE FUNCTION cdp.last_label(t cdp.timeline, event text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_last_label';
COMMENT ON FUNCTION cdp.last_label(cdp.timeline, text) IS 'label of the last event with this name that has one';
CREATE FUNCTION cdp.top_label(t cdp.timeline, event text) RETURNS text
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_top_label';
COMMENT ON FUNCTION cdp.top_label(cdp.timeline, text) IS 'most frequent label of the events with this name, of equally frequent ones the bytewise first';
CREATE FUNCTION cdp.slice(t cdp.timeline, since timestamptz, until timestamptz) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'mcdp_slice';
COMMENT ON FUNCTION cdp.slice(cdp.timeline, timestamptz, timestamptz) IS 'the events with since <= at < until; NULL = unbounded';
CREATE FUNCTION cdp.only_events(t cdp.timeline, VARIADIC events text[]) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 100 AS 'MODULE_PATHNAME', 'mcdp_only_events';
COMMENT ON FUNCTION cdp.only_events(cdp.timeline, VARIADIC text[]) IS 'the events with one of these names';
CREATE FUNCTION cdp.active_days(t cdp.timeline) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_active_days';
COMMENT ON FUNCTION cdp.active_days(cdp.timeline) IS 'number of calendar days (UTC) with an event';
CREATE FUNCTION cdp.active_days(t cdp.timeline, event text) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_active_days';
COMMENT ON FUNCTION cdp.active_days(cdp.timeline, text) IS 'number of calendar days (UTC) with an event of this name';
CREATE FUNCTION cdp.active_days(t cdp.timeline, event text, tz text) RETURNS int
	LANGUAGE c IMMUTABLE PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_active_days';
COMMENT ON FUNCTION cdp.active_days(cdp.timeline, text, text) IS 'number of calendar days in a time zone with an event of this name; NULL name = any';
CREATE FUNCTION cdp.median_gap(t cdp.timeline, event text) RETURNS interval
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_median_gap';
COMMENT ON FUNCTION cdp.median_gap(cdp.timeline, text) IS 'median of the times between neighbouring events with this name';
CREATE FUNCTION cdp.sessions(t cdp.timeline, gap interval, OUT session bigint, OUT started_at timestamptz, OUT ended_at timestamptz, OUT events bigint)
	RETURNS SETOF record
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE ROWS 10 AS 'MODULE_PATHNAME', 'mcdp_sessions';
COMMENT ON FUNCTION cdp.sessions(cdp.timeline, interval) IS 'sessions: a new one begins when more than the gap has passed';
CREATE FUNCTION cdp.num_sessions(t cdp.timeline, gap interval) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_num_sessions';
COMMENT ON FUNCTION cdp.num_sessions(cdp.timeline, interval) IS 'number of sessions: a new one begins when more than the gap has passed';
CREATE FUNCTION cdp.next_events(t cdp.timeline, event text, n int) RETURNS text[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_next_events';
COMMENT ON FUNCTION cdp.next_events(cdp.timeline, text, int) IS 'names of up to n events after the first one with this name, in order';
CREATE FUNCTION cdp.previous_events(t cdp.timeline, event text, n int) RETURNS text[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE COST 20 AS 'MODULE_PATHNAME', 'mcdp_previous_events';
COMMENT ON FUNCTION cdp.previous_events(cdp.timeline, text, int) IS 'names of up to n events before the first one with this name, in order';

-- timeline operators

CREATE FUNCTION cdp.timeline_merge(cdp.timeline, cdp.timeline) RETURNS cdp.timeline
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_merge';
COMMENT ON FUNCTION cdp.timeline_merge(cdp.timeline, cdp.timeline) IS 'all events of both; implementation of || operator';
CREATE FUNCTION cdp.timeline_eq(cdp.timeline, cdp.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_eq';
COMMENT ON FUNCTION cdp.timeline_eq(cdp.timeline, cdp.timeline) IS 'implementation of = operator';
CREATE FUNCTION cdp.timeline_ne(cdp.timeline, cdp.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_ne';
COMMENT ON FUNCTION cdp.timeline_ne(cdp.timeline, cdp.timeline) IS 'implementation of <> operator';
CREATE FUNCTION cdp.timeline_lt(cdp.timeline, cdp.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_lt';
COMMENT ON FUNCTION cdp.timeline_lt(cdp.timeline, cdp.timeline) IS 'implementation of < operator';
CREATE FUNCTION cdp.timeline_le(cdp.timeline, cdp.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_le';
COMMENT ON FUNCTION cdp.timeline_le(cdp.timeline, cdp.timeline) IS 'implementation of <= operator';
CREATE FUNCTION cdp.timeline_gt(cdp.timeline, cdp.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_gt';
COMMENT ON FUNCTION cdp.timeline_gt(cdp.timeline, cdp.timeline) IS 'implementation of > operator';
CREATE FUNCTION cdp.timeline_ge(cdp.timeline, cdp.timeline) RETURNS boolean
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_ge';
COMMENT ON FUNCTION cdp.timeline_ge(cdp.timeline, cdp.timeline) IS 'implementation of >= operator';
CREATE FUNCTION cdp.timeline_cmp(cdp.timeline, cdp.timeline) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_cmp';
COMMENT ON FUNCTION cdp.timeline_cmp(cdp.timeline, cdp.timeline) IS 'order of two timelines: fixed, without meaning';
CREATE FUNCTION cdp.timeline_hash(cdp.timeline) RETURNS int
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_hash';
COMMENT ON FUNCTION cdp.timeline_hash(cdp.timeline) IS 'hash';
CREATE FUNCTION cdp.timeline_hash_extended(cdp.timeline, bigint) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'mcdp_timeline_hash_extended';
COMMENT ON FUNCTION cdp.timeline_hash_extended(cdp.timeline, bigint) IS 'hash with seed';

CREATE OPERATOR cdp.|| (LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_merge, COMMUTATOR = OPERATOR(cdp.||));
COMMENT ON OPERATOR cdp.|| (cdp.timeline, cdp.timeline) IS 'all events of both';
CREATE OPERATOR cdp.= (
	LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_eq,
	COMMUTATOR = OPERATOR(cdp.=), NEGATOR = OPERATOR(cdp.<>), RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR cdp.= (cdp.timeline, cdp.timeline) IS 'equal';
CREATE OPERATOR cdp.<> (
	LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_ne,
	COMMUTATOR = OPERATOR(cdp.<>), NEGATOR = OPERATOR(cdp.=), RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR cdp.<> (cdp.timeline, cdp.timeline) IS 'not equal';
CREATE OPERATOR cdp.< (
	LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_lt,
	COMMUTATOR = OPERATOR(cdp.>), NEGATOR = OPERATOR(cdp.>=), RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR cdp.< (cdp.timeline, cdp.timeline) IS 'less than';
CREATE OPERATOR cdp.<= (
	LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_le,
	COMMUTATOR = OPERATOR(cdp.>=), NEGATOR = OPERATOR(cdp.>), RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR cdp.<= (cdp.timeline, cdp.timeline) IS 'less than or equal';
CREATE OPERATOR cdp.> (
	LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_gt,
	COMMUTATOR = OPERATOR(cdp.<), NEGATOR = OPERATOR(cdp.<=), RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR cdp.> (cdp.timeline, cdp.timeline) IS 'greater than';
CREATE OPERATOR cdp.>= (
	LEFTARG = cdp.timeline, RIGHTARG = cdp.timeline, FUNCTION = cdp.timeline_ge,
	COMMUTATOR = OPERATOR(cdp.<=), NEGATOR = OPERATOR(cdp.<), RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR cdp.>= (cdp.timeline, cdp.timeline) IS 'greater than or equal';

-- timeline operator classes

CREATE OPERATOR CLASS cdp.timeline_ops DEFAULT FOR TYPE cdp.timeline USING btree AS
	OPERATOR 1 cdp.<,
	OPERATOR 2 cdp.<=,
	OPERATOR 3 cdp.=,
	OPERATOR 4 cdp.>=,
	OPERATOR 5 cdp.>,
	FUNCTION 1 cdp.timeline_cmp(cdp.timeline, cdp.timeline);
CREATE OPERATOR CLASS cdp.timeline_hash_ops DEFAULT FOR TYPE cdp.timeline USING hash AS
	OPERATOR 1 cdp.=,
	FUNCTION 1 cdp.timeline_hash(cdp.timeline),
	FUNCTION 2 cdp.timeline_hash_extended(cdp.timeline, bigint);
