-- The calls of the Segment specification, as its pages show them
-- (segment.com/docs/connections/spec: common fields, identify, track, page,
-- screen, group, alias; batches of the HTTP API; external ids)
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS marketing_cdp CASCADE;
CREATE EXTENSION marketing_cdp;
RESET client_min_messages;
SET search_path = public, cdp;
SET timezone = 'UTC';
SET datestyle = 'ISO';
\set SHOW_CONTEXT never

-- identify: with all the common fields, which we do not need but keep quiet about
SELECT ingest('{
  "anonymousId": "507f191e810c19729de860ea", "channel": "browser",
  "context": {"ip": "8.8.8.8", "locale": "en-US", "userAgent": "Mozilla/5.0", "timezone": "Europe/Amsterdam", "groupId": "12345",
	"device": {"id": "B5372DB0-C21E-11E4-8DFC-AA07A5B093DB", "advertisingId": "7A3CBEA0-BDF5-11E4-8DFC-AA07A5B093DB", "adTrackingEnabled": true, "type": "ios"},
	"campaign": {"name": "TPS Innovation Newsletter", "source": "Newsletter", "medium": "email"}},
  "integrations": {"All": true, "Mixpanel": false}, "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db",
  "receivedAt": "2015-02-23T22:28:55.387Z", "sentAt": "2015-02-23T22:28:55.111Z", "timestamp": "2015-02-23T22:28:55.111Z",
  "traits": {"name": "Peter Gibbons", "email": "peter@example.com", "plan": "premium", "logins": 5, "address": {"city": "Austin", "state": "TX"}},
  "type": "identify", "userId": "97980cfea0067", "version": "1.1"}');
SELECT identifier, profile_id, at FROM identifier_link ORDER BY 1;
SELECT name, value, at FROM trait_value ORDER BY 1;
SELECT a, b, at, message_id FROM identity_edge ORDER BY 1, 2;

-- track, before and after the user is known; context.traits names him, too
SELECT ingest('{"type": "track", "anonymousId": "23adfd82-aa0f-45a7-a756-24f2a7a4c895", "event": "Course Clicked", "messageId": "ajs-f8ca1e4de5024d9430b3928bd8ac6b96",
  "properties": {"title": "Intro to Analytics"}, "context": {"library": {"name": "analytics.js", "version": "2.11.1"}, "page": {"path": "/academy/"}},
  "receivedAt": "2015-12-12T19:11:01.266Z", "sentAt": "2015-12-12T19:11:01.169Z", "timestamp": "2015-12-12T19:11:01.249Z", "originalTimestamp": "2015-12-12T19:11:01.152Z"}');
SELECT ingest('{"type": "track", "userId": "AiUGstSDIg", "event": "Order Completed", "timestamp": "2015-12-13T00:00:00Z", "messageId": "o1",
  "properties": {"order_id": "50314b8e9bcf000000000000", "total": 27.50, "revenue": 25.00, "currency": "USD",
	"products": [{"product_id": "507f1f77bcf86cd799439011", "price": 19, "quantity": 1}, {"product_id": "505bd76785ebb509fc183733", "price": 3, "quantity": 2}]},
  "context": {"traits": {"email": "Peter@Example.com", "phone": "+1 512 555 0100", "name": "not set by a track"}}}');
SELECT resolve('user_id:AiUGstSDIg') = resolve('user_id:97980cfea0067') AS by_email, resolve('phone:+15125550100') = resolve('user_id:97980cfea0067') AS by_phone,
	trait(resolve('user_id:97980cfea0067'), 'name') AS name;
SELECT event, at, via, message_id FROM event ORDER BY event_id;

