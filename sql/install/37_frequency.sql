/* 37_frequency: how often, and when, profiles may be written to */

CREATE TABLE cdp.control_group (
	share	double precision NOT NULL,
	salt	text NOT NULL PRIMARY KEY,
	CONSTRAINT control_group_share_check CHECK (share >= 0 AND share <= 1)
);
COMMENT ON TABLE cdp.control_group IS 'a share of all profiles that stays out of every journey whose purpose is capped; writable';
COMMENT ON COLUMN cdp.control_group.salt IS 'another salt draws another group';
