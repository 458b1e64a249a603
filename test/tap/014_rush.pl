# A rush: clients make every call that writes, at random, about the same few
# people, each call a transaction of its own.  No deadlock and nothing else that
# is not the caller's fault may reach a caller.  (What a call gets itself out of is
# counted by the server and printed.)
#
# MCDP_RUSH_SECONDS: how long each of the two rounds takes (default 5);
# MCDP_RUSH_CLIENTS: how many clients (default 12); MCDP_RUSH_CALLS="split track …":
# these calls only; MCDP_RUSH_FEW: so many rounds more, each of the same length and
# of four calls that are as frequent as each other (pairs that seldom meet
# otherwise), chosen by MCDP_RUSH_SEED; MCDP_RUSH_DEADLOCK_TIMEOUT: as the server's.  When that is less than the
# 300 ms after which calls let go by themselves, more circles are found, and a few
# of them reach a caller (docs/reference/identity.md, Concurrency).
use strict;
use warnings;
use List::Util;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{MCDP_RUSH_SECONDS} || 5;
my $clients = $ENV{MCDP_RUSH_CLIENTS} || 12;
my $node = PostgreSQL::Test::Cluster->new('rush');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
jit = off
log_line_prefix = '%e %p '
log_min_messages = warning
max_wal_size = 4GB
CONF
$node->append_conf('postgresql.conf', "deadlock_timeout = '$ENV{MCDP_RUSH_DEADLOCK_TIMEOUT}'") if $ENV{MCDP_RUSH_DEADLOCK_TIMEOUT};
$node->append_conf('postgresql.conf', 'log_lock_waits = on') if $ENV{MCDP_RUSH_VERBOSE};
$node->start;

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION marketing_cdp;
ALTER DATABASE postgres SET search_path = public, cdp;
SET search_path = public, cdp;
INSERT INTO tag_key (key, exclusive, keep_history) VALUES ('city', true, true);
INSERT INTO trait_rule (name, type, searchable) VALUES ('age', 'number', true), ('colour', 'text', true);
INSERT INTO channel (name, namespace) VALUES ('email', 'email');
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('email', 5, '1 day', 'rolling');
SELECT _event_partition(m) FROM unnest(ARRAY[now() - interval '1 month', now(), now() + interval '1 month']) m;
SELECT define_segment('vips', 'vip & count(view) >= 1'), define_segment('both', 'segment:vips | city:rome'), define_segment('young', 'age < 30'),
	define_static_segment('friends', '{}');
SELECT create_journey('cart', '{"entry": {"on": "cart", "reentry": "always"}, "exit": [{"on": "purchase"}], "goal": {"on": "purchase", "within": "1d"}, "start": "tag",
	"steps": {"tag": {"tag": "vip", "next": "city"}, "city": {"tag": "city:rome", "next": "mail"}, "mail": {"send": {"channel": "email", "template": "t"}, "next": "note"},
		"note": {"set_trait": {"age": 20}, "next": "wait"}, "wait": {"wait": "2s", "next": "untag"}, "untag": {"untag": "vip", "next": "end"}}}'),
	create_journey('tagged', '{"entry": {"enters": "vip", "reentry": "always", "concurrency": 50}, "start": "mail", "purpose": "marketing",
	"steps": {"mail": {"send": {"channel": ["email", "sms"], "template": "u"}, "next": "again"}, "again": {"journey": "cart", "next": "end"}}}'),
	create_journey('hand', '{"entry": {"manual": true, "reentry": "always"}, "holdout": 0.2, "start": "tag", "steps": {"tag": {"tag": "vip", "next": "end"}}}');
SELECT activate_journey(j) FROM unnest(ARRAY['cart', 'tagged', 'hand']) j;