-- page and screen
SELECT ingest('[{"type": "page", "userId": "97980cfea0067", "name": "Home", "category": "Docs", "timestamp": "2015-12-14T00:00:00Z", "properties": {"title": "Welcome | Initech", "url": "http://www.example.com"}},
  {"type": "page", "userId": "97980cfea0067", "timestamp": "2015-12-14T00:01:00Z"},
  {"type": "screen", "userId": "97980cfea0067", "name": "Home", "timestamp": "2015-12-14T00:02:00Z", "properties": {"Feed Type": "private"}}]');
SELECT timeline_of(resolve('user_id:97980cfea0067'));

-- group: an account, its traits, and who is a member since when.  Somebody may
-- be in several; the first time that counts is the earliest that was told.
SELECT ingest('[{"type": "group", "userId": "97980cfea0067", "groupId": "0e8c78ea9d97a7b8185e8632", "timestamp": "2016-02-01T00:00:00Z", "messageId": "g1",
	"traits": {"name": "Initech", "industry": "Technology", "employees": 329, "plan": "enterprise", "total billed": 830}},
  {"type": "group", "userId": "97980cfea0067", "groupId": "other", "timestamp": "2016-03-01T00:00:00Z", "messageId": "g2"},
  {"type": "group", "userId": "97980cfea0067", "groupId": "0e8c78ea9d97a7b8185e8632", "timestamp": "2016-01-01T00:00:00Z", "messageId": "g3"},
  {"type": "group", "anonymousId": "visitor", "groupId": 17, "timestamp": "2016-03-02T00:00:00Z", "messageId": "g4"}]');
SELECT (SELECT identifier FROM identifier_link l WHERE l.profile_id = r.b) AS account, relation, since, until FROM relation r ORDER BY 1;
SELECT name, value FROM trait_value WHERE profile_id = resolve('account:0e8c78ea9d97a7b8185e8632') ORDER BY 1;
SELECT p.kind, count(*) FROM profile p WHERE p.profile_id = p.canonical_id GROUP BY 1 ORDER BY 1;
-- who leaves a group says so; who comes back begins anew
SELECT resolve('user_id:97980cfea0067') AS peter, resolve('account:other') AS other \gset
SELECT unrelate(:peter, :other, 'member', '2016-04-01');
SELECT ingest('{"type": "group", "userId": "97980cfea0067", "groupId": "other", "timestamp": "2016-05-01T00:00:00Z"}');
SELECT at::date, array(SELECT (SELECT min(identifier) FROM identifier_link l WHERE l.profile_id = m) FROM related(:peter, 'member', at) m) AS member_of
FROM unnest('{2015-12-31, 2016-01-01, 2016-03-01, 2016-03-31, 2016-04-01, 2016-05-01}'::timestamptz[]) at;

-- alias: the previous id is a user's if there is one, else a visitor's
SELECT ingest('[{"type": "alias", "previousId": "jen@email.com", "userId": "507f191e81"},
  {"type": "alias", "anonymousId": "507f191e810c19729de860ea", "previousId": "97980cfea0067", "userId": "507f191e82", "messageId": "al2"}]', '2016-06-01');
SELECT resolve('anonymous_id:jen@email.com') = resolve('user_id:507f191e81') AS visitor, resolve('user_id:97980cfea0067') = resolve('user_id:507f191e82') AS peter;
SELECT a, b, cause, message_id FROM identity_edge WHERE cause <> 'call' ORDER BY 1, 2;

-- external ids: {id, type, collection, encoding}
SELECT ingest('{"type": "track", "userId": "x1", "event": "Subscription Upgraded", "properties": {"plan": "Pro", "mrr": 99.99}, "timestamp": "2016-07-01T00:00:00Z",
  "context": {"externalIds": [{"id": "123-456-7890", "type": "phone", "collection": "users", "encoding": "none"},
	{"id": "3A0C", "type": "android.idfa", "collection": "users"}, {"id": 17, "type": "loyalty_card"}, {"id": "", "type": "email"}, {"id": null, "type": "email"},
	{"id": "973dfe463ec85785f5f95af5ba3906eedb2d931c24e69824a89ea65dba4e813b", "type": "email", "collection": "users", "encoding": "sha256"},
	{"id": "17", "type": "group_id", "collection": "accounts", "encoding": "none"}]}}');
