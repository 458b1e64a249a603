# Backends die with SIGKILL in the middle of everything, again and again: what
# was accepted is there once, and the answers are those of a calm day.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Patience;

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', "timezone = 'UTC'\njit = off\nrestart_after_crash = on\ndeadlock_timeout = 100ms");
$node->start;

# Message n is always the same, so that it can be delivered as often as one likes.
my $setup = <<'SQL';
CREATE EXTENSION marketing_cdp;
INSERT INTO cdp.tag_key (key, exclusive) VALUES ('city', true);
SELECT cdp.create_journey('thanks', '{"entry": {"on": "purchase", "key": "label"}, "start": "s", "steps": {
	"s": {"send": {"channel": "email", "template": "thanks"}, "next": "w"},
	"w": {"wait": "2d", "next": "t"}, "t": {"tag": "thanked", "next": "end"}}}'), cdp.activate_journey('thanks');
CREATE FUNCTION dice(what text, n int, faces int) RETURNS int LANGUAGE sql IMMUTABLE
RETURN (hashtextextended(what, n) & 1073741823) % faces;
CREATE FUNCTION names(n int) RETURNS cdp.identifier[] LANGUAGE sql IMMUTABLE
RETURN (ARRAY['user_id:u' || dice('u', n, 90), 'email:e' || dice('e', n, 90) || '@example.com'])[1 + dice('from', n, 20) / 10 : 1 + dice('to', n, 20) / 9]::cdp.identifier[];
CREATE FUNCTION happened(n int) RETURNS timestamptz LANGUAGE sql IMMUTABLE
RETURN timestamptz '2026-01-01Z' + make_interval(hours => dice('at', n, 1200));
CREATE FUNCTION deliver(n int) RETURNS bigint LANGUAGE sql
RETURN cdp.track(coalesce(nullif(names(n), '{}'), ARRAY['user_id:u' || n % 90]::cdp.identifier[]), (ARRAY['purchase', 'view', 'cart'])[1 + n % 3],
	jsonb_build_object('value', n, 'product_id', 'p' || n % 4), happened(n), 'm' || n, participants => ARRAY['store:S' || n % 3]::cdp.identifier[]);
