/* 25_split: identifiers leave their profile
 */

CREATE SEQUENCE cdp.split_id_seq;
COMMENT ON SEQUENCE cdp.split_id_seq IS 'ids of splits';
CREATE TABLE cdp.identifier_split (
	identifier		cdp.identifier NOT NULL,
	split_id		bigint NOT NULL,
	at				timestamptz NOT NULL,
	from_profile	bigint NOT NULL,
	to_profile		bigint NOT NULL,
	reason			text,
	PRIMARY KEY (identifier, split_id)
);
COMMENT ON TABLE cdp.identifier_split IS 'every identifier that a split took from one leaf profile to another';
