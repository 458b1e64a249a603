# A month of campaigns in a storm: eight clients (clocks, senders) work side by
# side while backends are killed and the server crashes; in the end every
# decision of a calm month was made, once, and no cap was exceeded.
#
# Two databases with the same people, journeys, caps and events.  In "calm" one
# session calls run at each instant; in "stormy" four clocks and four senders do
# it at once, one backend is killed in the middle of most instants (of many people,
# once a day: a server of their size takes long to recover), and once the server is
# stopped hard.  Time is simulated: what both do may depend on nothing else.
#
# MCDP_CAMPAIGNS="journeys profiles days events" (default "16 400 4"); events of six hours,
# a tenth of the profiles if left out.  What is decided about one of these people depends on
# nobody else, so of many people the calm month needs but some: one in MCDP_CALM (default 1;
# 0: none).  After MCDP_SECONDS the month ends with the day that it is.
use strict;
use warnings;
use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Patience;
use Time::HiRes qw(time sleep);

my ($journeys, $profiles, $days, $events) = split ' ', $ENV{MCDP_CAMPAIGNS} || '16 400 4';
$events //= int($profiles / 10);
my $calm = $ENV{MCDP_CALM} // 1;
my $big = $profiles > 10000;
my ($started, $budget) = (time, $ENV{MCDP_SECONDS});
my $node = PostgreSQL::Test::Cluster->new('campaigns');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
jit = off
restart_after_crash = on
deadlock_timeout = 200ms
max_wal_size = 4GB
shared_buffers = 512MB
CONF
# After every kill the server recovers from the last checkpoint.
$node->append_conf('postgresql.conf', "shared_buffers = 4GB\ncheckpoint_timeout = 1min") if $big;
$node->start;

my $setup = <<"SQL";
CREATE EXTENSION marketing_cdp;
ALTER DATABASE :"DBNAME" SET search_path = public, cdp;
SET search_path = public, cdp;
CREATE FUNCTION dice(what text, n bigint, faces int) RETURNS int LANGUAGE sql IMMUTABLE RETURN (hashtextextended(what, n) & 1073741823) % faces;
SELECT import_identities('SELECT ''user_id:'' || n, ''email:c'' || n || ''\@example.com'' FROM generate_series(1, $profiles) n ORDER BY n', 'test', at => '2026-01-01');
SELECT tag((SELECT rb_build_agg(p.profile_id) FROM profile p WHERE dice('city', p.profile_id, 10) < 7), 'big', at => '2026-01-01');
-- who takes part in this database, and who does in both
SELECT tag((SELECT rb_build_agg(l.profile_id) FROM identifier_link l WHERE namespace(l.identifier) = 'user_id' AND value(l.identifier)::int % :share = 0), 'here', at => '2026-01-01');
CREATE TABLE compared AS SELECT l.profile_id FROM identifier_link l WHERE namespace(l.identifier) = 'user_id' AND value(l.identifier)::int % greatest($calm, 1) = 0;
SELECT consent((SELECT rb_build_agg(p.profile_id) FROM profile p WHERE dice('consent', p.profile_id, 10) < 8), 'marketing', 'email', true, '2026-01-01', 'test');
INSERT INTO frequency_cap (channel, max, per, kind) VALUES ('email', 3, '7 days', 'rolling'), ('email', 1, '1 day', 'calendar_day');
INSERT INTO quiet_hours (channel, since, until) VALUES ('email', '22:00', '07:00');
-- Every fourth of each kind: weekly blasts, abandoned carts, thanks, and long ones with a way to wait out a cap.
SELECT create_journey(format('j%s', n), CASE n % 4
	WHEN 0 THEN jsonb_build_object('entry', jsonb_build_object('every', '1w', 'at', format('2026-02-%s:30', to_char(1 + n % 7, 'FM00') || 'T' || to_char(8 + n % 10, 'FM00')), 'who', CASE n % 8 WHEN 0 THEN 'big & here' ELSE '!big & here' END),
		'start', 's', 'steps', '{"s": {"send": {"channel": "email", "template": "news"}, "next": "end"}}'::jsonb)
	WHEN 1 THEN jsonb_build_object('entry', jsonb_build_object('on', 'cart', 'when', format('count(cart, 1d) >= %s', 1 + n % 3), 'reentry', 'cooldown', 'cooldown', '2d'), 'exit', '[{"on": "purchase"}]'::jsonb,
		'goal', '{"on": "purchase", "within": "7d"}'::jsonb, 'holdout', 0.1, 'start', 'w',
		'steps', '{"w": {"wait": "3h", "next": "s"}, "s": {"send": {"channel": "email", "template": "cart"}, "next": "end"}}'::jsonb)
	WHEN 2 THEN '{"entry": {"on": "purchase", "key": "label", "reentry": "always"}, "purpose": "transactional", "start": "s",
		"steps": {"s": {"send": {"channel": "email", "template": "thanks"}, "next": "t"}, "t": {"tag": "thanked", "next": "end"}}}'
	ELSE jsonb_build_object('entry', jsonb_build_object('on', 'view', 'when', 'big', 'reentry', 'once'), 'start', 'ab',
		'steps', '{"ab": {"split": [{"share": 0.5, "next": "s"}, {"share": 0.5, "next": "f"}]}, "f": {"wait_for": {"on": "purchase"}, "timeout": "1d", "next": "end", "else": "s"},
			"s": {"send": {"channel": "email", "template": "come", "if_capped": "wait", "expires": "5d"}, "next": "w"}, "w": {"wait": "36h", "next": "again"},
			"again": {"send": {"channel": "email", "template": "once more"}, "next": "end"}}'::jsonb)
	END || jsonb_build_object('priority', 10 + n % 5 * 10) || CASE n % 4 WHEN 2 THEN '{}' ELSE '{"purpose": "marketing"}'::jsonb END)
