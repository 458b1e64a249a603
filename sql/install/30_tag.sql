/* 30_tag: everything known about a profile as a category
 *
 * tag_chunk is the folded side: the members of one tag among 2^15 consecutive
 * profile ids, in an encoding that fits a page (src/core/chunk.h).  Single
 * changes go to tag_pending and are folded in by tick; a reader always merges
 * both, under one snapshot.
 *
 * Names that begin with chr(1) are internal (chr(1) || 'kind:person' holds
 * every canonical person): _check_tag keeps users away from them.
 */

CREATE TABLE cdp.tag_chunk (
	tag		text COLLATE "C" NOT NULL,
	chunk	bigint NOT NULL,
	members	bytea NOT NULL,
	PRIMARY KEY (tag, chunk)
);
ALTER TABLE cdp.tag_chunk ALTER COLUMN members SET STORAGE MAIN;	-- CREATE TABLE takes it from 16 on
COMMENT ON TABLE cdp.tag_chunk IS 'members of each tag, 2^15 profile ids to a row';
CREATE INDEX tag_chunk_chunk_idx ON cdp.tag_chunk (chunk);

CREATE TABLE cdp.tag_pending (
	tag			text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	present		boolean NOT NULL,
	PRIMARY KEY (tag, profile_id)
);
COMMENT ON TABLE cdp.tag_pending IS 'tag changes not yet folded into tag_chunk; the row overrides the chunk';
CREATE INDEX tag_pending_profile_id_idx ON cdp.tag_pending (profile_id);

CREATE TABLE cdp.tag_expiry (
	tag			text COLLATE "C" NOT NULL,
	profile_id	bigint NOT NULL,
	expires_at	timestamptz NOT NULL,
	PRIMARY KEY (tag, profile_id)
);
COMMENT ON TABLE cdp.tag_expiry IS 'tags that tick takes away when their time has come';
CREATE INDEX tag_expiry_expires_at_idx ON cdp.tag_expiry (expires_at);

CREATE TABLE cdp.tag_key (
	key				text COLLATE "C" PRIMARY KEY,
	exclusive		boolean NOT NULL DEFAULT false,
	keep_history	boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE cdp.tag_key IS 'keys of "key:value" tags; an exclusive key has one value per profile; writable';

CREATE TABLE cdp.label_set (
	name	text NOT NULL,
	label	text NOT NULL,
	PRIMARY KEY (name, label)
);
COMMENT ON TABLE cdp.label_set IS 'named sets of labels (categories, brands …) for rules: count(purchase[@diapers]); writable';