-- Profiles that nothing else names, and what their tags are to be.
SELECT cdp.identify(ARRAY['user_id:toggled' || n]::cdp.identifier[], at => '2026-01-01Z') FROM generate_series(1, 30) n;
CREATE TABLE truth (profile_id bigint, tag text, present boolean, PRIMARY KEY (profile_id, tag));
INSERT INTO truth SELECT cdp.resolve('user_id:toggled' || n), 'toggled' || t, false FROM generate_series(1, 30) n, generate_series(1, 3) t;
INSERT INTO cdp.inbox (payload)
SELECT jsonb_build_object('type', 'track', 'messageId', 'i' || n, 'event', 'purchase', 'userId', 'u' || dice('iu', n, 120), 'anonymousId', 'a' || dice('ia', n, 400),
	'timestamp', to_char(happened(n), 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'properties', jsonb_build_object('value', n)) FROM generate_series(1, 1500) n;
SQL
my $finish = <<'SQL';
SELECT count(deliver(n)) FROM generate_series(1, 1500) n;
SELECT cdp.ingest_inbox();
SELECT cdp.tick('2026-03-01Z', '1 hour');
SQL
my %script = (
	track => "\\set n random(1, 1500)\nSELECT deliver(:n);\n",
	drain => "SELECT cdp.ingest_inbox(15);\n",
	toggle => "\\set n random(1, 30)\n\\set t random(1, 3)\n"
	  . "WITH x AS (UPDATE truth SET present = NOT present WHERE profile_id = (SELECT cdp.resolve('user_id:toggled' || :n)) AND tag = 'toggled' || :t RETURNING *)\n"
	  . "SELECT CASE WHEN present THEN cdp.tag(profile_id, tag) ELSE cdp.untag(profile_id, tag) END FROM x;\n",
	fold => "SELECT cdp._fold_tags('2026-03-01Z', 20);\n",
	extend => "SELECT cdp._run_task('extend_timelines', '2026-03-01Z', 20);\n",
	classify => "SELECT cdp._run_task('lifecycle', '2026-03-01Z', 20);\n",
	advance => "SELECT cdp._run_task('journeys', '2026-03-01Z', 20);\n",
	clock => "CALL cdp.run('2026-03-01Z', '1 s');\n",
	tag => "\\set n random(1, 60)\nSELECT cdp.tag(profile_id, (ARRAY['vip', 'city:a', 'city:b'])[1 + :n % 3]) FROM cdp.profile WHERE profile_id = :n;\n"
	  . "SELECT cdp.untag(profile_id, 'vip') FROM cdp.profile WHERE profile_id = :n + 1;\n"
	  . "SELECT cdp.tag(cdp.rb_build(ARRAY(SELECT profile_id FROM cdp.profile WHERE profile_id % 7 = :n % 7)), 'city:c');\n",
);

$node->safe_psql('postgres', 'CREATE DATABASE stormy');
$node->safe_psql('postgres', 'CREATE DATABASE calm');
$node->safe_psql($_, $setup) for qw(stormy calm);

$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION seen_doing(what text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + interval '5 s';
	found int;
BEGIN
	WHILE found IS NULL AND clock_timestamp() < until LOOP
		PERFORM pg_stat_clear_snapshot();
		SELECT pid INTO found FROM pg_stat_activity WHERE datname = 'stormy' AND state = 'active' AND query LIKE what LIMIT 1;
	END LOOP;
	RETURN found;
END
$$;
SQL

my $dir = PostgreSQL::Test::Utils::tempdir;
my @files;
for my $name (sort keys %script)
{
	append_to_file("$dir/$name.sql", $script{$name});
	push @files, '-f', "$dir/$name.sql" . ($name eq 'track' ? '@4' : '@1');
}
my $crashes = 0;
my @victims = qw(_fold_tags ingest_inbox extend_timelines lifecycle journeys deliver);
for (my $round = 1; @victims && $round <= 18; $round++)
{
	my $log = '';
	my $storm = IPC::Run::start(
		[ 'pgbench', '-n', '-c', '6', '-T', '10', '--random-seed', $round, '--max-tries', '20', @files, $node->connstr('stormy') ],
		'>', \$log, '2>&1', IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	Patience::until_true($node, 'postgres', "SELECT count(*) >= 6 FROM pg_stat_activity WHERE datname = 'stormy'");
	select(undef, undef, undef, 0.5 + 0.17 * ($round % 5));
	# in the middle of this one
	my ($ret, $pid) = $node->psql('postgres', "SELECT seen_doing('%$victims[0]%')");
	if ($pid && kill('KILL', $pid))
	{
		$crashes++;
		shift @victims;
	}
	# Every client loses its connection when the server starts anew.
	$storm->finish;
	select(undef, undef, undef, 0.3);
	Patience::until_true($node, 'postgres', 'SELECT true');
}
is("@victims", '', 'the server was brought down in the middle of each of these');
my $stored = $node->safe_psql('stormy', 'SELECT count(*) FROM cdp.event');
cmp_ok($stored, '>', 100, 'and work was done in between');
note("$crashes crashes, $stored events before the end");

$node->safe_psql($_, $finish) for qw(stormy calm);

my %none = (
	'a message is an event once' => q{SELECT count(*) FROM (SELECT message_id FROM event WHERE source IS DISTINCT FROM 'journey' GROUP BY 1 HAVING count(*) <> 1) x},
	'no message is lost' => q{SELECT 3000 - count(*) FROM event WHERE source IS DISTINCT FROM 'journey'},
	'nothing is rejected' => 'SELECT count(*) FROM rejected',
	'nothing waits' => q{SELECT (SELECT count(*) FROM event_tail) + (SELECT count(*) FROM inbox) + (SELECT count(*) FROM journey_trigger WHERE at <= '2026-03-01Z')},
	'canonical ids are roots' => 'SELECT count(*) FROM profile p JOIN profile c ON c.profile_id = p.canonical_id WHERE c.canonical_id <> c.profile_id',
	'the universe is all canonical profiles' => q{SELECT count(*) FROM (VALUES ('person'), ('store')) k(kind)
		WHERE tagged(chr(1) || 'kind:' || kind) <> (SELECT rb_build_agg(profile_id) FROM profile p WHERE p.kind = k.kind AND canonical_id = profile_id)},
	'one value of an exclusive key' => q{SELECT count(*) FROM (SELECT FROM profile p, unnest(tags_of(p.profile_id)) t WHERE canonical_id = profile_id AND t LIKE 'city:%'
		GROUP BY profile_id HAVING count(*) > 1) x},
	'every toggled tag is as the last commit left it' => q{SELECT count(*) FROM truth WHERE has_tag(profile_id, tag) <> present},
	'and nobody else has one' => q{SELECT count(*) FROM generate_series(1, 3) t, rb_iterate(tagged('toggled' || t)) p
		WHERE NOT EXISTS (SELECT FROM truth WHERE profile_id = p AND tag = 'toggled' || t AND present)},
	'no tags on merged profiles' => 'SELECT count(*) FROM profile p, _all_tags_of(p.profile_id) WHERE canonical_id <> profile_id',
	'stages follow the timelines' => q{SELECT count(*) FROM profile p LEFT JOIN lifecycle_state s USING (profile_id)
		WHERE p.kind = 'person' AND p.canonical_id = p.profile_id AND s.stage IS DISTINCT FROM lifecycle(timeline_of(p.profile_id), '2026-03-01Z')},
	'tags follow the stages' => q{SELECT count(*) FROM unnest(enum_range(NULL::lifecycle_stage)) st
		WHERE tagged('lifecycle:' || st) <> (SELECT rb_build(coalesce(array_agg(profile_id), '{}')) FROM lifecycle_state WHERE stage = st)},
	'a run sends one message' => q{SELECT count(*) FROM journey_state s
		WHERE coalesce(outcome, '') <> 'merged' AND (SELECT count(*) FROM outbox o WHERE o.run_id = s.run_id) <> 1},
	'each with its event and its log' => q{SELECT count(*) FROM outbox o WHERE (SELECT count(*) FROM event e WHERE e.message_id = 'message:' || o.idempotency_key) <> 1
		OR (SELECT count(*) FROM journey_log l WHERE l.run_id = o.run_id AND l.what = 'sent') <> 1},
	'no run has failed' => q{SELECT count(*) FROM journey_log WHERE what = 'failed' OR detail LIKE 'error%'},
);
my $path = 'SET search_path = public, cdp; ';
is($node->safe_psql('stormy', $path . $none{$_}), '0', $_) for sort keys %none;

# Who is who, what happened to them, and where they stand: the same as without any storm.
my $answers = $path . q{
	SELECT string_agg(DISTINCT l.identifier::text, ' ' ORDER BY l.identifier::text), s.stage, s.since, s.due_at,
		(SELECT md5(string_agg(e::text, ' ' ORDER BY e)) FROM timeline_events(timeline_of(p.canonical_id)) e WHERE e.event <> 'message_sent')
	FROM identifier_link l JOIN profile p USING (profile_id) LEFT JOIN lifecycle_state s ON s.profile_id = p.canonical_id
	GROUP BY p.canonical_id, s.stage, s.since, s.due_at ORDER BY 1};
my $calm = $node->safe_psql('calm', $answers);
isnt($calm, '', 'there is an answer');
is($node->safe_psql('stormy', $answers), $calm, 'the same answers as on a calm day');

my $derived = $path . q{SELECT profile_id, stage, since, due_at, timeline_of(profile_id), _all_tags_of(profile_id) t FROM lifecycle_state ORDER BY profile_id, t};
my $before = $node->safe_psql('stormy', $derived);
$node->safe_psql('stormy', q{SELECT cdp.rebuild('all', '2026-03-01Z')});
is($node->safe_psql('stormy', $derived), $before, 'rebuild changes nothing');

done_testing();