FROM generate_series(0, $journeys - 1) n;
CALL run('2026-02-01Z');
SELECT activate_journey(format('j%s', n)) FROM generate_series(0, $journeys - 1) n;
-- The events of six hours; a second call finds them there.
CREATE FUNCTION feed(until timestamptz, share int) RETURNS bigint LANGUAGE sql AS \$\$
	SELECT count(track(ARRAY['user_id:' || (1 + dice('who' || until, n, $profiles))]::identifier[], (ARRAY['view', 'view', 'cart', 'purchase'])[1 + dice('what' || until, n, 4)],
		jsonb_build_object('value', 10, 'product_id', 'p' || n % 5), until - make_interval(secs => dice('when' || until, n, 21600)), until || '/' || n))
	FROM generate_series(1, $events) n WHERE (1 + dice('who' || until, n, $profiles)) % share = 0
\$\$;
CREATE TABLE got (id bigint, at timestamptz);
CREATE PROCEDURE send_all(at timestamptz) LANGUAGE plpgsql AS \$\$
DECLARE
	ids bigint[];
BEGIN
	LOOP
		WITH g AS (INSERT INTO got SELECT m.id, send_all.at FROM cdp.claim_messages('email', 1000, '1 hour', send_all.at) m RETURNING id)
		SELECT array_agg(g.id) INTO ids FROM g;
		COMMIT;
		EXIT WHEN ids IS NULL;
		PERFORM cdp.ack_messages(ids, 'sent', at => send_all.at);
		COMMIT;
	END LOOP;
END \$\$;
VACUUM ANALYZE;
SQL
sub prepare
{
	my ($db, $share) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', "share=$share", $node->connstr($db) ], '<', \$setup, '>', \$out, '2>', \$err) or BAIL_OUT("$db: $err");
}
my @instants = split /\n/, $node->safe_psql('postgres', "SELECT '2026-02-01T00:00:00Z'::timestamptz + n * interval '6 hours' FROM generate_series(1, $days * 4) n");

my $dir = PostgreSQL::Test::Utils::tempdir;
append_to_file("$dir/clock.sql", "CALL cdp.run(:at, '2 s');\n");
append_to_file("$dir/claim.sql", "INSERT INTO got SELECT id, :at FROM cdp.claim_messages('email', 100, '1 hour', :at);\n"
	. "SELECT cdp.ack_messages(ARRAY(SELECT o.id FROM cdp.outbox o WHERE o.status = 'claimed' LIMIT 1000), 'sent', at => :at);\n\\sleep 20 ms\n");
append_to_file("$dir/settle.sql", "CALL cdp.run(:at, '1 min');\n");
append_to_file("$dir/send.sql", "CALL send_all(:at);\n");
sub clients
{
	my ($db, $at, $script, $round, @how) = @_;
	return ('pgbench', '-n', '--random-seed', $round, '-D', "at='$at'", '-f', "$dir/$script.sql", @how,
		$node->connstr($db) . q{ application_name=storm options='-c enable_seqscan=off'});
}

