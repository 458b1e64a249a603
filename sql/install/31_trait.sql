/* 31_trait: everything known about a profile as a value */

CREATE TABLE cdp.trait_change (
	profile_id	bigint NOT NULL,
	name		text NOT NULL,
	value		jsonb NOT NULL,
	at			timestamptz NOT NULL,
	source		text
);
COMMENT ON TABLE cdp.trait_change IS 'every value of every trait of a leaf profile, with its time and source; null = removed';
CREATE INDEX trait_change_profile_id_idx ON cdp.trait_change (profile_id, name, at);

CREATE TABLE cdp.trait_value (
	name		text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	value		jsonb NOT NULL,
	number		double precision,
	at			timestamptz NOT NULL,
	PRIMARY KEY (name, profile_id)
);
COMMENT ON TABLE cdp.trait_value IS 'latest value of each trait of a leaf profile (the latest at wins; equal times: the greater jsonb)';
COMMENT ON COLUMN cdp.trait_value.number IS 'the value when it is a JSON number';
CREATE INDEX trait_value_profile_id_idx ON cdp.trait_value (profile_id);