SELECT identifier, kind FROM identifier_link l JOIN profile p USING (profile_id) WHERE l.at = '2016-07-01' OR l.identifier = 'account:17' ORDER BY 1;
SELECT relation, since FROM relation WHERE a = resolve('user_id:x1');

-- the four times
SELECT m, _message_time(m::jsonb, '2020-01-01 12:00') FROM unnest(ARRAY[
	-- as it is
	'{"timestamp": "2015-12-10T04:08:31.905Z", "sentAt": "2015-12-10T04:08:31.581Z", "receivedAt": "2015-12-10T04:08:31.909Z"}',
	-- the device's clock is an hour fast, and the message was 10 minutes old
	'{"originalTimestamp": "2015-12-10T04:50:00Z", "sentAt": "2015-12-10T05:00:00Z", "receivedAt": "2015-12-10T04:00:00Z"}',
	'{"originalTimestamp": "2015-12-10T04:50:00Z", "sentAt": "2015-12-10T05:00:00Z"}', '{"originalTimestamp": "2015-12-10T04:50:00Z"}',
	'{"sentAt": "2015-12-10T05:00:00Z"}', '{"receivedAt": "2015-12-10T04:00:00Z"}', '{}']) m;

-- batches: what stands beside the batch holds for all of it
SELECT ingest('{"batch": [
	{"type": "identify", "userId": "b1", "traits": {"email": "b1@example.com"}, "timestamp": "2017-01-01T00:00:00Z"},
	{"type": "track", "userId": "b1", "event": "Item Purchased", "originalTimestamp": "2017-01-01T23:50:00Z", "context": {"ip": "24.5.68.47"}},
	{"type": "track", "userId": "b2", "event": "Item Purchased", "sentAt": "2017-01-02T00:00:10Z", "originalTimestamp": "2017-01-01T23:50:00Z"},
	{"type": "track", "event": "nobody"}, 5],
  "context": {"device": {"type": "phone"}, "ip": "::1", "campaign": {"name": "all"}}, "integrations": {}, "sentAt": "2017-01-02T00:00:00Z", "receivedAt": "2017-01-02T00:00:00Z"}', '2017-01-02T00:00:00Z');
SELECT via, at, context FROM event WHERE event = 'Item Purchased' ORDER BY event_id;
SELECT payload -> 'event' AS event, payload = '5' AS five, reason FROM rejected ORDER BY rejected_id;
SELECT ingest('{"batch": []}'), ingest('[{"batch": [{"type": "identify", "userId": "b3"}]}, {"type": "identify", "userId": "b4"}]') AS nested,
	ingest('{"batch": [{"type": "page", "userId": "b3", "context": 7}], "context": {"a": 1}}') AS bad_context;
INSERT INTO inbox (payload) VALUES ('{"batch": [{"type": "identify", "userId": "b5"}, {"type": "identify", "userId": "b6"}]}');
SELECT ingest_inbox();
TRUNCATE rejected;
SELECT ingest('{"batch": {"type": "page", "userId": "b3"}}'), ingest('{"batch": null}');
SELECT payload, reason FROM rejected ORDER BY rejected_id;

-- everything again: nothing new from messages with an id
SELECT ingest('{"batch": [{"type": "track", "userId": "z", "event": "Order Completed", "messageId": "o1"}, {"type": "group", "userId": "z", "groupId": "zz", "messageId": "g1"},
	{"type": "alias", "previousId": "z", "userId": "zzz", "messageId": "al2"}, {"type": "identify", "userId": "z", "messageId": "022bb90c-bbac-11e4-8dfc-aa07a5b093db"}]}');
SELECT resolve('user_id:z') IS NULL AS no_trace;
