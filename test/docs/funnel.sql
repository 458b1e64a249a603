-- the tables of timeline.md
CREATE TABLE visit (person int, at timestamptz, event text, label text, value float8);
INSERT INTO visit VALUES
	(1, '2026-01-01 10:00+00', 'view', 'shoes', NULL), (1, '2026-01-03 10:00+00', 'cart', 'shoes', NULL),
	(1, '2026-01-03 10:05+00', 'purchase', 'shoes', 59.9), (2, '2026-01-02 09:00+00', 'view', 'hat', NULL),
	(1, '2026-02-01 08:00+00', 'view', 'hat', NULL);
CREATE TABLE history AS SELECT person, timeline_agg(at, event, label, value) AS t FROM visit GROUP BY person;
