CREATE DATABASE shop;
SELECT identify(ARRAY['email:a' || n || '@example.com']::identifier[], at => '2026-01-01') FROM generate_series(1, 19) n;
SELECT create_journey('j', '{"entry": {"manual": true}, "start": "s", "steps": {"s": {"send": {"channel": "email", "template": "t"}, "next": "end"}}}'), activate_journey('j');
SELECT enter_journey('j', rb_fill('{}', 1, 20), at => '2026-03-01Z'), advance_journeys('2026-03-01Z');
