/* 23_timeline_part: the stored timelines
 *
 * A leaf profile's history is kept in parts; a part is closed at about 8,192
 * events and only the last (open) one is ever rewritten.  A canonical
 * timeline is timeline_agg over the parts of all its leaves, plus the few
 * events that are still in event_tail.
 */

CREATE TABLE cdp.timeline_part (
	profile_id	bigint NOT NULL,
	part		int NOT NULL,
	timeline	cdp.timeline NOT NULL,
	sealed		boolean NOT NULL DEFAULT false,
	sole		boolean NOT NULL DEFAULT true,
	PRIMARY KEY (profile_id, part)
);
COMMENT ON TABLE cdp.timeline_part IS 'folded history of leaf profiles, in parts of about 8,192 events';
COMMENT ON COLUMN cdp.timeline_part.sealed IS 'its raw events are gone: no longer derived, rebuild leaves it alone';
COMMENT ON COLUMN cdp.timeline_part.sole IS 'this one part is the whole folded timeline of an unmerged profile: views read it straight';