-- Names that are new twice in a second, and some of a moment ago.
CREATE FUNCTION of(n int) RETURNS int LANGUAGE sql VOLATILE RETURN floor(random() * n)::int;
CREATE FUNCTION moment() RETURNS bigint LANGUAGE sql VOLATILE RETURN floor(extract(epoch FROM clock_timestamp()) * 2)::bigint - (random() < 0.6)::int;
CREATE FUNCTION a_name(space text = (ARRAY['user_id', 'email', 'anonymous_id'])[1 + of(3)]) RETURNS text LANGUAGE sql VOLATILE
RETURN CASE space WHEN 'email' THEN format('email:e%s-%s@example.com', of(4), moment()) ELSE format('%s:%s-%s', space, of(4), moment()) END;
CREATE FUNCTION names(n int) RETURNS identifier[] LANGUAGE sql VOLATILE RETURN ARRAY(SELECT a_name()::identifier FROM generate_series(1, n));
CREATE FUNCTION some_profile() RETURNS bigint LANGUAGE sql VOLATILE RETURN (SELECT profile_id FROM cdp.profile ORDER BY profile_id DESC OFFSET of(12) LIMIT 1);
CREATE FUNCTION some_profiles() RETURNS bitmap LANGUAGE sql VOLATILE
RETURN coalesce((SELECT rb_build_agg(x.profile_id) FROM (SELECT profile_id FROM cdp.profile ORDER BY profile_id DESC OFFSET of(4) LIMIT 3 + of(6)) x), '{}');
CREATE FUNCTION some_traits() RETURNS jsonb LANGUAGE sql VOLATILE
RETURN CASE of(4) WHEN 0 THEN jsonb_build_object('age', of(60)) WHEN 1 THEN jsonb_build_object('colour', of(3)::text) WHEN 2 THEN jsonb_build_object('age', of(60), 'colour', of(3)::text)
	ELSE jsonb_build_object('name', of(9), 'city', of(9)) END;
