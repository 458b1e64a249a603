/* 33_lifecycle_state: the stage of every profile, kept by tick */

CREATE TABLE cdp.lifecycle_policy (
	name			text NOT NULL,
	kind			text NOT NULL DEFAULT 'person',
	purchase_event	text NOT NULL DEFAULT 'purchase',
	retained_orders	int NOT NULL DEFAULT 4,
	at_risk_after	interval NOT NULL DEFAULT '60 days',
	churned_after	interval NOT NULL DEFAULT '180 days',
	adaptive		boolean NOT NULL DEFAULT false,
	seeded			boolean NOT NULL DEFAULT false,
	PRIMARY KEY (name, seeded),
	CONSTRAINT lifecycle_policy_retained_orders_check CHECK (retained_orders >= 2),
	CONSTRAINT lifecycle_policy_at_risk_after_check CHECK (at_risk_after > interval '0'),
	CONSTRAINT lifecycle_policy_churned_after_check CHECK (churned_after > at_risk_after)
);
COMMENT ON TABLE cdp.lifecycle_policy IS 'thresholds of the lifecycle stages, per kind of profile; writable';

CREATE TABLE cdp.lifecycle_state (
	profile_id	bigint PRIMARY KEY,
	stage		cdp.lifecycle_stage NOT NULL,
	since		timestamptz NOT NULL,
	due_at		timestamptz,
	known_at	timestamptz NOT NULL
);
COMMENT ON TABLE cdp.lifecycle_state IS 'the present stage of each canonical profile, and when it will change if nothing happens';
COMMENT ON COLUMN cdp.lifecycle_state.known_at IS 'the clock when the stage was last worked out';
CREATE INDEX lifecycle_state_due_at_idx ON cdp.lifecycle_state (due_at);

CREATE SEQUENCE cdp.tick_no_seq;
COMMENT ON SEQUENCE cdp.tick_no_seq IS 'numbers of ticks';
CREATE TABLE cdp.lifecycle_change (
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	from_stage	cdp.lifecycle_stage,
	to_stage	cdp.lifecycle_stage NOT NULL,
	cause		text NOT NULL,
	tick_no		bigint NOT NULL,
	CONSTRAINT lifecycle_change_cause_check
		CHECK (cause IN ('event', 'tag', 'time', 'backfill', 'merge', 'policy', 'first'))
);
COMMENT ON TABLE cdp.lifecycle_change IS 'every change of stage at the instant it took place';
CREATE INDEX lifecycle_change_profile_id_idx ON cdp.lifecycle_change (profile_id, at);
CREATE INDEX lifecycle_change_tick_no_idx ON cdp.lifecycle_change (tick_no);

CREATE TABLE cdp.lifecycle_correction (
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	was_stage	cdp.lifecycle_stage NOT NULL,
	is_stage	cdp.lifecycle_stage NOT NULL,
	cause		text NOT NULL,
	tick_no		bigint NOT NULL
);
COMMENT ON TABLE cdp.lifecycle_correction IS 'stages that turned out wrong when a late or backfilled event arrived: not transitions';
CREATE INDEX lifecycle_correction_profile_id_idx ON cdp.lifecycle_correction (profile_id, at);