# What is still there to do at an instant is done, whoever died at it; then all messages that are due are sent.
sub settle
{
	my ($db, $at, $num) = @_;
	for (1 .. 1000)
	{
		PostgreSQL::Test::Utils::run_log([ clients($db, $at, 'settle', 1, '-c', $num, '-t', 1) ], '>', \my $out, '2>', \my $err);
		last if $node->safe_psql($db, "SELECT NOT EXISTS (SELECT FROM cdp.event_tail) AND NOT EXISTS (SELECT FROM cdp.journey_trigger WHERE at <= '$at')
			AND NOT EXISTS (SELECT FROM cdp.journey_state WHERE status = 'active' AND due_at > '-infinity' AND due_at <= '$at')") eq 't';
	}
	PostgreSQL::Test::Utils::run_log([ clients($db, $at, 'send', 1, '-c', $num, '-t', 1) ], '>', \my $out, '2>', \my $err);
}

prepare('calm', $calm) if $calm;
prepare('stormy', 1);
my ($crashes, $deadlocks, $round, $end) = (0, 0, 0);
srand(20260201);
for my $at (@instants)
{
	$round++;
	if ($round % 4 == 1)
	{
		note(sprintf('day %d: %d s, %s messages', $round / 4 + 1, time - $started, $node->safe_psql('stormy', 'SELECT last_value FROM cdp.outbox_id_seq')));
		last if $budget && time - $started > $budget;
	}
	$end = $at;
	if ($calm)
	{
		$node->safe_psql('calm', "SELECT feed('$at', $calm)");
		settle('calm', $at, 1);
	}
	$node->safe_psql('stormy', "SELECT feed('$at', 1)");
	my @storms = map { [ '', '' ] } 1 .. 2;
	my @runs;
	for my $n (0, 1)
	{
		push @runs, IPC::Run::start([ clients('stormy', $at, ('clock', 'claim')[$n], $round, '-c', 4, '-T', $big ? 8 : 1) ],
			'>', \$storms[$n][0], '2>', \$storms[$n][1], IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	}
	if ($big ? $round % 4 == 1 : $round % 4 != 0)
	{
		sleep(0.1 + rand($big ? 5 : 0.5));
		my $pid = $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = 'storm' AND state = 'active' ORDER BY query_start DESC LIMIT 1");
		$crashes += kill('KILL', $pid) if $pid;
	}
	if ($round == 10)
	{
		$node->stop('immediate');
		$node->start;
	}
	$_->finish for @runs;
	$deadlocks += () = $_->[1] =~ /deadlock detected/g for @storms;
	Patience::until_true($node, 'postgres', 'SELECT true');
	settle('stormy', $at, 4);
}
note("$crashes backends killed, the server stopped hard once");
ok($crashes > 0, 'backends were killed');

# whoever claimed and died: settled by key
$node->safe_psql('stormy', "SELECT cdp.ack_messages(ARRAY(SELECT o.id FROM cdp.outbox o WHERE o.status IN ('claimed', 'ambiguous')), 'sent', at => '$end')");
$node->safe_psql('stormy', "INSERT INTO got SELECT id, '$end' FROM cdp.claim_messages('email', 10000000, '1 hour', '$end')");
$node->safe_psql('stormy', "SELECT cdp.ack_messages(ARRAY(SELECT o.id FROM cdp.outbox o WHERE o.status IN ('claimed', 'ambiguous')), 'sent', at => '$end')");

my $messages = $node->safe_psql('stormy', 'SELECT count(*) FROM cdp.outbox');
note($node->safe_psql('stormy', 'SELECT template, status, count(*) FROM cdp.outbox GROUP BY 1, 2 ORDER BY 1, 2'));
cmp_ok($messages, '>', $profiles / 2, "$messages messages");
my %none = (
	'a message is written once' => q{SELECT count(*) - count(DISTINCT idempotency_key) FROM cdp.outbox},
	'a message is handed out once' => q{SELECT count(*) - count(DISTINCT id) FROM got},
	'what was sent was handed out' => q{SELECT count(*) FROM cdp.outbox o WHERE o.status = 'sent' AND NOT EXISTS (SELECT FROM got g WHERE g.id = o.id)},
	'what was handed out was sent' => q{SELECT count(*) FROM got g WHERE NOT EXISTS (SELECT FROM cdp.outbox o WHERE o.id = g.id AND o.status = 'sent')},
	'nothing that is due stays' => qq{SELECT count(*) FROM cdp.outbox WHERE status NOT IN ('sent', 'expired') AND due_at <= '$end'},
	'at most three in any seven days' => q{SELECT count(*) FROM (SELECT due_at - lag(due_at, 3) OVER (PARTITION BY profile_id ORDER BY due_at) AS gap
		FROM cdp.outbox WHERE purpose = 'marketing') x WHERE gap < interval '7 days'},
	'at most one a day' => q{SELECT count(*) FROM (SELECT FROM cdp.outbox WHERE purpose = 'marketing' GROUP BY profile_id, (due_at AT TIME ZONE 'UTC')::date HAVING count(*) > 1) x},
	'nobody is woken up' => q{SELECT count(*) FROM cdp.outbox WHERE purpose = 'marketing' AND ((due_at AT TIME ZONE 'UTC')::time >= '22:00' OR (due_at AT TIME ZONE 'UTC')::time < '07:00')},
	'nobody without consent' => q{SELECT count(*) FROM cdp.outbox WHERE purpose = 'marketing' AND dice('consent', profile_id, 10) >= 8},
	'every message is an event of its profile' => q{SELECT count(*) FROM cdp.outbox o WHERE NOT EXISTS (SELECT FROM cdp.event e WHERE e.profile_id = o.profile_id AND e.message_id = 'message:' || o.idempotency_key)},
	'every purchase was thanked for once by each journey' => qq{SELECT count(*) FROM (SELECT e.profile_id, e.at, e.properties ->> 'product_id' FROM cdp.event e WHERE e.event = 'purchase') p (profile_id, at, label)
		WHERE (SELECT count(*) FROM cdp.outbox o JOIN cdp.journey_state s ON s.run_id = o.run_id WHERE o.profile_id = p.profile_id AND o.template = 'thanks' AND o.due_at = p.at AND s.label = p.label)
			<> (SELECT count(*) FROM generate_series(0, $journeys - 1) n WHERE n % 4 = 2)},
	'no run failed' => q{SELECT count(*) FROM cdp.journey_state WHERE status = 'failed'},
	'no task fails' => q{SELECT count(*) FROM cdp.task_state WHERE failing},
);
is($node->safe_psql('stormy', $none{$_}), '0', $_) for sort keys %none;
diag($node->safe_psql('stormy', q{SELECT concat_ws(' | ', l.at, l.profile_id, l.journey, l.what, l.detail) FROM cdp.journey_log l
	WHERE l.what = 'refused' AND l.journey IN (SELECT v.journey FROM cdp.journey_version v WHERE v.spec ->> 'purpose' = 'transactional') ORDER BY l.at, l.profile_id LIMIT 20}))
	unless Test::More->builder->is_passing;
is($deadlocks, 0, 'no client saw a deadlock');

if ($calm)
{
	my %same = (
		'the same entries' => q{SELECT concat_ws('|', entered_at, profile_id, journey, key, variant) AS t FROM cdp.journey_state WHERE profile_id IN (SELECT c.profile_id FROM compared c)},
		'the same decisions' => q{SELECT concat_ws('|', at, profile_id, journey, step) AS t FROM cdp.journey_log WHERE what IN ('sent', 'refused') AND profile_id IN (SELECT c.profile_id FROM compared c)},
		'the same thanks' => q{SELECT concat_ws('|', due_at, profile_id, journey, step, template, address) AS t FROM cdp.outbox WHERE purpose = 'transactional' AND profile_id IN (SELECT c.profile_id FROM compared c)},
		'the same events of people' => q{SELECT profile_id || '|' || cdp.timeline_agg(e.at, e.event, e.label, e.value)::text AS t
			FROM cdp.profile_timeline p, cdp.timeline_events(p.timeline) e WHERE e.event <> 'message_sent' AND profile_id IN (SELECT c.profile_id FROM compared c) GROUP BY profile_id},
	);
	for my $what (sort keys %same)
	{
		my %md5 = map { $_ => $node->safe_psql($_, "SELECT md5(string_agg(t, E'\\n' ORDER BY t)) FROM ($same{$what}) x") } qw(calm stormy);
		next if is($md5{stormy}, $md5{calm}, $what);
		my %in = map { my $db = $_; $db => { map { $_ => 1 } split /\n/, $node->safe_psql($db, $same{$what}) } } qw(calm stormy);
		my @differ = sort((map { "$_ (calm)" } grep { !$in{stormy}{$_} } keys %{ $in{calm} }), map { "$_ (stormy)" } grep { !$in{calm}{$_} } keys %{ $in{stormy} });
		diag(scalar(@differ) . " rows differ:\n" . join("\n", map { substr $_, 0, 300 } grep { defined } @differ[0 .. 9]));
	}
}
# (autovacuum gives way to a client; that is said to nobody)
my @errors = grep { /(ERROR|PANIC):/ && !/in recovery mode|is starting up|not yet accepting|ERROR:  canceling autovacuum task$/ } split /\n/, slurp_file($node->logfile);
is(join("\n", @errors[0 .. ($#errors < 9 ? $#errors : 9)]), '', 'no error in the log');
$node->stop;
done_testing();