CREATE FUNCTION message_id() RETURNS text LANGUAGE sql VOLATILE RETURN format('m%s-%s', of(20), moment());
CREATE FUNCTION message() RETURNS jsonb LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	kind int := of(10);
	m jsonb := jsonb_build_object('messageId', message_id(), 'timestamp', to_char((now() - interval '1 s' * of(3)) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'userId', of(4) || '-' || moment());
BEGIN
	IF of(2) = 0 THEN m := m || jsonb_build_object('anonymousId', of(4) || '-' || moment()); END IF;
	RETURN CASE
		WHEN kind < 5 THEN m || jsonb_build_object('type', 'track', 'event', (ARRAY['view', 'cart', 'purchase'])[1 + of(3)])
			|| CASE WHEN of(3) = 0 THEN jsonb_build_object('participants', ARRAY['store:' || of(3), a_name('user_id')]) ELSE '{}' END
		WHEN kind < 8 THEN m || jsonb_build_object('type', 'identify', 'traits', some_traits() || CASE WHEN of(2) = 0 THEN jsonb_build_object('email', value(a_name('email')::identifier)) ELSE '{}' END)
		WHEN kind < 9 THEN m || jsonb_build_object('type', 'alias', 'previousId', of(4) || '-' || moment())
		ELSE m || jsonb_build_object('type', 'group', 'groupId', of(3), 'traits', some_traits()) END;
END $$;
CREATE FUNCTION messages(n int) RETURNS jsonb LANGUAGE sql VOLATILE RETURN (SELECT jsonb_agg(message()) FROM generate_series(1, n));

CREATE TABLE call (what text PRIMARY KEY, weight int NOT NULL, sql text NOT NULL);
INSERT INTO call VALUES
	('identify', 20, $$SELECT identify(names(1 + of(3)), '{}', now() - interval '1 s' * of(3))$$),
	('identify_traits', 8, $$SELECT identify(names(1 + of(3)), some_traits(), now() - interval '1 s' * of(3))$$),
	('identify_store', 2, $$SELECT identify(names(1) || ARRAY['store:' || of(3)]::identifier[])$$),
	('track', 12, $$SELECT track(names(1 + of(2)), (ARRAY['view', 'cart', 'purchase'])[1 + of(3)], '{}', now() - interval '1 s' * of(3), message_id())$$),
	('track_participants', 4, $$SELECT track(names(1 + of(2)), 'view', '{}', now(), message_id(), participants => names(1 + of(2)) || ARRAY['store:' || of(3)]::identifier[])$$),
	('ingest', 10, $$SELECT ingest(message())$$),
	('ingest_many', 5, $$SELECT ingest(messages(2 + of(20)))$$),
	('deliver', 4, $$INSERT INTO inbox (payload) SELECT message() FROM generate_series(1, 10)$$),
	('ingest_inbox', 4, $$SELECT ingest_inbox(50)$$),
	('ingest_inbox_large', 1, $$SELECT ingest_inbox(10001)$$),
	('import_events', 2, $$SELECT import_events('SELECT ''view'' AS event, now() AS at, a_name(''user_id'') AS identifier, message_id() AS message_id FROM generate_series(1, 1 + of(30))', 'test')$$),
	('import_identities', 3, $$SELECT import_identities('SELECT a_name(), a_name() FROM generate_series(1, 1 + of(30))', 'test')$$),
	('set_traits', 2, $$SELECT set_traits('SELECT a_name() AS identifier, of(50) AS age, of(3)::text AS colour FROM generate_series(1, 1 + of(10))', 'test')$$),
	('merge', 6, $$SELECT merge(some_profile(), some_profile())$$),
	('unmerge', 6, $$SELECT unmerge((SELECT merge_id FROM profile_merge WHERE undone_at IS NULL ORDER BY merge_id DESC OFFSET of(6) LIMIT 1), keep_apart)$$),
	('split', 6, $$SELECT split(ARRAY(SELECT l.identifier FROM identifier_link l WHERE l.profile_id = some_profile() ORDER BY random() LIMIT 1 + of(2)), 'test')$$),
	('erase', 2, $$SELECT erase_profile(some_profile(), (ARRAY['erase', 'anonymise', 'suppress'])[1 + of(3)])$$),
	('retract', 4, $$SELECT retract((SELECT m.message_id FROM event_message m WHERE m.event_id IS NOT NULL ORDER BY m.at DESC OFFSET of(10) LIMIT 1), 'test')$$),
	('set_trait', 4, $$SELECT set_trait(some_profile(), (ARRAY['age', 'name'])[1 + of(2)], to_jsonb(of(50)))$$),
	('tag', 6, $$SELECT tag(some_profile(), (ARRAY['vip', 'new', 'city:rome', 'city:oslo'])[1 + of(4)])$$),
	('tag_expires', 3, $$SELECT tag(some_profile(), (ARRAY['vip', 'new', 'city:rome'])[1 + of(3)], now() + interval '1 s' * of(2))$$),
	('untag', 4, $$SELECT untag(some_profile(), (ARRAY['vip', 'new', 'city:rome', 'city:oslo'])[1 + of(4)])$$),
	('toggle_tag', 4, $$SELECT toggle_tag(some_profile(), (ARRAY['vip', 'new', 'city:rome'])[1 + of(3)])$$),
	('tag_set', 3, $$SELECT tag(some_profiles(), (ARRAY['vip', 'new', 'city:rome', 'city:oslo'])[1 + of(4)], CASE of(3) WHEN 0 THEN now() + interval '1 s' END)$$),
	('untag_set', 2, $$SELECT untag(some_profiles(), (ARRAY['vip', 'new', 'city:rome'])[1 + of(3)])$$),
	('tag_all', 1, $$SELECT tag((SELECT rb_build_agg(profile_id) FROM profile), (ARRAY['all', 'vip'])[1 + of(2)])$$),
	('untag_all', 1, $$SELECT untag((SELECT rb_build_agg(profile_id) FROM profile), (ARRAY['all', 'vip'])[1 + of(2)])$$),
	('consent', 4, $$SELECT consent(some_profile(), 'marketing', (ARRAY['email', 'sms'])[1 + of(2)], of(3) > 0)$$),
	('consent_set', 2, $$SELECT consent(some_profiles(), 'marketing', (ARRAY['email', 'sms'])[1 + of(2)], of(3) > 0)$$),
	('suppress', 1, $$SELECT suppress(some_profile())$$),
	('unsuppress', 1, $$SELECT unsuppress(some_profile())$$),
	('relate', 1, $$SELECT relate(some_profile(), some_profile(), 'friend', now() - interval '1 s' * of(3))$$),
	('unrelate', 1, $$SELECT unrelate(some_profile(), some_profile(), 'friend')$$),
	('apply_rules', 1, $$SELECT apply_rules()$$),
	('quarantine', 1, $$SELECT quarantine(a_name())$$),
	('lift_quarantine', 1, $$SELECT lift_quarantine(a_name())$$),
	('enter_journey', 2, $$SELECT enter_journey('hand', some_profile())$$),
	('enter_journey_set', 2, $$SELECT enter_journey((ARRAY['hand', 'tagged'])[1 + of(2)], some_profiles())$$),
	('advance_journeys', 2, $$SELECT advance_journeys(clock_timestamp())$$),
	('pause_journey', 1, $$SELECT pause_journey('cart')$$),
	('activate_journey', 1, $$SELECT activate_journey('cart')$$),
	('claim_messages', 3, $$SELECT ack_messages(ARRAY(SELECT id FROM claim_messages('email', 5)), 'sent')$$),
	('ack_messages', 3, $$SELECT ack_messages(ARRAY(SELECT id FROM outbox WHERE attempts > 0 ORDER BY id DESC OFFSET of(5) LIMIT 1 + of(4)), (ARRAY['delivered', 'opened', 'bounced', 'unsubscribed'])[1 + of(4)])$$),
	('refresh_segments', 2, $$SELECT refresh_segments()$$),
	('define_segment', 1, $$SELECT define_segment('young', format('age < %s', of(50))::criteria)$$),
	('define_static_segment', 1, $$SELECT define_static_segment('friends', some_profiles())$$),
	('refresh_rfm', 1, $$SELECT refresh_rfm()$$),
	('refresh_repurchase', 1, $$SELECT refresh_repurchase()$$),
	('rebuild', 1, $$SELECT rebuild((ARRAY['timelines', 'lifecycle', 'traits', 'segments'])[1 + of(4)])$$),
	('tick', 1, $$SELECT tick(clock_timestamp(), '1 s')$$);

-- What a caller may be told: it is about somebody who is not there (any more), is forbidden, or done already.
CREATE FUNCTION make(which text, again boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	SET LOCAL client_min_messages = error;
	EXECUTE replace((SELECT c.sql FROM call c WHERE c.what = which), 'keep_apart', again::text);
EXCEPTION
	WHEN undefined_object OR object_not_in_prerequisite_state OR null_value_not_allowed THEN NULL;
	WHEN invalid_parameter_value THEN
		IF sqlerrm !~ '^(these are all identifiers|at least one identifier|no identifier is left|identifiers belong to different|cannot (merge|relate) (a )?profile|identifier ".*" belongs to a profile of kind)' THEN
			RAISE;
		END IF;
END $$;
SQL

my @names = $ENV{MCDP_RUSH_CALLS} ? split(' ', $ENV{MCDP_RUSH_CALLS})
	: (split(' ', $node->safe_psql('postgres', q{SELECT string_agg(what, ' ' ORDER BY what) FROM call})), 'run');
my $dir = PostgreSQL::Test::Utils::tempdir;
sub circles { $node->safe_psql('postgres', q{SELECT pg_stat_force_next_flush(); SELECT deadlocks FROM pg_stat_database WHERE datname = 'postgres'}) =~ s/\s//gr }
sub rush
{
	my ($round, $again, @few) = @_;
	my @files;
	for my $name (@few ? @few : @names)
	{
		my $weight = @few ? 1 : $node->safe_psql('postgres', "SELECT weight FROM call WHERE what = '$name'") || 2;
		append_to_file("$dir/$name.$round", $name eq 'run' ? "CALL cdp.run(now(), '200 ms');\n" : "SELECT make('$name', $again);\n");
		push @files, '-f', "$dir/$name.$round\@$weight";
	}
	my ($out, $err) = ('', '');
	my $before = circles();
	IPC::Run::run([ 'pgbench', '-n', '-c', $clients, '-j', '4', '-T', $seconds, '--random-seed', $round, @files, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default + $seconds));
	my ($calls) = $out =~ /transactions actually processed: (\d+)/;
	note(($calls // 'no') . " calls in round $round, " . (circles() - $before) . ' circles were opened again');
	note(join "\n", grep { /^SQL script|transactions/ && /\.$round|transactions/ } split /\n/, $out) if $ENV{MCDP_RUSH_VERBOSE};
	my ($failed) = $out =~ /failed transactions: (\d+)/;
	is($failed // "none", "0", "round $round");
	is($err =~ /aborted|terminated/ ? $err : '', '', 'no client gave up');
}
rush(1, 'false');
# with rules, more has to be looked at under locks
$node->safe_psql('postgres', q{
	INSERT INTO cdp.namespace_rule (namespace, priority, max_per_profile, quarantine_after) VALUES ('anonymous_id', 40, 4, 6), ('email', 60, 3, NULL);
	INSERT INTO cdp.suppression (name, criteria) VALUES ('osl', 'city:oslo')});
rush(2, 'true');
srand($ENV{MCDP_RUSH_SEED} || 1);
for my $n (1 .. $ENV{MCDP_RUSH_FEW} || 0)
{
	my @few = (List::Util::shuffle(@names))[0 .. 3];
	note("round " . (2 + $n) . ": @few");
	rush(2 + $n, 'true', @few);
}

my %errors;
# (Autovacuum gives way to a caller; that is said to nobody.)
my @log = grep { /^\w{5} \d+ (?:ERROR|FATAL|PANIC): / && !/^57014 \d+ ERROR:  canceling autovacuum task$/ } split /\n/, slurp_file($node->logfile);
/^(\w{5})/ and $errors{$1}++ for @log;
note(join ', ', map { "$_: $errors{$_}" } sort keys %errors) if %errors;
is(join("\n", @log), '', 'no error');

# What must be so whatever came in between, once the clock has caught up, and the
# transactions are over that splits and erasures were waiting for.
my $at = $node->safe_psql('postgres', q{SELECT clock_timestamp() + interval '1 s'});
my $pending = 1;
for (my $n = 0; $pending && $n < 100; $n++)
{
	$node->safe_psql('postgres', "SELECT cdp.ingest_inbox(); CALL cdp.run('$at')") if $n < 5;
	$node->safe_psql('postgres', "CALL cdp.run('$at')");
	$pending = $node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM cdp.split_pending) + (SELECT count(*) FROM cdp.erasure_pending)');
}
is($pending, 0, 'splits and erasures are settled');
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION left_over() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	name text;
	n bigint;
	total bigint := 0;
BEGIN
	FOR name IN SELECT relation FROM cdp._profile_tables() UNION SELECT unnest(ARRAY['event', 'event_message', 'timeline_part', 'outbox']) LOOP
		EXECUTE format('SELECT count(*) FROM cdp.%I t WHERE NOT EXISTS (SELECT FROM cdp.profile p WHERE p.profile_id = t.profile_id)', name) INTO n;
		IF n > 0 THEN RAISE WARNING '% rows of nobody in %', n, name; END IF;
		total := total + n;
	END LOOP;
	RETURN total;
END $$;
CREATE FUNCTION derived() RETURNS TABLE (what text, profile_id bigint, value text) LANGUAGE sql AS $$
	SELECT 'timeline', t.profile_id, t.timeline::text FROM cdp.profile_timeline t WHERE num_events(t.timeline) > 0
	UNION ALL SELECT 'stage', s.profile_id, s.stage::text FROM cdp.lifecycle_state s
	UNION ALL SELECT t.tag, m, NULL FROM (SELECT DISTINCT tag FROM cdp.tag_chunk UNION SELECT tag FROM cdp.tag_pending) t CROSS JOIN LATERAL unnest(cdp.rb_to_array(cdp.tagged(t.tag))) m
$$;
SQL
my %none = (
	'canonical ids are roots' => q{SELECT count(*) FROM profile p JOIN profile c ON c.profile_id = p.canonical_id WHERE c.canonical_id <> c.profile_id},
	'every identifier belongs to somebody' => q{SELECT count(*) FROM identifier_link l WHERE resolve(l.identifier) IS NULL},
	'a message is an event once' => q{SELECT count(*) FROM (SELECT FROM event WHERE message_id IS NOT NULL GROUP BY message_id HAVING count(*) > 1) x},
	'evidence that holds is within a profile' => q{SELECT count(*) FROM identity_edge e WHERE e.inactive_at IS NULL AND resolve(e.a) IS DISTINCT FROM resolve(e.b)},
	'evidence in a link is within a leaf' => q{SELECT count(*) FROM identifier_link l LEFT JOIN identifier_link k ON k.identifier = l.peer WHERE l.peer IS NOT NULL AND k.profile_id IS DISTINCT FROM l.profile_id},
	'an event is where its identifier is' => q{SELECT count(*) FROM event e LEFT JOIN identifier_link l ON l.identifier = e.via WHERE e.via IS NOT NULL AND l.profile_id IS DISTINCT FROM e.profile_id},
	'a message is where its event is' => q{SELECT count(*) FROM event e LEFT JOIN event_message m USING (message_id) WHERE message_id IS NOT NULL AND (m.profile_id, m.event_id) IS DISTINCT FROM (e.profile_id, e.event_id)},
	'nobody who is gone is left' => 'SELECT left_over()',
	'tags are of canonical profiles' => q{SELECT count(*) FROM derived() d WHERE d.profile_id NOT IN (SELECT profile_id FROM profile WHERE canonical_id = profile_id)},
	'the universe is all canonical profiles that may be asked for' => q{SELECT count(*) FROM profile p
		WHERE (p.canonical_id = p.profile_id AND p.erased_at IS NULL AND NOT p.suppressed) <> EXISTS (SELECT FROM derived() d WHERE d.profile_id = p.profile_id AND d.what = chr(1) || 'kind:' || p.kind)},
	'runs are of canonical profiles' => q{SELECT count(*) FROM journey_state s LEFT JOIN profile p USING (profile_id) WHERE s.status = 'active' AND p.canonical_id IS DISTINCT FROM s.profile_id},
	'who has a run has its tag' => q{SELECT count(*) FROM (SELECT s.profile_id, 'journey:' || s.journey AS what FROM journey_state s WHERE s.status = 'active' GROUP BY 1, 2) s
		FULL JOIN (SELECT d.profile_id, d.what FROM derived() d WHERE d.what LIKE 'journey:%') d USING (profile_id, what) WHERE s.profile_id IS NULL OR d.profile_id IS NULL},
);
is($node->safe_psql('postgres', 'SET search_path = public, cdp; ' . $none{$_}), '0', $_) for sort keys %none;
is($node->safe_psql('postgres', qq{SET client_min_messages = warning;
	CREATE TABLE before AS SELECT * FROM derived();
	DO \$\$ BEGIN PERFORM cdp.rebuild('all', '$at'); END \$\$;
	(SELECT 'only before', * FROM before EXCEPT SELECT 'only before', * FROM derived()) UNION ALL (SELECT 'only rebuilt', * FROM derived() EXCEPT SELECT 'only rebuilt', * FROM before) ORDER BY 3, 2, 1}),
	'', 'what is derived is what a rebuild makes of the truth');
done_testing();
