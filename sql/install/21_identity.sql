/* 21_identity: which identifiers belong to which profile, and why */

CREATE TABLE cdp.identifier_link (
	identifier	cdp.identifier PRIMARY KEY,
	profile_id	bigint NOT NULL,
	at			timestamptz NOT NULL,
	source		text
);
COMMENT ON TABLE cdp.identifier_link IS 'the leaf profile that owns each identifier';
CREATE INDEX identifier_link_profile_id_idx ON cdp.identifier_link (profile_id);

-- Evidence: two identifiers seen in one call.
CREATE TABLE cdp.identity_edge (
	a			cdp.identifier NOT NULL,
	b			cdp.identifier NOT NULL,
	at			timestamptz NOT NULL,
	source		text,
	PRIMARY KEY (a, b),
	CONSTRAINT identity_edge_order_check CHECK (a < b)
);
COMMENT ON TABLE cdp.identity_edge IS 'two identifiers that one call named together: the evidence for a link or a merge';

CREATE SEQUENCE cdp.merge_id_seq;
COMMENT ON SEQUENCE cdp.merge_id_seq IS 'ids of merges, in order of decision';
CREATE TABLE cdp.profile_merge (
	merge_id	bigint PRIMARY KEY DEFAULT nextval('cdp.merge_id_seq'),
	survivor	bigint NOT NULL,
	merged		bigint NOT NULL,
	at			timestamptz NOT NULL,
	cause		text NOT NULL,
	source		text,
	reason		text,
	evidence	cdp.identifier[] NOT NULL DEFAULT '{}',
	members		bigint[] NOT NULL,
	tags		text[] NOT NULL DEFAULT '{}',
	undone_at	timestamptz,
	CONSTRAINT profile_merge_cause_check CHECK (cause IN ('identifiers', 'manual', 'alias'))
);
COMMENT ON TABLE cdp.profile_merge IS 'every merge with its evidence and what it moved, so that it can be undone exactly';
COMMENT ON COLUMN cdp.profile_merge.evidence IS 'the identifiers whose meeting caused the merge';
COMMENT ON COLUMN cdp.profile_merge.members IS 'the profiles whose canonical profile changed from merged to survivor';
COMMENT ON COLUMN cdp.profile_merge.tags IS 'the tags that the survivor did not have before';
CREATE INDEX profile_merge_survivor_idx ON cdp.profile_merge (survivor);
CREATE INDEX profile_merge_merged_idx ON cdp.profile_merge (merged);

CREATE TABLE cdp.never_merge (
	profile_a	bigint NOT NULL,
	profile_b	bigint NOT NULL,
	reason		text,
	at			timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (profile_a, profile_b),
	CONSTRAINT never_merge_order_check CHECK (profile_a < profile_b)
);
COMMENT ON TABLE cdp.never_merge IS 'pairs of leaf profiles that evidence must not link again';

CREATE SEQUENCE cdp.refusal_id_seq;
COMMENT ON SEQUENCE cdp.refusal_id_seq IS 'ids of identity refusals';
CREATE TABLE cdp.identity_refusal (
	refusal_id	bigint PRIMARY KEY DEFAULT nextval('cdp.refusal_id_seq'),
	at			timestamptz NOT NULL,
	identifiers	cdp.identifier[] NOT NULL,
	reason		text NOT NULL,
	source		text
);
COMMENT ON TABLE cdp.identity_refusal IS 'identifiers that a rule kept out of a link or merge, and why';

CREATE TABLE cdp.namespace_rule (
	namespace				text NOT NULL,
	kind					text NOT NULL DEFAULT 'person',
	priority				int NOT NULL DEFAULT 50,
	max_per_profile			int,
	within					interval,
	never_merge_if_different boolean NOT NULL DEFAULT false,
	seeded					boolean NOT NULL DEFAULT false,
	PRIMARY KEY (namespace, seeded)
);
COMMENT ON TABLE cdp.namespace_rule IS 'what an identifier namespace means and how far it may link profiles; writable';
COMMENT ON COLUMN cdp.namespace_rule.priority IS 'higher decides first: the owner of an event, and which identifier stays when a rule is broken';

CREATE TABLE cdp.blocked_value (
	namespace	text NOT NULL DEFAULT '*',
	pattern		text NOT NULL,
	seeded		boolean NOT NULL DEFAULT false,
	PRIMARY KEY (namespace, pattern, seeded)
);
COMMENT ON TABLE cdp.blocked_value IS 'identifier values that never link anybody, as regular expressions over the whole value; writable';

