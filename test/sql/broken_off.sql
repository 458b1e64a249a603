-- A call that fails in the middle of a merge leaves the session as any other
-- error does, and an exception block undoes all of what it did.
SET client_min_messages = warning; DROP EXTENSION IF EXISTS marketing_cdp CASCADE; CREATE EXTENSION marketing_cdp; RESET client_min_messages;
SET search_path = public, cdp; SET timezone = 'UTC';
SELECT identify('{user_id:1}', at => '2026-01-01Z'), identify('{user_id:2}', at => '2026-01-01Z');
CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'broken off'; END $$;
CREATE TRIGGER broken AFTER UPDATE ON profile FOR EACH STATEMENT EXECUTE FUNCTION broken();
SELECT identify('{user_id:1,user_id:2,email:a@example.com}', at => '2026-01-02Z');
SELECT 'the session goes on' AS after;
CREATE TABLE note (what text);
DO $$
BEGIN
	BEGIN
		INSERT INTO note VALUES ('to be undone');
		PERFORM identify('{user_id:1,user_id:2,email:a@example.com}', at => '2026-01-02Z');
	EXCEPTION WHEN raise_exception THEN
		INSERT INTO note VALUES ('kept');
	END;
END
$$;
SELECT * FROM note;
SELECT identifier, profile_id FROM identifier_link ORDER BY 1;
DROP TRIGGER broken ON profile;
SELECT identify('{user_id:1,user_id:2,email:a@example.com}', at => '2026-01-02Z'), count(*) FROM profile_merge;
DROP FUNCTION broken; DROP TABLE note;
